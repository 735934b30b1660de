"""Training of a member of the surface network on toy examples, and its readings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import surface_network
from benchmarks.recipes.surface_calibration import read_reading
from benchmarks.recipes.surface_network import FOLDS, cut, fold, read_member, train, vocabulary
from benchmarks.recipes.surface_readings import write_readings
from course.surface_training import Example, TrainConfig, inputs_of
from s2p.errors import S2PError
from s2p.surface.network import NetworkConfig, forward
from s2p.surface.points import soft_points
from s2p.surface.reading import kind_rows

TINY = NetworkConfig(width=8, hidden=8, message=4, vectors=2, shells=4, layers=1, point_layers=1, language=6, structure=5)
SHORT = TrainConfig(steps=8, warm_up=2, average=0.5)


def toy(k: int, n: int = 12) -> Example:
    """A chain of alanines without a backbone, zigzag, with a ligand beside its first third."""
    rng = np.random.default_rng(k)
    ca = np.stack([3.8 * np.arange(n), 2.0 * (np.arange(n) % 2), np.zeros(n)], axis=1)
    coord = np.stack([ca, ca + np.array([0, 1.5, 0]), ca + np.array([0, 2.2, 1.2])], axis=1).reshape(-1, 3).astype(np.float32)
    element = np.full(3 * n, "C")
    cloud = soft_points(coord, element, n_points=TINY.n_points)
    ligand = (ca[: n // 3] + np.array([0, 6.0, 2.0])).astype(np.float32)
    return Example(
        f"toy/{k}",
        f"cluster{k}",
        coord,
        element,
        np.tile(["A:CA", "A:CB", "F:CZ"], n),
        np.repeat(np.arange(n), 3),
        ca.astype(np.float32),
        rng.normal(size=(n, 6)).astype(np.float16),
        rng.normal(size=(n, 5)).astype(np.float16),
        (np.arange(n) < n // 3).astype(np.uint8),
        ligand,
        np.zeros(len(ligand), np.int64),
        cloud.coord.astype(np.float32),
        cloud.atom,
        cloud.share.astype(np.float32),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("examples")
    for k in range(20):
        np.savez(folder / f"toy~{k}~0.npz", **vars(toy(k)))
    return sorted(folder.glob("*.npz"))


@pytest.fixture(autouse=True)
def types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys have few atoms."""
    monkeypatch.setattr(surface_network, "vocabulary", lambda kinds: vocabulary(kinds, least=1))


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface_network, "EPOCH", 4)
    whole = train(files, tmp_path / "whole", SHORT, TINY, validation=files[:2], quiet=True)
    real, calls = surface_network.evaluate, []

    def breaks(*arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(surface_network, "evaluate", breaks)
    with pytest.raises(KeyboardInterrupt):
        train(files, tmp_path / "broken", SHORT, TINY, validation=files[:2], quiet=True)
    monkeypatch.setattr(surface_network, "evaluate", real)
    again = train(files, tmp_path / "broken", SHORT, TINY, validation=files[:2], quiet=True)
    for name, value in whole.weights().items():
        np.testing.assert_array_equal(value.detach(), again.weights()[name].detach())
    log = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert len(log) == 3 and "held_residue_ap" in log[0]
    with pytest.raises(S2PError, match=r"another configuration \(lr\)"):
        train(files, tmp_path / "whole", replace(SHORT, lr=0.1), TINY, quiet=True)


def test_members_are_written_and_gone_on_from(files: list[Path], tmp_path: Path) -> None:
    first = train(files, tmp_path / "a", SHORT, TINY, quiet=True)
    weights, types, network = read_member(tmp_path / "a" / "member.safetensors")
    assert network == TINY and set(types) == {"*:C", "*:N", "*:O", "*:S", "*:X", "A:CA", "A:CB", "F:CZ"}
    for name, value in first.weights().items():
        np.testing.assert_array_equal(value.detach(), weights[name])
    still = replace(SHORT, steps=1, lr=1e-9)
    second = train(files, tmp_path / "b", still, TINY, start=tmp_path / "a" / "member.safetensors", quiet=True)
    for name, value in second.weights().items():
        np.testing.assert_allclose(value.detach(), weights[name], atol=1e-6)


def test_the_left_out_fold_is_not_learned_from(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = surface_network.example
    monkeypatch.setattr(surface_network, "example", lambda x, *rest: read.append(x.cluster) or real(x, *rest))
    train(files, tmp_path / "all", replace(SHORT, seed=3, steps=30), TINY, quiet=True)
    clusters = set(read)
    assert len(clusters) > 5 and 3 not in {fold(cluster) for cluster in clusters}
    assert {fold(f"cluster{k}") for k in range(200)} == set(range(FOLDS))
    with pytest.raises(S2PError, match="there are no examples to train on"):
        train([], tmp_path, SHORT, TINY)


def test_a_share_of_the_clusters_and_inputs_left_out(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, Example] = {}
    real = surface_network.example
    monkeypatch.setattr(surface_network, "example", lambda x, *rest: read.update({x.cluster: x}) or real(x, *rest))
    seen = []
    for share in (1.0, 0.5, 0.25):
        read.clear()
        train(files, tmp_path / str(share), replace(SHORT, steps=60), TINY, clusters=share, quiet=True)
        seen.append(set(read))
    assert len(seen[0]) > len(seen[1]) > len(seen[2]) > 0 and seen[2] < seen[1] < seen[0]
    read.clear()
    train(files, tmp_path / "blind", SHORT, TINY, without=["language"], quiet=True)
    assert read and not any(x.language.any() for x in read.values()) and all(x.structure.any() for x in read.values())
    with pytest.raises(S2PError, match="another configuration"):
        train(files, tmp_path / "blind", SHORT, TINY, quiet=True)


def test_readings_are_what_the_members_say(files: list[Path], tmp_path: Path) -> None:
    member = train(files, tmp_path / "run", SHORT, TINY, quiet=True)
    path = tmp_path / "run" / "member.safetensors"
    assert write_readings(files, [path, path], tmp_path / "readings", left_out=0) == sum(
        fold(f"cluster{k}") == 0 for k in range(20)
    )
    written = sorted((tmp_path / "readings").glob("*.npz"))
    assert written
    x, found = toy(int(written[0].stem.split("~")[1])), read_reading(written[0])
    types = read_member(path)[1]
    said = forward(
        {name: value.detach().numpy() for name, value in member.weights().items()},
        inputs_of(x, kind_rows(x.kind, x.element, types), TINY),
        TINY,
    )
    np.testing.assert_allclose(found.centers, x.points + said.vote, atol=1e-5)
    np.testing.assert_allclose(found.residues, 1 / (1 + np.exp(-said.residue)), atol=1e-6)
    np.testing.assert_allclose(found.extent, np.exp(said.extent), rtol=1e-5)


def test_large_assemblies_are_cut_around_a_ligand() -> None:
    x, rng = toy(0, n=60), np.random.default_rng(0)
    small = cut(x, TrainConfig(most_atoms=40, largest=15.0), rng)
    assert 0 < len(small.ca) < 60 and len(small.coord) == 3 * len(small.ca)
    assert np.abs(small.coord[small.residue * 3 + 0] - small.ca[small.residue]).max() < 1e-5
    np.testing.assert_array_equal(np.unique(small.owner) < len(small.coord), True)
    nearest = np.linalg.norm(small.points - small.coord[small.owner], axis=1)
    np.testing.assert_allclose(nearest, 1.7 + 1.6, atol=1e-3)  # every point is still on its own atom
    assert cut(x, TrainConfig(), rng) is x
