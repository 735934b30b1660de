"""The CrossBind network: its sizes, what it must not depend on, and what it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from course.crossbind_training import crop, join
from s2p.models.crossbind.cloud import Cloud, cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.network import AtomAttention, CrossBind, PointEncoder, stack_atoms
from s2p.structure.reading import Structure


def trained(module: torch.nn.Module, cloud: Cloud) -> torch.nn.Module:
    """The module in evaluation, with running statistics and norms that are not those of the start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.2 * torch.randn_like(value))
        module.train()
        for _ in range(3):
            module(cloud)
    return module.eval()


@pytest.fixture(scope="module")
def encoder(ubiquitin: Structure) -> PointEncoder:
    torch.manual_seed(0)
    return trained(PointEncoder(CrossBindConfig.fast()), cloud_of(ubiquitin))


def test_parameter_counts() -> None:
    """Of the paper's encoder, counted from its description; and of the small one from the same formula."""

    def expected(m: int, levels: int) -> int:
        planes = [m * k for k in range(1, levels + 1)]
        total = 27 * 27 * m + 2 * m
        for k, c in enumerate(planes):
            total += 2 * c + 27 * c * c
            if k + 1 < levels:
                d = planes[k + 1]
                total += 2 * c + 8 * c * d + 2 * d + 8 * d * c + 4 * c + 27 * 2 * c * c
        return total

    def count(config: CrossBindConfig) -> int:
        return sum(p.numel() for p in PointEncoder(config).parameters())

    assert count(CrossBindConfig.published()) == expected(32, 7) == 10_768_608
    assert count(CrossBindConfig()) == expected(8, 5)


def test_published_heads_have_the_published_sizes() -> None:
    model = CrossBind(CrossBindConfig.published())
    assert model.attention is not None and model.language is not None and model.segment is not None
    assert model.attention.weigh.weight.shape == (14, 448) and model.attention.weigh.bias is None
    assert model.attention.mix.weight.shape == (448, 448)
    assert model.language.weight.shape == (448, 1280)
    assert [layer.weight.shape for layer in model.head if isinstance(layer, torch.nn.Linear)] == [(128, 502), (64, 128), (1, 64)]
    assert model.share.item() == 0.5


def test_shift_by_whole_coarse_cells_changes_nothing_and_others_do(encoder: PointEncoder, ubiquitin: Structure) -> None:
    config = encoder.config
    # A quarter cell from any wall, so that rounding cannot move an atom to another voxel.
    cloud = cloud_of(ubiquitin)
    cloud = replace(cloud, coord=(np.floor(cloud.coord / config.cell) + 0.25) * config.cell)
    coarse = 2 ** (config.levels - 1) * config.cell
    with torch.no_grad():
        here = encoder(cloud)
        far = encoder(replace(cloud, coord=cloud.coord + coarse * np.array([3, -2, 7])))
        near = encoder(replace(cloud, coord=cloud.coord + config.cell * np.array([1, 0, 0])))
    torch.testing.assert_close(far, here, atol=1e-5, rtol=1e-5)
    assert (near - here).abs().max() > 1e-3


def test_order_of_the_atoms_does_not_matter(encoder: PointEncoder, ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    order = np.random.default_rng(0).permutation(len(cloud.coord))
    parts = {name: getattr(cloud, name)[order] for name in ("coord", "residue_type", "element", "residue", "slot", "group")}
    with torch.no_grad():
        torch.testing.assert_close(encoder(replace(cloud, **parts)), encoder(cloud)[order], atol=1e-5, rtol=1e-5)


def test_atoms_in_one_voxel_share_their_features(encoder: PointEncoder, ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    coord = cloud.coord.copy()
    coord[5] = coord[9] = (np.floor(coord[9] / encoder.config.cell) + 0.5) * encoder.config.cell
    with torch.no_grad():
        out = encoder(replace(cloud, coord=coord))
    assert torch.equal(out[5], out[9])


def test_proteins_in_one_cloud_are_read_as_if_alone(encoder: PointEncoder, ubiquitin: Structure, hhai: Structure) -> None:
    pieces = [crop(cloud_of(hhai), 20, 60), cloud_of(ubiquitin), crop(cloud_of(hhai), 100, 150)]
    with torch.no_grad():
        together = encoder(join(pieces))
        torch.testing.assert_close(together, torch.cat([encoder(piece) for piece in pieces]), atol=1e-5, rtol=1e-5)
    assert join(pieces).n_residues == 40 + 76 + 50


def test_padding_and_attention(ubiquitin: Structure) -> None:
    cloud, slots, width = cloud_of(ubiquitin), 14, 5
    torch.manual_seed(0)
    atoms = torch.randn(len(cloud.coord), width) + 3
    stacked, there = stack_atoms(atoms, cloud, slots)
    assert stacked.shape == (76, slots, width)
    assert (stacked[~there] == 0).all() and there.sum() == len(cloud.coord)
    assert torch.equal(stacked[there], atoms)
    attention = AtomAttention(slots, width)
    weights = attention.weights(stacked, there)
    assert (weights[~there] == 0).all() and ((weights[there] > 0) & (weights[there] < 1)).all()
    by_hand = attention.mix((weights[:, :, None] * stacked).reshape(76, -1))
    torch.testing.assert_close(attention(stacked, there), by_hand)


def test_share_decides_between_structure_and_sequence(ubiquitin: Structure) -> None:
    config = replace(CrossBindConfig.fast(), language_width=6)
    torch.manual_seed(0)
    model = CrossBind(config).eval()
    cloud, language, none = cloud_of(ubiquitin), torch.randn(76, 6), torch.zeros(76, 0)
    other = language + torch.randn(76, 6)
    assert model.balance is not None
    with torch.no_grad():
        for w in (-200.0, -3.0, 0.0, 5.0):
            model.balance.fill_(w)
            assert 0 <= model.share <= 1
        moved = (model(cloud, other, none) - model(cloud, language, none)).abs().max()
        model.balance.fill_(200.0)
        assert torch.equal(model(cloud, other, none), model(cloud, language, none))
        model.balance.fill_(-200.0)
        turned = replace(cloud, coord=cloud.coord[::-1].copy())
        assert torch.equal(model(turned, language, none), model(cloud, language, none))
    assert moved > 0


@pytest.mark.parametrize(("structure", "language"), [(True, 0), (False, 6), (True, 6)])
def test_every_modality_alone(ubiquitin: Structure, structure: bool, language: int) -> None:
    model = CrossBind(replace(CrossBindConfig.fast(), structure=structure, language_width=language, feature_width=2))
    out = model(cloud_of(ubiquitin), torch.randn(76, max(language, 1)), torch.randn(76, 2))
    assert out.shape == (76,)
    out.sum().backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("encoder.first") for name in used) == structure
    assert any(name.startswith("language") for name in used) == bool(language)
