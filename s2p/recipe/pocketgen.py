"""Trains the shipped PocketGen: ``python -m s2p.recipe.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors --work DIR``.

DATA holds ``complexes/`` in the layout of :mod:`s2p.datasets`; ``data/splits/complexes.csv`` says which are trained on, the split
of the Seq2Pocket checkpoint, whose language model is read and left as it is. A run that was broken off goes on from ``--work``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.files import make_folder
from s2p.models.pocketgen import LanguageHead, PocketGen
from s2p.models.pocketgen_checkpoint import PocketGenCheckpoint, language_model, load_pocketgen, save_pocketgen
from s2p.models.pocketgen_config import PocketConfig, PocketGenConfig, PocketGenTrainConfig
from s2p.models.pocketgen_data import LigandAtoms, Pocket, decoy, make_pocket, pocket_residues
from s2p.models.pocketgen_evaluation import evaluate_pockets, summarise_pockets
from s2p.models.pocketgen_geometry import Geometry, measure_geometry
from s2p.models.pocketgen_language import fit_language_head, masked_features
from s2p.models.pocketgen_train import StepRecord, fit_pocketgen
from s2p.provenance import provenance
from s2p.recipe.data import complexes_of_split
from s2p.runtime import progress_bar
from s2p.structure import Structure

__all__ = ["LigandComplex", "Prepared", "main", "prepare", "read_split", "train"]

LEAST = 3
"""Residues of a pocket that is learned from or measured on."""


@dataclass(frozen=True, eq=False)
class LigandComplex:
    """A complex in memory, with the elements of its ligands."""

    key: str
    cluster: str
    structure: Structure
    ligands: list[LigandAtoms]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is trained on."""

    pockets: list[Pocket]
    decoys: list[Pocket]
    validation: list[Pocket]
    geometry: Geometry


def read_ligand(path: Path) -> LigandAtoms:
    """Heavy atoms of a ligand file in PDB format."""
    import gemmi

    flat = gemmi.FlatStructure(gemmi.read_structure(str(path)))
    element = np.char.upper(np.asarray(flat.element_names).astype(str))
    heavy = ~np.isin(element, ("H", "D"))
    return LigandAtoms(np.asarray(flat.pos)[heavy].astype(np.float32), element[heavy])


def read_split(folder: Path, splits: Path, wanted: str) -> list[LigandComplex]:
    """The complexes of one split, ``train``, ``validation`` or ``test``, in the order of their names.

    Raises
    ------
    S2PError
        If the table of splits cannot be read or names none of the complexes.
    """
    sources = complexes_of_split(folder, splits, wanted)
    bar = progress_bar(sources, f"reading {wanted}")
    return [LigandComplex(x.key, x.clusters[0], x.read(), [read_ligand(path) for path in x.ligands]) for x in bar]


def pockets_of(
    complexes: Sequence[LigandComplex],
    backbone: torch.nn.Module,
    config: PocketConfig,
    decoys: int = 0,
    cache: Path | None = None,
) -> list[Pocket]:
    """Pockets of all ligands of ``complexes``, or so many decoys of each; ``cache`` keeps what the language model says."""
    known: dict[str, NDArray[np.float32]] = {}
    if cache is not None and cache.is_file():
        with np.load(cache) as table:
            known = {key: table[key].astype(np.float32) for key in table.files}
    found, fresh = [], {}
    for x in progress_bar(complexes, "decoys" if decoys else "pockets"):
        rng = np.random.default_rng(list(x.key.encode()))
        if decoys:
            sites = [site for _ in range(decoys) if (site := decoy(x.structure, config, rng)) is not None]
        else:
            sites = [(ligand, pocket_residues(x.structure, ligand.coord, config), np.zeros(0, np.int64)) for ligand in x.ligands]
        for k, (ligand, pocket, without) in enumerate(sites):
            if len(pocket) < LEAST:
                continue
            key = f"{x.key}|{k}"
            language = known.get(key)
            if language is None:
                language = masked_features(backbone, x.structure, pocket).astype(np.float16).astype(np.float32)
            fresh[key] = language
            made = make_pocket(x.structure, ligand, pocket, language, config=config, cluster=x.cluster, without=without)
            found.append(replace(made, name=key))
    if cache is not None and not known:
        partial = cache.with_suffix(".part.npz")
        np.savez(partial, **{key: value.astype(np.float16) for key, value in fresh.items()})  # type: ignore[arg-type]
        partial.replace(cache)
    return found


