"""Drawings of what networks read and do, for :mod:`course.drawings`: voxels, hidden residues, messages, LoRA and two inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from course.svg import BLUE, DARK, LINE, RED, Place, arrow, circle, line, rect, text
from s2p.models.kalasanty.grid import covering_box, fill_box
from s2p.predictor import load_structure

__all__ = [
    "cleft",
    "contrast",
    "fusion",
    "hidden_residues",
    "low_rank",
    "messages",
    "reached",
    "spans",
    "toy_fold",
    "tracks",
    "two_views",
    "voxels",
]

EXAMPLES = Path(__file__).resolve().parents[2] / "data" / "examples"
Points = NDArray[np.float64]
DENSITY = (
    "000000000000000000 000001100000000000 000000210000000000 000000685000000000 000000899200000000 000000899512100000 "
    "000000898100000000 000006998000000000 000049999500000000 000599999810000000 003899999700000000 003899970000000000 "
    "000799700000000000 000488100000000000 000000000000000000 000000000000000000 000000000000000000 000000000000000000"
).split()
"""Tenths of the density that the shipped Kalasanty gives :data:`WINDOW` of the grid of 1AKE, chain A (rounded down)."""
WINDOW = (slice(8, 26), slice(5, 23), 15)
CAVITY = 7
"""Tenths: the threshold of the shipped Kalasanty."""
EDGE = 9.5
"""Pixels of a voxel of 2 Å."""


def _borders(inside: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The edges between cells that are inside and others, as pairs of corners (column, row)."""
    padded = np.pad(inside, 1)
    edges = [[(j, i), (j + 1, i)] for i, j in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]).tolist()]
    return edges + [[(j, i), (j, i + 1)] for i, j in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).tolist()]


def voxels() -> list[str]:
    """From atoms to a pocket, in one layer of a protein."""
    atoms = load_structure(EXAMPLES / "1ake.cif.gz", "A").atoms
    box, _ = covering_box(atoms.coord, 24)
    counts = fill_box(np.ones((len(atoms), 1), np.float32), atoms.coord, box)[0][WINDOW]
    places = (atoms.coord - np.array(box.origin)) / box.step - (WINDOW[0].start, WINDOW[1].start, WINDOW[2])
    n, top = len(counts), 42
    shown = (np.abs(places + 0.5 - n / 2) < (n / 2, n / 2, 99)).all(axis=1) & (np.abs(places[:, 2]) < 0.5)
    lefts = (10, 200, 539)
    parts = []
    for x, title, note in zip(
        lefts, ("atoms", "voxels of 2 Å", "density"), ("a layer of 1AKE", "darker: two atoms", ""), strict=True
    ):
        parts += [text(x + n * EDGE / 2, 30, title, 18, bold=True), text(x + n * EDGE / 2, top + n * EDGE + 24, note)]
    for element, (a, b, _) in zip(atoms.element[shown].tolist(), places[shown], strict=True):
        color = {"N": BLUE, "O": RED}.get(element, LINE)
        parts.append(circle((lefts[0] + (b + 0.5) * EDGE, top + (a + 0.5) * EDGE), 4.6, color))
    for i, j in np.ndindex(n, n):
        x, y, d = lefts[1] + j * EDGE, top + i * EDGE, int(DENSITY[i][j])
        if counts[i, j]:
            parts.append(rect(x, y, EDGE, EDGE, "#AAB3BA" if counts[i, j] == 1 else "#59636B"))
            parts.append(rect(x + lefts[2] - lefts[1], y, EDGE, EDGE, "#E4E7EA"))
        if d:
            parts.append(
                rect(x + lefts[2] - lefts[1], y, EDGE, EDGE, BLUE).replace("/>", f' fill-opacity="{d / 10 + 0.05:.2f}"/>')
            )
    for x in lefts:
        if x != lefts[2]:
            grid = "".join(f"M{x} {top + k * EDGE}h{n * EDGE}M{x + k * EDGE} {top}v{n * EDGE}" for k in range(n + 1))
            parts.append(f'<path d="{grid}" stroke="#D5DADE" stroke-width="0.7"/>')
        parts.append(rect(x - 4, top - 4, n * EDGE + 8, n * EDGE + 8, color="#FFFFFF", stroke=8))  # atoms end at the frame
        parts.append(rect(x, top, n * EDGE, n * EDGE, color=LINE, stroke=1.5))
    high = np.array([[int(d) >= CAVITY for d in row] for row in DENSITY])
    edges = [[(lefts[2] + j * EDGE, top + i * EDGE) for j, i in edge] for edge in _borders(high)]
    parts += [line(edge, RED, 3) for edge in edges]
    parts.append(line([(548, 232), (562, 232)], RED, 3) + text(568, 237, "pocket: 0.7 or more", 16, anchor="start"))
    for k, height in enumerate((120, 74, 36, 74, 120)):
        parts.append(rect(396 + 23 * k, 127 - height / 2 + 10, 15, height, "#56B4E9", DARK, 1.5, 2))
    parts += [arrow((411, 84), (488, 84), DARK, 1.5), arrow((434, 107), (465, 107), DARK, 1.5)]
    parts += [text(450, 30, "U-Net", 18, bold=True), text(450, 237, "down and up")]
    return [*parts, arrow((373, 137), (393, 137)), arrow((507, 137), (535, 137))]


