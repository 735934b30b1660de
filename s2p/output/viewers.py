"""Commands for other programs: PyMOL and ChimeraX scripts and selections, docking boxes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from s2p.config import BOX, BoxConfig
from s2p.output.files import fill, scores_order
from s2p.output.palette import PROBABILITY, pocket_color, rgb
from s2p.prediction import Pocket, Prediction

__all__ = [
    "box_text",
    "chimerax_script",
    "chimerax_selection",
    "docking_box",
    "pymol_script",
    "pymol_selection",
    "spheres_text",
]

SPHERE = 1.4
"""Å: radius of DOCK's spheres, that of a water molecule."""

HEAVY = {"GLY": 4, "ALA": 5, "CYS": 6, "SER": 6, "PRO": 7, "THR": 7, "VAL": 7, "ASN": 8, "ASP": 8, "ILE": 8, "LEU": 8, "MET": 8}
HEAVY |= {"GLN": 9, "GLU": 9, "LYS": 9, "HIS": 10, "ARG": 11, "PHE": 11, "TYR": 12, "TRP": 14}
"""Heavy atoms of a residue inside a chain."""


def _terms(prediction: Prediction, pocket: Pocket) -> list[tuple[str, str, list[str]]]:
    """Chain, residue name (if a ligand has the same number), and ``45``, ``46A`` … of the pocket's residues."""
    structure, found = prediction.structure, dict[tuple[str, str], list[str]]()
    taken = {(x.chain, x.number, x.insertion_code) for x in structure.ligands}
    r = structure.residues
    for i in pocket.residues.tolist():
        chain, number, code = str(r.chain[i]), int(r.number[i]), str(r.insertion_code[i])
        name = str(r.name[i]) if (chain, number, code) in taken else ""
        found.setdefault((chain, name), []).append(f"{number}{code}")
    return [(*key, numbers) for key, numbers in found.items()]


def pymol_selection(prediction: Prediction, pocket: Pocket) -> str:
    r"""PyMOL selection of the pocket's residues: ``(chain A and resi 45+46A+\-3)``, several joined by ``or``."""

    def escape(text: str) -> str:
        # Unescaped, a minus would mean a range, a plus a list, and an asterisk anything.
        return re.sub(r"([^A-Za-z0-9])", r"\\\1", text)

    def word(text: str) -> str:
        return text if re.fullmatch("[A-Za-z0-9]+", text) else f'"{escape(text.strip())}"'  # quoted, or %, & … are operators

    if any(re.search(r"[\"()\[\]{}]", chain) for chain, _, _ in _terms(prediction, pocket)):
        # These cannot be written: select atoms by their position in the file that :func:`pymol_script` loads.
        places = np.flatnonzero(np.isin(scores_order(prediction.structure), pocket.residues))
        return f"(rank {'+'.join(map(str, places.tolist()))})"
    parts = [
        f"(chain {word(chain)} and resi {'+'.join(map(escape, numbers))}{f' and resn {word(name)}' if name else ''})"
        for chain, name, numbers in _terms(prediction, pocket)
    ]
    return " or ".join(parts) or "none"


def chimerax_selection(prediction: Prediction, pocket: Pocket) -> str:
    """ChimeraX specification of the pocket's residues: ``/A:45,46A,-3/B:7``."""

    def equals(attribute: str, text: str) -> str:
        exact, quote = re.sub(r"([*?[])", r"[\1]", text), "'" if '"' in text else '"'  # == is case-sensitive and allows wildcards
        return f"{attribute}=={quote}{exact}{quote}"

    parts = []
    for chain, name, numbers in _terms(prediction, pocket):
        # Other characters than these are operators, so the chain is selected as an attribute of the residue (not of the
        # chain, because a chain in ChimeraX lacks residues that are not recognised as polymer).
        plain = re.fullmatch(r"[A-Za-z0-9_]+", chain)
        tests = [] if plain else [equals("chain_id", chain or " ")]
        tests += [equals("name", name)] if name else []
        parts.append((f"/{chain}" if plain else "") + ":" + ",".join(numbers) + ("::" if tests else "") + ",".join(tests))
    return "".join(sorted(parts, key=lambda part: part[0] == "/"))  # after /A, a part without a chain would belong to that chain


def pymol_script(prediction: Prediction, stem: str, suffix: str) -> str:
    """PyMOL commands that load ``{stem}_scores.{suffix}`` from the script's folder and show every pocket."""
    values = {"stem": stem, "file": f"{stem}_scores.{suffix}", "name": "s2p_" + re.sub(r"[^A-Za-z0-9_]", "_", stem), "case": ""}
    ids = [i.lower() for i in prediction.structure.residues.ids()]
    if len(set(ids)) < len(ids):  # differ by upper and lower case only
        values["case"] = "set ignore_case, off\nset ignore_case_chain, off\n"
    pockets = ""
    for p in prediction.pockets:
        # Not "and polymer", which in PyMOL lacks some modified residues.
        own = {"rank": str(p.rank), "selection": pymol_selection(prediction, p), "center": _numbers(p.center.tolist())}
        own |= {"label": p.label, "net": f"show mesh, {values['name']}_pocket{p.rank}\n" if p.site == "cryptic" else ""}
        pockets += fill("script_pocket.pml", values | own | {"color": _numbers(rgb(pocket_color(p.rank)))})
    ends = {"low": _numbers(rgb(PROBABILITY[0])), "high": _numbers(rgb(PROBABILITY[-1]))}
    return fill("script.pml", values | ends | {"pockets": pockets})


