"""The result of a predictor: pockets, residue probabilities, and methods to tabulate, save and view them."""

from __future__ import annotations

import html
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from s2p.config import BOX, DEFAULT_MODEL, BoxConfig, PredictConfig
from s2p.errors import ConfigError, S2PError
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    import pandas as pd

    from s2p.surface.reading import Reading
    from s2p.surface.surroundings import Surroundings

__all__ = [
    "Density",
    "Pocket",
    "Prediction",
    "Predictor",
    "ResidueScores",
    "ask",
    "import_predictor",
    "n_pockets",
    "names_class",
    "obeyed",
    "predict_with",
    "predictor_class",
    "sigmoid",
]


def n_pockets(n: int) -> str:
    """``1 pocket``, ``2 pockets`` ..."""
    return "1 pocket" if n == 1 else f"{n} pockets"


def sigmoid(logits: NDArray[np.floating]) -> NDArray[Any]:
    """Probabilities for logits of any shape, in the precision of the input."""
    return np.asarray(1 / (1 + np.exp(-logits)))


@dataclass(frozen=True, eq=False)
class Pocket:
    """A predicted binding pocket.

    Examples
    --------
    >>> import s2p
    >>> pocket = s2p.predict("data/examples/4CUP.cif", device="cpu").pockets[0]
    >>> pocket.rank, pocket.center.shape, bool(pocket.probability > 0.5)
    (1, (3,), True)
    """

    rank: int
    """1 is best."""
    score: float
    """Value by which the pockets are ranked (see :attr:`Prediction.settings`)."""
    probability: float
    """Probability that a ligand atom lies within 4 Å of the centre, calibrated on proteins that hold a ligand."""
    residues: NDArray[np.int32]
    """Indices of residues, ascending."""
    atoms: NDArray[np.int32]
    """Indices of the atoms that own the pocket's surface points, ascending."""
    points: NDArray[np.floating]
    """(P, 3) solvent-accessible-surface points, Å; for a buried residue its CA atom instead."""
    center: NDArray[np.floating]
    """(3,) Å."""
    volume: float
    """Volume covered by probe spheres at the points, Å³."""
    copy_of: int = 0
    """Rank of the pocket of which this one is a symmetric copy, in another chain of the same protein; 0 for none."""
    site: str = "general"
    """Kind of site: ``general``, ``cryptic`` (it opens on ligand binding), or ``both`` (general, and also found as cryptic); of
    CrossBind's two networks together ``DNA``, ``RNA``, or ``DNA and RNA``."""
    sites: NDArray[np.floating] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    """(S, 3) Å: possible centres of ligands or of parts of a long ligand; the first, and by default the only, is ``center``."""

    def __post_init__(self) -> None:
        if not len(self.sites):
            object.__setattr__(self, "sites", np.reshape(self.center, (1, 3)))

    @property
    def label(self) -> str:
        """Label in pictures: the rank, with ``cryptic`` for a cryptic pocket."""
        return f"{self.rank} cryptic" if self.site == "cryptic" else str(self.rank)

    @property
    def remark(self) -> str:
        """``, cryptic, copy of pocket 1`` to append to the description of a pocket, or nothing."""
        kind = {"general": "", "both": ", also cryptic"}.get(self.site, f", {self.site}")
        return kind + (f", copy of pocket {self.copy_of}" if self.copy_of else "")


