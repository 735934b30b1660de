"""The published schema of the JSON output."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from s2p.config import PredictConfig
from s2p.output.files import as_json, json_text
from s2p.predictor import load, load_structure

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "prediction.schema.json").read_text(encoding="utf-8"))
CASES = [
    ("s2p-esm2-8m", "1s3v.pdb.gz"),
    ("s2p-esm2-8m", "1ubi.pdb.gz"),
    ("crossbind", "3mht.pdb.gz"),
    ("kalasanty", "1a28.pdb.gz"),
]


@pytest.mark.parametrize(("model", "file"), CASES)
def test_predictions_follow_the_schema(model: str, file: str, examples: Path) -> None:
    prediction = load(model, device="cpu").predict(load_structure(examples / file))
    Draft202012Validator(SCHEMA).validate(json.loads(json_text(as_json(prediction))))


def test_both_kinds_of_site_follow_the_schema_and_wrong_values_do_not(examples: Path) -> None:
    found = load("s2p-esm2-8m", device="cpu").predict(load_structure(examples / "1s3v.pdb.gz"), PredictConfig(sites="both"))
    value = json.loads(json_text(as_json(found)))
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(value)
    for place, key, wrong in (
        (value["pockets"][0], "probability", 1.2),
        (value["residues"][0], "pocket", "A"),
        (value, "more", 1),
    ):
        before = copy.deepcopy(place)
        place[key] = wrong
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(value)
        place.clear()
        place.update(before)
