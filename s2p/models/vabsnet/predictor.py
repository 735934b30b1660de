"""Vabs-Net as a predictor: its residue probabilities replace those of the sequence model; later stages are the same."""

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
from s2p.language.sequences import LanguageOutput
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import nodes_of
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.reading import Structure

__all__ = ["Stack", "VabsNetCheckpoint", "VabsNetPredictor", "language_features", "language_hash", "load_vabsnet"]

FORMAT = "s2p-vabsnet-1"


@dataclass(frozen=True)
class Stack:
    """Logistic combination of the logits of Vabs-Net and of the language model."""

    network: float = 1.0
    sequence: float = 0.0
    bias: float = 0.0

    def __call__(self, network: NDArray[np.floating], sequence: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) and (N,) logits -> (N,) logits."""
        return np.asarray(self.network * network + self.sequence * sequence + self.bias, np.float32)


@dataclass(frozen=True, eq=False)
class VabsNetCheckpoint:
    """A trained Vabs-Net, and the checkpoint of its language features and of the later stages."""

    name: str
    model: VabsNet
    base: Checkpoint
    stack: Stack
    threshold: float
    """Residue threshold tuned on validation."""
    card: dict[str, Any] = field(default_factory=dict)


def language_features(
    config: VabsNetConfig, logits: NDArray[np.floating], embeddings: NDArray[np.floating]
) -> NDArray[np.float32]:
    """(N, config.language_width) features from (N,) logits and (N, d) embeddings: none, the logit, or both.

    :class:`WeightsError` if the widths do not match.
    """
    table = np.concatenate([logits[:, None], embeddings], axis=1).astype(np.float32)
    if config.language_width not in (0, 1, table.shape[1]):
        raise WeightsError(
            f"this Vabs-Net reads {config.language_width} numbers of a language model, but the one at hand gives {table.shape[1]}"
        )
    return table[:, : config.language_width]


class VabsNetPredictor(Seq2Pocket):
    """Seq2Pocket with the residue probabilities of a Vabs-Net, loaded weights; see :meth:`load`."""

    methods = ()

    def __init__(self, network: VabsNetCheckpoint) -> None:
        # The surface network of the base would use its own residue probabilities.
        super().__init__(replace(network.base, threshold=network.threshold, ranking="published", surface=None))
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
        return replace(base, sequence=sigmoid(self.network.stack(own, base.sequence_logits)))


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
    stack = Stack(**header["stack"])
    return VabsNetCheckpoint(header["name"], network.to(device).eval(), base, stack, header["threshold"], header["card"])


def language_hash(checkpoint: Checkpoint) -> str:
    """A hash of the first numbers of every array of the language model."""
    return digest(checkpoint.model.state_dict().values())
