"""Other people's pocket finders and two baselines, as classes that ``s2p evaluate`` takes as ``benchmarks.peers:PocketNet``.

Python packages come with ``pip install s2p-pockets[peers]`` (and ``s2p-pockets[kvfinder]``, whose requirements differ from our
pinned versions). A package may also live in another environment: name its Python in the variable ``S2P_PEERS_PYTHON``. fpocket
and P2Rank are used when ``fpocket`` and ``prank`` are on the PATH.
"""

from __future__ import annotations

from benchmarks.peers.baselines import LargestCavity, RandomPatch
from benchmarks.peers.tools import (
    TOOLS,
    Fpocket,
    FpocketRs,
    FpocketRsDruggability,
    P2Rank,
    Pocketeer,
    PocketNet,
    PyKVFinder,
)
from s2p.errors import S2PError

__all__ = [
    "PREDICTORS",
    "Fpocket",
    "FpocketRs",
    "FpocketRsDruggability",
    "LargestCavity",
    "P2Rank",
    "PocketNet",
    "Pocketeer",
    "PyKVFinder",
    "RandomPatch",
    "available",
]

PREDICTORS: dict[str, str] = {
    kind.name: f"benchmarks.peers:{kind.__name__}"
    for kind in (
        PocketNet,
        FpocketRs,
        FpocketRsDruggability,
        Fpocket,
        PyKVFinder,
        Pocketeer,
        P2Rank,
        RandomPatch,
        LargestCavity,
    )
}
"""Short name for tables -> the name that :func:`s2p.load` and ``s2p evaluate`` take."""


def available(name: str) -> str | None:
    """``None`` if a predictor, one of :data:`PREDICTORS`, can be loaded here, else a sentence that says why not."""
    if name in TOOLS:
        try:
            TOOLS[name].locate()
        except S2PError as error:
            return str(error)
    return None