def prepare(folder: Path, splits: Path, work: Path, config: PocketConfig, decoys: int) -> Prepared:
    """Pockets and decoys of the training clusters, pockets of the validation clusters, and the geometry of the former."""
    backbone = language_model()
    training, held = (read_split(folder, splits, name) for name in ("train", "validation"))
    return Prepared(
        pockets_of(training, backbone, config, cache=work / "train.npz"),
        pockets_of(training, backbone, config, decoys, cache=work / "decoys.npz"),
        pockets_of(held, backbone, config, cache=work / "validation.npz"),
        measure_geometry(x.structure for x in training),
    )


def train(
    data: Prepared, work: Path, config: PocketGenConfig, training: PocketGenTrainConfig
) -> tuple[PocketGen, list[StepRecord]]:
    """The network and its log; a run that was broken off goes on from ``work``."""
    torch.manual_seed(training.seed)
    model = PocketGen(config)
    if model.language is not None:
        model.language = language_head([*data.pockets, *data.decoys], training.seed)
    return model, fit_pocketgen(model, data.pockets, data.decoys, data.validation, data.geometry, training, folder=work)


def language_head(pockets: Sequence[Pocket], seed: int) -> LanguageHead:
    """The head that is fitted on the masked residues of ``pockets``."""
    x = np.concatenate([p.language for p in pockets])
    types = np.concatenate([p.types[p.pocket] for p in pockets])
    torch.manual_seed(seed)
    return fit_language_head(LanguageHead(x.shape[1]), x, types, seed=seed)


def run(folder: Path, splits: Path, out: Path, work: Path, config: PocketGenConfig, training: PocketGenTrainConfig) -> None:
    """Train and write."""
    make_folder(work)
    pocket = PocketConfig()
    data = prepare(folder, splits, work, pocket, training.decoys)
    print(f"{len(data.pockets)} pockets, {len(data.decoys)} decoys, {len(data.validation)} validation pockets", flush=True)
    model, history = train(data, work, config, training)
    card = {
        "paper": "Zhang et al., PocketGen (2024); weights are ours",
        "licence": "GPL-3.0",
        "licence_reason": f"works on the language model of {DEFAULT_MODEL}, which carries GPL-3.0",
        "training_data": "complexes of the training clusters, and stretches of the same proteins in a ligand's place",
        "counts": {"pockets": len(data.pockets), "decoys": len(data.decoys), "validation": len(data.validation)},
        "split": "data/splits/complexes.csv: whole clusters at 30 % identity",
        "command": "python -m s2p.recipe.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors",
        "training": asdict(training),
        "parameters": sum(p.numel() for p in model.parameters()),
        "type_counts": np.bincount(np.concatenate([p.types[p.pocket] for p in data.pockets]), minlength=21)[1:].tolist(),
        "log": [asdict(entry) for entry in history],
    }
    checkpoint = PocketGenCheckpoint("pocketgen", model, data.geometry, language_model(), pocket, card | provenance())
    save_pocketgen(checkpoint, out)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def evaluate(folder: Path, splits: Path, path: Path, split: str, per_cluster: int) -> None:
    """Figures of a held-out split with intervals over clusters; they are added to the checkpoint's card."""
    checkpoint = load_pocketgen(path)
    if checkpoint.backbone is None:
        raise S2PError(f"{path} reads no language model; the recipe makes those that do")
    complexes = read_split(folder, splits, split)
    taken: dict[str, int] = {}
    chosen = []
    for x in complexes:
        taken[x.cluster] = taken.get(x.cluster, 0) + 1
        if taken[x.cluster] <= per_cluster:
            chosen.append(replace(x, ligands=x.ligands[:1]))
    pockets = pockets_of(chosen, checkpoint.backbone, checkpoint.pocket)
    rows = evaluate_pockets(checkpoint, pockets)
    figures = {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in summarise_pockets(rows).items()}
    for key, value in figures.items():
        print(f"{split}, {key}: {value}")
    counts = {"pockets": len(rows), "residues": sum(row.residues for row in rows), "clusters": len({row.cluster for row in rows})}
    card = checkpoint.card | {split: counts | {"figures": figures}}
    save_pocketgen(replace(checkpoint, model=checkpoint.model.float(), card=card), path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m s2p.recipe.pocketgen", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint to write, or with --evaluate to measure")
    parser.add_argument("--evaluate", choices=("validation", "test"), help="do not train: add figures of a split to the card")
    parser.add_argument("--per-cluster", type=int, default=4, help="most pockets of a cluster measured (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/pocketgen"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--steps", type=int, default=PocketGenTrainConfig.steps, help="default: %(default)s")
    options = parser.parse_args(argv)
    training = PocketGenTrainConfig(steps=options.steps)
    try:
        if options.evaluate:
            evaluate(options.data, options.splits, options.out, options.evaluate, options.per_cluster)
        else:
            run(options.data, options.splits, options.out, options.work, PocketGenConfig(), training)
    except S2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
