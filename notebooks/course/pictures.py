"""Still pictures that say in words what they show: for matplotlib figures that are no :class:`course.charts.Chart`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.io.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture"]


@dataclass(frozen=True, eq=False)
class Picture:
    """A matplotlib figure and its description, shown in a notebook as a PNG with that text."""

    figure: Figure
    alt: str
    """The finding in words, for those who do not see the picture."""

    def png(self, path: str | Path | None = None, *, dpi: int = 110) -> bytes:
        """PNG of the figure; also written to ``path`` if one is given."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self.figure.set_dpi(dpi)
        buffer = io.BytesIO()
        FigureCanvasAgg(self.figure).print_png(buffer, metadata={"Software": "s2p"})
        if path is not None:
            write_bytes(Path(path), buffer.getvalue())
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/plain": self.alt, "image/png": self.png()}, {"image/png": {"alt": self.alt}}
