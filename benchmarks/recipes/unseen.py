"""Logits of training proteins by models that were trained without them, and sites of their relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes.data import MIN_CHAIN, Data, Site
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import homologous
from s2p.io.runtime import progress_bar
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues
from s2p.models.encoder import BACKBONE
from s2p.structure.alignment import labels_on_chain
from s2p.structure.reading import Structure

__all__ = ["BACKBONE", "Unseen", "known_by_key", "known_sites", "out_of_fold", "score_complexes"]


def out_of_fold(
    models: Sequence[ResidueModel], folds: Mapping[str, int], structure: Structure, key: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N,) logits and (N, d) embeddings of every chain by the model that was trained without its cluster."""
    logits = np.zeros(len(structure.residues), np.float32)
    embeddings = np.zeros((len(logits), models[0].head.in_features), np.float32)
    for chain in structure.chains:
        fold = folds.get(f"{key}|{chain}" if key.startswith("c|") else key, 0)
        mask = structure.residues.chain == chain
        logits[mask], embeddings[mask] = predict_residues(models[fold], [structure.sequence(chain)])[0]
    return logits, embeddings


Unseen = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Key of a structure -> :func:`out_of_fold`."""


def score_complexes(
    models: Sequence[ResidueModel], folds: Mapping[str, int], sites: Sequence[Site], quiet: bool = True
) -> Unseen:
    """:func:`out_of_fold` of training complexes, by their keys."""
    progress = progress_bar(sites, "unseen scores", quiet)
    return {s.source.key: out_of_fold(models, folds, s.structure, f"c|{s.source.key}") for s in progress}


def known_sites(structure: Structure, chains: Mapping[str, Sequence[LabelledChain]]) -> NDArray[np.bool_]:
    """(N,) residues labelled on any close homologue of their chain.

    Parameters
    ----------
    chains
        Per sequence of the structure, its close homologues (say 90 % identity, :func:`s2p.datasets.splits.homologous`).
    """
    known = np.zeros(len(structure.residues), bool)
    for chain in structure.chains:
        own, sequence = structure.residues.chain == chain, structure.sequence(chain)
        for other in chains.get(sequence, ()):
            known[own] |= labels_on_chain(sequence, other.sequence, np.flatnonzero(other.labels).tolist()) > 0
    return known


def known_by_key(data: Data) -> dict[str, NDArray[np.bool_]]:
    """(N,) residues of every training complex that are labelled on a chain of 90 % identity, by key."""
    sites = data.complexes["train"]
    sequences = {s.structure.sequence(c) for s in sites for c in s.structure.chains if len(s.structure.sequence(c)) >= MIN_CHAIN}
    close = homologous({q: q for q in sequences}, {str(k): c.sequence for k, c in enumerate(data.training)}, identity=0.9)
    relatives: dict[str, list[LabelledChain]] = {}
    for k, queries in close.items():
        for sequence in queries:
            relatives.setdefault(sequence, []).append(data.training[int(k)])
    return {s.source.key: known_sites(s.structure, relatives) for s in sites}
