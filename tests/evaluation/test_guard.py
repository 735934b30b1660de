"""The record of training chains in a checkpoint's card: what it detects, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.recipes.data import read_chains
from s2p.checkpoint import METHODS
from s2p.errors import S2PError
from s2p.evaluation import guard
from s2p.evaluation.cases import CaseSet, find_cases
from s2p.evaluation.guard import CARD_KEY, Seen, guard_cases, trained_on, training_sketch
from s2p.evaluation.word_fits import BACKGROUND
from s2p.io.weights import SHIPPED

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
FREQUENCIES = BACKGROUND / BACKGROUND.sum()
SEQUENCES = Path(os.environ.get("S2P_DATA", "data/public")) / "sequences" / "small"


def random_sequences(n: int, seed: int, length: int = 200) -> dict[str, str]:
    draw = np.random.default_rng(seed)
    return {f"c{k}": "".join(draw.choice(LETTERS, length, p=FREQUENCIES)) for k in range(n)}


def mutated(sequence: str, share: float, seed: int) -> str:
    draw = np.random.default_rng(seed)
    return "".join(draw.choice(LETTERS, p=FREQUENCIES) if draw.random() < share else c for c in sequence)


TRAINING = random_sequences(60, 0)
SKETCH = training_sketch(TRAINING)


def test_the_same_sequence_is_exact_and_a_stranger_is_nothing() -> None:
    hits = trained_on(SKETCH, {"x": TRAINING["c7"], "lower": TRAINING["c8"].lower(), "new": random_sequences(1, 99)["c0"]})
    assert [(h.id, h.kind, h.training_id, h.identity, h.e_value) for h in hits] == [
        ("x", "exact", "c7", 1.0, 0.0),
        ("lower", "exact", "c8", 1.0, 0.0),
    ]


def test_a_mutant_and_a_fragment_with_words_are_near() -> None:
    hits = trained_on(
        SKETCH, {"m": mutated(TRAINING["c3"], 0.3, 1), "cut": TRAINING["c4"][3:], "tagged": "GSHM" + TRAINING["c5"]}
    )
    assert [(h.id, h.kind, h.training_id) for h in hits] == [("m", "near", "c3"), ("cut", "near", "c4"), ("tagged", "near", "c5")]
    assert 0.55 < hits[0].identity < 0.95
    assert min(hits[1].identity, hits[2].identity) > 0.7  # one word may lie over the cut
    assert "resembles training chain c3" in str(hits[0])


def test_strangers_are_hardly_ever_near() -> None:
    strangers = random_sequences(100, 7)
    assert trained_on(SKETCH, strangers) == []


def test_detection_falls_with_identity_as_the_docstring_says() -> None:
    """Random substitutions: most at 60 % identity, few at 30 %."""
    share = {}
    for kept in (0.8, 0.6, 0.3):
        changed = {name: mutated(s, (1 - kept) * 20 / 19, 11) for name, s in TRAINING.items()}
        hits = trained_on(SKETCH, changed)
        assert all(h.id == h.training_id for h in hits)
        share[kept] = len(hits) / len(TRAINING)
    assert share[0.8] == 1.0
    assert share[0.6] > 0.8
    assert share[0.3] < 0.5


def test_common_tags_are_no_sign() -> None:
    tag = "MGSSHHHHHHSSGLVPRGSH"
    tagged = {k: tag + s for k, s in random_sequences(20, 3).items()}
    assert trained_on(training_sketch(tagged), {k: tag + s for k, s in random_sequences(20, 4).items()}) == []


def test_the_sketch_is_json_deterministic_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_sketch(TRAINING) == SKETCH
    assert trained_on(json.loads(json.dumps(SKETCH)), {"x": TRAINING["c0"]})
    table = random_sequences(4401, 5, 393)
    sketch = training_sketch(table)
    assert sketch["words_per_chain"] == 4
    assert len(json.dumps(sketch)) < 300_000
    monkeypatch.setattr(guard, "MAX_BYTES", 120_000)
    small = training_sketch(table)
    assert small["words_per_chain"] < 4
    assert len(small["data"]) <= 120_000
    assert [h.kind for h in trained_on(small, {"x": table["c9"]})] == ["exact"]
    monkeypatch.setattr(guard, "MAX_BYTES", 1000)
    with pytest.raises(S2PError, match="4401 training chains do not fit into a sketch of 1000 bytes"):
        training_sketch(table)


def test_short_and_odd_chains() -> None:
    sketch = training_sketch({"a": "A", "nothing": "", "x": "XXXX", "few": "ACDEFGHIK", "g": "G" * 400})
    hits = trained_on(sketch, {"0": "A", "1": "W", "2": ""})
    assert [(h.id, h.kind, h.training_id) for h in hits] == [("0", "exact", "a"), ("2", "exact", "nothing")]
    assert trained_on(training_sketch({}), {"x": "ACDEFGHIKLMN"}) == []


def test_a_card_that_cannot_tell_says_so() -> None:
    with pytest.raises(S2PError, match="no record of training chains"):
        trained_on({"licence": "MIT"}, {"x": "ACD"})
    for broken in ({"data": "!!"}, {"data": SKETCH["data"][:-50]}, {"chains": 3}, {"data": 7}):
        with pytest.raises(S2PError, match="damaged"):
            trained_on(SKETCH | broken, {"x": "ACD"})


@pytest.fixture
def cases() -> CaseSet:
    found = {case.id: case for case in find_cases("mini").cases}
    return CaseSet("mine", "", (found["4CUP"], found["1GBT"]))


@pytest.fixture
def model(tmp_path: Path, cases: CaseSet) -> str:
    """A card of a checkpoint that was trained on the first case."""
    sequence = cases.cases[0].read().structure.sequence("A")
    (tmp_path / "mine.json").write_text(json.dumps({CARD_KEY: training_sketch({"seen": sequence})}))
    return str(tmp_path / "mine.safetensors")


def test_refused_allowed_or_left_out(cases: CaseSet, model: str) -> None:
    with pytest.raises(
        S2PError,
        match=r"s2p was trained on 1 of .*4CUP\|A \(the same sequence as training chain seen\); leave .*--allow-trained",
    ):
        guard_cases(cases, model, ["s2p"])
    assert guard_cases(cases, model, ["s2p"], allow=True) == (cases, {"s2p": Seen(("4CUP",))})
    kept, seen = guard_cases(cases, model, ["s2p"], skip=True)
    assert ([case.id for case in kept.cases], seen) == (["1GBT"], {"s2p": Seen()})
    assert str(seen["s2p"]) == "no relative found among the training chains"
    many = CaseSet("mine", "", tuple(replace(cases.cases[0], id=str(k)) for k in range(7)))
    with pytest.raises(S2PError, match="trained on 7 of the chains.* and 2 more"):
        guard_cases(many, model, ["s2p"])
    with pytest.raises(S2PError, match="relatives of every protein"):
        guard_cases(CaseSet("mine", "", cases.cases[:1]), model, ["s2p"], skip=True)


def test_the_training_of_other_peoples_predictors_is_unknown(cases: CaseSet, model: str) -> None:
    names = ["benchmarks.peers:RandomPatch", "benchmarks.studies.kalasanty:CenterBall", "s2p"]
    _, seen = guard_cases(cases, model, names, allow=True)
    assert [str(seen[name]) for name in names] == [
        "unknown, the training data of a class are not known",
        "unknown, the training data of a class are not known",
        "trained on relatives of 1 of these proteins",
    ]
    assert guard_cases(cases, model, names[:1])[0] == cases


def test_the_card_of_every_checkpoint_is_asked(cases: CaseSet, model: str) -> None:
    names = ["s2p", "kalasanty", "vabsnet", "crossbind", "crossbind-dna", "crossbind-rna", model]
    kept, seen = guard_cases(cases, "s2p-esm2-8m", names, allow=True)
    # Thrombin, a relative of trypsin, binds an aptamer of DNA.
    trypsin = dict.fromkeys(("crossbind", "crossbind-dna"), Seen(("1GBT",)))
    assert kept == cases and seen == dict.fromkeys(names, Seen()) | {model: Seen(("4CUP",))} | trypsin
    with pytest.raises(S2PError, match=r"mine.safetensors was trained on 1 of the chains"):
        guard_cases(cases, "s2p-esm2-8m", ["benchmarks.peers:RandomPatch", model])


def test_a_checkpoint_without_a_record_is_unknown(cases: CaseSet, tmp_path: Path) -> None:
    silent, broken = str(tmp_path / "silent.safetensors"), tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    for name in (silent, str(broken)):
        for skip in (False, True):
            with pytest.raises(
                S2PError, match="it is not known whether .* because its card has no full record of training chains"
            ):
                guard_cases(find_cases("mini", limit=1), name, ["s2p"], skip=skip)
        kept, seen = guard_cases(cases, name, ["s2p"], allow=True)
        assert kept == cases and str(seen["s2p"]) == "unknown, its card has no full record of training chains"


def test_the_record_is_read_from_the_weights_and_from_what_they_build_on(cases: CaseSet, tmp_path: Path) -> None:
    sequence = cases.cases[0].read().structure.sequence("A")
    sketch, other = training_sketch({"seen": sequence}), training_sketch(random_sequences(3, 1))

    def asked(header: dict[str, Any]) -> Seen:
        path = tmp_path / "own.safetensors"
        save_file({}, path, metadata={"s2p": json.dumps(header)})
        return guard_cases(cases, "", [str(path)], allow=True)[1][str(path)]

    assert asked({"card": {CARD_KEY: sketch}}) == Seen(("4CUP",))
    assert asked({"card": {CARD_KEY: other, "smoother_of": "x", "smoother": {CARD_KEY: sketch}}}) == Seen(("4CUP",))
    old = asked({"card": {CARD_KEY: other, "smoother_of": "x", "smoother": {"width": 1}}})
    assert str(old) == "unknown, its card has no full record of the chains of its smoother"
    assert asked({"card": {CARD_KEY: other}, "adapter": {"base": "esm2_t6_8M_UR50D"}}) == Seen()
    # Of very many chains there is one word each, or none, which tells no relatives.
    assert asked({"card": {CARD_KEY: other | {"words_per_chain": 1}}}).unknown
    # An adapter has seen what its base was trained on.
    learned = {"card": {CARD_KEY: other}, "adapter": {"base": "s2p-esm2-8m"}}
    path = tmp_path / "adapter.safetensors"
    save_file({}, path, metadata={"s2p": json.dumps(learned)})
    sketches, missing = guard._records(str(path))
    assert [x["chains"] for x in sketches] == [3, guard._card("s2p-esm2-8m")[CARD_KEY]["chains"]] and not missing


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_model_that_predicts_says_what_it_was_trained_on(path: Path) -> None:
    card = json.loads(path.read_text(encoding="utf-8"))
    if card["format"] in METHODS:
        assert guard._records(path.stem)[0] and not guard._records(path.stem)[1]


@pytest.mark.skipif(not SEQUENCES.is_dir(), reason="the archive of labelled sequences is not unpacked here")
def test_real_chains_backwards_are_not_taken_for_seen() -> None:
    training = {str(k): c.sequence for k, c in enumerate(read_chains(SEQUENCES / "chen11.txt"))}
    test = {c.id: c.sequence[::-1] for c in read_chains(SEQUENCES / "coach420.txt")[:60]}
    assert len(trained_on(training_sketch(training), test)) <= 1
