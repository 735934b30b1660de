"""Training of the smoother: pairs by hand, learning, repeatability."""

from __future__ import annotations

import csv
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.residues import candidates, neighbour_mean, smoother_logits
from s2p.training.config import SmootherTrainConfig
from s2p.training.curves import learning_curves
from s2p.training.loop import EpochLog, Loop
from s2p.training.smoother import PairStream, SmoothingExample, train_smoother, training_pairs

SMALL = SmootherTrainConfig(width=16, max_epochs=12, patience=4, lr=3e-3, batch_size=64)


def example() -> SmoothingExample:
    ca = np.array([[0, 0, 0], [5, 0, 0], [9, 0, 0], [18, 0, 0], [60, 0, 0]], np.float32)
    return SmoothingExample(np.eye(5, dtype=np.float32), ca, (np.array([0, 1]),))


def pockets(n: int, seed: int = 0, shift: float = 3.0) -> list[SmoothingExample]:
    """Structures of 60 residues with one round site, whose residues are moved by ``shift`` along the first dimension."""
    draw = np.random.default_rng(seed)
    examples = []
    for _ in range(n):
        ca = draw.uniform(0, 25, (60, 3)).astype(np.float32)
        site = np.flatnonzero(np.linalg.norm(ca - ca[0], axis=1) < 8)
        embeddings = draw.normal(size=(60, 6)).astype(np.float32)
        embeddings[site, 0] += shift
        examples.append(SmoothingExample(embeddings, ca, (site,)))
    return examples


