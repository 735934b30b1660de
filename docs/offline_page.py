"""Notebooks as HTML pages that need no network: TeX becomes MathML, which browsers draw themselves, and drawings are embedded.

nbconvert's own page leaves formulas to MathJax, a script from the network. Use: ``PYTHONPATH=docs jupyter nbconvert --to
offline_page.OfflinePage NOTEBOOK``.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

__all__ = ["OfflinePage", "mathml"]

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MATHJAX = re.compile(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", re.DOTALL)
STYLE = "<style>math[display=block] { margin: 0.8em 0; } .jp-RenderedHTMLCommon .highlight { margin: 0.5em 0 1em; }</style>"
"""Air around formulas and code of the text, which nbconvert's page sets close."""


def mathml(tex: str, *, block: bool = False) -> str:
    """A formula as MathML, with its TeX for who copies it; the TeX itself where it cannot be read."""
    try:
        drawn: str = convert(tex.strip(), display="block" if block else "inline")
    except Exception as error:  # the converter has errors of many kinds for TeX it does not know
        return f"<code title='{html.escape(str(error), quote=True)}'>{html.escape(tex)}</code>"
    note = f'<annotation encoding="application/x-tex">{html.escape(tex.strip())}</annotation>'
    opening, body = re.fullmatch(r"(<math[^>]*>)(.*)</math>", drawn, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{opening}<semantics>{body}{note}</semantics></math>"


class _Renderer(IPythonRenderer):
    """nbconvert's, but for formulas and the drawings of the course."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """An image; a drawing of the course goes into the page, as executed notebooks are in other folders than their sources."""
        drawing = (NOTEBOOKS / url).resolve()
        if drawing.suffix == ".svg" and drawing.is_relative_to(NOTEBOOKS) and drawing.is_file():
            url = "data:image/svg+xml;base64," + base64.b64encode(drawing.read_bytes()).decode("ascii")
        return str(super().image(text, url, title))

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, block=True)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)


class OfflinePage(HTMLExporter):
    """nbconvert's HTML page, with formulas as MathML in place of MathJax."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Markdown to HTML, as the base class does it."""
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=self.embed_images,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            anchor_link_text=self.anchor_link_text,
            exclude_anchor_links=self.exclude_anchor_links,
            **self.lexer_options,
        )
        return str(MarkdownWithMath(renderer=renderer).render(source))

    def from_notebook_node(  # type: ignore[override]
        self, nb: Any, resources: Any = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, with a style in place of the script that would draw formulas from the network."""
        page, resources = super().from_notebook_node(nb, resources, **options)
        return MATHJAX.sub(STYLE, page), resources
