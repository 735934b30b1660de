"""Trains the shipped PocketGen: ``python -m benchmarks.recipes.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors --work
DIR``.

DATA holds ``complexes/`` in the layout of :mod:`s2p.datasets.labelled`; ``data/splits/complexes.csv`` says which are trained on,
the split of the Seq2Pocket checkpoint; ``ligysis/``, if it is there, holds more proteins and their binding residues. The language
model is ESM-2 as it was before it was fine-tuned, and is left as it is. A stopped run resumes from ``--work``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch

from benchmarks.command import reported
from benchmarks.recipes.data import read_split
from benchmarks.recipes.pocketgen_data import (
    Protein,
    chains_of,
    few_of_each,
    pockets_of,
    prepare_places,
    read_chains,
    read_examples,
    related,
    trace_rows,
)
from benchmarks.recipes.pocketgen_heads import KINDS, Places, fit_heads, fit_trace, trace_error
from benchmarks.recipes.surface_data import new_complexes
from course.geometry import measure_geometry
from course.pocketgen_training import PocketGenTrainConfig, StepRecord, fit_pocketgen, save_pocketgen, validate
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.intervals import Summary, bootstrap_mean, bootstrap_ratio
from s2p.evaluation.provenance import provenance
from s2p.io.files import make_folder, read_csv
from s2p.io.runtime import pick_device, progress_bar
from s2p.language.esm import load_backbone
from s2p.language.sequences import BACKBONES
from s2p.models.encoder import BACKBONE, start_encoder
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint, load_pocketgen
from s2p.models.pocketgen.config import DesignConfig, PocketConfig, PocketGenConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import (
    Measures,
    backbone_rmsd,
    cleaned,
    design_pocket,
    diversity,
    draw_starts,
    measure,
    native_design,
)
from s2p.models.pocketgen.geometry import Geometry
from s2p.models.pocketgen.network import PocketGen
from s2p.models.pocketgen.surroundings.trace import TraceNet

__all__ = ["PocketRow", "Prepared", "choose_share", "evaluate_pockets", "main", "prepare", "summarise_pockets", "train"]


@dataclass(frozen=True)
class PocketRow:
    """Figures of one pocket."""

    name: str
    cluster: str
    residues: int
    recovery: float
    """Of the likeliest types."""
    drawn_recovery: float
    """Mean over designs drawn at temperature 1."""
    language: float
    """Recovery of the language model without structure."""
    frequent: float
    """Recovery of the most frequent residue of training pockets."""
    design: Measures
    """With the likeliest types, after the clean-up."""
    native: Measures
    start_rmsd: float
    """RMSD in Å of the interpolation that the design starts from."""
    clean_start_rmsd: float
    """RMSD in Å of that start after the same clean-up; the network's own contribution is the difference to this."""
    diversity: float
    seconds: float
    """Of the design with the likeliest types."""


def evaluate_pockets(
    checkpoint: PocketGenCheckpoint, pockets: Sequence[Pocket], *, drawn: int = 2, seed: int = 0
) -> list[PocketRow]:
    """Design each pocket once with the likeliest types and ``drawn`` times at temperature 1."""
    frequent = int(np.argmax(checkpoint.card["type_counts"])) + 1
    head = checkpoint.model.language
    rows = []
    for p in progress_bar(pockets, "designing"):
        native = p.types[p.pocket]
        begun = time.perf_counter()
        (best,) = design_pocket(checkpoint, p, DesignConfig(1, 0.0, seed))
        seconds = time.perf_counter() - begun
        m, own = (measure(checkpoint, p, d) for d in (best, native_design(p)))
        start = draw_starts(p, 1, seed).coord[0]
        others = design_pocket(checkpoint, p, DesignConfig(drawn, 1.0, seed, idealise=False))
        language = float("nan")
        if head is not None:
            with torch.no_grad():
                told = head(torch.from_numpy(p.language).double()).argmax(dim=1).numpy() + 1
            language = float((told == native).mean())
        rows.append(
            PocketRow(
                p.name,
                p.cluster,
                len(native),
                m.recovery,
                float(np.mean([(d.types == native).mean() for d in others])),
                language,
                float((native == frequent).mean()),
                m,
                own,
                backbone_rmsd(p, start),
                backbone_rmsd(p, cleaned(checkpoint, p, replace(best, coord=start))),
                diversity(others),
                seconds,
            )
        )
    return rows