def test_training_pairs_by_hand() -> None:
    """Binding 0 and 1; residue 2 is 4 and 9 Å away (negative), residue 3 is 13 Å away (neither), residue 4 far."""
    x, y = training_pairs(example(), SmootherTrainConfig())
    assert y.tolist() == [1, 1, 0]
    np.testing.assert_allclose(x[0], [1, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(x[1], [0, 1, 0, 0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(x[2], [0, 0, 1, 0, 0, 0.5, 0.5, 0, 0, 0])


def test_training_pairs_with_the_published_leak() -> None:
    x, y = training_pairs(example(), SmootherTrainConfig(include_self=True))
    assert y.tolist() == [1, 1, 0]
    np.testing.assert_allclose(x[0, 5:], [0.5, 0.5, 0, 0, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([6.0, 10.0, 15.0]), st.sampled_from([6.0, 10.0, 15.0]), st.booleans())
def test_training_pairs_equal_a_loop(seed: int, context: float, negative: float, own: bool) -> None:
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 40))
    ca = draw.uniform(0, 30, (n, 3)).astype(np.float32)
    flags = draw.random(n) < 0.3
    e = draw.normal(size=(n, 3)).astype(np.float32)
    half = np.flatnonzero(flags)[: flags.sum() // 2], np.flatnonzero(flags)[flags.sum() // 2 :]
    config = SmootherTrainConfig(context_radius=context, negative_radius=negative, include_self=own)
    distance = np.linalg.norm(ca[:, None].astype(float) - ca[None].astype(float), axis=-1)
    expected, targets = [], []
    for i in [*np.flatnonzero(flags), *np.flatnonzero(~flags & (distance[:, flags] < negative).any(axis=1))]:
        near = [j for j in np.flatnonzero(flags) if j != i and distance[i, j] < context]
        if near:
            near += [i] if own and flags[i] else []
            expected.append(np.concatenate([e[i], e[near].mean(axis=0)]))
            targets.append(float(flags[i]))
    x, y = training_pairs(SmoothingExample(e, ca, half), config)
    assert y.tolist() == targets
    np.testing.assert_allclose(x, np.array(expected).reshape(-1, 6), atol=1e-5)


def test_training_learns_a_separable_rule_and_repeats_itself() -> None:
    examples = pockets(12)
    config = replace(SMALL, max_epochs=40, patience=10)
    before = torch.random.get_rng_state()
    first, log = train_smoother(examples[:9], examples[9:], config)
    assert torch.equal(before, torch.random.get_rng_state()), "training leaves the global generator alone"
    second, again = train_smoother(examples[:9], examples[9:], config)
    prevalence = np.mean(np.concatenate([training_pairs(e, config)[1] for e in examples[9:]]))
    assert max(entry.validation_auprc for entry in log) > 0.85 > prevalence
    assert log[-1].train_loss < log[0].train_loss
    assert log == again
    x = np.ones((3, 12), np.float32)
    np.testing.assert_array_equal(smoother_logits(first, x), smoother_logits(second, x))


def test_the_best_epoch_is_kept_and_patience_ends_the_rest() -> None:
    """Labels without a rule: validation gets no better for long."""
    examples = pockets(8, shift=0.0)
    smoother, log = train_smoother(examples[:6], examples[6:], replace(SMALL, max_epochs=60))
    scores = [entry.validation_auprc for entry in log]
    assert len(log) == int(np.argmax(scores)) + 1 + SMALL.patience < 60
    pairs = [training_pairs(e, SMALL) for e in examples[6:]]
    x, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
    assert auprc_trapezoid(y, smoother_logits(smoother, x)) == max(scores)


def test_validation_never_sees_a_residue_in_its_own_context() -> None:
    """Also where training does, as published; otherwise figures of both kinds of training could not be compared."""
    examples = pockets(10)
    leaky = replace(SMALL, include_self=True)
    smoother, log = train_smoother(examples[:7], examples[7:], leaky)
    scores = {}
    for include_self in (False, True):
        pairs = [training_pairs(e, replace(leaky, include_self=include_self)) for e in examples[7:]]
        x, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
        scores[include_self] = auprc_trapezoid(y, smoother_logits(smoother, x))
    assert max(entry.validation_auprc for entry in log) == scores[False] != scores[True]


def test_a_finished_run_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = pockets(6)
    smoother, log = train_smoother(examples[:4], examples[4:], SMALL, folder=tmp_path)
    with open(tmp_path / "log.csv", newline="") as handle:
        rows = [
            EpochLog(int(r["epoch"]), "smoother", float(r["train_loss"]), float(r["validation_auprc"]))
            for r in csv.DictReader(handle)
        ]
    assert rows == log
    monkeypatch.setattr(Loop, "_step", lambda *_: pytest.fail("trained"))
    again, log_again = train_smoother(examples[:4], examples[4:], SMALL, folder=tmp_path)
    assert log_again == log
    assert all(np.array_equal(again.arrays[key], value) for key, value in smoother.arrays.items())


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    examples = pockets(6)
    train_smoother(examples[:4], examples[4:], SMALL, folder=tmp_path)
    with pytest.raises(S2PError, match="another configuration"):
        train_smoother(examples[:4], examples[4:], replace(SMALL, lr=1e-3), folder=tmp_path)
    with pytest.raises(S2PError, match="other data"):
        train_smoother(examples[:3], examples[4:], SMALL, folder=tmp_path)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(S2PError, match="state of a training run"):
        train_smoother(examples[:4], examples[4:], SMALL, folder=tmp_path)


def test_training_without_binding_residues_is_refused() -> None:
    empty = SmoothingExample(np.ones((4, 2), np.float32), np.zeros((4, 3), np.float32), ())
    with pytest.raises(S2PError, match="binding residues"):
        train_smoother([empty], [empty])
    with pytest.raises(S2PError, match="training and validation structures"):
        train_smoother([example()], [])


def test_learning_curve_marks_the_epoch_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    marked = []
    monkeypatch.setattr(Axes, "axvline", lambda _, x, **__: marked.append(x))
    log = [EpochLog(k, "smoother", 1 / (k + 1), value) for k, value in enumerate([0.2, 0.5, 0.4, 0.5])]
    for kept in (None, log[1]):
        path = tmp_path / "curve.png"
        learning_curves(log, [], path, kept=kept)
        assert path.read_bytes().startswith(b"\x89PNG") and len(path.read_bytes()) > 5000
    assert marked == [4, 2]  # the end of the epoch: the later of the best, or what was said


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.booleans())
def test_streamed_pairs_equal_those_in_memory(seed: int, size: int, own: bool) -> None:
    """Whatever the size of a block: the inputs of a pair are those of its example, and a batch holds each pair once."""
    config = replace(SMALL, include_self=own)
    examples = pockets(7, seed % 1000)
    empty = SmoothingExample(np.ones((9, 6), np.float32), np.zeros((9, 3), np.float32), ())
    examples.insert(seed % 8, empty)
    x, y = (np.concatenate(part) for part in zip(*(training_pairs(e, config) for e in examples), strict=True))
    stream = PairStream(examples, config, size=size)
    assert (len(stream.first) == 1) == (size >= sum(e.embeddings.size for e in examples))
    draw = np.random.default_rng(seed)
    batches = [(block, chosen, stream.inputs(block, chosen).numpy()) for block, chosen in stream.batches(50, draw)]
    seen = np.concatenate([chosen for _, chosen, _ in batches])
    assert sorted(seen.tolist()) == list(range(len(y)))
    rows = np.concatenate([inputs for *_, inputs in batches])
    found = {row.tobytes(): target for row, target in zip(rows, stream.targets[seen], strict=True)}
    assert found == {row.tobytes(): target for row, target in zip(x, y, strict=True)}
    if len(stream.first) == 1:
        np.testing.assert_array_equal(rows[np.argsort(seen)], x)


def test_contexts_equal_a_sparse_product_to_the_digit() -> None:
    e = pockets(1, 5)[0]
    x, y = training_pairs(e, SMALL)
    members = np.flatnonzero(e.binding)
    near, *_ = candidates(e.ca_coord, e.binding, e.embeddings, SMALL.negative_radius)
    rows = np.concatenate([members, near])
    has, context, _ = neighbour_mean(rows, e.ca_coord, members, SMALL.context_radius, e.embeddings)
    np.testing.assert_array_equal(x, np.concatenate([e.embeddings[rows[has]], context], axis=1))
    np.testing.assert_array_equal(y, e.binding[rows[has]])


def test_mapped_half_precision_trains_as_arrays_in_memory_do(tmp_path: Path) -> None:
    examples = [replace(e, embeddings=e.embeddings.astype(np.float16)) for e in pockets(8)]
    starts = np.cumsum([0, *(len(e.embeddings) for e in examples)])
    np.save(tmp_path / "e.npy", np.concatenate([e.embeddings for e in examples]))
    stored = np.load(tmp_path / "e.npy", mmap_mode="r")
    mapped = [replace(e, embeddings=stored[i:j]) for e, i, j in zip(examples, starts[:-1], starts[1:], strict=True)]
    whole = [replace(e, embeddings=e.embeddings.astype(np.float32)) for e in examples]
    logs = [train_smoother(x[:6], x[6:], SMALL)[1] for x in (examples, mapped, whole)]
    assert logs[0] == logs[1] == logs[2]


def test_blocks_are_read_one_at_a_time_and_a_run_over_them_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2p.training.smoother.BLOCK", 2 * 60 * 6)
    examples = pockets(9)
    config = replace(SMALL, max_epochs=3)
    expected, log = train_smoother(examples[:6], examples[6:], config)
    step = Loop._step

    def interrupted(loop: Loop, *rest: object) -> None:
        step(loop, *rest)
        if len(loop.steps) == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_smoother(examples[:6], examples[6:], config, folder=tmp_path)
    monkeypatch.setattr(Loop, "_step", step)
    read: list[int] = []
    inputs = PairStream.inputs
    monkeypatch.setattr(PairStream, "inputs", lambda self, block, chosen: read.append(block) or inputs(self, block, chosen))
    found, again = train_smoother(examples[:6], examples[6:], config, folder=tmp_path)
    assert again == log and set(read) == {0, 1, 2}
    assert all(np.array_equal(found.arrays[key], value) for key, value in expected.arrays.items())
