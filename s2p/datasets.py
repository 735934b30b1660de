"""Labelled chains and protein–ligand complexes from local folders, and splits that keep homologues together.

The folder layouts are those of the public archives: three-line records (id, sequence, 0/1 labels), LIGYSIS tables with
one chain file per protein, and one folder per complex holding ``protein.pdb`` and ``ligand_NN.pdb``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.structure import Structure, read_structure

__all__ = [
    "Complex",
    "LabelledChain",
    "enhance",
    "labels_on_chain",
    "read_complexes",
    "read_ligysis",
    "read_three_line",
    "write_three_line",
]

LETTERS = frozenset("ACDEFGHIKLMNPQRSTVWYXBUZO")


@dataclass(frozen=True, eq=False)
class LabelledChain:
    """A sequence with one binding label per residue."""

    id: str
    sequence: str
    labels: NDArray[np.uint8]
    """(N,), 1 where the residue binds."""
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.sequence) != len(self.labels):
            raise S2PError(f"{self.id}: {len(self.sequence)} letters but {len(self.labels)} labels")


@dataclass(frozen=True)
class Complex:
    """One protein–ligand complex on disk."""

    dataset: str
    id: str
    protein: Path
    ligands: tuple[Path, ...]
    clusters: tuple[str, ...]
    """30 % identity clusters of its protein chains."""

    @property
    def key(self) -> str:
        """``dataset/id``."""
        return f"{self.dataset}/{self.id}"

    def read(self) -> Structure:
        """The protein."""
        return read_structure(self.protein)

    def ligand_coords(self) -> list[NDArray[np.float32]]:
        """Heavy-atom coordinates (L, 3) Å of each ligand."""
        import gemmi

        coords = []
        for path in self.ligands:
            flat = gemmi.FlatStructure(gemmi.read_structure(str(path)))
            heavy = ~np.isin(np.asarray(flat.element_names), (b"H", b"D"))
            coords.append(np.asarray(flat.pos)[heavy].astype(np.float32))
        return coords


def read_three_line(path: str | Path) -> list[LabelledChain]:
    """Read records of three lines: ``>id``, sequence, string of ``0`` and ``1``.

    Raises
    ------
    S2PError
        Naming file and line of the first record that is not of this form.
    """
    path = Path(path)
    lines = [line.strip() for line in path.read_text().splitlines()]
    lines = [line for line in lines if line]
    chains = []
    for k in range(0, len(lines), 3):
        record = lines[k : k + 3]
        where = f"{path}, record {k // 3 + 1} (line {k + 1})"
        if len(record) < 3 or not record[0].startswith(">"):
            raise S2PError(f"{where}: expected '>id', a sequence and its labels, three lines a record")
        name, sequence, labels = record[0][1:], record[1].upper(), record[2]
        if len(sequence) != len(labels):
            raise S2PError(f"{where}, {name}: {len(sequence)} letters but {len(labels)} labels")
        if set(labels) - set("01"):
            raise S2PError(f"{where}, {name}: labels must be 0 or 1, found {sorted(set(labels) - set('01'))[0]!r}")
        if set(sequence) - LETTERS:
            raise S2PError(f"{where}, {name}: {sorted(set(sequence) - LETTERS)[0]!r} is no amino-acid letter")
        chains.append(LabelledChain(name, sequence, np.frombuffer(labels.encode(), np.uint8) - 48, path.stem))
    if not chains:
        raise S2PError(f"{path}: no records in it")
    return chains


def write_three_line(path: str | Path, chains: Sequence[LabelledChain]) -> None:
    """Write records that :func:`read_three_line` reads."""
    Path(path).write_text("".join(f">{c.id}\n{c.sequence}\n{''.join(map(str, c.labels.tolist()))}\n" for c in chains))


def labels_on_chain(observed: str, reference: str, binding: Sequence[int]) -> NDArray[np.uint8]:
    """Labels given as indices into a reference sequence, carried to the observed residues of a chain by alignment.

    Parameters
    ----------
    observed
        Sequence of the residues in the structure, n letters.
    reference
        Sequence the labels refer to, e.g. of the UniProt entry.
    binding
        0-based indices into ``reference``.

    Returns
    -------
    (n,) uint8. Residues aligned to a different letter keep the label of the position.
    """
    import gemmi

    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch, scoring.gapo, scoring.gape = 2, -3, -6, -1
    result = gemmi.align_string_sequences(list(observed), list(reference), [], scoring)
    flags = np.zeros(len(reference), dtype=np.uint8)
    flags[list(binding)] = 1
    out = np.zeros(len(observed), dtype=np.uint8)
    i = j = 0
    for length, operation in _cigar(result.cigar_str()):
        if operation == "M":
            out[i : i + length] = flags[j : j + length]
        i += length if operation in "MI" else 0
        j += length if operation in "MD" else 0
    return out


def _cigar(text: str) -> Iterator[tuple[int, str]]:
    number = ""
    for character in text:
        if character.isdigit():
            number += character
        else:
            yield int(number), character
            number = ""


def read_ligysis(folder: str | Path, split: str) -> Iterator[tuple[LabelledChain, Structure]]:
    """Chains of one LIGYSIS split (``train`` or ``validation``) with labels on the observed residues."""
    folder = Path(folder)
    csv.field_size_limit(1 << 24)
    with open(folder / "chains.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            if row["split"] != split:
                continue
            structure = read_structure(folder / "chains" / row["chain_file"])
            indices = [int(token[1:]) for token in row["binding_residues_0based_uniprot"].split()]
            labels = labels_on_chain(structure.sequence(), row["uniprot_sequence"], indices)
            yield LabelledChain(row["uniprot"], structure.sequence(), labels, f"ligysis_{split}"), structure


def read_complexes(folder: str | Path) -> list[Complex]:
    """Usable complexes of a folder with ``index.csv`` and ``chain_clusters.csv`` (flag ``exclude`` and status != OK dropped)."""
    folder = Path(folder)
    clusters: dict[tuple[str, str], list[str]] = {}
    with open(folder / "chain_clusters.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            dataset, name, _chain = row["chain"].rsplit("|", 2)
            clusters.setdefault((dataset, name), []).append(row["cluster30"])
    found = []
    with open(folder / "index.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            key = (row["dataset"], row["id"])
            place = folder / key[0] / key[1]
            ligands = tuple(sorted(place.glob("ligand_*.pdb")))
            if row["status"] == "OK" and row["flag"] != "exclude" and ligands and key in clusters:
                found.append(Complex(*key, place / "protein.pdb", ligands, tuple(sorted(set(clusters[key])))))
    return found


def enhance(chains: Sequence[LabelledChain], groups: Sequence[Sequence[int]]) -> list[LabelledChain]:
    """One chain a group, binding wherever any chain of the group binds (paper: enhanced sc-PDB).

    Parameters
    ----------
    groups
        Indices into ``chains`` of chains of one protein; the first of each stands for the group.
    """
    merged = []
    for group in groups:
        representative = chains[group[0]]
        labels = representative.labels.copy()
        for k in group[1:]:
            other = chains[k]
            labels |= labels_on_chain(representative.sequence, other.sequence, np.flatnonzero(other.labels).tolist())
        merged.append(LabelledChain(representative.id, representative.sequence, labels, representative.source))
    return merged
