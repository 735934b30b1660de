"""Boxes that are drawn, the training loop, and what it leaves on disk."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import make_structure

from s2p.errors import S2PError
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyTrainConfig
from s2p.models.kalasanty.grid import central_box, fill_box, site_mask
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.training import (
    CavityExample,
    KalasantyLog,
    cavity_example,
    draw_box,
    fit_kalasanty,
    validation_dice,
)
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure

TINY = KalasantyConfig(base=2, box=8, pools=(2, 2, 2))
QUICK = KalasantyTrainConfig(epochs=3, batch=2, warmup_steps=2)
PLAIN = replace(QUICK, rotate=False, shift=0.0, moving_box=False)


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
