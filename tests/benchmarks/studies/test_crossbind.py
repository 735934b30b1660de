"""The whole CrossBind network and its parts on three pieces of a protein."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.studies import crossbind as crossbind_ligands
from benchmarks.studies.crossbind import Held, compare
from course.contrast import ContrastConfig
from course.crossbind_training import CrossBindExample
from tests.course.test_crossbind_training import FAST, MODEL, pieces


@pytest.fixture(scope="module")
def proteins(examples: Path) -> list[CrossBindExample]:
    return pieces(examples)


def test_whole_network_and_its_parts_are_compared(
    proteins: list[CrossBindExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossbind_ligands, "CrossBindConfig", lambda: MODEL)
    held = [Held(protein, str(k)) for k, protein in enumerate(proteins)]
    examples = {"train": held[:2], "validation": held[2:], "test": held[1:]}
    out = tmp_path / "out.json"
    compare(examples, FAST, ContrastConfig.fast(), tmp_path / "work", out, quiet=True)
    table = json.loads(out.read_text())
    assert set(table["variants"]) == set(crossbind_ligands.VARIANTS)
    rows = table["variants"]
    assert "share_of_structure" in rows["structure and sequence"] and "share_of_structure" not in rows["sequence alone"]
    assert "retrieval_and_chance" not in rows["both, without pre-training"]
    assert set(table["both_less_variant_auprc_per_protein"]) == set(rows) - {"structure and sequence"}
    for name, (value, low, high, _) in table["both_less_variant_auprc_per_protein"].items():
        expected = rows["structure and sequence"]["test_auprc_per_protein"] - rows[name]["test_auprc_per_protein"]
        assert value == pytest.approx(expected, abs=2e-4) and low <= value <= high

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Broken off after the first variant, it has written that one; started again, it finds the trainings and says the same.
    out.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(crossbind_ligands, "paired_difference", stop)
        compare(examples, FAST, ContrastConfig.fast(), tmp_path / "work", out, quiet=True)
    assert list(json.loads(out.read_text())["variants"]) == ["structure and sequence"]
    compare(examples, FAST, ContrastConfig.fast(), tmp_path / "work", out, quiet=True)
    assert json.loads(out.read_text()) == table
