"""CrossBind as a predictor: residues that touch DNA or RNA, and surface patches of such residues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.checkpoint import Checkpoint, load_checkpoint, load_mpnn
from s2p.config import PredictConfig
from s2p.errors import S2PError, WeightsError
from s2p.io.runtime import pick_device
from s2p.io.weights import TOGETHER, fill, find_weights, read_weights
from s2p.language.esm import ResidueModel
from s2p.language.sequences import LanguageOutput
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig, CrossBindFilterConfig
from s2p.models.crossbind.features import N_FEATURES, structure_features
from s2p.models.crossbind.filter import filter_probabilities, geodesic_neighbours, log_propensities, sequence_neighbours
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.models.crossbind.sequence import apply_update
from s2p.models.encoder import BACKBONE, ENCODER, encoder_digest, start_model
from s2p.pockets.ranking import joined
from s2p.prediction import Prediction, sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.reading import Structure

__all__ = ["CrossBindBoth", "CrossBindCheckpoint", "CrossBindPredictor", "base_model", "load_crossbind"]

FORMAT = "s2p-crossbind-1"
FOREIGN = "not a CrossBind checkpoint; `python -m benchmarks.recipes.crossbind` writes them"
SEQUENCE_ONLY = (
    "only the sequence branch of CrossBind was used, because this checkpoint contains no network for structures: "
    "the structure affects the patches, but not the probabilities"
)
EITHER = (
    "the probability of a residue is the higher of those for DNA and RNA; each assumes a protein that binds this kind of nucleic "
    "acid, so comparing them does not show which kind a protein binds"
)
SITES = "nucleic acid"
"""Key of a prediction's settings for what the residues bind; such predictions are not compared with ligands."""


@dataclass(frozen=True, eq=False)
class CrossBindCheckpoint:
    """A trained CrossBind."""

    name: str
    model: ResidueModel
    """The fine-tuned language model, whose head is the sequence branch."""
    network: CrossBind | None
    """The whole network, which reads the language model's embeddings; without it the sequence branch predicts alone."""
    propensities: dict[str, float]
    """ξ of each amino acid in the training set."""
    filter: CrossBindFilterConfig | None
    """Settings of the residue propensity filter, or ``None`` if it did not help on validation."""
    threshold: float
    """Residue threshold chosen on validation."""
    card: dict[str, Any] = field(default_factory=dict)
    base: str = ENCODER
    """The model of which the language model is an update: the shipped ESM-2 before fine-tuning, or a Seq2Pocket checkpoint."""


class CrossBindPredictor(Seq2Pocket):
    """Residue probabilities of a CrossBind, loaded weights (:meth:`load`), and patches by the published clustering."""

    methods = ()

    def __init__(self, trained: CrossBindCheckpoint) -> None:
        # The shipped smoother and surface network were trained on sites of small molecules, so interfaces use neither.
        super().__init__(Checkpoint(trained.name, trained.model, None, None, trained.threshold, 0.5, "published", trained.card))
        self.trained = trained
        self.encoder = load_mpnn() if trained.network is not None and trained.network.config.feature_width else None

    @classmethod
    def load(
        cls, model: str | Path = "crossbind-dna", *, backbone: str | None = None, device: str = "auto"
    ) -> CrossBindPredictor:
        """Load a CrossBind by shipped name or path onto ``auto``, ``cpu`` or ``cuda``."""
        return cls(load_crossbind(model, backbone=backbone, device=pick_device(device)))

    def kinds(self, sites: str) -> list[Seq2Pocket]:
        """Only the sites of nucleic acids."""
        if sites != "general":
            raise S2PError(f"{self.name} predicts sites of nucleic acids only; leave cryptic sites out, or use another model")
        return [self]

    def _scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        base = super()._scores(structure, outputs, config)
        p, network = base.sequence, self.trained.network
        if network is not None:
            more = structure_features(structure, self.encoder) if self.encoder else np.zeros((len(p), 0), np.float32)
            logits = residue_logits(network, cloud_of(structure, network.config), base.embeddings, more)
            p = sigmoid(logits).astype(np.float32)
        if (rule := self.trained.filter) is not None:
            chain, letters = structure.residues.chain, "".join(structure.residues.one_letter.tolist())
            around = sequence_neighbours(chain) if rule.neighbours == "sequence" else geodesic_neighbours(structure, rule)
            p = filter_probabilities(p, log_propensities(letters, self.trained.propensities), around, rule)
        return replace(base, sequence=p)

    def pockets(self, structure: Structure, scores: ResidueScores, config: PredictConfig | None = None) -> Prediction:
        """Patches of residues above the threshold; a note says if the probabilities do not depend on the structure."""
        prediction = super().pockets(structure, scores, config)
        settings = prediction.settings | {"filter": asdict(self.trained.filter) if self.trained.filter else None, "sites": SITES}
        settings["branches"] = "sequence" if self.trained.network is None else "structure and sequence"
        if self.trained.network is None:
            return replace(prediction, settings=settings, notes=(SEQUENCE_ONLY, *prediction.notes))
        branch = {"sequence": sigmoid(scores.sequence_logits).astype(np.float32)}
        return replace(prediction, settings=settings, parts=branch)


