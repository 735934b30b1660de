"""All settings of a prediction with their defaults, which are the paper's values unless a comment states otherwise.

Sources: Seq2Pocket (Škrhák, Polák, Novotný, Hoksza 2026, bioRxiv 2026.01.28.702257) and its public code. Configurations of
training, evaluation and other models are in their own folders. All of them are :class:`Checked`.
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from s2p.errors import ConfigError

__all__ = [
    "BOX",
    "DEFAULT_MODEL",
    "BoxConfig",
    "Checked",
    "ClusterConfig",
    "Count",
    "Empty",
    "LabelConfig",
    "Natural",
    "NonNegative",
    "Positive",
    "PredictConfig",
    "Range",
    "ReadConfig",
    "Share",
    "SmoothingConfig",
    "SurfaceConfig",
    "WindowConfig",
]


@dataclass(frozen=True)
class Range:
    """Bounds of a number in a configuration, as ``Annotated[float, Range(0, 1)]``."""

    low: float
    high: float = math.inf
    strict: bool = False
    """Exclude ``low`` itself."""
    finite: bool = True

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies within the bounds; NaN never does."""
        above = value > self.low if self.strict else value >= self.low
        return above and value <= self.high and (math.isfinite(value) or not self.finite)

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"from {self.low:g} to {self.high:g}"
        return f"above {self.low:g}" if self.strict else f"of at least {self.low:g}"


Natural = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]
Share = Annotated[float, Range(0, 1)]
Empty = Literal["use", "skip", "refuse"]
"""What to do with labelled chains that have no binding residue: ``use`` takes them as negatives, ``refuse`` is an error."""
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, strict=True)]


class Checked:
    """Base of every configuration: a frozen dataclass that checks its fields against their type hints when it is made.

    Raises
    ------
    ConfigError
        If a value is not allowed; the message gives the field, its value and the allowed values.
    """

    def __post_init__(self) -> None:
        hints = _hints(type(self))  # type: ignore[arg-type]
        for entry in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, entry.name)
            if not _fits(value, hints[entry.name]):
                wanted = _wanted(hints[entry.name])
                raise ConfigError(f"{type(self).__name__}.{entry.name} must be {wanted}, and is {value!r}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value fits a type hint; NumPy's numbers count as numbers, and True does not."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, arguments[0]) and arguments[1].holds(float(value))
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if origin is tuple:
        inner = arguments[:1] * len(value) if Ellipsis in arguments and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    truth = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not truth and not math.isnan(value)
    return truth if hint is bool else not isinstance(hint, type) or isinstance(value, hint)


def _wanted(hint: Any) -> str:
    """A type hint in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_wanted(arguments[0])} {arguments[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(option) for option in arguments)
    if origin is Literal:
        return " or ".join(repr(option) for option in arguments)
    if origin is tuple:
        inner = arguments[:1] if Ellipsis in arguments else arguments
        return f"a tuple ({', '.join(map(_wanted, inner))}{', …' if Ellipsis in arguments else ''})"
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text", types.NoneType: "None"}
    return names.get(hint) or f"a {getattr(hint, '__name__', hint)}"


DEFAULT_MODEL = "s2p-esm2-8m"


@dataclass(frozen=True)
class ReadConfig(Checked):
    """Limits of the structure reader."""

    max_bytes: Count = 256 << 20
    """Largest file that is read, in bytes after decompression: protects against gzip bombs. With the limits below, reading needs
    less than 2 GB of memory."""
    max_atoms: Count = 800_000
    """Largest number of atom records, of all models together."""
    max_values: Count = 20_000_000
    """Largest number of values of an mmCIF file, of all tables together."""


@dataclass(frozen=True)
class LabelConfig(Checked):
    """What counts as a binding residue."""

    cutoff: Positive = 4.5
    """A residue is binding if one of its heavy atoms is within this distance (Å) of a heavy atom of a ligand; our choice."""
    min_ligand_atoms: Count = 5
    """Molecules with fewer heavy atoms are not ligands of interest; our choice."""
    max_peptide_residues: Natural = 29
    """A chain of at most this many residues that touches a longer chain is a peptide ligand (BioLiP: fewer than 30)."""
    bond_tolerance: NonNegative = 0.4
    """Å: two non-metal atoms are bonded if their distance is below the sum of their covalent radii plus this (CCDC: 0.4)."""


@dataclass(frozen=True)
class WindowConfig(Checked):
    """How chains longer than the language model's context are split into windows."""

    max_residues: Count = 1022
    """Residues in one pass: 1024 tokens minus the two special ones."""
    overlap: Natural = 256
    """Residues shared by neighbouring windows (0: the published chunks)."""
    token_budget: Count = 4096
    """Tokens, padding included, in one batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlap >= self.max_residues:
            raise ConfigError(f"WindowConfig.overlap must be below max_residues, {self.max_residues}, and is {self.overlap}")


@dataclass(frozen=True)
class SmoothingConfig(Checked):
    """Embedding-supported smoothing at inference (paper, section on smoothing)."""

    radius: Positive = 15.0
    """Residues with CA closer than this (Å, strict) to a predicted residue are candidates."""
    threshold: Share = 0.4
    """A candidate is added when the classifier's probability is above this."""


