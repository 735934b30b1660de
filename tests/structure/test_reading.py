"""What the reader makes of ordinary and of awkward files."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.files.formats import read_content
from s2p.structure.reading import Structure, read_atoms, read_structure, stem


def atom(
    serial: int = 1,
    name: str = "CA",
    res: str = "ALA",
    chain: str = "A",
    num: int = 1,
    *,
    alt: str = " ",
    icode: str = " ",
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0),
    occ: float = 1.0,
    b: float = 20.0,
    element: str | None = None,
    record: str = "ATOM",
    tail: str | None = None,
) -> str:
    """One fixed-column PDB record; ``tail`` replaces columns 73-80."""
    element = name[0] if element is None else element
    padded = f" {name:<3}" if len(element) < 2 and len(name) < 4 else f"{name:<4}"
    end = f"      {'':4}{element:>2}  " if tail is None else f"      {tail:<8}"
    x, y, z = xyz
    return (
        f"{record:<6}{serial:>5} {padded}{alt}{res:>3} {chain}{num:>4}{icode}   {x:8.3f}{y:8.3f}{z:8.3f}{occ:6.2f}{b:6.2f}{end}"
    )


def backbone(
    res: str = "ALA", chain: str = "A", num: int = 1, *, first: int = 1, record: str = "ATOM", icode: str = " "
) -> list[str]:
    """N, CA, C, O of one residue, 3.8 Å further along x for every residue number."""
    offsets = {"N": (-1.4, 0.2), "CA": (0.0, 0.0), "C": (1.3, 0.6), "O": (1.4, 1.8)}
    return [
        atom(first + i, name, res, chain, num, xyz=(3.8 * num + dx, dy, 0.0), record=record, icode=icode)
        for i, (name, (dx, dy)) in enumerate(offsets.items())
    ]


def peptide(names: list[str], chain: str = "A", start: int = 1) -> list[str]:
    return [line for i, name in enumerate(names) for line in backbone(name, chain, start + i, first=1 + 4 * i)]


COLUMNS = (
    "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id "
    "pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id auth_atom_id "
    "pdbx_PDB_model_num"
).split()


def mmcif(rows: list[dict[str, object]], drop: tuple[str, ...] = ()) -> str:
    """An ``_atom_site`` loop; missing keys follow from the others, columns in ``drop`` are left out."""
    columns = [c for c in COLUMNS if c not in drop]
    lines = ["data_TEST", "#", "loop_", *(f"_atom_site.{c}" for c in columns)]
    for i, row in enumerate(rows):
        full: dict[str, object] = {
            "group_PDB": "ATOM", "id": i + 1, "type_symbol": str(row.get("label_atom_id", "CA"))[0], "label_atom_id": "CA",
            "label_alt_id": ".", "label_comp_id": "ALA", "label_asym_id": "A", "label_entity_id": 1, "label_seq_id": 1,
            "pdbx_PDB_ins_code": "?", "Cartn_x": 3.8 * i, "Cartn_y": 0.0, "Cartn_z": 0.0, "occupancy": 1.0,
            "B_iso_or_equiv": 20.0, "pdbx_PDB_model_num": 1, **row,
        }  # fmt: skip
        full = {
            "auth_seq_id": full["label_seq_id"], "auth_comp_id": full["label_comp_id"], "auth_asym_id": full["label_asym_id"],
            "auth_atom_id": full["label_atom_id"], **full,
        }  # fmt: skip
        lines.append(" ".join(str(full[c]) for c in columns))
    return "\n".join([*lines, "#", ""])


def cif_peptide(n: int = 3, **same: object) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for k in range(1, n + 1):
        for name, dx in (("N", -1.4), ("CA", 0.0), ("C", 1.3), ("O", 1.9)):
            rows.append({"label_atom_id": name, "label_seq_id": k, "Cartn_x": 3.8 * k + dx, **same})
    return rows


@pytest.fixture
def read(tmp_path: Path):
    """Write text to a file and read it."""

    def run(content: str | bytes | list[str], name: str = "x.pdb", **options) -> Structure:
        if isinstance(content, list):
            content = "\n".join([*content, "END", ""])
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_structure(path, **options)

    return run


def test_plain_peptide(read):
    s = read(peptide(["ALA", "GLY", "TRP"]), "1abc.pdb")
    assert s.name == "1abc"
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    assert s.sequence() == "AGW"
    assert s.atoms.residue_index.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(s.residues.ca_coord, [[3.8, 0, 0], [7.6, 0, 0], [11.4, 0, 0]], atol=1e-3)
    assert s.atoms.coord.dtype == np.float32
    assert s.residues.has_ca.all() and s.residues.standard.all()
    assert s.notes == ()


# ---------------------------------------------------------------------------------------------- alternate locations


def two_conformers(occ_a: tuple[float, float], occ_b: tuple[float, float]) -> list[str]:
    lines = [*backbone(num=1), atom(5, "N", num=2, xyz=(6.2, 0, 0))]
    for alt, occ, y in (("A", occ_a, 1.0), ("B", occ_b, 2.0)):
        lines += [
            atom(6, "CA", num=2, alt=alt, occ=occ[0], xyz=(7.6, y, 0)),
            atom(7, "CB", num=2, alt=alt, occ=occ[1], xyz=(8.6, y, 0)),
        ]
    return [*lines, atom(8, "C", num=2, xyz=(9.0, 0, 0)), *backbone(num=3)]


def y_of_second(s: Structure) -> list[float]:
    return s.atoms.coord[(s.atoms.residue_index == 1) & np.isin(s.atoms.name, ["CA", "CB"]), 1].tolist()


def test_conformer_of_highest_mean_occupancy_is_kept_whole(read):
    # B has the higher mean though A has the higher CA: mixing per atom would give [1, 2].
    s = read(two_conformers((0.6, 0.1), (0.4, 0.9)))
    assert y_of_second(s) == [2.0, 2.0]
    assert s.atoms.name[s.atoms.residue_index == 1].tolist() == ["N", "CA", "CB", "C"]


def test_conformer_tie_takes_the_first(read):
    assert y_of_second(read(two_conformers((0.5, 0.5), (0.5, 0.5)))) == [1.0, 1.0]
    # in single precision 0.4 + 0.6 is a little more than 0.5 + 0.5: still a tie
    assert y_of_second(read(two_conformers((0.5, 0.5), (0.4, 0.6)))) == [1.0, 1.0]


def test_microheterogeneity_keeps_one_residue(read):
    lines = [
        *backbone(num=1),
        *(atom(5, n, "SER", num=2, alt="A", occ=0.4, xyz=(7.6, y, 0)) for n, y in (("N", 1.0), ("CA", 2.0), ("OG", 3.0))),
        *(atom(9, n, "THR", num=2, alt="B", occ=0.6, xyz=(7.6, y, 1)) for n, y in (("N", 1.0), ("CA", 2.0), ("CG2", 3.0))),
        *backbone(num=3),
    ]
    s = read(lines)
    assert s.residues.name.tolist() == ["ALA", "THR", "ALA"]
    assert s.sequence() == "ATA"
    assert s.atoms.name[s.atoms.residue_index == 1].tolist() == ["N", "CA", "CG2"]


def test_microheterogeneity_mmcif(read):
    rows = cif_peptide(3)
    ser = [{**r, "label_comp_id": "SER", "label_alt_id": "A", "occupancy": 0.7} for r in rows[4:8]]
    gly = [{**r, "label_comp_id": "GLY", "label_alt_id": "B", "occupancy": 0.3} for r in rows[4:8]]
    s = read(mmcif([*rows[:4], *ser, *gly, *rows[8:]]), "x.cif")
    assert s.residues.name.tolist() == ["ALA", "SER", "ALA"]


# ---------------------------------------------------------------------------------------------- numbering and names


def test_insertion_codes_and_negative_numbers(read):
    lines = [*backbone(num=-5), *backbone("GLY", num=-5, icode="A"), *backbone("SER", num=-5, icode="B"), *backbone("TRP", num=0)]
    s = read(lines)
    assert s.residues.ids() == ["A:-5", "A:-5A", "A:-5B", "A:0"]
    assert s.sequence() == "AGSW"


def test_sixty_character_chain_ids(read):
    first, second = "Q" * 60, "Q" * 59 + "R"
    rows = [*cif_peptide(2, auth_asym_id=first), *cif_peptide(2, auth_asym_id=second, label_asym_id="B", Cartn_y=30.0)]
    s = read(mmcif(rows), "x.cif")
    assert s.chains == [first, second]
    assert s.residues.ids()[2] == f"{second}:1"
    assert len(read(mmcif(rows), "x.cif", chains=[second]).residues) == 2


def test_author_names_win_over_labels(read):
    rows = [{**r, "auth_asym_id": "H", "auth_seq_id": 100 + int(str(r["label_seq_id"]))} for r in cif_peptide(2)]
    s = read(mmcif(rows), "x.cif")
    assert s.residues.ids() == ["H:101", "H:102"]
    assert s.residues.label_seq_id.tolist() == [1, 2]


def test_missing_auth_columns(read):
    s = read(mmcif(cif_peptide(3), drop=("auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id")), "x.cif")
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    assert len(s.atoms) == 12


def test_missing_label_columns(read):
    drop = ("label_asym_id", "label_seq_id", "label_entity_id", "label_comp_id", "label_atom_id", "label_alt_id")
    s = read(mmcif(cif_peptide(3), drop=drop), "x.cif")
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    assert s.residues.label_seq_id.tolist() == [0, 0, 0]
    assert s.atoms.name[:4].tolist() == ["N", "CA", "C", "O"]


@pytest.mark.parametrize("column", ["id", "type_symbol", "label_alt_id", "group_PDB", "occupancy", "B_iso_or_equiv"])
def test_missing_bookkeeping_columns(read, column):
    """gemmi reads no atoms at all where some of these are absent."""
    s = read(mmcif(cif_peptide(3), drop=(column,)), "x.cif")
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    assert s.atoms.element[:4].tolist() == ["N", "C", "C", "O"]
    assert s.residues.has_ca.all()


def test_ligand_in_the_same_chain_without_label_columns(read):
    ligand = [
        {"group_PDB": "HETATM", "label_atom_id": f"C{i}", "auth_comp_id": "LIG", "auth_seq_id": 501, "Cartn_y": 9.0}
        for i in range(6)
    ]
    text = mmcif([*cif_peptide(3), *ligand], drop=tuple(c for c in COLUMNS if c.startswith("label")))
    s = read(text, "x.cif")
    assert s.sequence() == "AAA"
    assert [(x.id, len(x.coord)) for x in s.ligands] == [("LIG A:501", 6)]


def test_long_residue_and_atom_names(read):
    ligand = [
        {"group_PDB": "HETATM", "label_atom_id": f"C{i}", "label_comp_id": "LIGANDNAME", "auth_seq_id": 501, "label_asym_id": "B",
         "label_entity_id": 2, "label_seq_id": "."} for i in range(6)
    ]  # fmt: skip
    s = read(mmcif([*cif_peptide(3), *ligand]), "x.cif")
    assert [(x.name, len(x.coord)) for x in s.ligands] == [("LIGANDNAME", 6)]


def test_atom_name_longer_than_seven_characters(read):
    rows = [*cif_peptide(2), {"label_atom_id": "CBABABABAB", "label_seq_id": 2}]
    assert read(mmcif(rows), "x.cif").atoms.name[-1] == "CBABABABAB"


def test_blank_chain_id(read):
    s = read(peptide(["ALA", "GLY"], chain=" "))
    assert s.chains == [""]
    assert s.residues.ids() == [":1", ":2"]


# ---------------------------------------------------------------------------------------------- models


def models() -> list[str]:
    lines = []
    for number, y in ((3, 10.0), (7, 20.0)):
        lines += [f"MODEL     {number:>4}", *(atom(i, num=i, xyz=(3.8 * i, y, 0)) for i in range(1, 4)), "ENDMDL"]
    return lines


def test_first_model_is_the_default(read):
    s = read(models())
    assert len(s.residues) == 3
    assert s.atoms.coord[0, 1] == 10


def test_asked_model(read):
    assert read(models(), model=7).atoms.coord[:, 1].tolist() == [20, 20, 20]
    rows = [*cif_peptide(2), *cif_peptide(2, pdbx_PDB_model_num=2, Cartn_y=9.0)]
    s = read(mmcif(rows), "x.cif", model=2)
    assert len(s.residues) == 2
    assert s.atoms.coord[0, 1] == 9


def test_missing_model_names_those_there_are(read):
    with pytest.raises(StructureError, match=r"no model 2; it has 3, 7"):
        read(models(), model=2)


# ---------------------------------------------------------------------------------------------- atoms


def test_hydrogens_are_dropped(read):
    lines = [*backbone(), atom(5, "HA", element="H"), atom(6, "DB1", element="D"), atom(7, "CB", xyz=(1, 1, 1))]
    assert read(lines).atoms.name.tolist() == ["N", "CA", "C", "O", "CB"]


def test_hydrogens_without_element_column_are_dropped(read):
    lines = [*backbone(), atom(5, "HB", element=" "), "ATOM      6 1HB  ALA A   1       1.000   1.000   2.000  1.00 20.00"]
    assert read(lines).atoms.name.tolist() == ["N", "CA", "C", "O"]


def test_ca_only_model_says_so(read):
    s = read([atom(i, num=i, xyz=(3.8 * i, 0, 0)) for i in range(1, 6)])
    assert len(s.residues) == 5
    assert any("CA-only" in note for note in s.notes)


def test_residue_without_ca_uses_its_first_heavy_atom(read):
    lines = [*backbone(num=1), atom(5, "N", num=2, xyz=(6, 5, 4)), atom(6, "CB", num=2, xyz=(7, 5, 4)), *backbone(num=3)]
    s = read(lines)
    assert s.residues.has_ca.tolist() == [True, False, True]
    assert s.residues.ca_coord[1].tolist() == [6, 5, 4]
    assert any("no CA" in note for note in s.notes)


def test_calcium_is_not_an_alpha_carbon(read):
    lines = [
        *backbone(num=1),
        *backbone(num=2),
        "TER",
        atom(20, "CA", "CA", num=100, element="CA", record="HETATM", xyz=(9, 9, 9)),
    ]
    s = read(lines)
    assert len(s.residues) == 2
    assert [(x.name, x.kind) for x in s.ligands] == [("CA", "ion")]


@pytest.mark.parametrize(
    ("name", "letter"),
    [("MSE", "M"), ("SEP", "S"), ("TPO", "T"), ("PTR", "Y"), ("CSO", "C"), ("LLP", "K"), ("HYP", "P"), ("MLY", "K")],
)
def test_modified_residues_get_the_parent_letter(read, name, letter):
    lines = [*backbone(num=1), *backbone(name, num=2, record="HETATM"), *backbone(num=3), "TER"]
    s = read(lines)
    assert s.sequence() == f"A{letter}A"
    assert s.residues.name[1] == name
    assert s.residues.standard.tolist() == [True, False, True]
    assert s.ligands == ()


def test_unknown_residue_is_x(read):
    s = read([*backbone(num=1), *backbone("QZ9", num=2, record="HETATM"), *backbone(num=3), "TER"])
    assert s.sequence() == "AXA"


def test_modified_residue_in_mmcif_without_entities(read):
    rows = cif_peptide(3)
    rows[4:8] = [{**r, "label_comp_id": "MSE", "group_PDB": "HETATM"} for r in rows[4:8]]
    assert read(mmcif(rows), "x.cif").sequence() == "AMA"


def test_duplicate_serial_numbers(read):
    lines = [line[:6] + "    1" + line[11:] for line in peptide(["ALA", "GLY", "SER"])]
    assert len(read(lines).atoms) == 12


def test_duplicated_atoms_keep_the_first(read):
    lines = [*backbone(num=1), atom(9, "CA", num=1, xyz=(99, 0, 0)), *backbone(num=2)]
    s = read(lines)
    assert len(s.atoms) == 8
    assert s.residues.ca_coord[0, 0] == pytest.approx(3.8)


def test_atoms_without_coordinates_are_left_out_and_counted(read):
    rows = cif_peptide(3)
    rows[3]["Cartn_x"] = "?"
    rows[7]["Cartn_x"] = "nan"
    s = read(mmcif(rows), "x.cif")
    assert s.atoms.name.tolist() == ["N", "CA", "C", "N", "CA", "C", "N", "CA", "C", "O"]
    assert any("2 atoms" in note for note in s.notes)


# ---------------------------------------------------------------------------------------------- what is not protein

LIGAND = [atom(50 + i, f"C{i}", "LIG", num=501, record="HETATM", xyz=(20 + i, 0, 0)) for i in range(6)]


def test_ligand_in_the_same_chain_without_ter(read):
    water = atom(70, "O", "HOH", num=601, record="HETATM", xyz=(40, 0, 0))
    s = read([*peptide(["ALA", "GLY", "SER", "TRP"]), *LIGAND, water])
    assert s.sequence() == "AGSW"
    assert [(x.id, len(x.coord), x.kind) for x in s.ligands] == [("LIG A:501", 6, "molecule")]
    assert s.ligands[0].coord[0].tolist() == [20, 0, 0]


def test_free_amino_acid_ligand_after_ter_is_a_ligand(read):
    lines = [*peptide(["ALA", "GLY"]), "TER", *backbone("MSE", num=300, record="HETATM")]
    s = read(lines)
    assert s.sequence() == "AG"
    assert [x.name for x in s.ligands] == ["MSE"]


def test_nucleotides_are_ligands_of_their_own_kind(read):
    rna = [atom(i, n, "  U", "R", num, xyz=(30 + num, i, 0)) for num in (1, 2) for i, n in enumerate(("P", "O5'", "C5'"))]
    s = read([*peptide(["ALA", "GLY"]), "TER", *rna])
    assert s.chains == ["A"]
    assert [x.kind for x in s.ligands] == ["nucleic", "nucleic"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([atom(i, "P", " DA", "A", i, xyz=(i, 0, 0)) for i in range(1, 5)], "nucleic acid"),
        ([atom(i, "O", "HOH", "A", i, record="HETATM") for i in range(1, 5)], "no amino-acid residues"),
        ([atom(i, "H", "ALA", "A", i) for i in range(1, 5)], "hydrogens"),
        (LIGAND, "only other molecules"),
    ],
    ids=["nucleic", "water", "hydrogens", "ligand"],
)
def test_no_protein(read, lines, why):
    with pytest.raises(StructureError, match=f"no protein.*{why}"):
        read(lines)


# ---------------------------------------------------------------------------------------------- chains


def test_wrong_chain_names_those_there_are(read):
    with pytest.raises(StructureError, match=r"no protein chain 'Z'; the chains are 'A', 'B'"):
        read([*peptide(["ALA"]), "TER", *peptide(["GLY"], "B")], chains=["A", "Z"])


def test_chain_selection_renumbers_indices_and_keeps_ligands(read):
    s = read([*peptide(["ALA", "SER"]), "TER", *peptide(["GLY", "TRP"], "B"), "TER", *LIGAND], chains=["B"])
    assert s.sequence() == "GW"
    assert s.atoms.residue_index.tolist() == [0] * 4 + [1] * 4
    assert len(s.ligands) == 1


# ---------------------------------------------------------------------------------------------- containers and damage


@pytest.mark.parametrize("name", ["x.pdb.gz", "x.ent.gz", "x.bin"])
def test_gzip_pdb(read, name):
    text = "\n".join(peptide(["ALA", "GLY"])).encode()
    assert read(gzip.compress(text), name).sequence() == "AG"


def test_gzip_mmcif(read):
    s = read(gzip.compress(mmcif(cif_peptide(2)).encode()), "1abc.cif.gz")
    assert (s.name, s.sequence()) == ("1abc", "AA")


def test_binary_cif_equals_mmcif(tmp_path):
    from biotite.structure.io.pdbx import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFFile, CIFFile

    rows = [
        *({**r, "auth_seq_id": int(str(r["label_seq_id"])) - 2} for r in cif_peptide(3)),
        {"label_atom_id": "CB", "label_seq_id": 3, "auth_seq_id": 1, "label_alt_id": "A", "occupancy": 0.3, "Cartn_y": 1.0},
        {"label_atom_id": "CB", "label_seq_id": 3, "auth_seq_id": 1, "label_alt_id": "B", "occupancy": 0.7, "Cartn_y": 2.0},
        *(
            {"group_PDB": "HETATM", "label_atom_id": f"C{i}", "label_comp_id": "LIG", "label_asym_id": "B", "label_entity_id": 2,
             "label_seq_id": ".", "auth_seq_id": 501, "auth_asym_id": "A"} for i in range(6)
        ),
    ]  # fmt: skip
    text = tmp_path / "x.cif"
    text.write_text(mmcif(rows))
    category = CIFFile.read(text).block["atom_site"]
    binary = BinaryCIFFile(
        {"TEST": BinaryCIFBlock({"atom_site": BinaryCIFCategory({k: c.as_array(str) for k, c in category.items()})})}
    )
    binary.write(tmp_path / "x.bcif")
    with open(tmp_path / "x.bcif", "rb") as handle:
        (tmp_path / "y.bcif.gz").write_bytes(gzip.compress(handle.read()))

    expected = read_structure(text)
    assert expected.atoms.coord[-1, 1] == 2 and len(expected.ligands) == 1
    for name in ("x.bcif", "y.bcif.gz"):
        found = read_structure(tmp_path / name)
        for table in ("atoms", "residues"):
            for key, value in vars(getattr(expected, table)).items():
                np.testing.assert_array_equal(getattr(getattr(found, table), key), value, err_msg=key)
        assert [(x.id, x.kind) for x in found.ligands] == [("LIG A:501", "molecule")]
        np.testing.assert_array_equal(found.ligands[0].coord, expected.ligands[0].coord)


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (b"", "x.pdb", "empty"),
        (b" \n\n", "x.cif", "empty"),
        (b"It was a dark and stormy night.\n" * 20, "x.pdb", "no atoms"),
        (b"data_TEST\n_cell.length_a 10\n", "x.cif", "no atom coordinates"),
        (b"data_TEST\nloop_\n_atom_site.id\n'unterminated\n", "x.cif", "cannot be read"),
        (gzip.compress(b"ATOM" * 5000)[:40], "x.pdb.gz", "damaged gzip"),
        (b"\x1f\x8b\x08 not gzip", "x.pdb.gz", "damaged gzip"),
        (b"\x85\xa4 nonsense \xff\xfe" * 9, "x.bcif", "BinaryCIF"),
        (bytes(range(256)) * 20, "x.pdb", "no atoms|cannot be read"),
        (b"ATOM  \n" * 5, "x.pdb", "no atoms|cannot be read|5 of its 5 atoms"),
    ],
    ids=["empty", "blank", "prose", "no-atom-site", "broken-cif", "truncated-gz", "fake-gz", "fake-bcif", "bytes", "short-lines"],
)
def test_damage_is_a_sentence(read, content, name, why):
    with pytest.raises(StructureError, match=why) as caught:
        read(content, name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_gzip_of_a_good_file(read):
    packed = gzip.compress("\n".join(peptide(["ALA"] * 200)).encode())
    with pytest.raises(StructureError, match="damaged gzip"):
        read(packed[: len(packed) // 2], "x.pdb.gz")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_other_encodings(read, encoding, kind):
    text = "\n".join([*peptide(["ALA", "GLY"]), ""]) if kind == "pdb" else mmcif(cif_peptide(2))
    s = read(text.encode(encoding), f"x.{kind}")
    assert len(s.residues) == 2
    assert len(s.atoms) == 8


@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_crlf(read, kind):
    text = "\n".join([*peptide(["ALA", "GLY"]), ""]) if kind == "pdb" else mmcif(cif_peptide(2))
    assert len(read(text.replace("\n", "\r\n"), f"x.{kind}").atoms) == 8


def test_format_is_told_from_content_not_name(read):
    assert len(read(mmcif(cif_peptide(2)), "x.pdb").residues) == 2
    assert len(read(peptide(["ALA", "GLY"]), "x.cif").residues) == 2


def test_old_pdb_with_entry_id_in_columns_73_to_80(read):
    lines = [
        atom(i, n, num=k, xyz=(3.8 * k + i, 0, 0), tail=f"4HHB {100 + i}") for k in (1, 2) for i, n in enumerate(("N", "CA", "C"))
    ]
    s = read(lines)
    assert s.atoms.element.tolist() == ["N", "C", "C"] * 2
    assert s.residues.has_ca.all()
    assert s.sequence() == "AA"


def test_folder_named_like_a_file(tmp_path):
    (tmp_path / "x.pdb").mkdir()
    with pytest.raises(StructureError, match="is a folder"):
        read_structure(tmp_path / "x.pdb")


def test_missing_file(tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        read_structure(tmp_path / "none.pdb")


def test_size_limit_holds_for_the_decompressed_size(read):
    packed = gzip.compress(b" " * (3 << 20))
    assert len(packed) < 1 << 20
    with pytest.raises(StructureError, match="larger than 1 MiB"):
        read(packed, "x.pdb.gz", config=ReadConfig(max_bytes=1 << 20))


# ---------------------------------------------------------------------------------------------- found by corpus and fuzzer


@pytest.mark.parametrize("value", ["   nan", "   inf", "  -inf"])
def test_b_factors_that_are_no_numbers_are_zero(read, value):
    lines = peptide(["ALA", "GLY"])
    lines[1] = lines[1][:60] + value + lines[1][66:]
    s = read(lines)
    assert s.atoms.b_factor.tolist() == [20, 0, 20, 20, 20, 20, 20, 20]
    assert s.notes == ("1 atoms have a B-factor that is not a number; 0 is used instead",)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_that_are_no_ascii(read, encoding):
    """A PDB column is a character to whoever wrote it, in whatever encoding; PDB ids become ``?``, mmCIF keeps them."""
    lines = [line[:21] + "é" + line[22:] for line in peptide(["ALA", "GLY"])]
    s = read("\n".join(lines).encode(encoding))
    assert s.residues.ids() == ["?:1", "?:2"]
    np.testing.assert_allclose(s.residues.ca_coord[:, 0], [3.8, 7.6], atol=1e-3)
    s = read(mmcif(cif_peptide(2, auth_asym_id="'é'", auth_atom_id="'é'")).encode(encoding), "x.cif")
    assert s.chains == ["é"] and set(s.atoms.name.tolist()) == {"é"}


def test_author_numbers_left_out_are_the_places_in_the_sequence(read):
    rows = cif_peptide(3)
    s = read(mmcif([{**r, "auth_seq_id": "?"} for r in rows]), "x.cif")
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    with pytest.raises(StructureError, match="12 of its 12 atoms have no usable coordinates or residue number"):
        read(mmcif([{**r, "auth_seq_id": "?", "label_seq_id": "."} for r in rows]), "x.cif")


def test_atoms_at_one_point_are_no_structure(read):
    lines = [line[:30] + "   0.000" * 3 + line[54:] for line in peptide(["ALA", "GLY", "SER"])]
    with pytest.raises(StructureError, match="all its 12 atoms are at one point"):
        read(lines)


def test_no_chain_asked_for_is_no_selection(read):
    with pytest.raises(StructureError, match="no chain was asked for; the chains are 'A'"):
        read(peptide(["ALA", "GLY"])).select_chains([])


def test_a_file_of_which_much_cannot_be_read_is_refused(read):
    lines = peptide(["ALA", "GLY", "SER", "VAL", "LEU"])
    lines[12:] = [line[:22] + "****" + line[26:] for line in lines[12:]]
    with pytest.raises(StructureError, match=r"8 of its 20 atoms have no usable .* in line or row 13\)"):
        read(lines)


@pytest.mark.parametrize(("start", "text"), [(22, "****"), (30, "********"), (46, "*" * 8), (38, " " * 8)])
def test_numbers_that_overflowed_or_are_none_are_not_zero(read, start, text):
    lines = peptide(["ALA", "GLY", "SER"])
    lines[5] = lines[5][:start] + text + lines[5][start + len(text) :]
    s = read(lines)
    assert s.atoms.name.tolist() == ["N", "CA", "C", "O", "N", "C", "O", "N", "CA", "C", "O"]
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]
    assert s.notes[0] == "1 atoms without usable coordinates or residue number were left out"


def test_atoms_that_come_twice_are_counted(read):
    assert read([*backbone(num=1), *backbone(num=1), *backbone(num=2)]).notes == (
        "4 atoms that occur twice in a residue were left out",
    )


def test_anisou_out_of_place_does_no_harm(read):
    lines = peptide(["ALA", "GLY"])
    other = ["ANISOU" + line[6:28] + "   1000" * 6 + line[70:] for line in lines]
    s = read([other[3], *lines[:2], other[1], other[1], *lines[2:]])
    assert len(s.atoms) == 8 and s.sequence() == "AG"


@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_mixed_line_ends(read, kind):
    text = "\n".join([*peptide(["ALA", "GLY"]), ""]) if kind == "pdb" else mmcif(cif_peptide(2))
    assert len(read(text.replace("\n", "\r"), f"x.{kind}").atoms) == 8
    ends = iter(["\r\n", "\n", "\r"] * text.count("\n"))
    assert len(read("".join(line + next(ends) for line in text.splitlines()), f"x.{kind}").atoms) == 8


def test_control_characters_do_not_get_into_messages(read):
    with pytest.raises(StructureError) as caught:
        read("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2 \x1b[2J\x07", "x.cif")
    assert str(caught.value).isprintable() and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "name", "why"),
    [
        ({"max_atoms": 11}, "x.pdb", "12 atom records; at most 11"),
        ({"max_atoms": 11}, "x.cif", "12 atom records; at most 11"),
        ({"max_values": 100}, "x.cif", r"2\d\d values; at most 100"),
    ],
)
def test_limits(read, limits, name, why):
    content = mmcif(cif_peptide(3)) if name == "x.cif" else [*peptide(["ALA"] * 2), *peptide(["ALA"], "B", 3)]
    with pytest.raises(StructureError, match=why):
        read(content, name, config=ReadConfig(**limits))
    assert len(read(content, name, config=ReadConfig(**{key: value + 1000 for key, value in limits.items()})).atoms) == 12


def test_names_of_any_length_do_not_fill_the_memory(read):
    with pytest.raises(StructureError, match="name of 100000 characters"):
        read(mmcif(cif_peptide(3, auth_asym_id="Q" * 100_000)), "x.cif")
    with pytest.raises(StructureError, match="name of 100000 characters"):
        read(mmcif(cif_peptide(3, auth_comp_id="Q" * 100_000, label_comp_id="Q" * 100_000)), "x.cif")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1abc.cif.gz", "1abc"),
        ("a/b/pdb1abc.ent", "pdb1abc"),
        ("x.PDB", "x"),
        ("v1.2.bcif.gz", "v1.2"),
        ("x.pdbqt", "x"),
        ("x.pqr.gz", "x"),
        ("notes", "notes"),
        (".pdb", ".pdb"),
    ],
)
def test_stem(name, expected):
    assert stem(name) == expected


# ---------------------------------------------------------------------------------------------- what is polymer


def cap(name: str, atoms: str, number: int, at: float, record: str = "ATOM") -> list[str]:
    """A cap at a place on the x axis, its first atom bonded to what is there."""
    return [
        atom(80 + k, n, name, num=number, xyz=(at + 1.3 * k, -0.4 * k, 0.3), record=record) for k, n in enumerate(atoms.split())
    ]


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
@pytest.mark.parametrize(
    ("name", "atoms", "number"), [("NMA", "N CA", 3), ("NME", "N C", 4), ("NH2", "N", 4), ("NMA", "N CA", 4)]
)
def test_caps_are_neither_residue_nor_ligand(read, name, atoms, number, record):
    s = read([*peptide(["ALA", "GLY", "SER"]), *cap(name, atoms, number, 3 * 3.8 + 2.4, record), "TER"])
    assert s.sequence() == "AGS" and s.ligands == ()
    assert s.residues.ids() == ["A:1", "A:2", "A:3"]


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
@pytest.mark.parametrize("chain", ["A", "L"])
@pytest.mark.parametrize("ter", [(), ("TER",)])
def test_a_free_amino_acid_is_a_ligand(read, record, chain, ter):
    ended = [*peptide(["ALA", "GLY"]), atom(9, "OXT", "GLY", num=2, xyz=(9.6, 1.0, 0.9))]
    free = [
        *backbone("TRP", chain, 90, record=record),
        atom(99, "OXT", "TRP", chain, 90, xyz=(3.8 * 90 + 2.0, 1, 1), record=record),
    ]
    s = read([*ended, *ter, *free])
    assert s.sequence() == "AG"
    assert [x.id for x in s.ligands] == [f"TRP {chain}:90"]


def test_a_molecule_with_an_atom_ca_is_a_ligand(read):
    lone = [atom(90 + k, name, "LIG", "A", 40, xyz=(30 + 1.5 * k, 0, 0)) for k, name in enumerate(("CA", "CB", "C1", "O1"))]
    for lines in (
        [*peptide(["ALA", "GLY"]), *lone, "TER"],
        [*peptide(["ALA", "GLY"]), "TER", *lone],
        [*lone, *peptide(["ALA", "GLY"])],
    ):
        s = read(lines)
        assert s.sequence() == "AG" and [x.id for x in s.ligands] == ["LIG A:40"]


def test_unknown_residues_are_protein_where_they_are_bonded(read):
    far = [atom(90 + k, name, "UNK", "A", 9, xyz=(60 + 1.5 * k, 0, 0)) for k, name in enumerate(("N", "CA", "C", "O"))]
    s = read([*peptide(["ALA", "UNK", "SER"]), *far])
    assert s.sequence() == "AXS"
    assert [x.id for x in s.ligands] == ["UNK A:9"]


def test_residues_between_gaps_stay_protein(read):
    lines = [*peptide(["ALA", "GLY"]), "TER", *backbone("SER", num=20), "TER", *peptide(["TRP", "LYS"], start=40)]
    s = read(lines)
    assert s.sequence() == "AGSWK" and s.chains == ["A"]
    modified = [*peptide(["ALA", "GLY"]), *backbone("SEP", num=20, record="HETATM"), *peptide(["TRP", "LYS"], start=40), "TER"]
    assert read(modified).sequence() == "AGSWK"


# ---------------------------------------------------------------------------------------------- identity


def shifted(lines: list[str], by: float) -> list[str]:
    return [f"{x[:38]}{float(x[38:46]) + by:8.3f}{x[46:]}" for x in lines]


def test_numbers_that_repeat_in_a_bonded_chain_get_insertion_codes(read):
    lines = peptide(["LEU", "TYR", "PRO", "TRP"])
    number = {"   2": "   1", "   3": "   1", "   4": "   2"}
    s = read([x[:22] + number.get(x[22:26], x[22:26]) + x[26:] for x in lines])
    assert s.residues.ids() == ["A:1", "A:1A", "A:1B", "A:2"]
    assert s.notes == (
        "2 residues had the same number as another of their chain; they were given insertion codes, or the chain was numbered "
        "from 1",
    )


def test_a_whole_chain_of_one_number_is_counted(read):
    names = ["ALA", "GLY", "SER"] * 12
    s = read([x[:22] + "   7" + x[26:] for x in peptide(names)])
    assert s.sequence() == "AGS" * 12
    assert s.residues.number.tolist() == list(range(1, 37))


@pytest.mark.parametrize("chain", ["A", "X", " "])
def test_chains_of_one_letter_are_told_apart(read, chain):
    first = peptide(["ALA", "GLY", "SER"], chain)
    s = read([*first, *shifted(peptide(["TRP", "LYS", "ASP"], chain), 30), "TER"])
    assert [s.sequence(c) for c in s.chains] == ["AGS", "WKD"]
    assert s.chains == (["A", "B"] if chain != "X" else ["X", "A"])
    assert any(f"share the chain id {chain.strip()!r}" in note for note in s.notes)


def test_a_ligand_with_the_number_of_a_residue_gets_a_chain_of_its_own(read):
    ligand = [x[:22] + "   2" + x[26:] for x in LIGAND]
    s = read([*peptide(["ALA", "GLY"]), "TER", *ligand])
    assert s.residues.ids() == ["A:1", "A:2"]
    assert [x.id for x in s.ligands] == ["LIG B:2"]


def test_interleaved_atoms_and_late_atoms_are_of_their_residue(read):
    lines = peptide(["ALA", "GLY", "SER"])
    by_name = sorted(lines, key=lambda x: x[12:16])
    assert read(by_name).residues.ids() == ["A:1", "A:2", "A:3"]
    late = [*lines, "TER", atom(70, "OXT", "SER", num=3, xyz=(13.6, 0, 0.5))]
    s = read(late)
    assert s.residues.ids() == ["A:1", "A:2", "A:3"] and s.atoms.name[-1] == "OXT"


def test_structures_refuse_ids_that_repeat(read):
    s = read(peptide(["ALA", "GLY"]))
    with pytest.raises(StructureError, match="two residues or ligands are called A:1"):
        replace(s, residues=replace(s.residues, number=np.array([1, 1], np.int32)))
    ligand = read([*peptide(["ALA"]), *LIGAND]).ligands[0]
    with pytest.raises(StructureError, match="are called LIG A:501"):
        replace(s, ligands=(ligand, ligand))


def test_all_atoms_come_with_the_ids_of_the_reader(tmp_path):
    one = [*peptide(["ALA", "GLY"]), atom(9, "HA", "GLY", num=2, element="H", xyz=(8, 1, 0))]
    water = atom(50, "O", "HOH", num=90, record="HETATM", xyz=(50, 0, 0))
    path = tmp_path / "x.pdb"
    path.write_text("\n".join([*one, "TER", *shifted(one, 30), "TER", water, "END", ""]))
    config = ReadConfig()
    table, residue = read_atoms(read_content(path, config), config)
    assert table.chain.tolist() == ["A"] * 9 + ["B"] * 9 + ["A"]
    assert residue.tolist() == [0] * 4 + [1] * 5 + [2] * 4 + [3] * 5 + [-1]
    assert read_structure(path).residues.ids() == ["A:1", "A:2", "B:1", "B:2"]
