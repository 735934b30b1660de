"""Studies of the scored surface: features, classifiers, ways of making pockets, training copies, single chains, learning curve.

Each variant is trained on training clusters and judged on validation clusters, never on test clusters. Nothing is trained but the
point scorer; what the language model says of training proteins comes from a file (:mod:`benchmarks.recipes.unseen`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.recipes.point_training import Builder, Grouping, Scores, build_perceptrons, fit_points
from benchmarks.recipes.points import PointExample, PointSet, PointTrainConfig, PreparedPoints, point_set, prepare_points
from benchmarks.recipes.unseen import UnseenScores, check_unseen
from benchmarks.studies.apo import RobustnessConfig
from benchmarks.studies.point_alternatives import PointStudyConfig, linked, shifted, tree_builders
from benchmarks.studies.robustness import facing_perturbed
from benchmarks.studies.rows import Outcome, StudyRow, outcome_row
from s2p.config import LabelConfig, PredictConfig
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, Truth
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.rows import ComplexResult
from s2p.io.runtime import progress_bar
from s2p.pockets.ranking import PocketModel, PointPocketConfig, ranked
from s2p.pockets.scored import peaks, pockets_of_points
from s2p.prediction import Prediction, sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.surface.surroundings import Surroundings

__all__ = ["STUDIES", "PointStudy", "average_precisions", "study_rows"]

Variants = Iterator[tuple[str, Callable[[], Outcome]]]
"""Names of the variants of a study, and what makes the outcome of each."""
SHIPPED = "peaks (shipped)"
PERTURBED_NAMES = {False: "as crystallised", True: "perturbed"}


def average_precisions(prepared: Sequence[PreparedPoints], scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(proteins,) over the points that are near a ligand or far from all; NaN for a protein without either."""
    from sklearn.metrics import average_precision_score

    found = []
    for item, score in zip(prepared, scores, strict=True):
        kept = item.labels >= 0
        truth = item.labels[kept] == 1
        one_sided = not truth.any() or truth.all()
        found.append(np.nan if one_sided else float(average_precision_score(truth, score[kept])))
    return np.array(found, np.float64)


