"""The explorer's sliders run the stages after the language model again, and everything it shows follows."""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2p.config import ClusterConfig, PredictConfig, SurfaceConfig
from s2p.errors import S2PError
from s2p.explorer import Explorer, explore
from s2p.pipeline import Seq2Pocket

pytest.importorskip("ipywidgets")


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


@pytest.fixture
def explorer(predictor: Seq2Pocket, examples: Path) -> Explorer:
    return explore(examples / "1GBT.cif.gz", device="cpu")


def sent(explorer: Explorer) -> dict[str, Any]:
    """The message of the hidden frame."""
    page = html.unescape(re.search(r"srcdoc='([^']*)'", explorer._sender.value)[1])  # type: ignore[index]
    message: dict[str, Any] = json.loads(re.search(r", m = (\{.*?\});c\.onmessage", page)[1])  # type: ignore[index]
    return message


def control(explorer: Explorer, name: str) -> Any:
    return next(c for c in explorer.widget.children[0].children if c.description.startswith(name))


def same(a: Any, b: Any) -> bool:
    return len(a.pockets) == len(b.pockets) and all(
        np.array_equal(x.residues, y.residues) and np.allclose(x.center, y.center)
        for x, y in zip(a.pockets, b.pockets, strict=True)
    )


def test_starts_with_the_published_pockets_which_the_sliders_shape(explorer: Explorer, predictor: Seq2Pocket) -> None:
    expected = predictor.pockets(explorer.structure, explorer.scores, PredictConfig(ranking="published"))
    assert same(explorer.prediction, expected)
    assert control(explorer, "residue threshold").value == pytest.approx(predictor.checkpoint.threshold)
    assert explorer._sender.value == ""


@pytest.mark.parametrize(
    ("name", "value", "config"),
    [
        ("residue threshold", 0.75, {"threshold": 0.75}),
        ("smoothing threshold", 0.8, {"smoothing_threshold": 0.8}),
        ("smoothing", False, {"use_smoothing": False}),
        ("bandwidth", 5.0, {"cluster": ClusterConfig(bandwidth=5.0)}),
        ("probe radius", 2.0, {"surface": SurfaceConfig(probe_radius=2.0)}),
    ],
)
def test_every_control_changes_the_pockets(
    explorer: Explorer, predictor: Seq2Pocket, name: str, value: Any, config: dict[str, Any]
) -> None:
    before = explorer.prediction
    chosen = [c for c in explorer.widget.children[0].children if c.description.startswith(name)]
    # "smoothing" is a box and the beginning of a slider's name.
    (chosen[0] if name != "smoothing" else next(c for c in chosen if c.description == "smoothing")).value = value
    assert same(explorer.prediction, predictor.pockets(explorer.structure, explorer.scores, PredictConfig(**config)))
    assert not same(explorer.prediction, before)
    message = sent(explorer)
    assert [p["residues"] for p in message["pockets"]] == [p.residues.tolist() for p in explorer.prediction.pockets]
    assert message["smoothed"] == explorer.prediction.smoothed.astype(int).tolist()
    assert message["html"]["pocket-table"].count("class='main'") == len(explorer.prediction.pockets)
    assert explorer.summary() in html.unescape(explorer.widget.children[1].value)


def test_config_reproduces_the_state(explorer: Explorer, predictor: Seq2Pocket) -> None:
    control(explorer, "bandwidth").value = 12.0
    control(explorer, "residue threshold").value = 0.5
    assert same(explorer.prediction, predictor.predict(explorer.structure, explorer.config))


def test_reset(explorer: Explorer) -> None:
    first = explorer.prediction
    control(explorer, "bandwidth").value = 14.0
    control(explorer, "residue threshold").value = 0.9
    control(explorer, "Reset").click()
    assert same(explorer.prediction, first)


def test_smoothing_threshold_needs_smoothing(explorer: Explorer) -> None:
    box = next(c for c in explorer.widget.children[0].children if c.description == "smoothing")
    box.value = False
    assert control(explorer, "smoothing threshold").disabled
    box.value = True
    assert not control(explorer, "smoothing threshold").disabled


def test_summary_has_pfi_and_dcc(predictor: Seq2Pocket, explorer: Explorer) -> None:
    found = r"GBS A:704: pocket \d+, DCC \d+\.\d Å, DCA \d+\.\d Å, \d+% of its residues\. PFI: \d\.\d\d pockets"
    assert re.search(found, explorer.summary())
    # No residue passes, and the published pockets are made of those that do.
    config = PredictConfig(threshold=0.95, use_smoothing=False, ranking="published")
    nothing = Explorer(predictor, explorer.structure, scores=explorer.scores, config=config)
    assert nothing.prediction.pockets == () and "GBS A:704: no pocket. PFI: no ligand is touched." in nothing.summary()


def test_without_ligands(predictor: Seq2Pocket, examples: Path) -> None:
    assert "no ligand of interest" in explore(examples / "1ubi.pdb.gz", device="cpu").summary()


def test_still_picture_is_there_without_a_kernel(explorer: Explorer) -> None:
    bundle = explorer.still()
    assert bundle["image/png"].startswith("iVBOR")
    page = bundle["text/html"]
    assert page.count("<img src='data:image/png;base64,") == 2 and page.count(" alt='") == 2 and "<script" not in page
    assert f"threshold {explorer.prediction.settings['threshold']}" in page


class Handle:
    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    def update(self, bundle: dict[str, Any], *, raw: bool) -> None:
        assert raw
        self.updates.append(bundle)


def test_still_picture_follows_when_the_sliders_rest(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2p.explorer.REST", 0.05)
    explorer._still = handle = Handle()  # as if displayed

    async def drag() -> None:
        for value in (5.0, 6.0, 7.0):
            control(explorer, "bandwidth").value = value
        assert handle.updates == []
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert len(handle.updates) == 1 and "bandwidth 7.0" in handle.updates[0]["text/html"]
    control(explorer, "bandwidth").value = 8.0  # no event loop: at once
    assert len(handle.updates) == 2


def test_errors_are_sentences(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = explorer.prediction

    def fail(*_: Any) -> None:
        raise S2PError("this <b>cannot</b> be")

    monkeypatch.setattr(explorer.model, "pockets", fail)
    control(explorer, "bandwidth").value = 6.0
    assert "this &lt;b&gt;cannot&lt;/b&gt; be" in explorer.widget.children[2].value and explorer.prediction is before


def test_needs_ipywidgets(predictor: Seq2Pocket, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(S2PError, match="needs ipywidgets; install it with"):
        Explorer(predictor, explorer.structure, scores=explorer.scores)
