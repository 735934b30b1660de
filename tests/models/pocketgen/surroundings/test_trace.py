"""CA atoms told from the chain on both sides: nothing of what is hidden, and frames that turn along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2p.models.pocketgen.data import LigandAtoms, interpolate, make_pocket
from s2p.models.pocketgen.surroundings.trace import N_TRACE, OFFSETS, TraceNet, place_trace, trace_inputs
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation

NONE = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def structure(examples: Path) -> Structure:
    return read_structure(examples / "4CUP.cif")


def loose(seed: int = 0) -> TraceNet:
    """A network that moves what it is given."""
    torch.manual_seed(seed)
    net = TraceNet(32)
    torch.nn.init.normal_(net.net[-1].weight, std=0.3)  # type: ignore[arg-type]
    return net.eval()


def turned(structure: Structure, turn: np.ndarray, shift: np.ndarray) -> Structure:
    atoms, residues = structure.atoms, structure.residues
    return replace(
        structure,
        atoms=replace(atoms, coord=(atoms.coord @ turn.T + shift).astype(np.float32)),
        residues=replace(residues, ca_coord=(residues.ca_coord @ turn.T + shift).astype(np.float32)),
    )


def test_before_it_is_fitted_it_stays_on_the_line(structure: Structure) -> None:
    pocket = np.array([10, 11, 40])
    line = interpolate(structure, pocket)
    for net in (None, TraceNet(16).eval()):
        np.testing.assert_array_equal(place_trace(net, structure, pocket, NONE, line), line.astype(float))


def test_neighbours_are_read_in_a_frame_of_theirs(structure: Structure) -> None:
    pocket = np.array([20])
    line = interpolate(structure, pocket)
    inputs, frame = trace_inputs(structure, pocket, NONE, line)
    assert inputs.shape == (1, N_TRACE)
    np.testing.assert_allclose(frame[0] @ frame[0].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(frame[0]) == pytest.approx(1, abs=1e-5)
    read = inputs[0, : 3 * len(OFFSETS)].reshape(-1, 3) * 5
    there = inputs[0, 3 * len(OFFSETS) : 4 * len(OFFSETS)]
    assert there.all()
    back = read @ frame[0] + line[0]
    np.testing.assert_allclose(back, structure.residues.ca_coord[20 + OFFSETS], atol=1e-3)


def test_nothing_hidden_is_read(structure: Structure) -> None:
    pocket, hidden = np.array([20, 22]), np.array([25])
    ca = structure.residues.ca_coord.copy()
    line = interpolate(structure, pocket)
    before, _ = trace_inputs(structure, pocket, hidden, line)
    ca[[20, 22, 25]] += 50
    moved = replace(structure, residues=replace(structure.residues, ca_coord=ca))
    after, _ = trace_inputs(moved, pocket, hidden, line)
    np.testing.assert_array_equal(after, before)
    there = before[:, 3 * len(OFFSETS) : 4 * len(OFFSETS)]
    expected = [[20 + k not in (20, 22, 25) for k in OFFSETS], [22 + k not in (20, 22, 25) for k in OFFSETS]]
    np.testing.assert_array_equal(there, np.array(expected, float))


def test_no_chain_and_no_gap_in_the_numbers_is_crossed(structure: Structure) -> None:
    residues = structure.residues
    number, chain = residues.number.copy(), residues.chain.copy()
    number[23:] += 5
    chain[:18] = "Z"
    torn = replace(structure, residues=replace(residues, number=number, chain=chain))
    inputs, _ = trace_inputs(torn, np.array([20]), NONE, interpolate(torn, np.array([20])))
    there = inputs[0, 3 * len(OFFSETS) : 4 * len(OFFSETS)].astype(bool)
    assert (20 + OFFSETS[there]).tolist() == [18, 19, 21, 22]


def test_places_turn_with_the_structure(structure: Structure) -> None:
    net, rng = loose(), np.random.default_rng(0)
    pocket, hidden = np.array([0, 12, 13, 14, 60]), np.array([62])
    line = interpolate(structure, pocket)
    here = place_trace(net, structure, pocket, hidden, line)
    assert np.linalg.norm(here - line, axis=1).min() > 0.05
    for _ in range(3):
        turn, shift = random_rotation(rng), rng.normal(0, 20, 3)
        there = place_trace(net, turned(structure, turn, shift), pocket, hidden, line @ turn.T + shift)
        np.testing.assert_allclose(there, here @ turn.T + shift, atol=2e-3)


def test_what_surrounds_a_pocket_is_counted_from_where_it_places_it(structure: Structure) -> None:
    ligand = LigandAtoms(structure.residues.ca_coord[[30]] + np.float32(3), np.array(["C"]))
    pocket = np.array([12, 13, 14])
    line, placed = (make_pocket(structure, ligand, pocket, trace=net) for net in (None, loose()))
    np.testing.assert_array_equal(line.start, placed.start)  # the network starts on the line, as published
    assert np.abs(line.environment - placed.environment).max() > 0.05
    turn, shift = random_rotation(np.random.default_rng(1)), np.array([5.0, -20.0, 8.0])
    moved = LigandAtoms((ligand.coord @ turn.T + shift).astype(np.float32), ligand.element)
    again = make_pocket(turned(structure, turn, shift), moved, pocket, trace=loose())
    ours, theirs = (np.sort(x.environment[:, 326:], axis=1) for x in (placed, again))
    np.testing.assert_allclose(theirs, ours, atol=5e-3)
    np.testing.assert_allclose(again.environment[:, :326], placed.environment[:, :326], atol=5e-3)