LETTERS = "MRIILLGAPGAGKGTQA"
"""The first residues of 1AKE."""


def hidden_residues() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(17,) residues hidden one by one, and in a span drawn as in pre-training; 30 % of them each."""
    from course.span_masking import draw_spans  # needs PyTorch

    rng = np.random.default_rng(598)  # single ones that are no neighbours of each other, and one span
    single = np.isin(np.arange(len(LETTERS)), rng.choice(len(LETTERS), 5, replace=False))
    return single, draw_spans(len(LETTERS), 0.3, 6.0, rng)[0]


def _residue(place: Place, letter: str) -> str:
    """A residue's type and side chain; hidden without a letter."""
    disc = circle(place, 13, "#56B4E9", DARK) if letter else circle(place, 13, "#FFFFFF", RED, 2, "4 3")
    return disc + text(place[0], place[1] + 6, letter or "?", 16, DARK if letter else RED, bold=True)


def spans() -> list[str]:
    """Residues hidden one by one and in a span, and where information about them can come from."""
    trace = [(24 + 36 * k, 96) for k in range(8)] + [(312, 168)] + [(24 + 36 * k, 240) for k in range(7, -1, -1)]
    sides = [(x, 134) for x, _ in trace[:8]] + [(338, 168)] + [(x, 202) for x, _ in trace[9:]]
    titles = ("Single residues are hidden", "A span is hidden")
    notes = ("Chain neighbours give them away", "Inside it, only space can help")
    parts = []
    for panel, hidden in enumerate(hidden_residues()):
        left = 362 * panel
        ca, side = (np.array(places, float) + np.array([left, 0]) for places in (trace, sides))
        parts += [
            text(left + 10, 26, titles[panel], 18, anchor="start", bold=True),
            text(left + 10, 50, notes[panel], anchor="start"),
        ]
        parts.append(line(ca, LINE, 4))
        for k, letter in enumerate(LETTERS):
            parts += [] if hidden[k] else [line([ca[k], side[k]], LINE, 3)]
            parts += [circle(ca[k], 5.5, DARK), _residue(side[k], "" if hidden[k] else letter)]
        for k in np.flatnonzero(hidden).tolist():
            out = np.array([0, np.sign(ca[k, 1] - 168) * 13])
            parts += [arrow(ca[j] + out, ca[k] + out, RED, 2.5, 5) for j in (k - 1, k + 1) if not hidden[j]]
            across = len(LETTERS) - 1 - k
            if panel and not hidden[across]:
                parts.append(arrow(side[across], side[k], BLUE, 2.5, 16))
    parts += [circle((30, 290), 5.5, DARK), text(44, 296, "Cα, always kept", anchor="start")]
    parts += [_residue((196, 290), "L"), text(218, 296, "type and other atoms", anchor="start")]
    return [*parts, _residue((412, 290), ""), text(434, 296, "hidden: to be predicted", anchor="start")]


ANGSTROM = 11.0
"""Pixels to an Å, in the drawing of messages."""
REACH, READING = 6.0, 8.0
"""Å: of atoms that exchange messages, and of a point that reads atoms (:class:`s2p.surface.network.NetworkConfig`)."""


