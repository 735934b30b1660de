"""A learned ligandability of surface points: small perceptrons on the features of :mod:`s2p.surface.features`.

The weights are plain arrays, which a checkpoint holds beside a JSON header. Nothing is pickled, no training library is needed to
use them, and a score is a few matrix products, smooth in the features, so that pockets hardly move when a structure turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import Checked, Positive, Share
from s2p.errors import WeightsError
from s2p.pockets.calibration import PocketModel
from s2p.prediction import sigmoid
from s2p.surface.features import PointConfig, PointEncoder, feature_names

__all__ = ["PointPocketConfig", "PointScorer"]


@dataclass(frozen=True)
class PointPocketConfig(Checked):
    """From scored surface points to pockets; ours, tuned on validation clusters."""

    floor: Share = 0.03
    """Points that score less are no part of any pocket."""
    sigma: Positive = 3.0
    """Å: width of the Gaussian that smooths the scores."""
    power: Positive = 2.5
    """Scores are raised to this before they are summed (P2Rank: 2)."""
    reach: Positive = 8.0
    """Å: a peak is higher than every point within this distance."""
    touch: Positive = 3.0
    """Å: points this close lead from one peak to another."""
    merge: Positive = 0.85
    """Peaks are one pocket where the way between them stays above this share of the lower peak; 1: never."""
    gather: Positive = 6.0
    """Å: points this close to the peak make the centre."""
    center_power: Positive = 2.0
    """Weight of a point in the centre: its score to this power."""
    member: Share = 0.3
    """Points of a pocket score at least this share of its best."""
    residue_cutoff: Positive = 4.5
    """Å: residues with a heavy atom this close to a point of the pocket belong to it."""
    min_probability: Share = 0.02
    """Less likely pockets are not reported."""


CLIP = 5.0
"""Standardised features are cut here: a strange structure gives no strange scores."""


@dataclass(frozen=True, eq=False)
class PointScorer:
    """An average of M perceptrons of three layers (SiLU), what they read, and the calibrated model of pockets."""

    encoder: PointEncoder
    features: tuple[str, ...]
    """Names of the features that are read, in order; a subset of :func:`~s2p.surface.features.feature_names`."""
    mean: NDArray[np.float32]
    """(F,) of the features in training."""
    scale: NDArray[np.float32]
    """(F,) their standard deviations."""
    weights: tuple[NDArray[np.float32], ...]
    """Per layer (M, inputs, outputs)."""
    biases: tuple[NDArray[np.float32], ...]
    """Per layer (M, 1, outputs)."""
    pocket_model: PocketModel
    points: PointConfig = field(default_factory=PointConfig)
    pockets: PointPocketConfig = field(default_factory=PointPocketConfig)
    card: dict[str, Any] = field(default_factory=dict)
    """Data, split, figures."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(P,) probability that a ligand atom is within reach, of (P, F') features with *all* columns of ``feature_names``."""
        names = feature_names(len(self.encoder.components))
        columns = [names.index(name) for name in self.features]
        chunks = np.array_split(features[:, columns], 1 + len(features) // 1024)  # bounds memory, and stays in the cache
        return np.concatenate([self._chunk(part) for part in chunks])

    def _chunk(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.clip((features - self.mean) / self.scale, -CLIP, CLIP)[None]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if k + 1 < len(self.weights):
                x = x / (1 + np.exp(-np.clip(x, -60, 60)))
        return sigmoid(x.mean(axis=0)[:, 0]).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Everything learned, by name; with :meth:`header`, what :meth:`from_parts` needs."""
        layers = {f"weight_{k}": w for k, w in enumerate(self.weights)} | {f"bias_{k}": b for k, b in enumerate(self.biases)}
        e = self.encoder
        plain = {"mean": self.mean, "scale": self.scale, "propensity": e.propensity}
        return plain | {"embedding_mean": e.mean, "embedding_components": e.components} | layers

    def header(self) -> dict[str, Any]:
        """Names and settings, ready for JSON."""
        return {
            "features": list(self.features),
            "atom_types": list(self.encoder.types),
            "pocket_model": asdict(self.pocket_model),
            "points": asdict(self.points),
            "pockets": asdict(self.pockets),
            "card": self.card,
        }

    @classmethod
    def from_parts(cls, arrays: Mapping[str, NDArray[np.float32]], header: Mapping[str, Any]) -> PointScorer:
        """The inverse of :meth:`arrays` and :meth:`header`.

        Raises
        ------
        WeightsError
            If something is missing or does not fit.
        """
        try:
            depth = sum(key.startswith("weight_") for key in arrays)
            learned = (arrays[name] for name in ("propensity", "embedding_mean", "embedding_components"))
            found = cls(
                PointEncoder(tuple(header["atom_types"]), *learned),
                tuple(header["features"]),
                arrays["mean"],
                arrays["scale"],
                tuple(arrays[f"weight_{k}"] for k in range(depth)),
                tuple(arrays[f"bias_{k}"] for k in range(depth)),
                PocketModel.from_dict(header["pocket_model"]),
                PointConfig(**header["points"]),
                PointPocketConfig(**header["pockets"]),
                dict(header["card"]),
            )
        except (KeyError, TypeError) as error:
            reason = f"damaged or of another version: {error}"
            raise WeightsError(f"the point scorer is {reason}; train or download it again") from None
        unknown = set(found.features) - set(feature_names(len(found.encoder.components)))
        if unknown or depth == 0 or found.weights[0].shape[1] != len(found.features):
            raise WeightsError("the point scorer was made for other features than this version computes; train it again")
        return found
