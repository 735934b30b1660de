"""Batches on a real Dask scheduler with real worker processes, some of which do not live to see the end."""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batch_stub import Stub, pdb, unusable

from s2p.batch import cluster as batch_cluster
from s2p.batch.inputs import BatchConfig, BatchOptions, expand_inputs
from s2p.batch.journal import JOURNAL
from s2p.batch.run import Row, predict_batch
from s2p.errors import S2PError, WeightsError

pytest.importorskip("distributed", reason="needs the extra 'dask'")
N = 24
SILENT = {"DASK_LOGGING__DISTRIBUTED": "critical"}


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | SILENT | environment
    return subprocess.Popen([sys.executable, "-m", *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]], Any]]:
    """A scheduler, its workers, and a function that adds one."""
    file = tmp_path / "scheduler.json"
    processes = [
        start(
            "distributed.cli.dask_scheduler",
            "--port",
            "0",
            "--no-dashboard",
            "--host",
            "127.0.0.1",
            "--scheduler-file",
            str(file),
        )
    ]
    workers: list[subprocess.Popen[bytes]] = []

    def add(*arguments: str, **environment: str) -> None:
        more = (
            "--no-nanny",
            "--nthreads",
            "1",
            "--no-dashboard",
            "--host",
            "127.0.0.1",
            "--local-directory",
            str(tmp_path / "dask"),
        )
        worker = start("distributed.cli.dask_worker", "--scheduler-file", str(file), *more, *arguments, **environment)
        workers.append(worker)
        processes.append(worker)

    end = time.monotonic() + 60
    while not file.exists() or not file.read_text().endswith("}"):
        assert time.monotonic() < end, "the scheduler does not start"
        time.sleep(0.05)
    yield json.loads(file.read_text())["address"], workers, add
    for process in reversed(processes):
        process.kill()
        process.wait()


def inputs(tmp_path: Path, n: int = N) -> list[str]:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(n):
        (folder / f"s{k}.pdb").write_text(pdb(5 + k))
    return [str(folder)]


def options(tmp_path: Path, seconds: float = 0.0, **changes: Any) -> BatchOptions:
    small = BatchConfig(cluster_task=60, gather=40)
    base = {"folder": tmp_path / "out", "load": partial(Stub, seconds), "formats": ("csv", "json"), "quiet": True, "batch": small}
    return BatchOptions(**{**base, **changes})


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (JOURNAL, "summary.csv")}


def wait_for(address: str, workers: int) -> None:
    """Until so many workers are there: which ones have a GPU is asked once, when a batch begins."""
    from distributed import Client

    with Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=60)


def names(rows: list[Row]) -> list[str]:
    return sorted(Path(row.input).name for row in rows)


@pytest.mark.slow
def test_a_worker_is_killed_and_nothing_is_lost(cluster, tmp_path):
    address, workers, add = cluster
    add()
    add()
    wait_for(address, 2)
    items = expand_inputs(inputs(tmp_path))
    rows: list[Row] = []
    with closing(predict_batch(items, options(tmp_path, 0.1), scheduler=address)) as batch:
        for row in batch:
            rows.append(row)
            if len(rows) == 4:
                workers[0].kill()
    assert workers[0].wait() == -9 and workers[1].poll() is None
    assert names(rows) == sorted(f"s{k}.pdb" for k in range(N)), "each input once"
    assert {row.status for row in rows} == {"ok"}
    with open(tmp_path / "out" / "summary.csv", newline="") as handle:
        assert [row["status"] for row in csv.DictReader(handle)] == ["ok"] * N
    here = options(tmp_path, folder=tmp_path / "here")
    list(predict_batch(items, here))
    assert outputs(tmp_path / "out") == outputs(here.folder)
    again = list(predict_batch(items, options(tmp_path, resume=True), scheduler=address))
    assert [row.status for row in again] == ["skipped"] * N


