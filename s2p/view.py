"""Pictures of a prediction: an interactive 3D view for notebooks, and still ones (:mod:`s2p.figures`) that need no browser.

The interactive view is py3Dmol's with 3Dmol.js from this package in a frame of its own: it needs no network, and it works
where a notebook's page has other libraries or no module loader (JupyterLab, Colab, exported HTML).
"""

from __future__ import annotations

import html
import re
from typing import Any, Literal

import numpy as np

from s2p.errors import S2PError
from s2p.export import scores_order, scores_text
from s2p.figures import probability_plot, static_figure, static_png
from s2p.palette import CARTOON, LIGAND, PROBABILITY, ink, pocket_color
from s2p.prediction import Prediction
from s2p.report import asset

__all__ = ["probability_plot", "static_figure", "static_png", "view"]

SURFACES = 5
"""Pockets that get a surface in the 3D view: each costs the browser time."""


def view(
    prediction: Prediction,
    *,
    style: Literal["pocket", "probability"] = "pocket",
    backend: Literal["py3dmol", "nglview"] = "py3dmol",
    width: int = 760,
    height: int = 520,
) -> Any:
    """Interactive 3D view of a prediction, to be the last expression of a notebook cell.

    Parameters
    ----------
    style
        ``pocket``: cartoon in grey, pocket residues in the colours of :mod:`s2p.palette`; ``probability``: cartoon from
        white (0) to red (1) by residue probability.
    backend
        ``py3dmol`` (a ``py3Dmol.view``, so all its methods work) or ``nglview`` (a live widget, needs ``s2p[ngl]``).
    width, height
        Pixels.

    Raises
    ------
    S2PError
        If the backend or style is unknown or the backend is not installed.
    """
    if style not in ("pocket", "probability"):
        raise S2PError(f"there is no view style {style!r}; use 'pocket' or 'probability'")
    if backend == "py3dmol":
        return _py3dmol(prediction, style, width, height)
    if backend == "nglview":
        return _nglview(prediction, style, width, height)
    raise S2PError(f"there is no view backend {backend!r}; use 'py3dmol' or 'nglview'")


def _py3dmol(prediction: Prediction, style: str, width: int, height: int) -> Any:
    try:
        import py3Dmol
    except ImportError:
        raise S2PError("the 3D view needs py3Dmol; install it with: pip install py3Dmol") from None

    class FramedView(py3Dmol.view):
        """A py3Dmol view that carries its library and lives in a frame."""

        def _make_html(self) -> str:
            # Residue and chain names come from files: no text among them may end the script element.
            self.startjs: str = re.sub(r"<(?=/script|!--)", r"\\x3c", self.startjs, flags=re.IGNORECASE)
            library = re.sub(r"</(script)", r"<\\/\1", asset("3Dmol-min.js"), flags=re.IGNORECASE)
            # py3Dmol fetches the library from the network unless this promise exists.
            ready = "$3Dmol.setSyncSurface(true); var $3Dmolpromise = Promise.resolve();"
            page = (
                f"<!DOCTYPE html><meta charset='utf-8'><body style='margin:0;overflow:hidden'>"
                f"<script>{library}</script><script>{ready}</script>{super()._make_html()}</body>"
            )
            return (
                f'<iframe srcdoc="{html.escape(page)}" width="{width}" height="{height}" style="border:0;max-width:100%" '
                'title="3D view of the predicted pockets"></iframe>'
            )

        def _repr_html_(self) -> str:
            return self._make_html()

    text, suffix = scores_text(prediction)
    scene = FramedView(width=width, height=height)
    scene.addModel(text, suffix)
    protein = {"hetflag": False}
    if style == "probability":
        gradient = {"prop": "b", "gradient": "linear", "colors": list(PROBABILITY), "min": 0, "max": 100}
        scene.setStyle(protein, {"cartoon": {"colorscheme": gradient}})
    else:
        scene.setStyle(protein, {"cartoon": {"color": CARTOON}})
    owner = scores_order(prediction.structure)
    for p in prediction.pockets:
        color = pocket_color(p.rank)
        # By position in the file: 3Dmol.js does not read the insertion codes of mmCIF.
        chosen = {"index": np.flatnonzero(np.isin(owner, p.residues)).tolist()}
        if not len(p.residues):
            continue
        if style == "pocket":
            scene.addStyle(chosen, {"cartoon": {"color": color}})
        scene.addStyle(chosen, {"stick": {"radius": 0.16, "colorscheme": {"prop": "elem", "map": {**_ELEMENTS, "C": color}}}})
        if p.rank <= SURFACES:
            scene.addSurface("MS", {"opacity": 0.65, "color": color}, chosen, protein)
        label = {"backgroundColor": color, "fontColor": ink(color), "fontSize": 14, "inFront": True, "alignment": "center"}
        scene.addLabel(str(p.rank), {**label, "position": dict(zip("xyz", p.center.astype(float).tolist(), strict=True))})
    scene.setStyle(
        {"hetflag": True}, {"stick": {"radius": 0.22, "colorscheme": {"prop": "elem", "map": {**_ELEMENTS, "C": LIGAND}}}}
    )
    scene.zoomTo(protein)
    return scene


_ELEMENTS = {"N": "#3050F8", "O": "#FF0D0D", "S": "#C8A800", "P": "#FF8000", "F": "#70B050", "CL": "#1FA01F", "BR": "#A62929"}


def _columns(residues: Any) -> tuple[Any, Any, Any]:
    return residues.chain, residues.number, residues.insertion_code


def _nglview(prediction: Prediction, style: str, width: int, height: int) -> Any:
    try:
        import nglview
    except ImportError:
        raise S2PError("this view needs nglview; install it with: pip install 's2p[ngl]', or use backend='py3dmol'") from None
    text, suffix = scores_text(prediction)
    scene = nglview.NGLWidget(nglview.TextStructure(text, ext=suffix), default_representation=False)
    if style == "probability":
        scene.add_representation(
            "cartoon", selection="protein", color_scheme="bfactor", color_scale="OrRd", color_domain=[0, 100]
        )
    else:
        scene.add_representation("cartoon", selection="protein", color=CARTOON)
    residues = prediction.structure.residues
    for p in prediction.pockets:
        chosen = " or ".join(
            f"{n}{f'^{i}' if i else ''}:{c}"
            for c, n, i in zip(*(x[p.residues].tolist() for x in _columns(residues)), strict=True)
        )
        if chosen:
            scene.add_representation("licorice", selection=f"({chosen}) and protein", color=pocket_color(p.rank))
    scene.add_representation("ball+stick", selection="hetero and not water")
    scene.layout.width, scene.layout.height = f"{width}px", f"{height}px"
    scene.center()
    return scene
