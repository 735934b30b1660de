"""The point cloud of a protein and how it is changed in training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from s2p.models.crossbind.cloud import LETTERS as CLOUD_LETTERS
from s2p.models.crossbind.cloud import augment, cloud_of
from s2p.models.crossbind.config import CrossBindAugmentConfig, CrossBindConfig
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


@pytest.mark.parametrize(
    "config", [CrossBindAugmentConfig(), CrossBindAugmentConfig.contrast(), CrossBindAugmentConfig(mirror=1.0)]
)
def test_augmentation_changes_coordinates_only(ubiquitin: Structure, config: CrossBindAugmentConfig) -> None:
    cloud = cloud_of(ubiquitin)
    before = cloud.coord.copy()
    changed = augment(cloud, config, np.random.default_rng(0))
    assert np.array_equal(cloud.coord, before)
    assert changed.residue is cloud.residue and changed.coord.shape == cloud.coord.shape
    assert not np.allclose(changed.coord, before)
    again = augment(cloud, config, np.random.default_rng(0))
    assert np.array_equal(changed.coord, again.coord)


def test_augmentation_by_parts(ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    nothing = CrossBindAugmentConfig.none()
    assert np.array_equal(augment(cloud, nothing, np.random.default_rng(0)).coord, cloud.coord)

    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    own = distances(cloud.coord)
    rigid = augment(cloud, replace(nothing, rotate="all", shift=1.0, random_origin=True), np.random.default_rng(1)).coord
    np.testing.assert_allclose(distances(rigid), own, atol=1e-9)
    about_z = augment(cloud, replace(nothing, rotate="z"), np.random.default_rng(1)).coord
    np.testing.assert_allclose(about_z[:, 2], cloud.coord[:, 2])
    scaled = distances(augment(cloud, replace(nothing, scale=0.1), np.random.default_rng(1)).coord)
    ratio = scaled[own > 0] / own[own > 0]
    assert np.ptp(ratio) < 1e-9 and 0.9 <= ratio[0] <= 1.1 and ratio[0] != 1
    a, b, c, d = (cloud.coord[k] for k in (0, 40, 200, 400))
    mirrored = augment(cloud, replace(nothing, mirror=1.0), np.random.default_rng(1)).coord
    ma, mb, mc, md = (mirrored[k] for k in (0, 40, 200, 400))
    volume = np.linalg.det(np.stack([b - a, c - a, d - a]))
    assert math.isclose(np.linalg.det(np.stack([mb - ma, mc - ma, md - ma])), -volume, rel_tol=1e-9)
    bent = augment(cloud, replace(nothing, elastic=1.0), np.random.default_rng(1)).coord - cloud.coord
    bonded = np.argwhere(np.triu((own < 1.6) & (own > 0)))
    across = np.argwhere(np.triu(own > 25))
    near, far = (np.linalg.norm(bent[p[:, 0]] - bent[p[:, 1]], axis=1).mean() for p in (bonded, across))
    assert near < 0.5 * far  # neighbours move together
