"""The density of whole proteins, pockets through the protocol, and checkpoints."""

import csv
from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch
from builders import make_structure
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from course.kalasanty import read_cube
from course.kalasanty_training import save_kalasanty
from s2p.commands import main
from s2p.config import PredictConfig
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.guard import _unpack, trained_on
from s2p.io.weights import SHIPPED
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.grid import atom_channels, central_box, fill_box, rotations, turn_grid
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.predictor import KalasantyCheckpoint, KalasantyPredictor, cavity_density, load_kalasanty
from s2p.pockets.hits import ligand_hits
from s2p.pockets.ranking import PocketModel
from s2p.prediction import Predictor
from s2p.structure.reading import Structure, read_structure

SMALL = KalasantyConfig(base=2, box=12, pools=(2, 2, 3))


class Local(nn.Module):
    """Stands for a network: the density of a cell depends on its own atoms alone, so that boxes must agree where they overlap."""

    def __init__(self, box: int = 12) -> None:
        super().__init__()
        self.config = replace(SMALL, box=box)
        self.weight = nn.Parameter(torch.linspace(-1, 1, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bcxyz,c->bxyz", x, self.weight)[:, None]


def long_structure(stretch: float = 1.0) -> Structure:
    structure = make_structure(n=40)
    return replace(structure, atoms=replace(structure.atoms, coord=structure.atoms.coord * np.float32(stretch)))


def moved(structure: Structure, rotation: np.ndarray, shift: np.ndarray) -> Structure:
    coord = (structure.atoms.coord.astype(float) @ rotation.T + shift).astype(np.float32)
    return replace(structure, atoms=replace(structure.atoms, coord=coord))


def predictor(model: nn.Module, **pockets) -> KalasantyPredictor:
    return KalasantyPredictor(KalasantyCheckpoint("test", model, KalasantyPocketConfig(**pockets)))


def test_tiles_agree_with_one_box_that_holds_everything():
    structure = long_structure()
    tiled, box = cavity_density(Local(12), structure)
    assert max(box.shape) > 12
    grid = fill_box(atom_channels(structure), structure.atoms.coord, box)
    wanted = 1 / (1 + np.exp(-np.einsum("cxyz,c->xyz", grid, np.linspace(-1, 1, 18))))
    seen = grid.any(axis=0)
    assert np.allclose(tiled[seen], wanted[seen], atol=1e-5)


def test_without_tiles_there_is_the_one_box_and_a_note_about_what_it_misses():
    structure = long_structure()
    off = predictor(Local(12), tiles=False)
    density, box = off.density(structure)
    assert density.shape == (12, 12, 12)
    center = structure.atoms.coord.mean(axis=0)
    assert np.allclose(box.coordinates([(np.array(box.shape) - 1) / 2])[0], center, atol=1e-4)
    missed = int((~box.inside(box.cells(structure.atoms.coord))).sum())
    assert missed > 0
    assert off.predict(structure).notes[0].startswith(f"{missed} of {len(structure.atoms)} atoms")
    on = predictor(Local(12)).predict(structure)
    assert not any("outside of the box" in note for note in on.notes)


def test_a_protein_that_fits_has_the_same_density_with_and_without_tiles():
    structure, model = make_structure(n=8), Kalasanty(replace(SMALL, box=24)).eval()
    a, b = (cavity_density(model, structure, KalasantyPocketConfig(tiles=flag)) for flag in (True, False))
    assert a[1] == b[1] and np.allclose(a[0], b[0], atol=1e-6)


@pytest.mark.parametrize("k", [1, 7, 13, 23])
def test_the_mean_over_24_turns_turns_with_the_protein(k):
    torch.manual_seed(0)
    model, rotation = Kalasanty(replace(SMALL, output_bias=0.0)).eval(), rotations()[k]
    structure = long_structure(1.007)
    box = cavity_density(model, structure)[1]
    # Nothing on the edge of a cell, where rounding decides.
    offset = (structure.atoms.coord - np.array(box.origin)) / box.step % 1
    assert np.abs(offset - 0.5).min() > 1e-4
    config = KalasantyPocketConfig(turns=24)
    before, _ = cavity_density(model, structure, config)
    after, turned = cavity_density(model, moved(structure, rotation, np.array([3.0, -50.0, 8.0])), config)
    assert max(before.shape) > 12 and turned.shape == after.shape
    assert np.abs(after - turn_grid(before, rotation)).max() < 1e-4
    plain, _ = cavity_density(model, structure)
    other, _ = cavity_density(model, moved(structure, rotation, np.zeros(3)))
    assert np.abs(other - turn_grid(plain, rotation)).max() > 1e-3  # one pass alone does not


def test_where_no_atom_is_near_the_density_is_0():
    structure = make_structure(n=8)
    apart = structure.atoms.coord.copy()
    apart[structure.residues.chain[structure.atoms.residue_index] == "B"] += 90
    density, box = cavity_density(Local(12), replace(structure, atoms=replace(structure.atoms, coord=apart)))
    assert density[box.shape[0] // 2, 2, 2] == 0
    assert np.isfinite(density).all() and density.max() > 0


def test_structures_too_extended_for_the_memory_are_refused():
    with pytest.raises(S2PError, match="chains that lie together"):
        cavity_density(Local(12), long_structure(30.0), KalasantyPocketConfig(max_cells=10_000))


def test_pockets_are_made_of_the_density():
    structure = long_structure()
    found = predictor(Local(12))
    assert isinstance(found, Predictor)
    box = central_box(structure.atoms.coord.mean(axis=0), 24)
    density = np.zeros(box.shape, np.float32)
    density[10:13, 10:13, 10:13] = 0.9
    density[16:18, 10:12, 4:6] = 0.95
    prediction = found.pockets(structure, density, box)
    first, second = prediction.pockets
    assert (first.rank, second.rank) == (1, 2)
    assert first.volume == 27 * 8 and second.volume == 8 * 8
    assert np.allclose(first.center, box.coordinates([[11, 11, 11]])[0], atol=1e-3)
    gap = np.linalg.norm(structure.atoms.coord[:, None] - first.points[None], axis=2).min(axis=1)
    assert (first.atoms == np.flatnonzero(gap <= 4.5)).all()
    assert (first.residues == np.unique(structure.atoms.residue_index[first.atoms])).all()
    assert np.flatnonzero(prediction.positive).tolist() == sorted(set(first.residues.tolist()) | set(second.residues.tolist()))
    assert prediction.probabilities[first.residues].min() >= np.float32(0.9)
    assert np.isnan(first.probability)
    assert prediction.settings["threshold"] == 0.5


def test_the_threshold_of_the_command_line_is_that_of_the_density():
    structure, found = long_structure(), predictor(Local(12))
    box = central_box(structure.atoms.coord.mean(axis=0), 24)
    density = np.zeros(box.shape, np.float32)
    density[10:13, 10:13, 10:13] = 0.4
    assert found.pockets(structure, density, box).pockets == ()
    assert any("the highest is 0.40" in note for note in found.pockets(structure, density, box).notes)
    low = found.pockets(structure, density, box, PredictConfig(threshold=0.3))
    assert len(low.pockets) == 1 and not any("cavity" in note for note in low.notes)
    assert "only the threshold" in found.pockets(structure, density, box, PredictConfig(use_smoothing=False)).notes[-1]


def test_a_checkpoint_is_read_again_as_it_was(tmp_path):
    torch.manual_seed(0)
    model = Kalasanty(SMALL)
    model.train()(torch.rand(2, 18, 12, 12, 12))  # running means other than 0
    pockets = KalasantyPocketConfig(threshold=0.3, turns=4)
    calibration = PocketModel((1.0, 0.5, 0.5), (1.0, 0.2, 0.2), (0.3, 0.1, 0.7), -0.4)
    path = tmp_path / "k.safetensors"
    save_kalasanty(KalasantyCheckpoint("mine", model.eval(), pockets, calibration, {"licence": "MIT"}), path)
    found = load_kalasanty(path)
    assert (found.name, found.pockets, found.pocket_model, found.card) == ("mine", pockets, calibration, {"licence": "MIT"})
    assert found.model.config == SMALL
    x = torch.rand(1, 18, 12, 12, 12)
    with torch.no_grad():
        assert torch.allclose(found.model(x), model(x), atol=0.02)  # fp16
    assert '"licence": "MIT"' in path.with_suffix(".json").read_text()
    assert list(tmp_path.glob(".s2p-*")) == []
    chance = KalasantyPredictor(found).predict(make_structure(n=10)).pockets
    assert all(0 <= pocket.probability <= 1 for pocket in chance)


def test_wrong_checkpoints_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="there is no model 'nowhere'"):
        load_kalasanty("nowhere")
    with pytest.raises(WeightsError, match="not a Kalasanty checkpoint"):
        load_kalasanty("s2p-esm2-8m")
    broken = tmp_path / "b.safetensors"
    broken.write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_kalasanty(broken)
    model = Kalasanty(SMALL)
    save_kalasanty(KalasantyCheckpoint("x", model, KalasantyPocketConfig()), broken)
    with safe_open(broken, framework="pt") as handle:
        header = handle.metadata()
    arrays = load_file(broken)
    arrays.pop("out.bias")
    save_file(arrays, broken, metadata=header)
    with pytest.raises(WeightsError, match="damaged"):
        load_kalasanty(broken)


def test_a_real_structure_is_saved_in_every_format(examples, tmp_path):
    torch.manual_seed(0)
    found = predictor(Kalasanty(KalasantyConfig(base=2)), threshold=0.0, drop_border=False, closing=False)
    prediction = found.predict(read_structure(examples / "4CUP.cif"))
    assert len(prediction.pockets) >= 1
    paths = prediction.save(tmp_path)
    assert {path.suffix for path in paths} >= {".csv", ".json", ".pdb", ".pml", ".cxc", ".html"}


def test_the_shipped_checkpoint_is_small_and_was_trained_on_the_training_split_alone(examples):
    assert (SHIPPED / "kalasanty.safetensors").stat().st_size <= 10_000_000
    found = KalasantyPredictor.load(device="cpu")
    card = found.checkpoint.card
    assert len(card["epochs"]) == card["training"]["epochs"]
    assert found.checkpoint.pocket_model is not None and str(found.checkpoint.pockets.threshold) in card["threshold_recalls"]
    with open(examples.parent / "splits" / "complexes.csv", newline="", encoding="utf-8") as handle:
        split = {f"{row['dataset']}/{row['id']}": row["split"] for row in csv.DictReader(handle)}
    ids, _, _ = _unpack(card)
    assert {split[name.rpartition("|")[0]] for name in ids} == {"train"}
    structure = read_structure(examples / "6WQA.cif")  # and it has learned: the antagonist's site comes first
    assert trained_on(card, {"6WQA": structure.sequence("A")}) == []
    hits = [hit for hit in ligand_hits(found.predict(structure)) if hit.ligand.startswith("ZMA")]
    assert [(hit.found, hit.pocket) for hit in hits] == [(True, 1)]


def test_the_command_writes_the_density_and_its_files_agree(tmp_path, examples, capsys):
    file = examples / "4CUP.cif"
    assert main(["predict", str(file), "--model", "kalasanty", "--format", "ccp4,cube", "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    density, box = KalasantyPredictor.load(device="cpu").density(read_structure(file))
    again, found = read_cube(tmp_path / "4CUP_density.cube")
    assert np.allclose(again, density, rtol=1e-6, atol=1e-9) and np.allclose(found.origin, box.origin, atol=1e-6)
    assert f"wrote {tmp_path / '4CUP_density.ccp4'}" in said
    ccp4 = gemmi.read_ccp4_map(str(tmp_path / "4CUP_density.ccp4"))
    assert np.array_equal(ccp4.grid.array, density)
    origin = np.array([ccp4.header_float(word) for word in (50, 51, 52)])
    for cell in np.argwhere(density > density.max() / 2)[:20].tolist():
        place = origin + ccp4.grid.point_to_position(ccp4.grid.get_point(*cell)).tolist()
        assert np.allclose(place, box.coordinates([cell])[0], atol=1e-3)


def test_models_without_a_density_say_so(tmp_path, examples, capsys):
    assert main(["predict", str(examples / "4CUP.cif"), "--format", "cube", "-o", str(tmp_path)]) == 1
    assert "s2p-esm2-8m predicts no density to write as cube; a model that does is kalasanty" in capsys.readouterr().err
    assert not list(tmp_path.glob("4CUP*"))