SIZES = {"small": PocketGenConfig(), "published": PocketGenConfig(width=128, layers=4, neighbours=8, n_gaussians=64)}
"""The published one with the language model of ``--language esm2_t33_650M_UR50D``."""
SHARES = {
    "bonds more than 0.1 Å from ideal": ("bond_outliers", "bonds", 1),
    "peptides twisted by more than 30°": ("twisted", "peptides", 1),
    "phi above 0, glycine excepted": ("positive_phi", "turns", 1),
    "phi and psi as rare as in 2 % of training residues": ("rare_turns", "turns", 1),
    "N-CA-C more than 10° off": ("tau_outliers", "residues", 1),
    "other backbone angles more than 10° off": ("angle_outliers", "peptides", 3),
    "chi1 more than 30° from staggered": ("chi1_outliers", "rotors", 1),
}
"""Shares: what is counted, and out of how many of what (three angles at a peptide)."""


def summarise_pockets(rows: Sequence[PocketRow]) -> dict[str, Summary]:
    """Means over pockets with intervals over clusters; shares (:data:`SHARES`) are of all bonds, peptides and so on.

    The gain over the language model is paired over pockets, so its interval is narrower than those of the two means.
    """
    groups = [row.cluster for row in rows]

    def mean(name: str) -> Summary:
        return bootstrap_mean([float(getattr(row, name)) for row in rows], groups)

    def of(part: str, name: str) -> list[float]:
        return [float(row.residues if name == "residues" else getattr(getattr(row, part), name)) for row in rows]

    table = {
        "recovery, likeliest types": mean("recovery"),
        "recovery, drawn at temperature 1": mean("drawn_recovery"),
        "recovery, language model alone": mean("language"),
        "recovery, most frequent residue": mean("frequent"),
        "recovery, likeliest types less language model alone": bootstrap_mean([r.recovery - r.language for r in rows], groups),
        "backbone RMSD (Å)": bootstrap_mean(of("design", "rmsd"), groups),
        "backbone RMSD of the start (Å)": mean("start_rmsd"),
        "backbone RMSD of the start after the clean-up (Å)": mean("clean_start_rmsd"),
        "diversity": mean("diversity"),
        "seconds a design": mean("seconds"),
    }
    for part, said in (("design", ""), ("native", ", native")):
        table[f"clashes a pocket{said}"] = bootstrap_mean(of(part, "clashes"), groups)
        for name, (off, all_, each) in SHARES.items():
            table[name + said] = bootstrap_ratio(of(part, off), [each * n for n in of(part, all_)], groups)
    return table


@dataclass(frozen=True, eq=False)
class Prepared:
    """Training data."""

    places: Places
    """For the heads."""
    pockets: list[Pocket]
    decoys: list[Pocket]
    validation: list[Pocket]
    geometry: Geometry
    trace: TraceNet
    error: tuple[float, float]
    """Median Å from CA atoms of validation pockets to the line, and to where ``trace`` places them."""
    proteins: int
    """Structures that places are made of."""


