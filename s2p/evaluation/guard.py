"""A guard against testing on what was trained on: what a checkpoint keeps of its training chains, and the check against it.

The sketch of a chain is the hash of its sequence and a few of its most telling words (15 residues, four a chain), kept letter by
letter. A chain to be tested is *exact* if its hash is in the sketch. It is *near* if the words of a training chain score better
along it (BLOSUM62, no gaps) than chance allows, even without the one that fits best: a shared tag or motif is no sign. What
chance allows is measured for each tested chain by words written backwards, so its composition is allowed for. This finds
the same protein and its relatives; distant ones, towards 30 % identity, are mostly missed, and so are chains of fewer than two
words. An empty answer is therefore no proof: where the training sequences are at hand, search them
(:func:`s2p.datasets.splits.homologous`).

Measured with 4,101 sc-PDB chains (240 kB) and 300 of COACH420 and CHEN11, by their best identity according to mmseqs2: found are
142 of 142 above 70 %, 14 of 17 at 50–70 %, 15 of 20 at 40–50 %, 4 of 23 at 30–40 %; wrongly, 2 of 77 without a homologue and 5 of
the 300 written backwards.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from s2p.datasets.homology import blosum62, encode
from s2p.errors import S2PError
from s2p.evaluation.cases import CaseSet
from s2p.evaluation.config import OURS
from s2p.evaluation.word_fits import chance, decoy_words, fits, word_index
from s2p.io.runtime import progress_bar
from s2p.io.weights import SHIPPED, weights_path

__all__ = ["CARD_KEY", "TrainedOn", "guard_cases", "knows_training", "trained_on", "training_sketch"]

CARD_KEY = "training_sketch"
"""Where a checkpoint's card holds its sketch."""

FORMAT = "s2p-training-1"
WORD_LENGTH = 15
"""Residues of a stored word; ours, as all that follows."""
MAX_WORDS = 4
"""Words of a chain."""
MAX_BYTES = 300_000
"""Size of the whole sketch as text; with very many chains fewer words are kept."""
E_VALUE = 1e-3
"""A chain counts as seen when its words would score as well by chance at most this often."""
_HASH_BYTES = 6
_MIN_DISTINCT = 9
"""Distinct letters in a word: tags of histidines and linkers are in unrelated chains."""
_SHOWN = 5
_SHORTEST = 30
"""Residues of the shortest chain of a case that is checked: shorter ones were not trained on."""
_ENDS = 20
"""Residues at either end of a chain that give no words, if enough others are left: tags stand there."""


@dataclass(frozen=True)
class TrainedOn:
    """A sequence that a checkpoint has seen, and the training chain that says so."""

    id: str
    kind: Literal["exact", "near"]
    training_id: str
    identity: float
    """Identical residues in the words of the training chain, where they fit best; 1 for an exact match."""
    e_value: float
    """How often chance would fit the words of any training chain as well; 0 for an exact match."""

    def __str__(self) -> str:
        if self.kind == "exact":
            return f"{self.id} (the same sequence as training chain {self.training_id})"
        return f"{self.id} (resembles training chain {self.training_id}, {self.identity:.0%} of its stored words)"


def training_sketch(sequences: Mapping[str, str]) -> dict[str, Any]:
    """What to store in a checkpoint's card, under :data:`CARD_KEY`, about its training chains, by id.

    JSON-able and deterministic; ``data`` is text of at most :data:`MAX_BYTES`, and :class:`S2PError` says if not even the hashes
    of so many chains fit.
    """
    hashes = b"".join(map(_hash, sequences.values()))
    for n_words in range(MAX_WORDS, -1, -1):
        words = [" ".join(_telling_words(sequence, n_words, WORD_LENGTH)) for sequence in sequences.values()]
        inner = {"ids": list(sequences), "words": words}
        packed = zlib.compress(json.dumps(inner, separators=(",", ":"), ensure_ascii=False).encode(), 9)
        data = base64.b85encode(len(hashes).to_bytes(4, "big") + hashes + packed).decode("ascii")
        if len(data) <= MAX_BYTES:
            counts = {"chains": len(sequences), "words_per_chain": n_words, "word_length": WORD_LENGTH}
            return {"format": FORMAT, **counts, "data": data}
    raise S2PError(f"{len(sequences)} training chains do not fit into a sketch of {MAX_BYTES} bytes; allow more")


def trained_on(card_or_sketch: Mapping[str, Any], sequences: Mapping[str, str]) -> list[TrainedOn]:
    """Which sequences a checkpoint has seen in training, as far as its card can tell.

    Parameters
    ----------
    card_or_sketch
        A checkpoint's card, or what :func:`training_sketch` returned.
    sequences
        To be evaluated, by id.

    Returns
    -------
    list of TrainedOn
        At most one a sequence, the best reason; in the order of the sequences.

    Raises
    ------
    S2PError
        If the card has no sketch, or a damaged one: then nothing is known about its training chains.
    """
    ids, hashes, words = _unpack(card_or_sketch)
    known = {hashes[k * _HASH_BYTES : (k + 1) * _HASH_BYTES]: ids[k] for k in range(len(ids))}
    index, decoys = word_index(words), word_index(decoy_words(words))
    found = []
    for name, sequence in progress_bar(sequences.items(), "against training chains"):
        same = known.get(_hash(sequence))
        if same is not None:
            found.append(TrainedOn(name, "exact", same, 1.0, 0.0))
            continue
        query = encode(sequence)
        value, identity = fits(query, index)
        if not value.any():
            continue
        best = int(np.argmax(value))
        e_value = len(ids) * chance(float(value[best]), fits(query, decoys)[0])
        if e_value <= E_VALUE:
            found.append(TrainedOn(name, "near", ids[best], float(identity[best]), e_value))
    return found