def cleft() -> tuple[Points, Points, Points]:
    """Pixels around the middle of a cleft: (A, 2) atoms, (P, 2) surface points of it and their (P, 2) votes."""
    rng = np.random.default_rng(1)
    rings = [(r, np.radians(np.linspace(first, 180 - first, n))) for r, first, n in ((80, 14, 7), (107, 16, 9))]
    atoms = np.concatenate([r * np.stack([np.cos(a), np.sin(a)], axis=1) for r, a in rings])
    angle = np.radians(np.linspace(12, 168, 7))
    points = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return atoms + rng.normal(0, 2.5, atoms.shape), points, rng.normal((0, -8), 7.0, points.shape)


def messages() -> list[str]:
    """Atoms exchange messages, points read atoms, points vote."""
    atoms, points, votes = cleft()
    titles = ("1  Atoms tell atoms", "2  A point reads atoms", "3  Points vote")
    notes = (f"within {REACH:g} Å, by distance", f"within {READING:g} Å, by distance", "for the ligand's centre")
    parts = []
    for panel, (title, note) in enumerate(zip(titles, notes, strict=True)):
        middle = np.array([120 + 240 * panel, 92])
        x, p, v = atoms + middle, points + middle, votes + middle
        parts += [text(middle[0], 24, title, 18, bold=True), text(middle[0], 258, note)]
        center, reach = ((x[3], REACH), (p[2], READING), (middle, 0.0))[panel]
        for k in range(8 if reach else 0, 0, -1):  # the shells of the network
            parts.append(circle(center, round(reach * ANGSTROM * k / 8, 1), "#FFFFFF" if k % 2 else "#EDEFF1", LINE, 0.6))
        distance = np.linalg.norm(x - center, axis=1)
        near = (distance <= reach * ANGSTROM) & (distance > 0)
        parts += [arrow(place, center + 12 * (place - center) / d, RED) for place, d in zip(x[near], distance[near], strict=True)]
        parts += [circle(place, 8, DARK if hit or not reach else "#B9C0C6") for place, hit in zip(x, near, strict=True)]
        if panel == 0:
            parts.append(circle(center, 9, RED, DARK))
        if panel == 2:
            parts += [arrow(a, b, BLUE, 2) for a, b in zip(p, v, strict=True)]
            parts.append(circle(v.mean(axis=0), 20, color=RED, width=3))
        own = [RED if panel == 1 and k == 2 else BLUE for k in range(len(p))]
        parts += [rect(a - 5, b - 5, 10, 10, color, DARK, 1.2) for (a, b), color in zip(p, own, strict=True) if panel]
    parts += [circle((150, 288), 8, DARK), text(166, 294, "atom", anchor="start")]
    parts += [rect(239, 283, 10, 10, BLUE, DARK, 1.2), text(258, 294, "surface point", anchor="start")]
    return [*parts, circle((396, 288), 9, color=RED, width=3), text(412, 294, "votes crowd: a candidate", anchor="start")]


WIDTH_8M, RANK = 320, 8
"""Width of the smallest ESM-2, and the rank in notebook 03."""


def low_rank() -> list[str]:
    """The way of a vector through a map with LoRA."""
    frozen, trained = WIDTH_8M**2, 2 * RANK * WIDTH_8M
    parts = [rect(40, 104, 18, 96, "#CDD3D8", DARK), text(49, 222, "x")]
    parts += [line([(58, 152), (96, 152)]), line([(96, 224), (96, 84)]), arrow((96, 84), (170, 84)), arrow((96, 224), (170, 224))]
    parts += [rect(172, 24, 120, 120, "#CDD3D8", DARK), text(232, 80, "W", 24, bold=True), text(232, 104, "frozen")]
    parts += [rect(172, 218, 120, 12, BLUE, DARK, 1.5), text(232, 206, "A", 22, BLUE, bold=True), text(232, 252, "320 → 8")]
    parts += [arrow((292, 224), (338, 224)), rect(340, 164, 12, 120, RED, DARK, 1.5), text(332, 190, "B", 22, RED, "end", True)]
    parts += [text(362, 186, "8 → 320", anchor="start"), arrow((352, 224), (398, 224))]
    parts += [rect(400, 206, 60, 36, "#FFFFFF", DARK, 2, 6), text(430, 230, "× α / r", 17)]
    parts += [
        line([(292, 84), (499, 84)]),
        line([(460, 224), (499, 224)]),
        arrow((499, 84), (499, 138)),
        arrow((499, 224), (499, 168)),
    ]
    parts += [circle((499, 153), 14, "#FFFFFF", DARK), text(499, 159, "+", 20), arrow((513, 153), (552, 153))]
    parts += [rect(554, 105, 18, 96, "#CDD3D8", DARK), text(563, 222, "W′x")]
    parts += [text(310, 50, f"{frozen:,} numbers,", anchor="start"), text(310, 71, "not trained", anchor="start")]
    parts += [text(372, 268, f"{trained:,} numbers, trained:", anchor="start")]
    parts += [text(372, 289, f"{100 * trained / frozen:.0f} % of those of W", anchor="start")]
    return parts


