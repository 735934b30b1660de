"""Two predictors side by side: which sites each finds alone, and a consensus of their pockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import McNemar, mcnemar
from s2p.evaluation.rows import SiteRow
from s2p.prediction import Pocket, Prediction

__all__ = ["Agreement", "agreement", "consensus"]


@dataclass(frozen=True)
class Agreement:
    """How many true sites two predictors find."""

    both: int
    only_first: tuple[str, ...]
    """``protein/site`` of those that only the first finds."""
    only_second: tuple[str, ...]
    neither: int
    test: McNemar
    """Of the sites that one finds alone."""

    @property
    def either(self) -> float:
        """Share of the sites that at least one finds: what a perfect choice between the two would reach; NaN without sites."""
        found = self.both + len(self.only_first) + len(self.only_second)
        return found / (found + self.neither) if found + self.neither else float("nan")


def agreement(
    first: Sequence[SiteRow], second: Sequence[SiteRow], *, column: str = "dcc_n", cutoff: float = BenchmarkConfig.strict_hit
) -> Agreement:
    """Compare two predictors over the same sites.

    Parameters
    ----------
    first, second
        Rows of :func:`s2p.evaluation.compare.evaluate_complex`, in any order.
    column
        Distance that decides, e.g. ``dcc_n`` (top N) or ``dca_n_plus``.
    cutoff
        Å; a site is found below it.

    Raises
    ------
    S2PError
        If the two were not evaluated over the same sites.
    """
    tables = [{(row.protein, row.site): getattr(row, column) < cutoff for row in rows} for rows in (first, second)]
    if tables[0].keys() != tables[1].keys():
        raise S2PError("the two predictors were not evaluated over the same sites; evaluate both on one data set")
    keys = sorted(tables[0])
    a, b = (np.array([table[key] for key in keys], np.bool_) for table in tables)
    names = np.array([f"{protein}/{site}" for protein, site in keys], dtype=object)
    first_alone, second_alone = (tuple(names[mask].tolist()) for mask in (a & ~b, b & ~a))
    return Agreement(int((a & b).sum()), first_alone, second_alone, int((~a & ~b).sum()), mcnemar(a, b))


def consensus(first: Prediction, second: Prediction, *, distance: float = 6.0) -> Prediction:
    """Pockets of both predictions, those of one place merged, ranked by the mean of the two probabilities.

    A pocket of one prediction is merged with the nearest pocket of the other that is not taken yet, within ``distance``,
    the nearest pairs first. A pocket that only one predicts has probability 0 in the other. Of a merged pair the more probable
    pocket gives centre, points and residues. Everything about residues is the first prediction's.

    Parameters
    ----------
    distance
        Å: pockets with centres this close are one place.

    Raises
    ------
    S2PError
        If the predictions are of different structures, or have no probabilities to compare.
    """
    if first.structure.residues.ids() != second.structure.residues.ids():
        raise S2PError(f"{first.structure.name} and {second.structure.name} are different structures: there is no consensus")
    for prediction in (first, second):
        if not all(np.isfinite(pocket.probability) for pocket in prediction.pockets):
            raise S2PError(f"{prediction.model} gives its pockets no probability to compare; choose a calibrated predictor")
    pairs = _pairs(first.pockets, second.pockets, distance)
    merged: list[tuple[float, Pocket]] = []
    for i, j in pairs:
        a, b = first.pockets[i], second.pockets[j]
        merged.append(((a.probability + b.probability) / 2, a if a.probability >= b.probability else b))
    taken = [{i for i, _ in pairs}, {j for _, j in pairs}]
    for prediction, used in zip((first, second), taken, strict=True):
        merged += [(pocket.probability / 2, pocket) for k, pocket in enumerate(prediction.pockets) if k not in used]
    merged.sort(key=lambda entry: -entry[0])
    pockets = tuple(
        replace(pocket, rank=rank, score=mean, probability=mean) for rank, (mean, pocket) in enumerate(merged, start=1)
    )
    settings = {"of": [first.model, second.model], "distance": distance}
    return replace(first, pockets=pockets, model=f"{first.model}+{second.model}", settings=settings)


def _pairs(first: Sequence[Pocket], second: Sequence[Pocket], distance: float) -> list[tuple[int, int]]:
    """Pairs of pockets with centres within ``distance``, each pocket at most once, the nearest pairs first."""
    if not first or not second:
        return []
    centers: list[NDArray[np.float64]] = [np.array([p.center for p in pockets], np.float64) for pockets in (first, second)]
    gap = np.linalg.norm(centers[0][:, None] - centers[1][None], axis=2)
    pairs: list[tuple[int, int]] = []
    while gap.min() <= distance:
        i, j = divmod(int(gap.argmin()), gap.shape[1])
        pairs.append((i, j))
        gap[i], gap[:, j] = np.inf, np.inf
    return pairs
