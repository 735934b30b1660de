"""What predictors are tested on: structures and the truth that belongs to them, kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.labelled import read_complexes, read_ligand
from s2p.datasets.splits import read_splits
from s2p.errors import S2PError
from s2p.io.files import read_csv
from s2p.structure.alignment import labels_on_chain
from s2p.structure.arrays import binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Structure, is_structure_file, read_structure, stem

__all__ = ["Case", "CaseSet", "Truth", "find_cases"]

RELATED = {"1ia1": "1s3v"}
"""Bundled structures that are one cluster: both are dihydrofolate reductase (data/README.md)."""

FAR = "validation-far"
"""LIGYSIS validation chains below 30 % identity to the training chains of the shipped checkpoint."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A structure as a predictor may see it, without ligands, and the answers."""

    structure: Structure
    names: tuple[str, ...]
    """Of the S true ligands; none where only residues are labelled."""
    ligands: tuple[NDArray[np.float32], ...]
    """Heavy atoms (L, 3) Å of each."""
    labels: NDArray[np.bool_]
    """(N,) residues that bind any of them."""


@dataclass(frozen=True)
class Case:
    """One protein of a data set, on disk; small, so that it can be sent to worker processes."""

    id: str
    cluster: str
    """Homologous proteins share it; intervals are over clusters."""
    path: Path
    kind: Literal["files", "listed", "inside", "residues"]
    """Where the truth is: ligand files; ids or SDF files from ``labels.csv``; all relevant ligands in the file itself;
    labels on a reference sequence."""
    ligands: tuple[str, ...] = ()
    reference: str = ""
    binding: tuple[int, ...] = ()
    """0-based indices into ``reference``."""

    def read(self) -> Truth:
        """Structure and truth; :class:`S2PError` if a file cannot be read, or a ligand that is listed is not there."""
        structure = replace(read_structure(self.path), name=self.id)
        if self.kind == "residues":
            labels = labels_on_chain(structure.sequence(), self.reference, self.binding).astype(np.bool_)
            return Truth(replace(structure, ligands=()), (), (), labels)
        if self.kind == "files":
            names, coords = [Path(name).stem for name in self.ligands], [read_ligand(Path(name))[0] for name in self.ligands]
        elif self.kind == "listed":
            inside = {ligand.id: ligand.coord for ligand in structure.ligands}
            names, coords = list(self.ligands), []
            for name in names:
                if not name.endswith(".sdf") and name not in inside:
                    raise S2PError(f"{self.path}: there is no ligand {name!r} in it, which labels.csv names")
                coords.append(read_sdf_ligand(self.path.parent / name)[0] if name.endswith(".sdf") else inside[name])
        else:
            found = relevant_ligands(structure)
            names, coords = [ligand.id for ligand in found], [ligand.coord for ligand in found]
        labels = np.zeros(len(structure.residues), np.bool_)
        for coord in coords:
            labels[binding_residues(structure, coord)] = True
        return Truth(replace(structure, ligands=()), tuple(names), tuple(coords), labels)


@dataclass(frozen=True)
class CaseSet:
    """A data set, or a split of it."""

    name: str
    split: str
    """Empty where the set has no splits."""
    cases: tuple[Case, ...]