@dataclass(frozen=True, eq=False)
class Density:
    """Values on a grid of cubic cells."""

    values: NDArray[np.float32]
    """(nx, ny, nz)."""
    origin: tuple[float, float, float]
    """Centre of the first cell, Å."""
    step: float
    """Edge of a cell, Å."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Binding pockets of one structure, best first, and the residue scores from which they were made.

    Examples
    --------
    >>> import s2p
    >>> prediction = s2p.predict("data/examples/4CUP.cif", device="cpu")
    >>> ids = prediction.structure.residues.ids()
    >>> in_best = [ids[k] for k in prediction.pockets[0].residues]
    >>> table = prediction.table()  # the same values as in the CSV file of prediction.save("out")
    """

    structure: Structure
    probabilities: NDArray[np.float32]
    """(N,) binding probability of each residue."""
    smoothed: NDArray[np.bool_]
    """(N,) residues added by smoothing."""
    positive: NDArray[np.bool_]
    """(N,) residues predicted as binding, including those added by smoothing."""
    pockets: tuple[Pocket, ...]
    model: str
    """Name of the predictor."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Thresholds and options that were used, as JSON-ready values."""
    notes: tuple[str, ...] = ()
    """Remarks on the prediction that the user should read; remarks on the file are in ``structure.notes``."""
    density: Density | None = None
    """The density from which the pockets were made, for a model that predicts one."""
    parts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """(N,) further probabilities of residues by name, each a column of the table of residues: ``cryptic``, if cryptic sites were
    requested (``probabilities`` then refer to general sites if both were); those of the parts of CrossBind."""

    @property
    def cryptic(self) -> NDArray[np.float32] | None:
        """(N,) probability that a residue is in a cryptic site; ``None`` if those were not requested."""
        return self.parts.get("cryptic")

    @property
    def pocket_of_residue(self) -> NDArray[np.int32]:
        """(N,) rank of the best pocket that contains a residue; 0 for none."""
        rank = np.zeros(len(self.structure.residues), dtype=np.int32)
        for pocket in reversed(self.pockets):
            rank[pocket.residues] = pocket.rank
        return rank

    def table(self) -> pd.DataFrame:
        """The pockets as a data frame with the columns of ``_pockets.csv``."""
        import pandas as pd

        from s2p.output.files import POCKET_COLUMNS, pocket_rows

        return pd.DataFrame(pocket_rows(self), columns=POCKET_COLUMNS)

    def residue_table(self) -> pd.DataFrame:
        """The residues as a data frame with the columns of ``_residues.csv``."""
        import pandas as pd

        from s2p.output.files import residue_columns, residue_rows

        return pd.DataFrame(residue_rows(self), columns=residue_columns(self))

    def save(
        self,
        folder: str | Path,
        formats: Iterable[str] = ("csv", "json", "pdb", "pml", "cxc", "html", "box"),
        box: BoxConfig = BOX,
    ) -> list[Path]:
        """Write the prediction into ``folder`` and return the paths written; see :mod:`s2p.output.files`."""
        from s2p.output.files import save

        return save(self, folder, formats, box)

    def view(self, **options: Any) -> Any:
        """An interactive 3D view for notebooks; see :func:`s2p.output.view.view`."""
        from s2p.output.view import view

        return view(self, **options)

    def __repr__(self) -> str:
        head = (
            f"Prediction({self.structure.name!r} by {self.model}: {n_pockets(len(self.pockets))}, "
            f"{int(self.positive.sum())} of {len(self.probabilities)} residues binding)"
        )
        rows = [
            f"  {p.rank:>2}  score {p.score:.3f}  probability {p.probability:.2f}  {len(p.residues):>3} residues  "
            f"centre {p.center[0]:.1f} {p.center[1]:.1f} {p.center[2]:.1f}{p.remark}"
            for p in self.pockets[:5]
        ]
        more = [f"  … {len(self.pockets) - 5} more"] if len(self.pockets) > 5 else []
        return "\n".join([head, *rows, *more])

    def _repr_html_(self) -> str:
        ids = self.structure.residues.ids()
        body = "".join(
            f"<tr><td>{p.rank}{p.remark}</td><td>{p.score:.3f}</td><td>{p.probability:.2f}</td><td>{len(p.residues)}</td>"
            f"<td>{', '.join(f'{x:.1f}' for x in p.center.tolist())}</td><td>{p.volume:.0f}</td>"
            f"<td style='text-align:left'>{html.escape(' '.join(ids[i] for i in p.residues.tolist()))}</td></tr>"
            for p in self.pockets
        )
        return (
            f"<p><b>{html.escape(self.structure.name)}</b>: {n_pockets(len(self.pockets))} by {html.escape(self.model)}</p>"
            "<table><thead><tr><th>rank</th><th>score</th><th>probability</th><th>residues</th><th>centre (Å)</th>"
            f"<th>volume (Å³)</th><th style='text-align:left'>residue ids</th></tr></thead><tbody>{body}</tbody></table>"
        )


