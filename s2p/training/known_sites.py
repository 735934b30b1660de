"""What the smoothing classifier learns from: structures with known sites, split by cluster, and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.labelled import Complex, KnownSites, read_complexes
from s2p.datasets.splits import COVERAGE, IDENTITY, cluster, read_splits, split_complexes
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, complex_case, labelled_cases
from s2p.io.runtime import progress_bar
from s2p.language.cache import embed_residues
from s2p.language.esm import ResidueModel
from s2p.language.sequences import LanguageOutput
from s2p.predictor import by_residue
from s2p.training.smoother import SmoothingExample

__all__ = ["embed_structures", "read_known_sites", "smoothing_examples"]

USED = ("train", "validation")
"""Splits that are read; test clusters are not even opened."""


def read_known_sites(
    source: str | Path, *, splits: str | Path | None = None, structures: str | Path | None = None, quiet: bool = False
) -> dict[str, list[KnownSites]]:
    """Training and validation structures with their sites; no cluster is in both.

    Parameters
    ----------
    source
        A folder of complexes (:func:`s2p.datasets.labelled.read_complexes`), sites being the residues within 4.5 Å of each
        ligand, or a label file (:func:`s2p.datasets.label_files.read_annotations`) whose every line is a site.
    splits
        CSV with the columns ``dataset``, ``id`` and ``split``, as in ``data/splits``; for a label file the dataset is its name
        without suffix and the id its field ``pdb``. Default: by a hash of the cluster
        (:func:`s2p.datasets.splits.split_complexes`).
    structures
        Folder with a structure file for each ``pdb`` of a label file; default: where the label file is.

    Returns
    -------
    ``train`` and ``validation``; other splits are not read. :class:`S2PError` if something is missing or inconsistent, or if
    one of the two would be empty.
    """
    source = Path(source)
    if source.is_dir():
        found = read_complexes(source)
        cases = [complex_case(x) for x in found]
    else:
        cases = labelled_cases(source, source.parent if structures is None else Path(structures))
        found = _table_complexes(source, cases, splits is None)
    split = split_complexes(found) if splits is None else read_splits(Path(splits))
    if missing := [x.key for x in found if x.key not in split]:
        raise S2PError(f"{splits}: {len(missing)} structures are not in this split file, the first is {missing[0]}")
    chosen = [(split[x.key], x.key, case) for x, case in zip(found, cases, strict=True) if split[x.key] in USED]
    result: dict[str, list[KnownSites]] = {name: [] for name in USED}
    for name, key, case in progress_bar(chosen, "structures", quiet):
        truth = case.read()
        sites = tuple(site.astype(np.int64) for site in truth.sites or () if len(site))
        result[name].append(KnownSites(key, truth.structure, sites))
    for name, items in result.items():
        if not any(item.sites for item in items):
            raise S2PError(
                f"{source}: none of its {len(found)} structures is in the {name} split with a site; give more, or a split file"
            )
    return result


def embed_structures(
    model: ResidueModel,
    items: Sequence[KnownSites],
    folder: str | Path | None = None,
    *,
    note: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> list[LanguageOutput]:
    """(N,) logits and (N, d) embeddings of each structure, through the cache in ``folder``.

    Those of a structure of one chain are memory-mapped (:func:`s2p.language.cache.embed_residues`), others are float32 in memory.
    """
    chains = [[x.structure.sequence(chain) for chain in x.structure.chains] for x in items]
    sequences = [sequence for group in chains for sequence in group]
    outputs = dict(zip(sequences, embed_residues(model, sequences, folder, note=note, quiet=quiet), strict=True))
    width = model.head.in_features
    found = zip(items, chains, strict=True)
    return [outputs[own[0]] if len(own) == 1 else by_residue(item.structure, outputs, width) for item, own in found]


def smoothing_examples(
    items: Sequence[KnownSites], embeddings: Sequence[NDArray[np.floating]], predicted: Sequence[NDArray[np.bool_]] | None = None
) -> list[SmoothingExample]:
    """Examples for :func:`s2p.training.smoother.train_smoother`."""
    flags = [None] * len(items) if predicted is None else predicted
    rows = zip(items, embeddings, flags, strict=True)
    return [SmoothingExample(e, item.structure.residues.ca_coord, item.sites, p) for item, e, p in rows]


def _table_complexes(path: Path, cases: Sequence[Case], clustered: bool) -> list[Complex]:
    """The structures that a label file names; their clusters are looked for only if they decide the split."""
    # Every annotated chain once: lines may be pockets.
    sequences = {f"{path.stem}/{case.id}|{a.chain}": a.sequence for case in cases for a in case.lines}
    groups = cluster(sequences, identity=IDENTITY, coverage=COVERAGE) if clustered else []
    name = {k: group[0] for group in groups for k in group}
    found = []
    for case in cases:
        clusters = {name[f"{path.stem}/{case.id}|{a.chain}"] for a in case.lines} if clustered else ()
        found.append(Complex(path.stem, case.id, case.path, (), tuple(sorted(clusters))))
    return found
