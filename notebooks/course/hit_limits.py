"""Recall by the distance that counts as a hit, for a slider: how a comparison of predictors turns with the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from course.charts import Picture
from s2p.errors import S2PError
from s2p.evaluation.intervals import Summary, bootstrap_mean, site_hits
from s2p.evaluation.rows import SiteRow
from s2p.output.palette import POCKETS

__all__ = ["recall_at", "recall_picture"]

GRID = np.arange(0.05, 15.01, 0.05)
"""Limits of the curves, Å."""
MARKERS = "osD^vP*"


def recall_at(sites: Sequence[SiteRow], measure: str, limit: float, extra: int, draws: int = 1000) -> Summary:
    """Share of the sites found, with its 95 % interval over families.

    Parameters
    ----------
    measure
        ``dcc`` or ``dca``.
    limit
        A site is found if the distance is below it, Å.
    extra
        0: the best N pockets count, N being the number of true sites of the protein; 2: the best N+2.

    Raises
    ------
    S2PError
        If another number of pockets is asked for: the rows of a benchmark have these two.
    """
    if extra not in (0, 2):
        raise S2PError(f"the best N or N+2 pockets can count, not N+{extra}")
    column = f"{measure}_n{'_plus' if extra else ''}"
    return bootstrap_mean(site_hits(sites, column, limit), [site.cluster for site in sites], n=draws)


def recall_picture(sites: Mapping[str, Sequence[SiteRow]], limit: float, extra: int, draws: int = 1000) -> Picture:
    """A panel for DCC and one for DCA: recall against the limit, a curve a predictor, and at ``limit`` its interval.

    Parameters
    ----------
    sites
        Rows of a benchmark by the predictor's name. Other parameters as in :func:`recall_at`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.8, 3.9), dpi=120, facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    rank, words = f"N+{extra}" if extra else "N", []
    for ax, measure in zip(panels, ("dcc", "dca"), strict=True):
        shown = {}
        for k, (name, rows) in enumerate(sites.items()):
            d = np.array([getattr(row, f"{measure}_n{'_plus' if extra else ''}") for row in rows], np.float64)
            share = (d[None, :] < GRID[:, None]).mean(axis=1)
            found = shown[name] = recall_at(rows, measure, limit, extra, draws)
            at, color = limit + 0.13 * (k - (len(sites) - 1) / 2), POCKETS[k % len(POCKETS)]  # side by side
            ax.plot(GRID, share, color=color, linewidth=1.8, label=name, marker=MARKERS[k % 7], markevery=60, markersize=5)
            ax.plot([at, at], [found.low, found.high], color=color, linewidth=2.2, alpha=0.55)
            ax.plot([at], [found.value], color=color, marker=MARKERS[k % 7], markersize=9, markeredgecolor="white")
        ax.axvline(limit, color="#888888", linewidth=0.8, linestyle=":", zorder=0)
        ax.set(xlim=(0, 15.5), ylim=(0, 1.03), xlabel=f"limit of {measure.upper()} (Å)")
        ax.set_title(f"{measure.upper()} < {limit:g} Å, top {rank}", loc="left", size=10.5)
        ax.spines[["top", "right"]].set_visible(False)
        values = ", ".join(f"{name} {s.value:.2f} ({s.low:.2f} to {s.high:.2f})" for name, s in shown.items())
        words.append(f"{measure.upper()} < {limit:g} Å, top {rank}: {values}.")
    panels[0].set_ylabel("recall: share of the sites found")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8.5, frameon=False, loc="outside lower center", ncols=5)
    return Picture(figure, " ".join(words))
