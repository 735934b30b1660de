"""Charts described once and drawn twice: by plotly to be touched, and by matplotlib for paper, print and GitHub.

A :class:`Chart` is data, labels, a caption and a description in words. :meth:`Chart.interactive` and :meth:`Chart.static`
draw the same layers, so that the two cannot disagree. In a notebook the interactive one is shown where the page can, else the
still one. A :class:`Picture` is for matplotlib figures that are no chart.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from course.labels import write_beside
from s2p.errors import DISTRIBUTION, S2PError
from s2p.io.runtime import in_colab
from s2p.output.palette import POCKETS, rgb
from s2p.output.pictures import figure_png, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LINES", "Chart", "Layer", "Picture", "small_png"]

LINES = tuple(color for color in POCKETS if color not in ("#F0E442", "#88FFAA"))
"""Colours of pockets that thin lines and small dots can have on white: without the pale yellow and green."""

MANY = 4000
"""Points above which plotly draws on the graphics card."""
BLENDS = 200
"""Colours of a small PNG beside those of the pockets: greys and what lies between hues at their edges."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One set of marks."""

    kind: Literal["bars", "line", "steps", "points", "boxes"]
    x: NDArray[np.float64]
    """(n,), for boxes (n, 2) from–to."""
    y: NDArray[np.float64]
    """(n,), for boxes (n, 2) from–to."""
    label: str = ""
    """In the legend; nothing if empty."""
    color: str | Sequence[str] = "#555555"
    """One, or one for each mark."""
    hover: Sequence[str] = ()
    """Text of each mark in the interactive chart."""
    dash: str = "solid"
    """``solid``, ``dash`` or ``dot``."""
    symbol: str = "circle"
    """``circle``, ``square``, ``triangle``, ``diamond``, ``triangle-down``, ``plus`` or ``star``."""
    size: float = 6.0
    """Diameter of points, width of bars (in x) or of lines, the last in points."""
    error: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """Lower and upper end of a bar through each point, along y."""
    x_error: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """The same along x."""
    text: Sequence[str] = ()
    """Written beside each point."""

    def colors(self) -> list[str]:
        """One for each mark."""
        return [self.color] * len(self.x) if isinstance(self.color, str) else list(self.color)


