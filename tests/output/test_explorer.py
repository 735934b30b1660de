"""The explorer's sliders run the stages after the language model again, and everything it shows follows."""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2p.config import ClusterConfig, PredictConfig, SmoothingConfig, SurfaceConfig
from s2p.errors import S2PError
from s2p.output.explorer import Explorer, explore
from s2p.predictor import Seq2Pocket

pytest.importorskip("ipywidgets")


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


@pytest.fixture
def explorer(predictor: Seq2Pocket, examples: Path) -> Explorer:
    """With the published pockets, which every slider shapes."""
    return explore(examples / "1GBT.cif.gz", config=PredictConfig(ranking="published"), device="cpu")


@pytest.fixture
def scored(predictor: Seq2Pocket, explorer: Explorer) -> Explorer:
    """With the predictor's own choice, the surface network."""
    return Explorer(predictor, explorer.structure, scores=explorer.scores)


def sent(explorer: Explorer) -> dict[str, Any]:
    """The message of the hidden frame."""
    page = html.unescape(re.search(r"srcdoc='([^']*)'", explorer._sender.value)[1])  # type: ignore[index]
    message: dict[str, Any] = json.loads(re.search(r", m = (\{.*?\});c\.onmessage", page)[1])  # type: ignore[index]
    return message


def control(explorer: Explorer, name: str) -> Any:
    """By the beginning of its label; "smoothing" alone is the box."""
    controls = explorer.widget.children[0].children
    return (
        next(c for c in controls if c.description == name)
        if name == "smoothing"
        else next(c for c in controls if c.description.startswith(name))
    )


def same(a: Any, b: Any) -> bool:
    return len(a.pockets) == len(b.pockets) and all(
        np.array_equal(x.residues, y.residues) and np.allclose(x.center, y.center)
        for x, y in zip(a.pockets, b.pockets, strict=True)
    )


def test_starts_with_what_the_predictor_would_say(scored: Explorer, predictor: Seq2Pocket) -> None:
    assert same(scored.prediction, predictor.pockets(scored.structure, scored.scores))
    assert control(scored, "ranking").value == scored.prediction.settings["ranking"] == predictor.checkpoint.ranking
    assert control(scored, "residue threshold").value == pytest.approx(predictor.checkpoint.surface.threshold, abs=0.006)
    assert scored._sender.value == "" and scored.prediction.notes == ()


def test_settings_of_the_published_pockets_start_with_those(scored: Explorer, predictor: Seq2Pocket) -> None:
    config = PredictConfig(cluster=ClusterConfig(bandwidth=7.0))
    chosen = Explorer(predictor, scored.structure, scores=scored.scores, config=config)
    assert control(chosen, "ranking").value == "published" and control(chosen, "bandwidth").value == 7.0
    assert same(chosen.prediction, predictor.pockets(scored.structure, scored.scores, config))


def test_ranking_can_be_chosen(scored: Explorer, predictor: Seq2Pocket) -> None:
    idle = [control(scored, name) for name in ("bandwidth", "probe radius", "smoothing", "smoothing threshold")]
    assert all(c.disabled for c in idle) and "the sliders do not change the pockets" in scored.widget.children[1].value
    first = scored.prediction
    control(scored, "ranking").value = "published"
    assert not any(c.disabled for c in idle) and "All sliders apply" in scored.widget.children[1].value
    assert control(scored, "residue threshold").value == pytest.approx(predictor.checkpoint.threshold)
    published = predictor.pockets(scored.structure, scored.scores, PredictConfig(ranking="published"))
    assert same(scored.prediction, published) and not same(scored.prediction, first)
    assert len(sent(scored)["pockets"]) == len(published.pockets)
    control(scored, "Reset").click()
    assert control(scored, "ranking").value == "surface" and same(scored.prediction, first)


