"""One self-contained HTML file about designs: native and designed pockets superposed in 3D, and their metrics."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import SLOT_ELEMENTS, SLOT_MASK
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design, Measures, diversity
from s2p.models.pocketgen.scores import Scores, asked
from s2p.output.files import asset
from s2p.output.palette import CARTOON, LIGAND, pocket_color
from s2p.output.report import page
from s2p.structure.reading import Structure

__all__ = ["design_page", "xyz_text"]

NATIVE = "#6b7280"
"""Carbon atoms of the native pocket."""
NOTES = {
    "vina": "AutoDock Vina: the program's score of the pose after its local optimisation.",
    "sc_rmsd": "scRMSD: N, CA, C, O of the pocket against the fold of the designed sequence, superposed on the CA outside it.",
}
"""Notes below the table on the available scores."""
CSS = " #view { position: relative; width: 100%; height: 60vh; } td.letters { font-family: monospace; }"


def design_page(
    structure: Structure,
    pocket: Pocket,
    ligand: LigandAtoms,
    designs: Sequence[Design],
    measures: Sequence[Measures],
    scores: Sequence[Scores],
    origin: str = "",
) -> str:
    """The page as HTML, in the frame of :func:`s2p.output.report.page`.

    ``measures`` and ``scores``: of the native pocket and of each design; ``origin``: where types and atoms come from.
    """
    native = pocket.types[pocket.pocket]
    colors = [NATIVE, *(pocket_color(k + 1) for k in range(len(designs)))]
    scene = {
        "backbone": _trace(structure),
        "native": _sticks(native, pocket.coord[pocket.pocket], pocket.present[pocket.pocket]),
        "designs": [_sticks(d.types, d.coord, SLOT_MASK[d.types]) for d in designs],
        "ligand": xyz_text(ligand.element.tolist(), ligand.coord),
        "colors": colors,
        "cartoon": CARTOON,
        "ligandColor": LIGAND,
    }
    name = html.escape(structure.name)
    extra = asked(scores)
    letters = "".join(structure.residues.one_letter[pocket.residues[pocket.pocket]])
    labels = ["native", *(f"design {k + 1}" for k in range(len(designs)))]
    every = zip(labels, [letters, *(d.sequence for d in designs)], measures, scores, colors, strict=True)
    rows = [_row(k, label, sequence, m, s, extra, color) for k, (label, sequence, m, s, color) in enumerate(every)]
    head = "".join(f"<th scope='col'>{text}</th>" for text in ("shown", "", "sequence", *measures[0].columns, *extra.values()))
    notes = " ".join(NOTES[key] for key in extra)
    ids = np.array(structure.residues.ids())[pocket.residues[pocket.pocket]].tolist()
    content = f"""<header><h1>Designed pockets of {name}</h1>
<p class="summary">{len(pocket.pocket)} designed residues, {len(designs)} designs; diversity {_number(diversity(designs))}.
Grey sticks: native; thick sticks: the ligand. {html.escape(origin)}</p></header><main>
<div id="view" role="img" aria-label="Native and designed pockets over each other"></div>
<div class='scroll' tabindex='0' role='region' aria-label='Designs'>
<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
<h2>Mutations</h2>
{_mutations(ids, letters, [d.sequence for d in designs])}
<p>RMSD: N, CA, C, O against native, without superposition.
Off: bonds by more than 0.1 Å, backbone angles by more than 10°, chi1 by more than 30° from staggered positions; twisted: omega by
more than 30° from flat. Links to fixed residues count. {notes}
The designs are predictions of networks; they do not show that such a protein folds or binds.</p></main>
"""
    return page(f"Designed pockets of {structure.name}", content, css=CSS, scene=scene, script=asset("design.js"))


def _row(k: int, label: str, sequence: str, m: Measures, scores: Scores, extra: Iterable[str], color: str) -> str:
    checked = " checked" if k < 2 else ""
    cells = [*m.columns.values(), *(_number(getattr(scores, key)) for key in extra)]
    return (
        f"<tr><td><input type='checkbox' data-model='{k}' aria-label='show {label}'{checked}></td>"
        f"<th scope='row'><span style='color:{color}'>■</span> {label}</th><td class='letters'>{html.escape(sequence)}</td>"
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _mutations(ids: Sequence[str], native: str, designed: Sequence[str]) -> str:
    """A table with a column for each residue, in the order of the sequence; types that change are bold."""
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in ids)
    rows = []
    for label, letters in zip(["native", *(f"design {k + 1}" for k in range(len(designed)))], [native, *designed], strict=True):
        cells = (f"<td>{x}</td>" if x == y else f"<td><b>{x}</b></td>" for x, y in zip(letters, native, strict=True))
        rows.append(f"<tr><th scope='row'>{label}</th>{''.join(cells)}</tr>")
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='scroll' tabindex='0' role='region' aria-label='Mutations'>{table}</div>"


def _number(value: float | None) -> str:
    return "" if value is None else "–" if np.isnan(value) else f"{value:.2f}"


def _trace(structure: Structure) -> str:
    """CA atoms as ATOM records, numbered consecutively; each chain has its own letter."""
    chains = {name: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[k % 26] for k, name in enumerate(structure.chains)}
    rows = zip(structure.residues.chain.tolist(), structure.residues.ca_coord.tolist(), strict=True)
    lines = [
        f"ATOM  {k % 99999 + 1:5d}  CA  ALA {chains[name]}{k % 9999 + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for k, (name, (x, y, z)) in enumerate(rows)
    ]
    return "\n".join([*lines, "END", ""])


def _sticks(types: NDArray[np.int64], coord: NDArray[np.floating], there: NDArray[np.bool_]) -> str:
    """The existing atoms of (P,) types and (P, 14, 3) Å, for the viewer."""
    return xyz_text(SLOT_ELEMENTS[types][there].tolist(), coord[there])


def xyz_text(elements: Sequence[str], coord: NDArray[np.floating]) -> str:
    """Elements and (A, 3) Å in the XYZ format."""
    rows = [f"{e.capitalize()} {x:.3f} {y:.3f} {z:.3f}" for e, (x, y, z) in zip(elements, coord.tolist(), strict=True)]
    return "\n".join([str(len(rows)), "", *rows])
