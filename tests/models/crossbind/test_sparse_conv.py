"""Sparse convolutions against dense ones on small grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2p.errors import S2PError
from s2p.models.crossbind.sparse_conv import OFFSETS, SparseDeconv, StridedConv, SubmanifoldConv, build_levels, voxelise

SIDE = 12


def occupied(seed: int, share: float = 0.2, low: int = 0) -> Tensor:
    """Sorted distinct cells of a random 12 x 12 x 12 grid."""
    mask = np.random.default_rng(seed).random((SIDE, SIDE, SIDE)) < share
    mask[0, 0, 0] = True
    return torch.from_numpy(np.argwhere(mask)) + low


def dense(x: Tensor, cells: Tensor, side: int = SIDE) -> Tensor:
    """(1, d, side, side, side) with the features at their cells and zeros elsewhere."""
    grid = x.new_zeros(side, side, side, x.shape[1])
    return grid.index_put(tuple(cells.T), x).permute(3, 0, 1, 2)[None]


def at(grid: Tensor, cells: Tensor) -> Tensor:
    return grid[0].permute(1, 2, 3, 0)[tuple(cells.T)]


def compare(sparse: Tensor, reference: Tensor, *inputs: Tensor) -> None:
    """Equal values and equal gradients of a loss that weighs every output differently."""
    torch.testing.assert_close(sparse, reference, atol=1e-5, rtol=1e-5)
    weight = torch.linspace(-1, 1, sparse.numel()).view_as(sparse)
    ours = torch.autograd.grad((sparse * weight).sum(), inputs, retain_graph=True)
    theirs = torch.autograd.grad((reference * weight).sum(), inputs, retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.05, 0.4])
def test_submanifold_convolution_equals_masked_conv3d(seed: int, share: float) -> None:
    torch.manual_seed(seed)
    cells = occupied(seed, share)
    level = build_levels(cells, 1)[0]
    x = torch.randn(len(cells), 5, requires_grad=True)
    conv = SubmanifoldConv(5, 4)
    kernel = conv.weight.view(3, 3, 3, 5, 4).permute(4, 3, 0, 1, 2)
    compare(conv(x, level), at(F.conv3d(dense(x, cells), kernel, padding=1), cells), x, conv.weight)


@pytest.mark.parametrize("seed", range(3))
def test_strided_convolution_and_its_transpose_equal_dense_ones(seed: int) -> None:
    torch.manual_seed(seed)
    cells = occupied(seed, 0.1)
    fine, coarse = build_levels(cells, 2)
    x = torch.randn(len(cells), 3, requires_grad=True)
    down, up = StridedConv(3, 4), SparseDeconv(4, 2)
    kernel = down.weight.view(2, 2, 2, 3, 4).permute(4, 3, 0, 1, 2)
    below = down(x, fine)
    compare(below, at(F.conv3d(dense(x, cells), kernel, stride=2), coarse.cells), x, down.weight)
    back = up.weight.view(2, 2, 2, 4, 2).permute(3, 4, 0, 1, 2)
    reference = F.conv_transpose3d(dense(below, coarse.cells, SIDE // 2), back, stride=2)
    compare(up(below, fine), at(reference, cells), x, up.weight)


def test_going_down_and_up_returns_to_exactly_the_voxels() -> None:
    levels = build_levels(occupied(1, low=-7), 4)
    for fine, coarse in itertools.pairwise(levels):
        assert fine.n_parents == len(coarse.cells)
        assert torch.equal(torch.div(fine.cells, 2, rounding_mode="floor"), coarse.cells[fine.parent])
        # Every voxel is the child of one parent, so that the transpose reaches it once, and none else.
        assert torch.equal(torch.cat(fine.children).sort().values, torch.arange(len(fine.cells)))
        assert torch.equal(torch.unique(coarse.cells, dim=0), coarse.cells)
    assert SparseDeconv(2, 3)(torch.zeros(levels[0].n_parents, 2), levels[0]).shape == (len(levels[0].cells), 3)


def test_pairs_are_the_neighbours_that_are_there() -> None:
    cells = occupied(4, 0.1, low=-5)
    index = {tuple(c): k for k, c in enumerate(cells.tolist())}
    found = {
        (place, int(s), int(d)) for place, source, to in build_levels(cells, 1)[0].pairs for s, d in zip(source, to, strict=True)
    }
    expected = {
        (place, index[near], k)
        for c, k in index.items()
        for place, offset in enumerate(OFFSETS)
        if (near := tuple(a + b for a, b in zip(c, offset, strict=True))) in index and near != c
    }
    assert found == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.1, 3.0))
def test_voxels_hold_the_mean_of_their_points(seed: int, n: int, cell: float) -> None:
    rng = np.random.default_rng(seed)
    coord = torch.from_numpy(rng.normal(0, 2, (n, 3)))
    x = torch.from_numpy(rng.normal(size=(n, 2)))
    voxels = voxelise(coord, cell)
    place = np.floor(coord.numpy() / cell).astype(int)
    assert np.array_equal(voxels.cells[voxels.owner].numpy(), place)
    assert len(voxels.cells) == len(np.unique(place, axis=0))
    mean = voxels.mean(x)
    for k in range(len(voxels.cells)):
        np.testing.assert_allclose(mean[k], x[voxels.owner == k].mean(0), atol=1e-12)


def test_groups_never_meet_and_keep_their_parity() -> None:
    rng = np.random.default_rng(0)
    coord = torch.from_numpy(rng.uniform(-20, 20, (60, 3)))
    group = torch.arange(60) % 3
    spacing = 8
    voxels = voxelise(coord, 1.0, group, spacing=spacing)
    conv, down = SubmanifoldConv(2, 2).double(), StridedConv(2, 2).double()
    x = torch.from_numpy(rng.normal(size=(60, 2)))
    level = build_levels(voxels.cells, 1)[0]
    together = conv(voxels.mean(x), level)[voxels.owner]
    below = down(voxels.mean(x), level)[level.parent][voxels.owner]
    for k in range(3):
        own = group == k
        alone = voxelise(coord[own], 1.0)
        single = build_levels(alone.cells, 1)[0]
        torch.testing.assert_close(conv(alone.mean(x[own]), single)[alone.owner], together[own])
        torch.testing.assert_close(down(alone.mean(x[own]), single)[single.parent][alone.owner], below[own])


def test_atoms_out_of_reach_are_refused() -> None:
    far = torch.tensor([[0.0, 0.0, 0.0], [9e5, 9e5, 9e5]])
    assert len(voxelise(far, 1.0).cells) == 2
    with pytest.raises(S2PError, match="too far apart"):
        voxelise(far, 0.1)
