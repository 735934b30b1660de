"""Published pocket finders behind the :class:`~s2p.prediction.Predictor` protocol.

They run as they ship, in a process of their own, on the protein alone. What becomes of their answers:

=========================== =============================== ================== ====================================
tool                        centre                          points             score; ranking
=========================== =============================== ================== ====================================
``pocketnet``               its own: score-weighted mean of surface points     sum of the best 24 point scores; its
                            the best 24 points                                 own
``fpocket-rs``              mean of the alpha spheres       alpha spheres      fpocket's score; its own
``fpocket-rs-druggability`` mean of the alpha spheres       alpha spheres      druggability score; by it
``fpocket``                 mean of the alpha spheres       alpha spheres      fpocket's score; its own
``pocketeer``               its own: mean of the spheres    alpha spheres      probability of a site; its own
``pykvfinder``              mean of the grid points         grid points        volume; by it, as it does not rank
``p2rank``                  its own                         ours, of its atoms P2Rank's score; its own
=========================== =============================== ================== ====================================

Residues are those the tool lists, which is by its own rule; a pocket without a list gets those within 4.5 Å of its points. Its
atoms are those it names (P2Rank) or those of its residues within 4.5 Å of its points. A pocket's probability is the tool's, NaN
where it has none; a residue's is the tool's where it scores residues (PocketNet, P2Rank), else that of the best pocket that
holds it: its probability, or its score divided by that of the best pocket (1 / rank if no score is above 0). ``positive`` are
the residues of any pocket.

fpocket-rs 0.1 lets ligand atoms in its input bury a pocket's surface, on which its score depends. Given the protein alone, as
here, it ranks large pockets last. ``fpocket-rs-druggability`` orders the same pockets by the other score it gives.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.peers.config import PeerConfig
from benchmarks.peers.formats import Found, Key, pdb_text, read_fpocket, read_p2rank, read_p2rank_residues
from benchmarks.peers.process import INTERPRETER, interpreter_with, run_worker
from s2p.config import SurfaceConfig
from s2p.errors import DISTRIBUTION, S2PError
from s2p.io.files import write_text
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure
from s2p.surface.points import surface_points, swept_volume

__all__ = [
    "TOOLS",
    "Fpocket",
    "FpocketRs",
    "FpocketRsDruggability",
    "OutsideTool",
    "P2Rank",
    "PocketNet",
    "Pocketeer",
    "PyKVFinder",
    "Tool",
]


@dataclass(frozen=True)
class Tool:
    """Where a tool comes from."""

    title: str
    source: str
    """Its distribution on the package index, or the name of its program."""
    is_program: bool = False
    version_command: tuple[str, ...] = ()
    version_pattern: str = ""
    """What the program prints; it also tells the program from a namesake."""

    def locate(self) -> tuple[str, str]:
        """The interpreter to run it with, and its version.

        Raises
        ------
        S2PError
            If it is not installed.
        """
        if not self.is_program:
            found = interpreter_with(self.source)
            if found is None:
                extra = "kvfinder" if self.source == "pyKVFinder" else "peers"
                how = f"pip install '{DISTRIBUTION}[{extra}]', or set {INTERPRETER} to a Python that has it"
                raise S2PError(f"{self.title} is not installed: {how}")
            return found
        path = shutil.which(self.source)
        if path is None:
            raise S2PError(f"{self.title} is not installed: there is no program {self.source!r} on the PATH")
        version = _program_version(path, self.version_command, self.version_pattern)
        if version is None:
            raise S2PError(
                f"the program {path} is not {self.title} or does not start: it does not say so when asked for its version"
            )
        return sys.executable, version


TOOLS = {
    "pocketnet": Tool("PocketNet", "pocketnet"),
    "fpocket-rs": Tool("fpocket-rs", "fpocket-rs"),
    "fpocket-rs-druggability": Tool("fpocket-rs", "fpocket-rs"),
    "fpocket": Tool("fpocket", "fpocket", True, (), r"fpocket\s+v?(\d[\w.]*)"),
    "pykvfinder": Tool("pyKVFinder", "pyKVFinder"),
    "pocketeer": Tool("pocketeer", "pocketeer"),
    "p2rank": Tool("P2Rank", "prank", True, ("help",), r"P2Rank\s+v?(\d[\w.]*)"),
}


@lru_cache(maxsize=16)
def _program_version(path: str, command: tuple[str, ...], pattern: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [path, *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    match = re.search(pattern, done.stdout, flags=re.IGNORECASE)
    return match.group(1).rstrip(".") if match else None


class OutsideTool:
    """A pocket finder that is not ours; its ``name`` is a key of :data:`TOOLS`.

    Raises
    ------
    S2PError
        If the tool is not installed.
    """

    name: str

    def __init__(self, config: PeerConfig | None = None) -> None:
        self.tool, self.config = TOOLS[self.name], config or PeerConfig()
        self._python, self.version = self.tool.locate()

    def predict(self, structure: Structure) -> Prediction:
        """Pockets as the tool ranks them; see the module for what its answer becomes.

        ``settings`` holds the tool's version, the ``seconds`` and ``cpu_seconds`` it took once loaded (programs: from their
        start), and ``peak_mb``, the largest resident memory of its process in MB (10^6 bytes).

        Raises
        ------
        S2PError
            If the structure does not fit a PDB file, or the tool hangs, fails, or answers what cannot be read.
        """
        text, index = pdb_text(structure)
        with tempfile.TemporaryDirectory(prefix="s2p-", ignore_cleanup_errors=True) as folder:
            pdb = write_text(Path(folder) / "protein.pdb", text)
            answer = run_worker(
                self._python,
                self.name,
                pdb,
                title=self.tool.title,
                structure=structure.name,
                timeout=self.config.timeout,
                threads=self.config.threads,
            )
            try:
                return self._prediction(structure, index, *self._read(answer, pdb), answer)
            except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
                detail = f"{type(error).__name__}: {error}"
                raise S2PError(
                    f"the answer of {self.tool.title} {self.version} for {structure.name} cannot be read ({detail})"
                ) from None

    def _read(self, answer: dict[str, Any], pdb: Path) -> tuple[list[Found], dict[Key, float] | None]:
        """Pockets, and residue scores where the tool gives them."""
        if self.name == "fpocket":
            return read_fpocket(pdb.parent, pdb.stem), None
        if self.name == "p2rank":
            out = pdb.parent / "out"
            return read_p2rank(out / f"{pdb.name}_predictions.csv"), read_p2rank_residues(out / f"{pdb.name}_residues.csv")
        found = [
            Found(
                float(pocket["score"]),
                np.array(pocket["center"], float),
                np.array(pocket["points"], float).reshape(-1, 3),
                tuple((chain, int(number)) for chain, number in pocket["residues"]),
                probability=float(pocket.get("probability", "nan")),
                volume=float(pocket["volume"]),
            )
            for pocket in answer["pockets"]
        ]
        scores = answer.get("residue_scores")
        return found, None if scores is None else {_key(text): float(score) for text, score in scores.items()}

    def _prediction(
        self,
        structure: Structure,
        index: dict[Key, int],
        found: list[Found],
        scores: dict[Key, float] | None,
        answer: dict[str, Any],
    ) -> Prediction:
        pockets = tuple(_pocket(structure, index, f, rank, self.config) for rank, f in enumerate(found, start=1))
        probabilities = np.zeros(len(structure.residues), np.float32)
        positive = np.zeros(len(probabilities), bool)
        best = max((p.score for p in pockets), default=0.0)
        for p in pockets:
            relative = max(p.score, 0.0) / best if best > 0 else 1 / p.rank
            value = relative if np.isnan(p.probability) else p.probability
            probabilities[p.residues] = np.maximum(probabilities[p.residues], value)
            positive[p.residues] = True
        if scores is not None:
            probabilities = np.zeros_like(probabilities)
            for key, score in scores.items():
                probabilities[index[key]] = score
        settings = {"version": self.version} | {key: float(answer[key]) for key in ("seconds", "cpu_seconds", "peak_mb")}
        none = np.zeros(len(probabilities), bool)
        return Prediction(structure, probabilities, none, positive, pockets, self.name, settings)


class PocketNet(OutsideTool):
    """A neural network over surface points, an ensemble as it ships."""

    name = "pocketnet"


class FpocketRs(OutsideTool):
    """The Rust port of fpocket, in the order of fpocket's score."""

    name = "fpocket-rs"


