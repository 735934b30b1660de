"""Ligands that count, their bonds, and the labels shipped in ``data/examples``."""

import csv
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure

from course.sites import label_rows
from s2p.config import LabelConfig
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import (
    ADDITIVES,
    BIOLOGICAL_IONS,
    LABEL_COLUMNS,
    attachments,
    connected,
    file_bonds,
    is_sugar,
    ligand_labels,
    ligand_sites,
    peptides,
    relevant_ligands,
)
from s2p.structure.reading import Ligand, read_structure

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"


def shipped_labels() -> list[dict[str, str]]:
    with open(EXAMPLES / "labels.csv", newline="") as handle:
        return list(csv.DictReader(handle))


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
    (found,) = peptides(structure, near)
    assert (found.chain, found.name) == ("B", "PEPTIDE")
    assert peptides(structure, LabelConfig(cutoff=1.0)) == []
    assert peptides(structure, LabelConfig(cutoff=7.0, max_peptide_residues=7)) == []
    without = ligand_sites(structure, near)
    assert without.sites == ()
    assert without.notes == (
        "chain B: a peptide of 8 residues at the protein, not counted as a ligand unless peptides are asked for",
    )
    (site,) = ligand_sites(structure, near, include_peptides=True).sites
    assert (site.kind, site.ligand.chain) == ("peptide", "B")
    own = structure.residues.chain == "B"
    expected = binding_residues(structure, found.coord, 7.0)
    assert site.residues.tolist() == [r for r in expected.tolist() if not own[r]]
    assert len(site.residues)


def test_a_lone_peptide_is_the_protein():
    structure = make_structure(n=20)
    assert peptides(structure) == []


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
        structure = read_structure(path)
        sites = ligand_sites(structure, bonds=file_bonds(path)).sites
        assert [x.id for x in relevant_ligands(structure)] == [x.ligand.id for x in sites], path.name  # one notion here


def test_shipped_labels_of_known_sites():
    """Residues that papers name: Glu 30 of human DHFR, Ser 62 of DD-peptidase R61, the aspartates of HIV protease."""
    residues = {row["ligand_id"]: set(row["residues"].split()) for row in shipped_labels()}
    assert "A:30" in residues["1s3v_ligand.sdf"]
    assert "A:62" in residues["PNM A:400"]
    assert {"A:25", "B:25"} <= residues["478 :200"]
    assert {"A:168", "A:253"} <= residues["ZMA A:1202"]


def atom(element: str, where: np.ndarray, number: int = 1) -> Ligand:
    return Ligand("XXX", "L", number, "", np.asarray(where, np.float32).reshape(1, 3), np.array([element]), np.array(["X1"]))


@pytest.mark.parametrize(
    ("element", "distance", "bonded"),
    [("C", 1.45, True), ("C", 1.8, True), ("C", 2.0, False), ("ZN", 2.0, False), ("BR", 2.0, True)],
)
def test_a_bond_is_shorter_than_the_radii_and_no_metal(element: str, distance: float, bonded: bool) -> None:
    structure = make_structure()
    # Straight down from the first nitrogen, where nothing else is.
    ligand = atom(element, structure.atoms.coord[0] + np.float32([0, 0, -distance]))
    assert attachments(structure, ligand) == ([0] if bonded else [])


def test_what_the_file_says_counts_at_any_distance() -> None:
    structure = make_structure()
    r = structure.residues
    ligand = atom("C", [50, 50, 50])
    partner = (str(r.chain[30]), int(r.number[30]), str(r.insertion_code[30]))
    assert attachments(structure, ligand) == []
    assert attachments(structure, ligand, bonds=[(("L", 1, ""), partner)]) == [30]
    assert attachments(structure, ligand, bonds=[(("L", 2, ""), partner)]) == []


def test_groups_hang_together_by_distance_or_by_the_file() -> None:
    a, b, c = atom("C", [0, 0, 0], 1), atom("O", [0, 0, 1.4], 2), atom("C", [0, 0, 20], 3)
    assert [[x.number for x in g] for g in connected([a, b, c])] == [[1, 2], [3]]
    told = [(("L", 1, ""), ("L", 3, ""))]
    assert [[x.number for x in g] for g in connected([a, b, c], bonds=told)] == [[1, 2, 3]]
    assert connected([]) == []


def test_link_records_and_struct_conn_are_read(tmp_path: Path, examples: Path) -> None:
    import gemmi

    parsed = gemmi.read_structure(str(examples / "6WQA.cif"))
    (ligand,) = ligand_sites(read_structure(examples / "6WQA.cif")).sites
    assert ligand.kind == "molecule"
    connection = gemmi.Connection()
    connection.name, connection.type, connection.asu = "covale1", gemmi.ConnectionType.Covale, gemmi.Asu.Same
    residue = parsed[0]["A"][str(int(read_structure(examples / "6WQA.cif").residues.number[5]))][0]
    connection.partner1 = gemmi.AtomAddress("A", residue.seqid, residue.name, "CB")
    zma = next(r for r in parsed[0]["A"] if r.name == "ZMA")
    connection.partner2 = gemmi.AtomAddress("A", zma.seqid, "ZMA", zma[0].name)
    parsed.connections.append(connection)
    parsed.setup_entities()
    parsed.write_pdb(str(tmp_path / "x.pdb"))
    parsed.make_mmcif_document().write_file(str(tmp_path / "x.cif"))
    expected = {(("A", residue.seqid.num, ""), ("A", zma.seqid.num, ""))}
    for path in (tmp_path / "x.pdb", tmp_path / "x.cif"):
        bonds = file_bonds(path)
        assert bonds == expected | {(b, a) for a, b in expected}
        structure = read_structure(path)
        (site,) = ligand_sites(structure, bonds=bonds).sites
        assert site.kind == "covalent"
        assert site.bonded_to == (5,)
    assert file_bonds(examples / "6WQA.cif") == frozenset()


def test_sugars_are_known_by_name() -> None:
    assert all(map(is_sugar, ("NAG", "MAN", "BMA", "FUC", "GAL")))
    assert not any(map(is_sugar, ("ATP", "HEM", "ZZZ9")))


def test_numbering_of_the_ligand_matters() -> None:
    structure = make_structure()
    ligand = replace(atom("C", [50, 50, 50]), insertion_code="B")
    r = structure.residues
    partner = (str(r.chain[0]), int(r.number[0]), str(r.insertion_code[0]))
    assert attachments(structure, ligand, bonds=[(("L", 1, ""), partner)]) == []
    assert attachments(structure, ligand, bonds=[(("L", 1, "B"), partner)]) == [0]
