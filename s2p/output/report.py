"""One self-contained HTML file about a prediction: 3D view, tables and plot, which works offline.

3Dmol.js (Rego & Koes 2015, BSD-3-Clause, ``3Dmol-LICENSE.txt``) is inlined. A content security policy lets the
browser run nothing but this library and our own script, identified by their hashes, so that names in a structure file
cannot be executed.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Any

import numpy as np

from s2p import __version__
from s2p.output.files import asset, fill, json_text, scores_order, scores_text
from s2p.output.palette import CARTOON, LIGAND, PROBABILITY, ink, pocket_color
from s2p.output.thumbnail import thumbnail
from s2p.output.viewers import chimerax_selection, pymol_selection
from s2p.pockets.hits import HIT, ligand_hits
from s2p.prediction import Prediction, n_pockets

__all__ = ["CITATION", "embed_json", "library", "page", "render", "script_hash", "update"]

CITATION = (
    "Method: Škrhák, Polák, Novotný, Hoksza (2026) Seq2Pocket, bioRxiv 2026.01.28.702257. "
    "3D view: Rego, Koes (2015) 3Dmol.js, Bioinformatics 31:1322, doi 10.1093/bioinformatics/btu829."
)

SHOWN = 5
"""Pockets of each kind shown when the report is opened; the others are shown on a click, because surfaces are slow."""

CRYPTIC = "A cryptic site: it opens on ligand binding and may be closed in this structure.<br>"


def library() -> str:
    """3Dmol.js, escaped for a ``<script>`` element, which a parser ends at the first closing tag."""
    return re.sub(r"</(script)", r"<\\/\1", asset("3Dmol-min.js"), flags=re.IGNORECASE)


def embed_json(value: Any) -> str:
    """JSON that is safe inside ``<script>``: no character can end the element or a line of JavaScript."""
    text = json_text(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def render(prediction: Prediction, *, channel: str = "") -> str:
    """The report as HTML text.

    ``channel``: name of a ``BroadcastChannel`` on which the page receives other pockets of the same structure (:func:`update`);
    such a page is compact, as a part of another one.
    """
    structure = prediction.structure
    notes = [*structure.notes, *prediction.notes]
    values = {
        "thumbnail": thumbnail(prediction),
        "name": html.escape(structure.name),
        "summary": html.escape(_summary(prediction)),
        "notes": "".join(f"<p class='note'>{html.escape(note)}</p>" for note in notes),
        "pockets": _pocket_table(prediction),
        "n_residues": str(len(structure.residues)),
        "threshold": "" if prediction.settings.get("threshold") is None else "The dashed line is the threshold.",
        "line": "" if prediction.cryptic is None else "The line is the probability of a cryptic site.",
        "chance": "" if prediction.cryptic is None else " (of a cryptic site: see the note above)",
        "ligands": _ligand_table(prediction),
        "settings": _settings_table(prediction),
        "citation": html.escape(CITATION),
    }
    scene = _scene(prediction) | _found(prediction) | {"channel": channel}
    return page(
        f"{structure.name} – binding pockets", fill("report.html", values), kind="embedded" if channel else "page", scene=scene
    )


def page(title: str, content: str, *, css: str = "", kind: str = "", scene: Any = None, script: str | None = None) -> str:
    """The HTML frame of all pages of s2p: it works offline, and a content security policy allows no other script.

    Parameters
    ----------
    title
        Plain text.
    content
        HTML inside the body.
    css
        Rules after those of ``report.css``.
    kind
        Class of the body.
    scene
        JSON-ready values for the script; ``None``: a page without 3D view and script.
    script
        Script that draws ``scene`` with 3Dmol.js; default: that of the report.
    """
    policy, scripts = "default-src 'none'; ", ""
    if scene is not None:
        sources = library(), asset("report.js") if script is None else script
        policy += f"script-src {' '.join(map(script_hash, sources))}; img-src data: blob:; "
        scripts = f'<script type="application/json" id="data">{embed_json(scene)}</script>\n'
        scripts += "".join(f"<script>{source}</script>\n" for source in sources)
    policy += "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    values = {"policy": policy, "version": __version__, "title": html.escape(title), "style": asset("report.css") + css}
    return fill("page.html", values | {"kind": kind, "content": content, "scripts": scripts})


def update(prediction: Prediction) -> dict[str, Any]:
    """Message to a page of :func:`render` with a channel to show other pockets of its structure, as JSON-ready values."""
    tables = {"summary": html.escape(_summary(prediction)), "pocket-table": _pocket_table(prediction)}
    return _found(prediction) | {"html": tables | {"ligand-table": _ligand_table(prediction)}}


def script_hash(text: str) -> str:
    """Source of a Content-Security-Policy that allows this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _summary(prediction: Prediction) -> str:
    structure = prediction.structure
    return (
        f"{n_pockets(len(prediction.pockets))}; {int(prediction.positive.sum())} of {len(structure.residues)} residues binding; "
        f"chains {', '.join(structure.chains)}; predicted by {prediction.model}, s2p {__version__}"
    )


