"""Interactive 3D view of a prediction for notebooks. Still pictures, which need no browser, are in :mod:`s2p.output.pictures`.

The view is py3Dmol's with 3Dmol.js from this package in its own frame, so it works offline, and also if a notebook's page has
other libraries or no module loader (JupyterLab, Colab, exported HTML). Every view has a still picture of the prediction as PNG,
for places where no script runs.
"""

from __future__ import annotations

import base64
import html
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from s2p.errors import DISTRIBUTION, S2PError
from s2p.io.runtime import in_colab
from s2p.output.files import fill, scores_order, scores_text
from s2p.output.palette import CARTOON, ELEMENTS, LIGAND, PROBABILITY, ink, pocket_color, rgb
from s2p.output.pictures import facing, static_png
from s2p.output.report import embed_json, library
from s2p.prediction import Prediction

__all__ = ["view"]

SURFACES = 5
"""Number of pockets with a surface in the 3D view: each takes the browser time."""


def view(
    prediction: Prediction,
    *,
    style: Literal["pocket", "probability"] = "pocket",
    show: Literal["surface", "points", "sticks"] = "surface",
    backend: Literal["py3dmol", "nglview"] = "py3dmol",
    width: int = 760,
    height: int = 520,
) -> Any:
    """Interactive 3D view of a prediction, to be the last expression of a notebook cell.

    Parameters
    ----------
    prediction
        Result of :func:`s2p.predict`.
    style
        ``pocket``: cartoon in grey, pocket residues in the colours of :mod:`s2p.output.palette`; ``probability``: cartoon from
        white (0) to red (1) by residue probability.
    show
        What is drawn for pockets in addition to sticks: a molecular ``surface`` (of the best five; a net for a
        cryptic site), the ``points`` from which they were clustered, or nothing (``sticks``).
    backend
        ``py3dmol`` (a ``py3Dmol.view`` with all its methods and a legend; hover to see the name of a residue, click to see its
        probability) or ``nglview`` (a live widget, in the extra ``notebooks``; hover to see the names of atoms).
    width, height
        Pixels.

    Returns
    -------
    py3Dmol.view or nglview.NGLWidget
        The view, with a static picture (PNG) for places where no script runs.

    Raises
    ------
    S2PError
        If the backend, style or ``show`` is unknown or the backend is not installed.

    Examples
    --------
    >>> import s2p
    >>> prediction = s2p.predict("data/examples/1ubi.pdb.gz")
    >>> scene = s2p.view(prediction, style="probability")
    """
    known = {"style": ("pocket", "probability"), "show": ("surface", "points", "sticks"), "backend": ("py3dmol", "nglview")}
    for (name, values), value in zip(known.items(), (style, show, backend), strict=True):
        if value not in values:
            raise S2PError(f"there is no view {name} {value!r}; use {' or '.join(map(repr, values))}")
    return (_py3dmol if backend == "py3dmol" else _nglview)(prediction, style, show, width, height)


def _py3dmol(prediction: Prediction, style: str, show: str, width: int, height: int) -> Any:
    import py3Dmol

    class FramedView(py3Dmol.view):
        """A py3Dmol view in a frame that contains its library."""

        def _make_html(self) -> str:
            # Residue and chain names come from files and must not end the script element.
            self.startjs: str = re.sub(r"<(?=/script|!--)", r"\\x3c", self.startjs, flags=re.IGNORECASE)
            values = {"library": library(), "names": embed_json(_names(prediction)), "legend": _legend(prediction, style)}
            page = fill("view.html", values | {"view": super()._make_html()})
            return (
                f'<iframe srcdoc="{html.escape(page)}" width="{width}" height="{height}" style="border:0;max-width:100%" '
                'title="3D view of the predicted pockets"></iframe>'
            )

        _repr_html_ = _make_html

        def _repr_png_(self) -> bytes:
            return static_png(prediction, style=style, dpi=100)

    text, suffix = scores_text(prediction)
    scene = FramedView(width=width, height=height)
    scene.addModel(text, suffix)
    protein = {"hetflag": False}
    gradient = {"prop": "b", "gradient": "linear", "colors": list(PROBABILITY), "min": 0, "max": 100}
    scene.setStyle(protein, {"cartoon": {"colorscheme": gradient} if style == "probability" else {"color": CARTOON}})
    owner = scores_order(prediction.structure)
    for p in (p for p in prediction.pockets if len(p.residues)):
        color = pocket_color(p.rank)
        # By position in the file: 3Dmol.js does not read the insertion codes of mmCIF.
        chosen = {"index": np.flatnonzero(np.isin(owner, p.residues)).tolist()}
        if style == "pocket":
            scene.addStyle(chosen, {"cartoon": {"color": color}})
        scene.addStyle(chosen, _sticks(0.16, color))
        if show == "surface" and p.rank <= SURFACES:
            look = {"opacity": 0.65, "color": color, "wireframe": p.site == "cryptic"}
            scene.addSurface("MS", look, chosen, protein)
        label = {"backgroundColor": color, "fontColor": ink(color), "fontSize": 14, "inFront": True, "alignment": "center"}
        scene.addLabel(p.label, {**label, "position": dict(zip("xyz", p.center.astype(float).tolist(), strict=True))})
    scene.setStyle({"hetflag": True}, _sticks(0.22, LIGAND))
    if show == "points":
        for p in prediction.pockets:
            lines = [f"X {x:.2f} {y:.2f} {z:.2f}" for x, y, z in p.points.astype(float).tolist()]
            scene.addModel("\n".join([str(len(lines)), "", *lines]), "xyz")
            scene.setStyle({"model": -1}, {"sphere": {"radius": 0.35, "color": pocket_color(p.rank)}})
    call = "function(atom, viewer) {{ {}(atom, viewer); }}".format
    scene.setHoverable(protein, True, call("s2pHover"), call("s2pLeave"))
    scene.setClickable(protein, True, call("s2pClick"))
    turn = Rotation.from_matrix(facing(prediction, prediction.structure.residues.ca_coord.mean(axis=0, dtype=float)))
    scene.setView([0, 0, 0, 0, *turn.as_quat().tolist()]).zoomTo({"model": 0, **protein})  # turned as the still picture is
    return scene


