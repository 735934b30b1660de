"""The one registry of models that find pockets, and Seq2Pocket: structure -> residue probabilities -> ranked pockets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from s2p.checkpoint import Checkpoint, load_checkpoint
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import S2PError, StructureError, WeightsError
from s2p.io.runtime import pick_device
from s2p.io.weights import SHIPPED, find_weights
from s2p.language.esm import BACKBONES, LanguageOutput, predict_residues
from s2p.pockets.ranking import SMALLEST, UNCALIBRATED, joined, limits
from s2p.pockets.scored import find_point_pockets
from s2p.prediction import Prediction, Predictor, import_predictor, names_class, obeyed, predict_with, sigmoid
from s2p.residues import context_features, context_logits, smooth
from s2p.structure.reading import Structure, read_structure
from s2p.surface.surroundings import Surroundings, assemblies

__all__ = ["METHODS", "ResidueScores", "Seq2Pocket", "by_residue", "checkpoint_format", "load", "load_structure", "predict"]

PUBLISHED_SETTINGS = ("threshold", "smoothing_threshold", "use_smoothing", "smoothing", "surface", "cluster")
"""Fields of :class:`~s2p.config.PredictConfig` that shape the published pockets."""


@dataclass(frozen=True, eq=False)
class ResidueScores:
    """What the models say of every residue."""

    probabilities: NDArray[np.float32]
    """(N,) that it binds, which pockets are made from."""
    embeddings: NDArray[np.float32]
    """(N, d) of the language model."""
    sequence_logits: NDArray[np.float32]
    """(N,) of the language model alone."""
    parts: Sequence[Surroundings] | None = field(default=None, repr=False)
    """Assemblies of the structure, made for the probabilities and used again for the pockets."""
    cryptic: ResidueScores | None = field(default=None, repr=False)
    """What the model of cryptic sites says, where it was asked beside that of general ones."""
    sites: str = "general"
    """Kind of site that these are of."""


SHIPPED_FOR = {"general": DEFAULT_MODEL, "cryptic": "s2p-cryptic-8m"}
"""Kind of site -> the shipped model that predicts it beside a model that does not."""


class Seq2Pocket:
    """The Seq2Pocket predictor with one checkpoint.

    Parameters
    ----------
    checkpoint
        Loaded weights and thresholds; see :meth:`load`.

    Examples
    --------
    The language model runs once; the stages after it again for every setting.

    >>> import s2p
    >>> model = s2p.Seq2Pocket.load(device="cpu")
    >>> structure = s2p.read_structure("data/examples/4CUP.cif")
    >>> scores = model.score(structure)
    >>> [int(model.pockets(structure, scores, s2p.PredictConfig(threshold=t)).positive.sum()) for t in (0.99, 0.0)]
    [0, 115]
    """

    methods: tuple[str, ...] = ("surface", "published")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self._others: dict[str, Seq2Pocket] = {}

    @classmethod
    def load(cls, model: str | Path = DEFAULT_MODEL, *, backbone: str | None = None, device: str = "auto") -> Seq2Pocket:
        """Load a checkpoint by shipped name or path onto ``auto``, ``cpu`` or ``cuda``."""
        return cls(load_checkpoint(model, backbone=backbone, device=pick_device(device)))

    def of(self, kind: str) -> Seq2Pocket:
        """What predicts this kind of site: the model itself, another head of it, or the shipped model, loaded once."""
        checkpoint = self.checkpoint
        if kind == checkpoint.sites:
            return self
        if kind not in self._others:
            device = str(next(checkpoint.model.parameters()).device)
            inside = Seq2Pocket(checkpoint.with_head(kind)) if kind in checkpoint.others else None
            self._others[kind] = inside or Seq2Pocket.load(SHIPPED_FOR[kind], device=device)
        return self._others[kind]

    def kinds(self, sites: str) -> list[Seq2Pocket]:
        """What predicts each kind of site of :attr:`PredictConfig.sites`; ``general`` is whatever the model itself predicts."""
        if sites == "both":
            return [self.of("general"), self.of("cryptic")]
        return [self if sites == "general" else self.of(sites)]

    def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
        """What the language model says of each sequence, of one structure or of many; for both kinds of site, of either."""
        config = obeyed(config)
        first, *more = (model.checkpoint for model in self.kinds(config.sites))
        found = predict_residues(first.model, sequences, config.windows, head=first.sites)
        for other in more:
            if other.model is not first.model:
                added = predict_residues(other.model, sequences, config.windows, head=other.sites)
            else:  # all but the head is the same
                head = other.model.named_head(other.sites)
                weight, bias = (x.detach().float().cpu().numpy() for x in head.parameters())
                added = [(said[1] @ weight[0] + bias, said[1]) for said in found]
            found = [(*a, *b) for a, b in zip(found, added, strict=True)]
        return found

    def finish(
        self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig | None = None
    ) -> Prediction:
        """All that follows :meth:`read_sequences`; ``outputs`` holds every sequence of the structure."""
        return self.pockets(structure, self._all_scores(structure, outputs, obeyed(config)), config)

    def score(self, structure: Structure, config: PredictConfig | None = None) -> ResidueScores:
        """Run the language model, chains of equal sequence once, and the structure-context head if there is one."""
        distinct = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
        outputs = dict(zip(distinct, self.read_sequences(distinct, config), strict=True))
        return self._all_scores(structure, outputs, obeyed(config))

    def _all_scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        first, *more = (
            model._scores(structure, {key: said[2 * k : 2 * k + 2] for key, said in outputs.items()}, config)
            for k, model in enumerate(self.kinds(config.sites))
        )
        return replace(first, cryptic=more[0]) if more else first

    def _scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        logits, embeddings = by_residue(structure, outputs, self.checkpoint.model.head.in_features)
        final, parts, head = logits.copy(), assemblies(structure), self.checkpoint.context
        if head is not None and config.use_context:
            for part in parts:
                final[part.residues] = context_logits(head, context_features(part, logits[part.residues]))
        return ResidueScores(sigmoid(final).astype(np.float32), embeddings, logits, parts, sites=self.checkpoint.sites)

    def pockets(self, structure: Structure, scores: ResidueScores, config: PredictConfig | None = None) -> Prediction:
        """The stages after the language model: cheap, so that thresholds can be changed live."""
        config = obeyed(config)
        first, *more = models = self.kinds(config.sites)
        given = {x.sites: x for x in (scores, scores.cryptic) if x is not None}
        if any(model.checkpoint.sites not in given for model in models):
            raise S2PError(f"these residue scores are of {scores.sites} sites only; give score() the same config")
        found = first._pockets(structure, given[first.checkpoint.sites], config)
        if not more:
            return found
        second = more[0]._pockets(structure, given["cryptic"], replace(config, ranking="published"))
        return joined(found, second, calibrated=more[0].checkpoint.pocket_model is not None)

    def _pockets(self, structure: Structure, scores: ResidueScores, config: PredictConfig) -> Prediction:
        """Pockets of the one kind of site that this model is of."""
        checkpoint, parts = self.checkpoint, assemblies(structure, scores.parts)
        large = [part for part in parts if len(part.residues) >= SMALLEST]
        threshold = checkpoint.threshold if config.threshold is None else config.threshold
        smoothing_threshold = checkpoint.smoothing_threshold if config.smoothing_threshold is None else config.smoothing_threshold
        # Thresholds and clustering make the published pockets; the scored surface has none of them. Whoever sets one wants to see
        # what it does.
        given = any(getattr(config, name) != getattr(PredictConfig(), name) for name in PUBLISHED_SETTINGS)
        ranking = config.ranking or ("published" if given else checkpoint.ranking)
        points = checkpoint.points if ranking == "surface" else None
        if ranking == "surface" and points is None:
            raise S2PError(f"model {self.name} has no scorer of surface points; use the method published")
        p = scores.probabilities
        sequence_positive = p > threshold
        smoothed = np.zeros_like(sequence_positive)
        smoother = checkpoint.smoother if config.use_smoothing else None
        if smoother is not None:
            smoothed = smooth(
                smoother,
                structure.residues.ca_coord,
                sequence_positive,
                scores.embeddings,
                radius=config.smoothing.radius,
                threshold=smoothing_threshold,
            )
        positive = sequence_positive | smoothed
        settings = {
            "threshold": threshold,
            "context": bool(config.use_context and checkpoint.context is not None),
            "smoothing": smoother is not None,
            "smoothing_radius": config.smoothing.radius,
            "smoothing_threshold": smoothing_threshold,
            "bandwidth": config.cluster.bandwidth,
            "seeding": config.cluster.seeding,
            "frame": config.cluster.frame,
            "n_points": config.surface.n_points,
            "probe_radius": config.surface.probe_radius,
            "buried_by": config.surface.context,
            "ranking": ranking,
        }
        if points is not None:
            sequence = sigmoid(scores.sequence_logits).astype(np.float32)
            pockets = find_point_pockets(points, structure, sequence, scores.embeddings, positive, large)
        else:
            from s2p.pockets.published import published_pockets  # not needed for pockets of the scored surface

            pockets = published_pockets(structure, large, positive, smoothed, p, checkpoint.pocket_model, config)
        calibrated = points is not None or checkpoint.pocket_model is not None
        notes, cryptic = limits(structure, parts, calibrated=calibrated), checkpoint.sites == "cryptic"
        if cryptic:
            settings |= {"sites": "cryptic"}
            pockets = tuple(replace(pocket, site="cryptic") for pocket in pockets)
            rule = f"residues above {threshold:.2f} by {self.name}"
            chance = "the probability of a pocket is calibrated" if calibrated else UNCALIBRATED
            notes += (f"cryptic sites open on ligand binding and may be closed in this structure: {rule}; {chance}",)
        elif pockets and not calibrated:
            notes += (UNCALIBRATED,)
        if config.ranking is None and checkpoint.ranking != ranking:
            notes += (
                "a setting of the published pockets was given, so pockets are clustered and ranked by the published method",
            )
        if not pockets and large and ranking == "published":
            top, none = float(p.max()), f"no {'cryptic ' * cryptic}pockets predicted"
            notes += (f"no residue is above the threshold {threshold:.2f} (the highest is {top:.2f}): {none}",)
        return Prediction(structure, p, smoothed, positive, pockets, self.name, settings, notes, cryptic=p if cryptic else None)

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        """Pockets of a structure, best first.

        Raises
        ------
        S2PError
            If an option does not fit the checkpoint.
        """
        return self.pockets(structure, self.score(structure, config), config)


def by_residue(structure: Structure, outputs: Mapping[str, LanguageOutput], width: int) -> LanguageOutput:
    """(N,) logits and (N, width) embeddings of the residues, from the language model's ``outputs`` for their sequences."""
    logits, embeddings = np.zeros(len(structure.residues), np.float32), np.zeros((len(structure.residues), width), np.float32)
    for chain in structure.chains:
        mask = structure.residues.chain == chain
        logits[mask], embeddings[mask] = outputs[structure.sequence(chain)]
    return logits, embeddings


