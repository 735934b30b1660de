"""Vabs-Net as a predictor: its residue probabilities take the place of the sequence model's, all later stages stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.checkpoint import Checkpoint, load_checkpoint
from s2p.config import PredictConfig
from s2p.errors import WeightsError
from s2p.io.runtime import pick_device
from s2p.io.weights import digest, fill, find_weights, read_weights
from s2p.language.esm import LanguageOutput
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import nodes_of
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.reading import Structure

__all__ = [
    "Blend",
    "Stack",
    "VabsNetCheckpoint",
    "VabsNetPredictor",
    "combine",
    "language_features",
    "language_hash",
    "load_vabsnet",
    "logit",
]

FORMAT = "s2p-vabsnet-1"


@dataclass(frozen=True)
class Stack:
    """Logistic combination of the logits of Vabs-Net and of the structure-context head."""

    network: float = 1.0
    context: float = 0.0
    bias: float = 0.0

    def __call__(self, network: NDArray[np.floating], context: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) and (N,) logits -> (N,) logits."""
        return np.asarray(self.network * network + self.context * context + self.bias, np.float32)


@dataclass(frozen=True)
class Blend:
    """Logits for the scorer of surface points, which learned from the language model's: the stack's, brought to their mean and
    spread, and the language model's own. With weight 0 the pockets are those of the base."""

    weight: float = 0.0
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, sequence: NDArray[np.floating], stacked: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) and (N,) logits -> (N,) logits."""
        return np.asarray((1 - self.weight) * sequence + self.weight * (self.scale * stacked + self.shift), np.float32)


@dataclass(frozen=True, eq=False)
class VabsNetCheckpoint:
    """A trained Vabs-Net, and the checkpoint that its language features and the later stages come from."""

    name: str
    model: VabsNet
    base: Checkpoint
    stack: Stack
    threshold: float
    """Residue threshold tuned on validation."""
    blend: Blend = field(default_factory=Blend)
    card: dict[str, Any] = field(default_factory=dict)


def language_features(
    config: VabsNetConfig, logits: NDArray[np.floating], embeddings: NDArray[np.floating]
) -> NDArray[np.float32]:
    """(N, config.language_width) of (N,) logits and (N, d) embeddings: nothing, the logit, or the logit and the embedding.

    :class:`WeightsError` if the widths do not fit each other.
    """
    table = np.concatenate([logits[:, None], embeddings], axis=1).astype(np.float32)
    if config.language_width not in (0, 1, table.shape[1]):
        raise WeightsError(
            f"this Vabs-Net reads {config.language_width} numbers of a language model, but the one at hand gives {table.shape[1]}"
        )
    return table[:, : config.language_width]


def logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Finite for 0 and 1 too."""
    p = np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p / (1 - p)))


def combine(checkpoint: VabsNetCheckpoint, base: ResidueScores, own: NDArray[np.floating]) -> ResidueScores:
    """What the later stages get: the stacked probabilities, and for the points the blend.

    ``base``: scores by the base checkpoint; ``own``: (N,) logits of Vabs-Net.
    """
    final = checkpoint.stack(own, logit(base.probabilities))
    probabilities = sigmoid(final).astype(np.float32)
    return replace(base, probabilities=probabilities, sequence_logits=checkpoint.blend(base.sequence_logits, final))


class VabsNetPredictor(Seq2Pocket):
    """Seq2Pocket with the residue probabilities of a Vabs-Net, loaded weights; see :meth:`load`."""

    methods = ()

    def __init__(self, network: VabsNetCheckpoint) -> None:
        super().__init__(replace(network.base, threshold=network.threshold))
        self.network = network
        self.name = network.name

    @classmethod
    def load(cls, model: str | Path = "vabsnet", *, backbone: str | None = None, device: str = "auto") -> VabsNetPredictor:
        """Load a Vabs-Net by shipped name or path onto ``auto``, ``cpu`` or ``cuda``."""
        return cls(load_vabsnet(model, backbone=backbone, device=pick_device(device)))

    def _scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        base = super()._scores(structure, outputs, config)
        network = self.network.model
        features = language_features(network.config, base.sequence_logits, base.embeddings)
        own = residue_logits(network, nodes_of(structure, features, surface=network.config.surface))
        return combine(self.network, base, own)


def load_vabsnet(
    model: str | Path, *, backbone: str | Path | None = None, device: str | torch.device = "cpu"
) -> VabsNetCheckpoint:
    """Load a shipped Vabs-Net by name or any by path, with the checkpoint it builds on.

    :class:`WeightsError` if there is none, it cannot be used, or its base is not the one it was trained with.
    """
    path = find_weights(model, "give the path of a Vabs-Net checkpoint (.safetensors)")
    header, arrays = read_weights(path, FORMAT, "not a Vabs-Net checkpoint; `python -m benchmarks.recipes.vabsnet` writes them")
    config = VabsNetConfig(**header["config"] | {"kinds": tuple(header["config"]["kinds"])})
    network = VabsNet(config)
    fill(network, arrays, path)
    base = load_checkpoint(header["base"], backbone=backbone, device=device)
    if config.language_width and language_hash(base) != header["base_weights"]:
        raise WeightsError(f"{path} was trained with another version of {header['base']}; train it again or use the older one")
    stack, blend = Stack(**header["stack"]), Blend(**header["blend"])
    return VabsNetCheckpoint(header["name"], network.to(device).eval(), base, stack, header["threshold"], blend, header["card"])


def language_hash(checkpoint: Checkpoint) -> str:
    """A hash of the first numbers of every array of the language model."""
    return digest(checkpoint.model.state_dict().values())
