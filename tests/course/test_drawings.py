"""The drawings of ideas are those of the code, every one is shown by its notebook, and their numbers are the package's."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree, procrustes
from scipy.spatial.distance import cdist
from sklearn.cluster import MeanShift

import s2p
from course.drawings import BANDWIDTH, DRAWINGS, FOLDER, WIDTH, climb, drawing_svg, fragments, surface_toy
from course.network_drawings import (
    ANGSTROM,
    CAVITY,
    DENSITY,
    LETTERS,
    RANK,
    REACH,
    READING,
    WIDTH_8M,
    WINDOW,
    cleft,
    hidden_residues,
    reached,
    toy_fold,
    two_views,
)
from s2p.language.sequences import BACKBONES
from s2p.models.kalasanty.grid import covering_box, fill_box
from s2p.pockets import pocket_fragmentation_index
from s2p.predictor import load_structure
from s2p.surface.network import NetworkConfig

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SVG = "{http://www.w3.org/2000/svg}"
OKABE_ITO = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"}
every = pytest.mark.parametrize("name", DRAWINGS)


@every
def test_the_committed_drawing(name: str) -> None:
    """If it differs: ``PYTHONPATH=.:notebooks python -m course.drawings``."""
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawing_svg(name)


def test_no_other_file_is_committed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.svg" for name in DRAWINGS}


@every
def test_the_notebook_shows_it_with_alt_text(name: str) -> None:
    (path,) = NOTEBOOKS.glob(f"{DRAWINGS[name].notebook}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    words = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert words.count(f"\n\n![{DRAWINGS[name].alt}](drawings/{name}.svg)\n\n*") == 1


@every
def test_title_size_of_letters_and_colours(name: str) -> None:
    """Letters are at least 15 pixels high on a drawing of 720, so that they can still be read at 450; hues are Okabe & Ito's."""
    root = ET.fromstring(drawing_svg(name))
    assert root.findtext(f"{SVG}title") == DRAWINGS[name].alt and root.get("viewBox") == f"0 0 {WIDTH} {DRAWINGS[name].height}"
    assert min(float(words.get("font-size", 0)) for words in root.iter(f"{SVG}text")) >= 15
    colors = {mark.get(key, "none") for mark in root.iter() for key in ("fill", "stroke")} - {"none"}
    hues = {c for c in colors if len({c[1:3], c[3:5], c[5:7]}) == 3 and max(_bytes(c)) - min(_bytes(c)) > 24}
    assert hues <= OKABE_ITO


def _bytes(color: str) -> list[int]:
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def test_paths_are_those_of_mean_shift() -> None:
    points, starts = surface_toy()
    ends = np.array([climb(start, points, BANDWIDTH)[-1] for start in starts])
    assert np.linalg.norm(ends[0] - ends[1]) < 1 < BANDWIDTH < np.linalg.norm(ends[0] - ends[2])
    peaks = MeanShift(bandwidth=BANDWIDTH, seeds=starts).fit(points).cluster_centers_
    assert len(peaks) == 2
    assert all(np.linalg.norm(peaks - end, axis=1).min() < 1 for end in ends)


def test_fragments_are_counted_by_the_package() -> None:
    _, sites, pockets = fragments()
    touched = [sum(bool(set(site.tolist()) & set(pocket.tolist())) for pocket in pockets) for site in sites]
    assert touched == [3, 1, 0] and len(pockets) == 5
    assert pocket_fragmentation_index(sites, pockets) == 2
    assert "PFI = (3 + 1) / 2 = 2" in drawing_svg("fragmentation")


def test_the_density_is_that_of_the_shipped_network(examples: Path) -> None:
    kalasanty = s2p.load("kalasanty", device="cpu")
    protein = load_structure(examples / "1ake.cif.gz", "A")
    density, box = kalasanty.density(protein)
    assert box == covering_box(protein.atoms.coord, 24)[0]
    tenths = np.array([[int(digit) for digit in row] for row in DENSITY])
    assert np.abs(density[WINDOW] - (tenths + 0.5) / 10).max() < 0.06
    in_pocket = fill_box(np.ones((len(protein.atoms), 1), np.float32), protein.atoms.coord, box)[0][WINDOW][tenths >= CAVITY]
    assert len(in_pocket) and not in_pocket.any(), "the notebook says that there are no atoms in the pocket"
    assert kalasanty.checkpoint.pockets.threshold == pytest.approx(CAVITY / 10)


def test_hidden_residues(examples: Path) -> None:
    """As many in both halves; single ones have both neighbours along the chain, the inner ones of the span have none."""
    single, span = hidden_residues()
    assert single.sum() == span.sum() == round(0.3 * len(LETTERS))
    assert not (single[1:] & single[:-1]).any() and not single[[0, -1]].any()
    assert np.ptp(np.flatnonzero(span)) == span.sum() - 1
    protein = load_structure(examples / "1ake.cif.gz", "A")
    assert "".join(protein.sequence())[: len(LETTERS)] == LETTERS


def test_sketch_of_messages_has_the_reaches_of_the_network() -> None:
    config = NetworkConfig()
    assert (config.atom_reach, config.reading_reach, config.shells) == (REACH, READING, 8)
    atoms, points, votes = cleft()
    gaps = cdist(np.concatenate([points, atoms]), atoms) / ANGSTROM
    assert gaps[gaps > 0].min() > 1.4, "an atom or a point inside an atom"
    assert np.linalg.norm(votes - votes.mean(axis=0), axis=1).max() < np.linalg.norm(points, axis=1).min()


def test_numbers_of_low_rank() -> None:
    """Those of the model and of the rank in notebook 03."""
    (path,) = NOTEBOOKS.glob("03_*.ipynb")
    assert f"lora_rank = {RANK} " in "".join(line for c in json.loads(path.read_text())["cells"] for line in c["source"])
    assert BACKBONES["esm2_t6_8M_UR50D"][1] == WIDTH_8M
    drawn = drawing_svg("low_rank")
    assert "102,400 numbers" in drawn and "5,120 numbers" in drawn and "5 % of those" in drawn and 5120 == 0.05 * 320**2


def test_a_message_goes_farther_along_both_tracks() -> None:
    """One layer of the atom track reaches what has the residue's atoms among its nearest eight."""
    x, ca = toy_fold()
    source, owner = 8, np.r_[ca, np.repeat(ca, 4)]
    near = cKDTree(x).query(x[ca], 8)[1]
    assert (reached(1, False) == (owner[near] == source).any(axis=1)).all() and not reached(0, True)[ca != source].any()
    assert reached(1, False).sum() < reached(2, False).sum() < reached(1, True).sum() < reached(2, True).sum() < len(ca)
    counts = [f"{reached(2, both).sum()} of {len(ca)} residues" for both in (False, True)]
    assert all(words in drawing_svg("tracks") for words in counts)


def test_the_second_view_is_the_first_turned_and_jittered() -> None:
    first, second = two_views()
    _, _, disparity = procrustes(first, second)
    assert 0 < disparity < 0.05