@dataclass(frozen=True)
class SurfaceConfig(Checked):
    """Solvent-accessible-surface points."""

    n_points: Count = 50
    """Points on the sphere around each atom."""
    probe_radius: Positive = 1.6
    """Å."""
    standard_only: bool = False
    """Leave out atoms of modified residues, as the published code does."""
    context: Literal["chain", "complex"] = "chain"
    """Which atoms can bury a point: those of its own chain (published) or of all chains that were read."""


@dataclass(frozen=True)
class ClusterConfig(Checked):
    """Mean shift on SAS points."""

    bandwidth: Positive = 9.0
    """Å."""
    max_iterations: Count = 300
    seeding: Literal["bins", "points"] = "bins"
    """Where mean shift starts: bins of a grid through the origin (published), or every point (independent of translation)."""
    frame: Literal["raw", "principal"] = "principal"
    """Coordinates in which surface points and seeds are made: the file's (published), or the principal axes of the CA atoms,
    so that pockets do not depend on the position and orientation of the structure."""


@dataclass(frozen=True)
class BoxConfig(Checked):
    """Boxes for docking around the points of a pocket."""

    padding: NonNegative = 5.0
    """Å added on every side, so that a ligand can rotate."""
    least: NonNegative = 0.0
    """Å, shortest edge."""
    most: Positive = 30.0
    """Å, longest edge: Vina warns above 30³ Å³, because its search becomes less thorough."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise ConfigError(f"the shortest edge of a docking box, {self.least:g} Å, is above the longest, {self.most:g} Å")


BOX = BoxConfig()


@dataclass(frozen=True)
class PredictConfig(Checked):
    """Settings of the whole pipeline. ``None`` stands for the value tuned on validation and stored in the checkpoint.

    Examples
    --------
    >>> import s2p
    >>> config = s2p.PredictConfig(threshold=0.5, use_smoothing=False)
    >>> s2p.predict("data/examples/4CUP.cif", config=config, device="cpu").settings["threshold"]
    0.5
    """

    sites: Literal["general", "cryptic", "both"] = "general"
    """Kinds of site: ``general`` sites, which the model predicts by itself; ``cryptic`` sites, which open on ligand binding and
    are predicted by the model's own head for them or else by ``s2p-cryptic-8m``; or ``both`` in one list."""
    threshold: Share | None = None
    """Residues with a probability above this are predicted as binding (paper: 0.7 for its own models), for all kinds of site."""
    smoothing_threshold: Share | None = None
    use_smoothing: bool = True
    """Only the published method has smoothing."""
    ranking: Literal["surface", "published"] | None = None
    """``published``: residue probabilities from the sequence alone; pockets are clusters of the surface points of predicted
    residues, ranked by mean probability. ``surface``: pockets and residue probabilities of the surface network (ours). ``None``:
    the checkpoint's choice, or ``published`` if thresholds, smoothing, surface or cluster settings, which need it, are given."""
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)

    @classmethod
    def published(cls) -> PredictConfig:
        """Exactly the paper's method (``--method published``): probabilities from the sequence alone; thresholds, surface,
        clustering and ranking as in the published code, in the coordinate frame of the file."""
        return cls(
            threshold=0.7,
            smoothing_threshold=0.4,
            ranking="published",
            surface=SurfaceConfig(standard_only=True),
            cluster=ClusterConfig(frame="raw"),
            windows=WindowConfig(overlap=0),
        )