def test_threshold_of_the_surface_moves_residues_but_no_pocket(scored: Explorer, predictor: Seq2Pocket) -> None:
    first = scored.prediction
    control(scored, "residue threshold").value = 0.05
    assert scored.prediction.settings["ranking"] == "surface"
    assert [p.center.tolist() for p in scored.prediction.pockets] == [p.center.tolist() for p in first.pockets]
    assert scored.prediction.positive.sum() > first.positive.sum()
    assert same(scored.prediction, predictor.predict(scored.structure, scored.config))


def test_checkpoint_without_a_surface_network(scored: Explorer, predictor: Seq2Pocket) -> None:
    plain = Seq2Pocket(replace(predictor.checkpoint, surface=None, ranking="published"))
    explorer = Explorer(plain, scored.structure, scores=scored.scores)
    assert control(explorer, "ranking").disabled and control(explorer, "ranking").options == ("published",)
    assert explorer.prediction.settings["ranking"] == "published"


def test_starts_with_a_prediction_and_its_settings(predictor: Seq2Pocket, scored: Explorer) -> None:
    config = PredictConfig(
        threshold=0.42,
        use_smoothing=False,
        ranking="published",
        cluster=ClusterConfig(bandwidth=7.0, seeding="points"),
        surface=SurfaceConfig(probe_radius=1.4, n_points=30, context="complex"),
        smoothing=SmoothingConfig(radius=11.0),
    )
    prediction = predictor.predict(scored.structure, config)
    explorer = explore(prediction, device="cpu")
    assert explorer.config == replace(config, smoothing_threshold=predictor.checkpoint.smoothing_threshold)
    assert same(explorer.prediction, prediction)


def test_models_with_other_stages_have_no_sliders(scored: Explorer) -> None:
    with pytest.raises(S2PError, match="the sliders set stages of Seq2Pocket, which kalasanty does not have"):
        explore(scored.structure, model="kalasanty", device="cpu")


@pytest.mark.parametrize(
    ("name", "value", "config"),
    [
        ("residue threshold", 0.75, {"threshold": 0.75}),
        ("smoothing threshold", 0.1, {"smoothing_threshold": 0.1}),
        ("smoothing", False, {"use_smoothing": False}),
        ("bandwidth", 5.0, {"cluster": ClusterConfig(bandwidth=5.0)}),
        ("probe radius", 2.0, {"surface": SurfaceConfig(probe_radius=2.0)}),
    ],
)
def test_every_control_changes_the_pockets(
    explorer: Explorer, predictor: Seq2Pocket, name: str, value: Any, config: dict[str, Any]
) -> None:
    before = explorer.prediction
    control(explorer, name).value = value
    assert same(explorer.prediction, predictor.pockets(explorer.structure, explorer.scores, PredictConfig(**config)))
    assert not same(explorer.prediction, before)
    message = sent(explorer)
    assert [p["residues"] for p in message["pockets"]] == [p.residues.tolist() for p in explorer.prediction.pockets]
    assert message["smoothed"] == explorer.prediction.smoothed.astype(int).tolist()
    assert message["html"]["pocket-table"].count("class='main'") == len(explorer.prediction.pockets)
    assert explorer.summary() in html.unescape(explorer.widget.children[2].value)


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
    control(explorer, "smoothing").value = False
    assert control(explorer, "smoothing threshold").disabled
    control(explorer, "smoothing").value = True
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
    monkeypatch.setattr("s2p.output.explorer.REST", 0.05)
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
    assert "this &lt;b&gt;cannot&lt;/b&gt; be" in explorer.widget.children[3].value and explorer.prediction is before


def test_one_kind_of_site_at_a_time(explorer: Explorer, predictor: Seq2Pocket) -> None:
    with pytest.raises(S2PError, match="the sliders work for one kind of site; give a config with general or with cryptic sites"):
        Explorer(predictor, explorer.structure, config=PredictConfig(sites="both"))


def test_needs_ipywidgets(predictor: Seq2Pocket, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(S2PError, match="needs ipywidgets: pip install 's2p-pockets"):
        Explorer(predictor, explorer.structure, scores=explorer.scores)
