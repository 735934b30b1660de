"""Colours that every picture, script and report shares, so that pocket 1 looks the same everywhere."""

from __future__ import annotations

__all__ = ["CARTOON", "ELEMENTS", "HELIX", "LIGAND", "OUTSIDE", "POCKETS", "PROBABILITY", "STRAND", "ink", "pocket_color", "rgb"]

POCKETS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"),
    *("#AA44FF", "#775500", "#88FFAA", "#660077", "#114400", "#BB1188", "#2233CC"),
)
"""Of pockets by rank: Okabe & Ito's seven, and seven that are no nearer to them, to each other and to the greys in any vision."""

CARTOON = "#C8CCD0"
"""Protein outside pockets."""

OUTSIDE = "#9AA3AB"
"""Marks of residues outside pockets."""

HELIX, STRAND = "#4D4D4D", "#B3B3B3"
"""Secondary structure, dark and light grey, because hues are used for pockets."""

ELEMENTS = {"N": "#3050F8", "O": "#FF0D0D", "S": "#C8A800", "P": "#FF8000", "F": "#70B050", "CL": "#1FA01F", "BR": "#A62929"}
"""Atoms other than carbon."""

LIGAND = "#222222"
"""Carbon atoms of known ligands on a light ground."""

PROBABILITY = ("#F2F2F2", "#FDD49E", "#FC8D59", "#B30000")
"""Low to high residue probability: increasingly dark, so that it is also readable in grey (ColorBrewer OrRd)."""


def pocket_color(rank: int) -> str:
    """``#RRGGBB`` of the pocket of this rank (1 is best); repeats after fourteen, so pockets are numbered as well."""
    return POCKETS[(rank - 1) % len(POCKETS)]


def rgb(color: str) -> tuple[float, float, float]:
    """``#RRGGBB`` as fractions."""
    return int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255


def ink(color: str) -> str:
    """Black or white, whichever has more contrast with ``color`` (WCAG 2.2, relative luminance)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(color))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#FFFFFF"