def prepare(
    folder: Path,
    splits: Path,
    examples: Path,
    work: Path,
    backbone: torch.nn.Module,
    config: PocketConfig,
    training: PocketGenTrainConfig,
    width: int,
) -> Prepared:
    """Places of the training clusters and of LIGYSIS chains without a homologue held out or bundled; validation pockets."""
    complexes, held, test = (read_split(folder, splits, name, Protein.read) for name in ("train", "validation", "test"))
    chains = read_chains(folder)
    near = related(chains_of(chains), chains_of([*held, *test, *read_examples(examples)])) if chains else {}
    proteins = [*complexes, *(x for x in chains if x.key not in near)]
    kept = work / "language"
    make_folder(kept)
    trace = fit_trace(trace_rows(proteins, config, training.decoys), width=width, seed=training.seed)
    error = trace_error(trace, trace_rows(held, config, 0))
    made = prepare_places(proteins, backbone, config, lambda _: trace, training.decoys, training.whole_decoys, kept)
    held_out = pockets_of(held, backbone, config, lambda _: trace, kept)
    return Prepared(*made, held_out, measure_geometry(x.structure for x in complexes), trace, error, len(proteins))


def counts_of(data: Prepared) -> dict[str, int]:
    """Size of the training data, for the card."""
    by_kind = np.bincount(data.places.kind, minlength=len(KINDS)).tolist()
    return {
        "proteins": data.proteins,
        **{f"residues of {kind}": n for kind, n in zip(KINDS, by_kind, strict=True)},
        "pockets of the network": len(data.pockets),
        "decoys of the network": len(data.decoys),
        "validation pockets": len(data.validation),
    }


def train(
    data: Prepared, work: Path, config: PocketGenConfig, training: PocketGenTrainConfig, device: torch.device
) -> tuple[PocketGen, list[StepRecord]]:
    """The network and its log; a stopped run resumes from ``work``. Heads are fitted on the CPU."""
    torch.manual_seed(training.seed)
    model = PocketGen(config)
    model.trace.load_state_dict(data.trace.state_dict())
    fit_heads(model, data.places, training.seed)
    if data.validation:
        entropy, recovery = validate(model, data.validation, training)
        print(f"heads alone, validation: cross-entropy {entropy:.4f} nat, recovery {recovery:.4f}", flush=True)
    sets = data.pockets, data.decoys, data.validation
    history = fit_pocketgen(model.to(device), *sets, data.geometry, training, folder=work)
    return model.cpu(), history


