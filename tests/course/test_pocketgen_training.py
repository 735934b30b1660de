"""Losses of PocketGen, and that its training learns, stops and goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course.geometry import measure_geometry
from course.pocketgen_training import PocketGenTrainConfig, _swapped, fit_pocketgen, geometry_loss, pocket_loss, validate
from s2p.errors import S2PError
from s2p.language.esm import build_backbone
from s2p.models.pocketgen.atoms import RESIDUES, SLOTS
from s2p.models.pocketgen.config import PocketConfig, PocketGenConfig
from s2p.models.pocketgen.data import (
    LigandAtoms,
    Pocket,
    collate,
    make_pocket,
    masked_features,
    pocket_residues,
    start_ligand,
    start_pocket,
)
from s2p.models.pocketgen.design import backbone_rmsd
from s2p.models.pocketgen.geometry import Geometry
from s2p.models.pocketgen.network import PocketGen
from s2p.structure.reading import Structure, read_structure

CONFIG = PocketGenConfig(width=32, heads=2, language_width=20, language_heads=2, dropout=0.0, passes=1)
TRAINING = PocketGenTrainConfig(batch=1, lr=4e-3, warmup_steps=5, plateau_steps=200, max_passes=0, known_types=0.0, ema_decay=0.9)


@pytest.fixture(scope="module")
def structure(examples: Path) -> Structure:
    return read_structure(examples / "1a28.pdb.gz")


@pytest.fixture(scope="module")
def geometry(examples: Path, structure: Structure) -> Geometry:
    return measure_geometry([structure, read_structure(examples / "7CFN.cif.gz")])


@pytest.fixture(scope="module")
def pocket(structure: Structure) -> Pocket:
    """The five residues that touch progesterone."""
    ligand = next(x for x in structure.ligands if x.name == "STR")
    residues = pocket_residues(structure, ligand.coord, PocketConfig())
    language = np.random.default_rng(0).normal(size=(len(residues), 20)).astype(np.float32)
    return make_pocket(structure, LigandAtoms(ligand.coord, ligand.element), residues, language)


def rmsd(model: PocketGen, pocket: Pocket) -> tuple[float, float]:
    """Of the prediction and of its start, Å."""
    rng = np.random.default_rng(99)
    start = start_pocket(pocket, rng)
    middle = pocket.ligand.mean(axis=0)
    batch = collate([pocket], [start], [start_ligand(pocket, 0.5, rng)]).centred(torch.from_numpy(middle)[None])
    with torch.no_grad():
        coord = model.eval()(batch).coord.numpy() + middle
    return backbone_rmsd(pocket, coord), backbone_rmsd(pocket, start)


def test_one_complex_is_learned_by_heart(pocket: Pocket, geometry: Geometry) -> None:
    torch.manual_seed(0)
    model = PocketGen(CONFIG)
    fit_pocketgen(model, [pocket], [], [], geometry, replace(TRAINING, steps=160), quiet=True)
    entropy, recovery = validate(model, [pocket], TRAINING)
    assert recovery == 1.0
    assert entropy < 0.1
    after, before = rmsd(model, pocket)
    assert after < 0.7 * before


def test_a_run_may_be_made_longer_but_nothing_else_changed(pocket: Pocket, geometry: Geometry, tmp_path: Path) -> None:
    def fresh() -> PocketGen:
        torch.manual_seed(1)
        return PocketGen(CONFIG)

    straight, again = fresh(), fresh()
    fit_pocketgen(straight, [pocket], [], [], geometry, replace(TRAINING, steps=6), quiet=True)
    fit_pocketgen(fresh(), [pocket], [], [], geometry, replace(TRAINING, steps=3), folder=tmp_path, quiet=True)
    log = fit_pocketgen(again, [pocket], [], [], geometry, replace(TRAINING, steps=6), folder=tmp_path, quiet=True)
    assert [row.step for row in log] == [3, 6]
    for key, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    with pytest.raises(S2PError, match="another configuration"):
        fit_pocketgen(fresh(), [pocket], [], [], geometry, replace(TRAINING, steps=6, lr=1e-4), folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="nothing to train on"):
        fit_pocketgen(fresh(), [], [], [], geometry, TRAINING, quiet=True)


def test_native_atoms_cost_little_and_a_stretched_peptide_bond_much(pocket: Pocket, geometry: Geometry) -> None:
    native = torch.from_numpy(pocket.coord[pocket.pocket])
    everything = torch.from_numpy(pocket.coord)
    good = geometry_loss(native, everything, [pocket], geometry)
    assert good < 0.01
    k = int(np.flatnonzero(pocket.linked[pocket.pocket] >= 0)[0])
    assert pocket.linked[pocket.pocket[k]] not in pocket.pocket  # its neighbour is fixed
    torn = native.clone()
    torn[k, 2] += torch.tensor([0.0, 1.5, 0.0])
    alone = replace(pocket, linked=np.full_like(pocket.linked, -1))
    assert geometry_loss(torn, everything, [pocket], geometry) > good + 0.005
    # Without its links the same residue costs less: the peptide term is not empty.
    assert geometry_loss(torn, everything, [alone], geometry) != geometry_loss(torn, everything, [pocket], geometry)


def test_given_types_leave_no_loss_of_types_and_only_the_language_head_is_frozen(pocket: Pocket, geometry: Geometry) -> None:
    torch.manual_seed(0)
    model = PocketGen(CONFIG)
    fit_pocketgen(model, [pocket], [], [], geometry, replace(TRAINING, steps=1), quiet=True)
    model.train()
    _, given = pocket_loss(model, [pocket], geometry, TRAINING, np.random.default_rng(0), known=True)
    assert np.isnan(given["types"])
    total, asked = pocket_loss(model, [pocket], geometry, TRAINING, np.random.default_rng(0))
    assert asked["types"] > 0
    total.backward()  # type: ignore[no-untyped-call]
    assert model.language is not None
    assert all(p.grad is None for p in model.language.parameters())
    assert model.adapter is not None
    assert all(p.grad is not None for p in model.adapter.parameters())


def test_names_that_may_be_exchanged() -> None:
    x = np.arange(14 * 3, dtype=np.float32).reshape(1, 14, 3)
    kind = RESIDUES.index("ASP") + 1
    swapped = _swapped(x, np.array([kind]))
    names = SLOTS["ASP"]
    assert np.array_equal(swapped[0, names.index("OD1")], x[0, names.index("OD2")])
    assert np.array_equal(_swapped(swapped, np.array([kind])), x)
    assert np.array_equal(_swapped(x, np.array([RESIDUES.index("ILE") + 1])), x)


def test_masked_places_are_not_told(structure: Structure) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("esm2_t6_8M_UR50D").eval()
    small = structure.select_chains(["A"])
    where = np.array([10, 50, 51])
    seen = masked_features(backbone, small, where)
    assert seen.shape == (3, 320)
    letters = small.residues.one_letter.copy()
    letters[where] = "W"
    other = replace(small, residues=replace(small.residues, one_letter=letters))
    assert np.array_equal(masked_features(backbone, other, where), seen)
    letters[52] = "W"
    neighbour = replace(small, residues=replace(small.residues, one_letter=letters))
    assert not np.allclose(masked_features(backbone, neighbour, where), seen)


def test_masked_pass_is_that_of_esm(structure: Structure) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("esm2_t6_8M_UR50D").eval()
    small = structure.select_chains(["A"])
    where = np.array([5, 7, 30])
    from s2p.language.sequences import tokenize

    tokens = tokenize(small.sequence("A"))
    tokens[where + 1] = 32
    with torch.no_grad():
        expected = backbone(torch.from_numpy(tokens)[None], repr_layers=[6])["representations"][6][0, where + 1]
    assert np.allclose(masked_features(backbone, small, where), expected.numpy(), atol=1e-4)
