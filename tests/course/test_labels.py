"""Labels beside points: apart, inside, joined to their points."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from course.charts import Chart, Layer
from course.labels import write_beside

CLOSE = [(2.0 + 0.03 * k, 0.7 + 0.01 * (k % 2), f"label of point {k}") for k in range(7)]
CORNER = [(5.0, 1.0, "a long label in a corner")]


def drawn(labels: list[tuple[float, float, str]]) -> tuple[Figure, list[Annotation]]:
    figure = Figure(figsize=(6, 4), dpi=100)
    ax = figure.add_subplot(xlim=(1, 5), ylim=(0, 1))
    x, y, _ = zip(*labels, strict=True)
    ax.scatter(x, y, s=49)
    write_beside(ax, labels, np.stack([x, y], axis=1))
    figure.draw_without_rendering()
    return figure, [note for note in ax.texts if isinstance(note, Annotation)]


def test_labels_of_close_points_do_not_overlap() -> None:
    figure, notes = drawn(CLOSE + CORNER)
    words = [note for note in notes if note.get_text()]
    boxes = [note.get_window_extent() for note in words]
    assert [note.get_text() for note in words] == [text for *_, text in CLOSE + CORNER]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    marks = figure.axes[0].transData.transform([(x, y) for x, y, _ in CLOSE + CORNER])
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    frame = figure.axes[0].get_window_extent().padded(9)
    assert all(frame.contains(*corner) for box in boxes for corner in box.corners())
    lines = [note for note in notes if not note.get_text()]
    assert 0 < len(lines) < len(words)  # the nearest need none
    assert {tuple(line.xy) for line in lines} < {(x, y) for x, y, _ in CLOSE}


def test_a_label_with_room_stays_up_right_of_its_point() -> None:
    _, notes = drawn([(2.0, 0.5, "alone"), (4.0, 0.5, "alone, too")])
    assert [note.get_position() for note in notes] == [(5.0, 4.0)] * 2


def test_a_chart_places_the_labels_of_all_its_layers() -> None:
    at, high = np.array([1.0, 1.02]), np.array([0.5, 0.5])
    layers = tuple(Layer("points", at[k : k + 1], high[k : k + 1], text=(f"layer {k}",)) for k in range(2))
    figure = Chart("t", "x", "y", layers, "c.", "a.", x_range=(0, 2), y_range=(0, 1)).static()
    figure.draw_without_rendering()
    first, second = (note.get_window_extent() for note in figure.axes[0].texts if note.get_text())
    assert not first.overlaps(second)
