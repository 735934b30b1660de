"""Files as real programs write them (``tests/data/cases/reading``), and changes of a file that may not matter."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest

from s2p.errors import S2PError
from s2p.structure.reading import Structure, read_structure

CASES = Path(__file__).parents[1] / "data" / "cases" / "reading"
START = "PQITLWQRPLVT"
CHAIN = f"{START}IKIGGQLKEALLDTGADDTVLEEMSLPGRWKPKMIGGIGGFIKVRQYDQILIEICGHKAIGTVLVGPTPVNIIGRNLLTQIGCTLNF"

EXPECTED: dict[str, tuple[list[str], list[str], list[str]]] = {  # chains, sequences, ligands
    "column_shift/two_letter_chain.pdb": (["AA", "AB"], [START, START], []),
    "column_shift/residue_number_10000.pdb": (["A"], [START], []),
    "column_shift/free_format.pdb": (["A"], [START], []),
    "ter_after_ligand/ligand_chain_with_ter.pdb": (["A", "B"], [CHAIN, CHAIN], ["478 L:200"]),
    "ter_after_ligand/gromacs_ter_at_end.pdb": (["A", "B"], [CHAIN, CHAIN], ["478 A:199"]),
    "second_chain_dropped/both_chains_called_A.pdb": (["A", "B"], [START, START], []),
    "second_chain_dropped/two_ligands_one_id.pdb": (["A", "B"], [START, START], ["478 A:200", "478 C:200"]),
    "protein_residues_become_ligands/one_ter_between_chains.pdb": (["A", "B"], [CHAIN, CHAIN], []),
    "ids_not_unique/chain_P_two_segments.pdb": (["P", "A"], [CHAIN, CHAIN], ["478 P:200"]),
    "four_letter_residue_names/gromos.pdb": (["A"], [CHAIN[:20]], []),
    "forcefield_names_read_as_X/names.pdb": (["A"], ["HHCDEKHRHEVD"], []),
    "left_justified_names/no_element.pdb": (["A"], [START], []),
    "rest_of_file_ignored/cat_with_end.pdb": (["A", "B"], [START, START], ["478 L:200"]),
    "rest_of_file_ignored/assembly_two_models.pdb": (["A", "B"], [START, START], ["478 L:200"]),
    "rest_of_file_ignored/blocks.cif": (["A", "B"], [START, START], ["478 L:200"]),
    "segment_splits_residue/partial_segid.pdb": (["A"], [START], []),
    "docking_formats/receptor.pdbqt": (["A"], [START], []),
    "cif_author_names_repeat/auth_seq_all_one.cif": (["A", "B"], [START, START], []),
    "ligand_called_UNK/unk.pdb": (["A", "B"], [CHAIN, CHAIN], ["UNK L:200"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_case(name: str) -> None:
    structure = read_structure(CASES / f"{name}.gz")
    chains, sequences, ligands = EXPECTED[name]
    assert structure.chains == chains
    assert [structure.sequence(chain) for chain in chains] == sequences
    assert [ligand.id for ligand in structure.ligands] == ligands
    assert structure.residues.has_ca.all()
    assert set(structure.atoms.element.tolist()) <= {"C", "N", "O", "S", "SE"}
    np.testing.assert_allclose(structure.atoms.coord[0], (13.120, 39.003, 5.159), atol=0.001)


def test_every_folder_is_a_case() -> None:
    assert {f"{path.parent.name}/{path.stem}" for path in CASES.glob("*/*.gz")} == set(EXPECTED)


# ---------------------------------------------------------------------------------------------- changes that may not matter

Change = Callable[[list[str]], list[str]]


def lines_of(name: str, examples: Path) -> list[str]:
    data = (examples / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines()
    return [line.ljust(80) for line in text if line[:6] in ("ATOM  ", "HETATM", "TER   ") and line[17:20] != "HOH"]


def renamed(lines: list[str]) -> list[str]:
    return [x.replace("HIS", "HIE", 1).replace("CYS", "CYX", 1) if x[:4] == "ATOM" else x for x in lines]


def segmented(lines: list[str]) -> list[str]:
    return [f"{x[:72]}SEG{x[21]}{x[76:]}" for x in lines]


def split(lines: list[str]) -> list[str]:
    """TER where a residue of a round number begins."""
    found = []
    for before, line in zip(["", *lines], lines, strict=False):
        if before[22:26] != line[22:26] and line[:4] == before[:4] == "ATOM" and line[25] == "0":
            found.append("TER")
        found.append(line)
    return found


def without_ter(lines: list[str]) -> list[str]:
    return [line for line in lines if line[:3] != "TER"]


def reordered(lines: list[str]) -> list[str]:
    last = lines[0][21]
    return [x for x in lines if x[21] != last] + ["TER"] + [x for x in lines if x[21] == last]


def parts(structure: Structure) -> tuple[set[object], set[str]]:
    """Chains with their residues, sequence and place; and ligands."""
    residues = structure.residues
    chains = {
        (chain, structure.sequence(chain), *residues.number[residues.chain == chain].tolist()) for chain in structure.chains
    }
    return chains, {ligand.id for ligand in structure.ligands}


@pytest.mark.parametrize("change", [renamed, segmented, split, without_ter, reordered], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["1hpv", "1ia1", "1s3v", "1ubi", "1uou", "3enl", "3mht", "1pwc"])
def test_changes_that_do_not_matter(name: str, change: Change, examples: Path, tmp_path: Path) -> None:
    lines = lines_of(f"{name}.pdb.gz", examples)
    before, after = tmp_path / "before.pdb", tmp_path / "after.pdb"
    before.write_text("\n".join([*lines, "END", ""]))
    after.write_text("\n".join([*change(lines), "END", ""]))
    assert parts(read_structure(after)) == parts(read_structure(before))


@pytest.mark.parametrize("name", ["1hpv", "1ubi", "3enl", "3mht"])
@pytest.mark.parametrize("how", ["same letters", "no letters", "segments", "models", "END"])
def test_a_copy_far_away_is_another_molecule(name: str, how: str, examples: Path, tmp_path: Path) -> None:
    lines = lines_of(f"{name}.pdb.gz", examples)
    far = [x if x[:3] == "TER" else f"{x[:30]}{float(x[30:38]) + 500:8.3f}{x[38:]}" for x in lines]
    alone = read_structure(_write(tmp_path, lines))
    if how == "models":
        both = ["MODEL        1", *lines, "ENDMDL", "MODEL        2", *far, "ENDMDL"]
    elif how == "END":
        both = [*lines, "END", *far]
    elif how == "segments":
        both = [f"{x[:72]}{k}   {x[76:]}" for k, part in enumerate((without_ter(lines), without_ter(far))) for x in part]
    else:
        both = [*lines, "TER", *far]
    if how == "no letters":
        both = [x if x[:3] == "TER" else f"{x[:21]} {x[22:]}" for x in both]
    two = read_structure(_write(tmp_path, both))
    n = len(alone.residues)
    assert len(two.residues) == 2 * n and len(two.atoms) == 2 * len(alone.atoms)
    assert len(two.ligands) == 2 * len(alone.ligands)
    assert sorted(map(two.sequence, two.chains)) == sorted(2 * [*map(alone.sequence, alone.chains)])
    assert any("share the chain id" in note for note in two.notes)


def _write(folder: Path, lines: list[str]) -> Path:
    path = folder / "x.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path


# ---------------------------------------------------------------------------------------------- models and assemblies


@pytest.mark.parametrize(("shift", "n_chains"), [(5.0, 1), (60.0, 3)])
def test_frames_of_a_rigid_body_are_not_an_oligomer(examples: Path, tmp_path: Path, shift: float, n_chains: int) -> None:
    lines = [x for x in lines_of("1ubi.pdb.gz", examples) if x[:4] == "ATOM"]
    models = []
    for k in range(3):
        moved = [f"{x[:30]}{float(x[30:38]) + shift * k:8.3f}{x[38:]}" for x in lines]
        models += [f"MODEL     {k + 1:>4}", *moved, "ENDMDL"]
    assert len(read_structure(_write(tmp_path, models)).chains) == n_chains


def test_an_ensemble_is_one_model_and_says_so(examples: Path, tmp_path: Path) -> None:
    lines = [x for x in lines_of("1ubi.pdb.gz", examples) if x[:4] == "ATOM"][:100]
    models = []
    for k in range(1, 5):
        moved = [f"{x[:30]}{float(x[30:38]) + 0.3 * k * (j % 3):8.3f}{x[38:]}" for j, x in enumerate(lines)]
        models += [f"MODEL     {k:>4}", *moved, "ENDMDL"]
    path = _write(tmp_path, models)
    structure = read_structure(path)
    assert len(structure.atoms) == 100
    assert structure.notes == (
        "1 of 4 models was read; --model-number N (in Python: model=N) reads another, all-chains all of them as one structure",
    )
    third = read_structure(path, model=3)
    assert third.atoms.coord[1, 0] == pytest.approx(structure.atoms.coord[1, 0] + 0.6, abs=1e-3)
    assert third.notes == ()


def test_a_pose_on_top_of_another_is_left_out(examples: Path, tmp_path: Path) -> None:
    lines = lines_of("1hpv.pdb.gz", examples)
    ligand = [x for x in lines if x[17:20] == "478"]
    pose = [f"{x[:30]}{float(x[30:38]) + 0.7:8.3f}{x[38:]}" for x in ligand]
    structure = read_structure(_write(tmp_path, [*lines, "END", *pose]))
    assert [x.name for x in structure.ligands] == ["478"]
    assert any("1 residues or ligands that overlap others" in note for note in structure.notes)


@pytest.mark.parametrize("name", ["4CUP.cif", "3enl.pdb.gz", "1ake.cif.gz"])
def test_assembly_is_that_of_gemmi(name: str, examples: Path) -> None:
    parsed = gemmi.read_structure(str(examples / name))
    whole = gemmi.make_assembly(parsed.assemblies[0], parsed[0], gemmi.HowToNameCopiedChain.Short)
    expected = [a.pos.tolist() for c in whole for r in c for a in r if a.name == "CA" and a.altloc in "\0A" and r.het_flag == "A"]
    structure = read_structure(examples / name, assembly=1)
    assert len(structure.chains) == len(set(structure.chains)) > 0
    found = structure.residues.ca_coord[structure.residues.has_ca]
    assert len(found) == len(expected)
    np.testing.assert_allclose(sorted(map(tuple, found.tolist())), sorted(map(tuple, expected)), atol=2e-3)


def test_there_is_no_such_assembly(examples: Path) -> None:
    with pytest.raises(S2PError, match="there is no assembly 9; it has 1"):
        read_structure(examples / "4CUP.cif", assembly=9)
    with pytest.raises(S2PError, match="there is no assembly 1; the file describes none"):
        read_structure(examples / "1ia1.pdb.gz", assembly=1)
