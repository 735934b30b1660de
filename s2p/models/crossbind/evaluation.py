"""Figures of residue predictors on chains that bind DNA or RNA, as the paper gives them, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.datasets.labelled import LabelledChain
from s2p.evaluation.intervals import Summary, bootstrap, bootstrap_mean
from s2p.evaluation.residues import ResidueFigures, best_threshold, f1, residue_figures

__all__ = ["METRICS", "NucleicFigures", "best_f1_threshold", "nucleic_figures"]

METRICS = ("recall", "precision", "f1", "mcc", "auc", "auprc")


def best_f1_threshold(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Threshold on a 0.01 grid with the highest F1, the lowest such (paper: F1 too, but in the public code on the test set)."""
    return best_threshold(labels, probabilities, f1)[0]


@dataclass(frozen=True)
class NucleicFigures:
    """Measures of one predictor on one set."""

    chains: int
    residues: int
    prevalence: float
    threshold: float
    pooled: dict[str, Summary]
    """Over all residues together, by name of :data:`METRICS`; intervals over chains."""
    per_chain: dict[str, Summary]
    """Mean over the chains for which the measure is defined."""

    def plain(self) -> dict[str, object]:
        """As JSON: value, low, high of each."""

        def rounded(table: dict[str, Summary]) -> dict[str, list[float]]:
            return {name: [round(x, 4) for x in (s.value, s.low, s.high)] for name, s in table.items()}

        return {
            "chains": self.chains,
            "residues": self.residues,
            "prevalence": round(self.prevalence, 4),
            "threshold": self.threshold,
            "pooled": rounded(self.pooled),
            "per_chain": rounded(self.per_chain),
        }


def nucleic_figures(
    chains: Sequence[LabelledChain], probabilities: Sequence[NDArray[np.floating]], threshold: float, *, n: int = 300
) -> NucleicFigures:
    """All measures at a threshold that was chosen elsewhere.

    Parameters
    ----------
    probabilities
        (N,) of each chain.
    n
        Draws of the bootstrap over chains, which in the public test sets have less than 30 % identity with each other.
    """

    def over(rows: Sequence[int]) -> ResidueFigures:
        p = np.concatenate([probabilities[k] for k in rows])
        return residue_figures(np.concatenate([chains[k].labels for k in rows]), p, p > threshold)

    drawn: dict[bytes, ResidueFigures] = {}

    def one(name: str) -> Summary:
        def value(rows: NDArray[np.int64]) -> float:
            # The draws are the same for every measure: each is worked out once.
            key = rows.tobytes()
            if key not in drawn:
                drawn[key] = over(rows.tolist())
            return float(getattr(drawn[key], name))

        return bootstrap(value, names, n=n)

    names = [str(k) for k in range(len(chains))]
    whole = over(range(len(chains)))
    single = [over([k]) for k in range(len(chains))]
    return NucleicFigures(
        len(chains),
        whole.n_residues,
        whole.prevalence,
        threshold,
        {name: one(name) for name in METRICS},
        {name: bootstrap_mean([getattr(s, name) for s in single], names, n=n) for name in METRICS},
    )
