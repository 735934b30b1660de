"""Which cases of a benchmark our checkpoint may have been trained on: asked before anything is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2p.errors import S2PError
from s2p.evaluation.cases import CaseSet
from s2p.evaluation.guard import CARD_KEY, refuse_trained
from s2p.io.weights import SHIPPED
from s2p.models import POCKET_FINDERS

__all__ = ["guard_cases"]

SHORTEST = 30
"""Residues of the shortest chain that is checked: shorter ones were not trained on."""


def guard_cases(
    cases: CaseSet, model: str | Path, predictors: Sequence[str], *, allow: bool = False, skip: bool = False
) -> tuple[CaseSet, list[str]]:
    """Refuse, leave out or report cases that resemble chains the checkpoint was trained on.

    Parameters
    ----------
    model
        Checkpoint of Seq2Pocket, by name or path; what it was trained on is in its card.
    predictors
        Only ours are asked (``s2p…``, and :data:`s2p.models.POCKET_FINDERS`, whose cards are shipped): of other people's
        training sets nothing is known here.
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
    # A class of your own, or a baseline of ours, that is named by its place in a package does not use the checkpoint.
    asked = [model] if any(name.startswith("s2p") and ":" not in name for name in predictors) else []
    held_out = cases.name == "mini" or (cases.split == "test" and all(case.kind == "files" for case in cases.cases))
    cards = [_card(name) for name in (*asked, *(name for name in predictors if name in POCKET_FINDERS))]
    cards = [card for card in cards if CARD_KEY in card or not held_out]
    if not cards:
        return cases, []
    sequences: dict[str, str] = {}
    for case in cases.cases:
        try:
            structure = case.read().structure
        except S2PError:  # the run says so, and goes on
            continue
        own = {f"{case.id}|{chain}": structure.sequence(chain) for chain in structure.chains}
        sequences |= {key: sequence for key, sequence in own.items() if len(sequence) >= SHORTEST}
    hits: set[str] = set()
    for card in cards:
        # What a card cannot tell cannot be left out.
        found = refuse_trained(card, sequences, allow=(skip and CARD_KEY in card) or (allow and not skip))
        hits |= {hit.id.rsplit("|", 1)[0] for hit in found}
    trained = [case.id for case in cases.cases if case.id in hits]
    if not skip:
        return cases, trained
    kept = tuple(case for case in cases.cases if case.id not in trained)
    if not kept:
        raise S2PError(f"{cases.name}: the checkpoint was trained on relatives of every protein in it")
    return replace(cases, cases=kept), []


def _card(model: str | Path) -> dict[str, Any]:
    """The JSON beside a checkpoint; empty where there is none."""
    shipped = SHIPPED / f"{model}.json"
    path = shipped if shipped.is_file() else Path(model).with_suffix(".json")
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
