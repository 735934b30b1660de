"""Training loop of Vabs-Net: windows, labels, noise, learning, and going on after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course import vabsnet_training as vabsnet_train
from course.vabsnet_training import VabsExample, VabsNetTrainConfig, binding_loss, crop, finetune_vabsnet, noisy, spatial_window
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import Nodes, nodes_of
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.structure.reading import read_structure

FAST = VabsNetTrainConfig.fast()


@pytest.fixture(scope="module")
def nodes(examples: Path) -> Nodes:
    return nodes_of(read_structure(examples / "1ubi.pdb.gz"))


def example(nodes: Nodes, labels: np.ndarray | None = None) -> VabsExample:
    """By default, hydrophobic residues bind: the network can read it off the letters."""
    if labels is None:
        labels = np.isin(nodes.residue_type, [9, 10, 12, 13, 19]).astype(np.uint8)
    return VabsExample("ubiquitin", nodes, labels, np.ones(len(labels), bool))


def model(seed: int = 0, **changes: object) -> VabsNet:
    torch.manual_seed(seed)
    return VabsNet(replace(VabsNetConfig.fast(), **changes))


def test_window_is_the_nearest_residues_and_its_core_is_nearer_still(nodes):
    allowed = np.zeros(len(nodes.ca), bool)
    allowed[40] = True
    chosen, core = spatial_window(nodes, 30, 0.5, allowed, np.random.default_rng(0))
    distance = np.linalg.norm(nodes.coord[nodes.ca] - nodes.coord[nodes.ca[40]], axis=1)
    assert set(chosen) == set(np.argsort(distance)[:30]) and (np.diff(chosen) > 0).all()
    assert core.sum() == 15 and distance[chosen[core]].max() <= distance[chosen[~core]].min()
    chosen, core = spatial_window(nodes, 500, 0.5, allowed, np.random.default_rng(0))
    assert len(chosen) == len(nodes.ca) and core.all()


def test_noise_moves_whole_residues(nodes):
    shift = noisy(nodes, 0.2, 0.5, np.random.default_rng(1)).coord - nodes.coord
    hit = np.bincount(nodes.residue, np.abs(shift).sum(axis=1) > 0) / np.bincount(nodes.residue)
    assert set(hit.tolist()) == {0.0, 1.0} and 0.05 < hit.mean() < 0.4


def test_loss_by_hand(nodes, monkeypatch):
    """Zero logits cost ln 2 for the residues, and as much times its weight for the atoms; unjudged residues cost nothing."""
    net = model()
    for value in net.binding.parameters():
        torch.nn.init.zeros_(value)
    config = replace(FAST, atom_loss=0.25)
    loss = binding_loss(net, example(nodes), config, np.random.default_rng(0))
    assert loss.item() == pytest.approx(1.25 * np.log(2), rel=1e-5)
    # Every atom has its residue's label, and only those of judged residues count.
    seen: list[torch.Tensor] = []
    real = torch.nn.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr(vabsnet_train.F, "binary_cross_entropy_with_logits", lambda x, y: seen.append(y) or real(x, y))
    half = example(nodes)
    half = replace(half, judged=np.arange(len(half.labels)) < 20)
    binding_loss(net, half, config, np.random.default_rng(0))
    np.testing.assert_array_equal(seen[0], half.labels[:20])
    np.testing.assert_array_equal(seen[1], half.labels[nodes.residue[nodes.residue < 20]])


def test_the_pose_is_drawn_anew_where_it_matters(nodes):
    for equivariant, spread in ((True, False), (False, True)):
        net = model(equivariant=equivariant)
        with torch.no_grad():
            for value in net.parameters():
                value.add_(0.2 * torch.randn_like(value))
        net.eval()
        config = replace(FAST, noised=0.0)
        losses = [binding_loss(net, example(nodes), config, np.random.default_rng(k)).item() for k in range(2)]
        assert (abs(losses[0] - losses[1]) > 1e-6) == spread


def test_it_learns_what_can_be_learned(nodes):
    net = model()
    config = replace(FAST, epochs=40, batch=1, lr=5e-3)
    history = finetune_vabsnet(net, [example(nodes)], [example(nodes)], config, quiet=True)
    labels = example(nodes).labels
    assert history[-1].validation_auprc > 0.9
    assert auprc_trapezoid(labels, residue_logits(net, nodes)) == pytest.approx(history[-1].validation_auprc)


def test_the_state_of_another_run_is_refused(nodes, tmp_path):
    config = replace(FAST, epochs=2, batch=2)
    training = [example(nodes, labels) for labels in np.random.default_rng(0).integers(0, 2, (6, len(nodes.ca))).astype(np.uint8)]
    finetune_vabsnet(model(), training, training[:1], config, folder=tmp_path, quiet=True)
    assert (tmp_path / "log.csv").read_text().count("finetune") == 2
    with pytest.raises(S2PError, match="other data"):
        finetune_vabsnet(model(), training[:5], [], config, folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="another configuration"):
        finetune_vabsnet(model(width=32), training, [], config, folder=tmp_path, quiet=True)


def test_what_cannot_be_trained_on(nodes):
    nothing = example(nodes, np.zeros(len(nodes.ca), np.uint8))
    with pytest.raises(S2PError, match="no residue"):
        finetune_vabsnet(model(), [nothing], [], FAST)
    with pytest.raises(S2PError, match="no head for ligands"):
        finetune_vabsnet(model(), [replace(example(nodes), kind="nucleic")], [], FAST)


def test_each_kind_of_ligand_trains_its_own_head(nodes):
    net = model(kinds=("small", "nucleic"))
    before = {key: value.clone() for key, value in net.binding.state_dict().items()}
    finetune_vabsnet(net, [replace(example(nodes), kind="nucleic")], [], replace(FAST, weight_decay=0.0), quiet=True)
    changed = {key.split(".")[0] for key, value in net.binding.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"nucleic"}


def test_crop_keeps_rows_together(nodes):
    chosen = np.arange(10, 30)
    part, atoms = crop(nodes, chosen)
    np.testing.assert_array_equal(part.coord[part.ca], nodes.coord[nodes.ca[chosen]])
    np.testing.assert_array_equal(part.atom_type, nodes.atom_type[atoms])
    np.testing.assert_array_equal(chosen[part.residue], nodes.residue[atoms])
