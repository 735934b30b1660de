"""Trains the shipped Kalasanty: ``python -m benchmarks.recipes.kalasanty DATA -o s2p/checkpoints/kalasanty.safetensors --work
DIR``.

DATA holds ``complexes/`` in the layout of :mod:`s2p.datasets.labelled`; which are trained on is in ``data/splits/complexes.csv``,
the split of the Seq2Pocket checkpoint. A stopped run resumes from ``--work``. Threshold and calibration are made on
validation clusters; test clusters are left to ``s2p evaluate``.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.data import MIN_CHAIN, read_split
from benchmarks.recipes.seq2pocket import fit_pocket_model
from course.kalasanty_training import (
    CavityExample,
    KalasantyLog,
    KalasantyTrainConfig,
    cavity_example,
    fit_kalasanty,
    save_kalasanty,
)
from s2p.datasets.labelled import Complex
from s2p.errors import S2PError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.guard import CARD_KEY, training_sketch
from s2p.evaluation.intervals import summarise
from s2p.evaluation.metrics import recall
from s2p.evaluation.provenance import provenance
from s2p.evaluation.rows import ComplexResult
from s2p.io.files import make_folder, write_bytes
from s2p.io.runtime import pick_device, progress_bar
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.grid import Box
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.pockets import cavity_features, find_cavities
from s2p.models.kalasanty.predictor import KalasantyCheckpoint, KalasantyPredictor
from s2p.pockets.hits import HIT, dca, dcc, site_center
from s2p.pockets.ranking import PocketModel
from s2p.structure.reading import Structure

__all__ = [
    "CavityComplex",
    "calibrate",
    "chains_of",
    "choose_threshold",
    "finish",
    "load_examples",
    "main",
    "save_examples",
]

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Density = tuple[NDArray[np.float32], Box]


@dataclass(frozen=True, eq=False)
class CavityComplex:
    """A complex in memory."""

    key: str
    cluster: str
    structure: Structure
    ligands: list[NDArray[np.float32]]

    @classmethod
    def read(cls, source: Complex) -> CavityComplex:
        """A complex on disk."""
        return cls(source.key, source.clusters[0], source.read(), source.ligand_coords())

    def example(self) -> CavityExample:
        """What is trained on."""
        return cavity_example(self.structure, self.ligands, self.key)


def save_examples(examples: Sequence[CavityExample], path: Path) -> Path:
    """Write examples to a ``.npz`` file: reading some hundred structures takes longer than an epoch."""
    arrays: dict[str, NDArray[np.generic]] = {"names": np.array([x.name for x in examples])}
    for k, example in enumerate(examples):
        arrays |= {f"{k}/channels": example.channels, f"{k}/coord": example.coord}
        arrays |= {f"{k}/site/{j}": site for j, site in enumerate(example.sites)}
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # the stubs take the names for options
    return write_bytes(path, content.getvalue())


def load_examples(path: Path) -> list[CavityExample]:
    """What :func:`save_examples` wrote.

    Raises
    ------
    S2PError
        If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            sites: dict[str, list[NDArray[np.float32]]] = {}
            for key in stored.files:
                if "/site/" in key:
                    sites.setdefault(key.split("/")[0], []).append(stored[key])
            return [
                CavityExample(str(name), stored[f"{k}/channels"], stored[f"{k}/coord"], tuple(sites.get(str(k), ())))
                for k, name in enumerate(stored["names"].tolist())
            ]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise S2PError(f"{path}: cannot be read as prepared examples ({error}); remove it to make it anew") from None


def examples_of(folder: Path, splits: Path, wanted: str, cache: Path) -> list[CavityExample]:
    """What is trained or validated on, from ``cache`` if it was prepared before."""
    if cache.is_file():
        return load_examples(cache)
    examples = [x.example() for x in read_split(folder, splits, wanted, CavityComplex.read)]
    save_examples(examples, cache)
    return examples


