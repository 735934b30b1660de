"""Trains the shipped PocketGen: ``python -m s2p.recipe.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors --work DIR``.

DATA holds ``complexes/`` in the layout of :mod:`s2p.datasets`; ``data/splits/complexes.csv`` says which are trained on, the split
of the Seq2Pocket checkpoint; ``ligysis/``, if it is there, holds more proteins to make decoys of. The language model is ESM-2 as
it was before it was fine-tuned, and is left as it is. A run that was broken off goes on from ``--work``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.config import DEFAULT_MODEL
from s2p.datasets import read_ligysis
from s2p.errors import S2PError
from s2p.files import make_folder
from s2p.models.pocketgen import PocketGen
from s2p.models.pocketgen_checkpoint import PocketGenCheckpoint, load_pocketgen, save_pocketgen
from s2p.models.pocketgen_config import PocketConfig, PocketGenConfig, PocketGenTrainConfig
from s2p.models.pocketgen_data import LigandAtoms, Pocket, decoy, make_pocket, pocket_residues
from s2p.models.pocketgen_evaluation import evaluate_pockets, summarise_pockets
from s2p.models.pocketgen_geometry import Geometry, measure_geometry
from s2p.models.pocketgen_heads import fit_heads
from s2p.models.pocketgen_language import masked_features
from s2p.models.pocketgen_train import StepRecord, choose_share, fit_pocketgen, validate
from s2p.plm import BACKBONES, load_backbone
from s2p.provenance import provenance
from s2p.recipe.data import MIN_HELD_OUT_CHAIN, complexes_of_split, example_files
from s2p.runtime import progress_bar
from s2p.splits import homologous
from s2p.start_encoder import BACKBONE, encoder_digest, start_encoder
from s2p.structure import Structure, read_structure

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
    proteins: int
    """Structures that decoys are made of."""


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


def other_chains(folder: Path, held_out: Sequence[LigandComplex], examples: Path) -> list[LigandComplex]:
    """LIGYSIS chains to make decoys of: those of its training split that have no homologue held out or bundled.

    Which residues bind is not read; without the data there are none.
    """
    if not (folder / "ligysis").is_dir():
        return []
    kept = [LigandComplex(f"ligysis/{c.id}", "", s, []) for c, s in read_ligysis(folder / "ligysis", "train")]
    bundled = {p.name: read_structure(p) for p in example_files(examples)}
    sides = (
        {f"{x.key}|{chain}": x.structure.sequence(chain) for x in held_out for chain in x.structure.chains}
        | {f"{name}|{chain}": x.sequence(chain) for name, x in bundled.items() for chain in x.chains},
        {x.key: x.structure.sequence() for x in kept},
    )
    known, ours = ({name: sequence for name, sequence in side.items() if len(sequence) >= MIN_HELD_OUT_CHAIN} for side in sides)
    related = set(homologous(known, ours)).union(*homologous(ours, known).values())
    return [x for x in kept if x.key not in related]


def pockets_of(
    complexes: Sequence[LigandComplex],
    backbone: torch.nn.Module,
    config: PocketConfig,
    decoys: int = 0,
    cache: Path | None = None,
) -> list[Pocket]:
    """Pockets of all ligands of ``complexes``, or so many decoys of each; ``cache`` keeps what the language model says.

    Two decoys are masked at once, which takes half as long; a pocket of a ligand is masked by itself.

    Raises
    ------
    S2PError
        If ``cache`` was made of other data or with other settings.
    """
    settings = f"{encoder_digest(backbone)} {config} {decoys} {[x.key for x in complexes]}"
    known: list[NDArray[np.float16]] | None = None
    if cache is not None and cache.is_file():
        with np.load(cache) as table:
            if str(table["settings"]) != settings:
                raise S2PError(f"{cache} was made of other data or with other settings; remove it, or give another --work")
            known = np.split(table["language"], np.cumsum(table["residues"])[:-1])
    found: list[Pocket] = []
    for x in progress_bar(complexes, "decoys" if decoys else "pockets"):
        rng = np.random.default_rng(list(x.key.encode()))
        if decoys:
            sites = [site for _ in range(decoys) if (site := decoy(x.structure, config, rng)) is not None]
        else:
            sites = [(ligand, pocket_residues(x.structure, ligand.coord, config), np.zeros(0, np.int64)) for ligand in x.ligands]
        sites = [site for site in sites if len(site[1]) >= LEAST]
        together = 2 if decoys else 1
        for first in range(0, len(sites), together):
            group = sites[first : first + together]
            masked = np.unique(np.concatenate([pocket for _, pocket, _ in group]))
            said = masked_features(backbone, x.structure, masked) if known is None else np.zeros(0, np.float32)
            for k, (ligand, pocket, without) in enumerate(group, start=first):
                language = said[np.searchsorted(masked, pocket)] if known is None else known[len(found)]
                # As it comes back from the cache, so that a run that goes on reads the same numbers.
                language = language.astype(np.float16).astype(np.float32)
                made = make_pocket(x.structure, ligand, pocket, language, config=config, cluster=x.cluster, without=without)
                found.append(replace(made, name=f"{x.key}|{k}"))
    if cache is not None and known is None:
        partial = cache.with_suffix(".part.npz")
        language = np.concatenate([p.language for p in found]).astype(np.float16)
        np.savez(partial, language=language, residues=[len(p.pocket) for p in found], settings=settings)
        partial.replace(cache)
    return found


def prepare(
    folder: Path, splits: Path, examples: Path, work: Path, backbone: torch.nn.Module, config: PocketConfig, decoys: int
) -> Prepared:
    """Pockets of the training clusters, decoys of these and other proteins, pockets of the validation clusters."""
    training, held, test = (read_split(folder, splits, name) for name in ("train", "validation", "test"))
    proteins = [*training, *other_chains(folder, [*held, *test], examples)]
    return Prepared(
        pockets_of(training, backbone, config, cache=work / "train.npz"),
        pockets_of(proteins, backbone, config, decoys, cache=work / "decoys.npz"),
        pockets_of(held, backbone, config, cache=work / "validation.npz"),
        measure_geometry(x.structure for x in training),
        len(proteins),
    )


def train(
    data: Prepared, work: Path, config: PocketGenConfig, training: PocketGenTrainConfig
) -> tuple[PocketGen, list[StepRecord]]:
    """The network and its log; a run that was broken off goes on from ``work``."""
    torch.manual_seed(training.seed)
    model = PocketGen(config)
    fit_heads(model, [*data.pockets, *data.decoys], training.seed)
    if data.validation:
        entropy, recovery = validate(model, data.validation, training)
        print(f"heads alone, validation: cross-entropy {entropy:.4f} nat, recovery {recovery:.4f}", flush=True)
    return model, fit_pocketgen(model, data.pockets, data.decoys, data.validation, data.geometry, training, folder=work)


def run(
    folder: Path,
    splits: Path,
    examples: Path,
    language: str,
    encoder: Path | None,
    out: Path,
    work: Path,
    pocket: PocketConfig,
    config: PocketGenConfig,
    training: PocketGenTrainConfig,
) -> None:
    """Train and write.

    ``encoder`` is the file of the published language model ``language``; ``None``: it is looked for, or fetched. The small one is
    shipped.
    """
    for name in ("train", "validation", "test"):  # says what is missing before anything takes long
        complexes_of_split(folder, splits, name)
    make_folder(work)
    named = language if language != BACKBONE else None
    backbone = start_encoder() if named is None else load_backbone(named, encoder).eval()
    config = replace(config, language_width=BACKBONES[language][1])
    data = prepare(folder, splits, examples, work, backbone, pocket, training.decoys)
    print(f"{len(data.pockets)} pockets, {len(data.decoys)} decoys, {len(data.validation)} validation pockets", flush=True)
    model, history = train(data, work, config, training)
    shares = choose_share(model, data.validation, training) if data.validation else {}
    for share, (entropy, recovery) in shares.items():
        print(f"share {share:g} of the structure network, validation: {entropy:.4f} nat, recovery {recovery:.4f}", flush=True)
    card = {
        "paper": "Zhang et al., PocketGen (2024); weights are ours",
        "licence": "GPL-3.0",
        "licence_reason": f"its language model is that of {DEFAULT_MODEL} before fine-tuning, which carries GPL-3.0",
        "training_data": "complexes of the training clusters; decoys, stretches of a protein in a ligand's place, of the same "
        "proteins and of LIGYSIS training chains without a homologue in validation or test complexes or bundled examples",
        "counts": {
            "pockets": len(data.pockets),
            "decoys": len(data.decoys),
            "proteins of decoys": data.proteins,
            "validation": len(data.validation),
        },
        "split": "data/splits/complexes.csv: whole clusters at 30 % identity",
        "command": "python -m s2p.recipe.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors",
        "language_model": f"{language}, frozen",
        "training": asdict(training),
        "parameters": sum(p.numel() for p in model.parameters()),
        "type_counts": np.bincount(np.concatenate([p.types[p.pocket] for p in data.pockets]), minlength=21)[1:].tolist(),
        "shares of the structure network: cross-entropy, recovery on validation": {
            f"{share:g}": [round(x, 4) for x in figures] for share, figures in shares.items()
        },
        "log": [asdict(entry) for entry in history],
    }
    checkpoint = PocketGenCheckpoint(out.stem, model, data.geometry, backbone, pocket, card | provenance(), named)
    save_pocketgen(checkpoint, out)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def evaluate(folder: Path, splits: Path, encoder: Path | None, path: Path, split: str, per_cluster: int) -> None:
    """Figures of a held-out split with intervals over clusters; they are added to the checkpoint's card."""
    checkpoint = load_pocketgen(path, encoder=encoder)
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
    parser.add_argument("--examples", type=Path, default=Path("data/examples"), help="bundled structures, kept out of training")
    parser.add_argument("--language", choices=tuple(BACKBONES), default=BACKBONE, help="frozen encoder (default: %(default)s)")
    parser.add_argument("--encoder", type=Path, help="its weights (default: found in the cache, or fetched)")
    features = get_args(get_type_hints(PocketConfig)["ligand_features"])
    parser.add_argument("--ligand-features", choices=features, default=PocketConfig.ligand_features, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=PocketGenTrainConfig.steps, help="default: %(default)s")
    options = parser.parse_args(argv)
    training = PocketGenTrainConfig(steps=options.steps)
    try:
        if options.evaluate:
            evaluate(options.data, options.splits, options.encoder, options.out, options.evaluate, options.per_cluster)
        else:
            inputs = options.data, options.splits, options.examples, options.language, options.encoder
            pocket = PocketConfig(ligand_features=options.ligand_features)
            run(*inputs, options.out, options.work, pocket, PocketGenConfig(), training)
    except S2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