class CrossBindBoth:
    """The shipped CrossBinds for DNA and for RNA as one predictor.

    The probability of a residue is the higher of both. :attr:`Prediction.parts` has those for each kind, and for a whole network
    also that of its sequence branch alone. Patches of both kinds are in one list.
    """

    name = "crossbind"

    def __init__(self, dna: CrossBindPredictor, rna: CrossBindPredictor) -> None:
        self.kinds_of_acid = {"DNA": dna, "RNA": rna}

    @classmethod
    def load(cls, model: str = "crossbind", *, backbone: str | None = None, device: str = "auto") -> CrossBindBoth:
        """Load both onto ``auto``, ``cpu`` or ``cuda``."""
        return cls(*(CrossBindPredictor.load(name, backbone=backbone, device=device) for name in TOGETHER[model]))

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        """Residues and patches that bind DNA, RNA or both; settings apply to both networks."""
        found = {kind: one.predict(structure, config) for kind, one in self.kinds_of_acid.items()}
        shared = set.intersection(*(set(one.notes) for one in found.values()))
        parts: dict[str, NDArray[np.float32]] = {}
        for kind, one in found.items():
            parts |= {kind.lower(): one.probabilities} | {f"{kind.lower()}_{name}": p for name, p in one.parts.items()}
            notes = tuple(note if note in shared else f"{kind}: {note}" for note in one.notes)
            found[kind] = replace(one, pockets=tuple(replace(p, site=kind) for p in one.pockets), notes=notes)
        both = joined(*found.values(), calibrated=True)
        settings = {"sites": SITES, "ranking": "published", "branches": {k: one.settings["branches"] for k, one in found.items()}}
        return replace(
            both,
            model=self.name,
            probabilities=np.maximum(parts["dna"], parts["rna"]),
            pockets=tuple(replace(p, site="DNA and RNA") if p.site == "both" else p for p in both.pockets),
            settings=settings | {kind: {"model": one.model} | one.settings for kind, one in found.items()},
            notes=(*both.notes, EITHER),
            parts=parts,
        )


def base_model(name: str, *, backbone: str | Path | None = None, device: str | torch.device = "cpu") -> ResidueModel:
    """The residue model to which an update belongs: ESM-2 before fine-tuning, or that of a Seq2Pocket checkpoint.

    :class:`WeightsError` if it cannot be loaded, or ``backbone`` is another one.
    """
    if name != ENCODER:
        return load_checkpoint(name, backbone=backbone, device=device).model
    if backbone is not None and str(backbone) != BACKBONE:
        raise WeightsError(f"CrossBind reads {BACKBONE} as it is shipped, not {backbone}; drop --backbone")
    return start_model().to(device)


def load_crossbind(
    model: str | Path, *, backbone: str | Path | None = None, device: str | torch.device = "cpu"
) -> CrossBindCheckpoint:
    """Load a shipped CrossBind by name or any by path, on top of the language model it was trained from.

    :class:`WeightsError` if there is none, it cannot be used, or its base is not the one it was trained from.
    """
    path = find_weights(model, "give the path of a CrossBind checkpoint (.safetensors)")
    header, arrays = read_weights(path, FORMAT, FOREIGN)
    base = base_model(header["base"], backbone=backbone, device=device)
    if encoder_digest(base.backbone) != header["base_weights"]:
        raise WeightsError(f"{path} was trained from another version of {header['base']}; train it again or use the older one")
    update = {key.removeprefix("update."): value.to(device) for key, value in arrays.items() if key.startswith("update.")}
    base = apply_update(base, update).to(device)
    network = None
    if header["network"] is not None:
        if (width := header["network"]["feature_width"]) not in (0, N_FEATURES):
            raise WeightsError(
                f"{path} reads {width} more numbers of each residue, and predictions make 0 or {N_FEATURES} of them"
            )
        network = CrossBind(CrossBindConfig(**header["network"] | {"head_widths": tuple(header["network"]["head_widths"])}))
        fill(network, {key.removeprefix("network."): arrays[key] for key in arrays if key.startswith("network.")}, path)
        network = network.to(device).eval()
    chosen = CrossBindFilterConfig(**header["filter"]) if header["filter"] is not None else None
    rest = header["propensities"], chosen, header["threshold"], header["card"], header["base"]
    return CrossBindCheckpoint(header["name"], base, network, *rest)
