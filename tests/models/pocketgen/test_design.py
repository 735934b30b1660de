"""Designs: what is drawn, what is measured, what is written, and the command that does it all."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course.geometry import measure_geometry
from course.pocketgen_training import save_pocketgen
from s2p.commands import main
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError, WeightsError
from s2p.models.encoder import start_encoder
from s2p.models.pocketgen import docking as pocketgen_docking
from s2p.models.pocketgen.atoms import LETTERS, SLOTS
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint, load_pocketgen
from s2p.models.pocketgen.config import DesignConfig, PocketConfig, PocketGenConfig
from s2p.models.pocketgen.data import LigandAtoms, Pocket, start_pocket
from s2p.models.pocketgen.design import (
    Design,
    Measures,
    Starts,
    backbone_rmsd,
    design_pocket,
    diversity,
    draw,
    draw_starts,
    measure,
    native_design,
    prepare_pocket,
)
from s2p.models.pocketgen.docking import receptor_atoms
from s2p.models.pocketgen.network import PocketGen
from s2p.models.pocketgen.output import (
    complex_text,
    design_fasta,
    find_ligand,
    find_residues,
    place_in_pocket,
    save_designs,
)
from s2p.models.pocketgen.scores import score_designs
from s2p.output.report import script_hash
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation

CONFIG = PocketGenConfig(width=16, heads=2, n_gaussians=8, neighbours=4, passes=2)


@pytest.fixture(scope="module")
def checkpoint(examples: Path) -> PocketGenCheckpoint:
    """Random weights on the shipped language model, and real geometry."""
    torch.manual_seed(0)
    model = PocketGen(CONFIG).eval()
    geometry = measure_geometry(read_structure(examples / name) for name in ("6WQA.cif", "7CFN.cif.gz", "1uou.pdb.gz"))
    return PocketGenCheckpoint("demo", model, geometry, start_encoder())


@pytest.fixture(scope="module")
def structure(examples: Path) -> Structure:
    return read_structure(examples / "1a28.pdb.gz")


def designed(
    checkpoint: PocketGenCheckpoint, structure: Structure, ligand: LigandAtoms, config: DesignConfig
) -> tuple[Pocket, list[Design]]:
    pocket = prepare_pocket(structure, ligand, checkpoint.backbone, config=checkpoint.pocket, trace=checkpoint.model.trace)
    return pocket, design_pocket(checkpoint, pocket, config)


@pytest.fixture(scope="module")
def made(checkpoint: PocketGenCheckpoint, structure: Structure) -> tuple[Pocket, list[Design], LigandAtoms]:
    ligand, in_file = find_ligand(structure, "STR")
    assert in_file
    begun = time.process_time()
    pocket, designs = designed(checkpoint, structure, ligand, DesignConfig(n=3))
    assert time.process_time() - begun < 20  # of the processor: other programs' work does not count
    return pocket, designs, ligand


def test_the_same_seed_gives_the_same_designs(
    checkpoint: PocketGenCheckpoint, made: tuple[Pocket, list[Design], LigandAtoms]
) -> None:
    pocket, designs, _ = made
    again = design_pocket(checkpoint, pocket, DesignConfig(n=2, idealise=False))
    raw = design_pocket(checkpoint, pocket, DesignConfig(n=1, idealise=False))
    assert [d.sequence for d in again] == [d.sequence for d in designs[:2]]
    assert np.allclose(again[0].coord, raw[0].coord, atol=1e-9)
    other = design_pocket(checkpoint, pocket, DesignConfig(n=3, seed=1, idealise=False))
    assert [d.sequence for d in other] != [d.sequence for d in designs]


def test_designs_turn_with_the_complex(checkpoint: PocketGenCheckpoint, made: tuple[Pocket, list[Design], LigandAtoms]) -> None:
    """The whole design, noise turned alike; no mirror image, since the frames at the start have a hand."""
    pocket, _, _ = made
    config = DesignConfig(n=1, idealise=False)
    starts = draw_starts(pocket, 1, 0)
    rng = np.random.default_rng(2)
    rotation, shift = random_rotation(rng), rng.normal(0, 30, 3)

    def there(x: np.ndarray) -> np.ndarray:
        return np.asarray(x, np.float64) @ rotation.T + shift

    moved = replace(pocket, coord=there(pocket.coord), ligand=there(pocket.ligand), start=there(pocket.start))
    (first,) = design_pocket(checkpoint, replace(pocket, ligand=pocket.ligand.astype(np.float64)), config, starts)
    (second,) = design_pocket(checkpoint, moved, config, Starts([there(starts.coord[0])], [there(starts.ligand[0])]))
    assert first.sequence == second.sequence
    assert np.abs(there(first.coord) - second.coord).max() < 1e-4
    assert np.abs(there(first.ligand) - second.ligand).max() < 1e-4


@given(st.integers(0, 1000))
def test_drawing_follows_the_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (5, 20))
    likeliest, p = draw(logits, DesignConfig(temperature=0), rng)
    assert (likeliest == logits.argmax(axis=1) + 1).all()
    assert np.allclose(p.sum(axis=1), 1)
    cold, _ = draw(logits * 1e4, DesignConfig(), rng)
    assert (cold == likeliest).all()
    flat, even = draw(logits, DesignConfig(temperature=1e9), rng)
    assert np.allclose(even, 0.05)
    for temperature in (0, 1, 1e9):
        left, banned = draw(logits, DesignConfig(temperature=temperature, ban="AVW"), rng)
        assert not set("AVW") & {LETTERS[k - 1] for k in left}
        assert (banned[:, [LETTERS.index(x) for x in "AVW"]] == 0).all() and np.allclose(banned.sum(axis=1), 1)
    assert ((flat >= 1) & (flat <= 20)).all()


def test_shares_of_many_draws() -> None:
    logits = np.log(np.array([[0.7, 0.3, *[1e-12] * 18]]))
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw(logits, DesignConfig(), rng)[0] for _ in range(3000)])
    assert (drawn == 1).mean() == pytest.approx(0.7, abs=0.03)


def test_a_native_design_is_perfect(checkpoint: PocketGenCheckpoint, made: tuple[Pocket, list[Design], LigandAtoms]) -> None:
    pocket, _, _ = made
    native = Design(
        pocket.types[pocket.pocket], np.eye(20)[pocket.types[pocket.pocket] - 1], pocket.coord[pocket.pocket], pocket.ligand
    )
    m = measure(checkpoint, pocket, native)
    assert (m.recovery, m.rmsd, m.clashes, m.ligand_shift) == (1.0, 0.0, 0, 0.0)
    assert m.bonds > 20
    assert m.bond_outliers <= 1
    off = replace(native, coord=native.coord + np.array([3.0, 4.0, 0.0]))
    assert measure(checkpoint, pocket, off).rmsd == pytest.approx(5.0, abs=1e-4)
    onto = replace(native, coord=np.broadcast_to(pocket.ligand[0], native.coord.shape))
    assert measure(checkpoint, pocket, onto).clashes > len(pocket.pocket)


def test_the_clean_up_mends_bonds_and_moves_nothing_else(
    checkpoint: PocketGenCheckpoint, made: tuple[Pocket, list[Design], LigandAtoms]
) -> None:
    pocket, designs, _ = made
    raw = design_pocket(checkpoint, pocket, DesignConfig(n=3, idealise=False))
    rough, clean = ([measure(checkpoint, pocket, d) for d in group] for group in (raw, designs))
    assert sum(m.bond_outliers for m in clean) < 0.5 * sum(m.bond_outliers for m in rough)
    assert [d.sequence for d in raw] == [d.sequence for d in designs]


def test_native_backbones_are_in_order_and_mirrored_ones_are_not(checkpoint: PocketGenCheckpoint, examples: Path) -> None:
    """Flat peptides, phi below 0 and chi1 staggered; the mirror image keeps peptides flat, and turns phi."""
    found, mirrored = [], []
    for name, het in (
        ("1a28.pdb.gz", "STR"),
        ("4CUP.cif", "ZYB"),
        ("1ake.cif.gz", "AP5"),
        ("1hpv.pdb.gz", "478"),
        ("6WQA.cif", "ZMA"),
    ):
        structure = read_structure(examples / name)
        pocket = prepare_pocket(structure, find_ligand(structure, het)[0], None)
        found.append(measure(checkpoint, pocket, native_design(pocket)))
        turned = replace(pocket, coord=pocket.coord * np.array([-1, 1, 1], np.float32))
        mirrored.append(measure(checkpoint, turned, native_design(turned)))

    def share(measures: list[Measures], what: str, of: str) -> float:
        return sum(getattr(m, what) for m in measures) / sum(getattr(m, of) for m in measures)

    assert sum(m.peptides for m in found) > 70
    for bad in ("twisted", "cis", "angle_outliers"):
        assert share(found, bad, "peptides") <= 0.02, bad
    assert sum(m.tau_outliers for m in found) <= 1
    assert share(found, "positive_phi", "turns") < 0.08
    assert share(found, "chi1_outliers", "rotors") < 0.15
    assert share(mirrored, "positive_phi", "turns") > 0.9
    assert share(mirrored, "twisted", "peptides") == share(found, "twisted", "peptides")


def test_a_twisted_peptide_to_a_fixed_residue_is_counted(
    checkpoint: PocketGenCheckpoint, made: tuple[Pocket, list[Design], LigandAtoms]
) -> None:
    pocket, _, _ = made
    native = native_design(pocket)
    before = measure(checkpoint, pocket, native)
    row = next(k for k in range(len(pocket.pocket)) if pocket.pocket[k] - 1 not in pocket.pocket)
    bent = native.coord.copy()
    n, ca = bent[row, 0], bent[row, 1]
    c = pocket.coord[pocket.pocket[row] - 1, 2].astype(float)
    axis = (n - c) / np.linalg.norm(n - c)
    arm = ca - n
    # CA turned by a quarter about the peptide bond.
    bent[row, 1] = n + np.cross(axis, arm) + axis * (axis @ arm)
    assert measure(checkpoint, pocket, replace(native, coord=bent)).twisted == before.twisted + 1


def test_diversity_is_one_less_mean_identity() -> None:
    blank = np.zeros((2, 14, 3))
    designs = [Design(np.array(t), np.full((2, 20), 0.05), blank, blank[0]) for t in ([1, 2], [1, 3], [4, 3])]
    assert diversity(designs) == pytest.approx(1 - (0.5 + 0.0 + 0.5) / 3)
    assert np.isnan(diversity(designs[:1]))


def test_rmsd_of_the_start_is_of_its_atoms(made: tuple[Pocket, list[Design], LigandAtoms]) -> None:
    pocket, _, _ = made
    start = start_pocket(pocket, np.random.default_rng(0))
    error = np.square(start[:, :4] - pocket.coord[pocket.pocket, :4]).sum(axis=-1)
    assert backbone_rmsd(pocket, start) == pytest.approx(np.sqrt(error.mean()), rel=1e-5)


def rows(structure: Structure) -> dict[tuple[str, str, str], tuple[float, ...]]:
    ids = structure.residues.ids()
    atoms = structure.atoms
    return {
        (ids[r], str(structure.residues.name[r]), name): (*x, b)
        for r, name, x, b in zip(
            atoms.residue_index.tolist(), atoms.name.tolist(), atoms.coord.tolist(), atoms.b_factor.tolist(), strict=True
        )
    }


@pytest.mark.parametrize(("file", "het", "suffix"), [("1a28.pdb.gz", "STR", ".pdb"), ("4CUP.cif", "ZYB", ".cif")])
def test_all_but_the_designed_residues_stays(
    checkpoint: PocketGenCheckpoint, examples: Path, tmp_path: Path, file: str, het: str, suffix: str
) -> None:
    native = read_structure(examples / file)
    ligand, _ = find_ligand(native, het)
    pocket, (made,) = designed(checkpoint, native, ligand, DesignConfig(n=1))
    text, ending = complex_text(examples / file, native, pocket, made, None)
    assert ending == suffix
    path = tmp_path / f"out{suffix}"
    path.write_text(text)
    written = read_structure(path)
    assert written.residues.ids() == native.residues.ids()
    index = pocket.residues[pocket.pocket]
    touched = set(np.array(native.residues.ids())[index].tolist())
    before, after = rows(native), rows(written)
    assert {k: v for k, v in before.items() if k[0] not in touched} == {k: v for k, v in after.items() if k[0] not in touched}
    letters = written.residues.one_letter
    assert "".join(letters[index]) == made.sequence
    for place, k in enumerate(index.tolist()):
        own = written.atoms.residue_index == k
        names = SLOTS[str(written.residues.name[k])]
        assert written.atoms.name[own].tolist() == list(names)
        assert np.allclose(written.atoms.coord[own], made.coord[place, : len(names)], atol=6e-4)
    assert [x.id for x in written.ligands] == [x.id for x in native.ligands]
    for one, other in zip(written.ligands, native.ligands, strict=True):
        assert np.array_equal(one.coord, other.coord)


def test_a_ligand_from_a_file_is_added(checkpoint: PocketGenCheckpoint, examples: Path, tmp_path: Path) -> None:
    native = read_structure(examples / "1s3v.pdb.gz")
    ligand, in_file = find_ligand(native, str(examples / "1s3v_ligand.sdf"))
    assert not in_file
    pocket, (made,) = designed(checkpoint, native, ligand, DesignConfig(n=1, idealise=False))
    path = tmp_path / "out.pdb"
    path.write_text(complex_text(examples / "1s3v.pdb.gz", native, pocket, made, ligand)[0])
    (added,) = (x for x in read_structure(path).ligands if x.name == "LIG")
    assert np.allclose(added.coord, read_sdf_ligand(examples / "1s3v_ligand.sdf")[0], atol=6e-4)
    assert added.element.tolist() == ligand.element.tolist()


def test_sequences(structure: Structure, made: tuple[Pocket, list[Design], LigandAtoms]) -> None:
    pocket, designs, _ = made
    lines = design_fasta(structure, pocket, designs).splitlines()
    assert lines[0] == ">1a28|chain A|native"
    assert lines[1] == structure.sequence("A")
    assert len(lines) == 2 * 4
    assert [a == b for a, b in zip(lines[1], lines[3], strict=True)].count(False) <= len(pocket.pocket)


def test_what_cannot_be_designed_is_said(structure: Structure) -> None:
    with pytest.raises(S2PError, match="there is no ligand 'XYZ'"):
        find_ligand(structure, "XYZ")
    with pytest.raises(S2PError, match="there is no residue A:9999"):
        find_residues(structure, "A:9999")
    first = structure.residues.ids()[:2]
    assert find_residues(structure, f"{first[1]},{first[0]}").tolist() == [0, 1]
    odd = replace(structure, residues=replace(structure.residues, one_letter=np.full(len(structure.residues), "X")))
    with pytest.raises(S2PError, match="cannot be designed"):
        find_residues(odd, first[0])


def test_best_predicted_pocket(examples: Path) -> None:
    structure = read_structure(examples / "4CUP.cif")
    ligand, _ = find_ligand(structure, "ZYB")
    far = LigandAtoms(ligand.coord + 50, ligand.element)
    residues, placed = place_in_pocket(structure, far, PocketConfig(max_residues=6), keep_pose=False)
    assert len(residues) == 6
    assert (np.diff(residues) > 0).all()
    middle = structure.residues.ca_coord[residues].mean(axis=0)
    assert np.linalg.norm(placed.coord.mean(axis=0) - middle) < 10
    _, kept = place_in_pocket(structure, ligand, PocketConfig(), keep_pose=True)
    assert kept is ligand


def test_checkpoint_comes_back(checkpoint: PocketGenCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    save_pocketgen(checkpoint, path)
    again = load_pocketgen(path)
    assert again.model.config == CONFIG
    assert np.array_equal(again.geometry.distance, checkpoint.geometry.distance, equal_nan=True)
    for key, value in checkpoint.model.state_dict().items():
        assert torch.allclose(again.model.state_dict()[key].double(), value.double(), atol=2e-3), key
    assert path.with_suffix(".json").is_file()
    with pytest.raises(WeightsError, match="there is no model"):
        load_pocketgen(tmp_path / "nothing.safetensors")
    with pytest.raises(WeightsError, match="not a PocketGen checkpoint"):
        load_pocketgen(DEFAULT_MODEL)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_pocketgen(path)


def test_command(checkpoint: PocketGenCheckpoint, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "demo.safetensors"
    save_pocketgen(checkpoint, model)
    out = tmp_path / "out"
    file, pocketgen = str(examples / "4CUP.cif"), ["--designer", "pocketgen", "--model", str(model)]
    assert main(["design", file, "--ligand", "ZYB", "-n", "2", *pocketgen, "-o", str(out)]) == 0
    assert "2 designs" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert names == {
        "4CUP_design_1.cif",
        "4CUP_design_2.cif",
        "4CUP_designs.fasta",
        "4CUP_designs.csv",
        "4CUP_designs_by_residue.csv",
        "4CUP_designs.html",
    }
    with open(out / "4CUP_designs.csv", newline="") as handle:
        table = list(csv.DictReader(handle))
    assert [row["design"] for row in table] == ["1", "2"]
    assert not [key for key in table[0] if "vina" in key or "sc_rmsd" in key]
    with open(out / "4CUP_designs_by_residue.csv", newline="") as handle:
        each = list(csv.DictReader(handle))
    assert len(each) == 2 * len(table[0]["sequence"])
    assert sum(float(each[0][f"p_{letter}"]) for letter in LETTERS) == pytest.approx(1, abs=0.01)
    page = (out / "4CUP_designs.html").read_text()
    assert table[1]["sequence"] in page
    assert "AutoDock Vina" not in page
    allowed = page[: page.index("<title>")]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2 and all(script_hash(text) in allowed for text in scripts)
    assert "http://" not in page.replace("http://www.w3.org", "").split("<script>")[0]
    # The designs as their own folds.
    again = ["design", file, "--ligand", "ZYB", "-n", "2", *pocketgen, "-o", str(tmp_path / "again")]
    assert main([*again, "--folded", str(out)]) == 0
    assert "designability 1.00" in capsys.readouterr().out
    with open(tmp_path / "again" / "4CUP_designs.csv", newline="") as handle:
        assert [float(row["sc_rmsd"]) for row in csv.DictReader(handle)] == pytest.approx([0, 0], abs=2e-3)
    assert main([*again, "-o", str(tmp_path / "other"), "--seed", "1", "--folded", str(out)]) == 1
    assert "has the sequence of the design's chain A" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert main([*again, "--folded", str(tmp_path / "none")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["design", file, "--ligand", "XYZ", "--model", str(model), "-o", str(out)]) == 1
    assert "there is no ligand 'XYZ'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["design", file, "--ligand", "ZYB", "--temperature", "-1"])
    # A design fewer, in the same folder.
    (out / "4CUP_design_3.cif").write_text("the user's own")
    assert main(["design", file, "--ligand", "ZYB", "-n", "1", *pocketgen, "-o", str(out), "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} == names - {"4CUP_design_2.cif"} | {"4CUP_design_3.cif"}


def test_vina_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pocketgen_docking.shutil, "which", lambda name: None)
    monkeypatch.setattr(pocketgen_docking, "find_spec", lambda name: None)
    assert main(["design", "nothing.pdb", "--ligand", "STR", "--vina", "-o", str(tmp_path / "out")]) == 1
    assert "AutoDock Vina is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_scores_in_table_and_page(
    checkpoint: PocketGenCheckpoint,
    structure: Structure,
    made: tuple[Pocket, list[Design], LigandAtoms],
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a stand-in for the program, that tells receptors apart by their number of atoms."""
    pocket, designs, ligand = made
    monkeypatch.setattr(pocketgen_docking, "check_vina", lambda: "program")
    monkeypatch.setattr(pocketgen_docking, "ligand_pdbqt", lambda ligand: f"{len(ligand.coord)} atoms")
    monkeypatch.setattr(pocketgen_docking, "vina_score", lambda receptor, text, *, engine: -len(receptor.coord) / 100)
    scores = score_designs(structure, pocket, ligand, designs, vina=True)
    assert [s.vina for s in scores] == [-len(receptor_atoms(structure, pocket, d).coord) / 100 for d in (None, *designs)]
    measures = [measure(checkpoint, pocket, d) for d in (native_design(pocket), *designs)]
    scores = [scores[0], *(replace(s, sc_rmsd=1.25) for s in scores[1:])]
    save_designs(examples / "1a28.pdb.gz", structure, pocket, ligand, designs, measures, scores, tmp_path, ligand_in_file=True)
    with open(tmp_path / "1a28_designs.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[-3:] == ["vina", "sc_rmsd", "native_vina"]
    for row, s in zip(rows, scores[1:], strict=True):
        assert float(row["vina"]) == s.vina
        assert float(row["native_vina"]) == scores[0].vina
    page = (tmp_path / "1a28_designs.html").read_text()
    assert "AutoDock Vina (kcal/mol)" in page and "scRMSD (Å)" in page
    assert f"<td>{scores[0].vina:.2f}</td><td></td></tr>" in page  # of the native pocket nothing is folded