def fusion() -> list[str]:
    """Structure and sequence, joined by one number."""
    rng = np.random.default_rng(0)
    cells = np.argwhere(rng.random((7, 7)) < 0.3)
    parts = [text(62, 24, "atoms", 17, bold=True), text(62, 158, "sequence", 17, bold=True)]
    parts += [rect(20 + 12 * j, 36 + 12 * i, 12, 12, LINE) for i, j in cells.tolist()]
    parts.append(rect(20, 36, 84, 84, color=LINE, stroke=1.5))
    parts += [_residue((22 + 26 * k, 184), letter) for k, letter in enumerate("MRII")]
    boxes = ((150, 52, "sparse U-Net,", "atom attention"), (150, 158, "language", "model"))
    for k, (x, y, *words) in enumerate(boxes):
        color = (BLUE, RED)[k]
        parts += [rect(x, y, 136, 52, "#F3F5F6", LINE, 1.5, 7)] + [text(x + 68, y + 22 + 20 * i, w) for i, w in enumerate(words)]
        parts += [arrow((112 + 6 * k, y + 26), (148, y + 26)), arrow((286, y + 26), (322, y + 26))]
        parts += [rect(326 + 11 * i, y + 16, 11, 20, color, "#FFFFFF", 1) for i in range(8)]
        parts.append(text(370, y + 58, ("structure", "sequence")[k], 16, color, bold=True))
        parts.append(arrow((418, y + 26), (486, (118, 146)[k]), color, 3))
        parts.append(text(470, (78, 194)[k], ("× λ", "× (1 − λ)")[k], 17, anchor="start"))
    parts += [circle((500, 132), 15, "#FFFFFF", DARK), text(500, 138, "+", 20), arrow((515, 132), (548, 132))]
    parts += [rect(550, 106, 62, 52, "#F3F5F6", LINE, 1.5, 7), text(581, 138, "head"), arrow((612, 132), (640, 132))]
    return [*parts, text(678, 128, "does it"), text(678, 148, "bind?")]


def toy_fold() -> tuple[Points, NDArray[np.int64]]:
    """(A, 2) atoms of a chain in four strands, pixels, and the (L,) indices of its Cα atoms; four more atoms a residue."""
    rng = np.random.default_rng(3)
    ca = np.array([(38 + 43 * (k if row % 2 == 0 else 6 - k), 90 + 44 * row) for row in range(4) for k in range(7)], float)
    ca += rng.normal(0, 2.5, ca.shape)  # no two equally near
    angle = rng.uniform(0, 2 * np.pi, (len(ca), 1)) + np.radians([0, 80, 170, 260])
    around = ca[:, None] + 11 * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    return np.concatenate([ca, around.reshape(-1, 2)]), np.arange(len(ca))


def reached(layers: int, residue_track: bool, source: int = 8) -> NDArray[np.bool_]:
    """(L,) residues of :func:`toy_fold` whose Cα has heard of residue ``source`` after some layers of Vabs-Net."""
    x, ca = toy_fold()
    owner = np.r_[ca, np.repeat(ca, 4)]
    atoms, residues = (np.argsort(np.linalg.norm(y[:, None] - y, axis=2), axis=1)[:, :k] for y, k in ((x, 8), (x[ca], 7)))
    heard = owner == source
    for _ in range(layers):
        heard = heard[atoms].any(axis=1)
        if residue_track:
            heard[ca] = heard[ca][residues].any(axis=1)
    return np.asarray(heard[ca])


