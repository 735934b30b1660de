"""Studies of the point scorer on a handful of synthetic proteins: that each compares what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from sklearn.metrics import average_precision_score

from benchmarks.recipes.points import PointTrainConfig
from benchmarks.recipes.unseen import UnseenScores
from benchmarks.report.studies import study_sections
from benchmarks.studies.point_alternatives import PointStudyConfig
from benchmarks.studies.points import STUDIES, PointStudy, average_precisions, study_rows
from benchmarks.studies.robustness import Form, facing_perturbed, form_rows, perturbed_forms
from benchmarks.studies.rows import row_to_json
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, Truth
from s2p.evaluation.config import BenchmarkConfig
from s2p.predictor import Seq2Pocket
from s2p.structure.arrays import binding_residues

FEW = BenchmarkConfig(n_bootstrap=20)
TRAINING = replace(PointTrainConfig.fast(), n_components=0, positives=30, negatives=60, epochs=6)
STUDY = PointStudyConfig(
    n_components=2, trees=5, boosting_iterations=5, positives=20, negatives=40, curve_clusters=(3,), group_bandwidth=4.0
)


def truth(k: int) -> Truth:
    """Two helices with a ring between them at a place of its own."""
    rng = np.random.default_rng(k)
    structure = make_structure(f"p{k}")
    ligand = structure.ligands[0].coord + np.float32([0, 4.0, rng.uniform(-12, 12)])
    labels = np.zeros(len(structure.residues), bool)
    labels[binding_residues(structure, ligand)] = True
    return Truth(replace(structure, ligands=()), ("BNZ",), (ligand,), labels)


@dataclass(frozen=True)
class Made(Case):
    """A case that needs no file."""

    def read(self) -> Truth:
        return truth(int(self.id[1:]))


def case(k: int) -> Case:
    return Made(f"p{k}", f"c{k // 2}", Path("none"), "files")


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


@pytest.fixture(scope="module")
def study(predictor: Seq2Pocket) -> PointStudy:
    unseen = {}
    for k in range(8):
        t = truth(k)
        rng = np.random.default_rng(k)
        probability = np.clip(t.labels * 0.6 + rng.uniform(0, 0.3, len(t.labels)), 0.01, 0.99).astype(np.float32)
        unseen[f"p{k}"] = UnseenScores(probability, rng.normal(size=(len(t.labels), 320)).astype(np.float32), t.labels)
    cases = [case(k) for k in range(8)]
    return PointStudy(predictor, cases, [case(10), case(12)], unseen, config=STUDY, train_config=TRAINING, quiet=True)


@pytest.fixture(scope="module")
def tables(study: PointStudy) -> dict[str, list]:
    return {name: list(study_rows(study, name, config=FEW)) for name in STUDIES}


def test_every_study_has_its_variants_and_the_first_is_what_is_compared_with(tables: dict[str, list]) -> None:
    assert [row.variant for row in tables["features"]] == [
        "all (shipped)",
        "no geometry",
        "no chemistry",
        "no language",
        "with embeddings",
    ]
    assert [row.variant for row in tables["classifiers"]] == ["perceptron", "gradient-boosted trees", "random forest"]
    assert tables["groupings"][0].variant == "peaks (shipped)" and len(tables["groupings"]) == 5
    assert [row.variant for row in tables["clusters"]] == ["4 (all)", "3"]
    together, alone = tables["chains"]
    assert together.n_sites == alone.n_sites == len(alone.hits["dca_n"]) == 2
    for name, rows in tables.items():
        assert not rows[0].differences
        assert all(bool(row.differences) == (name != "clusters") for row in rows[1:])
        assert {row.n_proteins for row in rows} == {2} and all("ap" in row.figures for row in rows if name != "chains")


def test_the_shipped_settings_are_the_same_in_every_study_that_has_them(tables: dict[str, list]) -> None:
    features, groupings = tables["features"][0], tables["groupings"][0]
    assert features.hits == groupings.hits and features.figures["ap"] == groupings.figures["ap"]


def test_families_and_points_change_what_is_learned(tables: dict[str, list]) -> None:
    for name in ("features", "classifiers"):
        assert len({row.figures["ap"].value for row in tables[name]}) > 2


def test_precision_is_that_of_each_protein(study: PointStudy) -> None:
    prepared = study.full_validation
    scores = [np.random.default_rng(k).random(len(item.labels), dtype=np.float32) for k, item in enumerate(prepared)]
    found = average_precisions(prepared, scores)
    kept = prepared[1].labels >= 0
    assert found[1] == pytest.approx(average_precision_score(prepared[1].labels[kept] == 1, scores[1][kept]))
    assert np.isnan(average_precisions([replace(prepared[0], labels=np.zeros_like(prepared[0].labels))], scores[:1]))[0]


def test_variants_that_are_done_are_not_made_again(study: PointStudy, tables: dict[str, list]) -> None:
    done = {row.variant: row for row in tables["features"]}
    assert list(study_rows(study, "features", done, FEW)) == tables["features"]


def test_what_does_not_fit_is_said(study: PointStudy, predictor: Seq2Pocket) -> None:
    with pytest.raises(S2PError, match="there is no study 'taste'"):
        next(study_rows(study, "taste"))
    stranger = {"x": UnseenScores(np.zeros(3, np.float32), np.zeros((3, 320), np.float32), np.zeros(3, bool))}
    with pytest.raises(S2PError, match="x: scores are given for it"):
        PointStudy(predictor, [case(0)], [case(10)], stranger)


def test_only_binding_residues_move(predictor: Seq2Pocket) -> None:
    t = truth(0)
    names = np.where(t.structure.atoms.name == "CB", "CG", t.structure.atoms.name)
    t = replace(t, structure=replace(t.structure, atoms=replace(t.structure.atoms, name=names)))
    other = facing_perturbed(t, np.random.default_rng(0))
    before = {(r, n): x for r, n, x in _atoms(t)}
    for residue, name, x in _atoms(replace(t, structure=other)):
        assert np.array_equal(x, before[residue, name]) == (name != "CG" or not t.labels[residue])
    assert len(other.residues) == len(t.structure.residues) and len(other.atoms) <= len(t.structure.atoms)


def _atoms(t: Truth) -> Iterator[tuple[int, str, np.ndarray]]:
    atoms = t.structure.atoms
    return zip(atoms.residue_index.tolist(), atoms.name.tolist(), atoms.coord, strict=True)


def test_forms_are_compared_with_the_first_of_the_same_predictor(predictor: Seq2Pocket, tmp_path: Path) -> None:
    class Blind:
        name = "blind"

        def predict(self, structure):
            if "moved" in structure.name:
                raise S2PError("no")
            return replace(predictor.predict(structure), model="blind")

    forms = perturbed_forms([case(10), case(12)])
    crystal, moved = forms.values()
    assert [f.name for f in crystal] == [f.name for f in moved] == ["p10", "p12"]
    named = [Form(f.name, f.cluster, replace(f.structure, name="moved"), f.ligands) for f in moved]
    sets = dict(zip(forms, (crystal, named), strict=True))
    rows = list(form_rows("side chains", sets, [predictor, Blind()], config=FEW, quiet=True))
    assert [bool(row.differences) for row in rows] == [False, True, False, True]
    assert rows[2].hits == rows[0].hits  # the same predictor under another name
    assert rows[3].figures["pockets"].value == 0 and not any(rows[3].hits["dca_n"])  # its failures miss the sites
    facts = {"dataset": "d", "split": "validation", "model": "m", "rows": [row_to_json(row) for row in rows]}
    (tmp_path / "robustness.json").write_text(json.dumps(facts))
    (page,) = study_sections(tmp_path)
    assert "### Side chains at the ligand perturbed" in page and "2 proteins, 2 sites" in page
    assert f"| blind, as crystallised | {rows[2].figures['dca_n'].value:.3f} (" in page
