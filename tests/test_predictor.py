"""The whole path on bundled structures with the shipped checkpoint."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import write_cryptic
from safetensors.torch import save_file

import s2p
from course.kalasanty_training import save_kalasanty
from course.structures import moved
from s2p import predictor as predictor_module
from s2p.checkpoint import METHODS, load_checkpoint, save_checkpoint
from s2p.commands import main
from s2p.config import ClusterConfig, PredictConfig, SurfaceConfig, WindowConfig
from s2p.errors import ConfigError, S2PError, WeightsError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import summarise
from s2p.io.weights import TOGETHER
from s2p.language.sequences import predict_residues
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.predictor import KalasantyCheckpoint, KalasantyPredictor
from s2p.output.files import as_json
from s2p.pockets.published import find_clusters, positive_points
from s2p.pockets.ranking import UNCALIBRATED
from s2p.pockets.voting import find_voted_pockets
from s2p.prediction import Predictor, sigmoid
from s2p.predictor import Seq2Pocket, by_residue
from s2p.residues import smooth
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Atoms, Residues, Structure, read_structure
from s2p.structure.transforms import random_rotation


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


@pytest.fixture(scope="module")
def structure(examples: Path) -> Structure:
    return read_structure(examples / "1s3v.pdb.gz")


def test_api(examples: Path) -> None:
    prediction = s2p.predict(examples / "6WQA.cif", chain="A", device="cpu")
    assert prediction.pockets
    assert [p.rank for p in prediction.pockets] == list(range(1, len(prediction.pockets) + 1))
    assert "6WQA" in repr(prediction)
    assert "<table>" in prediction._repr_html_()
    table = prediction.table()
    assert list(table.columns)[:3] == ["rank", "score", "probability"]
    assert len(table) == len(prediction.pockets)


def test_invariants_of_published_pockets(predictor: Seq2Pocket, structure: Structure) -> None:
    prediction = predictor.predict(structure, PredictConfig(ranking="published"))
    assert isinstance(predictor, Predictor)
    scores = [p.score for p in prediction.pockets]
    assert scores == sorted(scores, reverse=True)
    members = np.concatenate([p.residues for p in prediction.pockets])
    assert len(set(members.tolist())) == len(members)
    assert set(members.tolist()) == set(np.flatnonzero(prediction.positive).tolist())
    assert not (prediction.smoothed & (prediction.probabilities > prediction.settings["threshold"])).any()
    for pocket in prediction.pockets:
        assert 0 <= pocket.probability <= 1
        assert pocket.volume > 0
        np.testing.assert_allclose(pocket.center, structure.atoms.coord[pocket.atoms].mean(axis=0), atol=1e-3)
        nearest = np.linalg.norm(pocket.points[:, None] - structure.atoms.coord[None], axis=2).min(axis=1)
        assert ((nearest > 3.0) | (nearest < 1e-3)).all()  # a probe clears every atom; a buried residue gives its CA


def test_a_repeated_prediction_is_the_same(predictor: Seq2Pocket, structure: Structure) -> None:
    a, b = predictor.predict(structure), predictor.predict(structure)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert [p.residues.tolist() for p in a.pockets] == [p.residues.tolist() for p in b.pockets]


def test_no_smoothing_keeps_only_residues_above_the_threshold(predictor: Seq2Pocket, structure: Structure) -> None:
    prediction = predictor.predict(structure, PredictConfig(use_smoothing=False, threshold=0.5))
    np.testing.assert_array_equal(prediction.positive, prediction.probabilities > 0.5)
    assert not prediction.smoothed.any()


def test_a_threshold_nothing_passes_gives_no_pockets_and_says_so(
    predictor: Seq2Pocket, structure: Structure, tmp_path: Path
) -> None:
    prediction = predictor.predict(structure, PredictConfig(threshold=1.0))
    assert prediction.pockets == ()
    assert "no residue is above the threshold" in prediction.notes[-1]
    prediction.save(tmp_path, ["csv", "json", "pdb", "pml", "cxc", "html"])
    assert (tmp_path / "1s3v_pockets.csv").read_text().count("\n") == 1


def test_published_pockets_are_ranked_by_mean_probability(predictor: Seq2Pocket, structure: Structure) -> None:
    published = predictor.predict(structure, PredictConfig(ranking="published"))
    for pocket in published.pockets:
        expected = published.probabilities[structure.atoms.residue_index[pocket.atoms]].mean()
        assert pocket.score == pytest.approx(float(expected), abs=1e-5)
    assert [p.score for p in published.pockets] == sorted((p.score for p in published.pockets), reverse=True)


def test_pockets_and_residues_of_the_default_are_those_of_the_surface_network(
    predictor: Seq2Pocket, structure: Structure
) -> None:
    surface, model = predictor.predict(structure), predictor.checkpoint.surface
    assert model is not None and surface.settings == {"threshold": model.threshold, "ranking": "surface"} and surface.pockets
    assert [p.score for p in surface.pockets] == sorted((p.score for p in surface.pockets), reverse=True)
    scores = predictor.score(structure)
    assert scores.parts is not None
    reading = model.network.read(scores.parts[0], scores.embeddings)
    np.testing.assert_array_equal(surface.probabilities, reading.residues)
    np.testing.assert_array_equal(surface.positive, reading.residues > model.threshold)
    assert not surface.smoothed.any()
    found = find_voted_pockets(model.votes, structure, [reading])
    assert [p.center.tolist() for p in surface.pockets] == [p.center.tolist() for p in found]
    written = as_json(surface)["pockets"]
    assert [p["sites"] for p in written] == [np.round(p.sites.astype(float), 3).tolist() for p in found]
    assert all(p["sites"][0] == pytest.approx(p["center"], abs=1e-3) for p in written)
    lower = predictor.pockets(structure, scores, PredictConfig(threshold=0.01, ranking="surface"))
    np.testing.assert_array_equal(lower.positive, reading.residues > 0.01)
    assert [p.center.tolist() for p in lower.pockets] == [p.center.tolist() for p in found]


def test_published_pockets_do_not_know_of_the_surface_network(predictor: Seq2Pocket, structure: Structure) -> None:
    """From scores with readings or without, by a model with the network or without."""
    without = Seq2Pocket(replace(predictor.checkpoint, surface=None, ranking="published"))
    for config in (PredictConfig(ranking="published"), PredictConfig.published()):
        found = predictor.pockets(structure, predictor.score(structure), config)
        plain = without.predict(structure, config)
        assert as_json(found) == as_json(plain) and predictor.score(structure, config).readings is None
        np.testing.assert_array_equal(plain.probabilities, predictor.score(structure).sequence)
    assert (predictor.checkpoint.threshold, predictor.checkpoint.smoothing_threshold) == (0.7, 0.4)
    with pytest.raises(S2PError, match="model s2p-esm2-8m has no surface network; use the method published"):
        without.predict(structure, PredictConfig(ranking="surface"))


def test_readings_are_made_where_they_are_missing(predictor: Seq2Pocket, structure: Structure) -> None:
    """Those of another structure are none: its atoms may have moved."""
    scores, default = predictor.score(structure, PredictConfig(ranking="published")), predictor.predict(structure)
    assert as_json(predictor.pockets(structure, scores)) == as_json(default)
    turned = moved(structure, random_rotation(np.random.default_rng(0)), np.array([5.0, 0, 0]))
    other = predictor.pockets(turned, predictor.score(structure))
    assert np.abs(other.pockets[0].center - default.pockets[0].center).max() > 1
    np.testing.assert_allclose(other.probabilities, default.probabilities, atol=1e-3)


def test_assemblies_are_read_apart(predictor: Seq2Pocket, examples: Path) -> None:
    """Each as if there were no other; a piece too small for pockets has residues all the same."""
    one = read_structure(examples / "4CUP.cif")
    n, atoms, residues = len(one.residues), one.atoms, one.residues
    few = int((atoms.residue_index < 8).sum())
    columns = {k: np.concatenate([v, v[:few]]) for k, v in vars(atoms).items()}
    columns["coord"][len(atoms) :] += 300
    columns["residue_index"] = np.concatenate([atoms.residue_index, atoms.residue_index[:few] + n]).astype(np.int32)
    own = {k: np.concatenate([v, v[:8]]) for k, v in vars(residues).items()}
    own["ca_coord"][n:] += 300
    own["chain"] = np.array([*residues.chain.tolist(), *["Z"] * 8])
    two = replace(one, atoms=Atoms(**columns), residues=Residues(**own))
    scores, alone, both = predictor.score(two), predictor.predict(one), predictor.predict(two)
    assert scores.readings is not None and [len(x.residues) for x in scores.readings] == [n, 8]
    np.testing.assert_allclose(both.probabilities[:n], alone.probabilities, atol=1e-5)
    np.testing.assert_array_equal(both.probabilities[n:], scores.readings[1].residues)
    assert [p.residues.tolist() for p in both.pockets] == [p.residues.tolist() for p in alone.pockets]


@pytest.mark.parametrize(
    "given",
    [
        {"threshold": 0.3},
        {"use_smoothing": False},
        {"cluster": ClusterConfig(bandwidth=6)},
        {"surface": SurfaceConfig(n_points=20)},
    ],
)
def test_settings_of_the_published_pockets_choose_them(predictor: Seq2Pocket, structure: Structure, given: dict) -> None:
    prediction = predictor.predict(structure, PredictConfig(**given))
    assert prediction.settings["ranking"] == "published" and any("by the published method" in note for note in prediction.notes)
    asked = predictor.predict(structure, PredictConfig(**given, ranking="surface"))
    assert asked.settings["ranking"] == "surface" and not asked.notes


@pytest.fixture(scope="module")
def cryptic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for models of cryptic sites: ``alone.safetensors``, and ``two.safetensors`` with a head for each kind."""
    folder = tmp_path_factory.mktemp("cryptic")
    write_cryptic(folder / "alone.safetensors")
    write_cryptic(folder / "two.safetensors", ("general", "cryptic"))
    return folder


