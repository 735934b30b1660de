"""The point cloud of a protein."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s2p.models.crossbind.cloud import LETTERS as CLOUD_LETTERS
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.structure.reading import Atoms, Residues, Structure


def small(*residues: tuple[str, list[tuple[str, str, tuple[float, float, float]]]]) -> Structure:
    """One chain of residues, each a name and its atoms: name, element, place."""
    rows = [(k, *atom) for k, (_, atoms) in enumerate(residues) for atom in atoms]
    coord = np.array([row[3] for row in rows], np.float32)
    index = np.array([row[0] for row in rows], np.int32)
    n = len(residues)
    first = coord[np.searchsorted(index, np.arange(n))]
    letters = np.array([{"ALA": "A", "GLY": "G"}.get(name, "M") for name, _ in residues])
    table = Residues(
        np.full(n, "A"),
        np.arange(1, n + 1, dtype=np.int32),
        np.full(n, ""),
        np.zeros(n, np.int32),
        np.array([name for name, _ in residues]),
        letters,
        first,
        np.ones(n, bool),
        letters != "M",
    )
    atoms = Atoms(coord, np.array([r[2] for r in rows]), np.array([r[1] for r in rows]), index, np.zeros(len(rows), np.float32))
    return Structure("small", atoms, table)


def test_cloud_of_a_real_chain(hhai: Structure) -> None:
    cloud = cloud_of(hhai)
    atoms, names = hhai.atoms, hhai.residues.one_letter
    assert cloud.n_residues == len(hhai.residues)
    assert (atoms.name == "OXT").sum() + len(cloud.coord) == len(atoms)
    assert np.abs(cloud.coord.mean(axis=0)).max() < 1e-9
    assert [CLOUD_LETTERS[t] for t in cloud.residue_type[np.unique(cloud.residue, return_index=True)[1]]] == names.tolist()
    sizes = np.bincount(cloud.residue, minlength=cloud.n_residues)
    assert np.array_equal(cloud.slot, np.concatenate([np.arange(n) for n in sizes]))
    # Of the first residue with 14 atoms, a tryptophan, all are there; its carbons are carbons.
    w = names.tolist().index("W")
    assert sizes[w] == 14 and (cloud.element[cloud.residue == w] == 1).sum() == 11


def test_extra_atoms_and_unknown_letters() -> None:
    structure = small(("ALA", [("CA", "C", (0, 0, 0))]), ("MSE", [("CA", "C", (4, 0, 0)), ("SE", "SE", (5, 1, 0))]))
    many = replace(CrossBindConfig(), slots=1)
    cloud = cloud_of(structure)
    assert cloud.residue.tolist() == [0, 1, 1] and cloud.slot.tolist() == [0, 0, 1]
    assert cloud.element.tolist() == [1, 1, 5]
    assert len(cloud_of(structure, many).coord) == 2
