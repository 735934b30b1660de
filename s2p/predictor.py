"""The one registry of models that find pockets, and Seq2Pocket: structure -> residue probabilities -> ranked pockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np

from s2p.checkpoint import METHODS, Checkpoint, checkpoint_format, load_checkpoint
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import S2PError, StructureError, pytorch_wanted
from s2p.io.runtime import device_name
from s2p.language.sequences import LanguageOutput, predict_residues
from s2p.pockets.ranking import SMALLEST, UNCALIBRATED, joined, limits
from s2p.pockets.voting import find_voted_pockets
from s2p.prediction import Prediction, Predictor, ResidueScores, import_predictor, names_class, obeyed, predict_with, sigmoid
from s2p.residues import smooth
from s2p.structure.reading import Structure, read_structure
from s2p.surface.surroundings import assemblies

__all__ = ["ResidueScores", "Seq2Pocket", "by_residue", "load", "load_structure", "predict"]

PUBLISHED_SETTINGS = ("threshold", "smoothing_threshold", "use_smoothing", "smoothing", "surface", "cluster")
"""Fields of :class:`~s2p.config.PredictConfig` on which only the published pockets depend."""


SHIPPED_FOR = {"general": DEFAULT_MODEL, "cryptic": "s2p-cryptic-8m"}
"""Kind of site -> the shipped model that predicts it if the chosen model does not."""


class Seq2Pocket:
    """The Seq2Pocket predictor with one checkpoint.

    Parameters
    ----------
    checkpoint
        Loaded weights and thresholds; see :meth:`load`.

    Examples
    --------
    The language model runs once; the later stages run again for every setting.

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
        place = device_name(device)
        with pytorch_wanted():
            return cls(load_checkpoint(model, backbone=backbone, device=None if place == "cpu" else place))

    def of(self, kind: str) -> Seq2Pocket:
        """The predictor of this kind of site: the model itself, another head of it, or the shipped model, loaded once."""
        checkpoint = self.checkpoint
        if kind == checkpoint.sites:
            return self
        if kind not in self._others:
            inside = Seq2Pocket(checkpoint.with_head(kind)) if kind in checkpoint.others else None
            self._others[kind] = inside or Seq2Pocket.load(SHIPPED_FOR[kind], device=checkpoint.model.device)
        return self._others[kind]

    def kinds(self, sites: str) -> list[Seq2Pocket]:
        """A predictor for each kind of site of :attr:`PredictConfig.sites`; ``general`` is what the model itself predicts."""
        if sites == "both":
            return [self.of("general"), self.of("cryptic")]
        return [self if sites == "general" else self.of(sites)]

    def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
        """Outputs of the language model for each sequence, from one structure or many; for both kinds of site if requested."""
        config = obeyed(config)
        first, *more = (model.checkpoint for model in self.kinds(config.sites))
        found = predict_residues(first.model, sequences, config.windows, head=first.sites)
        for other in more:
            if other.model is not first.model:
                added = predict_residues(other.model, sequences, config.windows, head=other.sites)
            else:  # all but the head is the same
                weight, bias = other.model.linear_head(other.sites)
                added = [(said[1] @ weight + bias, said[1]) for said in found]
            found = [(*a, *b) for a, b in zip(found, added, strict=True)]
        return found

    def finish(
        self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig | None = None
    ) -> Prediction:
        """All stages after :meth:`read_sequences`; ``outputs`` must contain every sequence of the structure."""
        return self.pockets(structure, self._all_scores(structure, outputs, obeyed(config)), config)

    def score(self, structure: Structure, config: PredictConfig | None = None) -> ResidueScores:
        """Run the language model (once for chains of equal sequence), and the surface network if its pockets are requested."""
        distinct = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
        outputs = dict(zip(distinct, self.read_sequences(distinct, config), strict=True))
        return self._all_scores(structure, outputs, obeyed(config))

    def _all_scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        first, *more = (
            model._scores(
                structure,
                {key: said[2 * k : 2 * k + 2] for key, said in outputs.items()},
                replace(config, ranking="published") if k else config,
            )
            for k, model in enumerate(self.kinds(config.sites))
        )
        return replace(first, cryptic=more[0]) if more else first

    def _scores(self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig) -> ResidueScores:
        logits, embeddings = by_residue(structure, outputs, self.checkpoint.model.width)
        p = sigmoid(logits).astype(np.float32)
        found = ResidueScores(p, embeddings, logits, assemblies(structure), sites=self.checkpoint.sites)
        return self.with_readings(structure, found) if self.ranking(config) == "surface" else found

    def with_readings(self, structure: Structure, scores: ResidueScores) -> ResidueScores:
        """The scores with the surface network's readings, if there is one; made where missing or of another structure."""
        parts = assemblies(structure, scores.parts)
        if self.checkpoint.surface is None or (scores.readings is not None and parts is scores.parts):
            return scores
        network = self.checkpoint.surface.network
        return replace(scores, parts=parts, readings=[network.read(x, scores.embeddings[x.residues]) for x in parts])

    def ranking(self, config: PredictConfig | None = None) -> str:
        """``surface`` or ``published``: how pockets are found with these settings.

        :class:`S2PError` if the surface is asked for and the model has no network for it.
        """
        config = obeyed(config)
        # Thresholds and clustering make the published pockets; the surface network has none of them. Whoever sets one wants to
        # see what it does.
        given = any(getattr(config, name) != getattr(PredictConfig(), name) for name in PUBLISHED_SETTINGS)
        found = config.ranking or ("published" if given else self.checkpoint.ranking)
        if found == "surface" and self.checkpoint.surface is None:
            raise S2PError(f"model {self.name} has no surface network; use the method published")
        return found

    def pockets(self, structure: Structure, scores: ResidueScores, config: PredictConfig | None = None) -> Prediction:
        """Run the stages after the language model; they are fast, so that thresholds can be changed interactively."""
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
        """Pockets of the one kind of site that this model predicts."""
        checkpoint, ranking = self.checkpoint, self.ranking(config)
        found = (self._voted if ranking == "surface" else self._clustered)(structure, scores, config)
        calibrated = ranking == "surface" or checkpoint.pocket_model is not None
        parts = assemblies(structure, scores.parts)
        notes, threshold = limits(structure, parts, calibrated=calibrated), found.settings["threshold"]
        cryptic = checkpoint.sites == "cryptic"
        if cryptic:
            settings, pockets = found.settings | {"sites": "cryptic"}, tuple(replace(p, site="cryptic") for p in found.pockets)
            found = replace(found, pockets=pockets, settings=settings, parts={"cryptic": found.probabilities})
            rule = f"residues above {threshold:.2f} by {self.name}"
            chance = "the probability of a pocket is calibrated" if calibrated else UNCALIBRATED
            notes += (f"cryptic sites open on ligand binding and may be closed in this structure: {rule}; {chance}",)
        elif found.pockets and not calibrated:
            notes += (UNCALIBRATED,)
        if config.ranking is None and checkpoint.ranking != ranking:
            notes += (
                "a setting of the published pockets was given, so pockets are clustered and ranked by the published method",
            )
        if not found.pockets and ranking == "published" and any(len(part.residues) >= SMALLEST for part in parts):
            top, none = float(found.probabilities.max()), f"no {'cryptic ' * cryptic}pockets predicted"
            notes += (f"no residue is above the threshold {threshold:.2f} (the highest is {top:.2f}): {none}",)
        return replace(found, notes=notes)

    def _voted(self, structure: Structure, scores: ResidueScores, config: PredictConfig) -> Prediction:
        """Pockets and residues of the surface network."""
        scores, surface = self.with_readings(structure, scores), self.checkpoint.surface
        if surface is None or scores.parts is None or scores.readings is None:
            raise S2PError(f"model {self.name} has no surface network; use the method published")
        large = [k for k, part in enumerate(scores.parts) if len(part.residues) >= SMALLEST]
        readings, parts = [scores.readings[k] for k in large], [scores.parts[k] for k in large]
        pockets = find_voted_pockets(surface.votes, structure, readings, parts)
        p, threshold = scores.probabilities, surface.threshold if config.threshold is None else config.threshold
        settings = {"threshold": threshold, "ranking": "surface"}
        return Prediction(structure, p, np.zeros(len(p), bool), p > threshold, pockets, self.name, settings)

    def _clustered(self, structure: Structure, scores: ResidueScores, config: PredictConfig) -> Prediction:
        """Pockets of the published method, from the probabilities that the sequence gives."""
        from s2p.pockets.published import published_pockets  # not needed for pockets of the surface network

        checkpoint, p = self.checkpoint, scores.sequence
        threshold = checkpoint.threshold if config.threshold is None else config.threshold
        smoothing_threshold = checkpoint.smoothing_threshold if config.smoothing_threshold is None else config.smoothing_threshold
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
        large = [part for part in assemblies(structure, scores.parts) if len(part.residues) >= SMALLEST]
        pockets = published_pockets(structure, large, positive, smoothed, p, checkpoint.pocket_model, config)
        settings = {
            "threshold": threshold,
            "smoothing": smoother is not None,
            "smoothing_radius": config.smoothing.radius,
            "smoothing_threshold": smoothing_threshold,
            "bandwidth": config.cluster.bandwidth,
            "seeding": config.cluster.seeding,
            "frame": config.cluster.frame,
            "n_points": config.surface.n_points,
            "probe_radius": config.surface.probe_radius,
            "buried_by": config.surface.context,
            "ranking": "published",
        }
        return Prediction(structure, p, smoothed, positive, pockets, self.name, settings)

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