@pytest.fixture
def companion(cryptic: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in in place of the shipped model of cryptic sites."""
    monkeypatch.setitem(predictor_module.SHIPPED_FOR, "cryptic", str(cryptic / "alone.safetensors"))
    return cryptic


BOTH, CRYPTIC = PredictConfig(sites="both"), PredictConfig(sites="cryptic")


def test_every_head_has_its_own_weights_threshold_and_smoother(cryptic: Path, structure: Structure) -> None:
    two = Seq2Pocket.load(cryptic / "two.safetensors", device="cpu")
    assert vars(two.checkpoint.others["cryptic"]) | {"smoother": None} == {
        "threshold": 0.8, "smoother": None, "smoothing_threshold": 0.95, "pocket_model": None
    }  # fmt: skip
    (logits, embeddings), *_ = predict_residues(two.checkpoint.model, [structure.sequence()], head="cryptic")
    prediction = two.predict(structure, CRYPTIC)
    np.testing.assert_allclose(prediction.probabilities, sigmoid(logits), atol=1e-6)
    above = prediction.probabilities > 0.8
    added = smooth(two.checkpoint.smoother, structure.residues.ca_coord, above, embeddings, threshold=0.95)
    np.testing.assert_array_equal(prediction.positive, above | added)
    np.testing.assert_array_equal(prediction.smoothed, added)
    assert prediction.settings["sites"] == "cryptic" and {p.site for p in prediction.pockets} == {"cryptic"}
    assert prediction.cryptic is not None and np.array_equal(prediction.cryptic, prediction.probabilities)
    default = two.predict(structure)
    assert "sites" not in default.settings and default.cryptic is None
    assert {p.site for p in default.pockets} == {"general"}


def test_a_model_without_the_head_has_a_companion(predictor: Seq2Pocket, companion: Path, structure: Structure) -> None:
    alone = Seq2Pocket.load(companion / "alone.safetensors", device="cpu").predict(structure)
    assert alone.model == "alone" and {p.site for p in alone.pockets} == {"cryptic"}
    assert "may be closed in this structure: residues above 0.80 by alone" in alone.notes[0]
    assert "the mean over its residues, not calibrated" in alone.notes[0]
    asked = s2p.predict(structure, sites="cryptic", device="cpu")
    assert asked.model == "alone"
    np.testing.assert_array_equal(asked.probabilities, alone.probabilities)
    assert [p.residues.tolist() for p in asked.pockets] == [p.residues.tolist() for p in alone.pockets]


def test_both_kinds_of_site_add_to_what_there_was(companion: Path, structure: Structure) -> None:
    predictors = [Seq2Pocket.load(x, device="cpu") for x in ("s2p-esm2-8m", companion / "two.safetensors")]
    predictors.append(Seq2Pocket.load(companion / "alone.safetensors", device="cpu"))
    for predictor in predictors:
        general, cryptic = predictor.of("general").predict(structure), predictor.of("cryptic").predict(structure)
        both = predictor.predict(structure, BOTH)
        np.testing.assert_array_equal(both.probabilities, general.probabilities)
        np.testing.assert_allclose(both.cryptic, cryptic.probabilities, atol=1e-6)  # type: ignore[arg-type]
        top = both.pockets[: len(general.pockets)]
        assert [(p.score, p.residues.tolist()) for p in top] == [(p.score, p.residues.tolist()) for p in general.pockets]
        added = both.pockets[len(top) :]  # those that are at no general pocket
        assert {p.site for p in added} <= {"cryptic"} and (added or any(p.site == "both" for p in top))
        assert ("follow the general ones" in both.notes[-1]) == bool(added)
        assert both.settings["sites"] == "both" and both.settings["cryptic"]["threshold"] == 0.8
        assert both.settings["threshold"] == general.settings["threshold"]
        distinct = [structure.sequence()]
        staged = predictor.finish(structure, dict(zip(distinct, predictor.read_sequences(distinct, BOTH), strict=True)), BOTH)
        assert [p.residues.tolist() for p in staged.pockets] == [p.residues.tolist() for p in both.pockets]


def test_sites_that_a_model_does_not_predict(predictor: Seq2Pocket, companion: Path, structure: Structure) -> None:
    for model, says in (
        ("kalasanty", "kalasanty does not predict cryptic sites; leave them out, or use the model s2p-esm2-8m"),
        ("awkward:Center", "awkward:Center does not predict cryptic sites"),
        ("crossbind-dna", "crossbind-dna predicts sites of nucleic acids only"),
    ):
        with pytest.raises(S2PError, match=says):
            s2p.predict(structure, model=model, sites="cryptic", device="cpu")
    with pytest.raises(S2PError, match="these residue scores are of general sites only"):
        predictor.pockets(structure, predictor.score(structure), BOTH)
    with pytest.raises(S2PError, match="these residue scores are of general sites only"):
        predictor.pockets(structure, predictor.score(structure), replace(BOTH, sites="cryptic"))
    scores, cryptic = predictor.score(structure, BOTH), predictor.predict(structure, replace(BOTH, sites="cryptic"))
    found = predictor.pockets(structure, scores, replace(BOTH, sites="cryptic"))
    np.testing.assert_allclose(found.probabilities, cryptic.probabilities, atol=1e-5)
    with pytest.raises(S2PError, match="model alone has no surface network; use the method published"):
        predictor.predict(structure, PredictConfig(sites="cryptic", ranking="surface"))
    with pytest.raises(ConfigError, match="PredictConfig.sites must be 'general' or 'cryptic' or 'both', and is 'hidden'"):
        s2p.predict(structure, sites="hidden")  # type: ignore[arg-type]


def test_both_kinds_on_the_command_line(companion: Path, examples: Path, tmp_path: Path) -> None:
    command = ["predict", str(examples / "4CUP.cif"), str(examples / "1ubi.pdb.gz"), "--device", "cpu", "--quiet"]
    assert main([*command, "--sites", "both", "-o", str(tmp_path), "--format", "json,html"]) == 0
    data = json.loads((tmp_path / "4CUP.json").read_text())
    assert data["settings"]["cryptic"]["model"] == "alone" and data["settings"]["cryptic"]["threshold"] == 0.8
    assert "cryptic" in {p["site"] for p in data["pockets"]}
    header, row = ((tmp_path / "4CUP_residues.csv").read_text().splitlines())[:2]
    assert header.endswith(",pocket,cryptic_probability")
    assert float(row.rsplit(",", 1)[1]) == data["residues"][0]["cryptic_probability"]
    header, *lines = (tmp_path / "4CUP_pockets.csv").read_text().splitlines()
    assert header.endswith(",copy_of,site") and lines[-1].endswith(",0,cryptic")
    page = (tmp_path / "4CUP_report.html").read_text()
    assert "A cryptic site: it opens on ligand binding and may be closed in this structure." in page
    assert "cryptic: threshold</th><td>0.8</td>" in page


def test_the_published_method_is_the_paper_and_nothing_else(predictor: Seq2Pocket, examples: Path, tmp_path: Path) -> None:
    """The sequence alone, the paper's thresholds, the frame of the file, all chains clustered at once; the command line too."""
    structure = read_structure(examples / "1hpv.pdb.gz")
    config = PredictConfig.published()
    prediction = predictor.predict(structure, config)
    outputs = dict(
        zip(
            [structure.sequence("A")],
            predict_residues(predictor.checkpoint.model, [structure.sequence("A")], WindowConfig(overlap=0)),
            strict=True,
        )
    )
    logits, embeddings = by_residue(structure, outputs, 320)
    p = sigmoid(logits).astype(np.float32)
    np.testing.assert_array_equal(prediction.probabilities, p)
    above = p > 0.7
    smoothed = smooth(predictor.checkpoint.smoother, structure.residues.ca_coord, above, embeddings, radius=15.0, threshold=0.4)
    clusters = find_clusters(structure, above | smoothed, p, SurfaceConfig(standard_only=True), ClusterConfig(frame="raw"))
    assert [x.residues.tolist() for x in prediction.pockets] == [x.residues.tolist() for x in clusters]
    assert [x.score for x in prediction.pockets] == [x.score for x in clusters]
    command = [
        "predict",
        str(examples / "1hpv.pdb.gz"),
        "--method",
        "published",
        "--device",
        "cpu",
        "--format",
        "json",
        "--quiet",
    ]
    assert main([*command, "-o", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "1hpv.json").read_text())
    assert written["pockets"] == as_json(prediction)["pockets"] and written["settings"] == prediction.settings
    assert prediction.notes == (UNCALIBRATED,)


def test_equal_chains_get_equal_probabilities_and_pockets_may_span_chains(predictor: Seq2Pocket, examples: Path) -> None:
    structure = read_structure(examples / "1hpv.pdb.gz")
    scores = predictor.score(structure)
    a, b = (structure.residues.chain == chain for chain in structure.chains)
    np.testing.assert_array_equal(scores.sequence_logits[a], scores.sequence_logits[b])
    # The structure around them is not quite equal.
    assert np.corrcoef(scores.probabilities[a], scores.probabilities[b])[0, 1] > 0.8
    wide = predictor.predict(structure, PredictConfig(threshold=0.2, cluster=ClusterConfig(bandwidth=20)))
    assert any(len(set(structure.residues.chain[p.residues].tolist())) == 2 for p in wide.pockets)


def test_the_complex_buries_points_that_a_chain_alone_exposes(examples: Path) -> None:
    structure = read_structure(examples / "1hpv.pdb.gz")
    everything = np.ones(len(structure.residues), bool)
    alone = positive_points(structure, everything, SurfaceConfig(context="chain"))
    together = positive_points(structure, everything, SurfaceConfig(context="complex"))
    assert len(together.coord) < len(alone.coord)


def test_file_formats_of_one_entry_agree(predictor: Seq2Pocket, examples: Path, tmp_path: Path) -> None:
    import gemmi

    parsed = gemmi.read_structure(str(examples / "4CUP.cif"))
    parsed.write_pdb(str(tmp_path / "4CUP.pdb"))
    a = predictor.predict(read_structure(examples / "4CUP.cif"))
    b = predictor.predict(read_structure(tmp_path / "4CUP.pdb"))
    assert [p.residues.tolist() for p in a.pockets] == [p.residues.tolist() for p in b.pockets]


def test_checkpoint_round_trip(predictor: Seq2Pocket, structure: Structure, tmp_path: Path) -> None:
    save_checkpoint(replace(predictor.checkpoint, name="copy"), tmp_path / "copy.safetensors")
    copy, module = (
        Seq2Pocket.load(tmp_path / "copy.safetensors", device="cpu"),
        Seq2Pocket(load_checkpoint(tmp_path / "copy.safetensors")),
    )
    expected = predictor.predict(structure).probabilities
    np.testing.assert_array_equal(copy.predict(structure).probabilities, expected)
    np.testing.assert_allclose(module.predict(structure).probabilities, expected, atol=1e-4)
    assert copy.name == "copy"
    assert (tmp_path / "copy.json").is_file()
    assert (tmp_path / "copy.safetensors").stat().st_mode & 0o044


def test_half_precision_costs_little(predictor: Seq2Pocket, structure: Structure, tmp_path: Path) -> None:
    """The shipped weights are fp16 values already, so they are moved off that grid first."""
    checkpoint = load_checkpoint("s2p-esm2-8m")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            parameter.mul_(1 + 1e-3 * torch.randn_like(parameter))
    exact = Seq2Pocket(checkpoint).score(structure).sequence
    for half, atol in ((False, 1e-6), (True, 5e-3)):
        save_checkpoint(checkpoint, tmp_path / "x.safetensors", half=half)
        stored = Seq2Pocket(load_checkpoint(tmp_path / "x.safetensors")).score(structure).sequence
        np.testing.assert_allclose(stored, exact, atol=atol)
    assert not np.array_equal(stored, exact)
    assert (tmp_path / "x.safetensors").stat().st_size < 20e6


def test_unusable_checkpoints(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(WeightsError, match="there is no model 'nothing'.*s2p-esm2-8m"):
        load_checkpoint("nothing")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "bad.safetensors")
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not an s2p checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="was trained on esm2_t6_8M_UR50D"):
        load_checkpoint("s2p-esm2-8m", backbone="esm2_t33_650M_UR50D")
    with pytest.raises(S2PError, match="no CUDA device"):
        Seq2Pocket.load(device="cuda")