def _names(prediction: Prediction) -> list[str]:
    """Label of each atom of the scores file; none for ligands."""
    residues, rank = prediction.structure.residues, prediction.pocket_of_residue.tolist()
    cryptic = [""] * len(rank) if prediction.cryptic is None else [f", cryptic {p:.2f}" for p in prediction.cryptic.tolist()]
    columns = zip(residues.ids(), residues.name.tolist(), prediction.probabilities.tolist(), cryptic, rank, strict=True)
    texts = [f"{i} {name}:  probability {p:.2f}{c}" + (f", pocket {r}" if r else "") for i, name, p, c, r in columns]
    return [texts[k] if k >= 0 else "" for k in scores_order(prediction.structure).tolist()]


def _legend(prediction: Prediction, style: str) -> str:
    rows = [
        f"<div><i style='background:{pocket_color(p.rank)}'></i> pocket {p.rank}: {p.probability:.2f}{p.remark}</div>"
        for p in prediction.pockets[:SURFACES]
    ]
    if len(prediction.pockets) > SURFACES:
        rows.append(f"<div>and {len(prediction.pockets) - SURFACES} more</div>")
    if any(ligand.kind == "molecule" for ligand in prediction.structure.ligands):
        rows.append(f"<div><i style='background:{LIGAND}'></i> known ligand</div>")
    if style == "probability":
        ramp = f"linear-gradient(90deg,{','.join(PROBABILITY)})"
        rows.append(f"<div>0 <i class='ramp' style='background:{ramp}'></i> 1 residue probability</div>")
    return "".join(rows)


def _sticks(radius: float, carbon: str) -> dict[str, Any]:
    return {"stick": {"radius": radius, "colorscheme": {"prop": "elem", "map": {**ELEMENTS, "C": carbon}}}}


def _at(index: NDArray[np.bool_]) -> str:
    """NGL's selection of atoms by position in the file, which works with any chain name and numbering."""
    return "@" + ",".join(map(str, np.flatnonzero(index).tolist()))


def _nglview(prediction: Prediction, style: str, show: str, width: int, height: int) -> Any:
    try:
        import nglview
    except ImportError:
        raise S2PError(f"this view needs nglview: pip install '{DISTRIBUTION}[notebooks]', or use backend='py3dmol'") from None
    if in_colab():
        from google.colab import output

        output.enable_custom_widget_manager()

    class PicturedWidget(nglview.NGLWidget):  # with a still picture beside it
        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            live: dict[str, Any] = super()._repr_mimebundle_(**options)
            return live | {"image/png": base64.b64encode(static_png(prediction, style=style, dpi=100)).decode()}

    text, suffix = scores_text(prediction)
    scene = PicturedWidget(nglview.TextStructure(text, ext=suffix), default_representation=False)
    ramp = {"color_scheme": "bfactor", "color_scale": "OrRd", "color_domain": [0, 100]}
    scene.add_representation("cartoon", selection="protein", **(ramp if style == "probability" else {"color": CARTOON}))
    owner = scores_order(prediction.structure)
    for p in prediction.pockets:
        color = pocket_color(p.rank)
        if len(p.residues):
            chosen = _at(np.isin(owner, p.residues))
            scene.add_representation("licorice", selection=chosen, color_scheme="element", color_value=color, radius=0.16)
            if show == "surface" and p.rank <= SURFACES:
                look = {"color": color, "opacity": 0.5, "wireframe": p.site == "cryptic"}
                scene.add_representation("surface", selection=chosen, **look)
        if show == "points" and len(p.points):
            places, n = p.points.astype(float).round(3).ravel().tolist(), len(p.points)
            scene.shape.add_buffer("sphere", position=places, color=list(rgb(color)) * n, radius=[0.35] * n)
    if (owner < 0).any():
        scene.add_representation("licorice", selection=_at(owner < 0), color_scheme="element", color_value=LIGAND, radius=0.24)
    scene.layout.width, scene.layout.height = f"{width}px", f"{height}px"
    scene.center()
    return scene
