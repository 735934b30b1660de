"""Our own predictor in the settings that the benchmark compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2p import __version__
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.prediction import Prediction
from s2p.predictor import Seq2Pocket
from s2p.structure.reading import Structure

__all__ = ["VARIANTS", "OurPredictor"]

VARIANTS = ("s2p", "s2p-published", "s2p-no-smoothing")
"""Defaults of the checkpoint; the published pockets and ranking; the same without smoothing."""


class OurPredictor:
    """:class:`~s2p.predictor.Seq2Pocket` with settings under a name of their own.

    Parameters
    ----------
    name
        One of :data:`VARIANTS`; it changes what it names and nothing else of ``config``.
    model, device
        As for :meth:`Seq2Pocket.load`.
    """

    def __init__(
        self, name: str = "s2p", config: PredictConfig | None = None, *, model: str | Path = DEFAULT_MODEL, device: str = "auto"
    ) -> None:
        config = config or PredictConfig()
        if name == "s2p-published":
            config = replace(config, ranking="published")
        elif name == "s2p-no-smoothing":
            config = replace(config, ranking="published", use_smoothing=False)
        self.name, self.config = name, config
        self._predictor = Seq2Pocket.load(model, device=device)
        self.version = f"{__version__} ({self._predictor.name})"

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``, under this predictor's name."""
        return replace(self._predictor.predict(structure, self.config), model=self.name)
