"""Tables in Markdown and what stands in their cells."""

from __future__ import annotations

from collections.abc import Sequence

from s2p.evaluation.intervals import Summary

__all__ = ["cell", "interval", "markdown_table"]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; cells are Markdown already, but for bars."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]


def cell(figure: Summary | None) -> str:
    """A value with its interval to two places, or a dash where there is none."""
    return "–" if figure is None or figure.value != figure.value else f"{figure.value:.3f} ({figure.low:.2f}–{figure.high:.2f})"


def interval(figure: Sequence[float]) -> str:
    """Value, low and high end to three places, or a dash where there is no value."""
    value, low, high = figure
    return f"{value:.3f} ({low:.3f}–{high:.3f})" if value == value else "–"
