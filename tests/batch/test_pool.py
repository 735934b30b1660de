"""Batches over processes give what single predictions give."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batch_stub import Stub, pdb

from s2p.batch import pool
from s2p.batch.inputs import BatchConfig, BatchOptions, Entry, expand_inputs, load_predictor, make_task
from s2p.batch.run import predict_batch
from s2p.config import DEFAULT_MODEL
from s2p.errors import WeightsError

NAMES = ("1ubi.pdb.gz", "4CUP.cif", "1pwc.pdb.gz", "1hpv.pdb.gz")
ROUNDING = 2e-5
"""The last digit that is written: sums over a padded batch are taken in another order."""


def close(a: Any, b: Any) -> bool:
    """Equal, but for the last digit of numbers."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= ROUNDING + 1e-3 * (abs(a) > 1)
    return bool(a == b)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_equals_single_predictions(examples: Path, tmp_path: Path, jobs: int) -> None:
    for name in NAMES:
        shutil.copy(examples / name, tmp_path)
    load = partial(load_predictor, DEFAULT_MODEL, None, "cpu")
    predictor = load()
    options = BatchOptions(tmp_path / "batch", load, ("csv", "json"), quiet=True)
    items = expand_inputs([str(tmp_path)])
    assert [row.status for row in predict_batch(items, options, jobs=jobs)] == ["ok"] * len(NAMES)
    alone = replace(options, folder=tmp_path / "alone", load=lambda: predictor)
    for item in items:
        (row,) = predict_batch([item], alone)
        assert row.status == "ok"
        expected, found = (json.loads((folder / f"{item.stem}.json").read_text()) for folder in (alone.folder, options.folder))
        assert expected["pockets"]
        assert close(expected, found), item.stem


def options(tmp_path: Path, **changes: Any) -> BatchOptions:
    limits = BatchConfig(gather=40)
    return BatchOptions(
        **{"folder": tmp_path / "out", "load": Stub, "formats": ("csv",), "quiet": True, "batch": limits, **changes}
    )


def inputs(tmp_path: Path, names: tuple[str, ...]) -> list[str]:
    folder = tmp_path / "in"
    folder.mkdir()
    for k, name in enumerate(names):
        (folder / f"{name}.pdb").write_text(pdb(6 + k))
    return [str(folder)]


def test_all_are_done_though_some_kill_their_process(tmp_path: Path) -> None:
    names = ("a", "b", "die", "c", "d", "die2", "e", "f", "empty")
    given = inputs(tmp_path, names)
    (tmp_path / "in" / "empty.pdb").write_text("")
    rows = list(predict_batch(expand_inputs(given), options(tmp_path), jobs=2))
    assert sorted(Path(row.input).stem for row in rows) == sorted(names)
    failed = {Path(row.input).stem: row.message for row in rows if row.status == "error"}
    assert failed.keys() == {"die", "die2", "empty"}
    assert "worker process died" in failed["die"] and "the file is empty" in failed["empty"]
    with open(tmp_path / "out" / "summary.csv", newline="") as handle:
        assert [Path(row["input"]).stem for row in csv.DictReader(handle)] == sorted(names)


def test_a_task_is_little_and_there_are_enough_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Entry]] = []

    def watched(group: list[Entry], find: Any) -> Any:
        seen.append(group)
        return make_task(group, find)

    monkeypatch.setattr(pool, "make_task", watched)
    items = expand_inputs(inputs(tmp_path, tuple(f"s{k}" for k in range(40))))
    own = options(tmp_path, batch=BatchConfig(gather=60))
    assert sum(1 for row in predict_batch(items, own, jobs=2) if row.status == "ok") == 40
    sizes = [sum(item.size for _, item in group) for group in seen]
    assert max(sizes) <= 60 and max(map(len, seen)) > 1
    seen.clear()
    assert sum(1 for row in predict_batch(items, options(tmp_path, batch=BatchConfig()), jobs=2) if row.status == "ok") == 40
    assert len(seen) >= 2 * pool.SHARES, "no worker waits for another's large task"


def test_one_larger_than_all_limits_is_done(tmp_path: Path) -> None:
    given = inputs(tmp_path, ("a", "b"))
    (tmp_path / "in" / "large.pdb").write_text(pdb(400))
    rows = list(predict_batch(expand_inputs(given), options(tmp_path), jobs=2))
    assert [row.status for row in rows] == ["ok"] * 3


def unusable() -> Stub:
    raise WeightsError("gone in the meantime")


def test_a_worker_that_cannot_load_stops_the_batch(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone in the meantime"):
        list(predict_batch(expand_inputs(inputs(tmp_path, ("a", "b"))), options(tmp_path, load=unusable), jobs=2))


def test_nothing_is_loaded_where_no_input_is_good(tmp_path: Path) -> None:
    def never() -> Stub:
        raise AssertionError("loaded")

    rows = list(predict_batch(expand_inputs([str(tmp_path), "x" * 5000]), options(tmp_path, load=never), jobs=2))
    assert [row.status for row in rows] == ["error"] * 2