def _scene(prediction: Prediction) -> dict[str, Any]:
    """Data of the structure for the script."""
    structure = prediction.structure
    residues = structure.residues
    text, suffix = scores_text(prediction)
    return {
        "structure": text,
        "format": suffix,
        "owner": scores_order(structure).tolist(),
        # Without carbonyl oxygens there is no cartoon to draw.
        "trace": int((structure.atoms.name == "O").sum()) < len(residues) / 2,
        "residues": {
            "id": residues.ids(),
            "chain": residues.chain.tolist(),
            "number": residues.number.tolist(),
            "code": residues.insertion_code.tolist(),
            "name": residues.name.tolist(),
            "p": [round(p, 4) for p in np.nan_to_num(prediction.probabilities).astype(float).tolist()],
            "c": [] if prediction.cryptic is None else [round(p, 4) for p in prediction.cryptic.astype(float).tolist()],
        },
        "ligands": [np.round(x.coord.mean(axis=0).astype(float), 3).tolist() for x in structure.ligands if x.kind == "molecule"],
        "ramp": list(PROBABILITY),
        "cartoon": CARTOON,
        "ligand": LIGAND,
    }


def _found(prediction: Prediction) -> dict[str, Any]:
    """Data of the pockets for the script."""
    kinds = ([p for p in prediction.pockets if (p.site == "cryptic") == cryptic] for cryptic in (False, True))
    shown = [p for pockets in kinds for p in pockets[:SHOWN]]
    return {
        "smoothed": prediction.smoothed.astype(int).tolist(),
        "pocket": prediction.pocket_of_residue.tolist(),
        "pockets": [
            {
                "rank": p.rank,
                "label": p.label,
                "net": p.site == "cryptic",
                "color": pocket_color(p.rank),
                "ink": ink(pocket_color(p.rank)),
                "shown": p in shown,
                "probability": p.probability,
                "score": p.score,
                "volume": p.volume,
                "center": np.round(p.center.astype(float), 3).tolist(),
                "sites": np.round(p.sites[1:].astype(float), 3).tolist(),
                "residues": p.residues.tolist(),
                "pymol": f"select pocket{p.rank}, {pymol_selection(prediction, p)}",
                "chimerax": f"select {chimerax_selection(prediction, p)}",
            }
            for p in prediction.pockets
        ],
        "threshold": prediction.settings.get("threshold"),
    }


def _pocket_table(prediction: Prediction) -> str:
    if not prediction.pockets:
        return "<p>No pocket was predicted: no residue passed the threshold.</p>"
    ids, rows = prediction.structure.residues.ids(), []
    for p in prediction.pockets:
        values = {
            "rank": str(p.rank),
            "color": pocket_color(p.rank),
            "ink": ink(pocket_color(p.rank)),
            "remark": p.remark.lstrip(","),
            "cryptic": CRYPTIC if p.site == "cryptic" else "",
        }
        values |= {"probability": f"{p.probability:.2f}", "score": f"{p.score:.3f}", "volume": f"{p.volume:.0f}"}
        more = [", ".join(f"{x:.1f}" for x in site) for site in p.sites[1:].tolist()]
        values["sites"] = f"<br>a long site with {len(more) + 1} centres, also at {' and '.join(more)} Å" if more else ""
        values |= {"size": str(len(p.residues)), "residues": html.escape(" ".join(ids[i] for i in p.residues.tolist()))}
        rows.append(fill("pocket.html", values | {"center": ", ".join(f"{x:.1f}" for x in p.center.tolist())}))
    return fill("pockets.html", {"rows": "".join(rows)})


def _ligand_table(prediction: Prediction) -> str:
    found = ligand_hits(prediction, [ligand for ligand in prediction.structure.ligands if ligand.kind == "molecule"])
    if not found:
        return "<p>The structure contains no ligand molecule to compare with.</p>"
    rows = []
    for k, hit in enumerate(found):
        name, best = html.escape(hit.ligand), (hit.pocket, f"{hit.dca:.1f}", f"{hit.dcc:.1f}") if hit.pocket else "–––"
        cells = "".join(f"<td>{text}</td>" for text in (hit.n_atoms, "yes" if hit.found else "no", *best))
        button = f"<button type='button' data-ligand='{k}' aria-label='Zoom to {name}'>{name}</button>"
        rows.append(f"<tr><td class='left'>{button}</td>{cells}</tr>")
    return fill("ligands.html", {"rows": "".join(rows), "hit": f"{HIT:g}"})


def _settings_table(prediction: Prediction) -> str:
    rows = []
    settings = {"model": prediction.model, "s2p": __version__, **prediction.settings}
    for kind in ("cryptic", "DNA", "RNA"):
        settings |= {f"{kind}: {key}": value for key, value in settings.pop(kind, {}).items()}
    for key, value in settings.items():
        number = isinstance(value, (float, np.floating))
        text = f"{float(value):g}" if number else value if isinstance(value, str) else json_text(value)
        rows.append(f"<tr><th scope='row'>{html.escape(str(key))}</th><td>{html.escape(text)}</td></tr>")
    return f"<table class='settings'><tbody>{''.join(rows)}</tbody></table>"
