"""Binding residues, relevant ligands, SDF ligands, and the labels shipped in ``data/examples``."""

import csv
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s2p.config import LabelConfig
from s2p.errors import StructureError
from s2p.structure.ligands import (
    ADDITIVES,
    BIOLOGICAL_IONS,
    LABEL_COLUMNS,
    binding_residues,
    label_rows,
    ligand_labels,
    ligand_sites,
    peptide_chains,
    read_sdf_ligand,
    relevant_ligands,
)
from s2p.structure.reading import Atoms, Ligand, read_structure

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"


def shipped_labels() -> list[dict[str, str]]:
    with open(EXAMPLES / "labels.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def atoms(coord: np.ndarray, residue_index: np.ndarray) -> Atoms:
    n = len(coord)
    return Atoms(
        np.asarray(coord, np.float32),
        np.full(n, "C"),
        np.full(n, "CA"),
        np.asarray(residue_index, np.int32),
        np.zeros(n, np.float32),
    )


def brute_force(coord: np.ndarray, residue_index: np.ndarray, ligand: np.ndarray, cutoff: float) -> np.ndarray:
    difference = coord[:, None].astype(np.float64) - ligand[None].astype(np.float64)
    near = (np.sqrt((difference**2).sum(axis=-1)) <= cutoff).any(axis=1)
    return np.unique(residue_index[near])


@pytest.mark.parametrize("cutoff", [3.0, 4.5, 8.0])
def test_equals_brute_force_on_a_real_complex(cutoff):
    structure = read_structure(EXAMPLES / "6WQA.cif")
    (ligand,) = relevant_ligands(structure)
    expected = brute_force(structure.atoms.coord, structure.atoms.residue_index, ligand.coord, cutoff)
    assert binding_residues(structure, ligand.coord, cutoff).tolist() == expected.tolist()
    assert binding_residues(structure.atoms, ligand.coord, cutoff).tolist() == expected.tolist()


# Quarters of an ångström are exact in binary, so equality at the cutoff itself is tested too.
grid = st.integers(-40, 40).map(lambda k: k / 4)
points = st.integers(0, 12).flatmap(lambda n: arrays(np.float32, (n, 3), elements=grid))


@settings(deadline=None, max_examples=150)
@given(points, points, st.integers(1, 40).map(lambda k: k / 4), st.integers(1, 4))
def test_property_equals_brute_force(coord, ligand, cutoff, size):
    residue_index = np.arange(len(coord)) // size
    found = binding_residues(atoms(coord, residue_index), ligand, cutoff)
    assert found.dtype == np.int32
    assert found.tolist() == brute_force(coord, residue_index, ligand, cutoff).tolist()


@settings(deadline=None, max_examples=50)
@given(points, points, st.integers(1, 20), st.integers(1, 20))
def test_property_grows_with_the_cutoff_and_the_ligand(coord, ligand, a, b):
    table = atoms(coord, np.arange(len(coord)))
    small, large = sorted((a / 2, b / 2))
    assert set(binding_residues(table, ligand, small)) <= set(binding_residues(table, ligand, large))
    assert set(binding_residues(table, ligand[:3], large)) <= set(binding_residues(table, ligand, large))


def test_the_cutoff_is_inclusive_and_4_5_by_default():
    table = atoms(np.array([[4.5, 0, 0], [4.51, 0, 0]]), np.array([0, 1]))
    assert LabelConfig().cutoff == 4.5
    assert binding_residues(table, [[0, 0, 0]]).tolist() == [0]


def test_no_ligand_or_no_atom_gives_no_residue():
    table = atoms(np.zeros((2, 3)), np.array([0, 1]))
    assert binding_residues(table, np.empty((0, 3))).tolist() == []
    assert binding_residues(atoms(np.empty((0, 3)), np.empty(0)), [[0, 0, 0]]).tolist() == []


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("6WQA.cif", ["ZMA"]),
        ("4CUP.cif", ["ZYB"]),  # methanol is not
        ("1GBT.cif.gz", ["GBS"]),  # neither sulphate without its oxygens nor calcium
        ("3enl.pdb.gz", []),  # sulphate only
        ("1ubi.pdb.gz", []),
        ("3mht.pdb.gz", ["SAH"]),  # no nucleotide of the DNA
        ("1ake.cif.gz", ["AP5", "AP5"]),
    ],
)
def test_relevant_ligands_of_real_structures(file, names):
    assert [ligand.name for ligand in relevant_ligands(read_structure(EXAMPLES / file))] == names


def test_ions_are_an_option():
    structure = read_structure(EXAMPLES / "1GBT.cif.gz")
    with_ions = relevant_ligands(structure, include_ions=True)
    assert [ligand.name for ligand in with_ions] == ["CA", "GBS"]
    assert ligand_labels(structure, include_ions=True).sum() > ligand_labels(structure).sum()