def _hash(sequence: str) -> bytes:
    return hashlib.sha256(sequence.upper().encode()).digest()[:_HASH_BYTES]


def _telling_words(sequence: str, n: int, length: int) -> list[str]:
    """Up to ``n`` words that do not overlap, those whose residues are rarest and best conserved (BLOSUM62 with themselves)."""
    codes = encode(sequence)
    if n == 0 or not len(codes):
        return []
    length = min(length, len(codes))
    value = np.convolve(np.diag(blosum62())[codes].astype(np.int64), np.ones(length, np.int64), mode="valid")
    if len(codes) >= 5 * _ENDS:
        value[:_ENDS] = value[len(codes) - _ENDS - length + 1 :] = -1
    chosen: list[int] = []
    for start in np.argsort(-value, kind="stable").tolist():
        if len(chosen) == n:
            break
        far = all(abs(start - other) >= length for other in chosen)
        if value[start] >= 0 and far and len(set(sequence[start : start + length])) >= min(_MIN_DISTINCT, length):
            chosen.append(start)
    return [sequence[start : start + length].upper() for start in sorted(chosen)]


def _sketch(card_or_sketch: Mapping[str, Any]) -> Mapping[str, Any] | None:
    sketch = card_or_sketch.get(CARD_KEY, card_or_sketch)
    return sketch if isinstance(sketch, Mapping) and sketch.get("format") == FORMAT else None


def _unpack(card_or_sketch: Mapping[str, Any]) -> tuple[list[str], bytes, list[list[str]]]:
    sketch = _sketch(card_or_sketch)
    if sketch is None:
        raise S2PError(
            "the checkpoint's card has no record of its training chains, so it cannot be told whether these were among them; "
            "evaluate on chains that you know are new, and say so (--allow-trained)"
        )
    try:
        raw = base64.b85decode(sketch["data"])
        end = 4 + int.from_bytes(raw[:4], "big")
        inner = json.loads(zlib.decompress(raw[end:]))
        ids = [str(name) for name in inner["ids"]]
        words = [str(text).split() for text in inner["words"]]
        if not len(ids) == len(words) == sketch["chains"] == (end - 4) // _HASH_BYTES:
            raise ValueError
    except (ValueError, KeyError, TypeError, zlib.error):
        raise S2PError("the record of training chains in the checkpoint's card is damaged; take the card anew") from None
    return ids, raw[4:end], words


def knows_training(model: str | Path) -> bool:
    """Whether it can be told what a checkpoint was trained on: it is one of ours, or its card has a sketch."""
    return weights_path(model).parent == SHIPPED or CARD_KEY in _card(model)


def guard_cases(
    cases: CaseSet, model: str | Path, predictors: Iterable[str], *, allow: bool = False, skip: bool = False
) -> tuple[CaseSet, list[str]]:
    """Refuse, leave out or report cases that resemble chains a checkpoint was trained on; to be asked before anything is run.

    Parameters
    ----------
    model
        Checkpoint of the predictors in :data:`s2p.evaluation.config.OURS`, by name or path.
    predictors
        As for :func:`s2p.evaluation.runner.run_benchmark`. The cards of checkpoints are asked; of the training of a
        ``package.module:Class`` nothing is known here.
    allow
        Keep them all, and say which.
    skip
        Leave them out.

    Returns
    -------
    The cases to run, and the ids of those among them that are allowed though trained on.

    Raises
    ------
    S2PError
        If there are such cases and neither flag is given, or if a card does not say what was trained on. The bundled
        complexes and the test split of complexes are held out by construction, and do not need the card.
    """
    asked = dict.fromkeys(str(model if name in OURS else name) for name in predictors if ":" not in name)
    held_out = cases.name == "mini" or (cases.split == "test" and all(case.kind == "files" for case in cases.cases))
    cards = [card for card in map(_card, asked) if CARD_KEY in card or not held_out]
    if not cards:
        return cases, []
    sequences: dict[str, str] = {}
    for case in cases.cases:
        try:
            structure = case.read().structure
        except S2PError:  # the run says so, and goes on
            continue
        own = {f"{case.id}|{chain}": structure.sequence(chain) for chain in structure.chains}
        sequences |= {key: sequence for key, sequence in own.items() if len(sequence) >= _SHORTEST}
    found: set[str] = set()
    for card in cards:
        # What a card cannot tell can be allowed, but not left out.
        hits = [] if allow and _sketch(card) is None else trained_on(card, sequences)
        if hits and not (allow or skip):
            more = f" and {len(hits) - _SHOWN} more" if len(hits) > _SHOWN else ""
            raise S2PError(
                f"the checkpoint was trained on {len(hits)} of the chains to be evaluated, so the figures would flatter it: "
                f"{'; '.join(map(str, hits[:_SHOWN]))}{more}; leave them out, or say that you want them (--allow-trained)"
            )
        found |= {hit.id.rsplit("|", 1)[0] for hit in hits}
    trained = [case.id for case in cases.cases if case.id in found]
    if not skip:
        return cases, trained
    kept = tuple(case for case in cases.cases if case.id not in trained)
    if not kept:
        raise S2PError(f"{cases.name}: the checkpoint was trained on relatives of every protein in it")
    return replace(cases, cases=kept), []


def _card(model: str | Path) -> dict[str, Any]:
    """The JSON beside a checkpoint; empty where there is none."""
    path = weights_path(model).with_suffix(".json")
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