@pytest.mark.slow
def test_work_goes_to_the_gpu_and_what_kills_a_worker_once_is_tried_again(cluster, tmp_path):
    address, workers, add = cluster
    once = tmp_path / "once"
    once.mkdir()
    (once / "s3").touch()
    add("--resources", "GPU=1", S2P_STUB_ONCE=str(once))
    add("--resources", "GPU=1")
    add(S2P_STUB_ONCE=str(once))
    wait_for(address, 3)
    items = expand_inputs(inputs(tmp_path, 8))
    rows = list(predict_batch(items, options(tmp_path, 0.02), scheduler=address))
    assert [row.status for row in rows] == ["ok"] * 8
    # The worker without a GPU would have died of it too, had it been given s3.
    assert workers[2].poll() is None
    assert workers[0].poll() is not None or (once / "s3").exists()


@pytest.mark.slow
def test_a_structure_that_always_kills_is_the_one_error(tmp_path):
    import dask

    given = inputs(tmp_path, 5)
    (tmp_path / "in" / "die.pdb").write_text(pdb(7))
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        rows = list(predict_batch(expand_inputs(given), options(tmp_path), jobs=2, local_cluster=True))
    assert names(rows) == ["die.pdb", *(f"s{k}.pdb" for k in range(5))]
    assert [Path(row.input).name for row in rows if row.status == "error"] == ["die.pdb"]
    (message,) = [row.message for row in rows if row.status == "error"]
    assert "the worker died each time" in message


@pytest.mark.slow
def test_one_input_and_a_bad_one(tmp_path):
    (item,) = expand_inputs(inputs(tmp_path, 1))
    (row,) = predict_batch([item], options(tmp_path), local_cluster=True)
    assert row.status == "ok" and (tmp_path / "out" / "s0_pockets.csv").is_file()
    (row,) = predict_batch(expand_inputs([str(tmp_path / "none.pdb")]), options(tmp_path), local_cluster=True)
    assert row.status == "error" and "no such file" in row.message


@pytest.mark.slow
def test_without_a_predictor_the_batch_stops(tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        list(predict_batch(expand_inputs(inputs(tmp_path, 2)), options(tmp_path, load=unusable), local_cluster=True))


@pytest.mark.slow
def test_all_workers_are_lost(cluster, tmp_path, monkeypatch):
    address, workers, add = cluster
    add()
    monkeypatch.setattr(batch_cluster, "LOOK", 0.2)
    monkeypatch.setattr(batch_cluster, "LOST", 1)
    items = expand_inputs(inputs(tmp_path))
    with closing(predict_batch(items, options(tmp_path, 0.1), scheduler=address)) as batch:
        done = [next(batch)]
        workers[0].kill()
        with pytest.raises(S2PError, match="has lost its last worker.* resume with --resume"):
            done.extend(batch)
    add()
    rows = list(predict_batch(items, options(tmp_path, resume=True), scheduler=address))
    assert names(rows) == sorted(f"s{k}.pdb" for k in range(N))
    assert len(done) <= [row.status for row in rows].count("skipped") < N


def test_no_scheduler_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_cluster, "CONNECT", 0.5)
    items = expand_inputs(inputs(tmp_path, 2))
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(S2PError, match="no Dask scheduler answers at"):
            list(predict_batch(items, options(tmp_path), scheduler=address))


@pytest.mark.slow
def test_a_cluster_that_cannot_work(cluster, tmp_path, monkeypatch):
    address, _, add = cluster
    items = expand_inputs(inputs(tmp_path, 2))
    monkeypatch.setattr(batch_cluster, "CONNECT", 2)
    with pytest.raises(S2PError, match="has no workers"):
        list(predict_batch(items, options(tmp_path), scheduler=address))
    monkeypatch.undo()
    add()
    (tmp_path / "only_here.py").write_text("def sees(path):\n    return True\n")
    with monkeypatch.context() as here:
        here.syspath_prepend(tmp_path)
        here.setattr(batch_cluster, "_sees", importlib.import_module("only_here").sees)
        with pytest.raises(S2PError, match="cannot run s2p .*only_here.* install it where they run"):
            list(predict_batch(items, options(tmp_path), scheduler=address))
    monkeypatch.setattr(batch_cluster, "JOURNAL", "elsewhere")
    with pytest.raises(S2PError, match="cannot see .* give a folder that all machines share"):
        list(predict_batch(items, options(tmp_path), scheduler=address))


def test_dask_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(S2PError, match=r"pip install 's2p-pockets\[dask\]'"):
        list(predict_batch(expand_inputs(inputs(tmp_path, 2)), options(tmp_path), local_cluster=True))