def test_size_and_exclusion_can_be_changed():
    structure = read_structure(EXAMPLES / "4CUP.cif")
    assert relevant_ligands(structure, LabelConfig(min_ligand_atoms=12)) == []
    everything = relevant_ligands(structure, LabelConfig(min_ligand_atoms=2), exclude=())
    assert [ligand.name for ligand in everything] == ["ZYB", "MOH", "MOH", "MOH"]
    assert relevant_ligands(structure, exclude=["ZYB"]) == []
    assert relevant_ligands(replace(structure, ligands=())) == []


def test_ligand_labels_are_the_union_over_ligands():
    structure = read_structure(EXAMPLES / "7CFN.cif.gz")
    label = ligand_labels(structure)
    union = np.unique(np.concatenate([binding_residues(structure, x.coord) for x in relevant_ligands(structure)]))
    assert label.shape == (len(structure.residues),)
    assert np.flatnonzero(label).tolist() == union.tolist()


def test_sites_say_what_they_are_and_their_union_is_the_label():
    structure = read_structure(EXAMPLES / "1GBT.cif.gz")
    report = ligand_sites(structure, include_ions=True)
    assert [(site.ligand.name, site.kind) for site in report.sites] == [("CA", "ion"), ("GBS", "covalent")]
    ids = structure.residues.ids()
    assert [ids[r] for r in report.sites[1].bonded_to] == ["A:195"]  # the serine of the catalytic triad
    assert set(report.sites[1].bonded_to) <= set(report.sites[1].residues.tolist())
    assert report.notes == ("GBS A:704: covalent ligand, bonded to A:195, which counts as binding",)
    union = np.zeros(len(structure.residues), bool)
    union[np.concatenate([site.residues for site in report.sites])] = True
    assert report.labels(len(structure.residues)).tolist() == union.tolist()


def ligand(name: str, number: int, coord: list[tuple[float, float, float]], chain: str = "L") -> Ligand:
    n = len(coord)
    return Ligand(name, chain, number, "", np.array(coord, np.float32), np.array(["C"] * n), np.array(["C1"] * n))


LINE = [(0.0, 0.0, 1.5 * k) for k in range(6)]


def test_bonded_molecules_are_one_ligand_and_distant_ones_two():
    structure = replace(make_structure(), ligands=())
    a, b = ligand("AAA", 1, LINE), ligand("BBB", 2, [(x, y, z + 9.0) for x, y, z in LINE])
    far = ligand("CCC", 3, [(x + 30, y, z) for x, y, z in LINE])
    report = ligand_sites(replace(structure, ligands=(a, far, b)))
    assert [site.ligand.id for site in report.sites] == ["AAA-BBB L:1", "CCC L:3"]
    assert len(report.sites[0].ligand.coord) == 12


def test_a_glycan_is_no_ligand_and_a_free_sugar_is():
    structure = make_structure()
    anchor = structure.atoms.coord[0] + np.float32([0.0, 0.0, -1.4])
    chain = [tuple(anchor + np.float32([0, 0, -1.5 * k])) for k in range(6)]
    glycan = ligand("NAG", 1, chain)
    second = ligand("BMA", 2, [(x, y, z - 9.0) for x, y, z in chain])
    free = ligand("BMA", 3, [(x + 60, y, z) for x, y, z in chain])
    report = ligand_sites(replace(structure, ligands=(glycan, second, free)))
    assert [site.ligand.id for site in report.sites] == ["BMA L:3"]
    (note,) = report.notes
    assert note == f"BMA L:2: left out, part of a glycan bonded to {structure.residues.ids()[0]}"


def test_peptides_are_an_option_and_always_said():
    whole = make_structure(n=40)
    keep = np.flatnonzero((whole.residues.chain == "A") | (np.arange(80) >= 72))
    structure = replace(subset(whole, keep), ligands=())
    near = LabelConfig(cutoff=7.0)  # the two helices stand a little apart
    (found,) = peptide_chains(structure, near)
    assert found[0] == "B"
    assert peptide_chains(structure, LabelConfig(cutoff=1.0)) == []
    assert peptide_chains(structure, LabelConfig(cutoff=7.0, max_peptide_residues=7)) == []
    without = ligand_sites(structure, near)
    assert without.sites == ()
    assert without.notes == (
        "chain B: a peptide of 8 residues at the protein, not counted as a ligand unless peptides are asked for",
    )
    (site,) = ligand_sites(structure, near, include_peptides=True).sites
    assert (site.kind, site.ligand.chain) == ("peptide", "B")
    own = structure.residues.chain == "B"
    expected = brute_force(structure.atoms.coord, structure.atoms.residue_index, found[1], 7.0)
    assert site.residues.tolist() == [r for r in expected.tolist() if not own[r]]
    assert len(site.residues)


