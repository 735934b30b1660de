"""Runs of sorted points around a position: everything within the size of a cell is in them, once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from s2p.surface.kernels import build_cells, cell_runs, count_neighbours


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32 - 1), st.sampled_from([2.0, 8.0]))
def test_neighbours_found_in_the_runs_equal_a_kd_tree(n: int, m: int, seed: int, radius: float) -> None:
    draw = np.random.default_rng(seed)
    coord, points = draw.uniform(-15, 15, (n, 3)), draw.uniform(-40, 40, (m, 3))
    cells, starts, ends = build_cells(coord, radius), np.empty(9, np.int64), np.empty(9, np.int64)
    for point, expected in zip(points, cKDTree(coord).query_ball_point(points, radius, return_sorted=True), strict=True):
        n_runs = cell_runs(*point.tolist(), cells, starts, ends)
        rows = [row for run in range(n_runs) for row in range(starts[run], ends[run])]
        near = [row for row in rows if np.linalg.norm(cells.coord[row] - point) <= radius]
        assert sorted(cells.order[near].tolist()) == expected
        assert count_neighbours(point[None], cells).tolist() == [len(expected)]
