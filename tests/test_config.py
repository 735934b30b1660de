"""Every configuration refuses what it cannot obey, and says which field, which value and what is allowed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks
import course
import s2p
from s2p.config import Checked, ClusterConfig, PredictConfig, ReadConfig, SmoothingConfig, SurfaceConfig, WindowConfig
from s2p.errors import ConfigError, S2PError


def configurations() -> list[type]:
    for package in (s2p, benchmarks, course):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "worker", "throughput", "stages", "frame")):
                importlib.import_module(module.name)

    def below(kind: type) -> Iterator[type]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    return sorted(set(below(Checked)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", configurations(), ids=lambda kind: kind.__name__)
def test_every_field_of_every_configuration_is_checked(kind: Any) -> None:
    default = kind()
    for entry in fields(kind):
        with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{entry.name} must be .*, and is <object"):
            kind(**{entry.name: object()})
        value = getattr(default, entry.name)
        if isinstance(value, float):
            with pytest.raises(ConfigError, match="and is nan"):
                kind(**{entry.name: float("nan")})
        elif isinstance(value, int) and not isinstance(value, bool):
            with pytest.raises(ConfigError, match=r"and is 1\.5"):
                kind(**{entry.name: 1.5})
    for preset in ("published", "fast", "joint", "none"):
        if hasattr(kind, preset):
            assert isinstance(getattr(kind, preset)(), kind)


@pytest.mark.parametrize(
    ("kind", "field", "value", "allowed"),
    [
        (PredictConfig, "ranking", "best", "'surface' or 'published' or None"),
        (PredictConfig, "ranking", "Surface", "'surface' or 'published' or None"),
        (PredictConfig, "threshold", 50, "from 0 to 1"),
        (PredictConfig, "threshold", -1, "from 0 to 1"),
        (PredictConfig, "use_smoothing", "no", "True or False"),
        (PredictConfig, "smoothing_threshold", 5, "from 0 to 1"),
        (PredictConfig, "cluster", {}, "a ClusterConfig"),
        (ClusterConfig, "bandwidth", -3.0, "above 0"),
        (ClusterConfig, "bandwidth", 0, "above 0"),
        (ClusterConfig, "bandwidth", float("inf"), "above 0"),
        (ClusterConfig, "frame", "x", "'raw' or 'principal'"),
        (ClusterConfig, "seeding", "x", "'bins' or 'points'"),
        (SurfaceConfig, "n_points", 0, "of at least 1"),
        (SurfaceConfig, "probe_radius", -1, "above 0"),
        (SmoothingConfig, "radius", "15", "above 0"),
        (WindowConfig, "overlap", -1, "of at least 0"),
        (WindowConfig, "overlap", 1022, "below max_residues, 1022"),
        (ReadConfig, "max_atoms", True, "whole number"),
    ],
)
def test_what_the_command_line_refuses_is_refused_here(kind: Any, field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be .*{allowed}"):
        kind(**{field: value})


def test_numbers_of_numpy_are_numbers() -> None:
    assert ClusterConfig(bandwidth=np.float32(8), max_iterations=np.int64(5)).max_iterations == 5
    assert PredictConfig(threshold=np.float64(0.5), use_smoothing=np.bool_(True)).threshold == 0.5


def test_the_error_is_ours_and_a_value_error() -> None:
    assert issubclass(ConfigError, S2PError)
    assert issubclass(ConfigError, ValueError)


def test_what_is_no_configuration_or_device_is_refused_in_a_sentence(examples: Path) -> None:
    structure = s2p.read_structure(examples / "1ubi.pdb.gz")
    for model in ("s2p-esm2-8m", "kalasanty"):
        with pytest.raises(ConfigError, match="config must be a PredictConfig or None, and is {}"):
            s2p.predict(structure, model=model, config={}, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(S2PError, match="no device 'gpu'; use auto, cpu or cuda"):
        s2p.predict(structure, device="gpu")
    with pytest.raises(S2PError, match="a model is a name or a path, not int"):
        s2p.load(5)  # type: ignore[arg-type]
    with pytest.raises(S2PError, match="a path or an id is wanted, not int"):
        s2p.predict(5)  # type: ignore[arg-type]
