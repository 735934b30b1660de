"""What predicts contacts with nucleic acids from less than CrossBind's whole network: the sequence, residue types, charges.

``s2p evaluate`` takes them as ``benchmarks.peers.nucleic:SequenceRna``. They are not imported by :mod:`benchmarks.peers`, because
most peers run without PyTorch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p import __version__
from s2p.models.crossbind.features import RADII, surroundings
from s2p.models.crossbind.filter import log_propensities
from s2p.models.crossbind.predictor import CrossBindPredictor, load_crossbind
from s2p.prediction import Prediction, sigmoid
from s2p.structure.reading import Structure

__all__ = ["Charge", "PropensityDna", "PropensityRna", "SequenceDna", "SequenceRna"]

CHARGE = 1 + 4 * RADII.index(12.0)
"""Column of the mean charge within 12 Å in :func:`surroundings`."""


class SequenceDna(CrossBindPredictor):
    """The shipped sequence branch for DNA alone, at its own threshold."""

    model = "crossbind-dna"

    def __init__(self) -> None:
        trained = load_crossbind(self.model)
        threshold = trained.card.get("sequence_threshold", trained.threshold)
        super().__init__(replace(trained, network=None, filter=None, threshold=threshold))
        self.name = f"{self.model}, sequence"


class SequenceRna(SequenceDna):
    """Likewise for RNA."""

    model = "crossbind-rna"


class PropensityDna:
    """A residue type binds as often as in the training sequences for DNA; positive if more often than the average."""

    version = __version__
    model = "crossbind-dna"

    def __init__(self) -> None:
        self.name, self.table = f"{self.model}, propensity", load_crossbind(self.model).propensities

    def predict(self, structure: Structure) -> Prediction:
        """Residues only; there are no patches."""
        return _residues(structure, log_propensities("".join(structure.residues.one_letter.tolist()), self.table), self.name)


class PropensityRna(PropensityDna):
    """Likewise for RNA."""

    model = "crossbind-rna"


class Charge:
    """The mean charge of the residues whose CA is within 12 Å; positive residues have a positive surrounding."""

    name = "mean charge within 12 Å"
    version = __version__

    def predict(self, structure: Structure) -> Prediction:
        """Residues only; there are no patches."""
        return _residues(structure, 4 * surroundings(structure)[:, CHARGE], self.name)


def _residues(structure: Structure, logits: NDArray[np.floating[Any]], name: str) -> Prediction:
    none = np.zeros(len(logits), bool)
    return Prediction(structure, sigmoid(logits).astype(np.float32), none, logits > 0, (), name, {"version": __version__})
