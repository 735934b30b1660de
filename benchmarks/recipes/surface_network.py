"""Training of the surface network: ``python -m benchmarks.recipes.surface_network CACHE -o RUN --seed 0``.

One assembly after the other, all of its points at once, on one thread; an interrupted run resumes.
The result is ``RUN/member.safetensors``. Examples, losses and the network's operations in PyTorch are in
:mod:`course.surface_training`.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.command import reported
from benchmarks.recipes.surface_examples import read_example
from course.surface_training import SHARES, Example, TorchOps, TrainConfig, initial, inputs_of, losses, targets_of
from s2p.errors import S2PError
from s2p.io.weights import read_weights, write_weights
from s2p.surface.network import Inputs, NetworkConfig, forward
from s2p.surface.reading import kind_rows
from s2p.training.loop import Backward, Loop, Stage, StepLog, memory_decay
from s2p.training.state import fingerprint_of, settings_of

__all__ = ["Member", "fold", "read_member", "train", "write_member"]

FORMAT = "s2p-surface-member-1"


def vocabulary(kinds: Sequence[NDArray[np.str_]], least: int = 200) -> tuple[str, ...]:
    """Types of atoms that occur often enough, and one for each element's others."""
    names, count = np.unique(np.concatenate(list(kinds)), return_counts=True)
    return ("*:C", "*:N", "*:O", "*:S", "*:X", *names[count >= least].tolist())


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


def masked(inputs: Inputs, config: TrainConfig, rng: np.random.Generator) -> Inputs:
    """Embeddings with columns, or all of them, blanked."""
    language, structure = inputs.language, inputs.structure
    keep = np.float32(1 / (1 - config.dropout))
    draw = rng.random()
    language = language * (rng.random(language.shape[1]) > config.dropout) * keep * (draw > config.blind)
    structure = structure * (rng.random(structure.shape[1]) > config.dropout) * keep * (draw < 1 - config.blind)
    return replace(inputs, language=language.astype(np.float32), structure=structure.astype(np.float32))


FOLDS = 8
EPOCH = 100
"""Updates between two validations."""


def fold(cluster: str) -> int:
    """Number of parts of the clusters. Each seed leaves one out; the models that rank pockets are fitted on these."""
    return int(hashlib.sha256(cluster.encode()).hexdigest(), 16) % FOLDS


def place(name: str) -> float:
    """A number from 0 to 1 that depends on the name only."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12


class Member(nn.Module):
    """The weights of one network, by the names of :func:`s2p.surface.network.shapes`, in whose arithmetic they are used."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(weights)
        for name, value in weights.items():
            self.register_parameter(name.replace(".", "/"), nn.Parameter(value.detach().clone()))

    def weights(self) -> dict[str, Tensor]:
        """In the form that the network needs."""
        return {name: self.get_parameter(name.replace(".", "/")) for name in self.names}


def write_member(path: Path, member: Member, types: Sequence[str], network: NetworkConfig) -> None:
    """Write a trained member."""
    header = {"format": FORMAT, "types": list(types), "network": asdict(network)}
    write_weights(path, {name: value.detach() for name, value in member.weights().items()}, header, {})


def read_member(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...], NetworkConfig]:
    """Weights, types of atoms and size of a member that :func:`write_member` wrote."""
    header, weights = read_weights(path, FORMAT, "no member; `python -m benchmarks.recipes.surface_network` writes them")
    return dict(weights), tuple(header["types"]), NetworkConfig(**header["network"])


def example(x: Example, types: Sequence[str], network: NetworkConfig, config: TrainConfig, rng: np.random.Generator) -> Any:
    """Inputs and targets of an assembly, cut and masked as the generator has it."""
    x = cut(x, config, rng)
    # Some atoms are known by their element alone, so that those of no known type are not new.
    kind = np.where(rng.random(len(x.kind)) < 0.02, "", x.kind)
    return masked(inputs_of(x, kind_rows(kind, x.element, types), network), config, rng), targets_of(x, config)