@dataclass(frozen=True, eq=False)
class Chart:
    """What is drawn, and what it says in words."""

    title: str
    x_label: str
    """With its unit."""
    y_label: str
    layers: tuple[Layer, ...]
    caption: str
    """What is shown and how to read it."""
    alt: str
    """The finding in words, for those who do not see the chart."""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_ticks: tuple[Sequence[float], Sequence[str]] | None = None
    y_ticks: tuple[Sequence[float], Sequence[str]] | None = None
    equal: bool = False
    """One unit is as long in x as in y."""
    size: tuple[float, float] = (6.4, 4.0)
    """Inches."""

    def static(self) -> Figure:
        """The chart by matplotlib, with its caption below."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size, dpi=120, facecolor="white", layout="constrained")
        ax = figure.add_subplot()
        for level, layer in enumerate(self.layers):
            _draw(ax, layer, 2 + level / 100)
        ax.set(xlabel=literal(self.x_label), ylabel=literal(self.y_label))
        if self.equal:
            ax.set_aspect("equal")
        for ticks, setter in ((self.x_ticks, ax.set_xticks), (self.y_ticks, ax.set_yticks)):
            if ticks is not None:
                setter(ticks[0], [literal(text) for text in ticks[1]], fontsize=8)
        ax.autoscale_view()
        if self.x_range:
            ax.set_xlim(self.x_range)
        if self.y_range:
            ax.set_ylim(self.y_range)
        ax.set_title(literal(self.title), loc="left", size=11)
        ax.spines[["top", "right"]].set_visible(False)
        handles, labels = ax.get_legend_handles_labels()
        if handles:
            named = dict(zip(labels, handles, strict=True))  # one entry for layers of one name
            ax.legend(
                list(named.values()),
                list(named),
                fontsize=8,
                frameon=False,
                loc="center left",
                bbox_to_anchor=(1.0, 0.5),
            )
        named_points = [(x, y, t) for p in self.layers for x, y, t in zip(p.x, p.y, p.text, strict=False) if t]
        if named_points:
            marks = [(x, y) for p in self.layers if p.kind == "points" for x, y in zip(p.x, p.y, strict=True)]
            write_beside(ax, named_points, np.array(marks, float))
        return figure

    def png(self, path: str | Path | None = None, *, dpi: int = 120) -> bytes:
        """PNG of :meth:`static`; also written to ``path`` if one is given. The description travels in its metadata."""
        return figure_png(self.static(), path, dpi=dpi, description=self.alt)

    def picture(self) -> Picture:
        """:meth:`static` with the description, for cells whose output is kept."""
        return Picture(self.static(), self.alt)

    def interactive(self) -> Any:
        """The chart as a ``plotly.graph_objects.Figure``.

        Raises
        ------
        S2PError
            If plotly is not installed.
        """
        try:
            import plotly.graph_objects as go
        except ImportError:
            raise S2PError(f"an interactive chart needs plotly: pip install '{DISTRIBUTION}[notebooks]'") from None
        figure = go.Figure(
            layout={
                "template": "simple_white",
                "title": {"text": html.escape(self.title), "x": 0.01, "font": {"size": 15}},
                "width": int(self.size[0] * 110),
                "height": int(self.size[1] * 110),
                "margin": {"l": 60, "r": 20, "t": 50, "b": 60},
                "bargap": 0.0,
                "hoverlabel": {"align": "left"},
                "meta": {"caption": self.caption, "alt": self.alt},
            }
        )
        for layer in self.layers:
            for trace in _traces(layer):
                figure.add_trace(trace)
        for axis, label, span, ticks in (
            ("xaxis", self.x_label, self.x_range, self.x_ticks),
            ("yaxis", self.y_label, self.y_range, self.y_ticks),
        ):
            figure.layout[axis].title.text = html.escape(label)
            if span:
                figure.layout[axis].range = list(span)
            if ticks is not None:
                texts = [html.escape(text).replace("\n", "<br>") for text in ticks[1]]
                figure.layout[axis].update(tickmode="array", tickvals=[float(v) for v in ticks[0]], ticktext=texts)
        if self.equal:
            figure.layout.yaxis.update(scaleanchor="x", scaleratio=1)
        return figure

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": f"{self.title}: {self.alt}", "image/png": self.png()}
        try:
            figure = self.interactive()
        except S2PError:
            return bundle
        if in_colab():  # has no renderer of plotly's own type, and always a network
            bundle["text/html"] = figure.to_html(include_plotlyjs="cdn", full_html=False)
        else:
            bundle["application/vnd.plotly.v1+json"] = figure.to_plotly_json()
        return bundle


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and its description, to be the last expression of a cell: shown as a PNG with that text."""

    figure: Figure | Path
    """A matplotlib figure, which becomes a small PNG, or a PNG file."""
    alt: str
    """The finding in words, for those who do not see the picture."""

    def png(self) -> bytes:
        """The PNG that is shown."""
        return self.figure.read_bytes() if isinstance(self.figure, Path) else small_png(self.figure)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/plain": self.alt, "image/png": self.png()}, {"image/png": {"alt": self.alt}}


def small_png(figure: Figure) -> bytes:
    """The figure as PNG with a palette, a third of the size of true colour, so that a few can be kept in a committed notebook.

    Charts look the same; photographs would not.
    """
    from PIL import Image
    from scipy.spatial import cKDTree

    image = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    frequent = (image.quantize(BLENDS).getpalette() or [])[: 3 * BLENDS]
    # A hue of a few points only would be lost among the frequent ones, and a pocket take another's colour.
    kept = [round(255 * part) for color in ("#FFFFFF", *POCKETS) for part in rgb(color)]
    palette = np.array(frequent + kept).reshape(-1, 3)
    colors, code = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_inverse=True)
    nearest = cKDTree(palette).query(colors)[1].astype(np.uint8)
    indexed = Image.frombytes("P", image.size, nearest[code.ravel()].tobytes())
    indexed.putpalette(palette.ravel().tolist())
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


_MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "triangle-down": "v", "plus": "P", "star": "*"}
_FAINT = 0.45
"""Opacity of error bars: behind many marks they must not hide them."""
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}


