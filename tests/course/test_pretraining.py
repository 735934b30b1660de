"""Span masking without leaks, torsions by hand, the position head, and that pre-training learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from course.pretraining import (
    Pretraining,
    VabsNetPretrainConfig,
    pretrain_example,
    pretrain_vabsnet,
    pretraining_figures,
    torsion_loss,
)
from course.span_masking import dihedral, draw_spans, mask_and_move, mask_nodes, torsions
from course.vabsnet_training import VabsNetTrainConfig, rotate
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import ATOM_NAMES, MASKED_RESIDUE, BilevelGraph, build_graph, nodes_of
from s2p.models.vabsnet.network import VabsNet
from s2p.structure.reading import Structure, read_structure
from s2p.surface.points import accessible_area
from tests.models.vabsnet.test_network import TURN

FAST = replace(VabsNetConfig.fast(), surface=True, language_width=4)


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.integers(0, 10_000))
def test_spans_cover_their_share(n, seed):
    covered, lengths = draw_spans(n, 0.3, 6, np.random.default_rng(seed))
    assert covered.sum() == max(1, round(0.3 * n)) and min(lengths) >= 1


def test_mean_span_is_six():
    lengths = draw_spans(40_000, 0.3, 6, np.random.default_rng(0))[1]
    assert np.mean(lengths) == pytest.approx(6, abs=0.2)


def test_masked_residues_keep_one_nameless_node(protein):
    nodes = nodes_of(protein)
    masked = draw_spans(len(nodes.ca), 0.3, 6, np.random.default_rng(0))[0]
    hidden, kept = mask_nodes(nodes, masked)
    counts = np.bincount(hidden.residue, minlength=len(masked))
    whole = np.bincount(nodes.residue)
    np.testing.assert_array_equal(counts, np.where(masked, 1, whole))
    np.testing.assert_array_equal(hidden.coord, nodes.coord[kept])
    np.testing.assert_array_equal(hidden.coord[hidden.ca], nodes.coord[nodes.ca])
    assert (hidden.residue_type[masked] == MASKED_RESIDUE).all()
    assert (hidden.atom_type[hidden.ca] == ATOM_NAMES.index("CA")).all()
    # A residue without CA is held by another atom, whose name would tell.
    odd = replace(nodes, atom_type=np.where(np.isin(np.arange(len(nodes.coord)), nodes.ca), 39, nodes.atom_type))
    assert (mask_nodes(odd, masked)[0].atom_type[hidden.ca][masked] == ATOM_NAMES.index("CA")).all()


def test_nothing_of_a_masked_residue_leaks(protein):
    """Other side chains, backbones and letters in the masked residues: equal inputs and outputs, bit for bit."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(protein.residues), 4)).astype(np.float32)
    nodes = nodes_of(protein, features)
    config = VabsNetPretrainConfig()
    torch.manual_seed(0)
    model = VabsNet(FAST).eval()
    outputs = []
    for change in (False, True):
        own = nodes
        if change:
            masked = mask_and_move(nodes, config.share, config.span, config.noise, np.random.default_rng(5)).masked
            is_ca = np.zeros(len(nodes.coord), bool)
            is_ca[nodes.ca] = True
            loose = masked[nodes.residue] & ~is_ca
            assert loose.sum() > 50
            own = replace(
                nodes,
                coord=np.where(loose[:, None], rng.uniform(-30, 30, nodes.coord.shape), nodes.coord).astype(np.float32),
                residue_type=np.where(masked, rng.integers(0, 20, len(masked)), nodes.residue_type),
                atom_type=np.where(loose, rng.integers(0, 37, len(loose)), nodes.atom_type),
                # All of it has been computed by something that saw the masked residues.
                residue_features=features + rng.standard_normal(features.shape).astype(np.float32),
                atom_features=nodes.atom_features + 1,
            )
        seen = mask_and_move(own, config.share, config.span, config.noise, np.random.default_rng(5)).nodes
        graph = build_graph(seen, FAST)
        with torch.no_grad():
            encoded = model.encode(graph)[0]
        outputs.append((seen.coord, seen.atom_type, seen.residue_type, graph.frames, graph.atom_neighbours, encoded.numpy()))
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_moved_atoms_are_another_set_and_really_moved(protein):
    nodes = nodes_of(protein)
    done = mask_and_move(nodes, 0.3, 6, 0.5, np.random.default_rng(3))
    shift = done.nodes.coord - done.clean
    assert (np.abs(shift[~done.moved]) == 0).all() and np.std(shift[done.moved]) == pytest.approx(0.5, abs=0.06)
    moved_residues = np.unique(done.nodes.residue[done.moved])
    assert len(moved_residues) == round(0.3 * len(nodes.ca))
    assert set(moved_residues) != set(np.flatnonzero(done.masked))


def test_torsions_equal_those_of_another_program(examples):
    path = examples / "1ubi.pdb.gz"
    chain = gemmi.read_structure(str(path))[0][0]
    found = torsions(nodes_of(read_structure(path), surface=False))

    def expect(k: int, which: int, atoms: list[tuple[int, str]]) -> None:
        angle = gemmi.calculate_dihedral(*(chain[k + offset][name][0].pos for offset, name in atoms))
        np.testing.assert_allclose(found.sin_cos[k, which], [np.sin(angle), np.cos(angle)], atol=1e-4)

    for k in range(1, len(found.defined) - 1):
        expect(k, 0, [(-1, "CA"), (-1, "C"), (0, "N"), (0, "CA")])
        expect(k, 1, [(-1, "C"), (0, "N"), (0, "CA"), (0, "C")])
        expect(k, 2, [(0, "N"), (0, "CA"), (0, "C"), (1, "N")])
        if chain[k].name == "LYS":
            expect(k, 3, [(0, "N"), (0, "CA"), (0, "CB"), (0, "CG")])
            expect(k, 6, [(0, "CG"), (0, "CD"), (0, "CE"), (0, "NZ")])


