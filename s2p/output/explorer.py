"""Pockets with sliders: at every change the stages after the language model run again, in milliseconds.

The 3D view, the table and the sequence track are the report (:mod:`s2p.output.report`) in a frame. The frame keeps its
orientation and zoom, and receives new pockets over a ``BroadcastChannel``; so only widgets of ipywidgets itself are needed,
and it works offline in JupyterLab, Notebook 7, Colab and VS Code. Below the widget the last state is stored as a still picture
with tables, for GitHub, print, and notebooks opened without a kernel.
"""

from __future__ import annotations

import asyncio
import base64
import html
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import DISTRIBUTION, S2PError
from s2p.output.files import fill
from s2p.output.pictures import figure_png, static_png
from s2p.output.report import embed_json, render, update
from s2p.output.track import CAPTION, in_words, track_figure
from s2p.pockets.hits import ligand_hits, pocket_fragmentation_index
from s2p.prediction import Prediction, n_pockets
from s2p.predictor import ResidueScores, Seq2Pocket, load, load_structure
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Structure

__all__ = ["Explorer", "explore"]

SLIDERS = {
    "threshold": ("residue threshold", "residues with a probability above this are shown as binding", 0.05, 0.95, 0.01),
    "smoothing_threshold": ("smoothing threshold", "neighbours with a probability above this are added", 0.05, 0.95, 0.01),
    "bandwidth": ("bandwidth (Å)", "a larger bandwidth gives fewer, larger pockets", 4.0, 16.0, 0.5),
    "probe_radius": ("probe radius (Å)", "radius of the probe sphere that rolls over the surface", 1.0, 2.4, 0.1),
}
"""Label, tooltip, ends and step of each slider."""

REST = 0.8
"""Seconds without a change after which the still picture is drawn again, which takes about one second."""

APPLIES = {
    "surface": "Pockets and probabilities come from the surface network. The residue threshold decides which residues are "
    "shown as binding; the sliders do not change the pockets.",
    "published": "Pockets are clusters of the surface points of predicted residues. All sliders apply.",
}
"""Explanation of the sliders for each ranking."""


def explore(
    source: Prediction | Structure | str | Path,
    *,
    chain: str | Sequence[str] | None = None,
    model: str | Path | None = None,
    config: PredictConfig | None = None,
    device: str = "auto",
) -> Explorer:
    """Explore the pockets of a structure with sliders; use it as the last expression of a notebook cell.

    Parameters
    ----------
    source
        A source as for :func:`s2p.predict`, or a prediction, with whose settings the sliders start.
    chain
        Author chain ids, as a list or as ``"A,B"``; default all.
    model
        A Seq2Pocket model as for :func:`s2p.load`. Default: the prediction's model, or the shipped one.
    config
        Initial settings of the sliders; settings without a slider do not change.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    Explorer
        ``explorer.prediction`` and ``explorer.config`` follow the sliders.

    Raises
    ------
    S2PError
        If ipywidgets is missing, the structure cannot be read, the model has other stages, or both kinds of site are requested.

    Examples
    --------
    >>> import s2p
    >>> explorer = s2p.explore("data/examples/1ubi.pdb.gz", device="cpu")
    >>> explorer.prediction.structure.name
    '1ubi'
    """
    if isinstance(source, Prediction):
        config = config or _config_of(source)
        model, source = model or source.model, source.structure
    found = load(model or DEFAULT_MODEL, device=device)
    if not isinstance(found, Seq2Pocket):
        raise S2PError(f"the sliders set stages of Seq2Pocket, which {found.name} does not have; use s2p.predict")
    return Explorer(found, load_structure(source, chain), config=config)


def _config_of(prediction: Prediction) -> PredictConfig:
    """The configuration of a prediction, from its settings; defaults for settings that are not recorded."""
    found = prediction.settings

    def named(config: Any, names: str) -> Any:
        pairs = (name.partition("=")[::2] for name in names.split())
        return replace(config, **{field: found[key or field] for field, key in pairs if (key or field) in found})

    base: PredictConfig = named(PredictConfig(), "sites threshold smoothing_threshold ranking use_smoothing=smoothing")
    return replace(
        base,
        smoothing=named(base.smoothing, "radius=smoothing_radius"),
        cluster=named(base.cluster, "bandwidth seeding frame"),
        surface=named(base.surface, "n_points probe_radius context=buried_by"),
    )