METHODS = {
    "s2p-1": "s2p.predictor:Seq2Pocket",
    "s2p-crossbind-1": "s2p.models.crossbind.predictor:CrossBindPredictor",
    "s2p-kalasanty-1": "s2p.models.kalasanty.predictor:KalasantyPredictor",
    "s2p-vabsnet-1": "s2p.models.vabsnet.predictor:VabsNetPredictor",
}
"""Format of a checkpoint -> the class that predicts with it; its ``load`` takes the model, ``backbone`` and ``device``."""

OTHERS = {
    "s2p-encoder-difference-1": "it is the language model that CrossBind and PocketGen start from",
    "s2p-pocketgen-1": "it designs pockets around a ligand; use s2p design",
}
"""Formats of checkpoints that find no pockets, and what those are for."""


def load(name: str | Path = DEFAULT_MODEL, *, backbone: str | None = None, device: str = "auto") -> Predictor:
    """Load a model that finds pockets.

    Parameters
    ----------
    name
        A shipped model (``s2p-esm2-8m``, ``s2p-cryptic-8m``, ``kalasanty``, ``vabsnet``, ``crossbind-dna``, ``crossbind-rna``),
        the path of a checkpoint, or ``package.module:Class`` of your own: anything with a ``name`` and a method
        ``predict(structure)``, made without arguments. Such a module may lie in the current folder.
    backbone
        Name or weights file of the language model, for checkpoints that are stored without it.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    Its method ``predict`` takes a :class:`Structure` and gives a :class:`Prediction`.

    Raises
    ------
    S2PError
        If there is no such model, it cannot be used, or it does not find pockets.

    Examples
    --------
    >>> import s2p
    >>> model = s2p.load("kalasanty", device="cpu")
    >>> prediction = model.predict(s2p.read_structure("data/examples/4CUP.cif"))
    >>> prediction.model
    'kalasanty'
    """
    if not isinstance(name, str | Path):
        raise S2PError(f"a model is a name or a path, not {type(name).__name__}")
    if names_class(name):
        if backbone is not None or device not in ("auto", "cpu"):
            raise S2PError(f"{name} chooses its language model and device itself: leave backbone and device out")
        return import_predictor(str(name))
    module, _, attribute = METHODS[checkpoint_format(name)].partition(":")
    found: Predictor = getattr(import_module(module), attribute).load(name, backbone=backbone, device=device)
    return found