def find_cases(
    dataset: str | Path, split: str | None = None, *, limit: int | None = None, splits: str | Path | None = None
) -> CaseSet:
    """The cases of a data set.

    Parameters
    ----------
    dataset
        ``mini`` (the bundled complexes), or a folder: of complexes with ``index.csv`` and ``chain_clusters.csv``
        (:func:`s2p.datasets.labelled.read_complexes`), of LIGYSIS chains with ``chains.csv``, with structures and a
        ``labels.csv`` like the bundled one, or with structure files whose own ligands are the truth.
    split
        Of complexes (default ``test``) and LIGYSIS (default ``validation``; :data:`FAR` are those of its chains that are below
        30 % identity to the shipped checkpoint's training chains); other folders have none.
    limit
        At most so many, one of each cluster before a second of any.
    splits
        Table of the split of complexes (``dataset,id,split``) or of the far chains (``uniprot``); default: the repository's.

    Raises
    ------
    S2PError
        If there is no such data set or nothing in it.
    """
    folder = _repository("data/examples") if str(dataset) == "mini" else Path(dataset)
    if not folder.is_dir():
        raise S2PError(f"there is no data set {str(dataset)!r}; give the folder of one, or 'mini' for the bundled complexes")
    if (folder / "index.csv").is_file() and (folder / "chain_clusters.csv").is_file():
        split = split or "test"
        cases = _complexes(folder, split, Path(splits) if splits is not None else _repository("data/splits/complexes.csv"))
    elif (folder / "chains.csv").is_file():
        split = split or "validation"
        cases = _ligysis(folder, split, Path(splits) if splits is not None else None)
    elif split:
        raise S2PError(f"{dataset}: this data set has no splits; leave --split out")
    else:
        cases = _listed(folder) if (folder / "labels.csv").is_file() else _inside(folder)
    if not cases:
        raise S2PError(f"{folder}: nothing to evaluate on in it" + (f" for the split {split!r}" if split else ""))
    return CaseSet(str(dataset) if str(dataset) == "mini" else folder.resolve().name, split or "", _first(cases, limit))


def _repository(name: str) -> Path:
    """A path of the repository, which is the current folder or where the package lies."""
    places = [Path.cwd() / name, Path(__file__).resolve().parents[2] / name]
    for place in places:
        if place.exists():
            return place
    raise S2PError(f"{name} is in the repository only; run this in a clone of it")


def _first(cases: Sequence[Case], limit: int | None) -> tuple[Case, ...]:
    if limit is None:
        return tuple(cases)
    seen: Counter[str] = Counter()
    turn = []
    for k, case in enumerate(cases):
        seen[case.cluster] += 1
        turn.append((seen[case.cluster], k))
    return tuple(cases[k] for k in sorted(k for _, k in sorted(turn)[:limit]))


def _complexes(folder: Path, split: str, table: Path) -> list[Case]:
    place = read_splits(table)
    if split not in place.values():
        raise S2PError(f"{table}: there is no split {split!r}; it has {', '.join(sorted(set(place.values())))}")
    return [
        Case(x.key, x.clusters[0], x.protein, "files", tuple(map(str, x.ligands)))
        for x in read_complexes(folder)
        if place.get(x.key) == split
    ]


def _ligysis(folder: Path, split: str, table: Path | None) -> list[Case]:
    columns = ("split", "uniprot", "chain_file", "uniprot_sequence", "binding_residues_0based_uniprot")
    wanted = "validation" if split == FAR else split
    rows = [row for row in read_csv(folder / "chains.csv", columns) if row["split"] == wanted]
    if split == FAR:
        far = {row["uniprot"] for row in read_csv(table or _repository("data/splits/ligysis.csv"), ("uniprot",))}
        rows = [row for row in rows if row["uniprot"] in far]
    cases = []
    for row in rows:
        binding = tuple(int(token[1:]) for token in row["binding_residues_0based_uniprot"].split())
        path = folder / "chains" / row["chain_file"]
        cases.append(Case(row["uniprot"], row["uniprot"], path, "residues", (), row["uniprot_sequence"], binding))
    return cases


def _listed(folder: Path) -> list[Case]:
    ligands: dict[str, list[str]] = {}
    for row in read_csv(folder / "labels.csv", ("file", "ligand_id")):
        ligands.setdefault(row["file"], []).append(row["ligand_id"])
    return [
        Case(stem(name), RELATED.get(stem(name), stem(name)), folder / name, "listed", tuple(ids))
        for name, ids in ligands.items()
    ]


def _inside(folder: Path) -> list[Case]:
    return [Case(stem(p), stem(p), p, "inside") for p in sorted(filter(is_structure_file, folder.iterdir()))]
