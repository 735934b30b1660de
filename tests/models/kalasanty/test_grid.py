"""Channels, boxes and the 24 rotations."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.models.kalasanty.grid import (
    CHANNELS,
    Box,
    atom_channels,
    atom_table,
    central_box,
    covering_box,
    fill_box,
    rotations,
    turn_grid,
)
from s2p.structure.reading import STANDARD, read_structure


def channels_of(residue: str, atom: str) -> dict[str, float]:
    return dict(zip(CHANNELS, atom_table()[residue, atom], strict=True))


def middle(box):
    return box.coordinates([(np.array(box.shape) - 1) / 2])[0]


def test_order_of_the_channels():
    assert len(CHANNELS) == 18
    assert CHANNELS[:9] == ("B", "C", "N", "O", "P", "S", "Se", "halogen", "metal")
    assert CHANNELS[9:13] == ("hyb", "heavyvalence", "heterovalence", "partialcharge")
    assert CHANNELS[13:] == ("hydrophobic", "aromatic", "acceptor", "donor", "ring")


@pytest.mark.parametrize(
    ("residue", "atom", "expected"),
    [
        ("PRO", "N", {"N": 1, "hyb": 2, "heavyvalence": 3, "donor": 0, "ring": 1}),
        ("CYS", "SG", {"S": 1, "hydrophobic": 1, "acceptor": 1, "donor": 1}),
        ("LYS", "NZ", {"N": 1, "acceptor": 0, "donor": 1}),
        ("PHE", "CZ", {"C": 1, "hyb": 2, "aromatic": 1, "ring": 1, "heterovalence": 0}),
        ("ASP", "OD1", {"O": 1, "acceptor": 1, "donor": 0, "heavyvalence": 1}),
    ],
)
def test_golden_rows(residue, atom, expected):
    found = channels_of(residue, atom)
    assert {key: found[key] for key in expected} == expected
    assert sum(found[key] for key in CHANNELS[:9]) == 1


def test_the_table_holds_the_atoms_of_the_twenty_residues(examples):
    table = atom_table()
    assert len(table) == 167
    assert {residue for residue, _ in table} == set(STANDARD)
    structure = read_structure(examples / "6WQA.cif")
    names = structure.residues.name[structure.atoms.residue_index]
    standard = structure.residues.standard[structure.atoms.residue_index]
    for residue, atom in set(zip(names[standard].tolist(), structure.atoms.name[standard].tolist(), strict=True)):
        assert (residue, atom) in table or atom == "OXT"


def test_elements_of_the_table_agree_with_the_periodic_table(examples):
    structure = read_structure(examples / "1s3v.pdb.gz")
    rows = atom_channels(structure)
    assert rows.shape == (len(structure.atoms), 18)
    for symbol in ("C", "N", "O", "S"):
        mine = rows[:, CHANNELS.index(symbol)] == 1
        assert (mine == (structure.atoms.element == symbol)).all()


@pytest.mark.parametrize("symbol", ["B", "P", "SE", "F", "CL", "BR", "I", "NA", "ZN", "MG", "XE", "SI"])
def test_unknown_atoms_have_their_element_and_nothing_else(symbol):
    structure = make_structure()
    element, name = structure.atoms.element.astype("<U2"), structure.atoms.name.astype("<U4")
    element[0], name[0] = symbol, "Q1"
    row = atom_channels(replace(structure, atoms=replace(structure.atoms, element=element, name=name)))[0]
    z = gemmi.Element(symbol.capitalize()).atomic_number
    group = {5: "B", 15: "P", 34: "Se", 9: "halogen", 17: "halogen", 35: "halogen", 53: "halogen"}
    group |= {11: "metal", 12: "metal", 30: "metal"}
    wanted = {group[z]} if z in group else set()
    assert {CHANNELS[k] for k in np.flatnonzero(row[:9])} == wanted
    assert row[9] == 3 and not row[10:].any()


def test_the_terminal_oxygen_is_taken_for_the_other():
    structure = make_structure()
    name = structure.atoms.name.astype("<U4")
    name[name == "O"] = "OXT"
    renamed = atom_channels(replace(structure, atoms=replace(structure.atoms, name=name)))
    assert (renamed == atom_channels(structure)).all()


def test_the_published_box_is_a_70_angstrom_cube():
    box = central_box((1.0, 2.0, 3.0), 36)
    assert box.origin == (-34.0, -33.0, -32.0) and box.shape == (36, 36, 36)
    assert middle(box).tolist() == [1, 2, 3]
    assert box.coordinates([[35, 35, 35]]).tolist() == [[36, 37, 38]]


def test_an_atom_at_the_centre_rounds_half_to_even():
    box = central_box((0.0, 0.0, 0.0), 36)
    assert box.cells([[0.0, 0.0, 0.0], [-2.0, 2.0, 0.5]]).tolist() == [[18, 18, 18], [16, 18, 18]]


def test_cells_and_positions_are_inverse():
    box = Box((1.5, -2.5, 0.25), (5, 7, 9), 2.0)
    cells = np.argwhere(np.ones(box.shape))
    assert (box.cells(box.coordinates(cells)) == cells).all()
    assert box.inside(cells).all() and not box.inside(np.array([[5, 0, 0], [0, -1, 0]])).any()


def test_atoms_of_one_cell_are_summed_and_those_outside_dropped():
    box = central_box((0.0, 0.0, 0.0), 4)
    rows = np.arange(3 * 18, dtype=np.float32).reshape(3, 18)
    grid = fill_box(rows, [[1.1, 1.1, 1.1], [0.9, 0.8, 0.7], [5.5, 0.0, 0.0]], box)
    assert (grid[:, 2, 2, 2] == rows[0] + rows[1]).all()
    assert grid.sum() == rows[:2].sum()
    assert not fill_box(rows[:1], [[90.0, 0, 0]], box).any()


def test_24_rotations():
    found = rotations()
    assert len({m.tobytes() for m in found}) == 24
    assert (found[0] == np.eye(3)).all()
    for m in found:
        assert round(np.linalg.det(m)) == 1 and (m @ m.T == np.eye(3)).all()
    assert {(a @ b).tobytes() for a in found for b in found} == {m.tobytes() for m in found}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 9, 24, 36]))
def test_turning_the_input_by_any_of_the_24_turns_turns_the_grid_exactly(seed, n):
    rng = np.random.default_rng(seed)
    box = central_box((0, 0, 0), n)
    # Off the ties between two cells, where rounding prefers the even one.
    cells = rng.integers(0, n, (30, 3))
    coord = box.coordinates(cells) + rng.uniform(-0.9, 0.9, (30, 3))
    rows = rng.integers(-4, 5, (30, 18)).astype(np.float32)
    grid = fill_box(rows, coord, box)
    for rotation in rotations():
        assert (fill_box(rows, coord @ rotation.T, box) == turn_grid(grid, rotation)).all()
        assert (turn_grid(turn_grid(grid, rotation), rotation.T) == grid).all()


def test_a_small_protein_has_the_network_s_own_box():
    coord = np.random.default_rng(0).uniform(-15, 15, (200, 3)) + 7
    box, starts = covering_box(coord, 24)
    assert starts == [(0, 0, 0)] and box.shape == (24, 24, 24)
    assert np.allclose(middle(box), coord.mean(axis=0))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1, 90), st.sampled_from([6, 18, 24, 36]))
def test_cubes_cover_a_large_protein_symmetrically(seed, size, n):
    rng = np.random.default_rng(seed)
    coord = rng.normal(0, 1, (50, 3)) * rng.uniform(0.1, 1, 3) * size
    box, starts = covering_box(coord, n)
    assert box.inside(box.cells(coord)).all()
    covered = np.zeros(box.shape, int)
    for a, b, c in starts:
        covered[a : a + n, b : b + n, c : c + n] += 1
        assert (np.array((a, b, c)) + n <= box.shape).all()
    assert covered.min() >= 1
    assert (covered == covered[::-1, ::-1, ::-1]).all()
    assert np.allclose(middle(box), coord.mean(axis=0))
    assert all((size - n) % 2 == 0 for size in box.shape)
