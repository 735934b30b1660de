"""Structures that several tests of CrossBind read."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2p.structure.reading import Structure, read_structure


@pytest.fixture(scope="module")
def hhai(examples: Path) -> Structure:
    """HhaI methyltransferase on DNA."""
    return read_structure(examples / "3mht.pdb.gz")


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")
