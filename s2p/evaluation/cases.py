"""Test cases for predictors: structures, and separately the true ligands and binding residues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from s2p.config import Empty
from s2p.datasets.label_files import Annotation, place_sites, read_annotations, structure_file
from s2p.datasets.labelled import Complex, read_complexes, read_ligand
from s2p.datasets.splits import read_splits
from s2p.errors import S2PError, StructureError
from s2p.io.files import read_csv, read_text
from s2p.structure.alignment import labels_on_chain
from s2p.structure.arrays import binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.ligands import relevant_ligands
from s2p.structure.nucleic import NucleicKind, nucleic_contacts
from s2p.structure.reading import Structure, is_structure_file, read_structure, stem

__all__ = ["CONTACTS", "Case", "CaseSet", "Truth", "complex_case", "find_cases", "labelled_cases"]

CONTACTS: dict[str, NucleicKind | None] = {"any": None, "dna": "dna", "rna": "rna"}
"""Nucleic acids whose contacts can be the truth."""

RELATED = {"1ia1": "1s3v"}
"""Bundled structures in one cluster: both are dihydrofolate reductase (data/README.md)."""

FAR = "validation-far"
"""LIGYSIS validation chains below 30 % identity to the training chains of the shipped checkpoint."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A structure as the predictor gets it, without ligands, and the true sites."""

    structure: Structure
    names: tuple[str, ...]
    """Of the S true ligands; empty if only residues are labelled."""
    ligands: tuple[NDArray[np.float32], ...]
    """Heavy atoms (L, 3) Å of each; (0, 3) if only its residues are known."""
    labels: NDArray[np.bool_]
    """(N,) residues that bind any of them."""
    sites: tuple[NDArray[np.integer], ...] | None = None
    """Indices of the residues of each; default those near its ligand."""


@dataclass(frozen=True)
class Case:
    """One protein of a data set, on disk; small, so that it can be sent to worker processes."""

    id: str
    cluster: str
    """Name of the cluster of homologous proteins; intervals are over clusters."""
    path: Path
    kind: Literal["files", "listed", "inside", "lines", "residues", "any", "dna", "rna"]
    """Source of the true sites: ligand files; ids or SDF files from ``labels.csv``; all relevant ligands in the file itself;
    lines of a label file, each a site; one line on a reference sequence with the union of all sites; or the residues that touch
    nucleic acids (:data:`CONTACTS`) in the file."""
    ligands: tuple[str, ...] = ()
    lines: tuple[Annotation, ...] = ()
    table: Path = Path()
    """The label file."""

    def read(self) -> Truth:
        """Structure and true sites; :class:`S2PError` if a file cannot be read, or a listed ligand is missing."""
        if self.kind == "lines":
            return self._read_lines()
        structure = replace(read_structure(self.path), name=self.id)
        if self.kind in CONTACTS:
            return _touched(structure, CONTACTS[self.kind])
        if self.kind == "residues":
            (line,) = self.lines
            labels = labels_on_chain(structure.sequence(), line.sequence, line.indices.tolist()).astype(np.bool_)
            return Truth(replace(structure, ligands=()), (), (), labels)
        if self.kind == "files":
            names, coords = [Path(name).stem for name in self.ligands], [read_ligand(Path(name))[0] for name in self.ligands]
        elif self.kind == "listed":
            inside = {ligand.id: ligand.coord for ligand in structure.ligands}
            names, coords = list(self.ligands), []
            for name in names:
                if not name.endswith(".sdf") and name not in inside:
                    raise S2PError(f"{self.path}: it does not contain the ligand {name!r} of labels.csv")
                coords.append(read_sdf_ligand(self.path.parent / name)[0] if name.endswith(".sdf") else inside[name])
        else:
            found = relevant_ligands(structure)
            names, coords = [ligand.id for ligand in found], [ligand.coord for ligand in found]
        return _truth(structure, names, coords, [binding_residues(structure, coord) for coord in coords])

    def _read_lines(self) -> Truth:
        """Every line is a site; lines with the id of one ligand (``ATP A:501``) as type, on several chains, are one site."""
        structure, places = place_sites(self.path, self.lines, self.table)
        inside = {ligand.id: ligand.coord for ligand in structure.ligands}
        found: dict[str, NDArray[np.integer]] = {}
        for a, site in zip(self.lines, places, strict=True):
            name = a.kind if a.kind in inside else f"{a.kind} (line {a.line})".strip()
            if len(site):
                found[name] = np.union1d(found.get(name, site), site)
        coords = [inside.get(name, np.zeros((0, 3), np.float32)) for name in found]
        return _truth(replace(structure, name=self.id), list(found), coords, list(found.values()))


