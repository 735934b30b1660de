"""A predictor in stages that needs no weights, and a batch of it as a program that tests can kill.

``python tests/batch_stub.py IN OUT JOBS SECONDS``: predict the folder IN into OUT with ``--resume``, a structure in SECONDS.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from s2p.batch.inputs import BatchConfig, BatchOptions, expand_inputs
from s2p.batch.run import predict_batch
from s2p.config import PredictConfig
from s2p.errors import WeightsError
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure

ATOMS = (("N", 0.0), ("CA", 1.5), ("C", 2.5), ("O", 3.5))


def pdb(n: int, residue: str = "ALA") -> str:
    """A straight chain of ``n`` residues."""
    atoms = [(k, i, name, 3.8 * k + x) for k in range(1, n + 1) for i, (name, x) in enumerate(ATOMS)]
    return "\n".join(
        f"ATOM  {(4 * k + i) % 99999:>5}  {name:<3} {residue} A{k:>4}    {x:8.3f}{0.0:8.3f}{0.0:8.3f}  1.00 20.00{name[0]:>12}"
        for k, i, name, x in atoms
    )


class Stub:
    """One pocket of all residues, whose score is the length of the sequence.

    A structure named ``die…`` ends the process that finishes it; another one does so once, if there is a file
    ``$S2P_STUB_ONCE/NAME``.
    """

    name = "stub"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def read_sequences(
        self, sequences: Sequence[str], config: PredictConfig | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.full(len(s), len(s), np.float32), np.zeros((len(s), 4), np.float32)) for s in sequences]

    def finish(
        self,
        structure: Structure,
        outputs: Mapping[str, tuple[np.ndarray, np.ndarray]],
        config: PredictConfig | None = None,
    ) -> Prediction:
        if structure.name.startswith("die"):
            os._exit(9)
        once = Path(os.environ.get("S2P_STUB_ONCE", os.devnull)) / structure.name
        if once.is_file():
            once.unlink()
            os._exit(9)
        time.sleep(self.seconds)
        ca = structure.residues.ca_coord
        index = np.arange(len(ca), dtype=np.int32)
        logits, _ = outputs[structure.sequence(structure.chains[0])]
        pocket = Pocket(1, float(logits[0]), 0.8, index, index, ca, ca.mean(axis=0), 100.0)
        none = np.zeros(len(ca), bool)
        return Prediction(structure, np.full(len(ca), 0.9, np.float32), none, ~none, (pocket,), self.name, {})

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        distinct = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
        return self.finish(structure, dict(zip(distinct, self.read_sequences(distinct), strict=True)), config)


def unusable() -> Stub:
    """Loads no predictor. It stands here because workers find this module, and not the tests', by its name."""
    raise WeightsError("model.safetensors: no such checkpoint")


def main(source: str, folder: str, jobs: str, seconds: str) -> int:
    """Exit status 130 if interrupted; prints the status of each row."""
    small = BatchConfig(gather=60)  # many rounds from few structures
    options = BatchOptions(Path(folder), partial(Stub, float(seconds)), ("csv", "json"), resume=True, quiet=True, batch=small)
    try:
        for row in predict_batch(expand_inputs([source]), options, jobs=int(jobs)):
            print(row.status, Path(row.input).name, flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    # Worker processes import this module under another name; what they are sent must be found there.
    from batch_stub import main as run

    sys.exit(run(*sys.argv[1:]))
