"""Sliders over a picture: move one, and the picture is drawn anew. Without a running kernel the last picture stays."""

from __future__ import annotations

import asyncio
import base64
import html
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from s2p.errors import DISTRIBUTION, S2PError

__all__ = ["Drawing", "Playground"]

REST = 0.25
"""Seconds that the sliders must rest before the picture is drawn anew."""


class Drawing(Protocol):
    """What can be shown: a :class:`course.charts.Chart` or a :class:`course.charts.Picture`."""

    @property
    def alt(self) -> str: ...

    def png(self) -> bytes: ...


class Playground:
    """Sliders and the picture they make, to be the last expression of a notebook cell.

    Parameters
    ----------
    draw
        Called with the value of every slider by name.
    sliders
        Name -> lowest, highest, step and first value; whole numbers make a slider of whole numbers.
    labels
        Name -> what is written beside the slider, with its unit; default the name.

    Attributes
    ----------
    drawing
        What ``draw`` gave for the current values.
    widget : ipywidgets.VBox

    Raises
    ------
    S2PError
        If ipywidgets is not installed.
    """

    def __init__(
        self,
        draw: Callable[..., Drawing],
        sliders: Mapping[str, tuple[float, float, float, float]],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import ipywidgets
        except ImportError:
            raise S2PError(f"sliders need ipywidgets: pip install '{DISTRIBUTION}[notebooks]'") from None
        self._draw = draw
        self._still: Any = None
        self._later: asyncio.TimerHandle | None = None
        self.controls: dict[str, Any] = {}
        for name, (low, high, step, value) in sliders.items():
            whole = all(isinstance(v, int) for v in (low, high, step, value))
            kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
            self.controls[name] = kind(
                value=value,
                min=low,
                max=high,
                step=step,
                description=(labels or {}).get(name, name),
                style={"description_width": "11em"},
                layout={"width": "30em"},
            )
            self.controls[name].observe(self._changed, names="value")
        self._words = ipywidgets.HTML()
        self.widget = ipywidgets.VBox([*self.controls.values(), self._words])
        self._redraw()

    def _redraw(self) -> None:
        self.drawing = self._draw(**{name: control.value for name, control in self.controls.items()})
        self._words.value = html.escape(self.drawing.alt)

    def _changed(self, _: Any) -> None:
        """Draw when the sliders rest; where no event loop runs, at once."""
        if self._later is not None:
            self._later.cancel()
        try:
            self._later = asyncio.get_running_loop().call_later(REST, self._follow)
        except RuntimeError:
            self._follow()

    def _follow(self) -> None:
        try:
            self._redraw()
        except S2PError as error:
            self._words.value = f"<b>{html.escape(str(error))}</b>"
            return
        if self._still is not None:
            self._still.update(self.still(), raw=True)

    def still(self) -> dict[str, str]:
        """The current picture and its description, by media type."""
        return {"text/plain": self.drawing.alt, "image/png": base64.b64encode(self.drawing.png()).decode()}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
        self._still = display(self.still(), raw=True, display_id=True)
