"""Training of the surface network: ``python -m benchmarks.recipes.surface_network CACHE -o RUN --seed 0``.

One assembly a step, all of its points at once, on one thread of a CPU or on a GPU; it stops and goes on from RUN/state.pt.
Examples, losses and the network's operations in PyTorch are in :mod:`course.surface_training`; here is the loop.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.command import reported
from benchmarks.recipes.surface_examples import read_example
from course.surface_training import SHARES, Example, TorchOps, TrainConfig, initial, inputs_of, losses, targets_of
from s2p.surface.network import Inputs, NetworkConfig, forward
from s2p.surface.points import soft_points

__all__ = ["train"]


def vocabulary(kinds: Sequence[NDArray[np.str_]], least: int = 200) -> list[str]:
    """Types of atoms that occur often enough, and one for each element's others."""
    names, count = np.unique(np.concatenate(list(kinds)), return_counts=True)
    return ["*:C", "*:N", "*:O", "*:S", "*:X", *names[count >= least].tolist()]


def kinds_of(kind: NDArray[np.str_], element: NDArray[np.str_], types: Sequence[str]) -> NDArray[np.int64]:
    """(A,) row of each atom's type."""
    row = {name: k for k, name in enumerate(types)}
    distinct, inverse = np.unique(np.char.add(np.char.add(kind, "|"), element), return_inverse=True)
    rows = [row.get(x.split("|")[0], row.get(f"*:{x.split('|')[1]}", row["*:X"])) for x in distinct.tolist()]
    return np.array(rows, np.int64)[inverse]