def test_wrong_chain_names_the_chains(examples: Path) -> None:
    with pytest.raises(S2PError, match="no protein chain 'Z'; the chains are 'A'"):
        s2p.predict(examples / "4CUP.cif", chain="Z")


def test_evaluation_by_hand(predictor: Seq2Pocket, examples: Path) -> None:
    structure = read_structure(examples / "6WQA.cif")
    prediction = predictor.predict(structure)
    ligand = relevant_ligands(structure)[0].coord
    (site,) = evaluate_complex(prediction, [ligand], cluster="x").sites
    centers = np.array([p.center for p in prediction.pockets], float)
    expected = np.linalg.norm(centers - ligand.mean(axis=0, dtype=np.float64), axis=1)
    assert site.dcc_all == pytest.approx(expected.min(), abs=1e-4)
    assert site.dcc_n == pytest.approx(expected[0], abs=1e-4)
    assert site.dcc_n_plus == pytest.approx(expected[:3].min(), abs=1e-4)
    to_atoms = np.linalg.norm(centers[:, None] - ligand[None], axis=2).min(axis=1)
    assert site.dca_all == pytest.approx(to_atoms.min(), abs=1e-4)
    assert site.best_rank == to_atoms.argmin() + 1


def test_a_protein_without_pockets_counts_as_missed(predictor: Seq2Pocket, structure: Structure) -> None:
    nothing = predictor.predict(structure, PredictConfig(threshold=1.0))
    ligand = np.zeros((5, 3), np.float32)
    results = [evaluate_complex(nothing, [ligand, ligand + 30], cluster=name) for name in "ab"]
    table = summarise(results, BenchmarkConfig(n_bootstrap=20))
    assert np.isinf([site.dcc_all for site in results[0].sites]).all()
    assert table["dcc < 12 Å, top N+2"].value == 0
    assert table["pockets per protein"].value == 0


