"""Training of CrossBind: both phases on small real proteins, and what cannot be trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course import crossbind_training
from course.crossbind_training import CrossBindExample, CrossBindTrainConfig, augment, crop, draw, train_crossbind
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import read_structure
from s2p.training.loop import EpochLog

MODEL = replace(CrossBindConfig.fast(), language_width=3)
FAST = CrossBindTrainConfig(segment_steps=8, cross_steps=8, batch=1, max_residues=96, validate_every=4)


def pieces(examples: Path) -> list[CrossBindExample]:
    """Pieces of a DNA methyltransferase, the language input a noisy hint."""
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, cloud = nucleic_contacts(structure), cloud_of(structure)
    rng = np.random.default_rng(0)
    language = rng.normal(0, 1, (len(labels), 3)).astype(np.float32)
    language[:, 0] += labels
    none = np.zeros((len(labels), 0), np.float32)
    cuts = [(70, 130), (230, 290), (130, 190)]
    return [CrossBindExample(f"{a}", crop(cloud, a, b), language[a:b], none[a:b], labels[a:b]) for a, b in cuts]


@pytest.fixture(scope="module")
def proteins(examples: Path) -> list[CrossBindExample]:
    return pieces(examples)


def trained(
    training: list[CrossBindExample],
    validation: list[CrossBindExample],
    config: CrossBindTrainConfig = FAST,
    model: CrossBindConfig = MODEL,
    folder: Path | None = None,
) -> tuple[CrossBind, list[EpochLog]]:
    torch.manual_seed(0)
    network = CrossBind(model)
    return network, train_crossbind(network, training, validation, config, folder=folder, quiet=True)


def test_all_stages_learn_and_repeat(proteins: list[CrossBindExample]) -> None:
    config = replace(FAST, segment_steps=30, cross_steps=30, lr=5e-3, cross_lr=5e-3)
    network, log = trained(proteins[:2], proteins[:2], config)
    assert [entry.phase for entry in log] == ["segment"] * 8 + ["cross"] * 8
    assert np.isfinite([entry.train_loss for entry in log]).all()
    labels = np.concatenate([p.labels for p in proteins[:2]])
    scores = np.concatenate([residue_logits(network, p.cloud, p.language, p.features) for p in proteins[:2]])
    # The weights of the best validation are those that are given back; learned by heart, these are well above guessing.
    best = max(entry.validation_auprc for entry in log if entry.phase == "cross")
    assert auprc_trapezoid(labels, scores) == pytest.approx(best, abs=1e-6)
    assert best > 2 * labels.mean()
    assert trained(proteins[:2], proteins[:2], config)[1] == log


def test_the_encoder_is_only_adjusted_at_last(proteins: list[CrossBindExample]) -> None:
    config = replace(FAST, segment_steps=0, cross_steps=1, cross_lr=1e-2, encoder_lr=1e-4, weight_decay=0.0)
    torch.manual_seed(0)
    start = CrossBind(MODEL)
    network, _ = trained(proteins[:2], proteins[2:], config)
    before, after = dict(start.named_parameters()), dict(network.named_parameters())
    # The first step of Adam is as long as its rate wherever there is a gradient.
    moved = {key: float((after[key] - before[key]).detach().abs().max()) for key in before}
    assert max(v for k, v in moved.items() if k.startswith("encoder.")) == pytest.approx(1e-4, rel=1e-2)
    assert moved["head.0.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert moved["segment.weight"] == 0


def test_long_chains_are_cut(proteins: list[CrossBindExample]) -> None:
    rng = np.random.default_rng(0)
    for part in draw(proteins, 2, 20, rng):
        whole = next(p for p in proteins if p.name == part.name)
        assert part.cloud.n_residues == len(part.labels) == len(part.language) == 20
        first = next(k for k in range(41) if np.array_equal(whole.language[k : k + 20], part.language))
        np.testing.assert_array_equal(whole.labels[first : first + 20], part.labels)


def test_a_state_of_another_run_is_refused(proteins: list[CrossBindExample], tmp_path: Path) -> None:
    config = replace(FAST, segment_steps=1, cross_steps=1)
    trained(proteins[:2], proteins[2:], config, folder=tmp_path)
    with pytest.raises(S2PError, match="another configuration"):
        trained(proteins[:2], proteins[2:], replace(config, lr=1.0), folder=tmp_path)
    with pytest.raises(S2PError, match="other data"):
        trained(proteins[1:2], proteins[2:], config, folder=tmp_path)


@pytest.mark.parametrize("change", [{"structure": False}, {"language_width": 0}, {"atom_attention": False}])
def test_modalities_alone(proteins: list[CrossBindExample], change: dict[str, int]) -> None:
    examples = [replace(p, language=p.language[:, : change.get("language_width", 3)]) for p in proteins]
    _, log = trained(examples[:2], examples[2:], FAST, replace(MODEL, **change))  # type: ignore[arg-type]
    phases = {entry.phase for entry in log}
    assert phases == ({"cross"} if change.get("structure") is False else {"segment", "cross"})


def test_training_without_anything_to_learn(proteins: list[CrossBindExample]) -> None:
    blank = [replace(p, labels=np.zeros_like(p.labels)) for p in proteins]
    with pytest.raises(S2PError, match="validation proteins"):
        trained(proteins, blank)
    with pytest.raises(S2PError, match="training proteins"):
        trained([], proteins)


def test_augmentation_changes_coordinates_only(examples: Path) -> None:
    cloud = cloud_of(read_structure(examples / "1ubi.pdb.gz"))
    before = cloud.coord.copy()
    changed = augment(cloud, np.random.default_rng(0))
    assert np.array_equal(cloud.coord, before)
    assert changed.residue is cloud.residue and changed.coord.shape == cloud.coord.shape
    assert not np.allclose(changed.coord, before)
    assert np.array_equal(changed.coord, augment(cloud, np.random.default_rng(0)).coord)


def test_augmentation_without_shear_is_a_turn_about_z(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossbind_training, "SHEAR", 0.0)
    cloud = cloud_of(read_structure(examples / "1ubi.pdb.gz"))
    own, turned = (x - x[0] for x in (cloud.coord, augment(cloud, np.random.default_rng(1)).coord))
    np.testing.assert_allclose(turned[:, 2], own[:, 2], atol=1e-9)
    turn = np.linalg.lstsq(own, turned, rcond=None)[0]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    # No mirror image: it would be made of D amino acids.
    assert np.linalg.det(turn) == pytest.approx(1) and not np.allclose(turn, np.eye(3))