def test_which_torsions_there_are(protein):
    found = torsions(nodes_of(protein, surface=False))
    letters = np.array(list(protein.sequence()))
    counts = dict(zip("GASVTCNDLIHFYWPQEMRK", [0, 0, *[1] * 4, *[2] * 9, 3, 3, 3, 4, 4], strict=True))
    np.testing.assert_array_equal(found.defined[:, 3:].sum(axis=1), [counts[x] for x in letters])
    assert not found.defined[0, :2].any() and not found.defined[-1, 2] and found.defined[1:-1, :3].all()
    np.testing.assert_allclose(np.linalg.norm(found.sin_cos, axis=2)[found.defined], 1, atol=1e-6)


def test_torsions_stop_at_chain_ends_and_gaps():
    found = torsions(nodes_of(make_structure(), surface=False))
    assert not found.defined[24, 0] and not found.defined[23, 2]


@pytest.mark.parametrize(
    ("letter", "torsion", "same"), [("D", 4, True), ("F", 4, True), ("Y", 4, True), ("E", 5, True), ("L", 4, False)]
)
def test_half_turns_count_where_atoms_only_swap_names(letter, torsion, same, protein):
    target = torsions(nodes_of(protein, surface=False))
    residue = next(k for k, x in enumerate(protein.sequence()) if x == letter)
    only = np.zeros_like(target.defined)
    only[residue, torsion] = True
    target = replace(target, defined=only)
    truth = torch.from_numpy(target.sin_cos[[residue]])
    truth[truth.norm(dim=-1) == 0] = torch.tensor([0.0, 1.0])
    rows = torch.tensor([residue])
    turned = truth.clone()
    turned[0, torsion] *= -1
    assert torsion_loss(truth, target, rows).item() == pytest.approx(0, abs=1e-6)
    assert torsion_loss(turned, target, rows).item() == pytest.approx(0 if same else 4, abs=1e-5)
    # Vectors that are too long cost extra, whatever they point at.
    assert torsion_loss(2 * truth, target, rows).item() == pytest.approx(1, abs=1e-5)


def test_areas_add_up(protein):
    assert pretrain_example("x", protein).areas.sum() == pytest.approx(
        accessible_area(protein.atoms.coord, protein.atoms.element, probe_radius=1.4, n_points=200).sum(), rel=0.03
    )


def position_task(equivariant: bool) -> Pretraining:
    torch.manual_seed(0)
    return Pretraining(VabsNet(replace(FAST, equivariant=equivariant))).double().eval()


@pytest.mark.parametrize("equivariant", [True, False])
def test_position_head_starts_still_and_turns_only_if_equivariant(protein, equivariant):
    task = position_task(equivariant)
    nodes = nodes_of(protein, surface=False)
    nodes = replace(nodes, coord=nodes.coord.astype(float))
    graphs = [build_graph(x, FAST) for x in (nodes, rotate(nodes, TURN))]

    def displacement(graph: BilevelGraph) -> torch.Tensor:
        return task.position_head.displacement(*task.model.encode(graph), torch.from_numpy(graph.nodes.coord))

    with torch.no_grad():
        assert not displacement(graphs[0]).any()
        for value in task.parameters():
            value.add_(0.2 * torch.randn_like(value))
        here, turned = (displacement(g).numpy() for g in graphs)
    assert here.std() > 1e-3
    assert np.allclose(turned, here @ TURN.T, atol=1e-6) == equivariant


def test_pretraining_learns(examples):
    """On one small protein, masked anew each time: letters better than by chance, atoms nearer than left alone."""
    training = [pretrain_example("ubiquitin", read_structure(examples / "1ubi.pdb.gz"))]
    config = VabsNetPretrainConfig(
        fit=VabsNetTrainConfig(epochs=100, batch=1, max_residues=96, warmup_steps=10, ema_decay=0.9, lr=4e-3)
    )
    torch.manual_seed(0)
    model = VabsNet(replace(VabsNetConfig.fast(), dropout=0.0, attention_dropout=0.0, stochastic_depth=0.0))
    task, history = pretrain_vabsnet(model, training, [], config, quiet=True)
    assert history[-1].train_loss < history[0].train_loss - 1
    figures = pretraining_figures(task, training * 8, config)
    assert figures["type"] < np.log(20) - 0.1
    assert figures["position"] < 0.98 * figures["still"]
    assert figures["torsion"] < 1


def test_dihedral_of_known_angles() -> None:
    a, b, c = (np.array([x], float) for x in ((1, 0, 0), (0, 0, 0), (0, 0, 1)))
    for angle in (-170.0, -60.0, 0.5, 90.0, 180.0):
        # Looking along b to c, the far bond is turned clockwise by the angle.
        d = c + np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), 0.3])
        assert np.rad2deg(dihedral(a, b, c, d)[0]) == pytest.approx(angle)