def test_a_note_about_the_file_is_said_once(predictor: Seq2Pocket, structure: Structure, tmp_path: Path) -> None:
    odd = replace(structure, notes=("the file is odd",))
    prediction = predictor.predict(odd, PredictConfig(threshold=1.0, ranking="published"))
    assert len(prediction.notes) == 1
    for path in prediction.save(tmp_path, ["json", "html"]):
        assert path.read_text().count("the file is odd") == 1


@pytest.fixture(scope="module")
def kalasanty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, untrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "k.safetensors"
    pockets = KalasantyPocketConfig(threshold=0.0, drop_border=False)
    save_kalasanty(KalasantyCheckpoint("tiny", Kalasanty(KalasantyConfig(base=2)), pockets), path)
    return path


def test_every_class_says_the_format_it_is_registered_under() -> None:
    for name, place in METHODS.items():
        module, _, attribute = place.partition(":")
        found = importlib.import_module(module)
        assert callable(getattr(found, attribute).load)
        if name != "s2p-1" and name not in TOGETHER:  # several checkpoints have no format of their own
            assert name == found.FORMAT


def test_models_are_found_by_shipped_name_path_and_class(kalasanty: Path, structure: Structure) -> None:
    assert isinstance(s2p.load("kalasanty", device="cpu"), KalasantyPredictor)
    assert s2p.load(kalasanty, device="cpu").name == s2p.load(str(kalasanty), device="cpu").name == "tiny"
    assert isinstance(s2p.load(device="cpu"), Seq2Pocket)
    assert s2p.load("awkward:Center").name == s2p.predict(structure, model="awkward:Center").model == "awkward:Center"
    assert s2p.predict(structure, model="kalasanty", device="cpu").model == "kalasanty"


