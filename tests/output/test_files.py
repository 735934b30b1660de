"""What is written can be read back, names every residue as the input did, and is never half there."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import NASTY, make_prediction
from hypothesis import given
from hypothesis import strategies as st

from s2p.commands import main
from s2p.config import BOX, BoxConfig
from s2p.errors import ConfigError, S2PError
from s2p.io.files import file_stem
from s2p.output import files as export
from s2p.output.viewers import box_text, chimerax_selection, docking_box, pymol_selection, spheres_text
from s2p.prediction import Density, Prediction
from s2p.structure.reading import read_structure


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_tables(tmp_path: Path) -> None:
    p = make_prediction()
    pockets, residues = (rows(path) for path in p.save(tmp_path, ["csv"]))
    assert tuple(pockets[0]) == export.POCKET_COLUMNS and tuple(residues[0]) == export.residue_columns(p)
    ids = p.structure.residues.ids()
    assert pockets[0]["residues"].split(" ") == [ids[i] for i in p.pockets[0].residues]
    assert int(pockets[0]["n_residues"]) == len(p.pockets[0].residues)
    assert [float(pockets[1][f"center_{x}"]) for x in "xyz"] == pytest.approx(p.pockets[1].center.tolist(), abs=1e-3)
    assert [f"{r['chain']}:{r['number']}{r['insertion_code']}" for r in residues] == ids
    assert {"A:-3", "A:0", "A:0A"} <= set(ids)
    assert [float(r["probability"]) for r in residues] == pytest.approx(p.probabilities.tolist(), abs=1e-5)
    assert [int(r["pocket"]) for r in residues] == p.pocket_of_residue.tolist()
    assert {r["smoothed"] for r in residues} == {"0", "1"}


def test_table() -> None:
    pytest.importorskip("pandas")
    assert make_prediction().table().columns.tolist() == list(export.POCKET_COLUMNS)


def test_the_table_of_residues_is_that_of_the_file(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    prediction = make_prediction()
    (path,) = (x for x in prediction.save(tmp_path, ("csv",)) if x.name.endswith("_residues.csv"))
    read = pd.read_csv(path, dtype={"insertion_code": str}, keep_default_na=False)
    pd.testing.assert_frame_equal(prediction.residue_table(), read, check_dtype=False)


def test_json(tmp_path: Path) -> None:
    p = make_prediction(settings={"threshold": np.float32(0.5), "bad": float("nan"), "context": ("chain",)})
    (path,) = p.save(tmp_path, ["json"])
    data = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["settings"] == {"threshold": 0.5, "bad": None, "context": ["chain"]}
    assert data["model"] == "test-model" and data["notes"] == ["read me"]
    assert data["pockets"][0]["residues"] == [p.structure.residues.ids()[i] for i in p.pockets[0].residues]
    assert [x["sites"] for x in data["pockets"]] == [[x["center"]] for x in data["pockets"]]
    assert len(data["residues"]) == 48 and data["residues"][4]["id"] == "A:0A"
    assert [x["kind"] for x in data["structure"]["ligands"]] == ["molecule", "ion"]


@pytest.mark.parametrize(
    ("options", "suffix"),
    [
        ({}, "pdb"),
        ({"chains": ("AAA", "B-2")}, "cif"),
        ({"numbers": (9990, 1)}, "cif"),
        ({"numbers": (-1200, 1)}, "cif"),
        ({"chains": (" ", "B")}, "pdb"),
        ({"chains": ("#", '"')}, "pdb"),
        ({"chains": ("A#", "'x y")}, "cif"),
        ({"chains": ("_a", "data_")}, "cif"),
    ],
)
def test_scores_round_trip(tmp_path: Path, options: dict[str, object], suffix: str) -> None:
    p = make_prediction(**options)  # type: ignore[arg-type]
    (path,) = p.save(tmp_path, ["pdb"])
    assert path.name == f"demo_scores.{suffix}"
    again = read_structure(path)
    assert again.residues.number.tolist() == p.structure.residues.number.tolist()
    assert again.residues.insertion_code.tolist() == p.structure.residues.insertion_code.tolist()
    assert [c.strip() for c in again.chains] == [c.strip() for c in p.structure.chains]
    np.testing.assert_allclose(again.atoms.b_factor, p.probabilities[again.atoms.residue_index] * 100, atol=0.006)
    np.testing.assert_allclose(again.atoms.coord, p.structure.atoms.coord, atol=1e-3)
    assert [(x.name, x.number, x.kind) for x in again.ligands] == [("BNZ", 900, "molecule"), ("ZN", 901, "ion")]


def test_residue_names_of_four_letters_make_it_mmcif(tmp_path: Path) -> None:
    p = make_prediction()
    name = p.structure.residues.name.astype("<U4")
    name[3] = "A1BC"
    p = replace(p, structure=replace(p.structure, residues=replace(p.structure.residues, name=name)))
    (path,) = p.save(tmp_path, ["pdb"])
    assert path.suffix == ".cif" and read_structure(path).residues.name.tolist() == name.tolist()


def test_scores_order_is_the_order_of_the_file() -> None:
    structure = make_prediction(chains=("A", "B")).structure
    order = export.scores_order(structure)
    assert (order[:120] == np.repeat(np.arange(24), 5)).all() and (order[120:126] == -1).all() and order[-1] == -1
    text, _ = export.scores_text(make_prediction())
    records = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
    ids = structure.residues.ids()
    for owner, line in zip(order.tolist(), records, strict=True):
        assert line.startswith("HETATM") if owner < 0 else f"{line[21]}:{line[22:27].strip()}" == ids[owner]


def test_too_many_atoms_for_pdb(monkeypatch: pytest.MonkeyPatch) -> None:

    p = make_prediction()
    atoms = p.structure.atoms
    grown = replace(p.structure, atoms=type(atoms)(*(np.repeat(x, 420, axis=0) for x in vars(atoms).values())))
    assert not export._fits_pdb(grown) and export._fits_pdb(p.structure)


def parse_pymol(selection: str) -> set[str]:
    """Residue ids of a selection made of ``(chain X and resi a+b)`` terms."""
    found, position = set(), 0
    while position < len(selection):
        match = re.compile(r'(?: or )?\(chain ([A-Za-z0-9]+|"(?:\\.|[A-Za-z0-9])*") and resi ([\w\\+-]+)\)').match(
            selection, position
        )
        assert match, selection[position:]
        chain = re.sub(r"\\(.)", r"\1", match[1].strip('"'))
        # An unescaped minus would be a range.
        assert not re.search(r"(?<!\\)-", match[2])
        found |= {f"{chain}:{number}".replace("\\-", "-") for number in match[2].split("+")}
        position = match.end()
    return found


@given(
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"()[]{}'), min_size=1, max_size=3),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_pymol_selection_of_any_chain(chains: list[str]) -> None:
    p = make_prediction(chains=(chains[0], chains[1]))
    ids = p.structure.residues.ids()
    for pocket in p.pockets:
        assert parse_pymol(pymol_selection(p, pocket)) == {ids[i] for i in pocket.residues}


@pytest.mark.parametrize("chains", [("A", "B"), ("AAA", "B-2")])
def test_pymol_script(tmp_path: Path, chains: tuple[str, str]) -> None:
    p = make_prediction(chains=chains)
    scores, script = p.save(tmp_path, ["pml"])
    text = script.read_text()
    assert scores.name in text and scores.exists()
    ids = p.structure.residues.ids()
    for pocket in p.pockets:
        assert parse_pymol(pymol_selection(p, pocket)) == {ids[i] for i in pocket.residues}
        assert f"select s2p_demo_pocket{pocket.rank}, s2p_demo and ({pymol_selection(p, pocket)})" in text
        assert f"pseudoatom s2p_demo_center{pocket.rank}, pos=[{pocket.center[0]:.3f}, " in text
    assert r"resi \-3+0+0A" in text


def test_chimerax_script(tmp_path: Path) -> None:
    p = make_prediction()
    scores, script = p.save(tmp_path, ["cxc"])
    text = script.read_text()
    assert f'open "{scores.name}"' in text
    found = re.search(r"^name pocket1 /A:(\S+)/B:(\S+)$", text, re.MULTILINE)
    assert found
    ids = p.structure.residues.ids()
    expected = {ids[i] for i in p.pockets[0].residues}
    assert {f"A:{x}" for x in found[1].split(",")} | {f"B:{x}" for x in found[2].split(",")} == expected
    odd = make_prediction(chains=("B-2", "C"))
    assert chimerax_selection(odd, odd.pockets[0]).startswith(":-3,0,0A")


def test_docking_boxes(tmp_path: Path) -> None:
    p = make_prediction()
    paths = p.save(tmp_path, ["box"])
    assert [x.name for x in paths] == ["demo_pocket1_box.txt", "demo_pocket2_box.txt"]
    values = dict(line.split(" = ") for line in paths[0].read_text().splitlines() if not line.startswith("#"))
    assert list(values) == ["center_x", "center_y", "center_z", "size_x", "size_y", "size_z"]
    center, size = (np.array([float(values[f"{key}_{x}"]) for x in "xyz"]) for key in ("center", "size"))
    points = p.pockets[0].points
    assert (np.abs(points - center) <= size / 2 - 5 + 2e-3).all()
    np.testing.assert_allclose(size, np.ptp(points, axis=0) + 10, atol=2e-3)


def test_docking_boxes_follow_their_settings(tmp_path: Path) -> None:
    p = make_prediction()
    low, high = (f(p.pockets[0].points, axis=0) for f in (np.min, np.max))
    center, size = docking_box(p, p.pockets[0], BoxConfig(padding=2))
    np.testing.assert_allclose(size, high - low + 4, atol=2e-3)
    np.testing.assert_allclose(center, (low + high) / 2, atol=2e-3)
    center, size = docking_box(p, p.pockets[0], BoxConfig(padding=0, least=25))
    assert size == [25, 25, 25]
    np.testing.assert_allclose(center, (low + high) / 2, atol=2e-3)
    (path, *_) = p.save(tmp_path, ["box"], BoxConfig(least=28))
    assert path.read_text().count(" = 28.000") == 3
    with pytest.raises(ConfigError, match="the shortest edge of a docking box, 31 Å, is above the longest, 30 Å"):
        BoxConfig(least=31)


def test_docking_boxes_say_what_to_see_to(examples: Path, tmp_path: Path) -> None:
    whole = read_structure(examples / "1hpv.pdb.gz")
    row = int(np.flatnonzero((whole.atoms.name == "CD1") & (whole.residues.name[whole.atoms.residue_index] == "LEU"))[3])
    lines = gzip.decompress((examples / "1hpv.pdb.gz").read_bytes()).decode().splitlines(keepends=True)
    owner = int(whole.atoms.residue_index[row])
    leucine = whole.residues.ids()[owner]
    tag = f"CD1 LEU {whole.residues.chain[owner]}{int(whole.residues.number[owner]):4d} "
    (tmp_path / "cut.pdb").write_text("".join(line for line in lines if tag not in line))
    text = {}
    for path in (examples / "1hpv.pdb.gz", tmp_path / "cut.pdb"):
        structure = read_structure(path)
        ligand = structure.ligands[0]
        pocket = replace(make_prediction().pockets[0], residues=np.array([owner], np.int32), points=ligand.coord)
        text[path.name] = box_text(replace(make_prediction(), structure=structure), replace(pocket, center=ligand.coord[0]))
    assert f"# also in the box: {ligand.id}" in text["1hpv.pdb.gz"] and "lack atoms" not in text["1hpv.pdb.gz"]
    assert f"# residues of the pocket that lack atoms: {leucine} LEU\n" in text["cut.pdb"]
    strange = replace(structure, ligands=(replace(ligand, chain="A\nsize_x = 1"),))
    last = box_text(replace(make_prediction(), structure=strange), replace(pocket, center=ligand.coord[0]))
    assert last.count("\nsize_x") == 1


def test_spheres_for_dock(tmp_path: Path) -> None:
    p = make_prediction()
    first, second = p.save(tmp_path, ["spheres"])
    assert (first.name, second.name) == ("demo_pocket1.sph", "demo_pocket2.sph")
    title, head, *rows = first.read_text().splitlines()
    assert title == "surface points of pocket 1 (Angstrom), as spheres for DOCK"
    assert head.split() == ["cluster", "1", "number", "of", "spheres", "in", "cluster", str(len(p.pockets[0].points))]
    ends = np.cumsum([0, 5, 10, 10, 10, 8, 5, 2, 3])
    fields = np.array([[float(row[a:b]) for a, b in pairwise(ends.tolist())] for row in rows])
    assert {len(row) for row in rows} == {53}
    np.testing.assert_array_equal(fields[:, 0], np.arange(len(rows)) + 1)
    np.testing.assert_allclose(fields[:, 1:4], p.pockets[0].points, atol=1e-5)
    assert set(fields[:, 4]) == {1.4} and not fields[:, 5:].any()
    far = spheres_text(p, replace(p.pockets[0], points=np.float32([[-1000.5, 0, 9999]]))).splitlines()[2]
    assert [far[5:15], far[25:35], len(far)] == ["-1000.5000", "9999.00000", 53]
    bare = spheres_text(p, replace(p.pockets[0], points=np.zeros((0, 3), np.float32)))
    assert len(bare.splitlines()) > 2 + len(p.pockets[0].residues)  # its atoms
    one = replace(p, pockets=p.pockets[:1])
    assert [x.name for x in one.save(tmp_path, ["spheres"])] == ["demo_pocket1.sph"] and not second.exists()


def test_docking_box_of_a_huge_pocket_is_capped() -> None:

    p = make_prediction()
    wide = replace(p.pockets[0], points=np.float32([[0, 0, 0], [100, 0, 0]]), center=np.float32([90, 0, 0]))
    center, size = docking_box(p, wide)
    assert size == [BOX.most, 10, 10] and center == [90, 0, 0]
    assert "# capped: the whole box is 110.000 x 10.000 x 10.000, an edge is at most 30\n" in box_text(p, wide)
    assert "capped" not in box_text(p, p.pockets[0])
    center, _ = docking_box(p, replace(wide, center=np.float32([200, 0, 0])))
    assert center[0] == 90
    without_points = replace(wide, points=np.zeros((0, 3), np.float32), center=p.pockets[0].center)
    assert docking_box(p, without_points)[1][2] > 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1abc", "1abc"),
        ("my protein", "my protein"),
        ("../../etc/passwd", "_.._etc_passwd".replace("..", ".")),
        ("..", "structure"),
        ("", "structure"),
        ("a/b\\c:d\n\x00e", "a_b_c_d__e"),
        ("-rf", "rf"),
        ("protéine", "protéine"),
        ("x" * 400, "x" * 150),
        (NASTY, "_script_alert_1___script_"),
    ],
)
def test_file_stem(name: str, expected: str) -> None:
    assert file_stem(name) == expected


@pytest.mark.parametrize("name", ["../up", "/etc/x", NASTY, "é" * 300, "a\nb"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    paths = make_prediction(name).save(folder)
    assert {x.parent for x in paths} == {folder}
    assert {x.name for x in folder.iterdir()} == {x.name for x in paths}
    assert [x.name for x in tmp_path.iterdir()] == ["out"]


def test_all_formats_and_no_pockets(tmp_path: Path) -> None:
    p = make_prediction()
    empty = Prediction(p.structure, p.probabilities * 0, p.smoothed & False, p.positive & False, (), "test-model")
    names = {x.name for x in empty.save(tmp_path)}
    assert names == {
        f"demo{x}" for x in ("_pockets.csv", "_residues.csv", ".json", "_scores.pdb", ".pml", ".cxc", "_report.html")
    }
    assert (tmp_path / "demo_pockets.csv").read_text() == ",".join(export.POCKET_COLUMNS) + "\n"


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(S2PError, match="no output format 'xls'; the formats are csv"):
        make_prediction().save(tmp_path / "x", ["csv", "xls"])
    assert not (tmp_path / "x").exists()


def test_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("kept")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(S2PError, match="is a file and not a folder"):
            make_prediction().save(folder)
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "denied"), "no permission to write"),
        (OSError(errno.ENOSPC, "No space left"), "disk is full"),
        (OSError(errno.EIO, "Input/output error"), r"cannot write .* \(Input/output error\)"),
    ],
)
def test_failed_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str) -> None:
    p = make_prediction()
    (path,) = p.save(tmp_path, ["json"])
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(S2PError, match=words):
        p.save(tmp_path, ["json"])
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["demo.json"]


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "demo.json" / "x").mkdir(parents=True)
    with pytest.raises(S2PError, match="cannot write"):
        make_prediction().save(tmp_path, ["json"])
    assert [x.name for x in tmp_path.iterdir()] == ["demo.json"]


def names_in(folder: Path) -> set[str]:
    return {x.name.removeprefix("demo") for x in folder.iterdir()}


def test_files_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    density = Density(np.zeros((2, 2, 2), np.float32), (0.0, 0.0, 0.0), 1.0)
    replace(make_prediction(), density=density).save(tmp_path, (*export.FORMATS, *export.MAPS))
    assert (
        len(names_in(tmp_path)) == len(export.FORMATS) + len(export.MAPS) + 4
    )  # csv and p2rank are two files, and there are two pockets
    make_prediction("demo_2").save(tmp_path, ["json", "box"])
    (tmp_path / "demo_pocketX_box.txt").write_text("not ours")
    others = {"_2.json", "_2_pocket1_box.txt", "_2_pocket2_box.txt", "_pocketX_box.txt"}
    p = make_prediction()
    p.save(tmp_path, ["csv"])
    assert names_in(tmp_path) == {"_pockets.csv", "_residues.csv", *others}
    p.save(tmp_path, ["box", "pdb"])  # more formats of the same prediction
    assert names_in(tmp_path) == {"_pockets.csv", "_residues.csv", "_scores.pdb", *others} | {
        f"_pocket{k}_box.txt" for k in (1, 2)
    }
    replace(p, pockets=p.pockets[:1]).save(tmp_path, ["box"])
    assert names_in(tmp_path) == {"_pocket1_box.txt", *others}


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    p = make_prediction()
    names = [path.name for path in p.save(tmp_path)]
    for name in names:
        (tmp_path / name).write_text("the user's own")
    make_prediction().save(tmp_path, ["csv"])
    assert {x.name for x in tmp_path.iterdir()} == set(names)
    assert (tmp_path / "demo.json").read_text() == "the user's own"


def test_a_second_run_of_an_input_leaves_nothing_of_the_first(tmp_path: Path, examples: Path) -> None:
    command = ["predict", str(examples / "4CUP.cif"), "-o", str(tmp_path), "--device", "cpu", "--quiet"]
    assert main([*command, "--format", "csv,box,pml,json,html"]) == 0
    first = {x.name.removeprefix("4CUP") for x in tmp_path.iterdir()}
    assert {"_scores.pdb", ".pml", ".json", "_report.html", "_pocket1_box.txt"} <= first
    assert main([*command, "--method", "published", "--bandwidth", "12", "--format", "json"]) == 0
    assert {x.name for x in tmp_path.iterdir()} == {"4CUP.json", "4CUP_pockets.csv", "4CUP_residues.csv"}


def test_cryptic_sites_are_told_apart_by_more_than_a_colour(tmp_path: Path) -> None:
    p = make_prediction()
    first, second = p.pockets
    assert (first.label, first.remark, replace(first, site="both").remark) == ("1", "", ", also cryptic")
    shown = replace(p, pockets=(first, replace(second, site="cryptic", copy_of=1)), parts={"cryptic": p.probabilities})
    assert shown.pockets[1].remark == ", cryptic, copy of pocket 1" and shown.pockets[1].remark in repr(shown)
    for prediction, n in ((p, 0), (shown, 1)):
        prediction.save(tmp_path)
        pymol, chimerax, page = ((tmp_path / f"demo{end}").read_text() for end in (".pml", ".cxc", "_report.html"))
        assert pymol.count("show mesh, s2p_demo_pocket2\n") == pymol.count("label=2 cryptic\n") == n
        assert chimerax.count(' mesh true name "centre 2 cryptic"') == n
        assert page.count("A cryptic site: it opens on ligand binding") == n
        assert page.count('"net": true') == n and page.count("The line is the probability of a cryptic site.") == n
        residues = rows(tmp_path / "demo_residues.csv")
        assert ("cryptic_probability" in residues[0]) == bool(n)
        assert [r["site"] for r in rows(tmp_path / "demo_pockets.csv")] == ["general", "cryptic" if n else "general"]
        assert ("box of pocket 2, cryptic" in (tmp_path / "demo_pocket2_box.txt").read_text()) == bool(n)