def train(
    folder: Path, splits: Path, work: Path, config: KalasantyConfig, training: KalasantyTrainConfig, device: str = "auto"
) -> tuple[Kalasanty, list[KalasantyLog]]:
    """The network and its log; a stopped run resumes from ``work``."""
    examples, validation = (examples_of(folder, splits, name, work / f"{name}.npz") for name in ("train", "validation"))
    torch.manual_seed(training.seed)
    model = Kalasanty(config).to(pick_device(device), memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return model, fit_kalasanty(model, examples, validation, training, folder=work)


def judge(predictor: KalasantyPredictor, held: Sequence[CavityComplex], densities: Sequence[Density]) -> list[ComplexResult]:
    """Pockets of every complex, from its density, against its ligands."""
    return [
        evaluate_complex(predictor.pockets(x.structure, *density), x.ligands, name=x.key, cluster=x.cluster)
        for x, density in zip(held, densities, strict=True)
    ]


def choose_threshold(
    held: Sequence[CavityComplex], densities: Sequence[Density], pockets: KalasantyPocketConfig
) -> tuple[float, dict[float, float]]:
    """The threshold with the highest recall at DCC < 4 Å, and the recalls of all; a tie goes to the lower one.

    A recall is the mean of those of the top N and the top N+2: by the top N alone a threshold wins at which most proteins have no
    second pocket.
    """
    found = {}
    for threshold in THRESHOLDS:
        distances: list[NDArray[np.float64]] = []
        for x, (density, box) in zip(held, densities, strict=True):
            cavities = find_cavities(density, box.step, replace(pockets, threshold=threshold))
            centers = [box.coordinates(cavity.voxels).mean(axis=0) for cavity in cavities]
            sites = [site_center(ligand) for ligand in x.ligands]
            # Both have a row for every site, so that the recall of all rows is the mean of the two.
            distances += [dcc(centers[: len(sites) + extra], sites) for extra in (0, BenchmarkConfig.extra_ranks)]
        found[threshold] = recall(np.concatenate(distances), HIT)
    return max(THRESHOLDS, key=lambda t: (found[t], -t)), found


def calibrate(held: Sequence[CavityComplex], densities: Sequence[Density], pockets: KalasantyPocketConfig) -> PocketModel:
    """The chance that a ligand atom lies within 4 Å of a cavity's centre, from its density.

    Raises
    ------
    S2PError
        If no cavity, or every cavity, is at a ligand.
    """
    rows, hits = [], []
    for x, (density, box) in zip(held, densities, strict=True):
        cavities = find_cavities(density, box.step, pockets)
        rows.append(cavity_features(cavities))
        atoms = np.concatenate(x.ligands)
        hits += [bool(dca([box.coordinates(c.voxels).mean(axis=0)], atoms)[0] < HIT) for c in cavities]
    if len(set(hits)) < 2:
        raise S2PError("the pockets of the validation complexes are all right or all wrong: nothing to calibrate on")
    return fit_pocket_model(np.concatenate(rows), np.array(hits), np.ones(len(hits)))


def run(
    folder: Path, splits: Path, out: Path, work: Path, config: KalasantyConfig, training: KalasantyTrainConfig, device: str
) -> None:
    """Train, tune, write."""
    make_folder(work)
    model, history = train(folder, splits, work, config, training, device)
    chains = chains_of(read_split(folder, splits, "train", CavityComplex.read))
    finish(model, history, read_split(folder, splits, "validation", CavityComplex.read), training, chains, out)


def chains_of(complexes: Sequence[CavityComplex]) -> dict[str, str]:
    """Sequences of their chains that are not mere peptides, for the record of what was trained on."""
    named = {f"{x.key}|{chain}": x.structure.sequence(chain) for x in complexes for chain in x.structure.chains}
    return {name: sequence for name, sequence in named.items() if len(sequence) >= MIN_CHAIN}


def finish(
    model: Kalasanty,
    history: Sequence[KalasantyLog],
    held: Sequence[CavityComplex],
    training: KalasantyTrainConfig,
    chains: Mapping[str, str],
    out: Path,
) -> None:
    """All after the training: threshold and calibration on the validation complexes ``held``, figures, and the file.

    Parameters
    ----------
    chains
        Id -> sequence of what was trained on; its sketch goes into the card, so that tests on it can be refused.
    """
    checkpoint = KalasantyCheckpoint("kalasanty", model, KalasantyPocketConfig())
    predictor = KalasantyPredictor(checkpoint)
    densities = [predictor.density(x.structure) for x in progress_bar(held, "densities")]
    threshold, recalls = choose_threshold(held, densities, checkpoint.pockets)
    pockets = replace(checkpoint.pockets, threshold=threshold)
    checkpoint = replace(checkpoint, pockets=pockets, pocket_model=calibrate(held, densities, pockets))
    results = judge(KalasantyPredictor(checkpoint), held, densities)
    figures = {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in summarise(results).items()}
    card = {
        "paper": "Stepniewska-Dziubinska, Zielenkiewicz & Siedlecki, Sci. Rep. 10, 5035 (2020); weights are ours",
        "licence": "MIT",
        "training_data": "protein–ligand complexes of the training clusters; masks from ligand heavy atoms",
        "split": "data/splits/complexes.csv: whole clusters at 30 % identity",
        "command": "python -m benchmarks.recipes.kalasanty DATA -o s2p/checkpoints/kalasanty.safetensors",
        "training": asdict(training),
        "epochs": [asdict(entry) for entry in history],
        "parameters": sum(p.numel() for p in model.parameters()),
        "threshold_recalls": {str(key): round(value, 4) for key, value in recalls.items()},
        "validation_complexes": figures,
        CARD_KEY: training_sketch(chains),
    } | provenance()
    save_kalasanty(replace(checkpoint, card=card), out)
    for key, value in figures.items():
        print(f"validation, {key}: {value}")
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.kalasanty", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/kalasanty"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--published", action="store_true", help="network and training of the paper: days on a GPU")
    parser.add_argument("--epochs", type=int, help="default: those of the configuration")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(argv)
    config = KalasantyConfig.published() if options.published else KalasantyConfig()
    training = KalasantyTrainConfig.published() if options.published else KalasantyTrainConfig()
    if options.epochs:
        training = replace(training, epochs=options.epochs)
    run(options.data, options.splits, options.out, options.work, config, training, options.device)


if __name__ == "__main__":
    sys.exit(main())