@dataclass(frozen=True, eq=False)
class ResidueScores:
    """Outputs of the models for every residue."""

    sequence: NDArray[np.float32]
    """(N,) binding probability from the language model alone (or the model used in its place), from which the published
    method starts."""
    embeddings: NDArray[np.float32]
    """(N, d) embeddings of the language model."""
    sequence_logits: NDArray[np.float32]
    """(N,) logits of the language model alone."""
    parts: Sequence[Surroundings] | None = field(default=None, repr=False)
    """Assemblies of the structure, computed for the readings and used again for the pockets."""
    readings: Sequence[Reading] | None = field(default=None, repr=False)
    """Output of the surface network for each of the parts, if the settings need it."""
    cryptic: ResidueScores | None = field(default=None, repr=False)
    """Scores of the model of cryptic sites, if both kinds were requested."""
    sites: str = "general"
    """Kind of site to which these scores refer."""

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N,) binding probability, from the surface network if it has read the structure."""
        found = self.sequence.copy()
        for part, reading in zip(self.parts or (), self.readings or (), strict=False):
            found[part.residues] = reading.residues
        return found


@runtime_checkable
class Predictor(Protocol):
    """Interface of everything that finds pockets, so that one benchmark can compare them all."""

    name: str

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``."""
        ...


def obeyed(config: PredictConfig | None) -> PredictConfig:
    """``config``, or the defaults for ``None``; :class:`ConfigError` for anything else, such as a dictionary."""
    if config is None:
        return PredictConfig()
    if not isinstance(config, PredictConfig):
        raise ConfigError(f"config must be a PredictConfig or None, and is {config!r}")
    return config


def ask(predictor: Any, sites: str) -> None:
    """Load what a predictor needs for the requested kinds of site; :class:`S2PError` if it predicts no cryptic sites."""
    if sites != "general":
        if not hasattr(predictor, "kinds"):
            raise S2PError(f"{predictor.name} does not predict cryptic sites; leave them out, or use the model {DEFAULT_MODEL}")
        predictor.kinds(sites)


def predict_with(predictor: Predictor, structure: Structure, config: PredictConfig | None = None) -> Prediction:
    """Run any predictor, with settings if it takes them.

    :class:`S2PError` if it takes none and ``config`` is not the default; and any error of the predictor.
    """
    ask(predictor, obeyed(config).sites)
    if config is not None and len(inspect.signature(predictor.predict).parameters) > 1:
        found: Prediction = predictor.predict(structure, config)  # type: ignore[call-arg]
        return found
    if config not in (None, PredictConfig()):
        raise S2PError(f"{predictor.name} takes no settings of a prediction; leave them out")
    return predictor.predict(structure)


def names_class(name: str | Path) -> bool:
    """Whether a predictor is named as ``package.module:Class``."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", str(name)) is not None and not Path(name).exists()


def predictor_class(name: str) -> Callable[[], Any]:
    """The class named ``package.module:Class``, which makes a predictor without arguments.

    The current folder is appended to the import path, so that a module in it is found, as by ``python -m``, but cannot hide an
    installed one. Code from there runs only if the user names a class. Nothing here imports PyTorch. :class:`S2PError` if there
    is no such class, or it needs arguments.
    """
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        made: Callable[[], Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise S2PError(f"predictor {name!r} cannot be imported ({error}); write package.module:Class") from None
    try:
        inspect.signature(made).bind()
    except TypeError as error:
        raise S2PError(f"predictor {name!r} cannot be made without arguments ({error})") from None
    return made


def import_predictor(name: str) -> Predictor:
    """An instance of the class of :func:`predictor_class`.

    :class:`S2PError` if it is not a predictor; and any error of importing and creating it.
    """
    found = predictor_class(name)()
    if not isinstance(found, Predictor):
        raise S2PError(f"{name} is not a predictor: it needs a name and a method predict(structure)")
    return found