def checkpoint_format(model: str | Path, others: Sequence[str] = ()) -> str:
    """The format, a key of :data:`METHODS`, that the header of a checkpoint names.

    ``others``: names that the caller knows besides, to be offered with those of the models. :class:`WeightsError` if there is no
    such checkpoint, or none that finds pockets; what is offered instead is in the sentence.
    """
    shipped = (path for path in sorted(SHIPPED.glob("*.json")) if json.loads(path.read_text("utf-8")).get("format") in METHODS)
    offer = f"give one of {', '.join((*others, *(p.stem for p in shipped)))}, the path of a checkpoint, or package.module:Class"
    if str(model) in BACKBONES:
        raise WeightsError(f"{model} is a language model, which finds no pockets before `s2p finetune`; {offer}")
    path = find_weights(model, offer)
    try:
        with safe_open(path, framework="np") as handle:
            header = json.loads((handle.metadata() or {}).get("s2p", "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error}); {offer}") from None
    kind = header.get("format") if isinstance(header, dict) else None
    if kind is None:
        raise WeightsError(f"{path}: no checkpoint of s2p (weights of a language model alone find no pockets); {offer}")
    if kind not in METHODS:
        reason = f"finds no pockets: {OTHERS[kind]}" if kind in OTHERS else f"is of the unknown format {kind!r}"
        raise WeightsError(f"{model} {reason}; {offer}")
    return str(kind)


_LOADED: dict[tuple[str, str, int], Predictor] = {}


def predict(
    source: str | Path | Structure,
    *,
    chain: str | Sequence[str] | None = None,
    model: str | Path = DEFAULT_MODEL,
    config: PredictConfig | None = None,
    device: str = "auto",
    sites: Literal["general", "cryptic", "both"] | None = None,
) -> Prediction:
    """Find ligand-binding pockets.

    Parameters
    ----------
    source
        A structure file (.pdb .ent .cif .mmcif .bcif .pdbqt .pqr, each also .gz), a PDB id, a UniProt accession, an ``AF-``
        id, or a :class:`~s2p.structure.reading.Structure`.
    chain
        Author chain ids, as a list or as ``"A,B"``; default all.
    model
        What :func:`load` takes; it is loaded once per session.
    config
        Default: the paper's settings with the checkpoint's thresholds.
    device
        ``auto``, ``cpu`` or ``cuda``.
    sites
        ``general``, ``cryptic`` or ``both``; default: those of ``config``.

    Raises
    ------
    S2PError
        If the structure or the model cannot be used, or settings do not fit the model.

    Examples
    --------
    >>> import s2p
    >>> prediction = s2p.predict("data/examples/6WQA.cif", chain="A", device="cpu")
    >>> prediction.pockets[0].rank
    1
    """
    structure = load_structure(source, chain)
    key = (str(model), device, Path(model).stat().st_mtime_ns if Path(model).is_file() else 0)  # a path may get another file
    if key not in _LOADED:
        _LOADED[key] = load(model, device=device)
    config = config if sites is None else replace(obeyed(config), sites=sites)
    return predict_with(_LOADED[key], structure, config)


def load_structure(source: str | Path | Structure, chain: str | Sequence[str] | None = None) -> Structure:
    """What :func:`predict` takes as a source, as a structure that holds at least one residue.

    :class:`StructureError` if it cannot be read, or lacks a chain that was asked for.
    """
    chains = [c.strip() for c in chain.split(",")] if isinstance(chain, str) else chain
    if isinstance(source, Structure):
        structure = source if chains is None else source.select_chains(chains)
    elif isinstance(source, str | Path):
        from s2p.io.fetch import classify, fetch_structure

        named = not Path(source).exists() and classify(str(source))
        structure = read_structure(fetch_structure(str(source)) if named else source, chains=chains)
    else:
        raise StructureError(f"a structure, a path or an id is wanted, not {type(source).__name__}")
    if not len(structure.residues):
        raise StructureError(f"{structure.name}: no residues to predict for")
    return structure