def _touched(structure: Structure, kind: NucleicKind | None) -> Truth:
    """The chains that touch nucleic acids. The others are left out, because copies of them may bind elsewhere."""
    chain, labels = structure.residues.chain, np.zeros(len(structure.residues), np.bool_)
    with suppress(StructureError):  # there are none
        labels = nucleic_contacts(structure, kind).astype(np.bool_)
    touched = [c for c in structure.chains if labels[chain == c].any()] or structure.chains
    return Truth(replace(structure.select_chains(touched), ligands=()), (), (), labels[np.isin(chain, touched)])


def _truth(
    structure: Structure, names: Sequence[str], coords: Sequence[NDArray[np.float32]], sites: Sequence[NDArray[np.integer]]
) -> Truth:
    labels = np.zeros(len(structure.residues), np.bool_)
    for site in sites:
        labels[site] = True
    return Truth(replace(structure, ligands=()), tuple(names), tuple(coords), labels, tuple(sites))


@dataclass(frozen=True)
class CaseSet:
    """A data set, or a split of it."""

    name: str
    split: str
    """Empty if the set has no splits."""
    cases: tuple[Case, ...]


def find_cases(
    dataset: str | Path,
    split: str | None = None,
    *,
    limit: int | None = None,
    splits: str | Path | None = None,
    structures: str | Path | None = None,
    empty: Empty = "use",
    contacts: Literal["any", "dna", "rna"] | None = None,
) -> CaseSet:
    """The cases of a data set.

    Parameters
    ----------
    dataset
        ``mini`` (the bundled complexes); a label file with a line per site (:mod:`s2p.datasets.label_files`); or a folder: of
        complexes with ``index.csv`` and ``chain_clusters.csv`` (:func:`s2p.datasets.labelled.read_complexes`), of LIGYSIS chains
        with ``chains.csv``, with structures and a ``labels.csv`` or ``labels.txt``, which is a label file or lists ligands as the
        bundled one does, or with structure files whose own ligands are the truth. LIGYSIS has only the union of the sites of a
        protein, so there are metrics of residues but not of sites. Only complexes come with clusters: elsewhere every
        structure counts as unrelated to the others.
    split
        For complexes (default ``test``) and LIGYSIS (default ``validation``; :data:`FAR`: its chains below 30 % identity to the
        shipped checkpoint's training chains); other folders have no splits.
    limit
        Largest number of cases; one of each cluster is taken before a second of any.
    splits
        Table of the split of complexes (``dataset,id,split``) or of the far chains (``uniprot``); default: the repository's.
    structures
        Folder of the structure files of a label file; default: the folder of the label file.
    empty
        How proteins without a site are treated: ``use`` (residues that do not bind and pockets that find nothing count),
        ``skip`` or ``refuse``; the last two read every structure.
    contacts
        The true residues are those that touch DNA, RNA or either in a structure file or in those of a folder, by the rule of
        :func:`s2p.structure.nucleic_contacts`. Chains that touch none are left out, and so are files in which none does.

    Raises
    ------
    S2PError
        If there is no such data set or nothing in it, or a protein without a site is refused.
    """
    folder = _repository("data/examples") if str(dataset) == "mini" else Path(dataset)
    places = (folder, folder / "labels.csv", folder / "labels.txt")
    table = next((path for path in places if path.is_file()), None)
    if contacts is not None:
        if split:
            raise S2PError(f"{dataset}: contacts are read from structure files, which have no splits; drop --split")
        files = [folder] if folder.is_file() else sorted(filter(is_structure_file, folder.iterdir())) if folder.is_dir() else []
        cases, empty = [Case(stem(p), stem(p), p, contacts) for p in files], "skip" if empty == "use" else empty
    elif table is None and not folder.is_dir():
        raise S2PError(f"there is no data set {str(dataset)!r}; give the folder of one, or 'mini' for the bundled complexes")
    elif (folder / "index.csv").is_file() and (folder / "chain_clusters.csv").is_file():
        split = split or "test"
        cases = _complexes(folder, split, Path(splits) if splits is not None else _repository("data/splits/complexes.csv"))
    elif (folder / "chains.csv").is_file():
        split = split or "validation"
        cases = _ligysis(folder, split, Path(splits) if splits is not None else None)
    elif split:
        raise S2PError(f"{dataset}: this data set has no splits; leave --split out")
    elif table is None:
        cases = [Case(stem(p), stem(p), p, "inside") for p in sorted(filter(is_structure_file, folder.iterdir()))]
    else:
        head = read_text(table).lower().partition("\n")[0]
        of_ligands = "ligand_id" in head and "sequence" not in head
        cases = _listed(table) if of_ligands else labelled_cases(table, Path(structures or table.parent))
    if not cases:
        raise S2PError(f"{folder}: it contains nothing to evaluate" + (f" for the split {split!r}" if split else ""))
    if empty != "use":
        cases = [case for case in cases if _has_site(case, empty)]
        if not cases:
            raise S2PError(f"{folder}: nothing in it has a site to evaluate" + (f" ({contacts} contacts)" if contacts else ""))
    if contacts is not None:
        split = f"contacts with {contacts.upper() if CONTACTS[contacts] else 'nucleic acids'}"
    return CaseSet(str(dataset) if str(dataset) == "mini" else folder.resolve().name, split or "", _first(cases, limit))


