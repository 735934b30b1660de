"""LigandMPNN: the published probabilities, what it reads and what it does not, and designs that keep the backbone."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from course.structures import moved
from s2p.commands import main
from s2p.errors import ConfigError, S2PError
from s2p.models.pocketgen.atoms import LETTERS, SLOT_MASK
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint, load_pocketgen
from s2p.models.pocketgen.config import DesignConfig, PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, pocket_residues
from s2p.models.pocketgen.design import design_pocket, measure, prepare_pocket
from s2p.models.pocketgen.mpnn import LigandMPNN, design_types, load_ligandmpnn
from s2p.models.pocketgen.output import find_ligand, without
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation

# Sequence, log-probabilities of A, R, N, D and the sum of all twenty, by the public PyTorch code (ligandmpnn 0.1.2) with the fp16
# weights, residues in the order of seed 0: a ligand of 35 atoms between two chains, and one of 25 in one chain.
PUBLISHED = {
    "1hpv.pdb.gz": (
        "DGYIDGDGG",
        {2: (-3.9681, -3.7845, -2.2774, -2.0061, -68.366), 4: (-5.3581, -5.4553, -4.3487, -0.0847, -105.106)},
    ),
    "6WQA.cif": (
        "FMMYN",
        {1: (-4.1982, -3.1002, -3.1339, -2.0951, -69.700), 4: (-5.7156, -5.5555, -0.0842, -4.9462, -105.386)},
    ),
}
LIKELIEST = DesignConfig(1, 0.0)


@pytest.fixture(scope="module")
def model() -> LigandMPNN:
    return load_ligandmpnn()


def scene(examples: Path, name: str) -> tuple[Structure, LigandAtoms, np.ndarray]:
    structure = read_structure(examples / name)
    ligand, _ = find_ligand(structure, max(structure.ligands, key=lambda x: len(x.element)).id)
    return structure, ligand, pocket_residues(structure, ligand.coord, PocketConfig())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_probabilities(model: LigandMPNN, examples: Path, name: str) -> None:
    sequence, rows = PUBLISHED[name]
    ((types, odds),) = design_types(model, *scene(examples, name), LIKELIEST)
    assert "".join(LETTERS[k - 1] for k in types) == sequence
    for place, (*first, total) in rows.items():
        np.testing.assert_allclose(np.log(odds[place, :4]), first, atol=1e-4)
        assert np.log(odds[place]).sum() == pytest.approx(total, abs=2e-3)


def test_it_turns_with_the_complex_and_reads_the_ligand_but_not_the_pocket(model: LigandMPNN, examples: Path) -> None:
    structure, ligand, residues = scene(examples, "1hpv.pdb.gz")
    ((types, odds),) = design_types(model, structure, ligand, residues, LIKELIEST)
    rng = np.random.default_rng(0)
    rotation, shift = random_rotation(rng), rng.normal(0, 20, 3)
    turned = moved(structure, rotation, shift, decimals=None)
    there = replace(ligand, coord=(ligand.coord @ rotation.T + shift).astype(np.float32))
    np.testing.assert_allclose(design_types(model, turned, there, residues, LIKELIEST)[0][1], odds, atol=2e-3)
    away = replace(ligand, coord=ligand.coord + np.float32(30))
    assert np.abs(design_types(model, structure, away, residues, LIKELIEST)[0][1] - odds).max() > 0.1
    letters = structure.residues.one_letter.copy()
    letters[residues] = "W"
    # Neither types nor side chains of the pocket.
    bare = ~np.isin(structure.atoms.residue_index, residues) | np.isin(structure.atoms.name, ("N", "CA", "C", "O"))
    blank = structure.part(np.arange(len(letters)), np.flatnonzero(bare))
    blank = replace(blank, residues=replace(blank.residues, one_letter=letters))
    np.testing.assert_array_equal(design_types(model, blank, ligand, residues, LIKELIEST)[0][1], odds)
    letters = structure.residues.one_letter.copy()
    letters[residues[0] + 1] = "W"  # the type beside it is read
    beside = replace(structure, residues=replace(structure.residues, one_letter=letters))
    assert np.abs(design_types(model, beside, ligand, residues, LIKELIEST)[0][1] - odds).max() > 1e-3
    assert types.tolist() == (odds.argmax(axis=1) + 1).tolist()


def test_seeds_bans_and_temperatures(model: LigandMPNN, examples: Path) -> None:
    args = model, *scene(examples, "6WQA.cif")
    warm = design_types(*args, DesignConfig(4, 1.0))
    again = design_types(*args, DesignConfig(2, 1.0))
    assert [x.tolist() for x, _ in warm[:2]] == [x.tolist() for x, _ in again]
    assert len({tuple(x) for x, _ in warm}) > 1
    for types, odds in design_types(*args, DesignConfig(4, 5.0, ban="MFCYN")):
        assert not set("MFCYN") & {LETTERS[k - 1] for k in types}
        assert (odds[:, [LETTERS.index(x) for x in "MFCYN"]] == 0).all()
    with pytest.raises(ConfigError, match="B is no amino acid"):
        DesignConfig(ban="BM")
    with pytest.raises(ConfigError, match="all amino acids are banned"):
        DesignConfig(ban=LETTERS)


@pytest.fixture(scope="module")
def shipped() -> PocketGenCheckpoint:
    return load_pocketgen()


def test_the_backbone_stays_and_side_chains_stand_on_it(shipped: PocketGenCheckpoint, model: LigandMPNN, examples: Path) -> None:
    structure, ligand, residues = scene(examples, "6WQA.cif")
    pocket = prepare_pocket(structure, ligand, shipped.backbone, config=shipped.pocket, trace=shipped.model.trace)
    types = design_types(model, structure, ligand, residues, LIKELIEST)
    for config in (LIKELIEST, replace(LIKELIEST, idealise=False)):
        (design,) = design_pocket(shipped, pocket, config, types=types)
        assert np.array_equal(design.coord[:, :4], pocket.coord[pocket.pocket, :4])
        assert np.isfinite(design.coord[SLOT_MASK[design.types]]).all()
        if config.idealise:
            m = measure(shipped, pocket, design)
            assert (m.rmsd, m.bond_outliers) == (0, 0) and m.clashes <= 1 and m.chi1_outliers <= 1
    present = pocket.present.copy()
    present[pocket.pocket[1], 3] = False
    with pytest.raises(S2PError, match=r"6WQA: residue 169 lacks N, CA, C or O.*--designer pocketgen"):
        design_pocket(shipped, replace(pocket, present=present), LIKELIEST, types=types)


def test_what_is_kept_is_named_among_what_is_designed(examples: Path) -> None:
    structure, _, residues = scene(examples, "1hpv.pdb.gz")
    left = without(structure, residues, "A:25, B:25")
    assert [structure.residues.ids()[k] for k in np.setdiff1d(residues, left)] == ["A:25", "B:25"]
    with pytest.raises(S2PError, match="1hpv: A:1 would not be designed anyway; .* A:25, A:27"):
        without(structure, residues, "A:25,A:1")
    with pytest.raises(S2PError, match="there is no residue A:999"):
        without(structure, residues, "A:999")
    with pytest.raises(S2PError, match="none is left"):
        without(structure, residues[:1], "A:25")


def test_command(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(examples / "1hpv.pdb.gz"), tmp_path / "out"
    assert main(["design", file, "--ligand", "478", "-n", "2", "--fix", "A:25,B:25", "--ban", "g", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "7 residues designed" in said and "Types: LigandMPNN" in said and "A:27 G->" in said
    with open(out / "1hpv_designs.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    native, made = read_structure(file), read_structure(out / "1hpv_design_1.pdb")
    ids, before, after = native.residues.ids(), native.residues.one_letter, made.residues.one_letter
    changed = [f"{ids[k]} {before[k]}->{after[k]}" for k in np.flatnonzero(before != after)]
    assert rows[0]["mutations"].split(", ") == changed and len(changed) >= 4
    assert "G" not in rows[0]["sequence"] and not any(text.startswith(("A:25 ", "B:25 ")) for text in changed)
    backbone = np.isin(native.atoms.name, ("N", "CA", "C", "O"))
    assert np.array_equal(native.atoms.coord[backbone], made.atoms.coord[np.isin(made.atoms.name, ("N", "CA", "C", "O"))])
    page = (out / "1hpv_designs.html").read_text()
    assert "Types: LigandMPNN" in page and "<h2>Mutations</h2>" in page
    assert f"<td><b>{after[ids.index('A:27')]}</b></td>" in page
    assert main(["design", file, "--ligand", "478", "--ban", "X", "-o", str(out)]) == 1
    assert "X is no amino acid" in capsys.readouterr().err
