"""The U-Net: shapes, counts, hand-made values."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from s2p.errors import S2PError
from s2p.models.kalasanty.config import KalasantyConfig
from s2p.models.kalasanty.network import Kalasanty, scale_channels

TINY = KalasantyConfig(base=2)


def traced(config: KalasantyConfig) -> list[tuple[str, tuple[int, ...]]]:
    """(block, shape of what it returns) of one pass."""
    model = Kalasanty(config).eval()
    found: list[tuple[str, tuple[int, ...]]] = []
    for name, module in model.named_modules():
        if name == "bottom" or name == "out" or (name.count(".") == 1 and name.startswith(("down", "up"))):
            module.register_forward_hook(lambda _, __, y, name=name: found.append((name, tuple(y.shape[1:]))))
    with torch.no_grad():
        model(torch.zeros(1, 18, *(config.box,) * 3))
    return found


def test_the_published_network_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in Kalasanty(KalasantyConfig.published()).parameters()) == 23_546_977


def test_parameters_of_the_small_network_by_hand():
    b, normalised = 6, 2
    widths = [18, b, 2 * b, 4 * b, 8 * b, 16 * b]
    blocks = [*pairwise(widths), *((3 * w, w) for w in (8 * b, 4 * b, 2 * b, b))]
    count = sum(27 * (i * o + o * o) + 2 * o + 2 * normalised * o for i, o in blocks) + b + 1
    assert sum(p.numel() for p in Kalasanty(KalasantyConfig(base=b)).parameters()) == count


def test_shapes_of_the_published_blocks():
    shapes = traced(replace(KalasantyConfig.published(), base=2))
    sizes = [36, 18, 9, 3, 1, 3, 9, 18, 36, 36]
    channels = [2, 4, 8, 16, 32, 16, 8, 4, 2, 1]
    assert [shape for _, shape in shapes] == [(c, n, n, n) for c, n in zip(channels, sizes, strict=True)]


def test_shapes_of_the_small_blocks():
    assert [shape[1] for _, shape in traced(TINY)] == [24, 12, 6, 3, 1, 3, 6, 12, 24, 24]


def test_joined_maps_come_from_before_the_pooling():
    """Each decoder block reads the very tensor that the encoder block of its size returned."""
    model, given_maps, read = Kalasanty(TINY).eval(), [], []
    for block in model.down:
        block.register_forward_hook(lambda _, __, y: given_maps.append(y.clone()))
    for block in model.up:
        block.register_forward_pre_hook(lambda _, x: read.append(x[0].clone()))
    with torch.no_grad():
        model(torch.rand(1, 18, 24, 24, 24))
    for before, joined in zip(given_maps[::-1], read, strict=True):
        assert torch.equal(joined[:, -before.shape[1] :], before)


def test_one_voxel_reaches_the_far_corner_through_the_bottom():
    torch.manual_seed(0)
    model = Kalasanty(replace(TINY, normalise=False, scale_floor=None)).eval()
    x = torch.rand(1, 18, 24, 24, 24)
    moved = x.clone()
    moved[0, :, 1, 1, 1] += 50
    with torch.no_grad():
        difference = (model(moved) - model(x)).abs()[0, 0]
    # Convolutions before and after the bottom see at most some 20 cells to either side; the corner is 22 away.
    assert difference[23, 23, 23] > 0


def test_start_is_glorot_with_zero_biases_and_the_output_bias():
    torch.manual_seed(0)
    model = Kalasanty(KalasantyConfig())
    for module in model.modules():
        if isinstance(module, nn.Conv3d) and module is not model.out:
            fan_in, fan_out = (module.weight[0].numel(), module.weight.shape[0] * module.weight[0, 0].numel())
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
            assert not module.bias.any()
    assert model.out.bias.item() == -4


def test_wrong_boxes_are_refused():
    with pytest.raises(S2PError, match="product must divide"):
        Kalasanty(KalasantyConfig(box=30))
    with pytest.raises(ValueError, match="boxes of 24"):
        Kalasanty(TINY)(torch.zeros(1, 18, 36, 36, 36))


def test_channels_are_scaled_by_their_size_over_occupied_cells():
    x = torch.zeros(1, 2, 2, 2, 2)
    x[0, 0, 0, 0, 0], x[0, 0, 1, 1, 1], x[0, 1, 1, 1, 1] = 3.0, 1.0, 0.1
    y = scale_channels(x, 0.2)
    # Two cells are occupied: rms 5**0.5 of the first channel; of the second 0.1 / 2**0.5, which is below the floor.
    assert y[0, 0, 0, 0, 0].item() == pytest.approx(3 / 5**0.5)
    assert y[0, 1, 1, 1, 1].item() == pytest.approx(0.5)
    assert not scale_channels(torch.zeros(1, 2, 2, 2, 2), 0.2).any()
