"""The paper's recipe from labels to figures: fine-tuning, a smoother on pre-trained embeddings, pockets on held-out clusters.

The published predictor runs two language models, the fine-tuned one for probabilities and the pre-trained one for the smoother's
embeddings (spec of the paper, smoothing); a checkpoint of ours runs one. Here each has its turn, so that one large model is in
memory at a time: fine-tune, logits of the held-out chains; then embeddings of all chains, which go to disk; then the smoother,
which streams them; then pockets. Each step writes a file or a state, from which an interrupted run resumes.

``python -m benchmarks.recipes.published --labels FILE --structures DIR --work DIR``; ``--dry-run`` says what that takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.published_plan import Reproduction, check, describe, pdb_id, read_labels, splits, structure_files
from course.residue_figures import residue_figures
from s2p.checkpoint import Checkpoint, load_checkpoint
from s2p.commands import number
from s2p.commands.training import add_finetuning, finetune_config, planned_memory
from s2p.config import Count, PredictConfig
from s2p.datasets.label_files import read_annotations
from s2p.datasets.labelled import LabelledChain
from s2p.errors import FetchError, S2PError, StructureError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import recall_name, summarise
from s2p.io.files import sha256_file, write_text
from s2p.io.runtime import pick_device, progress_bar
from s2p.io.weights import weights_path
from s2p.language.cache import embed_residues
from s2p.language.esm import ResidueModel, load_backbone
from s2p.language.sequences import BACKBONES
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.alignment import align, labels_on_chain
from s2p.structure.reading import read_structure
from s2p.training.finetuning import FREE, predict_logits
from s2p.training.job import FinetuneJob, LabelSets, backbone_name, run_finetune, settings
from s2p.training.smoother import SmoothingExample, train_smoother

__all__ = ["Known", "frozen_model", "reproduce"]

SAME = 0.9
"""Share of identical residues a chain of a structure must have with the labelled sequence."""


def frozen_model(name: str, weights: str | Path | None = None, *, device: str | torch.device = "cpu") -> ResidueModel:
    """The pre-trained backbone (:func:`s2p.language.esm.load_backbone`), for its embeddings; head and logits are zero."""
    model = ResidueModel(name)
    model.backbone = load_backbone(name, weights)
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    return model.to(device).eval()


@dataclass(frozen=True, eq=False)
class Known:
    """A chain of a structure file with its sites; the rest of the structure is not kept in memory."""

    id: str
    path: Path
    chain: str
    sequence: str
    """Of the observed residues."""
    ca_coord: NDArray[np.float32]
    sites: tuple[NDArray[np.int64], ...]


def reproduce(plan: Reproduction, sets: LabelSets, *, quiet: bool = False) -> dict[str, Any]:
    """Run the recipe; its figures, as written to ``results.json``.

    Raises
    ------
    S2PError
        If weights or structures are missing.
    """
    missing: list[str] = []
    sites = _sites(path for path in (plan.labels, plan.validation) if path is not None)
    known = {
        name: _structures(table["general"], sites, plan.structures, missing, f"structures, {name}", quiet)
        for name, table in splits(sets)
    }
    for name, items in known.items():
        if not items:
            raise S2PError(f"no structure of the {name} chains was found, so there is no smoother to train; see --structures")
    checkpoint = _residue_model(plan.job, sets, quiet)
    logits = predict_logits(checkpoint.model, [item.sequence for item in known["validation"]])
    # From here on its weights are not needed; the next model takes their place.
    checkpoint = replace(checkpoint, model=ResidueModel(next(iter(BACKBONES))))
    embeddings = _embeddings(plan, known, quiet)
    examples = {
        name: [SmoothingExample(embeddings[item.sequence], item.ca_coord, item.sites) for item in items]
        for name, items in known.items()
    }
    config = plan.smoother_config
    smoother, log = train_smoother(
        examples["training"],
        examples["validation"],
        config,
        folder=plan.work / "smoother",
        device=pick_device(plan.device),
        quiet=quiet,
    )
    predictor = Seq2Pocket(replace(checkpoint, name=f"published recipe, {plan.backbone}", smoother=smoother))
    results = {
        "backbone": plan.backbone,
        "licence": checkpoint.card["licence"],
        "data": sets.card,
        "structures": {name: len(items) for name, items in known.items()} | {"not_found": len(missing)},
        "residues_all_validation_chains": checkpoint.card["validation"]["general"],
        "smoother": asdict(config) | {"validation_auprc": max(e.validation_auprc for e in log), "epochs": len(log)},
        "held_out": {
            name: evaluate(predictor, known["validation"], logits, embeddings, use_smoothing=smoothing, quiet=quiet)
            for name, smoothing in (("with smoothing", True), ("without smoothing", False))
        },
        "not_found": sorted(missing),
    }
    path = write_text(plan.work / "results.json", json.dumps(results, indent=1, ensure_ascii=False, default=str) + "\n")
    if not quiet:
        for name, figures in results["held_out"].items():
            print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
        print(f"wrote {path} and {plan.job.out}")
    return results


def _embeddings(plan: Reproduction, known: Mapping[str, Sequence[Known]], quiet: bool) -> dict[str, NDArray[np.floating]]:
    """(n, d) of every sequence, memory-mapped; the model is in memory only while this runs."""
    sequences = list(dict.fromkeys(item.sequence for items in known.values() for item in items))
    weights = weights_path(plan.weights) if plan.weights else None
    model = frozen_model(plan.backbone, weights, device=pick_device(plan.device))
    found = embed_residues(model, sequences, plan.work / "embeddings", quiet=quiet)
    return {sequence: rows for sequence, (_, rows) in zip(sequences, found, strict=True)}


def evaluate(
    predictor: Seq2Pocket,
    items: Sequence[Known],
    logits: Sequence[NDArray[np.float32]],
    embeddings: Mapping[str, NDArray[np.floating]],
    *,
    use_smoothing: bool,
    quiet: bool = False,
) -> dict[str, float]:
    """Residue and pocket figures, each site by itself; its centre is the mean of its CA atoms, as published."""
    published = replace(PredictConfig.published(), use_smoothing=use_smoothing)
    labels, scores, flags, results = [], [], [], []
    no_ligand = np.zeros((0, 3), np.float32)
    for item, own in progress_bar(list(zip(items, logits, strict=True)), "evaluation", quiet):
        structure = read_structure(item.path).select_chains([item.chain])
        outputs = ResidueScores(sigmoid(own).astype(np.float32), embeddings[item.sequence].astype(np.float32), own)
        p = predictor.pockets(structure, outputs, published)
        labels.append(np.isin(np.arange(len(own)), np.concatenate(item.sites)))
        scores.append(p.probabilities)
        flags.append(p.positive)
        results.append(evaluate_complex(p, [no_ligand] * len(item.sites), name=item.id, cluster=item.id, sites=item.sites))
    r = residue_figures(np.concatenate(labels), np.concatenate(scores), np.concatenate(flags))
    config = BenchmarkConfig()
    shown = {
        f"DCC < {cutoff:g} Å, top {rank}": recall_name("dcc CA", cutoff, rank)
        for cutoff in (config.loose_hit, config.strict_hit)
        for rank in config.ranks
    }
    shown |= {name: name for name in ("PFI", "merging", "sites missed")}
    shown |= {"best residue overlap": "best residue overlap, sites touched"}
    table = summarise(results, config)
    return {"AUPRC": r.auprc, "MCC": r.mcc, "F1": r.f1, **{key: table[name].value for key, name in shown.items()}}


def _residue_model(job: FinetuneJob, sets: LabelSets, quiet: bool) -> Checkpoint:
    """Train, or reuse what an earlier run of the same job has written."""
    if job.out.is_file():
        checkpoint = load_checkpoint(job.out, backbone=job.weights if job.config.lora_rank else None)
        same = checkpoint.card.get("data", {}).get("sha256_of_chains") == sets.card["sha256_of_chains"]
        if job.weights is not None:
            same = same and checkpoint.card.get("weights", {}).get("sha256") == sha256_file(job.weights)
        before, asked = checkpoint.card.get("finetune", {}), settings(job.config)
        if not same or any(before.get(key) != asked[key] for key in asked.keys() - FREE):
            raise S2PError(f"{job.out} is from another run; remove its folder or choose another (--work)")
    else:
        checkpoint = run_finetune(job, sets, quiet=quiet)
    checkpoint.model.to(pick_device(job.device))
    return replace(checkpoint, threshold=0.7, smoothing_threshold=0.4)


Lines = Mapping[tuple[str, str], Sequence[NDArray[np.int32]]]
"""Binding residues of every line about a chain, by its id and sequence."""


def _sites(paths: Iterable[Path]) -> Lines:
    """The separate sites of every chain of the label files; training uses only their union."""
    found: dict[tuple[str, str], list[NDArray[np.int32]]] = {}
    for a in (a for path in paths for a in read_annotations(path)):
        found.setdefault((a.id, a.sequence), []).append(a.indices)
    return found


def _structures(
    chains: Sequence[LabelledChain], sites: Lines, folder: Path | None, missing: list[str], label: str, quiet: bool
) -> list[Known]:
    """Structures of the chains that can be found, each with its sites carried over by alignment."""
    files = None if folder is None else structure_files(folder)
    found = []
    for c in progress_bar(chains, label, quiet):
        item = _structure(c, sites[c.id, c.sequence], files)
        if item is None:
            missing.append(c.id)
        else:
            found.append(item)
    return found


def _structure(c: LabelledChain, sites: Sequence[NDArray[np.int32]], files: Mapping[str, Path] | None) -> Known | None:
    from s2p.io.fetch import fetch_structure

    name, _, chain = c.id.partition("_")
    try:
        path = fetch_structure(name) if files is None else files.get(pdb_id(c))
        structure = None if path is None else read_structure(path)
    except (FetchError, StructureError):
        return None
    if path is None or structure is None or not structure.chains:
        return None
    # sc-PDB ids end in the number of the entry's chain, published ones in its name: trust the sequence.
    order = sorted(structure.chains, key=lambda other: other != chain)
    best = max(order, key=lambda other: _identity(structure.sequence(other), c.sequence))
    if _identity(structure.sequence(best), c.sequence) < SAME:
        return None
    alone = structure.select_chains([best])
    placed = (np.flatnonzero(labels_on_chain(alone.sequence(best), c.sequence, site.tolist())) for site in sites)
    found = tuple(site for site in placed if len(site))
    return Known(c.id, path, best, alone.sequence(best), alone.residues.ca_coord, found) if found else None


def _identity(observed: str, reference: str) -> float:
    """Identical residues over the length of the shorter sequence."""
    where = align(observed, reference)
    same = sum(observed[i] == reference[j] for i, j in enumerate(where.tolist()) if j >= 0)
    return same / max(1, min(len(observed), len(reference)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.published",
        description="Repeat the recipe of the paper: ESM-2 3B on enhanced sc-PDB, a smoother on pre-trained embeddings, "
        "thresholds 0.7 and 0.4, bandwidth 9. It prints what it needs and does, and a stopped run resumes.",
    )
    parser.add_argument("--size", default="3B", metavar="SIZE", help="of the ESM-2 backbone (default: %(default)s)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="label file of the training chains")
    parser.add_argument("--validation", type=Path, metavar="FILE", help="label file (default: clusters of the training chains)")
    parser.add_argument("--structures", type=Path, metavar="DIR", help="structure files (default: fetched from the PDB)")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="weights of the backbone (default: found or downloaded)")
    parser.add_argument("--limit", type=number(Count), metavar="N", help="use the first N chains only")
    parser.add_argument(
        "--smoother-epochs", type=number(Count), metavar="N", help="at most so many for the smoother (default: as published)"
    )
    add_finetuning(parser, "runs/published", config="published")
    return parser


def _run(options: argparse.Namespace) -> None:
    plan = Reproduction(
        backbone_name(options.size),
        options.work,
        options.labels,
        options.validation,
        options.structures,
        options.weights,
        options.limit,
        finetune_config(options),
        options.smoother_epochs,
        options.device,
    )
    sets, gpu_memory = read_labels(plan), planned_memory(options)
    if options.dry_run or not options.quiet:
        print(describe(plan, sets, gpu_memory), flush=True)
    if options.dry_run:
        check(plan, sets, gpu_memory)
    else:
        reproduce(plan, sets, quiet=options.quiet)


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    _run(_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
