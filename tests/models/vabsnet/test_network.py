"""Vabs-Net's graph and network: invariances, hops, the virtual node, hand-checked encodings, size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_structure
from scipy.spatial.transform import Rotation

from course.vabsnet_training import crop, rotate
from s2p.models.vabsnet import network as vabsnet
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import (
    ATOM_NAMES,
    OTHER_CHAIN,
    Nodes,
    build_graph,
    local_frames,
    nodes_of,
    sequence_offsets,
    surface_features,
)
from s2p.models.vabsnet.network import Gaussians, SparseAttention, VabsNet, fourier_angles
from s2p.structure.reading import Structure, read_structure

FAST = VabsNetConfig.fast()
TURN = Rotation.from_rotvec([0.3, -1.1, 2.0]).as_matrix()


def untrained(config: VabsNetConfig = FAST) -> VabsNet:
    """A network in float64 whose zero-initialised maps are not zero, so that every part has a say."""
    torch.manual_seed(1)
    model = VabsNet(config).double()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    return model.eval()


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


@pytest.fixture(scope="module")
def nodes(protein: Structure) -> Nodes:
    own = nodes_of(protein)
    return replace(own, coord=own.coord.astype(np.float64))


def logits(model: VabsNet, nodes: Nodes) -> np.ndarray:
    with torch.no_grad():
        return model(build_graph(nodes, model.config))[1].numpy()


def test_nodes_name_atoms_and_residues(protein, nodes):
    assert len(ATOM_NAMES) == 37 and len(nodes.coord) == len(protein.atoms)
    np.testing.assert_array_equal(nodes.coord[nodes.ca], protein.residues.ca_coord)
    assert [ATOM_NAMES[k] for k in nodes.atom_type[:4]] == ["N", "CA", "C", "O"]


def test_modified_residues_and_residues_without_ca_are_kept():
    s = make_structure()
    names = s.atoms.name.copy()
    names[1], names[4] = "SE", "CA"  # the first residue has its CA elsewhere, and an atom outside the vocabulary
    names[6] = "P"
    nodes = nodes_of(replace(s, atoms=replace(s.atoms, name=names)))
    assert nodes.ca[0] == 4 and nodes.ca[1] == 5  # the second has none: its first atom stands in
    assert nodes.atom_type[1] == nodes.atom_type[6] == 39
    assert len(nodes.ca) == len(s.residues)


def test_neighbours_are_the_nearest_and_hold_the_node_itself(nodes):
    graph = build_graph(nodes, FAST)
    distance = np.linalg.norm(nodes.coord[:, None] - nodes.coord[None], axis=2)
    assert graph.atom_neighbours.shape == (len(nodes.coord), FAST.atom_neighbours)
    found = np.take_along_axis(distance, graph.atom_neighbours, axis=1)
    np.testing.assert_allclose(found, np.sort(distance, axis=1)[:, : FAST.atom_neighbours])
    assert (graph.atom_neighbours == np.arange(len(nodes.coord))[:, None]).any(axis=1).all()
    np.testing.assert_allclose(graph.nodes.coord[nodes.ca].mean(axis=0), 0, atol=1e-9)


def test_a_node_is_its_own_neighbour_among_many_in_one_place(nodes):
    graph = build_graph(replace(nodes, coord=np.zeros_like(nodes.coord)), FAST)
    assert (graph.atom_neighbours == np.arange(len(nodes.coord))[:, None]).any(axis=1).all()
    assert np.isfinite(logits(untrained(), replace(nodes, coord=np.zeros_like(nodes.coord)))).all()


def test_frames_are_rotations_and_turn_with_the_protein(nodes):
    frames = local_frames(nodes)
    assert np.abs(frames).sum(axis=(1, 2)).all()
    np.testing.assert_allclose(np.swapaxes(frames, 1, 2) @ frames, np.tile(np.eye(3), (len(frames), 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    np.testing.assert_allclose(local_frames(rotate(nodes, TURN)), TURN @ frames, atol=1e-9)


def test_frame_by_hand():
    coord = np.array([[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0]])
    one = np.zeros(1, np.int64)
    place = [ATOM_NAMES.index(x) for x in ("N", "CA", "C")]
    empty = np.zeros((3, 0), np.float32)
    nodes = Nodes(coord, np.array(place), np.zeros(3, np.int64), np.array([1]), one, one, one, empty, empty[:1])
    root = 5**0.5
    expected = np.array([[1 / root, -2 / root, 0], [0, 0, 1], [-2 / root, -1 / root, 0]]).T
    np.testing.assert_allclose(local_frames(nodes)[0], expected, atol=1e-12)


def test_sequence_offsets():
    neighbours, chain = np.array([[0, 1, 2]]), np.array([0, 0, 1])
    offsets = sequence_offsets(np.arange(3), neighbours, chain, np.array([0, 900, 901]))[:1]
    assert offsets.tolist() == [[256, 512, OTHER_CHAIN]]


def test_exposure_is_higher_outside(protein):
    features = surface_features(protein)
    assert features.shape == (len(protein.atoms), 5)
    distance = np.linalg.norm(protein.atoms.coord - protein.atoms.coord.mean(axis=0), axis=1)
    assert (
        features[distance > np.quantile(distance, 0.9), 0].mean() > 5 * features[distance < np.quantile(distance, 0.1), 0].mean()
    )
    within = np.linalg.norm(protein.atoms.coord[7] - protein.atoms.coord, axis=1) <= 6
    assert features[7, 1] == pytest.approx(within.sum() / 25)


def test_gaussians_by_hand():
    layer = Gaussians(3, 4, 8.0)  # means 0 2 4 6, width 2
    one = torch.zeros(1, dtype=torch.long)
    out = layer(torch.tensor([[2.0]]), one, one[None])
    height = 1 / (2 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(out[0, 0].detach(), height * np.exp([-0.5, 0, -0.5, -2]), rtol=1e-6)


def test_fourier_angles_by_hand_and_at_zero():
    out = fourier_angles(torch.tensor([[1.0, 0.0, -0.5], [0.0, 0.0, 0.0]]))
    assert out.shape == (2, 27)
    turns = np.pi / 2 * 2.0 ** np.arange(4)
    np.testing.assert_allclose(out[0, :9], [np.pi / 2, *np.sin(turns), *np.cos(turns)], atol=1e-5)
    assert out[0, 18] == pytest.approx(np.arcsin(-0.5))
    np.testing.assert_array_equal(out[1, :9], [0] * 5 + [1] * 4)


def test_attention_adds_up_to_one():
    torch.manual_seed(0)
    layer = SparseAttention(FAST)
    a = layer.weights(torch.randn(7, 16), torch.randn(7, 5, 16), torch.randn(7, 5, 8))
    assert a.shape == (7, 5, FAST.heads)
    torch.testing.assert_close(a.sum(dim=1), torch.ones(7, FAST.heads))


def test_the_pose_does_not_matter_or_does(nodes):
    moved = replace(nodes, coord=nodes.coord + np.array([30.0, -7, 100]))
    for equivariant in (True, False):
        model = untrained(replace(FAST, equivariant=equivariant))
        here, turned = logits(model, nodes), logits(model, rotate(nodes, TURN))
        np.testing.assert_allclose(logits(model, moved), here, atol=1e-6)
        assert (np.abs(turned - here).max() < 1e-6) == equivariant
        assert here.std() > 1e-3


def test_order_of_atoms_does_not_matter(nodes):
    rng = np.random.default_rng(0)
    shuffled = np.concatenate([rng.permutation(np.flatnonzero(nodes.residue == r)) for r in range(len(nodes.ca))])
    back = np.argsort(shuffled)
    other = replace(
        nodes,
        coord=nodes.coord[shuffled],
        atom_type=nodes.atom_type[shuffled],
        atom_features=nodes.atom_features[shuffled],
        ca=back[nodes.ca],
    )
    model = untrained()
    np.testing.assert_allclose(logits(model, other), logits(model, nodes), atol=1e-9)


def test_tracks_meet_in_the_ca_atoms_only(nodes):
    config = replace(FAST, residue_track=False, virtual_node=False)
    model = untrained(config)
    graph = build_graph(nodes, config)
    reach = {0}
    for _ in range(config.layers):
        reach |= set(graph.atom_neighbours[sorted(reach)].ravel().tolist())
    far = np.ones(len(nodes.coord), bool)
    far[list(reach)] = False
    changed = replace(nodes, atom_type=np.where(far, 5, nodes.atom_type))
    with torch.no_grad():
        a, b = (model.encode(build_graph(x, config))[0].numpy() for x in (nodes, changed))
    np.testing.assert_array_equal(a[0], b[0])
    assert not np.array_equal(a[far], b[far])
    # The residue track alone leaves all other atoms as they were embedded.
    config = replace(FAST, atom_track=False)
    alone = untrained(config)
    with torch.no_grad():
        encoded = alone.encode(build_graph(nodes, config))[0]
        alone.config = replace(config, residue_track=False)
        embedded = alone.encode(build_graph(nodes, config))[0]
    same = (encoded == embedded).all(dim=1).numpy()
    other = np.setdiff1d(np.arange(len(same)), nodes.ca)
    assert same[other].all() and not same[nodes.ca].any()


def test_the_virtual_node_joins_what_is_far_apart(nodes):
    """With it, a change anywhere reaches every atom; without, only the neighbourhood."""
    changed = replace(nodes, residue_type=np.r_[(nodes.residue_type[:1] + 1) % 20, nodes.residue_type[1:]])
    last = nodes.ca[-1]
    for virtual in (True, False):
        config = replace(FAST, virtual_node=virtual, layers=2, atom_neighbours=4, residue_neighbours=4)
        model = untrained(config)
        with torch.no_grad():
            a, b = (model.encode(build_graph(x, config))[0][last] for x in (nodes, changed))
        assert torch.equal(a, b) != virtual


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_chains_and_more_neighbours_than_atoms(nodes, n):
    part, _ = crop(nodes, np.arange(n))
    graph = build_graph(part, replace(FAST, atom_neighbours=200))
    assert graph.atom_neighbours.shape == (len(part.coord), len(part.coord))
    assert graph.residue_neighbours.shape == (n, n)
    out = logits(untrained(replace(FAST, atom_neighbours=200)), part)
    assert out.shape == (n,) and np.isfinite(out).all()


def test_no_nan_without_backbone_atoms(nodes):
    only_ca = replace(
        nodes,
        coord=nodes.coord[nodes.ca],
        atom_type=nodes.atom_type[nodes.ca],
        atom_features=nodes.atom_features[nodes.ca],
        residue=np.arange(len(nodes.ca)),
        ca=np.arange(len(nodes.ca)),
    )
    frames = local_frames(only_ca)
    assert not frames[0].any() and not frames[-1].any()  # ends of the trace have no frame
    np.testing.assert_allclose(np.linalg.det(frames[1:-1]), 1)
    assert np.isfinite(logits(untrained(), only_ca)).all()


def test_gradients_are_finite_everywhere(nodes):
    model = VabsNet(FAST).train()
    twice = replace(
        nodes, coord=np.where(np.arange(len(nodes.coord))[:, None] < 2, nodes.coord[0], nodes.coord).astype(np.float32)
    )
    atoms, residues = model(build_graph(twice, FAST))
    (atoms.sum() + residues.sum()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_tiles_give_what_the_whole_gives(nodes, monkeypatch):
    model = untrained()
    whole = logits(model, nodes)
    monkeypatch.setattr(vabsnet, "CHUNK", 50)
    np.testing.assert_allclose(logits(model, nodes), whole, atol=1e-9)


def test_a_residue_reads_its_ca_atom(nodes):
    model = untrained(replace(FAST, kinds=("small", "nucleic")))
    with torch.no_grad():
        graph = build_graph(nodes, FAST)
        atoms, residues = model(graph, "nucleic")
        assert not torch.equal(residues, model(graph)[1])  # the first kind is the default
    assert torch.equal(residues, atoms[nodes.ca])


def test_language_features_are_read(nodes):
    model = untrained(replace(FAST, language_width=3))
    features = np.random.default_rng(0).standard_normal((len(nodes.ca), 3)).astype(np.float32)
    with_features = logits(model, replace(nodes, residue_features=features))
    assert np.abs(with_features - logits(model, nodes)).max() > 1e-3
    assert np.abs(with_features - logits(model, replace(nodes, residue_features=features + 1))).max() > 1e-3


def test_published_size():
    sizes = {"layers": 12, "width": 768, "edge_width": 128, "heads": 48, "ffn_width": 768, "head_width": 128, "n_gaussians": 128}
    with torch.device("meta"):
        model = VabsNet(VabsNetConfig(**sizes, equivariant=False, surface=False, language_width=1280))
    assert 80e6 < sum(p.numel() for p in model.parameters()) < 120e6