def _repository(name: str) -> Path:
    """A path of the repository, looked for in the current folder, its parent (for notebooks), and the package's parent."""
    places = [root / name for root in (Path.cwd(), Path.cwd().parent, Path(__file__).resolve().parents[2])]
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
    return [complex_case(x) for x in read_complexes(folder) if place.get(x.key) == split]


def complex_case(x: Complex) -> Case:
    """A complex; every ligand file is a site."""
    return Case(x.key, x.clusters[0], x.protein, "files", tuple(map(str, x.ligands)))


def _ligysis(folder: Path, split: str, table: Path | None) -> list[Case]:
    columns = ("split", "uniprot", "chain_file", "uniprot_sequence", "binding_residues_0based_uniprot")
    wanted = "validation" if split == FAR else split
    rows = [row for row in read_csv(folder / "chains.csv", columns) if row["split"] == wanted]
    if split == FAR:
        far = {row["uniprot"] for row in read_csv(table or _repository("data/splits/ligysis.csv"), ("uniprot",))}
        rows = [row for row in rows if row["uniprot"] in far]
    cases = []
    for row in rows:
        binding = [int(token[1:]) for token in row["binding_residues_0based_uniprot"].split()]
        path = folder / "chains" / row["chain_file"]
        line = Annotation(row["uniprot"], "", "", np.array(binding, np.int32), row["uniprot_sequence"])
        cases.append(Case(row["uniprot"], row["uniprot"], path, "residues", (), (line,)))
    return cases


def _listed(table: Path) -> list[Case]:
    ligands: dict[str, list[str]] = {}
    for row in read_csv(table, ("file", "ligand_id")):
        ligands.setdefault(row["file"], []).append(row["ligand_id"])
    return [
        Case(stem(name), RELATED.get(stem(name), stem(name)), table.parent / name, "listed", tuple(dict.fromkeys(ids)))
        for name, ids in ligands.items()
    ]


def labelled_cases(table: Path, folder: Path) -> list[Case]:
    """The structures in ``folder`` named in a label file, with a site per line; :class:`S2PError` if one is missing."""
    lines: dict[str, list[Annotation]] = {}
    for a in read_annotations(table):
        if not a.chain:
            raise S2PError(f"{table}, line {a.line}: {a.id} has no chain; sites need 'pdb;chain;TYPE;A12 G13;SEQUENCE' lines")
        lines.setdefault(a.pdb, []).append(a)
    return [Case(k, k, structure_file(folder, own[0], table), "lines", (), tuple(own), table) for k, own in lines.items()]


def _has_site(case: Case, empty: Empty) -> bool:
    """Whether any of its residues binds; unreadable cases are kept, because the run reports them."""
    try:
        found = bool(case.read().labels.any())
    except S2PError:
        return True
    if not found and empty == "refuse":
        raise S2PError(f"{case.path}: it has no site; skip such structures, or use them (--empty skip or use)")
    return found