class Explorer:
    """Sliders for a prediction; use it as the last expression of a notebook cell.

    Parameters
    ----------
    model, structure
        The predictor and the structure.
    scores
        Residue scores, if already computed; otherwise the language model runs once.
    config
        Initial settings of the controls; settings without a control do not change. Default ranking: the predictor's choice.

    Attributes
    ----------
    prediction : Prediction
        The prediction for the current settings.
    config : PredictConfig
        The current settings, for :func:`s2p.predict`.
    widget : ipywidgets.VBox

    Raises
    ------
    S2PError
        If ipywidgets is not installed or an option does not fit the checkpoint.
    """

    def __init__(
        self, model: Seq2Pocket, structure: Structure, *, scores: ResidueScores | None = None, config: PredictConfig | None = None
    ) -> None:
        try:
            import ipywidgets
        except ImportError:
            raise S2PError(f"the explorer needs ipywidgets: pip install '{DISTRIBUTION}[notebooks]'") from None
        self._widgets = ipywidgets
        self.model, self.structure = model, structure
        self._start = config or PredictConfig()
        if self._start.sites == "both":  # with other thresholds
            raise S2PError("the sliders work for one kind of site; give a config with general or with cryptic sites")
        # Computed once, also if it starts with the published pockets, so that sliders need not wait.
        self.scores = model.with_readings(structure, scores or model.score(structure, self._start))
        self.ligands = relevant_ligands(structure)
        self._sites = [binding_residues(structure, ligand.coord) for ligand in self.ligands]
        self._channel = f"s2p-{uuid4().hex}"
        self._still: Any = None
        self._later: asyncio.TimerHandle | None = None
        self._quiet = False
        # A prediction's settings also contain the choices of the predictor for values that the configuration leaves open.
        # Those of the published method are included, for users who switch to it.
        published = model.pockets(structure, self.scores, replace(self._start, ranking="published")).settings
        first = model.pockets(structure, self.scores, self._start).settings
        self._thresholds = {"published": published["threshold"], first["ranking"]: first["threshold"]}
        self._controls = self._make_controls(published | first)
        self._applies, self._sender, self._figures, self._message = (ipywidgets.HTML() for _ in range(4))
        self._predict()
        frame = ipywidgets.HTML(
            f"<iframe srcdoc='{html.escape(render(self.prediction, channel=self._channel))}' "
            "style='width:100%;height:860px;border:0' title='3D view, table and sequence track of the pockets'></iframe>"
        )
        frame.layout.width = self._sender.layout.width = "100%"
        controls = ipywidgets.HBox(list(self._controls.values()), layout={"flex_flow": "row wrap", "width": "100%"})
        self.widget = ipywidgets.VBox([controls, self._applies, self._figures, self._message, frame, self._sender])

    def _make_controls(self, first: dict[str, Any]) -> dict[str, Any]:
        make, checkpoint = self._widgets, self.model.checkpoint
        sliders: dict[str, Any] = {}
        for key, (label, tooltip, low, high, step) in SLIDERS.items():
            # A value that is not a multiple of the step would come back from the page slightly changed.
            value = round(min(max(round(first[key] / step) * step, low), high), 6)
            text = {"description": label, "tooltip": tooltip, "readout_format": ".2f" if step < 0.1 else ".1f"}
            look = {"style": {"description_width": "12em"}, "layout": {"width": "29em"}}
            sliders[key] = make.FloatSlider(value, min=low, max=high, step=step, **text, **look)
        smoothing = make.Checkbox(first["smoothing"], description="smoothing", indent=False, layout={"width": "9em"})
        # A checkpoint without a surface network has published pockets only.
        options = ["published"] if checkpoint.surface is None else ["surface", "published"]
        if checkpoint.surface is not None:
            self._thresholds.setdefault("surface", checkpoint.surface.threshold)
        text = {"description": "ranking", "tooltip": "how pockets are found and ranked"}
        look = {"style": {"description_width": "5em"}, "layout": {"width": "15em"}}
        ranking = make.Dropdown(options=options, value=first["ranking"], disabled=len(options) == 1, **text, **look)
        reset = make.Button(description="Reset", tooltip="back to where the sliders began")
        controls = {"ranking": ranking, "threshold": sliders.pop("threshold"), "smoothing": smoothing, **sliders}
        start = {key: control.value for key, control in controls.items()}
        ranking.observe(self._turn, names="value")
        for control in controls.values():
            control.observe(self._changed, names="value")
        reset.on_click(lambda _: self._reset(start))
        return {**controls, "reset": reset}

    def _settings(self) -> PredictConfig:
        # Rounded, because a default that comes back as 1.6000000000000001 would count as changed.
        v = {key: round(c.value, 6) if key in SLIDERS else c.value for key, c in self._controls.items() if key != "reset"}
        return replace(
            self._start,
            **{key: v[key] for key in ("ranking", "threshold", "smoothing_threshold")},
            use_smoothing=v["smoothing"],
            cluster=replace(self._start.cluster, bandwidth=v["bandwidth"]),
            surface=replace(self._start.surface, probe_radius=v["probe_radius"]),
        )

    def _predict(self) -> None:
        """Table of the current prediction; controls without an effect are disabled, with an explanation."""
        controls, begun, config = self._controls, time.perf_counter(), self._settings()
        idle = config.ranking == "surface"
        controls["smoothing"].disabled = idle or self.model.checkpoint.smoother is None
        controls["smoothing_threshold"].disabled = idle or not config.use_smoothing
        controls["bandwidth"].disabled = controls["probe_radius"].disabled = idle
        self._applies.value = f"<small>{html.escape(APPLIES[str(config.ranking)])}</small>"
        self.prediction, self.config = self.model.pockets(self.structure, self.scores, config), config
        spent = f"<small>({1000 * (time.perf_counter() - begun):.0f} ms)</small>"
        self._figures.value = f"<span style='font-variant-numeric:tabular-nums'>{html.escape(self.summary())} {spent}</span>"

    def _changed(self, _: Any) -> None:
        if self._quiet:
            return
        try:
            self._predict()
        except S2PError as error:
            self._message.value = f"<b>{html.escape(str(error))}</b>"
            return
        self._message.value = ""
        self._send()
        self._redraw_later()

    def _turn(self, change: Any) -> None:
        """Update the threshold for another ranking, which has other probabilities."""
        quiet, self._quiet = self._quiet, True
        self._controls["threshold"].value = self._thresholds[change["new"]]
        self._quiet = quiet

    def _reset(self, start: dict[str, Any]) -> None:
        self._quiet = True
        for key, value in start.items():
            self._controls[key].value = value
        self._quiet = False
        self._changed(None)

    def _send(self) -> None:
        """Send the pockets to the frame: at once, and again when a frame that is still loading reports that it is ready."""
        page = fill("send.html", {"channel": embed_json(self._channel), "message": embed_json(update(self.prediction))})
        self._sender.value = f"<iframe srcdoc='{html.escape(page)}' style='display:none' aria-hidden='true'></iframe>"

    def summary(self) -> str:
        """Sentences that compare the prediction with the ligands of the structure; distances in Å."""
        p = self.prediction
        text = f"{n_pockets(len(p.pockets))}, {int(p.positive.sum())} residues ({int(p.smoothed.sum())} by smoothing), "
        text += f"ranking {p.settings['ranking']}."
        if not self.ligands:
            return text + " The structure holds no ligand of interest to compare with."
        for hit in ligand_hits(p, self.ligands):
            text += f" {hit.ligand}: "
            if hit.pocket:
                text += f"pocket {hit.pocket}, DCC {hit.dcc:.1f} Å, DCA {hit.dca:.1f} Å, {hit.covered:.0%} of its residues."
            else:
                text += "no pocket."
        pfi = pocket_fragmentation_index(self._sites, [pocket.residues for pocket in p.pockets])
        return f"{text} PFI: " + ("no ligand is touched." if math.isnan(pfi) else f"{pfi:.2f} pockets a ligand.")

    def _redraw_later(self) -> None:
        """Update the still picture when the sliders rest, or at once if no event loop runs."""
        if self._later is not None:
            self._later.cancel()
        if self._still is None:
            return
        try:
            self._later = asyncio.get_running_loop().call_later(REST, lambda: self._still.update(self.still(), raw=True))
        except RuntimeError:
            self._still.update(self.still(), raw=True)

    def still(self) -> dict[str, Any]:
        """The current state as still pictures and tables, by media type."""
        p, words = self.prediction, in_words(self.prediction)
        image, track = (base64.b64encode(x).decode() for x in (static_png(p, dpi=90), figure_png(track_figure(p, dpi=90))))
        settings = ", ".join(f"{key} {value}" for key, value in p.settings.items())
        texts = {"summary": self.summary(), "scene": f"Pockets of {p.structure.name} in 3D. {words}", "words": words}
        values = {key: html.escape(text) for key, text in (texts | {"caption": CAPTION, "settings": settings}).items()}
        page = fill("still.html", values | {"picture": image, "track": track, "table": p._repr_html_()})
        return {"text/plain": self.summary(), "image/png": image, "text/html": page}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
        self._still = display(self.still(), raw=True, display_id=True)
