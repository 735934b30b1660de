"""Masks of sites, boxes that are drawn, the losses by hand, the training loop, and what it leaves on disk."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import make_structure
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from course.kalasanty_training import (
    CavityExample,
    KalasantyLog,
    KalasantyTrainConfig,
    ball,
    cavity_example,
    cavity_loss,
    draw_box,
    fit_kalasanty,
    kernel_groups,
    site_mask,
    soft_dice,
    validation_dice,
)
from s2p.errors import S2PError
from s2p.models.kalasanty.config import KalasantyConfig
from s2p.models.kalasanty.grid import central_box, fill_box
from s2p.models.kalasanty.network import Kalasanty
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure

TINY = KalasantyConfig(base=2, box=8, pools=(2, 2, 2))
QUICK = KalasantyTrainConfig(epochs=3, batch=2, warmup_steps=2)
PLAIN = replace(QUICK, rotate=False, shift=0.0, moving_box=False)
DICE_ONLY = replace(KalasantyTrainConfig(), cross_entropy=0.0)


@pytest.fixture
def example() -> CavityExample:
    structure = make_structure()
    return cavity_example(structure, [ligand.coord for ligand in structure.ligands if ligand.kind == "molecule"])


def test_an_example_lies_about_its_mean(example):
    structure = make_structure()
    middle = structure.atoms.coord.mean(axis=0)
    assert np.allclose(example.coord.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(example.sites[0] + middle, structure.ligands[0].coord, atol=1e-5)
    assert example.name == structure.name


def test_a_plain_box_is_the_published_one(example):
    grid, mask = draw_box(example, KalasantyConfig(), PLAIN, np.random.default_rng(0))
    box = central_box((0, 0, 0), 24)
    assert (grid == fill_box(example.channels, example.coord, box)).all()
    assert (mask == site_mask(example.sites[0], box)).all()


def test_protein_and_mask_are_turned_and_moved_together(example):
    """A marker atom on the ligand stays on the mask, wherever the box goes."""
    marked = replace(example, coord=example.sites[0], channels=np.ones((len(example.sites[0]), 18), np.float32))
    for seed in range(20):
        grid, mask = draw_box(marked, KalasantyConfig(), QUICK, np.random.default_rng(seed))
        assert mask.any()
        assert (mask >= (grid[0] > 0)).all()


def test_boxes_differ_by_draw_and_are_the_same_for_a_seed(example):
    draws = [draw_box(example, KalasantyConfig(), QUICK, np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all() and (draws[0] != draws[2]).any()


def test_moving_boxes_reach_a_site_far_from_the_centre():
    """On a long protein a box at the centre never sees the site at its end."""
    line = np.zeros((200, 3), np.float32)
    line[:, 0] = np.linspace(-100, 100, 200)
    site = np.array([[95.0, 2.0, 0.0]], np.float32)
    long = CavityExample("rod", np.ones((200, 18), np.float32), line, (site,))
    held = lambda config: [draw_box(long, KalasantyConfig(), config, np.random.default_rng(k))[1].any() for k in range(60)]  # noqa: E731
    assert not any(held(replace(QUICK, moving_box=False)))
    assert sum(held(replace(QUICK, toward_site=1.0))) > 50
    assert 0 < sum(held(replace(QUICK, toward_site=0.0))) < 40


def test_a_protein_without_a_site_is_a_negative(example):
    grid, mask = draw_box(replace(example, sites=()), TINY, QUICK, np.random.default_rng(0))
    assert grid.any() and not mask.any()


def seeded() -> Kalasanty:
    torch.manual_seed(0)
    return Kalasanty(TINY)


def test_other_data_settings_or_networks_are_not_continued(example, tmp_path):
    examples = [example, replace(example, name="b")]
    fit_kalasanty(seeded(), examples, [], replace(QUICK, epochs=1), folder=tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert list(rows[0]) == list(KalasantyLog.__dataclass_fields__) and len(rows) == 1
    with pytest.raises(S2PError, match="other data"):
        fit_kalasanty(seeded(), [*examples, example], [], replace(QUICK, epochs=1), folder=tmp_path)
    with pytest.raises(S2PError, match="another configuration"):
        fit_kalasanty(seeded(), examples, [], replace(QUICK, epochs=1, lr=0.1), folder=tmp_path)
    with pytest.raises(S2PError, match="another configuration"):
        fit_kalasanty(Kalasanty(replace(TINY, base=3)), examples, [], replace(QUICK, epochs=1), folder=tmp_path)


def test_too_few_structures_are_refused(example):
    with pytest.raises(S2PError, match="two structures"):
        fit_kalasanty(seeded(), [example], [], QUICK)
    fit_kalasanty(Kalasanty(replace(TINY, normalise=False)), [example], [], replace(QUICK, epochs=1))


def test_boxes_without_a_site_are_passed_over_in_validation(example):
    model = seeded()
    alone = validation_dice(model, [example], PLAIN)
    assert validation_dice(model, [example, replace(example, sites=())], PLAIN) == pytest.approx(alone)
    assert np.isnan(validation_dice(model, [], PLAIN))


def test_the_penalty_shrinks_kernels(example):
    examples = [example, example]
    sizes = []
    for penalty in (0.0, 1.0):
        model = seeded()
        fit_kalasanty(model, examples, [], replace(PLAIN, epochs=12, penalty=penalty))
        sizes.append(float(model.out.weight.detach().abs().sum()))
    assert sizes[1] < sizes[0]


def test_one_protein_is_learned_by_heart(examples):
    """Spec: the small network overfits one protein to a Dice coefficient above 0.9."""
    structure = read_structure(examples / "4CUP.cif")
    one = cavity_example(structure, [ligand.coord for ligand in relevant_ligands(structure)])
    torch.manual_seed(0)
    model = Kalasanty(KalasantyConfig(base=4)).to(memory_format=torch.channels_last_3d)
    config = replace(PLAIN, epochs=160, lr=1e-2, decay=False)
    log = fit_kalasanty(model, [one, one], [], config)
    assert log[0].train_dice < 0.1
    assert log[-1].train_dice > 0.9


def test_a_ball_of_2_angstrom_has_33_points():
    assert len(ball()) == 33
    assert sorted(map(tuple, ball(1.0).tolist())) == sorted(
        [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    )


def test_the_mask_equals_the_published_recipe():
    """Points on a 71³ grid, widened by a ball, clipped, resampled by a cubic zoom: another route to the same cells."""
    points = np.random.default_rng(3).uniform(-36, 36, (60, 3))
    points = points[(np.abs(points) < 35).all(axis=1)]
    fine = np.zeros((71, 71, 71))
    fine[tuple(np.round(points + 35).astype(int).T)] = 1
    element = np.zeros((5, 5, 5))
    element[tuple((ball() + 2).T)] = 1
    wide = np.clip(ndimage.convolve(fine, element, mode="constant"), 0, 1)
    coarse = ndimage.zoom(wide, 36 / 71, order=3)
    assert coarse.shape == (36, 36, 36)
    assert np.abs(coarse - site_mask(points, central_box((0, 0, 0), 36))).max() < 1e-12


def test_sites_are_merged_and_may_be_absent_or_outside():
    box = central_box((0, 0, 0), 12)
    a, b = np.array([[1.0, 1.0, 1.0]]), np.array([[-5.0, 3.0, 1.0]])
    assert (site_mask(np.concatenate([a, b]), box) == (site_mask(a, box) | site_mask(b, box))).all()
    assert not site_mask(np.zeros((0, 3)), box).any()
    assert not site_mask([[400.0, 0, 0]], box).any()


def test_dice_of_perfect_empty_and_disjoint_densities():
    target = torch.zeros(1, 1, 2, 2, 2)
    target[0, 0, 0] = 1
    assert soft_dice(target, target).item() == pytest.approx(1)
    empty = torch.zeros_like(target)
    assert soft_dice(empty, empty).item() == 1
    assert soft_dice(1 - target, target).item() == pytest.approx(0.01 / 8.01)


def test_dice_of_a_toy_by_hand():
    target = torch.zeros(1, 1, 2, 2, 2)
    target[0, 0, 0, 0] = 1
    density = torch.full_like(target, 0.25)
    assert soft_dice(density, target).item() == pytest.approx((2 * 0.5 + 0.01) / (2 + 2 + 0.01))


def test_dice_is_summed_over_the_batch_and_not_averaged():
    target = torch.zeros(2, 1, 2, 2, 2)
    target[0], target[1, 0, 0, 0, 0] = 1, 1
    density = torch.ones_like(target) * 0.5
    each = torch.stack([soft_dice(density[k : k + 1], target[k : k + 1]) for k in range(2)]).mean()
    whole = soft_dice(density, target).item()
    assert whole == pytest.approx((2 * 4.5 + 0.01) / (8 + 9 + 0.01))
    assert abs(whole - each.item()) > 0.05


@pytest.mark.parametrize("level", [0.0, -200.0])
def test_gradient_is_finite_for_empty_maps_and_saturated_densities(level):
    logits = torch.full((1, 1, 2, 2, 2), level, requires_grad=True)
    cavity_loss(logits, torch.zeros(1, 1, 2, 2, 2), KalasantyTrainConfig()).backward()
    assert torch.isfinite(logits.grad).all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_dice_lies_between_0_and_1_and_is_symmetric(a, b):
    x, y = torch.full((1, 1, 2, 2, 2), a, dtype=torch.float64), torch.full((1, 1, 2, 2, 2), b, dtype=torch.float64)
    assert 0 <= soft_dice(x, y).item() <= 1 + 1e-9
    assert soft_dice(x, y).item() == pytest.approx(soft_dice(y, x).item())


def test_published_loss_is_minus_dice_and_ours_adds_the_weighted_cross_entropy():
    logits = torch.tensor([0.3, -1.2]).reshape(1, 1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2)
    p = torch.sigmoid(logits).flatten().numpy().astype(float)
    dice = (2 * p[0] + 0.01) / (p.sum() + 1.01)
    assert cavity_loss(logits, target, DICE_ONLY).item() == pytest.approx(-dice)
    entropy = (-10 * np.log(p[0]) - np.log(1 - p[1])) / 2
    assert cavity_loss(logits, target, KalasantyTrainConfig()).item() == pytest.approx(-dice + 3 * entropy, rel=1e-5)


def test_penalty_is_on_kernels_only_and_equals_what_adam_is_told():
    torch.manual_seed(0)
    model, penalty = Kalasanty(TINY), 1e-3
    groups = kernel_groups(model, penalty)
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv3d)]
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in kernels}
    assert groups[0]["weight_decay"] == 2 * penalty and groups[1]["weight_decay"] == 0
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    gradients = torch.autograd.grad(penalty * torch.stack([w.square().sum() for w in kernels]).sum(), kernels)
    for w, gradient in zip(kernels, gradients, strict=True):
        assert torch.allclose(gradient, groups[0]["weight_decay"] * w)