def choose_share(
    model: PocketGen, pockets: Sequence[Pocket], config: PocketGenTrainConfig, shares: Sequence[float] = (0.0, 0.25, 0.5, 1.0)
) -> dict[float, tuple[float, float]]:
    """Set the model's ``structure_share`` to that with the lowest cross-entropy on ``pockets``.

    Returns
    -------
    Cross-entropy and recovery on ``pockets`` by share.
    """
    found = {}
    for share in shares:
        model.config = replace(model.config, structure_share=share)
        found[share] = validate(model, pockets, config)
    best = min(found, key=lambda share: found[share][0])
    model.config = replace(model.config, structure_share=best)
    return found


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
    device: torch.device,
) -> None:
    """Train and write.

    ``encoder`` is the file of the published language model ``language``; ``None``: it is looked for, or fetched. The small one is
    shipped.
    """
    for name in ("train", "validation", "test"):  # says what is missing before anything takes long
        read_split(folder, splits, name, str)
    make_folder(work)
    named = language if language != BACKBONE else None
    backbone = start_encoder() if named is None else load_backbone(named, encoder).eval()
    config = replace(config, language_width=BACKBONES[language][1])
    data = prepare(folder, splits, examples, work, backbone, pocket, training, config.trace_width)
    counts = counts_of(data)
    print(", ".join(f"{n} {name}" for name, n in counts.items()), flush=True)
    print(f"CA of validation pockets: {data.error[1]:.2f} Å off instead of {data.error[0]:.2f} (medians)", flush=True)
    model, history = train(data, work, config, training, device)
    shares = choose_share(model, data.validation, training) if data.validation else {}
    for share, (entropy, recovery) in shares.items():
        print(f"share {share:g} of the structure network, validation: {entropy:.4f} nat, recovery {recovery:.4f}", flush=True)
    card = {
        "paper": "Zhang et al., PocketGen (2024); weights are ours",
        "licence": "GPL-3.0",
        "licence_reason": f"its language model is that of {DEFAULT_MODEL} before fine-tuning, which carries GPL-3.0",
        "training_data": "complexes of the training clusters and LIGYSIS chains without a homologue in validation or test "
        "complexes or bundled examples; of both also decoys, stretches of a protein in a ligand's place",
        "counts": counts,
        "validation pockets, median Å to CA": {"on the line": round(data.error[0], 3), "placed": round(data.error[1], 3)},
        "split": "data/splits/complexes.csv: whole clusters at 30 % identity",
        "command": "python -m benchmarks.recipes.pocketgen DATA -o s2p/checkpoints/pocketgen.safetensors",
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


def measured(folder: Path, splits: Path, split: str) -> list[Protein]:
    """Complexes of a split; ``fresh``: ``test2`` of ``surface.csv`` beside ``splits``, without relatives in training."""
    if split != "fresh":
        return read_split(folder, splits, split, Protein.read)
    rows = read_csv(splits.with_name("surface.csv"), ("set", "id", "split"))
    wanted = {f"{row['set']}/{row['id']}" for row in rows if row["split"] == "test2"}
    found = [Protein.read(x) for x in new_complexes(folder / "complexes2") if x.key in wanted]
    learned = [x for name in ("train", "validation") for x in read_split(folder, splits, name, Protein.read)]
    near = related(chains_of(found), chains_of([*learned, *read_chains(folder)]))
    return sorted((x for x in found if x.key not in near), key=lambda x: x.key)


def evaluate(folder: Path, splits: Path, encoder: Path | None, path: Path, split: str, per_cluster: int) -> None:
    """Figures of a held-out split with intervals over clusters; they are added to the checkpoint's card."""
    checkpoint = load_pocketgen(path, encoder=encoder)
    if checkpoint.backbone is None:
        raise S2PError(f"{path} reads no language model; the recipe makes those that do")
    chosen = few_of_each(measured(folder, splits, split), per_cluster)
    pockets = pockets_of(chosen, checkpoint.backbone, checkpoint.pocket, lambda _: checkpoint.model.trace)
    rows = evaluate_pockets(checkpoint, pockets)
    figures = {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in summarise_pockets(rows).items()}
    for key, value in figures.items():
        print(f"{split}, {key}: {value}")
    counts = {"pockets": len(rows), "residues": sum(row.residues for row in rows), "clusters": len({row.cluster for row in rows})}
    card = checkpoint.card | {split: counts | {"figures": figures}}
    save_pocketgen(replace(checkpoint, model=checkpoint.model.float(), card=card), path)


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.pocketgen", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint to write, or with --evaluate to measure")
    parser.add_argument(
        "--evaluate", choices=("validation", "test", "fresh"), help="do not train: add figures of a split to the card"
    )
    parser.add_argument("--per-cluster", type=int, default=4, help="most pockets of a cluster measured (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/pocketgen"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--examples", type=Path, default=Path("data/examples"), help="bundled structures, kept out of training")
    parser.add_argument("--language", choices=tuple(BACKBONES), default=BACKBONE, help="frozen encoder (default: %(default)s)")
    parser.add_argument("--encoder", type=Path, help="its weights (default: found in the cache, or fetched)")
    features = get_args(get_type_hints(PocketConfig)["ligand_features"])
    parser.add_argument("--ligand-features", choices=features, default=PocketConfig.ligand_features, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=PocketGenTrainConfig.steps, help="default: %(default)s")
    parser.add_argument("--size", choices=tuple(SIZES), default="small", help="of the network (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args(argv)
    training = PocketGenTrainConfig(steps=options.steps)
    if options.evaluate:
        evaluate(options.data, options.splits, options.encoder, options.out, options.evaluate, options.per_cluster)
    else:
        inputs = options.data, options.splits, options.examples, options.language, options.encoder
        pocket = PocketConfig(ligand_features=options.ligand_features)
        run(*inputs, options.out, options.work, pocket, SIZES[options.size], training, pick_device(options.device))


if __name__ == "__main__":
    sys.exit(main())
