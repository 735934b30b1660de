"""A guard against testing on training data: the sketch of training chains in a checkpoint's card, and the check against it.

The sketch of a chain is the hash of its sequence and a few of its most characteristic words (15 residues, four per chain), stored
as letters. A tested chain is *exact* if its hash is in the sketch. It is *near* if the words of a training chain score better
along it (BLOSUM62, no gaps) than expected by chance, even without the best word, because a shared tag or motif is no evidence.
The score expected by chance is measured for each tested chain with reversed words, which accounts for its composition. This finds
the same protein and its relatives; distant ones, towards 30 % identity, are mostly missed, and so are chains of fewer than two
words. An empty result is therefore no proof: if the training sequences are available, search them
(:func:`s2p.datasets.splits.homologous`).

Measured with 4,101 sc-PDB chains (240 kB) and 300 chains of COACH420 and CHEN11, by their best identity in mmseqs2: it finds 142
of 142 above 70 %, 14 of 17 at 50–70 %, 15 of 20 at 40–50 %, 4 of 23 at 30–40 %. False positives are 2 of 77 without a homologue
and 5 of the 300 reversed chains.
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
from safetensors import SafetensorError, safe_open

from s2p.datasets.homology import blosum62, encode
from s2p.errors import S2PError
from s2p.evaluation.cases import CaseSet
from s2p.evaluation.config import OURS
from s2p.evaluation.word_fits import chance, decoy_words, fits, word_index
from s2p.io.runtime import progress_bar
from s2p.io.weights import SHIPPED, SURFACE, TOGETHER, weights_path
from s2p.prediction import names_class

__all__ = ["CARD_KEY", "Seen", "TrainedOn", "guard_cases", "trained_on", "training_sketch"]

CARD_KEY = "training_sketch"
"""Key of the sketch in a checkpoint's card."""

FORMAT = "s2p-training-1"
WORD_LENGTH = 15
"""Residues in a stored word; this value and those below are our choice."""
MAX_WORDS = 4
"""Words per chain."""
MAX_BYTES = 3_000_000
"""Largest size of the sketch as text, about 60 bytes per chain; with more than 50,000 chains fewer words are stored."""
E_VALUE = 1e-3
"""A chain counts as seen if its words would score as well by chance at most this often."""
_UNKNOWN = (
    "it is not known whether {} was trained on the chains to be evaluated, because {}; if you know that these "
    "chains are new, allow them (--allow-trained)"
)
_HASH_BYTES = 6
_MIN_DISTINCT = 9
"""Least number of distinct letters in a word: histidine tags and linkers occur in unrelated chains."""
_SHOWN = 5
_SHORTEST = 30
"""Residues of the shortest chain that is checked: shorter chains were not trained on."""
_ENDS = 20
"""Residues at either end of a chain without words, if enough others are left: tags are there."""


@dataclass(frozen=True)
class TrainedOn:
    """A sequence that a checkpoint has seen, and the training chain to which it is similar."""

    id: str
    kind: Literal["exact", "near"]
    training_id: str
    identity: float
    """Share of identical residues in the words of the training chain at their best positions; 1 for an exact match."""
    e_value: float
    """How often the words of any training chain would fit as well by chance; 0 for an exact match."""

    def __str__(self) -> str:
        if self.kind == "exact":
            return f"{self.id} (the same sequence as training chain {self.training_id})"
        return f"{self.id} (resembles training chain {self.training_id}, {self.identity:.0%} of its stored words)"


@dataclass(frozen=True)
class Seen:
    """What is known about the training of a predictor."""

    trained_on: tuple[str, ...] = ()
    """Ids of the cases on which, or on relatives of which, it was trained."""
    unknown: str = ""
    """Why its training is not completely known; empty if it is."""

    def __str__(self) -> str:
        if self.trained_on:
            return f"trained on relatives of {len(self.trained_on)} of these proteins"
        return f"unknown, {self.unknown}" if self.unknown else "no relative found among the training chains"


def training_sketch(sequences: Mapping[str, str]) -> dict[str, Any]:
    """Sketch of training chains, by id, to be stored in a checkpoint's card under :data:`CARD_KEY`.

    It can be written as JSON and is deterministic; ``data`` is text of at most :data:`MAX_BYTES`. :class:`S2PError` if not even
    the hashes of so many chains fit.
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
    """Which sequences a checkpoint has seen in training, according to the sketch in its card.

    Parameters
    ----------
    card_or_sketch
        A checkpoint's card, or what :func:`training_sketch` returned.
    sequences
        To be evaluated, by id.

    Returns
    -------
    list of TrainedOn
        At most one per sequence, for the most similar training chain; in the order of the sequences.

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