def tracks() -> list[str]:
    """How far a message travels in two layers, along atoms alone and along residues too."""
    x, ca = toy_fold()
    parts = []
    for panel, title in enumerate(("Atom track alone", "Both tracks")):
        at = x + (np.array([370, 0]) * panel if panel else 0)
        near, far = reached(1, bool(panel)), reached(2, bool(panel))
        parts += [
            text(at[ca[3], 0], 28, title, 18, bold=True),
            text(at[ca[3], 0], 52, f"{far.sum()} of {len(ca)} residues after 2 layers"),
        ]
        parts.append(line(at[ca], "#CDD3D8", 4))
        parts += [circle(place, 4, "#CDD3D8") for place in at[len(ca) :]]
        for k in ca:
            fill = RED if k == 8 else BLUE if near[k] else "#56B4E9" if far[k] else "#FFFFFF"
            parts.append(circle(at[k], 9, fill, DARK, 1.5))
    for x0, fill, words in (
        (40, RED, "changed residue"),
        (208, BLUE, "reached in 1 layer"),
        (402, "#56B4E9", "in 2"),
        (504, "#FFFFFF", "not yet"),
    ):
        parts += [circle((x0, 268), 9, fill, DARK, 1.5), text(x0 + 16, 274, words, anchor="start")]
    return parts


def two_views() -> tuple[Points, Points]:
    """(5, 2) residues of a chain, and the same turned, stretched and jittered at random."""
    rng = np.random.default_rng(2)
    x = np.array([(-58, 18), (-30, -22), (4, 8), (30, -26), (60, 12)], float)
    a = np.radians(125)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return x, 0.92 * x @ turn.T + rng.normal(0, 3, x.shape)


def contrast() -> list[str]:
    """Two views of a protein, and which of their residues should look alike."""
    parts = []
    for view, (x, middle) in enumerate(zip(two_views(), ((90, 74), (90, 208)), strict=True)):
        place = x + np.array(middle)
        parts.append(line(place, LINE, 4))
        for k, (a, b) in enumerate(place):
            parts += [circle((a, b), 13, ("#56B4E9", "#E69F00")[view], DARK), text(a, b + 6, str(k + 1), 16, bold=True)]
        parts += [arrow((170, middle[1]), (214, (122, 160)[view]))]
    parts += [
        text(90, 24, "view 1", 17, bold=True),
        text(40, 160, "view 2", 17, bold=True),
        text(90, 288, "turned, bent, jittered"),
    ]
    parts += [rect(218, 110, 104, 62, "#F3F5F6", LINE, 1.5, 7), text(270, 136, "the same"), text(270, 156, "encoder")]
    parts += [arrow((322, 141), (362, 141))]
    for i, j in np.ndindex(5, 5):
        same = i == j
        parts.append(rect(392 + 34 * j, 62 + 34 * i, 32, 32, BLUE if same else "#EDEFF1"))
        parts.append(text(408 + 34 * j, 84 + 34 * i, "+" if same else "−", 18, "#FFFFFF" if same else DARK, bold=same))
    for k in range(5):
        parts += [circle((376, 78 + 34 * k), 12, "#56B4E9", DARK), text(376, 84 + 34 * k, str(k + 1), 16, bold=True)]
        parts += [circle((408 + 34 * k, 46), 12, "#E69F00", DARK), text(408 + 34 * k, 52, str(k + 1), 16, bold=True)]
    parts += [text(476, 262, "similarity of each pair")]
    parts += [rect(580, 92, 24, 24, BLUE), text(592, 110, "+", 18, "#FFFFFF", bold=True)]
    parts += [text(612, 102, "same residue:", anchor="start"), text(612, 122, "make similar", anchor="start")]
    parts += [rect(580, 162, 24, 24, "#EDEFF1"), text(592, 180, "−", 18)]
    return [*parts, text(612, 172, "any other:", anchor="start"), text(612, 192, "keep apart", anchor="start")]