def test_a_class_in_the_current_folder_is_found_and_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_finder.py").write_text("from awkward import Center\n\nclass Finder(Center):\n    name = 'mine'\n")
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert s2p.load("own_finder:Finder").name == "mine"
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "there is no model 'nowhere': give one of crossbind, crossbind-dna"),
        ("pocketgen", "pocketgen finds no pockets: it designs pockets around a ligand; use s2p design"),
        ("esm2-8m", "esm2-8m finds no pockets: it is the language model"),
        ("surface", "surface finds no pockets: it is the surface network of s2p-esm2-8m"),
        ("proteinmpnn", "proteinmpnn finds no pockets: it is the encoder of backbones that"),
        ("ligandmpnn", "ligandmpnn finds no pockets: it draws residue types; use s2p design"),
        ("esm2_t33_650M_UR50D", "is a language model, which finds no pockets before `s2p finetune`"),
        ("awkward:Nothing", "cannot be imported .*write package.module:Class"),
        ("awkward:NoPredictor", "is not a predictor: it needs a name and a method predict"),
        ("s2p.predictor:Seq2Pocket", "cannot be made without arguments"),
    ],
)
def test_what_finds_no_pockets_is_not_offered_and_says_what_it_is(name: str, says: str) -> None:
    with pytest.raises(S2PError, match=says) as error:
        s2p.load(name)
    assert "\n" not in str(error.value)
    if ":" not in name:
        shipped = "crossbind, crossbind-dna, crossbind-rna, kalasanty, s2p-cryptic-8m, s2p-esm2-8m, vabsnet"
        offered = f"give one of {shipped}, the path of a checkpoint, or package"
        assert offered in str(error.value)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    wrong, plain, future = (tmp_path / f"{name}.safetensors" for name in ("wrong", "plain", "future"))
    wrong.write_bytes(b"no weights")
    save_file({"layers.0.weight": torch.zeros(2)}, plain)
    save_file({"x": torch.zeros(2)}, future, metadata={"s2p": json.dumps({"format": "s2p-99"})})
    for path, says in (
        (wrong, "cannot be read"),
        (plain, "language model alone find no pockets"),
        (future, "unknown format 's2p-99'"),
    ):
        with pytest.raises(WeightsError, match=f"{says}.*; give one of crossbind, crossbind-dna"):
            s2p.load(path)


def test_what_does_not_fit_a_model_is_refused(kalasanty: Path, structure: Structure) -> None:
    with pytest.raises(S2PError, match="drop --backbone"):
        s2p.load(kalasanty, backbone="esm2_t6_8M_UR50D")
    with pytest.raises(S2PError, match="leave backbone and device out"):
        s2p.load("awkward:Center", device="cuda")
    with pytest.raises(S2PError, match="awkward:Center takes no settings"):
        s2p.predict(structure, model="awkward:Center", config=PredictConfig(threshold=0.5))
    assert s2p.predict(structure, model="awkward:Center", config=PredictConfig()).pockets


def test_a_file_replaced_under_its_name_is_loaded_again(kalasanty: Path, structure: Structure, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(kalasanty.read_bytes())
    assert s2p.predict(structure, model=path, device="cpu").model == "tiny"
    save_checkpoint(replace(load_checkpoint("s2p-esm2-8m"), name="other"), path)
    assert s2p.predict(structure, model=path, device="cpu").model == "other"