def load(name: str | Path = DEFAULT_MODEL, *, backbone: str | None = None, device: str = "auto") -> Predictor:
    """Load a model that finds pockets.

    Parameters
    ----------
    name
        A shipped model (``s2p-esm2-8m``, ``s2p-cryptic-8m``, ``kalasanty``, ``vabsnet``, ``crossbind-dna``, ``crossbind-rna`` or
        ``crossbind`` for both), the path of a checkpoint, or a class of your own as ``package.module:Class``. The class is called
        without arguments and needs a ``name`` and a method ``predict(structure)``; its module may be in the current folder.
    backbone
        Name or weights file of the language model, for checkpoints stored without it.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    A predictor, whose method ``predict`` takes a :class:`Structure` and returns a :class:`Prediction`.

    Raises
    ------
    S2PError
        If the model does not exist, cannot be used, or does not find pockets.

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
    with pytorch_wanted():
        found: Predictor = getattr(import_module(module), attribute).load(name, backbone=backbone, device=device)
    return found


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
        A model as for :func:`load`; it is loaded once per session.
    config
        Settings; default: ``PredictConfig()``, with the checkpoint's thresholds.
    device
        ``auto``, ``cpu`` or ``cuda``.
    sites
        ``general``, ``cryptic`` or ``both``; default: as in ``config``.

    Raises
    ------
    S2PError
        If the structure or the model cannot be used, or the settings do not fit the model.

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
    """Read what :func:`predict` accepts as ``source``; the structure has at least one residue.

    :class:`StructureError` if it cannot be read or lacks a requested chain.
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
