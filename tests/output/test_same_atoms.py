"""Report, PyMOL and ChimeraX: a pocket is the same atoms in each, read back by three programs that are not ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from browsing import open_page
from builders import make_prediction

from s2p.output.report import render
from s2p.output.viewers import chimerax_selection
from s2p.prediction import Prediction
from s2p.structure.reading import read_structure
from tests.output.test_chimerax import chosen
from tests.output.test_pymol import PYMOL, selected

Atoms = set[tuple[float, ...]]

# What the page holds, read by its own copy of 3Dmol.js.
IN_PAGE = """() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const atoms = $3Dmol.Parsers[data.format](data.structure, { keepH: true })[0];
  return data.pockets.map(p => { const own = new Set(p.residues);
    return atoms.filter((a, k) => own.has(data.owner[k])).map(a => [a.x, a.y, a.z]); });
}"""


def antibody_loop() -> Prediction:
    """52, 52A … 52E in chain A; the pocket has every other one of them and two residues of chain B."""
    p = make_prediction("loop")
    residues = p.structure.residues
    number, code = residues.number.copy(), residues.insertion_code.copy()
    number[:6], code[:6] = 52, ["", *"ABCDE"]
    structure = replace(p.structure, residues=replace(residues, number=number, insertion_code=code))
    return replace(p, structure=structure, pockets=(replace(p.pockets[0], residues=np.array([0, 2, 4, 30, 31], np.int32)),))


def modified() -> Prediction:
    """A chromophore within a chain that is called %, and a ligand with the number of a residue of the pocket."""
    p = make_prediction("modified", chains=("%", "A"))
    residues, ligands = p.structure.residues, p.structure.ligands
    name, own = residues.name.copy(), int(p.pockets[0].residues[1])
    name[own] = "CRO"
    ligand = replace(ligands[0], number=int(residues.number[own]))
    structure = replace(p.structure, residues=replace(residues, name=name), ligands=(ligand, *ligands[1:]))
    return replace(p, structure=structure)


def chromophore() -> Prediction:
    """Residues that PyMOL does not take for polymer, in the middle of a chain of a real structure."""
    structure = read_structure(Path(__file__).parents[1] / "data" / "cases" / "output" / "cro.pdb.gz")
    own = np.flatnonzero(np.isin(structure.residues.number, range(7, 15)) & (structure.residues.chain == "A")).astype(np.int32)
    assert structure.residues.name[own].tolist().count("CRO") == 3
    none = np.zeros(len(structure.residues), bool)
    pocket = replace(make_prediction().pockets[0], residues=own, atoms=np.zeros(1, np.int32))
    return Prediction(structure, none.astype(np.float32), none, none, (pocket,), "test")


CASES = {
    "negative numbers, zero, 0A": make_prediction("case"),
    "insertion codes": antibody_loop(),
    "chains that differ in case": make_prediction("case", chains=("A", "a")),
    "long chains, numbers of five digits": make_prediction("case", chains=("AA", "ABC"), numbers=(-20, 9990)),
    "chains of operators": make_prediction("case", chains=("A-B", "x.1")),
    "a modified residue, a ligand of its number": modified(),
    "chromophore": chromophore(),
}


def coordinates(rows: Iterable[Iterable[float]]) -> Atoms:
    return {tuple(round(float(x), 3) + 0.0 for x in row) for row in rows}


def by_chimerax(prediction: Prediction, scores: Path) -> list[Atoms]:
    """ChimeraX's specification (its grammar, not the program) over the file its script opens, read by gemmi."""
    found: list[Atoms] = []
    for pocket in prediction.pockets:
        atoms = {
            (chain.name, residue.seqid.num, residue.seqid.icode.strip(), residue.name): [atom.pos.tolist() for atom in residue]
            for chain in gemmi.read_structure(str(scores))[0]
            for residue in chain
        }
        named = chosen(chimerax_selection(prediction, pocket), atoms)
        found.append(coordinates(row for place in named for row in atoms[place]))
    return found


def by_report(prediction: Prediction, folder: Path) -> list[Atoms]:
    path = folder / "page.html"
    path.write_text(render(prediction), encoding="utf-8")
    with open_page() as (page, messages):
        page.goto(path.as_uri())
        page.wait_for_selector("#viewer[data-ready]")
        found = page.evaluate(IN_PAGE)
        assert messages == []
    return [coordinates(rows) for rows in found]


def by_pymol(prediction: Prediction, script: Path) -> list[Atoms]:
    found = selected(script)
    return [coordinates(next(xyz for s, xyz in found.items() if s.endswith(f"_pocket{p.rank}"))) for p in prediction.pockets]


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Prediction, list[Path], list[Atoms]]:
    prediction: Prediction = request.param
    atoms = prediction.structure.atoms
    wanted = [coordinates(atoms.coord[np.isin(atoms.residue_index, p.residues)].tolist()) for p in prediction.pockets]
    assert all(len(x) >= 15 for x in wanted)
    return prediction, prediction.save(tmp_path, ("pml", "cxc")), wanted


def test_chimerax_selects_the_pockets(case: tuple[Prediction, list[Path], list[Atoms]]) -> None:
    prediction, paths, wanted = case
    scores = next(path for path in paths if "_scores." in path.name)
    assert by_chimerax(prediction, scores) == wanted


@pytest.mark.skipif(PYMOL is None, reason="no PyMOL")
def test_pymol_selects_the_pockets(case: tuple[Prediction, list[Path], list[Atoms]]) -> None:
    prediction, paths, wanted = case
    assert by_pymol(prediction, next(path for path in paths if path.suffix == ".pml")) == wanted


@pytest.mark.browser
def test_report_shows_the_pockets(case: tuple[Prediction, list[Path], list[Atoms]], tmp_path: Path) -> None:
    prediction, _, wanted = case
    assert by_report(prediction, tmp_path) == wanted