def chimerax_script(prediction: Prediction, stem: str, suffix: str) -> str:
    """ChimeraX commands that do the same; ChimeraX runs a script in the script's folder."""
    ramp = ":".join(f"{100 * k / (len(PROBABILITY) - 1):.0f},{color}" for k, color in enumerate(PROBABILITY))
    pockets = ""
    for p in prediction.pockets:
        own = {"label": p.label, "color": pocket_color(p.rank), "center": _numbers(p.center.tolist(), ",")}
        own |= {"rank": str(p.rank), "look": " mesh true" if p.site == "cryptic" else ""}
        text = fill("script_pocket.cxc", own | {"selection": chimerax_selection(prediction, p)})
        pockets += text if len(p.residues) else text.splitlines(keepends=True)[-1]  # a centre without residues
    return fill("script.cxc", {"stem": stem, "file": f"{stem}_scores.{suffix}", "ramp": ramp, "pockets": pockets})


def docking_box(prediction: Prediction, pocket: Pocket, config: BoxConfig = BOX) -> tuple[list[float], list[float]]:
    """Centre and edge lengths (Å) of an axis-parallel box for docking into a pocket.

    The box spans the pocket's surface points (its residues' atoms where it has none) and ``config.padding`` more on every
    side. A shortened box lies as close to the pocket's centre as the span allows.
    """
    points = _points(prediction, pocket)
    low, high = points.min(axis=0) - config.padding, points.max(axis=0) + config.padding
    size = np.clip(high - low, config.least, config.most)
    middle, room = (low + high) / 2, np.maximum(high - low - size, 0) / 2
    center = np.clip(pocket.center.astype(float), middle - room, middle + room)
    return np.round(center, 3).tolist(), np.round(size, 3).tolist()


def _points(prediction: Prediction, pocket: Pocket) -> NDArray[np.float64]:
    """(P, 3) Å, surface points; of a pocket without any the atoms of its residues, or else its centre."""
    atoms = prediction.structure.atoms
    points = pocket.points if len(pocket.points) else atoms.coord[np.isin(atoms.residue_index, pocket.residues)]
    return (points if len(points) else pocket.center[None]).astype(np.float64)


def box_text(prediction: Prediction, pocket: Pocket, config: BoxConfig = BOX) -> str:
    """Configuration with the pocket's box for AutoDock Vina, and for Smina and GNINA, which read the same keys."""
    center, size = docking_box(prediction, pocket, config)
    sides = {"center": center, "size": size}.items()
    lines = [f"{key}_{axis} = {x:.3f}" for key, values in sides for axis, x in zip("xyz", values, strict=True)]
    which = f"pocket {pocket.rank}{pocket.remark} (Angstrom)"
    head = [
        f"# AutoDock Vina search box of {which}, for Smina and GNINA, too: its surface points and {config.padding:g} more a side"
    ]
    whole = np.ptp(_points(prediction, pocket), axis=0) + 2 * config.padding
    if (whole > config.most).any():
        head.append(f"# capped: the whole box is {_numbers(whole, ' x ')}, an edge is at most {config.most:g}")
    return "\n".join([*head, *_remarks(prediction, pocket, np.array(center), np.array(size)), *lines, ""])


def _remarks(prediction: Prediction, pocket: Pocket, center: NDArray[np.float64], size: NDArray[np.float64]) -> Iterator[str]:
    """Comments on what to see to before docking: incomplete residues of the pocket, and what else is in the box."""
    atoms, r, ids = prediction.structure.atoms, prediction.structure.residues, prediction.structure.residues.ids()
    count = np.bincount(atoms.residue_index[atoms.name != "OXT"], minlength=len(r))
    short = [f"{ids[i]} {r.name[i]}" for i in pocket.residues.tolist() if count[i] < HEAVY.get(str(r.name[i]), 0)]
    others = [x.id for x in prediction.structure.ligands if (np.abs(x.coord - center) <= size / 2).all(axis=1).any()]
    for said, found in {"residues of the pocket that lack atoms": short, "also in the box": others}.items():
        if found:
            yield f"# {said}: {' '.join(', '.join(found).split())}"  # a name with a line break would be read as a setting


def spheres_text(prediction: Prediction, pocket: Pocket) -> str:
    """The pocket's surface points as one cluster of spheres for DOCK, in the Fortran format I5, 3F10.5, F8.3, I5, I2, I3."""
    places = ["".join(f"{x:10.5f}"[:10] for x in point) for point in _points(prediction, pocket).tolist()]
    rows = [f"{k % 100_000:5d}{place}{SPHERE:8.3f}{0:5d}{0:2d}{0:3d}" for k, place in enumerate(places, 1)]
    head = f"surface points of pocket {pocket.rank}{pocket.remark} (Angstrom), as spheres for DOCK"
    return "\n".join([head, f"cluster{1:6d}   number of spheres in cluster {len(rows):5d}", *rows, ""])


def _numbers(values: Iterable[float], between: str = ", ") -> str:
    return between.join(f"{x:.3f}" for x in values)
