"""Sliders: the picture follows them, and stays where no kernel runs."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from course.charts import Chart
from course.playground import Playground
from s2p.errors import S2PError

pytest.importorskip("ipywidgets")

PNG = b"\x89PNG"


def draw(bandwidth: float, count: int) -> Chart:
    if count > 3:
        raise S2PError("too many; take fewer")
    return Chart("x", "x", "y", (), "", f"bandwidth {bandwidth:g}, {count} seeds <here>")


def playground() -> Playground:
    return Playground(draw, {"bandwidth": (4.0, 12.0, 0.5, 9.0), "count": (1, 5, 1, 2)}, {"bandwidth": "bandwidth (Å)"})


def test_starts_with_the_given_values_and_whole_numbers_stay_whole() -> None:
    p = playground()
    assert p.drawing.alt.startswith("bandwidth 9, 2 seeds")
    assert p.controls["bandwidth"].description == "bandwidth (Å)"
    assert isinstance(p.controls["count"].value, int)


def test_a_slider_draws_anew_and_words_are_escaped() -> None:
    p = playground()
    p.controls["bandwidth"].value = 5.0
    assert p.drawing.alt.startswith("bandwidth 5")
    assert "&lt;here&gt;" in p.widget.children[-1].value
    assert base64.b64decode(p.still()["image/png"]).startswith(PNG)


def test_an_error_is_said_and_the_picture_stays() -> None:
    p = playground()
    p.controls["count"].value = 4
    assert "too many" in p.widget.children[-1].value
    assert p.drawing.alt.startswith("bandwidth 9, 2 seeds")


def test_shows_widget_and_still_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    updates: list[Any] = []

    class Handle:
        def update(self, bundle: Any, raw: bool) -> None:
            updates.append(bundle)

    def display(what: Any, **options: Any) -> Handle:
        shown.append(what)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    p = playground()
    p._ipython_display_()
    assert shown[0] is p.widget
    assert base64.b64decode(shown[1]["image/png"]).startswith(PNG)
    p.controls["bandwidth"].value = 6.0
    assert updates[-1]["text/plain"].startswith("bandwidth 6")


def test_a_moving_slider_is_drawn_once_when_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("course.playground.REST", 0.02)
    drawn: list[float] = []

    def counted(bandwidth: float) -> Chart:
        drawn.append(bandwidth)
        return draw(bandwidth, 1)

    async def drag() -> None:
        p = Playground(counted, {"bandwidth": (4.0, 12.0, 0.5, 9.0)})
        for value in (5.0, 6.0, 7.0):
            p.controls["bandwidth"].value = value
        assert drawn == [9.0]
        await asyncio.sleep(0.2)

    asyncio.run(drag())
    assert drawn == [9.0, 7.0]
