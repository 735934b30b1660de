"""States on disk: what goes in comes out, whole or not at all, and only for the run it belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from s2p.errors import S2PError
from s2p.training.config import FinetuneConfig
from s2p.training.state import STATE, fingerprint_of, load_state, save_state, settings_of

IDENTITY = {"config": {"rate": 0.1, "kinds": ("small", "nucleic"), "clip": float("inf")}, "data": "abc"}


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    assert load_state(tmp_path, IDENTITY) is None
    tied = torch.arange(6.0).reshape(2, 3)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][0].sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    given = {
        "weights": {"a": tied, "b": tied, "turned": tied.T, "half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0)},
        "optimizer": optimizer.state_dict(),
    }
    save_state(tmp_path, IDENTITY, {"rows": [{"loss": np.float64(0.1) + 0.2, "score": float("nan"), "head": None}]}, given)
    found = load_state(tmp_path, IDENTITY)
    assert found is not None
    assert found["rows"][0]["loss"] == 0.1 + 0.2 and np.isnan(found["rows"][0]["score"])
    for key, value in given["weights"].items():
        assert torch.equal(found["weights"][key], value) and found["weights"][key].dtype == value.dtype
    again = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    again.load_state_dict(found["optimizer"])
    for key, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(again.state_dict()["state"][0][key], value)


def test_a_state_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, IDENTITY, {"step": 1}, {})

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(S2PError, match=r"could not be written .*is the disk full\?"):
        patch.setattr("s2p.io.files.os.replace", full)
        save_state(tmp_path, IDENTITY, {"step": 2}, {})
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    found = load_state(tmp_path, IDENTITY)
    assert found is not None and found["step"] == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"config": {"rate": 0.2}}, r"another configuration \(rate\)"),
        ({"data": "other"}, "other data"),
        ({"backbone": "x"}, "another backbone"),
        ({"config": {}, "data": "other"}, "another configuration"),
    ],
)
def test_a_state_of_another_run_is_refused(tmp_path: Path, change: dict[str, object], word: str) -> None:
    save_state(tmp_path, IDENTITY, {}, {})
    with pytest.raises(S2PError, match=word):
        load_state(tmp_path, IDENTITY | change)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, IDENTITY, {}, {"weights": torch.ones(100)})
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(S2PError, match="cannot be read as the state of a training run"):
        load_state(tmp_path, IDENTITY)


def test_settings_that_may_change_are_no_part_of_a_run() -> None:
    settings = settings_of(FinetuneConfig(save_minutes=1.0))
    assert "save_minutes" not in settings and settings == settings_of(FinetuneConfig(save_minutes=9.0))
    assert settings != settings_of(FinetuneConfig(seed=1))


def test_a_fingerprint_knows_names_values_and_order() -> None:
    x, y = np.arange(3), np.arange(4.0)
    assert len({fingerprint_of(parts) for parts in (["a", x, y], ["b", x, y], ["a", y, x], ["a", x + 1, y], ["a", x])}) == 5
    assert fingerprint_of([y[::2]]) == fingerprint_of([np.array([0.0, 2.0])])
