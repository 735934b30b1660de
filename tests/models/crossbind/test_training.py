"""Training of CrossBind: all stages on small real proteins, breaks, and comparisons."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.studies import crossbind as crossbind_ligands
from benchmarks.studies.crossbind import Held, compare
from course.crossbind import nucleic_contacts
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.crossbind.cloud import cloud_of, crop
from s2p.models.crossbind.config import CrossBindConfig, CrossBindTrainConfig
from s2p.models.crossbind.network import residue_logits
from s2p.models.crossbind.training import (
    CrossBindExample,
    contrast_views,
    nt_xent,
    top1_retrieval,
    train_crossbind,
)
from s2p.structure.reading import read_structure

MODEL = replace(CrossBindConfig.fast(), language_width=3)


@pytest.fixture(scope="module")
def proteins(examples: Path) -> list[CrossBindExample]:
    """Pieces of a DNA methyltransferase, the language input a noisy hint."""
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, cloud = nucleic_contacts(structure), cloud_of(structure)
    rng = np.random.default_rng(0)
    language = rng.normal(0, 1, (len(labels), 3)).astype(np.float32)
    language[:, 0] += labels
    none = np.zeros((len(labels), 0), np.float32)
    cuts = [(70, 130), (230, 290), (130, 190)]
    return [CrossBindExample(f"{a}", crop(cloud, a, b), language[a:b], none[a:b], labels[a:b]) for a, b in cuts]


def test_all_stages_learn_and_repeat(proteins: list[CrossBindExample]) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=5, segment_steps=30, cross_steps=30, lr=5e-3, cross_lr=5e-3)
    found = train_crossbind(MODEL, proteins[:2], proteins[:2], config, quiet=True)
    for stage, steps in (("contrast", 5), ("segment", 30), ("cross", 30)):
        loss = [entry.loss for entry in found.log if entry.stage == stage]
        assert len(loss) == steps and np.isfinite(loss).all()
    labels = np.concatenate([p.labels for p in proteins[:2]])
    scores = np.concatenate([residue_logits(found.model, p.cloud, p.language, p.features) for p in proteins[:2]])
    # The weights of the best validation are those that are given back; learned by heart, these are well above guessing.
    assert auprc_trapezoid(labels, scores) == pytest.approx(found.validation_auprc, abs=1e-6)
    assert found.validation_auprc > 2 * labels.mean()
    again = train_crossbind(MODEL, proteins[:2], proteins[:2], config, quiet=True)
    assert [e.loss for e in again.log] == [e.loss for e in found.log]


def test_a_state_of_another_run_is_refused(proteins: list[CrossBindExample], tmp_path: Path) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=1, segment_steps=1, cross_steps=1)
    train_crossbind(MODEL, proteins[:2], proteins[2:], config, folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="another configuration"):
        train_crossbind(MODEL, proteins[:2], proteins[2:], replace(config, lr=1.0), folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="other data"):
        train_crossbind(MODEL, proteins[1:2], proteins[2:], config, folder=tmp_path, quiet=True)


@pytest.mark.parametrize("change", [{"structure": False}, {"language_width": 0}, {"atom_attention": False}])
def test_modalities_alone(proteins: list[CrossBindExample], change: dict[str, object]) -> None:
    examples = [replace(p, language=p.language[:, : int(change.get("language_width", 3))]) for p in proteins]  # type: ignore[call-overload]
    found = train_crossbind(replace(MODEL, **change), examples[:2], examples[2:], CrossBindTrainConfig.fast(), quiet=True)  # type: ignore[arg-type]
    stages = {entry.stage for entry in found.log}
    assert stages == ({"cross"} if change.get("structure") is False else {"contrast", "segment", "cross"})


def test_training_without_anything_to_learn(proteins: list[CrossBindExample]) -> None:
    blank = [replace(p, labels=np.zeros_like(p.labels)) for p in proteins]
    with pytest.raises(S2PError, match="validation proteins"):
        train_crossbind(MODEL, proteins, blank, CrossBindTrainConfig.fast(), quiet=True)
    with pytest.raises(S2PError, match="training proteins"):
        train_crossbind(MODEL, [], proteins, CrossBindTrainConfig.fast(), quiet=True)


def test_contrast_makes_residues_recognisable(proteins: list[CrossBindExample]) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=40, segment_steps=1, cross_steps=1, lr=3e-3, max_pairs=48)
    before = train_crossbind(MODEL, proteins[:2], proteins[2:], replace(config, contrast_steps=1), quiet=True)
    after = train_crossbind(MODEL, proteins[:2], proteins[2:], config, quiet=True)
    score = []
    for found in (before, after):
        assert found.projection is not None
        with torch.no_grad():
            views = contrast_views(found.model, found.projection, [proteins[2].cloud], np.random.default_rng(5), most=1000)
        assert len(views[0]) == 60
        score.append((nt_xent(*views).item(), top1_retrieval(*views)))
    assert score[1][0] < score[0][0]
    assert score[1][1] > 5 / 60


def test_whole_network_and_its_parts_are_compared(
    proteins: list[CrossBindExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossbind_ligands, "CrossBindConfig", lambda: MODEL)
    held = [Held(protein, str(k)) for k, protein in enumerate(proteins)]
    examples = {"train": held[:2], "validation": held[2:], "test": held[1:]}
    out = tmp_path / "out.json"
    compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    table = json.loads(out.read_text())
    assert set(table["variants"]) == set(crossbind_ligands.VARIANTS)
    rows = table["variants"]
    assert "share_of_structure" in rows["structure and sequence"] and "share_of_structure" not in rows["sequence alone"]
    assert "retrieval_and_chance" not in rows["both, without pre-training"]
    assert set(table["both_less_variant_auprc_per_protein"]) == set(rows) - {"structure and sequence"}
    for name, (value, low, high, _) in table["both_less_variant_auprc_per_protein"].items():
        expected = rows["structure and sequence"]["test_auprc_per_protein"] - rows[name]["test_auprc_per_protein"]
        assert value == pytest.approx(expected, abs=2e-4) and low <= value <= high

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Broken off after the first variant, it has written that one; started again, it finds the trainings and says the same.
    out.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(crossbind_ligands, "paired_difference", stop)
        compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    assert list(json.loads(out.read_text())["variants"]) == ["structure and sequence"]
    compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    assert json.loads(out.read_text()) == table


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.05, 2.0))
def test_nt_xent_against_its_formula(seed: int, n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    value = nt_xent(a, b, temperature).item()
    assert math.isclose(value, nt_xent(b, a, temperature).item(), rel_tol=1e-9)
    # The usual form: 2N views, each looks for its partner among all others.
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    partner = torch.arange(2 * n).roll(n)
    assert math.isclose(value, F.cross_entropy(s, partner).item(), rel_tol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_nt_xent_of_known_embeddings(n: int) -> None:
    same = torch.ones(n, 5, dtype=torch.float64)
    for temperature in (0.05, 0.1, 3.0):
        assert math.isclose(nt_xent(same, same, temperature).item(), math.log(2 * n - 1), abs_tol=1e-9)
    z = torch.eye(n, dtype=torch.float64)
    assert math.isclose(nt_xent(z, z, 0.1).item(), math.log(1 + (2 * n - 2) * math.exp(-10)), abs_tol=1e-12)


def test_retrieval() -> None:
    z = torch.eye(4)
    assert top1_retrieval(z, 3 * z) == 1.0
    assert top1_retrieval(z, z.roll(1, 0)) == 0.0
    assert top1_retrieval(z, z[[0, 1, 3, 2]]) == 0.5
