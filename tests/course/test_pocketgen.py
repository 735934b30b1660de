"""Pictures of designs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from browsing import open_page

from course.geometry import measure_geometry
from course.pocketgen import VIEW, DesignView, pocket_overlay, type_probabilities
from s2p.models.pocketgen.atoms import LETTERS
from s2p.models.pocketgen.data import LigandAtoms, Pocket, make_pocket
from s2p.models.pocketgen.design import Design, Measures
from s2p.models.pocketgen.geometry import BONDED, Geometry
from s2p.models.pocketgen.output import find_ligand
from s2p.models.pocketgen.report import design_page
from s2p.models.pocketgen.scores import Scores
from s2p.structure.reading import Structure, read_structure


@pytest.fixture(scope="module")
def scene(examples: Path) -> tuple[Structure, Pocket, LigandAtoms, Geometry]:
    structure = read_structure(examples / "1a28.pdb.gz")
    ligand, _ = find_ligand(structure, "STR")
    return structure, make_pocket(structure, ligand, np.array([40, 80, 81])), ligand, measure_geometry([structure])


def native(pocket: Pocket) -> Design:
    types = pocket.types[pocket.pocket]
    return Design(types, np.eye(20)[types - 1], pocket.coord[pocket.pocket].astype(float), pocket.ligand.astype(float))


def test_a_native_design_covers_the_native_sticks(scene: tuple[Structure, Pocket, LigandAtoms, Geometry]) -> None:
    _, pocket, ligand, geometry = scene
    d = native(pocket)
    figure = pocket_overlay(pocket, geometry, [("itself", d.types, d.coord)])
    (ax,) = figure.axes
    lines = [line.get_xydata() for line in ax.lines]
    n = (len(lines) - 1) // 2
    assert len(lines) == 2 * n + 1  # and the ligand
    assert n == np.triu(geometry.distance[d.types - 1] < BONDED, 1).sum()
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(lines[:n], lines[n : 2 * n], strict=True))
    assert len(lines[-1]) == len(ligand.coord)
    assert ax.get_title() == "itself"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["native", "ligand"]


def test_the_native_type_is_outlined() -> None:
    p = np.full((2, 20), 0.05)
    ax = type_probabilities(["A:1", "A:2"], "AW", p).axes[0]
    corners = [(patch.get_x(), patch.get_y()) for patch in ax.patches]
    assert corners == [(LETTERS.index("A") - 0.5, -0.5), (LETTERS.index("W") - 0.5, 0.5)]


def test_the_view_has_a_page_and_a_picture(scene: tuple[Structure, Pocket, LigandAtoms, Geometry]) -> None:
    structure, pocket, ligand, geometry = scene
    d = native(pocket)
    view = DesignView(structure, pocket, ligand, [d], [Measures(1.0, 0.0, 0, 30, 0, 0.0)] * 2, geometry)
    page = view._repr_html_()
    assert page.startswith("<iframe srcdoc=")
    assert d.sequence in page
    assert view._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.browser
@pytest.mark.parametrize("n", [1, 4])
def test_nothing_of_the_page_is_cut_off(scene: tuple[Structure, Pocket, LigandAtoms, Geometry], tmp_path: Path, n: int) -> None:
    structure, pocket, ligand, geometry = scene
    view = DesignView(structure, pocket, ligand, [native(pocket)] * n, [Measures(1.0, 0.0, 0, 30, 0, 0.0)] * (n + 1), geometry)
    (tmp_path / "cell.html").write_text(f"<!DOCTYPE html><body>{view._repr_html_()}", encoding="utf-8")
    with open_page(1000, 1200) as (page, _):
        page.goto((tmp_path / "cell.html").as_uri())
        frame = page.frames[1]
        frame.wait_for_selector("#view canvas")
        content, room = frame.evaluate("[document.documentElement.scrollHeight, innerHeight]")
        assert content <= room < content + 120
        assert frame.evaluate("document.querySelector('#view canvas').getBoundingClientRect().height") == VIEW


def test_the_page_shows_the_atoms_that_are_there(scene: tuple[Structure, Pocket, LigandAtoms, Geometry]) -> None:
    structure, pocket, ligand, _ = scene
    d = native(pocket)
    page = design_page(structure, pocket, ligand, [d], [Measures(1.0, 0.0, 0, 30, 0, 0.0)] * 2, [Scores(), Scores()])
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0])
    own = np.isin(structure.atoms.residue_index, [40, 80, 81]) & (structure.atoms.name != "OXT")
    for text, elements, coord in (
        (data["native"], structure.atoms.element[own], structure.atoms.coord[own]),
        (data["designs"][0], structure.atoms.element[own], d.coord[pocket.present[pocket.pocket]]),
        (data["ligand"], ligand.element, ligand.coord),
    ):
        rows = sorted((float(x), e.upper()) for e, x, _, _ in (line.split() for line in text.splitlines()[2:]))
        assert int(text.splitlines()[0]) == len(rows)
        assert np.allclose([x for x, _ in rows], sorted(coord[:, 0].tolist()), atol=6e-4)
        assert sorted(e for _, e in rows) == sorted(elements.tolist())
    assert len(data["backbone"].splitlines()) == len(structure.residues) + 1
