"""The drawing at the head of every notebook: the stages from a protein to its pockets, with the notebook's own stage lit."""

from __future__ import annotations

from pathlib import Path

from course.svg import BLUE as LIT
from course.svg import DARK, LINE, document

__all__ = ["FOLDER", "NOTEBOOKS", "pipeline_alt", "pipeline_svg"]

FOLDER = Path(__file__).resolve().parents[1] / "pipeline"
"""Where the drawings are kept, ``04.svg`` and so on: GitHub shows files, and runs no code."""
STAGES = {
    "": ("your protein", "a structure", 14, 34, 130),
    "02": ("language model", "embeddings", 162, 34, 130),
    "03": ("fine-tuning", "binding residues", 310, 34, 130),
    "04": ("smoothing", "neighbours join", 458, 34, 130),
    "05": ("clustering", "pockets", 606, 34, 130),
    "08": ("inspection", "3D, docking", 754, 34, 130),
    "09": ("scored surface", "residues and pockets: the default of s2p", 310, 124, 426),
    "01": ("known sites", "labels", 14, 228, 112),
    "06": ("PFI", "pieces of a site", 140, 228, 112),
    "07": ("benchmark", "how good?", 266, 228, 112),
    "10": ("Kalasanty", "voxels", 392, 228, 112),
    "11": ("CrossBind", "DNA and RNA", 518, 228, 112),
    "12": ("Vabs-Net", "atoms", 644, 228, 112),
    "13": ("PocketGen", "design", 770, 228, 112),
}
"""Number of the notebook, what it is about, what comes out, and left, top and width in pixels."""
HEIGHT = 54
NOTEBOOKS = {stage: (stage,) for stage in sorted(STAGES) if stage} | {"quickstart": ("", "02", "09", "08")}
"""Notebook -> the stages that are lit in its drawing."""
ARROWS = [f"M{x + 130} 61h5" for x in (14, 162, 310, 458, 606)] + ["M227 88v63h70", "M736 151h83v-50"]
CAPTIONS = {(14, 22): "published method", (14, 216): "labels and measures", (392, 216): "other methods"}


def pipeline_alt(notebook: str) -> str:
    """The drawing in words; ``notebook`` is ``01`` to ``13`` or ``quickstart``."""
    lit = " → ".join(f"{number} {STAGES[number][0]}".strip() for number in NOTEBOOKS[notebook])
    return (
        "The course as a pipeline: a protein passes a language model (02), fine-tuning (03), smoothing (04) and clustering (05), "
        f"or the scored surface (09), and becomes pockets to inspect (08). Highlighted: {lit}."
    )


def pipeline_svg(notebook: str) -> str:
    """The drawing for a notebook (``01`` to ``13`` or ``quickstart``) as an SVG document, 900 × 296 pixels."""
    parts = [
        f'<defs><marker id="tip" markerWidth="6" markerHeight="8" refX="1" refY="4" orient="auto">'
        f'<path d="M0 0L6 4L0 8z" fill="{DARK}"/></marker></defs>'
    ]
    parts += [f'<path d="{arrow}" fill="none" stroke="{DARK}" stroke-width="2" marker-end="url(#tip)"/>' for arrow in ARROWS]
    for (x, y), words in CAPTIONS.items():
        parts.append(f'<text x="{x}" y="{y}" font-size="14" fill="{DARK}" text-anchor="start">{words}</text>')
    for number, (name, result, x, y, width) in STAGES.items():
        lit = number in NOTEBOOKS[notebook]
        fill, line, ink, weight = (LIT, DARK, "#FFFFFF", 3) if lit else ("#F3F5F6", LINE, DARK, 1)
        middle, bold = x + width / 2, ' font-weight="bold"' if lit else ""
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="7" fill="{fill}" stroke="{line}" '
            f'stroke-width="{weight}"/>'
            f'<text x="{middle:g}" y="{y + 23}" font-size="13.5" fill="{ink}"{bold}>{f"{number} {name}".strip()}</text>'
            f'<text x="{middle:g}" y="{y + 42}" font-size="12" fill="{ink}">{result}</text>'
        )
    return document(pipeline_alt(notebook), 900, 296, parts)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for notebook in NOTEBOOKS:
        (FOLDER / f"{notebook}.svg").write_text(pipeline_svg(notebook), encoding="utf-8")
