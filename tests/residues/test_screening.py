"""Logits in bfloat16: their margin holds, decisions are those of float32, and no weights out of date are used."""

from __future__ import annotations

import copy
import gc
import pickle
import platform
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse

from s2p.residues import screening, smoothing
from s2p.residues.screening import Screen, native_bfloat16, screen_of, worth_screening
from s2p.residues.smoothing import Smoother, smoother_logits

DIM, WIDTH = 64, 256
WEIGHTS = ("untrained", "spread", "trained")
EMBEDDINGS = ("normal", "outliers", "low rank")


def classifier(weights: str) -> Smoother:
    """Weights as torch draws them, as the golden cases have them (logits of several units), or trained to a clear rule."""
    if weights == "trained":
        return copy.deepcopy(_trained())
    torch.manual_seed(0)
    smoother = Smoother(DIM, WIDTH, 0.5)
    if weights == "spread":
        scales = [(1 / DIM) ** 0.5, 0.05, (2 / WIDTH) ** 0.5, 0.05, 3 * (1 / WIDTH) ** 0.5, 1.0]
        with torch.no_grad():
            for parameter, scale in zip(smoother.parameters(), scales, strict=True):
                parameter.normal_(0, scale)
    return smoother.eval()


@cache
def _trained() -> Smoother:
    smoother = classifier("untrained").train()
    optimizer = torch.optim.AdamW(smoother.parameters(), lr=3e-3)
    for _ in range(150):
        x = torch.randn(128, 2 * DIM)
        y = (x[:, 0] + x[:, DIM] + 0.5 * x[:, 1].abs() > 1).float()
        loss = F.binary_cross_entropy_with_logits(smoother(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return smoother.eval()


def case(n: int, embeddings: str = "normal", seed: int = 0) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Candidates, predicted residues, who is near whom, and how many: each has one to ten neighbours."""
    draw = np.random.default_rng(seed)
    n_members = 200
    every = draw.standard_normal((n + n_members, DIM))
    if embeddings == "outliers":  # a few large, nearly constant dimensions, as language models have
        every[:, [3, 40]] = every[:, [3, 40]] * [5, 20] + [30, -100]
    elif embeddings == "low rank":
        every = 0.1 * every + draw.standard_normal((n + n_members, 5)) @ draw.standard_normal((5, DIM))
    count = draw.integers(1, 11, n)
    members = np.concatenate([draw.choice(n_members, c, replace=False) for c in count])
    near = sparse.csr_matrix((np.ones(len(members), np.float32), (np.repeat(np.arange(n), count), members)), shape=(n, n_members))
    return every[:n].astype(np.float32), every[n:].astype(np.float32), near, count


def in_float32(
    smoother: Smoother, own: np.ndarray, members: np.ndarray, near: sparse.csr_matrix, count: np.ndarray
) -> np.ndarray:
    return smoother_logits(smoother, np.concatenate([own, near @ members / count[:, None]], axis=1).astype(np.float32))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Screen whatever the processor and the size: results are the same everywhere, only the time is not."""
    monkeypatch.setattr(smoothing, "worth_screening", lambda layers, n: True)


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_no_logit_is_further_off_than_its_margin(weights: str, embeddings: str) -> None:
    """24,000 candidates of each kind of weights."""
    smoother = classifier(weights)
    data = case(8000, embeddings)
    logits, margin = Screen.of(smoother.layers).logits(*data)
    exact = in_float32(smoother, *data)
    error = np.abs(logits - exact)
    assert (error <= margin).all()
    assert error.max() > margin.max() / 100  # a margin that says something


@pytest.mark.parametrize("weights", ["spread", "trained"])
def test_few_candidates_are_close(weights: str) -> None:
    logits, margin = Screen.of(classifier(weights).layers).logits(*case(4000))
    assert (np.abs(logits - np.median(logits)) < margin).mean() < 0.15


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("embeddings", EMBEDDINGS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_decisions_are_those_of_float32(weights: str, embeddings: str) -> None:
    """Also where the threshold lies between what float32 and bfloat16 give for one candidate."""
    smoother = classifier(weights)
    data = case(1500, embeddings, seed=1)
    exact = in_float32(smoother, *data)
    screened, _ = screen_of(smoother.layers).logits(*data)
    middle = (exact + screened) / 2
    limits = [*np.quantile(exact, [0.05, 0.5, 0.95]), *middle[np.argsort(-np.abs(exact - screened))[:20]]]
    undecided = 2e-5 * np.abs(exact).max()  # float32 itself, in another order of summation
    changed = 0
    for limit in limits:
        clear = np.abs(exact - limit) > undecided
        decided = smoothing._above(float(limit), smoother, *data)
        np.testing.assert_array_equal(decided[clear], (exact > limit)[clear])
        changed += int(((screened > limit) != (exact > limit))[clear].sum())
    assert changed >= 20  # bfloat16 alone would have been wrong


@pytest.mark.usefixtures("always")
def test_a_margin_found_too_small_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "SAFETY", 1e-9)
    smoother = classifier("spread")
    data = case(1500)
    exact, (screened, _) = in_float32(smoother, *data), screen_of(smoother.layers).logits(*data)
    for k in np.argsort(-np.abs(exact - screened))[:10]:
        limit = float(exact[k] + screened[k]) / 2
        clear = np.abs(exact - limit) > 1e-5
        np.testing.assert_array_equal(smoothing._above(limit, smoother, *data)[clear], (exact > limit)[clear])


@pytest.mark.usefixtures("always")
def test_weights_of_one_value_break_the_estimate_but_not_the_decisions() -> None:
    """All roundings of such weights agree, and so does the sum of positive inputs."""
    smoother = classifier("untrained")
    with torch.no_grad():
        for parameter in smoother.parameters():
            parameter.fill_(0.0299)
    own, members, near, count = case(800)
    data = np.abs(own), np.abs(members), near, count
    exact, (screened, margin) = in_float32(smoother, *data), screen_of(smoother.layers).logits(*data)
    assert (np.abs(exact - screened) > margin).any()
    limit = float(exact.max() + 1e-3)
    np.testing.assert_array_equal(smoothing._above(limit, smoother, *data), exact > limit)
    limit = float(np.median(exact))
    clear = np.abs(exact - limit) > 1e-4
    np.testing.assert_array_equal(smoothing._above(limit, smoother, *data)[clear], (exact > limit)[clear])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")
def test_absurd_embeddings_are_judged_as_in_float32(value: float) -> None:
    smoother = classifier("spread")
    data = case(300)
    data[0][7, 5] = value
    exact = smoothing._logits(smoother, *data)
    np.testing.assert_array_equal(smoothing._above(0.123, smoother, *data), exact > 0.123)


def test_a_screen_is_made_once() -> None:
    smoother = classifier("untrained")
    first = screen_of(smoother.layers)
    smoother.train().eval()
    smoother_logits(smoother, np.ones((3, 2 * DIM), np.float32))
    assert screen_of(smoother.layers) is first


def _step(smoother: Smoother) -> None:
    optimizer = torch.optim.AdamW(smoother.parameters(), lr=0.1)
    smoother(torch.ones(4, 2 * DIM)).sum().backward()
    optimizer.step()


def _in_inference_mode(smoother: Smoother) -> None:
    with torch.inference_mode():
        smoother.layers[3].weight.mul_(2)


def _replace(smoother: Smoother) -> None:
    smoother.layers[3] = torch.nn.Linear(WIDTH, WIDTH)


CHANGES = {
    "load_state_dict": lambda s: s.load_state_dict(classifier("spread").state_dict()),
    "load_state_dict, assigned": lambda s: s.load_state_dict(classifier("spread").state_dict(), assign=True),
    "to fp16 and back": lambda s: s.half().float(),
    "optimizer step": _step,
    "written in inference mode": _in_inference_mode,
    "layer replaced": _replace,
    "data replaced": lambda s: setattr(s.layers[0].weight, "data", torch.randn(WIDTH, 2 * DIM)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_screen_follows_its_weights(change: str) -> None:
    smoother = classifier("untrained")
    data = case(50)
    before, _ = screen_of(smoother.layers).logits(*data)
    CHANGES[change](smoother)
    after, _ = screen_of(smoother.layers).logits(*data)
    fresh, _ = Screen.of(smoother.layers).logits(*data)
    np.testing.assert_array_equal(after, fresh)
    assert not np.array_equal(before, after)


def test_copies_and_pickles_are_as_if_there_were_no_screen() -> None:
    smoother = classifier("untrained")
    plain = len(pickle.dumps(smoother)), list(smoother.state_dict())
    screen = screen_of(smoother.layers)
    assert (len(pickle.dumps(smoother)), list(smoother.state_dict())) == plain
    for other in (copy.deepcopy(smoother), pickle.loads(pickle.dumps(smoother))):
        assert screen_of(other.layers) is not screen
        np.testing.assert_array_equal(screen_of(other.layers).logits(*case(20))[0], screen.logits(*case(20))[0])


def test_a_screen_goes_with_its_classifier() -> None:
    before = len(screening._ENTRIES)
    smoother = classifier("untrained")
    screen_of(smoother.layers)
    assert len(screening._ENTRIES) == before + 1
    del smoother
    gc.collect()
    assert len(screening._ENTRIES) == before


def test_when_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    large = Smoother(320, 2048)
    monkeypatch.setattr(screening, "native_bfloat16", lambda: True)
    assert worth_screening(large.layers, 100)
    assert not worth_screening(large.layers, 10)
    assert not worth_screening(Smoother(320, 256).layers, 100_000)
    with torch.device("meta"):  # any device but the CPU
        assert not worth_screening(Smoother(320, 2048).layers, 100)
    with torch.inference_mode():
        assert not worth_screening(Smoother(320, 2048).layers, 100)
    assert not worth_screening(copy.deepcopy(large).double().layers, 100)
    monkeypatch.setattr(screening, "native_bfloat16", lambda: False)
    assert not worth_screening(large.layers, 100)


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="needs Linux on x86")
def test_detection_agrees_with_the_kernel() -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    assert native_bfloat16() == ("avx512_bf16" in flags.split())


def test_a_torch_that_cannot_tell_counts_as_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not native_bfloat16.__wrapped__()