def _unpack(card_or_sketch: Mapping[str, Any]) -> tuple[list[str], bytes, list[list[str]]]:
    sketch = card_or_sketch.get(CARD_KEY, card_or_sketch)
    if not isinstance(sketch, Mapping) or sketch.get("format") != FORMAT:
        raise S2PError(_UNKNOWN.format("the checkpoint", "its card has no record of training chains"))
    try:
        raw = base64.b85decode(sketch["data"])
        end = 4 + int.from_bytes(raw[:4], "big")
        inner = json.loads(zlib.decompress(raw[end:]))
        ids = [str(name) for name in inner["ids"]]
        words = [str(text).split() for text in inner["words"]]
        if not len(ids) == len(words) == sketch["chains"] == (end - 4) // _HASH_BYTES:
            raise ValueError
    except (ValueError, KeyError, TypeError, zlib.error):
        raise S2PError("the record of training chains in the checkpoint's card is damaged; download it again") from None
    return ids, raw[4:end], words


def guard_cases(
    cases: CaseSet, model: str | Path, predictors: Iterable[str], *, allow: bool = False, skip: bool = False
) -> tuple[CaseSet, dict[str, Seen]]:
    """Refuse, leave out or report cases that are similar to training chains of a checkpoint; call it before a run.

    Parameters
    ----------
    model
        Checkpoint of the predictors in :data:`s2p.evaluation.config.OURS`, by name or path.
    predictors
        As for :func:`s2p.evaluation.runner.run_benchmark`. For every checkpoint, ours or a user's, this checks its own training
        chains, those of a smoother that was trained later, and those of the checkpoint that an adapter belongs to. The training
        of a ``package.module:Class`` is not known here.
    allow
        Keep them all, and say which.
    skip
        Leave them out.

    Returns
    -------
    The cases to run, and what is known about each predictor's training.

    Raises
    ------
    S2PError
        If there are such cases and neither flag is set, or if a checkpoint has no record of its training and ``allow`` is not
        set: without a record, no case can be left out.
    """
    sources = {name: str(model if name in OURS else name) for name in predictors}
    records = {source: _records(source) for source in sources.values()}
    for name, source in sources.items():
        if not (allow or names_class(source)) and (missing := records[source][1]):
            raise S2PError(_UNKNOWN.format(name, missing))
    sequences = _sequences(cases) if any(sketches for sketches, _ in records.values()) else {}
    seen: dict[str, Seen] = {}
    for name, source in sources.items():
        sketches, missing = records[source]
        hits = [hit for sketch in sketches for hit in trained_on(sketch, sequences)]
        if hits and not (allow or skip):
            more = f" and {len(hits) - _SHOWN} more" if len(hits) > _SHOWN else ""
            raise S2PError(
                f"{name} was trained on {len(hits)} of the chains to be evaluated, so its metrics would be too good: "
                f"{'; '.join(map(str, hits[:_SHOWN]))}{more}; leave them out (--skip-trained), or allow them "
                "(--allow-trained)"
            )
        found = {hit.id.rsplit("|", 1)[0] for hit in hits}
        seen[name] = Seen(tuple(case.id for case in cases.cases if case.id in found), missing)
    if not skip:
        return cases, seen
    left_out = {key for known in seen.values() for key in known.trained_on}
    kept = tuple(case for case in cases.cases if case.id not in left_out)
    if not kept:
        raise S2PError(f"{cases.name}: the checkpoint was trained on relatives of every protein in it")
    return replace(cases, cases=kept), {name: Seen((), known.unknown) for name, known in seen.items()}


def _sequences(cases: CaseSet) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in cases.cases:
        try:
            structure = case.read().structure
        except S2PError:  # the run reports it and continues
            continue
        own = {f"{case.id}|{chain}": structure.sequence(chain) for chain in structure.chains}
        found |= {key: sequence for key, sequence in own.items() if len(sequence) >= _SHORTEST}
    return found


def _records(source: str) -> tuple[list[Mapping[str, Any]], str]:
    """The sketches of all training data of a predictor, and a description of what is missing."""
    if names_class(source):
        return [], "the training data of a class are not known"
    if source in TOGETHER:
        found = [_records(part) for part in TOGETHER[source]]
        return [sketch for sketches, _ in found for sketch in sketches], next((why for _, why in found if why), "")
    card = _card(source)
    parts = {"training chains": card}
    if "smoother_of" in card:  # its smoother was trained later, on other chains
        parts["the chains of its smoother"] = card.get("smoother") or {}
    if card.get("ranking") == "surface" and SURFACE.is_file():  # which was trained on other complexes
        parts["the chains of the surface network"] = _card(SURFACE)
    # Relatives are recognised by two words or more.
    missing = [name for name, part in parts.items() if part.get(CARD_KEY, {}).get("words_per_chain", 0) < 2]
    base = (card.get("adapter") or {}).get("base", "")
    if base and weights_path(base).parent == SHIPPED:
        parts["base"] = _card(base)  # nothing, if it is only a language model
    return (
        [part[CARD_KEY] for part in parts.values() if CARD_KEY in part],
        f"its card has no full record of {' or '.join(missing)}" if missing else "",
    )


def _card(model: str | Path) -> dict[str, Any]:
    """Header and card of a checkpoint, from the file itself or else from the JSON file next to it; empty without both."""
    path = weights_path(model)
    try:
        if not path.is_file():
            return dict(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        with safe_open(path, framework="np") as handle:
            header: dict[str, Any] = json.loads((handle.metadata() or {}).get("s2p", "{}"))
        return {**header, **header.get("card", {})}
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError):  # reported when it is loaded
        return {}
