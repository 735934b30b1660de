"""Labelled chains, structures with known sites, and protein–ligand complexes in a local folder.

A complex is a folder with ``protein.pdb`` and ``ligand_NN.pdb``. Files of labelled sequences are read by
:mod:`s2p.datasets.label_files`, public sets are named in :mod:`s2p.datasets.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.io.files import read_csv
from s2p.structure.reading import Structure, read_structure

__all__ = ["Complex", "KnownSites", "LabelledChain", "read_complexes", "read_ligand"]

LETTERS = frozenset("ACDEFGHIKLMNPQRSTVWYXBUZO")
"""One-letter codes that a sequence may contain."""


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


@dataclass(frozen=True, eq=False)
class KnownSites:
    """A structure and the residues of each of its binding sites."""

    key: str
    structure: Structure
    sites: tuple[NDArray[np.int64], ...]


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
        return [read_ligand(path)[0] for path in self.ligands]


def read_ligand(path: Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Coordinates (L, 3) Å and elements (L,), upper case, of the heavy atoms of a ligand file in PDB format."""
    import gemmi

    flat = gemmi.FlatStructure(gemmi.read_structure(str(path)))
    element = np.char.upper(np.asarray(flat.element_names).astype(str))
    heavy = ~np.isin(element, ("H", "D"))
    return np.asarray(flat.pos)[heavy].astype(np.float32), element[heavy]


def read_complexes(folder: str | Path) -> list[Complex]:
    """Usable complexes of a folder with ``index.csv`` and ``chain_clusters.csv`` (without flag ``exclude`` and status != OK)."""
    folder = Path(folder)
    missing = f", so {folder} is not a folder of complexes; s2p datasets list DIR shows the layouts"
    clusters: dict[tuple[str, str], list[str]] = {}
    for row in read_csv(folder / "chain_clusters.csv", ("chain", "cluster30"), missing):
        dataset, name, _chain = row["chain"].rsplit("|", 2)
        clusters.setdefault((dataset, name), []).append(row["cluster30"])
    found = []
    for row in read_csv(folder / "index.csv", ("dataset", "id", "status", "flag"), missing):
        key = (row["dataset"], row["id"])
        place = folder / key[0] / key[1]
        ligands = tuple(sorted(place.glob("ligand_*.pdb")))
        if row["status"] == "OK" and row["flag"] != "exclude" and ligands and key in clusters:
            found.append(Complex(*key, place / "protein.pdb", ligands, tuple(sorted(set(clusters[key])))))
    return found
