"""Pockets that follow sliders: the stages after the language model run again at every change, in milliseconds.

The 3D view, the table and the sequence track are the report (:mod:`s2p.output.report`) in a frame. The frame stays, with its turn
and zoom, and takes new pockets over a ``BroadcastChannel``; so only widgets of ipywidgets itself are needed, and it works
offline in JupyterLab, Notebook 7, Colab and VS Code. Under the widget the last state is kept as a still picture with tables,
for GitHub, print, and notebooks opened without a kernel.
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
from s2p.errors import S2PError
from s2p.output.pictures import figure_png, static_png
from s2p.output.report import embed_json, render, update
from s2p.output.track import CAPTION, in_words, track_figure
from s2p.pockets.hits import ligand_hits, pocket_fragmentation_index
from s2p.prediction import Prediction
from s2p.predictor import ResidueScores, Seq2Pocket, load, load_structure
from s2p.structure.contacts import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Structure

__all__ = ["Explorer", "explore"]


SLIDERS = {
    "threshold": ("residue threshold", "residues with a probability above this bind", 0.05, 0.95, 0.01),
    "smoothing_threshold": ("smoothing threshold", "neighbours that the classifier puts above this are added", 0.05, 0.95, 0.01),
    "bandwidth": ("bandwidth (Å)", "larger makes fewer, larger pockets", 4.0, 16.0, 0.5),
    "probe_radius": ("probe radius (Å)", "size of the probe that rolls over the surface", 1.0, 2.4, 0.1),
}
"""Label, tooltip, ends and step of each slider."""

REST = 0.8
"""Seconds without a change before the still picture is drawn anew, which takes about one."""

APPLIES = {
    "surface": "Pockets are peaks of the learned score over the whole surface: bandwidth and probe radius do not apply; the "
    "thresholds only decide which predicted residues join a pocket.",
    "published": "Pockets are clusters of the predicted residues' surface points: every slider applies.",
}
"""What the sliders do under each ranking."""


def explore(
    source: Prediction | Structure | str | Path,
    *,
    chain: str | Sequence[str] | None = None,
    model: str | Path | None = None,
    config: PredictConfig | None = None,
    device: str = "auto",
) -> Explorer:
    """Explore the pockets of a structure with sliders, as the last expression of a notebook cell.

    Parameters
    ----------
    source
        What :func:`s2p.predict` takes, or a prediction: the sliders start with its settings.
    chain
        Author chain ids, as a list or as ``"A,B"``; default all.
    model
        What :func:`s2p.load` takes, with the stages of Seq2Pocket. Default: the prediction's model, else the shipped one.
    config
        Where the sliders start; what has no slider stays as it is.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    Explorer
        ``explorer.prediction`` and ``explorer.config`` follow the sliders.

    Raises
    ------
    S2PError
        If ipywidgets is not installed, the structure cannot be read, or the model has other stages.

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
        raise S2PError(f"the sliders are of the stages of Seq2Pocket, which {found.name} does not have; use s2p.predict")
    return Explorer(found, load_structure(source, chain), config=config)


def _config_of(prediction: Prediction) -> PredictConfig:
    """The configuration that a prediction's settings tell of; defaults for what they do not name."""
    found, base = prediction.settings, PredictConfig()

    def named(config: Any, **names: str) -> Any:
        return replace(config, **{field: found[name] for field, name in names.items() if name in found})

    own = {"threshold": "threshold", "smoothing_threshold": "smoothing_threshold", "ranking": "ranking"}
    whole: PredictConfig = named(base, **own, use_context="context", use_smoothing="smoothing")
    return replace(
        whole,
        smoothing=named(base.smoothing, radius="smoothing_radius"),
        cluster=named(base.cluster, bandwidth="bandwidth", seeding="seeding", frame="frame"),
        surface=named(base.surface, n_points="n_points", probe_radius="probe_radius", context="buried_by"),
    )