@dataclass(frozen=True, eq=False)
class _Held:
    """A validation protein, and all of its prediction that does not depend on the point scorer."""

    case: Case
    truth: Truth
    scores: ResidueScores
    base: Prediction

    @property
    def sequence(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return sigmoid(self.scores.sequence_logits).astype(np.float32), self.scores.embeddings

    @property
    def example(self) -> PointExample:
        none = np.zeros(len(self.truth.structure.residues), bool)
        return PointExample(self.case.id, self.case.cluster, self.truth.structure, self.truth.ligands, none)


class PointStudy:
    """The data of all studies; what one of them needs is made when it is needed.

    Parameters
    ----------
    predictor
        The checkpoint whose language model, smoother and thresholds every variant shares, so that only the scorer differs.
    training
        Cases of training clusters; those that ``unseen`` holds are used, in its order.
    validation
        Cases of validation clusters.
    unseen
        See :func:`benchmarks.recipes.unseen.read_unseen`.
    train_config
        What every variant starts from; by default the shipped settings with fewer points and networks.

    Raises
    ------
    S2PError
        If ``unseen`` holds proteins that are no training cases or differ from them.
    """

    def __init__(
        self,
        predictor: Seq2Pocket,
        training: Sequence[Case],
        validation: Sequence[Case],
        unseen: Mapping[str, UnseenScores],
        *,
        config: PointStudyConfig | None = None,
        train_config: PointTrainConfig | None = None,
        quiet: bool = False,
    ) -> None:
        self.predictor, self.quiet = predictor, quiet
        study = self.config = config or PointStudyConfig()
        smaller = PointTrainConfig(positives=study.positives, negatives=study.negatives, members=study.members)
        self.train_config = train_config or smaller
        self._training, self._validation, self._unseen = {case.id: case for case in training}, validation, unseen
        strangers = sorted(set(unseen) - set(self._training))
        if strangers:
            raise S2PError(f"{strangers[0]}: scores are given for it, but it is in no training cluster of this split")

    @cached_property
    def examples(self) -> list[PointExample]:
        """Of the training clusters."""
        found = []
        for key in progress_bar(list(self._unseen), "training proteins", self.quiet):
            case = self._training[key]
            truth = case.read()
            check_unseen(self._unseen, [(key, truth.structure)])
            found.append(PointExample(key, case.cluster, truth.structure, truth.ligands, self._unseen[key].known))
        return found

    @cached_property
    def held(self) -> list[_Held]:
        """Validation proteins, the language model having read them."""
        cases = progress_bar(self._validation, "validation proteins", self.quiet)
        return [self._hold(case, case.read()) for case in cases]

    @cached_property
    def perturbed(self) -> list[_Held]:
        """The same with the side chains around the ligands moved, and some of their atoms gone."""
        draw = np.random.default_rng(RobustnessConfig.seed)
        held = progress_bar(self.held, "perturbed proteins", self.quiet)
        return [self._hold(h.case, replace(h.truth, structure=facing_perturbed(h.truth, draw))) for h in held]

    def _hold(self, case: Case, truth: Truth) -> _Held:
        scores = self.predictor.score(truth.structure)
        base = self.predictor.pockets(truth.structure, scores, PredictConfig(ranking="surface"))
        return _Held(case, truth, scores, base)

    def points(self, training: PointTrainConfig, examples: Sequence[PointExample] | None = None) -> PointSet:
        """A training set, of all training proteins unless told otherwise."""
        examples = self.examples if examples is None else examples
        scores = {e.key: (self._unseen[e.key].probability, self._unseen[e.key].embeddings) for e in examples}
        return point_set(examples, scores, training=training, quiet=self.quiet)

    @cached_property
    def full(self) -> PointSet:
        """All training proteins, with features of all families: variants read those they want."""
        return self.points(replace(self.train_config, n_components=self.config.n_components))

    def validation_points(self, data: PointSet, held: Sequence[_Held] | None = None) -> list[PreparedPoints]:
        """The validation proteins with the features of ``data``."""
        found = progress_bar(self.held if held is None else held, "validation points", self.quiet)
        return [
            prepare_points(h.example, h.truth.structure, data.encoder, h.sequence, data.points, self.train_config) for h in found
        ]

    @cached_property
    def full_validation(self) -> list[PreparedPoints]:
        """With the features of :attr:`full`."""
        return self.validation_points(self.full)

    def judge(
        self,
        prepared: Sequence[PreparedPoints],
        scorer: Scores,
        model: PocketModel,
        group: Grouping = peaks,
        held: Sequence[_Held] | None = None,
    ) -> tuple[list[ComplexResult], NDArray[np.float64]]:
        """Pockets of the validation proteins against their ligands, and the average precision over points of each."""
        scores = [scorer.scores(item.features) for item in prepared]
        config, results = PointPocketConfig(), []
        for h, item, score in zip(self.held if held is None else held, prepared, scores, strict=True):
            found = group(item.cloud.coord, score, config)
            whole = Surroundings(h.truth.structure)
            pockets = pockets_of_points(found, whole, item.cloud, score, h.sequence[0], h.base.positive, model, config)
            prediction = replace(h.base, pockets=ranked(h.truth.structure, pockets))
            results.append(evaluate_complex(prediction, h.truth.ligands, name=h.case.id, cluster=h.case.cluster))
        return results, average_precisions(prepared, scores)

    @cached_property
    def _groupings(self) -> dict[str, Grouping]:
        study = self.config
        chosen: dict[str, Grouping] = {SHIPPED: peaks}
        for t in study.group_thresholds:
            chosen[f"mean shift {study.group_bandwidth:g} Å, scores above {t:g}"] = shifted(t, study.group_bandwidth)
            chosen[f"single linkage {study.group_linkage:g} Å, scores above {t:g}"] = linked(t, study.group_linkage)
        return chosen

    @cached_property
    def shipped(self) -> tuple[Scores, dict[str, PocketModel]]:
        """The scorer with the shipped settings, which several studies start from, and its calibration for each grouping."""
        chosen = self._groupings
        found: tuple[Scores, list[PocketModel]] = fit_points(
            self.full, build_perceptrons, training=self.train_config, groupings=list(chosen.values()), quiet=self.quiet
        )
        return found[0], dict(zip(chosen, found[1], strict=True))

    def _from_shipped(self, study: str, variant: str, grouping: str = SHIPPED) -> Outcome:
        scorer, models = self.shipped
        judged = self.judge(self.full_validation, scorer, models[grouping], self._groupings[grouping])
        return Outcome(study, variant, *judged)

    def _fitted(self, study: str, variant: str, builder: Builder[Scores], training: PointTrainConfig) -> Outcome:
        """Fitted on :attr:`full`."""
        scorer, (model,) = fit_points(self.full, builder, training=training, quiet=self.quiet)
        return Outcome(study, variant, *self.judge(self.full_validation, scorer, model))

    def features(self) -> Variants:
        """Families of features left out, and embeddings added."""
        families = self.train_config.families
        yield "all (shipped)", partial(self._from_shipped, "features", "all (shipped)")
        chosen = {f"no {name}": tuple(f for f in families if f != name) for name in families}
        chosen["with embeddings"] = (*families, "embedding")
        for name, kept in chosen.items():
            training = replace(self.train_config, families=kept)
            yield name, partial(self._fitted, "features", name, build_perceptrons, training)

    def classifiers(self) -> Variants:
        """A perceptron and trees on the same points, drawn evenly."""
        builders: dict[str, Builder[Scores]] = {"perceptron": build_perceptrons, **tree_builders(self.config)}
        training = replace(self.train_config, hard_negatives=False)
        for name, builder in builders.items():
            yield name, partial(self._fitted, "classifiers", name, builder, training)

    def groupings(self) -> Variants:
        """Peaks, mean shift and single linkage on the scores of one scorer, each with its own calibrated ranking."""
        for name in self._groupings:
            yield name, partial(self._from_shipped, "groupings", name, name)

    def augmentation(self) -> Variants:
        """Training with a perturbed copy of every protein, judged on the crystal's and on perturbed side chains."""
        fitted: dict[int, tuple[PointSet, Scores, PocketModel]] = {}

        def run(name: str, copies: int, moved: bool) -> Outcome:
            if copies == 0:
                scorer, models = self.shipped
                fitted[copies] = self.full, scorer, models[SHIPPED]
            elif copies not in fitted:
                training = replace(self.train_config, perturbed_copies=copies)
                data = self.points(training)
                fresh, (model,) = fit_points(data, build_perceptrons, training=training, quiet=self.quiet)
                fitted[copies] = data, fresh, model
            own, learned, chance = fitted[copies]
            held = self.perturbed if moved else self.held
            return Outcome("augmentation", name, *self.judge(self.validation_points(own, held), learned, chance, held=held))

        for moved in (False, True):
            for copies in (0, 1):
                trained = "trained on crystals alone" if copies == 0 else "and on a perturbed copy of each"
                name = f"{PERTURBED_NAMES[moved]}, {trained}"
                yield name, partial(run, name, copies, moved)

    def chains(self) -> Variants:
        """Validation proteins of several chains: all chains at once, and the chain at each ligand as if there were no other."""
        for name, alone in {"all chains": False, "the ligand's chain alone": True}.items():
            yield name, partial(self._chains, name, alone)

    def _chains(self, name: str, alone: bool) -> Outcome:
        several = [h for h in self.held if len(h.truth.structure.chains) > 1]
        return Outcome("chains", name, [result for h in several for result in self._by_chain(h, alone)])

    def _by_chain(self, h: _Held, alone: bool) -> list[ComplexResult]:
        """One result for each chain that touches some ligand most, over its ligands; or one over all, in the same order."""
        structure = h.truth.structure
        chain_of_atom = structure.residues.chain[structure.atoms.residue_index]
        owners: dict[str, list[NDArray[np.float32]]] = {}
        for ligand in h.truth.ligands:
            distance, _ = cKDTree(ligand).query(structure.atoms.coord)
            names, counts = np.unique(chain_of_atom[distance <= LabelConfig.cutoff], return_counts=True)
            if len(names):
                owners.setdefault(str(names[counts.argmax()]), []).append(ligand)
        if not alone:
            ligands = [ligand for own in owners.values() for ligand in own]
            return [evaluate_complex(h.base, ligands, name=h.case.id, cluster=h.case.cluster)]
        config, found = PredictConfig(ranking="surface"), []
        for chain, ligands in owners.items():
            prediction = self.predictor.predict(structure.select_chains([chain]), config)
            found.append(evaluate_complex(prediction, ligands, name=f"{h.case.id} {chain}", cluster=h.case.cluster))
        return found

    def curve(self) -> Variants:
        """Fewer training clusters, encoder and calibration fitted anew; figures of several draws are pooled."""
        clusters = sorted({self._training[key].cluster for key in self._unseen})
        draw = np.random.default_rng(self.train_config.seed)
        orders = [draw.permutation(len(clusters)) for _ in range(self.config.curve_draws)]
        yield f"{len(clusters)} (all)", partial(self._from_shipped, "clusters", f"{len(clusters)} (all)")
        for n in sorted((n for n in self.config.curve_clusters if n < len(clusters)), reverse=True):
            chosen = [frozenset(clusters[k] for k in order[:n]) for order in orders]
            yield f"{n}", partial(self._curve, f"{n}", chosen)

    def _curve(self, name: str, chosen: Sequence[frozenset[str]]) -> Outcome:
        results: list[ComplexResult] = []
        precision = []
        for inside in chosen:
            data = self.points(self.train_config, [e for e in self.examples if e.cluster in inside])
            scorer, (model,) = fit_points(data, build_perceptrons, training=self.train_config, quiet=self.quiet)
            found, ap = self.judge(self.validation_points(data), scorer, model)
            results += found
            precision.append(ap)
        return Outcome("clusters", name, results, np.concatenate(precision))


STUDIES: dict[str, Callable[[PointStudy], Variants]] = {
    "features": PointStudy.features,
    "classifiers": PointStudy.classifiers,
    "groupings": PointStudy.groupings,
    "augmentation": PointStudy.augmentation,
    "chains": PointStudy.chains,
    "clusters": PointStudy.curve,
}
"""Studies by name; each yields its variants, the one they are compared with first."""


def study_rows(
    data: PointStudy, name: str, done: Mapping[str, StudyRow] | None = None, config: BenchmarkConfig | None = None
) -> Iterator[StudyRow]:
    """The variants of a study in turn; those in ``done`` (of an earlier run) are not made again.

    Raises
    ------
    S2PError
        If there is no such study.
    """
    if name not in STUDIES:
        raise S2PError(f"there is no study {name!r}; the studies are {', '.join(STUDIES)}")
    done = done or {}
    first: StudyRow | None = None
    for variant, make in STUDIES[name](data):
        row = done[variant] if variant in done else outcome_row(make(), first, config)
        if name != "clusters":  # its draws are several times as many sites
            first = first or row
        yield row
