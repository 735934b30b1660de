"""How predictors are compared."""

from __future__ import annotations

from dataclasses import dataclass

from s2p.config import PredictConfig

__all__ = ["OURS", "BenchmarkConfig"]

OURS = {
    "s2p": PredictConfig(),
    "s2p-published": PredictConfig(ranking="published"),
    "s2p-no-smoothing": PredictConfig(ranking="published", use_smoothing=False),
}
"""Seq2Pocket as the benchmark compares it: the checkpoint's defaults; pockets and ranking as published; without smoothing."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """How predictors are compared."""

    strict_hit: float = 4.0
    """Å: a distance below this is a hit (DCC and DCA)."""
    loose_hit: float = 12.0
    """Å: likewise, the paper's cutoff for DCC."""
    extra_ranks: int = 2
    """k of "top N+k": pockets that count beyond one for each of the N true sites (paper: 2)."""
    small_site: int = 10
    """Sites with fewer residues are the small ones (paper)."""
    iou: float = 0.5
    """Least intersection over union of residues at which a pocket matches a site; our choice, usual in object detection."""
    grid: float = 2.0
    """Å, spacing of the grid on which volumes are compared (Kalasanty)."""
    grid_radius: float = 2.0
    """Å around a ligand atom or a pocket's point that count as volume (Kalasanty's dilation of the cavity)."""
    n_bootstrap: int = 1000
    seed: int = 0
    timeout: float = 300.0
    """Seconds for one prediction before its process is ended."""
    load_timeout: float = 600.0
    """Seconds for a predictor to load."""

    @property
    def ranks(self) -> dict[str, str]:
        """Names of the rules for how many pockets count (``N``, ``N+2``, ``all``), and the ends of their columns in a row."""
        return {"N": "n", f"N+{self.extra_ranks}": "n_plus", "all": "all"}