class Explorer:
    """Sliders over a prediction, to be the last expression of a notebook cell.

    Parameters
    ----------
    model, structure
        The predictor, and what it is asked about.
    scores
        Residue scores, if they are there already; the language model runs once otherwise.
    config
        Where the controls start; what has no control stays as it is. With no ranking in it, the predictor's choice for it.

    Attributes
    ----------
    prediction : Prediction
        Of the current settings.
    config : PredictConfig
        The current settings, for :func:`s2p.predict`.
    widget : ipywidgets.VBox

    Raises
    ------
    S2PError
        If ipywidgets is not installed or an option does not fit the checkpoint.
    """

    def __init__(
        self,
        model: Seq2Pocket,
        structure: Structure,
        *,
        scores: ResidueScores | None = None,
        config: PredictConfig | None = None,
    ) -> None:
        try:
            import ipywidgets
        except ImportError:
            raise S2PError("the explorer needs ipywidgets; install it with: pip install 's2p[notebooks]'") from None
        self._widgets = ipywidgets
        self.model, self.structure = model, structure
        self._start = config or PredictConfig()
        self.scores = scores or model.score(structure, self._start)
        self.ligands = relevant_ligands(structure)
        self._sites = [binding_residues(structure, ligand.coord) for ligand in self.ligands]
        self._channel = f"s2p-{uuid4().hex}"
        self._still: Any = None
        self._later: asyncio.TimerHandle | None = None
        self._quiet = False
        # A prediction's settings also say what the predictor chooses where the configuration names nothing.
        self._controls = self._make_controls(model.pockets(structure, self.scores, self._start).settings)
        self._applies, self._sender, self._figures, self._message = (ipywidgets.HTML() for _ in range(4))
        self._grey()
        self._predict()
        frame = ipywidgets.HTML(
            f"<iframe srcdoc='{html.escape(render(self.prediction, channel=self._channel))}' "
            "style='width:100%;height:860px;border:0' title='3D view, table and sequence track of the pockets'></iframe>"
        )
        frame.layout.width = self._sender.layout.width = "100%"
        self._show_figures()
        controls = ipywidgets.HBox(list(self._controls.values()), layout=ipywidgets.Layout(flex_flow="row wrap", width="100%"))
        self.widget = ipywidgets.VBox([controls, self._applies, self._figures, self._message, frame, self._sender])

    def _make_controls(self, first: dict[str, Any]) -> dict[str, Any]:
        widgets, checkpoint = self._widgets, self.model.checkpoint
        controls: dict[str, Any] = {}
        for key, (label, tooltip, low, high, step) in SLIDERS.items():
            # A value that is not a whole number of steps would come back from the page a little changed.
            value = min(max(round(first[key] / step) * step, low), high)
            controls[key] = widgets.FloatSlider(
                value=round(value, 6),
                min=low,
                max=high,
                step=step,
                description=label,
                tooltip=tooltip,
                readout_format=".2f" if step < 0.1 else ".1f",
                style={"description_width": "12em"},
                layout={"width": "29em"},
            )
        controls["smoothing"] = widgets.Checkbox(
            value=first["smoothing"], description="smoothing", indent=False, disabled=checkpoint.smoother is None
        )
        controls["smoothing"].layout.width = "9em"
        # A checkpoint without a scorer of points has published pockets only.
        rankings = ["published"] if checkpoint.points is None else ["surface", "published"]
        controls["ranking"] = widgets.Dropdown(
            options=rankings,
            value=first["ranking"],
            description="ranking",
            tooltip="how pockets are found and ranked",
            disabled=len(rankings) == 1,
            style={"description_width": "5em"},
            layout={"width": "15em"},
        )
        controls["reset"] = widgets.Button(description="Reset", tooltip="back to where the sliders began")
        controls["reset"].on_click(self._reset)
        order = ("ranking", "threshold", "smoothing", "smoothing_threshold", "bandwidth", "probe_radius")
        for key in order:
            controls[key].observe(self._changed, names="value")
        self._first = {key: controls[key].value for key in order}
        return {key: controls[key] for key in (*order, "reset")}

    def _grey(self) -> None:
        """Disable what has no say in the current state, and say so."""
        controls = self._controls
        ranking = controls["ranking"].value
        controls["smoothing_threshold"].disabled = not controls["smoothing"].value
        for key in ("bandwidth", "probe_radius"):
            controls[key].disabled = ranking == "surface"
        self._applies.value = f"<small>{html.escape(APPLIES[ranking])}</small>"

    def _settings(self) -> PredictConfig:
        # Rounded, because a default that comes back as 1.6000000000000001 would count as changed.
        values = {k: c.value for k, c in self._controls.items() if k != "reset"}
        values |= {k: round(values[k], 6) for k in SLIDERS}
        return replace(
            self._start,
            ranking=values["ranking"],
            threshold=values["threshold"],
            use_smoothing=values["smoothing"],
            smoothing_threshold=values["smoothing_threshold"],
            cluster=replace(self._start.cluster, bandwidth=values["bandwidth"]),
            surface=replace(self._start.surface, probe_radius=values["probe_radius"]),
        )

    def _predict(self) -> None:
        start, config = time.perf_counter(), self._settings()
        self.prediction = self.model.pockets(self.structure, self.scores, config)
        self.config, self._seconds = config, time.perf_counter() - start

    def _changed(self, _: Any) -> None:
        if self._quiet:
            return
        self._grey()
        try:
            self._predict()
        except S2PError as error:
            self._message.value = f"<b>{html.escape(str(error))}</b>"
            return
        self._message.value = ""
        self._send()
        self._show_figures()
        self._redraw_later()

    def _reset(self, _: Any) -> None:
        self._quiet = True
        for key, value in self._first.items():
            self._controls[key].value = value
        self._quiet = False
        self._changed(None)

    def _send(self) -> None:
        """Pass the pockets to the frame: at once, and again when a frame that is still loading says it is ready."""
        script = (
            f"const c = new BroadcastChannel({embed_json(self._channel)}), m = {embed_json(update(self.prediction))};"
            'c.onmessage = e => { if (e.data === "ready") c.postMessage(m); }; c.postMessage(m);'
        )
        page = f"<!DOCTYPE html><meta charset='utf-8'><script>{script}</script>"
        self._sender.value = f"<iframe srcdoc='{html.escape(page)}' style='display:none' aria-hidden='true'></iframe>"

    def _show_figures(self) -> None:
        self._figures.value = (
            f"<span style='font-variant-numeric:tabular-nums'>{html.escape(self.summary())} "
            f"<small>({1000 * self._seconds:.0f} ms)</small></span>"
        )

    def summary(self) -> str:
        """The prediction against the ligands of the structure, in words: distances in Å."""
        p = self.prediction
        text = f"{len(p.pockets)} pockets, {int(p.positive.sum())} residues ({int(p.smoothed.sum())} by smoothing), "
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
        """The still picture follows when the sliders rest; where no event loop runs, at once."""
        if self._still is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._redraw()
            return
        if self._later is not None:
            self._later.cancel()
        self._later = loop.call_later(REST, self._redraw)

    def _redraw(self) -> None:
        self._still.update(self.still(), raw=True)

    def still(self) -> dict[str, Any]:
        """The current state as still pictures and tables, by media type."""
        p, words = self.prediction, in_words(self.prediction)
        picture, track = static_png(p, dpi=90), figure_png(track_figure(p, dpi=90), description=words)
        parts = [
            f"<p>{html.escape(self.summary())}</p>",
            _image(picture, f"Pockets of {p.structure.name} in 3D. {words}"),
            f"<figure>{_image(track, words)}<figcaption>{html.escape(CAPTION)}</figcaption></figure>",
            p._repr_html_(),
            f"<p>{html.escape(', '.join(f'{key} {value}' for key, value in p.settings.items()))}</p>",
        ]
        page = f"<details><summary>Last state as a still picture</summary>{''.join(parts)}</details>"
        return {"text/plain": self.summary(), "image/png": base64.b64encode(picture).decode(), "text/html": page}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
        self._still = display(self.still(), raw=True, display_id=True)


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f"<img src='data:image/png;base64,{data}' alt='{html.escape(alt)}' style='max-width:100%;background:white'>"
