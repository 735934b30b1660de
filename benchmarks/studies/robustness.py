"""How well pockets are found in structures other than the one with the ligand: moved side chains, forms without the ligand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes.points import PointTrainConfig, perturbed
from benchmarks.studies.apo import ApoPair, RobustnessConfig
from benchmarks.studies.rows import Outcome, StudyRow, outcome_row
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, Truth
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.io.runtime import progress_bar
from s2p.prediction import Prediction, Predictor
from s2p.structure.reading import Structure

__all__ = ["Form", "facing_perturbed", "form_rows", "pair_forms", "perturbed_forms"]


@dataclass(frozen=True, eq=False)
class Form:
    """One form of a protein, and where its ligands are or would be."""

    name: str
    cluster: str
    structure: Structure
    ligands: tuple[NDArray[np.float32], ...]
    """(L, 3) Å heavy atoms of each."""


def facing_perturbed(truth: Truth, draw: np.random.Generator, config: RobustnessConfig | None = None) -> Structure:
    """The structure with the side chains of binding residues moved, and some of their atoms that touch a ligand gone."""
    config = config or RobustnessConfig()
    noise = PointTrainConfig(side_chain_noise=config.side_chain_noise, drop_facing=config.drop_facing)
    return perturbed(truth.structure, truth.ligands, noise, draw, truth.labels)


def perturbed_forms(cases: Sequence[Case], config: RobustnessConfig | None = None) -> dict[str, list[Form]]:
    """The crystal structures, and the same perturbed (:func:`facing_perturbed`)."""
    config = config or RobustnessConfig()
    draw = np.random.default_rng(config.seed)
    forms: dict[str, list[Form]] = {"as crystallised": [], "side chains at the ligand perturbed": []}
    for case in cases:
        truth = case.read()
        for name, structure in zip(forms, (truth.structure, facing_perturbed(truth, draw, config)), strict=True):
            forms[name].append(Form(case.id, case.cluster, structure, truth.ligands))
    return forms


def pair_forms(pairs: Sequence[ApoPair]) -> dict[str, list[Form]]:
    """The chains with their ligands, and the same chains of the other structures; one form a pair."""
    return {
        "with its ligand": [Form(p.holo.key, p.holo.cluster, p.holo.structure, p.holo.ligands) for p in pairs],
        "other structure": [Form(p.holo.key, p.holo.cluster, p.apo, tuple(x.coord for x in p.placed)) for p in pairs],
    }


def form_rows(
    study: str,
    forms: Mapping[str, Sequence[Form]],
    predictors: Sequence[Predictor],
    *,
    config: BenchmarkConfig | None = None,
    quiet: bool = False,
) -> Iterator[StudyRow]:
    """Every predictor on every form; differences are from its own row of the first form, whose sites are the same ones."""
    for predictor in predictors:
        first: StudyRow | None = None
        for label, items in forms.items():
            results = [
                evaluate_complex(_predicted(predictor, form.structure), form.ligands, name=form.name, cluster=form.cluster)
                for form in progress_bar(items, f"{predictor.name}, {label}", quiet)
            ]
            row = outcome_row(Outcome(study, f"{predictor.name}, {label}", results), first, config)
            first = first or row
            yield row


def _predicted(predictor: Predictor, structure: Structure) -> Prediction:
    """What a predictor says, or no pockets where it fails: it misses the sites then."""
    try:
        return predictor.predict(structure)
    except S2PError:
        none = np.zeros(len(structure.residues), bool)
        return Prediction(structure, none.astype(np.float32), none, none, (), predictor.name)