def train(
    paths: Sequence[Path],
    out: Path,
    config: TrainConfig,
    network: NetworkConfig,
    *,
    validation: Sequence[Path] = (),
    start: Path | None = None,
    clusters: float = 1.0,
    without: Sequence[str] = (),
    quiet: bool = False,
) -> Member:
    """Train on the examples of these files, those of its left-out fold not among them, and write ``member.safetensors``.

    ``start``: file of a member to continue from; only this share of the ``clusters`` is trained on, ``without`` the embeddings
    named (``language``, ``structure``), which are set to 0. :class:`S2PError` without examples, or if ``out`` holds another run.
    """

    def read(path: Path) -> Example:
        x = read_example(path)
        return replace(x, **{name: np.zeros_like(getattr(x, name)) for name in without})

    told = ((path, read_example(path)) for path in paths)
    seen = [
        (path, x.cluster, len(x.ligand) > 0)
        for path, x in told
        if fold(x.cluster) != config.seed % FOLDS and place(f"share {x.cluster}") < clusters
    ]
    if not seen:
        raise S2PError(f"there are no examples to train on for {out}; `python -m benchmarks.recipes.surface_examples` makes them")
    size = Counter(cluster for _, cluster, _ in seen)
    chance = np.array([size[cluster] ** -0.5 * (1.0 if strong else config.rare) for _, cluster, strong in seen])
    chance /= chance.sum()
    files, held = [path for path, *_ in seen], [read(path) for path in validation]
    if start is None:
        # From the files of all folds: members of other seeds then read the same types.
        types = vocabulary([read_example(path).kind for path in paths[:: max(1, len(paths) // 300)]])
        member = Member(initial(network, len(types), config.seed))
    else:
        weights, types, network = read_member(start)
        member = Member(weights)
    shares = SHARES | {"vote": config.vote}

    def batches(epoch: int) -> Iterator[list[Any]]:
        rng = np.random.default_rng((config.seed, epoch))
        while True:
            chosen = rng.choice(len(files), config.accumulate, p=chance).tolist()
            yield [example(read(files[k]), types, network, config, rng) for k in chosen]

    def loss(batch: list[Any], backward: Backward) -> dict[str, Any]:
        figures: Counter[str] = Counter()
        for inputs, targets in batch:
            found = losses(forward(member.weights(), inputs, network, TorchOps), targets)
            total = torch.stack([shares[name] * value for name, value in found.items()]).sum() / len(batch)
            figures["loss"] += backward(total)  # type: ignore[assignment]
            for name, value in found.items():
                figures[name] += value.item() / len(batch)  # type: ignore[assignment]
        return dict(figures)

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, Any], None]:
        means = {name: round(float(np.mean([step.figures[name] for step in steps])), 4) for name in SHARES}
        return {"epoch": epoch} | means | evaluate(held, member.weights(), types, config, network), None

    def rate(highest: float, step: int) -> float:
        down = 0.5 * (1 + math.cos(math.pi * step / config.steps)) * 0.98 + 0.02
        return highest * min(1, (step + 1) / config.warm_up) * down

    optimizer = partial(torch.optim.AdamW, member.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    stage = Stage("examples", config.steps, min(EPOCH, config.steps), optimizer, batches, loss, validate, rate)
    names = [f"{path.name} {path.stat().st_size}" for path in files]
    first = [value.detach().numpy() for value in member.parameters()]
    settings = settings_of(config) | {"network": asdict(network), "without": list(without)}
    identity = {"config": settings, "data": fingerprint_of([*names, *first])}
    Loop(member, [stage], identity, out, clip_norm=1.0, decay=partial(memory_decay, config.average), quiet=quiet).train()
    write_member(out / "member.safetensors", member, types, network)
    return member


@torch.no_grad()
def evaluate(
    held: Sequence[Example], w: dict[str, Tensor], types: Sequence[str], config: TrainConfig, network: NetworkConfig
) -> dict[str, float]:
    """Losses on examples that are kept aside, and the precision with which points and residues are named."""
    from sklearn.metrics import average_precision_score

    sums, point, residue = dict.fromkeys(SHARES, 0.0), [], []
    for x in held:
        said = forward(w, inputs_of(x, kind_rows(x.kind, x.element, types), network), network, TorchOps)
        t = targets_of(x, config)
        for name, value in losses(said, t).items():
            sums[name] += float(value) / len(held)
        if len(x.ligand):
            keep = (t.ligand_weight > 0) & ((t.ligand == 1) | (t.ligand == 0))
            point.append(average_precision_score(t.ligand[keep].numpy() > 0.5, said.ligand[keep].numpy()))
            known = t.residue_weight > 0
            residue.append(average_precision_score(t.residue[known].numpy(), said.residue[known].numpy()))
    precision = {"point_ap": float(np.mean(point)), "residue_ap": float(np.mean(residue))} if point else {}
    return {f"held_{name}": round(value, 4) for name, value in (sums | precision).items()} if held else {}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_network", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0, help="also the number, modulo 8, of the clusters that are left out")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--lr", type=float, default=TrainConfig.lr)
    parser.add_argument("--vote", type=float, default=TrainConfig.vote, help="weight of the votes in the loss")
    parser.add_argument("--start", type=Path, metavar="MEMBER", help="go on from the weights of another member")
    parser.add_argument(
        "--sets",
        default="train,ligysis_train",
        help="folders of CACHE to train on (default: %(default)s)",
    )
    parser.add_argument("--clusters", type=float, default=1.0, metavar="SHARE", help="of the clusters, to train on")
    parser.add_argument("--without", action="append", default=[], choices=("language", "structure"), help="embeddings set to 0")
    parser.add_argument("--held", type=int, default=60, help="validation assemblies that losses are told of")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    paths = sorted(path for name in options.sets.split(",") for path in (options.cache / name).glob("*.npz"))
    held = sorted(p for name in ("validation", "validation2") for p in (options.cache / name).glob("*.npz"))[: options.held]
    config = TrainConfig(seed=options.seed, steps=options.steps, lr=options.lr, vote=options.vote)
    choice = {"clusters": options.clusters, "without": options.without}
    train(paths, options.out, config, NetworkConfig(), validation=held, start=options.start, **choice)


if __name__ == "__main__":
    sys.exit(main())
