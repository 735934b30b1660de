"""Baselines that know nothing, and the study that sets everything side by side."""

import json

import numpy as np
import pytest
import torch
from builders import make_structure

from benchmarks.recipes.kalasanty import CavityComplex, calibrate, chains_of, choose_threshold, finish
from benchmarks.report.systems import kalasanty_section
from benchmarks.studies.kalasanty import CenterBall, RandomSurfacePoints, study
from course.kalasanty_training import KalasantyTrainConfig, site_mask
from s2p.evaluation.guard import trained_on
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.grid import Box, central_box
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.predictor import KalasantyCheckpoint, KalasantyPredictor, load_kalasanty
from s2p.pockets.ranking import PocketModel
from s2p.prediction import Predictor
from s2p.predictor import Seq2Pocket
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure


def test_the_ball_lies_at_the_centre():
    structure = make_structure()
    (pocket,) = CenterBall().predict(structure).pockets
    assert np.allclose(pocket.center, structure.atoms.coord.mean(axis=0), atol=1e-4)
    assert np.linalg.norm(pocket.points - pocket.center, axis=1).max() <= 5 + 1e-4
    assert pocket.volume == pytest.approx(4 / 3 * np.pi * 125, rel=0.05)


def test_points_lie_on_the_surface_and_differ_from_each_other(examples):
    structure = read_structure(examples / "4CUP.cif")
    found = RandomSurfacePoints(5).predict(structure)
    centers = np.array([p.center for p in found.pockets])
    gap = np.linalg.norm(structure.atoms.coord[:, None] - centers[None], axis=2).min(axis=0)
    assert len(found.pockets) == 5 and (gap > 3).all() and (gap < 3.6).all()
    assert len(np.unique(centers, axis=0)) == 5
    again = RandomSurfacePoints(5).predict(structure)
    assert all((a.center == b.center).all() for a, b in zip(found.pockets, again.pockets, strict=True))


def test_both_are_predictors():
    for predictor in (CenterBall(), RandomSurfacePoints()):
        assert isinstance(predictor, Predictor) and predictor.version
        prediction = predictor.predict(make_structure())
        assert prediction.model == predictor.name and prediction.positive.any()


@pytest.fixture(scope="module")
def held(request):
    examples = request.config.rootpath / "data" / "examples"
    complexes = []
    for name in ("4CUP.cif", "1s3v.pdb.gz"):
        structure = read_structure(examples / name)
        ligands = [ligand.coord for ligand in relevant_ligands(structure)] or [structure.atoms.coord[:8] + 3]
        complexes.append(CavityComplex(name, name[:4], structure, ligands))
    return complexes


@pytest.fixture(scope="module")
def kalasanty():
    torch.manual_seed(1)
    calibration = PocketModel((3.0, 0.5, 0.5), (1.0, 0.2, 0.2), (0.3, 0.1, 0.2), -0.4)
    pockets = KalasantyPocketConfig(threshold=0.01, drop_border=False)
    return KalasantyPredictor(KalasantyCheckpoint("tiny", Kalasanty(KalasantyConfig(base=2)), pockets, calibration))


def test_the_study_compares_all_on_the_same_sites(held, kalasanty):
    found = study(held, kalasanty, Seq2Pocket.load(device="cpu"))
    assert found["n_complexes"] == 2 and found["n_sites"] == sum(len(x.ligands) for x in held)
    assert set(found["figures"]) == {
        "kalasanty",
        "kalasanty, one box",
        "s2p",
        "center-ball",
        "random-surface-points",
        "consensus",
    }
    assert found["figures"]["center-ball"]["pockets per protein"][0] == 1
    counts = found["agreement"]["s2p, kalasanty"]["dcc_n"]
    alone = len(counts["only_first"]) + len(counts["only_second"])
    assert counts["both"] + alone + counts["neither"] == found["n_sites"]
    value, low, high, p = found["differences"]["kalasanty − s2p"]["dcc_n"]
    assert value == pytest.approx((len(counts["only_second"]) - len(counts["only_first"])) / found["n_sites"])
    assert low <= value <= high and 0 < p <= 1
    hits = found["figures"]["s2p"]["dcc < 4 Å, top N"][0] * found["n_sites"]
    assert counts["both"] + len(counts["only_first"]) == pytest.approx(hits)
    page = kalasanty_section(json.loads(json.dumps(found | {"split": "test"})))
    assert f"2 complexes in 2 clusters, {found['n_sites']} sites" in page
    assert f"| {counts['both']} | {len(counts['only_first'])} | {len(counts['only_second'])} | {counts['neither']} |" in page
    columns = {line.count("|") - 1 for line in page.splitlines() if line}
    assert columns == {-1, 5, 6, 7}  # text, and the tables of differences, agreement and figures


def _density(x: CavityComplex, level: float, background: float) -> tuple[np.ndarray, Box]:
    """High at the ligands, and a wide plateau of ``background`` that swallows them at low thresholds."""
    box = central_box(x.structure.atoms.coord.mean(axis=0), 36)
    grid = np.zeros(box.shape, np.float32)
    grid[3:20, 3:33, 3:33] = background
    grid[site_mask(np.concatenate(x.ligands), box)] = level
    return grid, box


def test_the_threshold_is_chosen_and_pockets_are_calibrated_on_what_is_held_out(held):
    densities = [_density(x, 0.75, 0.45) for x in held]
    best, recalls = choose_threshold(held, densities, KalasantyPocketConfig())
    assert best == 0.5 and recalls[0.5] > recalls[0.4] and recalls[0.8] == 0
    grids = [(np.where(grid == np.float32(0.75), grid, 0), box) for grid, box in densities]
    for grid, _ in grids:
        grid[25:28, 4:8, 4:8] = 0.6  # a wrong pocket in each
    model = calibrate(held, grids, KalasantyPocketConfig())
    right, wrong = model.probability(np.array([[np.log(20 * 0.75), 0.75, 0.75], [np.log(48 * 0.6), 0.6, 0.6]]))
    assert right > 0.5 > wrong


def test_the_recipe_ends_in_a_checkpoint_with_its_card(held, kalasanty, tmp_path, monkeypatch, capsys):
    grids = iter([_density(x, 0.75, 0.0) for x in held])

    def density(self, structure):
        grid, box = next(grids)
        grid[25:28, 4:8, 4:8] = 0.72
        return grid, box

    monkeypatch.setattr(KalasantyPredictor, "density", density)
    out = tmp_path / "k.safetensors"
    finish(kalasanty.checkpoint.model, [], held, KalasantyTrainConfig(), chains_of(held), out)
    found = load_kalasanty(out)
    seen = {x.key + "|" + x.structure.chains[0]: x.structure.sequence(x.structure.chains[0]) for x in held}
    assert [hit.kind for hit in trained_on(found.card, seen | {"new": "MKTAYIAKQR" * 5})] == ["exact"] * len(seen)
    assert found.pocket_model is not None and found.card["licence"] == "MIT"
    recalls = found.card["threshold_recalls"]
    assert found.pockets.threshold == float(max(recalls, key=lambda t: (recalls[t], -float(t))))
    assert "wrote" in capsys.readouterr().out
