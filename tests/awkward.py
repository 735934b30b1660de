"""What misbehaves, for tests of the benchmark and of the corpus: found by worker processes as ``awkward:Name``."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure


class Center:
    """One pocket in the middle of the protein, holding all residues."""

    name = "awkward:Center"
    version = "1"

    def predict(self, structure: Structure) -> Prediction:
        n = len(structure.residues)
        assert not structure.ligands, "a predictor must not see the answers"
        index = np.arange(n, dtype=np.int32)
        atoms = np.arange(len(structure.atoms), dtype=np.int32)
        center = structure.residues.ca_coord.mean(axis=0)
        pocket = Pocket(1, 1.0, 1.0, index, atoms, structure.residues.ca_coord, center, 1.0)
        return Prediction(structure, np.full(n, 0.5, np.float32), np.zeros(n, bool), np.ones(n, bool), (pocket,), self.name)


class Bad(Center):
    """Fails in the way that the structure's name says."""

    name = "awkward:Bad"

    def predict(self, structure: Structure) -> Prediction:
        if structure.name == "exits":
            os._exit(3)
        if structure.name == "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
        if structure.name == "raises":
            raise ValueError("not today")
        if structure.name == "hangs":
            child = subprocess.Popen(["sleep", "600"])
            with open(os.environ["AWKWARD_PID"], "w") as handle:
                handle.write(str(child.pid))
            time.sleep(600)
        prediction = super().predict(structure)
        if structure.name == "lost":
            object.__setattr__(prediction.pockets[0], "center", np.full(3, np.nan, np.float32))
        return prediction


class Second(Center):
    """Another version of :class:`Center`."""

    name = "awkward:Second"
    version = "2"


class Pieces(Center):
    """Five pockets: the residues of the file in as many runs, the largest score first."""

    name = "awkward:Pieces"

    def predict(self, structure: Structure) -> Prediction:
        whole = super().predict(structure)
        runs = np.array_split(whole.pockets[0].residues, 5)
        centers = [structure.residues.ca_coord[run].mean(axis=0) for run in runs]
        pockets = tuple(
            replace(whole.pockets[0], rank=k + 1, score=1 - k / 9, residues=run, center=center)
            for k, (run, center) in enumerate(zip(runs, centers, strict=True))
        )
        return replace(whole, pockets=pockets, model=self.name)


class Unloadable:
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no licence file")


class NoPredictor:
    """Has no ``predict``."""


def examine(path: Path, folder: Path) -> str:
    """An examiner of files that fails in the way that the file's name says."""
    if path.stem == "raises":
        raise ZeroDivisionError("not today")
    if path.stem == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    while path.stem == "hangs":
        pass
    if path.stem == "grows":
        np.ones(1 << 26).sum()  # half a GiB
    return "" if path.stat().st_size else f"{path}: the file is empty"
