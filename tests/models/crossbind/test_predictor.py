"""CrossBind behind the predictors' protocol: saving, loading, the filter, patches, and what is said without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.recipes import crossbind as crossbind_recipe
from benchmarks.recipes.nucleic import low_rank_update
from course.crossbind_training import save_crossbind
from s2p.batch.inputs import model_identity
from s2p.checkpoint import load_checkpoint
from s2p.commands import main
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.guard import CARD_KEY
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import sha256_file
from s2p.io.weights import SHIPPED
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig, CrossBindFilterConfig
from s2p.models.crossbind.features import N_FEATURES
from s2p.models.crossbind.filter import filter_probabilities, geodesic_neighbours, log_propensities
from s2p.models.crossbind.network import CrossBind
from s2p.models.crossbind.predictor import (
    EITHER,
    SEQUENCE_ONLY,
    CrossBindBoth,
    CrossBindCheckpoint,
    CrossBindPredictor,
    load_crossbind,
)
from s2p.models.crossbind.sequence import apply_update
from s2p.models.encoder import start_model
from s2p.output.files import as_json, residue_columns
from s2p.prediction import Predictor
from s2p.predictor import load
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import Structure, read_structure

TABLE = dict.fromkeys("ACDEFGHIKLMNPQRSTVWY", 1.0) | {"R": 2.9, "K": 2.0, "L": 0.3, "E": 0.4}


@pytest.fixture(scope="module")
def update() -> dict[str, torch.Tensor]:
    """A random update of rank 2 of one layer, and a head that scores residues around a half."""
    base = start_model()
    with torch.no_grad():  # its own head is random
        base.head.weight.zero_(), base.head.bias.zero_()
    generator = torch.Generator().manual_seed(0)
    tuned = apply_update(base, {f"head.{key}": value for key, value in base.head.state_dict().items()})
    with torch.no_grad():
        weight = tuned.get_parameter("backbone.layers.5.fc1.weight")
        weight += 0.02 * torch.randn(1280, 2, generator=generator) @ torch.randn(2, 320, generator=generator)
        tuned.head.weight.normal_(0, 0.2, generator=generator)
        tuned.head.bias.zero_()
    return {key: value.half().float() for key, value in low_rank_update(base, tuned, 2).items()}


@pytest.fixture(scope="module")
def sequence_only(update: dict[str, torch.Tensor]) -> CrossBindCheckpoint:
    model = apply_update(start_model(), update)
    return CrossBindCheckpoint("crossbind-dna", model, None, TABLE, None, 0.45, {"licence": "x"})


def whole(trained: CrossBindCheckpoint, feature_width: int = 0) -> CrossBindCheckpoint:
    torch.manual_seed(0)
    network = CrossBind(replace(CrossBindConfig.fast(), feature_width=feature_width)).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.copy_((value + 0.2 * torch.randn_like(value)).half().float())
    return replace(trained, network=network)


def test_sequence_branch_makes_patches_and_says_what_it_is(sequence_only: CrossBindCheckpoint, hhai: Structure) -> None:
    predictor = CrossBindPredictor(sequence_only)
    assert isinstance(predictor, Predictor)
    found = predictor.predict(hhai)
    assert found.model == "crossbind-dna" and found.notes[0] == SEQUENCE_ONLY and found.settings["branches"] == "sequence"
    assert found.settings["ranking"] == "published" and found.settings["filter"] is None
    assert np.array_equal(found.positive, found.probabilities > 0.45)
    assert found.pockets and set(np.concatenate([p.residues for p in found.pockets])) <= set(np.flatnonzero(found.positive))
    logits, _ = predictor.read_sequences([hhai.sequence()])[0]
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)
    none = predictor.predict(hhai, PredictConfig(threshold=1.0))
    assert not none.pockets and SEQUENCE_ONLY in none.notes
    with pytest.raises(S2PError, match="no surface network"):
        predictor.predict(hhai, PredictConfig(ranking="surface"))


@pytest.mark.parametrize("feature_width", [0, N_FEATURES])
def test_the_whole_network_reads_the_structure(
    sequence_only: CrossBindCheckpoint, hhai: Structure, examples: Path, feature_width: int
) -> None:
    predictor = CrossBindPredictor(whole(sequence_only, feature_width))
    found = predictor.predict(hhai)
    assert SEQUENCE_ONLY not in found.notes and found.settings["branches"] == "structure and sequence"
    assert np.corrcoef(found.probabilities, CrossBindPredictor(sequence_only).predict(hhai).probabilities)[0, 1] < 0.99
    np.testing.assert_allclose(found.parts["sequence"], CrossBindPredictor(sequence_only).predict(hhai).probabilities, atol=1e-6)
    again = predictor.predict(hhai)
    assert np.array_equal(found.probabilities, again.probabilities)
    many = predictor.predict(read_structure(examples / "7pbl.pdb.gz").select_chains(["A", "B"]))
    assert np.isfinite(many.probabilities).all()


def test_both_kinds_are_predicted_together(sequence_only: CrossBindCheckpoint, hhai: Structure) -> None:
    dna, rna = CrossBindPredictor(sequence_only), CrossBindPredictor(replace(whole(sequence_only, N_FEATURES), threshold=0.6))
    found, own = CrossBindBoth(dna, rna).predict(hhai), {"DNA": dna.predict(hhai), "RNA": rna.predict(hhai)}
    assert residue_columns(found)[7:] == ("dna_probability", "rna_probability", "rna_sequence_probability")
    assert np.array_equal(found.parts["dna"], own["DNA"].probabilities)
    assert np.array_equal(found.parts["rna"], own["RNA"].probabilities)
    # The sequence branches of both are the same here.
    np.testing.assert_allclose(found.parts["rna_sequence"], own["DNA"].probabilities, atol=1e-6)
    assert np.array_equal(found.probabilities, np.maximum(found.parts["dna"], found.parts["rna"]))
    assert np.array_equal(found.positive, own["DNA"].positive | own["RNA"].positive)
    assert found.model == "crossbind" and found.settings["branches"] == {"DNA": "sequence", "RNA": "structure and sequence"}
    assert (found.settings["DNA"]["threshold"], found.settings["RNA"]["threshold"]) == (0.45, 0.6)
    assert f"DNA: {SEQUENCE_ONLY}" in found.notes and found.notes[-1] == EITHER
    sites = [p.site for p in found.pockets]
    assert [p.rank for p in found.pockets] == list(range(1, len(sites) + 1)) and set(sites) <= {"DNA", "RNA", "DNA and RNA"}
    assert len(sites) == len(own["DNA"].pockets) + sites.count("RNA")
    row = as_json(found)["residues"][3]
    assert row["rna_probability"] == pytest.approx(float(found.parts["rna"][3]), abs=1e-5)
    with pytest.raises(S2PError, match="sites of nucleic acids only"):
        CrossBindBoth(dna, rna).predict(hhai, PredictConfig(sites="cryptic"))


@pytest.mark.parametrize("neighbours", ["sequence", "geodesic"])
def test_filter_is_applied_to_structures(sequence_only: CrossBindCheckpoint, hhai: Structure, neighbours: str) -> None:
    config = CrossBindFilterConfig(neighbours=neighbours, decision=0.5)  # type: ignore[arg-type]
    plain = CrossBindPredictor(sequence_only).predict(hhai).probabilities
    found = CrossBindPredictor(replace(sequence_only, filter=config)).predict(hhai)
    if neighbours == "geodesic":
        ell = log_propensities(hhai.sequence(), TABLE)
        expected = filter_probabilities(plain, ell, geodesic_neighbours(hhai, config), config)
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    changed = np.flatnonzero(found.probabilities != plain)
    letters = hhai.sequence()
    assert {letters[k] for k in changed} <= set("RKLE")
    assert len(changed) > 0
    assert found.settings["filter"]["neighbours"] == neighbours


def test_round_trip(sequence_only: CrossBindCheckpoint, update: dict[str, torch.Tensor], hhai: Structure, tmp_path: Path) -> None:
    both = whole(sequence_only, N_FEATURES)
    for trained in (sequence_only, replace(both, filter=CrossBindFilterConfig(decision=0.3))):
        path = tmp_path / "c.safetensors"
        save_crossbind(trained, update, path)
        assert path.with_suffix(".json").is_file() and not list(tmp_path.glob(".s2p-*"))
        predictor = CrossBindPredictor.load(path, device="cpu")
        assert predictor.trained.filter == trained.filter and predictor.trained.card == {"licence": "x"}
        expected = CrossBindPredictor(trained).predict(hhai)
        np.testing.assert_allclose(predictor.predict(hhai).probabilities, expected.probabilities, atol=1e-4)


def test_the_card_grows_and_the_weights_stay(
    sequence_only: CrossBindCheckpoint, update: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "crossbind-dna.safetensors"
    save_crossbind(sequence_only, update, path)
    before = load_crossbind(path).model
    (tmp_path / "whole.json").write_text('{"variants": {}}')
    command = [str(tmp_path), "-o", str(tmp_path), "--kind", "dna", "--whole", str(tmp_path / "whole.json")]
    assert crossbind_recipe.main(command) == 0
    found = load_crossbind(path)
    assert found.card == {"licence": "x", "whole_network_on_ligand_complexes": {"variants": {}}}
    assert found.threshold == 0.45 and found.propensities == TABLE
    assert json.loads(path.with_suffix(".json").read_text())["whole_network_on_ligand_complexes"] == {"variants": {}}
    assert torch.equal(found.model.head.weight, before.head.weight)
    own = found.model.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in before.backbone.state_dict().items())
    assert not list(tmp_path.glob(".s2p-*"))


def test_wrong_files(sequence_only: CrossBindCheckpoint, update: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no model"):
        load_crossbind(tmp_path / "none")
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_crossbind(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"s2p": '{"format": "s2p-1"}'})
    with pytest.raises(WeightsError, match="not a CrossBind"):
        load_crossbind(tmp_path / "other.safetensors")
    path = tmp_path / "c.safetensors"
    save_crossbind(sequence_only, {key: value for key, value in update.items() if not key.endswith(".down")}, path)
    with pytest.raises(WeightsError, match="damaged"):
        load_crossbind(path)
    save_crossbind(whole(sequence_only, feature_width=54), update, path)
    with pytest.raises(WeightsError, match="reads 54 more numbers of each residue, and predictions make 0 or 141 of them"):
        load_crossbind(path)


def test_another_version_of_the_base_is_noticed(
    sequence_only: CrossBindCheckpoint, update: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2p.models.crossbind import predictor as crossbind_predictor

    path = tmp_path / "c.safetensors"
    save_crossbind(sequence_only, update, path)
    assert torch.equal(load_crossbind(path).model.head.weight, sequence_only.model.head.weight)
    with pytest.raises(WeightsError, match="not another.pt; drop --backbone"):
        load_crossbind(path, backbone="another.pt")
    other = start_model()
    with torch.no_grad():
        other.get_parameter("backbone.layers.0.fc1.weight")[0, 0] += 1.0
    monkeypatch.setattr(crossbind_predictor, "start_model", lambda **_: other)
    with pytest.raises(WeightsError, match="another version of esm2-8m"):
        load_crossbind(path)


def test_an_update_may_belong_to_a_seq2pocket_checkpoint(tmp_path: Path, update: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "c.safetensors"
    model = apply_update(load_checkpoint(DEFAULT_MODEL).model, update)
    save_crossbind(CrossBindCheckpoint("mine", model, None, TABLE, None, 0.45, {}, DEFAULT_MODEL), update, path)
    weight = "backbone.layers.5.fc1.weight"
    assert torch.allclose(load_crossbind(path).model.get_parameter(weight), model.get_parameter(weight), atol=1e-4)
    assert not torch.allclose(start_model().get_parameter(weight), model.get_parameter(weight), atol=1e-2)


def test_cloud_has_every_residue(hhai: Structure) -> None:
    assert cloud_of(hhai, CrossBindConfig.published()).n_residues == len(hhai.residues)


@pytest.mark.parametrize("name", ["crossbind-dna", "crossbind-rna"])
def test_shipped_checkpoints(name: str, hhai: Structure) -> None:
    predictor = CrossBindPredictor.load(name, device="cpu")
    trained = predictor.trained
    assert predictor.name == name and trained.network is not None and 0 < trained.threshold < 1
    assert trained.propensities["R"] > 2 > 1 > trained.propensities["L"]
    assert trained.card["licence"] == "GPL-3.0" and CARD_KEY in trained.card
    for test, figures in trained.card["figures"].items():
        if test.startswith(("DNA", "RNA")):
            value = figures["crossbind"]["pooled"]["auprc"][0]
            assert value > figures["letters at -7 … +7, logistic regression"]["auprc"] > figures["crossbind"]["prevalence"]
    assert trained.card["network"]["figures"]["test"]["predictors"]["sequence branch"]["whole_minus_this"][1] > 0
    labels = nucleic_contacts(hhai)
    assert auprc_trapezoid(labels, predictor.predict(hhai).probabilities) > 2 * labels.mean()


def test_one_name_stands_for_both_checkpoints() -> None:
    both = load("crossbind", device="cpu")
    assert isinstance(both, CrossBindBoth)
    assert {kind: one.name for kind, one in both.kinds_of_acid.items()} == {"DNA": "crossbind-dna", "RNA": "crossbind-rna"}
    dna, rna = (sha256_file(SHIPPED / f"crossbind-{kind}.safetensors") for kind in ("dna", "rna"))
    assert model_identity("crossbind", None).startswith(f"{dna} {rna} ")


def test_the_command_says_nothing_of_small_molecules(
    update: dict[str, torch.Tensor],
    sequence_only: CrossBindCheckpoint,
    examples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, hhai = tmp_path / "c.safetensors", str(examples / "3mht.pdb.gz")
    save_crossbind(sequence_only, update, path)
    said = {}
    for model in (str(path), DEFAULT_MODEL):
        assert main(["predict", hhai, "--model", model, "--format", "csv", "-o", str(tmp_path / "out")]) == 0
        said[model] = capsys.readouterr().out
    assert "true ligand SAH" in said[DEFAULT_MODEL]
    assert "true ligand" not in said[str(path)] and SEQUENCE_ONLY in said[str(path)]
