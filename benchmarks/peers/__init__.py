"""Predictors by name, ours, other people's and baselines, behind one protocol: what the benchmark compares.

Python packages come with ``pip install s2p[peers]`` (and ``s2p[kvfinder]``, whose requirements differ from our pinned
versions). A package may also live in another environment: name its Python in the variable ``S2P_PEERS_PYTHON``. fpocket
and P2Rank are used when ``fpocket`` and ``prank`` are on the PATH.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from benchmarks.peers.config import CavityConfig, PatchConfig, PeerConfig
from s2p.config import PredictConfig
from s2p.errors import S2PError

if TYPE_CHECKING:
    from s2p.prediction import Prediction
    from s2p.structure.reading import Structure

__all__ = ["PREDICTORS", "VersionedPredictor", "available", "load_predictor"]

PREDICTORS: tuple[str, ...] = (
    "s2p",
    "s2p-published",
    "s2p-no-smoothing",
    "pocketnet",
    "fpocket-rs",
    "fpocket-rs-druggability",
    "fpocket",
    "pykvfinder",
    "pocketeer",
    "p2rank",
    "random-patch",
    "largest-cavity",
)
"""Names that :func:`load_predictor` knows."""

_Config = TypeVar("_Config", PredictConfig, PeerConfig, PatchConfig, CavityConfig)


class VersionedPredictor(Protocol):
    """A :class:`~s2p.prediction.Predictor` that says which version of it is running."""

    name: str
    version: str

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``."""
        ...


def load_predictor(name: str, **options: Any) -> VersionedPredictor:
    """A predictor, ready to predict.

    Parameters
    ----------
    name
        One of :data:`PREDICTORS`.
    options
        For ours: ``model``, ``device`` and fields of :class:`~s2p.config.PredictConfig`; for tools, fields of
        :class:`~benchmarks.peers.config.PeerConfig`; for the baselines, of :class:`~benchmarks.peers.config.PatchConfig` and
        :class:`~benchmarks.peers.config.CavityConfig`.

    Raises
    ------
    S2PError
        If there is no such predictor or option, or the tool is not installed.
    """
    _check(name)
    if name.startswith("s2p"):
        loading = {key: options.pop(key) for key in ("model", "device") if key in options}
        config = _config(PredictConfig, name, options)
        from benchmarks.peers.ours import OurPredictor

        return OurPredictor(name, config, **loading)
    if name == "random-patch":
        from benchmarks.peers.baselines import RandomPatch

        return RandomPatch(_config(PatchConfig, name, options))
    if name == "largest-cavity":
        from benchmarks.peers.baselines import LargestCavity

        return LargestCavity(_config(CavityConfig, name, options))
    from benchmarks.peers.tools import OutsideTool

    return OutsideTool(name, _config(PeerConfig, name, options))


def available(name: str) -> str | None:
    """``None`` if a predictor can be loaded here, else a sentence that says why not.

    Raises
    ------
    S2PError
        If there is no predictor of that name.
    """
    _check(name)
    from benchmarks.peers.tools import TOOLS

    if name in TOOLS:
        try:
            TOOLS[name].locate()
        except S2PError as error:
            return str(error)
    return None


def _check(name: str) -> None:
    if name not in PREDICTORS:
        raise S2PError(f"there is no predictor {name!r}; the predictors are {', '.join(PREDICTORS)}")


def _config(kind: type[_Config], name: str, options: dict[str, Any]) -> _Config:
    known = [field.name for field in fields(kind)]
    for option in options:
        if option not in known:
            raise S2PError(f"the predictor {name} has no option {option!r}; its options are {', '.join(known)}")
    return kind(**options)