def _draw(ax: Axes, layer: Layer, zorder: float) -> None:
    """A layer by matplotlib."""
    from matplotlib.collections import PolyCollection

    label = literal(layer.label) if layer.label else None
    first = layer.colors()[0] if len(layer.x) else "#555555"
    if layer.kind in ("bars", "boxes"):
        # One collection instead of a patch a bar: thousands of residues are drawn in a moment.
        boxes = PolyCollection(list(_corners(layer)), facecolors=layer.colors(), linewidths=0, zorder=zorder)
        ax.add_collection(boxes)
        if label:
            ax.scatter([], [], marker="s", s=50, color=first, label=label)
    elif layer.kind in ("line", "steps"):
        style: dict[str, Any] = {
            "color": first,
            "linestyle": _DASHES[layer.dash],
            "linewidth": layer.size / 4,
            "label": label,
            "zorder": zorder,
        }
        ax.plot(layer.x, layer.y, drawstyle="steps-post" if layer.kind == "steps" else "default", **style)
    else:
        if layer.error or layer.x_error:
            spans = [
                None if e is None else np.abs(np.stack(e) - v) for e, v in ((layer.x_error, layer.x), (layer.error, layer.y))
            ]
            bars: dict[str, Any] = {"xerr": spans[0], "yerr": spans[1], "ecolor": first, "elinewidth": 1, "alpha": _FAINT}
            ax.errorbar(layer.x, layer.y, fmt="none", zorder=zorder, **bars)
        ax.scatter(
            layer.x,
            layer.y,
            marker=_MARKERS[layer.symbol],
            s=layer.size**2,
            c=layer.colors(),
            linewidths=0,
            label=label,
            zorder=zorder,
        )


def _corners(layer: Layer) -> NDArray[np.float64]:
    """(n, 4, 2) corners of bars and boxes."""
    if layer.kind == "bars":
        x0, x1 = layer.x - layer.size / 2, layer.x + layer.size / 2
        y0, y1 = np.zeros_like(layer.y), layer.y
    else:
        (x0, x1), (y0, y1) = layer.x.T, layer.y.T
    return np.stack([np.stack(corner, axis=1) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], axis=1)


def _traces(layer: Layer) -> list[Any]:
    """A layer by plotly; boxes are one trace for each colour."""
    import plotly.graph_objects as go

    colors = layer.colors()
    text = [html.escape(t) for t in layer.hover] if len(layer.hover) else None
    name = html.escape(layer.label) or None
    common: dict[str, Any] = {"name": name, "showlegend": bool(name), "hoverinfo": "text" if text else "x+y" if name else "skip"}
    if layer.kind == "bars":
        return [go.Bar(x=layer.x, y=layer.y, width=layer.size, marker={"color": colors, "line_width": 0}, text=None,
                       hovertext=text, **common)]  # fmt: skip
    if layer.kind == "boxes":
        traces = []
        for k, color in enumerate(dict.fromkeys(colors)):
            chosen = [i for i, c in enumerate(colors) if c == color]
            outline = np.full((len(chosen), 6, 2), np.nan)
            outline[:, :4] = _corners(layer)[chosen]
            outline[:, 4] = outline[:, 0]
            x, y = outline.reshape(-1, 2).T
            options = common | {"showlegend": bool(name) and k == 0, "hoverinfo": "name" if name else "skip"}
            traces.append(
                go.Scatter(x=x, y=y, mode="lines", fill="toself", fillcolor=color, line={"width": 0, "color": color}, **options)
            )
        return traces
    if layer.kind in ("line", "steps"):
        line = {"color": colors[0] if colors else None, "dash": layer.dash, "width": layer.size / 3}
        line["shape"] = "hv" if layer.kind == "steps" else "linear"
        return [go.Scatter(x=layer.x, y=layer.y, mode="lines", line=line, hovertext=text, **common)]
    symbol = {"triangle": "triangle-up", "plus": "cross"}.get(layer.symbol, layer.symbol)
    marker = {"color": colors, "size": layer.size * 1.4, "symbol": symbol}
    faint = "rgba({:.0f},{:.0f},{:.0f},{})".format(*(255 * part for part in rgb(colors[0])), _FAINT) if colors else ""
    spans = {
        key: None
        if e is None
        else {"type": "data", "symmetric": False, "array": e[1] - v, "arrayminus": v - e[0], "thickness": 1, "color": faint}
        for key, e, v in (("error_x", layer.x_error, layer.x), ("error_y", layer.error, layer.y))
    }
    kind = go.Scattergl if len(layer.x) > MANY else go.Scatter
    if len(layer.text):
        beside = [html.escape(t) for t in layer.text]
        written = {"mode": "markers+text", "text": beside, "textposition": "top right", "textfont": {"size": 10}}
    else:
        written = {"mode": "markers"}
    return [kind(x=layer.x, y=layer.y, marker=marker, hovertext=text, **written, **spans, **common)]
