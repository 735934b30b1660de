"""One self-contained HTML file about designs: native and designed pockets over each other in 3D, and their figures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import RESIDUES, SLOTS, slot_mask
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design, Measures, diversity
from s2p.models.pocketgen.scores import Scores, asked
from s2p.output.palette import CARTOON, LIGAND, pocket_color
from s2p.output.report import asset, page
from s2p.structure.reading import Structure

__all__ = ["design_page", "pocket_pdb"]

NATIVE = "#6b7280"
"""Carbon atoms of the native pocket."""
NOTES = {
    "vina": "AutoDock Vina: the program's score of the pose after its local optimisation.",
    "sc_rmsd": "scRMSD: N, CA, C, O of the pocket against the fold of the designed sequence, superposed on the CA outside it.",
}
"""Below the table, of the scores that there are."""
CSS = " #view { position: relative; width: 100%; height: 60vh; } td.letters { font-family: monospace; }"


def pocket_pdb(
    structure: Structure, pocket: Pocket, types: NDArray[np.int64], coord: NDArray[np.floating], there: NDArray[np.bool_]
) -> str:
    """ATOM records of the pocket's residues, (P,) types and (P, 14, 3) Å, for a viewer: chains by one letter."""
    numbers = structure.residues.number[pocket.residues[pocket.pocket]].tolist()
    names = [RESIDUES[kind - 1] for kind in types.tolist()]
    every = [(k, slot, atom) for k, name in enumerate(names) for slot, atom in enumerate(SLOTS[name]) if there[k, slot]]
    return _records((atom, names[k], "A", numbers[k] % 10000, coord[k, slot].tolist()) for k, slot, atom in every)


def _records(atoms: Iterable[tuple[str, str, str, int, list[float]]]) -> str:
    """ATOM records of atom name, residue name, chain, residue number and place."""
    lines = [
        f"ATOM  {k % 99999 + 1:5d}  {atom:<3s} {name} {chain}{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        f"          {atom[0]:>2s}"
        for k, (atom, name, chain, number, (x, y, z)) in enumerate(atoms)
    ]
    return "\n".join([*lines, "END", ""])


def design_page(
    structure: Structure,
    pocket: Pocket,
    ligand: LigandAtoms,
    designs: Sequence[Design],
    measures: Sequence[Measures],
    scores: Sequence[Scores],
) -> str:
    """The page as HTML, in the frame of :func:`s2p.output.report.page`.

    Parameters
    ----------
    scores
        Of the native pocket and of each design.
    """
    native = pocket.types[pocket.pocket]
    colors = [NATIVE, *(pocket_color(k + 1) for k in range(len(designs)))]
    scene = {
        "backbone": _trace(structure),
        "native": pocket_pdb(structure, pocket, native, pocket.coord[pocket.pocket], pocket.present[pocket.pocket]),
        "designs": [pocket_pdb(structure, pocket, d.types, d.coord, slot_mask()[d.types]) for d in designs],
        "ligand": _xyz(ligand),
        "colors": colors,
        "cartoon": CARTOON,
        "ligandColor": LIGAND,
    }
    name = html.escape(structure.name)
    extra = asked(scores)
    letters = "".join(structure.residues.one_letter[pocket.residues[pocket.pocket]])
    rows = [_row(0, "native", letters, None, scores[0], extra, colors[0])]
    rows += [
        _row(k, f"design {k}", d.sequence, m, s, extra, colors[k])
        for k, (d, m, s) in enumerate(zip(designs, measures, scores[1:], strict=True), 1)
    ]
    titles = ["shown", "", "sequence", "native types", "RMSD (Å)", "clashes", "bonds off by > 0.1 Å"]
    head = "".join(f"<th scope='col'>{text}</th>" for text in (*titles, *extra.values()))
    notes = " ".join(NOTES[key] for key in extra)
    ids = ", ".join(np.array(structure.residues.ids())[pocket.residues[pocket.pocket]].tolist())
    content = f"""<header><h1>Designed pockets of {name}</h1>
<p class="summary">{len(pocket.pocket)} designed residues, {len(designs)} designs; diversity {_number(diversity(designs))}.
Grey sticks: native; thick sticks: the ligand.</p></header><main>
<div id="view" role="img" aria-label="Native and designed pockets over each other"></div>
<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>
<p>Designed residues: {html.escape(ids)}. RMSD: N, CA, C, O against native, without superposition. {notes}
The designs are predictions of a small network; nothing here says that such a protein folds or binds.</p></main>
"""
    return page(f"Designed pockets of {structure.name}", content, css=CSS, scene=scene, script=asset("design.js"))


def _row(k: int, label: str, sequence: str, m: Measures | None, scores: Scores, extra: Iterable[str], color: str) -> str:
    checked = " checked" if k < 2 else ""
    cells = ["", "", "", ""]
    if m is not None:
        cells = [_number(m.recovery), _number(m.rmsd), str(m.clashes), f"{m.bond_outliers} of {m.bonds}"]
    cells += [_number(getattr(scores, key)) for key in extra]
    return (
        f"<tr><td><input type='checkbox' data-model='{k}' aria-label='show {label}'{checked}></td>"
        f"<th scope='row'><span style='color:{color}'>■</span> {label}</th><td class='letters'>{html.escape(sequence)}</td>"
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else "–" if np.isnan(value) else f"{value:.2f}"


def _trace(structure: Structure) -> str:
    """CA atoms as ATOM records, numbered through; each chain has a letter of its own."""
    residues = structure.residues
    chains = {name: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[k % 26] for k, name in enumerate(structure.chains)}
    every = enumerate(zip(residues.chain.tolist(), residues.ca_coord.tolist(), strict=True))
    return _records(("CA", "ALA", chains[name], k % 9999 + 1, place) for k, (name, place) in every)


def _xyz(ligand: LigandAtoms) -> str:
    rows = [
        f"{e.capitalize()} {x:.3f} {y:.3f} {z:.3f}"
        for e, (x, y, z) in zip(ligand.element.tolist(), ligand.coord.tolist(), strict=True)
    ]
    return "\n".join([str(len(rows)), "", *rows])