class FpocketRsDruggability(OutsideTool):
    """The same pockets in the order of their druggability score."""

    name = "fpocket-rs-druggability"


class Fpocket(OutsideTool):
    """fpocket's program: alpha spheres."""

    name = "fpocket"


class PyKVFinder(OutsideTool):
    """Cavities of a grid between two probes, the largest first."""

    name = "pykvfinder"


class Pocketeer(OutsideTool):
    """Alpha spheres, ranked by the probability of a site."""

    name = "pocketeer"


class P2Rank(OutsideTool):
    """P2Rank's program: a random forest over surface points."""

    name = "p2rank"


def _key(text: str) -> Key:
    chain, number = text.split(":")
    return chain, int(number)


def _pocket(structure: Structure, index: dict[Key, int], found: Found, rank: int, config: PeerConfig) -> Pocket:
    """A tool's pocket in our terms; raises ValueError or KeyError for numbers or residues that make no sense."""
    atoms, points, volume = structure.atoms, found.points, found.volume
    own = np.array(found.atoms, dtype=np.int64)
    if len(own):
        if own.min() < 0 or own.max() >= len(atoms):
            raise ValueError("it names atoms that are not there")
        surface = SurfaceConfig()
        cloud = surface_points(
            atoms.coord, atoms.element, np.unique(own), n_points=surface.n_points, probe_radius=surface.probe_radius
        )
        points = cloud.coord
    elif len(points):
        own = _near(atoms.coord, points, config.residue_distance)
    if not (
        np.isfinite(found.score) and found.center.shape == (3,) and np.isfinite(found.center).all() and np.isfinite(points).all()
    ):
        raise ValueError("a score or position is not a number")
    residues = _indices(index[key] for key in found.residues) if found.residues else np.unique(atoms.residue_index[own])
    own = np.unique(own[np.isin(atoms.residue_index[own], residues)])
    return Pocket(
        rank,
        found.score,
        found.probability,
        residues.astype(np.int32),
        own.astype(np.int32),
        points.astype(np.float32),
        found.center.astype(np.float32),
        volume if np.isfinite(volume) else swept_volume(points),
    )


def _indices(values: Iterable[int]) -> NDArray[np.int64]:
    return np.unique(np.fromiter(values, dtype=np.int64))


def _near(coord: NDArray[np.float32], points: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Indices of the atoms within ``distance`` Å of a point."""
    return np.flatnonzero(cKDTree(points).query(coord.astype(np.float64), distance_upper_bound=distance)[0] <= distance)
