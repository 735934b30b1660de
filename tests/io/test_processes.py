"""Worker processes: answers, crashes, time limits, children."""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s2p.errors import S2PError
from s2p.io.processes import isolated


def load(path: str = "") -> dict[str, Any]:
    if path:
        with open(path, "a") as handle:
            handle.write(f"{os.getpid()}\n")
    return {"factor": 10}


def load_and_die() -> None:
    os._exit(7)


def load_and_fail() -> None:
    raise S2PError("the weights are missing")


def load_slowly() -> None:
    time.sleep(600)


def factor(loaded: dict[str, Any]) -> int:
    return int(loaded["factor"])


def work(loaded: dict[str, Any], item: Any) -> Any:
    if item == "exit":
        os._exit(9)
    if item == "abort":
        os.abort()
    if item == "raise":
        raise ValueError("odd\ninput")
    if isinstance(item, str) and item.startswith("/"):
        child = subprocess.Popen(["sleep", "600"])
        Path(item).write_text(str(child.pid))
        time.sleep(600)
    print("noise")
    return item * loaded["factor"]


def test_every_item_is_answered_whatever_it_does(tmp_path: Path) -> None:
    items = [1, "exit", 2, "raise", "abort", str(tmp_path / "pid"), 3]
    answers = {
        a.item: a
        for a in isolated(partial(load, str(tmp_path / "loads")), work, items, timeout=3, load_timeout=120, log=tmp_path / "log")
    }
    assert list(answers) == items
    assert [answers[k].value for k in (1, 2, 3)] == [10, 20, 30]
    assert (answers["exit"].status, answers["abort"].status) == ("died", "died")
    assert "exit status 9" in answers["exit"].message
    assert "SIGABRT" in answers["abort"].message
    assert (answers["raise"].status, answers["raise"].message) == (
        "error",
        "unexpected ValueError: odd input (S2P_DEBUG=1 shows where)",
    )
    hung = answers[str(tmp_path / "pid")]
    assert (hung.status, hung.message) == ("timeout", "no answer after 3 s")
    assert 3 <= hung.seconds < 10
    assert [answers[k].first for k in (1, 2, 3)] == [True, True, True]  # each after a new start
    assert not answers["raise"].first  # an exception does not cost the process
    assert len((tmp_path / "loads").read_text().split()) == 4
    assert "noise" in (tmp_path / "log").read_text()
    with pytest.raises(ProcessLookupError):  # what the killed process had started is gone, too
        wait_for_end(int((tmp_path / "pid").read_text()))


def wait_for_end(pid: int) -> None:
    for _ in range(50):
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            raise ProcessLookupError  # dead, and only waiting for somebody to take note
        os.kill(pid, 0)
        time.sleep(0.1)


def test_workers_share_the_items_and_end(tmp_path: Path) -> None:
    said: list[int] = []
    answers = list(
        isolated(partial(load, str(tmp_path / "loads")), work, list(range(8)), workers=2, describe=factor, on_load=said.append)
    )
    assert sorted(a.value for a in answers) == [10 * k for k in range(8)]
    pids = [int(x) for x in (tmp_path / "loads").read_text().split()]
    assert len(pids) <= 2 and said == [10] * len(pids)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    answers = isolated(partial(load, str(tmp_path / "loads")), work, [1, 2, 3])
    next(answers)
    answers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "loads").read_text()), 0)


@pytest.mark.parametrize(
    ("load", "message", "limit"),
    [
        (load_and_fail, "^the weights are missing$", 120.0),
        (load_and_die, "could not be loaded: the process died .exit status 7", 120.0),
        (load_slowly, "could not be loaded: no response after 2 s", 2.0),
    ],
)
def test_what_cannot_be_loaded_is_said_once(load: Any, message: str, limit: float) -> None:
    with pytest.raises(S2PError, match=message):
        list(isolated(load, work, [1, 2], load_timeout=limit))


def test_nothing_to_do_starts_nothing() -> None:
    assert list(isolated(load_and_die, work, [])) == []
