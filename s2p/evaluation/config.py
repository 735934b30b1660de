"""How predictors are compared."""

from __future__ import annotations

from dataclasses import dataclass

from s2p.config import Checked, Count, Natural, Positive, PredictConfig, Share

__all__ = ["OURS", "BenchmarkConfig"]

OURS = {
    "s2p": PredictConfig(),
    "s2p-published": PredictConfig.published(),
    "s2p-clustered": PredictConfig(ranking="published"),
    "s2p-no-smoothing": PredictConfig(ranking="published", use_smoothing=False),
}
"""Variants of Seq2Pocket in the benchmark: the checkpoint's defaults; the paper's method alone, ``--method published``;
the default's residue probabilities, with pockets clustered and ranked as published; the same without smoothing."""


@dataclass(frozen=True)
class BenchmarkConfig(Checked):
    """Settings of the comparison: cutoffs, ranks and time limits."""

    strict_hit: Positive = 4.0
    """Å: a distance below this is a hit (DCC and DCA)."""
    loose_hit: Positive = 12.0
    """Å: likewise, the paper's cutoff for DCC."""
    extra_ranks: Natural = 2
    """k of "top N+k": pockets that count beyond one for each of the N true sites (paper: 2)."""
    small_site: Count = 10
    """Sites with fewer residues are the small ones (paper)."""
    iou: Share = 0.5
    """Least intersection over union of residues at which a pocket matches a site; our choice, usual in object detection."""
    grid: Positive = 2.0
    """Å, spacing of the grid on which volumes are compared (Kalasanty)."""
    grid_radius: Positive = 2.0
    """Å around a ligand atom or a pocket's point that count as volume (Kalasanty's dilation of the cavity)."""
    n_bootstrap: Count = 1000
    seed: Natural = 0
    timeout: Positive = 300.0
    """Seconds for one prediction before its process is ended."""
    load_timeout: Positive = 600.0
    """Seconds for a predictor to load."""

    @property
    def ranks(self) -> dict[str, str]:
        """Names of the rules for how many pockets count (``N``, ``N+2``, ``all``), and the ends of their columns in a row."""
        return {"N": "n", f"N+{self.extra_ranks}": "n_plus", "all": "all"}