def test_a_lone_peptide_is_the_protein():
    structure = make_structure(n=20)
    assert peptide_chains(structure) == []


def subset(structure, keep):
    """The residues ``keep`` of a structure."""
    atoms, residues = structure.atoms, structure.residues
    place = np.full(len(residues), -1)
    place[keep] = np.arange(len(keep))
    own = np.isin(atoms.residue_index, keep)
    cut = {f.name: getattr(atoms, f.name)[own] for f in fields(atoms)}
    cut["residue_index"] = place[cut["residue_index"]].astype(np.int32)
    rows = {f.name: getattr(residues, f.name)[keep] for f in fields(residues)}
    return replace(structure, atoms=replace(atoms, **cut), residues=replace(residues, **rows))


def test_additive_names_are_well_formed_and_cofactors_are_not_among_them():
    assert all(1 <= len(code) <= 5 and code == code.upper() and code.isalnum() for code in ADDITIVES | BIOLOGICAL_IONS)
    assert not ADDITIVES & (
        BIOLOGICAL_IONS | {"HEM", "NAD", "NAP", "NDP", "FAD", "FMN", "ATP", "ADP", "SAH", "SAM", "COA", "PLP", "CLR", "STR"}
    )
    p2rank = {"NAG", "MAN", "UNK", "GLC", "ABA", "MPD", "GOL", "SO4", "PO4"}  # and water
    assert p2rank <= ADDITIVES


def test_sdf_ligand_sits_in_its_site():
    coord, element = read_sdf_ligand(EXAMPLES / "1s3v_ligand.sdf")
    assert coord.shape == (27, 3)
    assert coord.dtype == np.float32
    assert len(element) == 27
    assert set(element) == {"C", "N", "O"}
    structure = read_structure(EXAMPLES / "1s3v.pdb.gz")
    nearest = np.linalg.norm(structure.atoms.coord[:, None] - coord[None], axis=-1).min()
    assert 2.2 < nearest < 3.5
    assert len(binding_residues(structure, coord)) == 17


MOLECULE = """water and more
  test

{n}  0  0  0  0  0  0  0  0  0999 V2000
{atoms}M  END
$$$$
"""


def sdf_text(*symbols: str) -> str:
    lines = "".join(f"{k:10.4f}    1.0000    2.0000 {s:<3} 0  0  0  0  0  0  0  0  0  0  0  0\n" for k, s in enumerate(symbols))
    return MOLECULE.format(n=f"{len(symbols):3d}", atoms=lines)


def test_sdf_hydrogens_are_dropped_elements_are_upper_case_and_the_first_molecule_counts(tmp_path):
    path = tmp_path / "two.sdf"
    path.write_text(sdf_text("Cl", "H", "C") + sdf_text("O"))
    coord, element = read_sdf_ligand(path)
    assert element.tolist() == ["CL", "C"]
    assert coord.tolist() == [[0, 1, 2], [2, 1, 2]]


@pytest.mark.parametrize("text", ["", "not a molecule\n", sdf_text("H", "H"), sdf_text("C", "C")[:-60]])
def test_bad_sdf_gives_a_sentence(tmp_path, text):
    path = tmp_path / "bad.sdf"
    path.write_text(text)
    with pytest.raises(StructureError, match=r"bad\.sdf"):
        read_sdf_ligand(path)


def test_missing_sdf_gives_a_sentence(tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        read_sdf_ligand(tmp_path / "none.sdf")


def test_shipped_labels_are_what_the_code_computes():
    expected = {}
    for row in shipped_labels():
        expected.setdefault(row["file"], []).append(tuple(row.values()))
    assert tuple(shipped_labels()[0]) == LABEL_COLUMNS
    structures = [p for p in sorted(EXAMPLES.iterdir()) if p.suffix in {".gz", ".cif"} and not p.name.startswith("7pbl")]
    assert len(structures) >= 12
    for path in structures:
        sdf = EXAMPLES / f"{path.name.split('.')[0]}_ligand.sdf"
        assert label_rows(path, sdf if sdf.exists() else None) == expected.get(path.name, []), path.name


def test_shipped_labels_of_known_sites():
    """Residues that papers name: Glu 30 of human DHFR, Ser 62 of DD-peptidase R61, the aspartates of HIV protease."""
    residues = {row["ligand_id"]: set(row["residues"].split()) for row in shipped_labels()}
    assert "A:30" in residues["1s3v_ligand.sdf"]
    assert "A:62" in residues["PNM A:400"]
    assert {"A:25", "B:25"} <= residues["478 :200"]
    assert {"A:168", "A:253"} <= residues["ZMA A:1202"]