def cut(x: Example, config: TrainConfig, rng: np.random.Generator) -> Example:
    """The residues around one of its ligands, or around a labelled residue, of an assembly that is too large."""
    if len(x.coord) <= config.most_atoms:
        return x
    centre = x.ligand[rng.integers(len(x.ligand))] if len(x.ligand) else x.ca[rng.choice(np.flatnonzero(x.label == 1))]
    reach, near = config.largest, np.linalg.norm(x.ca - centre, axis=1)
    reach = min(reach, float(np.sort(near)[min(len(near) - 1, config.most_atoms // 8)]))
    keep = near <= reach
    atoms = keep[x.residue]
    points = atoms[x.owner]
    number = np.cumsum(keep) - 1
    new_atom = np.cumsum(atoms) - 1
    return replace(
        x,
        coord=x.coord[atoms],
        element=x.element[atoms],
        kind=x.kind[atoms],
        residue=number[x.residue[atoms]],
        ca=x.ca[keep],
        language=x.language[keep],
        structure=x.structure[keep],
        label=x.label[keep],
        points=x.points[points],
        owner=new_atom[x.owner[points]],
        share=x.share[points],
    )


def shaken(x: Example, config: TrainConfig, network: NetworkConfig, rng: np.random.Generator) -> Example:
    """The same with side chains moved, and the surface that they have then."""
    side = ~np.isin(np.char.partition(x.kind, ":")[:, 2], ("N", "CA", "C", "O", "CB", "OXT"))
    shift = rng.normal(size=(len(x.ca), 3)) * config.noise
    moved = shift[x.residue] + rng.normal(size=x.coord.shape) * config.noise / 3
    coord = np.where(side[:, None], x.coord + moved, x.coord).astype(np.float32)
    cloud = soft_points(coord, x.element, n_points=network.n_points, probe_radius=network.probe_radius)
    return replace(x, coord=coord, points=cloud.coord.astype(np.float32), owner=cloud.atom, share=cloud.share.astype(np.float32))


def masked(inputs: Inputs, config: TrainConfig, types: int, rng: np.random.Generator) -> Inputs:
    """Embeddings with columns, or all of them, blanked, and some atoms that are known by their element alone."""
    language, structure = inputs.language, inputs.structure
    keep = np.float32(1 / (1 - config.dropout))
    draw = rng.random()
    language = language * (rng.random(language.shape[1]) > config.dropout) * keep * (draw > config.blind)
    structure = structure * (rng.random(structure.shape[1]) > config.dropout) * keep * (draw < 1 - config.blind)
    return replace(inputs, language=language.astype(np.float32), structure=structure.astype(np.float32))


LOG = 100
"""Updates between lines of the log and stored states."""
FOLDS = 8


def fold(cluster: str) -> int:
    """Each seed leaves one of so many parts of the clusters out: what ranks pockets is fitted on those."""
    return int(hashlib.sha256(cluster.encode()).hexdigest(), 16) % FOLDS


def train(
    folders: Sequence[Path], out: Path, config: TrainConfig, network: NetworkConfig, *, validation: Sequence[Path] = ()
) -> None:
    """Train on the examples of some folders, and go on where it stopped."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for folder in folders for path in folder.glob("*.npz"))
    clusters = [str(read_example(path).cluster) for path in paths]
    names, count = np.unique(clusters, return_counts=True)
    size = dict(zip(names.tolist(), count.tolist(), strict=True))
    weak = np.array(["ligysis" in path.parent.name for path in paths])
    chance = np.array([size[c] ** -0.5 for c in clusters]) * np.where(weak, 0.4, 1.0)
    chance *= [fold(c) != config.seed % FOLDS for c in clusters]
    chance /= chance.sum()
    rng = np.random.default_rng(config.seed)
    types_file = out / "types.json"
    if not types_file.is_file():
        sample = rng.choice(len(paths), min(300, len(paths)), replace=False)
        types_file.write_text(json.dumps(vocabulary([read_example(paths[k]).kind for k in sample])), encoding="utf-8")
    types = json.loads(types_file.read_text(encoding="utf-8"))
    w = initial(network, len(types), config.seed)
    optimiser = torch.optim.AdamW(list(w.values()), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    mean = {name: value.detach().clone() for name, value in w.items()}
    start, sums, began = 0, dict.fromkeys(SHARES, 0.0), time.monotonic()
    state_file = out / "state.pt"
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        start = state["step"]
        rng = np.random.default_rng([config.seed, start])
        for name, value in w.items():
            value.data.copy_(state["w"][name])
        mean = state["mean"]
        optimiser.load_state_dict(state["optimiser"])
    held = [read_example(p) for p in validation]
    for step in range(start, config.steps):
        rate = min(1, (step + 1) / config.warm_up) * (0.5 * (1 + np.cos(np.pi * step / config.steps)) * 0.98 + 0.02)
        for group in optimiser.param_groups:
            group["lr"] = float(config.lr * rate)
        optimiser.zero_grad()
        for _ in range(config.accumulate):
            x = cut(read_example(paths[rng.choice(len(paths), p=chance)]), config, rng)
            if rng.random() < 1 / 3:
                x = shaken(x, config, network, rng)
            kind = kinds_of(x.kind, x.element, types)
            plain = kinds_of(np.full(len(kind), "*"), x.element, types)
            kind = np.where(rng.random(len(kind)) < 0.02, plain, kind)
            inputs = masked(inputs_of(x, kind, network), config, len(types), rng)
            found = losses(forward(w, inputs, network, TorchOps), targets_of(x, config))
            total = torch.stack([SHARES[name] * value for name, value in found.items()]).sum()
            (total / config.accumulate).backward()
            for name, value in found.items():
                sums[name] += float(value.detach())
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimiser.step()
        decay = min(config.average, (step + 1) / (step + 10))
        for name, value in w.items():
            mean[name].lerp_(value.detach(), 1 - decay)
        if (step + 1) % LOG == 0:
            line: dict[str, Any] = {"step": step + 1, "seconds": round(time.monotonic() - began, 1)}
            line |= {name: round(value / LOG / config.accumulate, 4) for name, value in sums.items()}
            sums = dict.fromkeys(sums, 0.0)
            if held and (step + 1) % (4 * LOG) == 0:
                line |= evaluate(held, mean, types, config, network)
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            state = {
                "step": step + 1,
                "w": {k: v.detach() for k, v in w.items()},
                "mean": mean,
                "optimiser": optimiser.state_dict(),
            }
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)


def evaluate(
    held: Sequence[Example], w: dict[str, Tensor], types: list[str], config: TrainConfig, network: NetworkConfig
) -> dict[str, float]:
    """Losses on examples that are kept aside, and the precision with which points and residues are named."""
    from sklearn.metrics import average_precision_score

    sums, point, residue, median = dict.fromkeys(SHARES, 0.0), [], [], []
    with torch.no_grad():
        for x in held:
            said = forward(w, inputs_of(x, kinds_of(x.kind, x.element, types), network), network, TorchOps)
            t = targets_of(x, config)
            for name, value in losses(said, t).items():
                sums[name] += float(value) / len(held)
            if len(x.ligand):
                keep = (t.ligand_weight > 0) & ((t.ligand == 1) | (t.ligand == 0))
                point.append(average_precision_score(t.ligand[keep].numpy() > 0.5, said.ligand[keep].numpy()))
                known = t.residue_weight > 0
                residue.append(average_precision_score(t.residue[known].numpy(), said.residue[known].numpy()))
                near = t.vote_weight > 0.5
                if near.any():
                    median.append(float((said.vote - t.vote)[near].norm(dim=1).median()))
    precision = {"point_ap": float(np.mean(point)), "residue_ap": float(np.mean(residue)), "vote_median": float(np.mean(median))}
    return {f"held_{name}": round(value, 4) for name, value in (sums | precision).items()}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_network", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--lr", type=float, default=TrainConfig.lr)
    parser.add_argument("--held", type=int, default=60, help="validation assemblies that losses are told of")
    options = parser.parse_args(argv)
    folders = [options.cache / name for name in ("train", "ligysis_train")]
    held = sorted(p for name in ("validation", "validation2") for p in (options.cache / name).glob("*.npz"))[: options.held]
    config = TrainConfig(seed=options.seed, steps=options.steps, lr=options.lr)
    train(folders, options.out, config, NetworkConfig(), validation=held)


if __name__ == "__main__":
    sys.exit(main())
