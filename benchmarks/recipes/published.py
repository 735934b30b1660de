"""The paper's recipe from labels to figures: fine-tuning, a smoother on pre-trained embeddings, pockets on held-out clusters.

The published predictor runs two language models, the fine-tuned one for probabilities and the pre-trained one for the smoother's
embeddings (spec of the paper, smoothing); a checkpoint of ours runs one. :class:`PublishedPredictor` is the published way.

``python -m benchmarks.recipes.published --labels FILE --work DIR``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from course.residue_figures import residue_figures
from s2p.checkpoint import Checkpoint, load_checkpoint
from s2p.commands import number
from s2p.commands.training import add_finetuning, finetune_config
from s2p.config import Count, PredictConfig
from s2p.datasets.label_files import read_annotations
from s2p.datasets.labelled import LabelledChain
from s2p.errors import FetchError, S2PError, StructureError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import recall_name, summarise
from s2p.io.files import write_text
from s2p.io.runtime import pick_device, progress_bar
from s2p.language.esm import ResidueModel, load_backbone
from s2p.prediction import Prediction
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.residues import Smoother
from s2p.structure.alignment import align, labels_on_chain
from s2p.structure.reading import SUFFIXES, Structure, read_structure
from s2p.training.config import FinetuneConfig, SmootherTrainConfig
from s2p.training.job import FinetuneJob, LabelSets, backbone_name, read_sets, run_finetune, settings
from s2p.training.job import describe as describe_training
from s2p.training.known_sites import KnownSites, embed_structures, smoothing_examples
from s2p.training.smoother import train_smoother

__all__ = ["SMOOTHER", "PublishedPredictor", "Reproduction", "describe", "frozen_model", "reproduce"]

SMOOTHER = replace(SmootherTrainConfig(), width=2048, dropout=0.5, include_self=True)
"""The classifier of the paper's 3B model; the learning rate is ours, the paper searched it from 1e-5 to 1e-3."""
SAME = 0.9
"""Share of identical residues a chain of a structure must have with the labelled sequence."""


def frozen_model(name: str, weights: str | Path | None = None, *, device: str | torch.device = "cpu") -> ResidueModel:
    """The pre-trained backbone (:func:`s2p.language.esm.load_backbone`), for its embeddings; head and logits are zero."""
    model = ResidueModel(name)
    model.backbone = load_backbone(name, weights)
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    return model.to(device).eval()


@dataclass(frozen=True)
class Reproduction:
    """A run of the published recipe."""

    backbone: str = "esm2_t36_3B_UR50D"
    work: Path = Path("runs/published")
    labels: Path | None = None
    """Enhanced sc-PDB in the paper."""
    validation: Path | None = None
    structures: Path | None = None
    """Folder of structure files, ``<pdb>.<suffix>`` or ``<pdb>/protein.pdb`` at any depth; default: fetched."""
    weights: Path | None = None
    limit: int | None = None
    config: FinetuneConfig = field(default_factory=FinetuneConfig.published)
    smoother_epochs: int | None = None
    device: str = "auto"

    @property
    def job(self) -> FinetuneJob:
        """The fine-tuning of it."""
        return FinetuneJob(
            self.labels,
            self.backbone,
            self.work / "residue.safetensors",
            self.work / "finetune",
            self.validation,
            weights=self.weights,
            config=self.config,
            device=self.device,
            limit=self.limit,
        )


class PublishedPredictor:
    """Probabilities of a fine-tuned model, smoothing by embeddings of the pre-trained one, thresholds 0.7 and 0.4."""

    def __init__(self, checkpoint: Checkpoint, embedder: ResidueModel, smoother: Smoother) -> None:
        self.name = f"published recipe, {checkpoint.model.name}"
        self.residues = Seq2Pocket(replace(checkpoint, smoother=smoother))
        self.embedder = embedder

    def score(self, structure: Structure) -> ResidueScores:
        """(N,) probabilities of the one model, (N, d) embeddings of the other."""
        config = PredictConfig.published()
        scores = self.residues.score(structure, config)
        other = Seq2Pocket(replace(self.residues.checkpoint, model=self.embedder)).score(structure, config)
        return replace(scores, embeddings=other.embeddings)

    def predict(self, structure: Structure, *, use_smoothing: bool = True) -> Prediction:
        """Pockets, best first."""
        config = replace(PredictConfig.published(), use_smoothing=use_smoothing)
        return self.residues.pockets(structure, self.score(structure), config)


def describe(plan: Reproduction) -> str:
    """The steps of a run, and what each needs."""
    source = str(plan.labels) if plan.labels else "enhanced sc-PDB, 17,077 chains: fetch it, and give it with --labels"
    some = f", the first {plan.limit} chains" if plan.limit else ""
    where = str(plan.structures) if plan.structures else "the PDB, over the network, one file a chain, kept in s2p's cache"
    c, s = plan.config, SMOOTHER
    optimizer = "8-bit AdamW on CUDA (bitsandbytes)" if c.eight_bit else "AdamW"
    return "\n".join(
        (
            f"1 labels      {source}{some}",
            f"2 fine-tuning {plan.backbone}: {c.head_epochs} epochs of the head, {c.full_epochs} of everything, {optimizer} lr "
            f"{c.backbone_lr:g} eps {c.adam_eps:g}; weights: {plan.weights or 'found or downloaded'}",
            f"3 structures  {where}",
            f"4 smoother    width {s.width}, dropout {s.dropout:g}, own context included, context {s.context_radius:g} Å, "
            f"negatives {s.negative_radius:g} Å; embeddings of the pre-trained model",
            "5 evaluation  held-out clusters: thresholds 0.7 and 0.4, mean shift of bandwidth 9 Å, published ranking",
            f"results       {plan.work}/results.json; every finished step is kept, and a stopped run resumes",
        )
    )


def reproduce(plan: Reproduction, *, quiet: bool = False) -> dict[str, Any]:
    """Run the recipe; its figures, as written to ``results.json``.

    Raises
    ------
    S2PError
        If labels, weights or structures are missing.
    """
    if plan.labels is None:
        raise S2PError(
            "the labels are missing: `s2p datasets list` says where enhanced sc-PDB is from; give its file with --labels"
        )
    job = plan.job
    sets = read_sets(job)
    if not quiet:
        print(describe_training(job, sets, timed=False), flush=True)
    checkpoint = _residue_model(job, sets, quiet)
    device = pick_device(plan.device)
    embedder = frozen_model(plan.backbone, plan.weights, device=device)
    missing: list[str] = []
    sites = _sites(path for path in (plan.labels, plan.validation) if path is not None)
    known = {
        name: _structures(chains, sites, plan.structures, missing, f"structures, {name}", quiet)
        for name, chains in (("training", sets.training["general"]), ("validation", sets.validation["general"]))
    }
    for name, items in known.items():
        if not items:
            raise S2PError(f"no structure of the {name} chains was found, so there is no smoother to train; see --structures")
    examples = {
        name: smoothing_examples(items, [e for _, e in embed_structures(embedder, items, plan.work / "embeddings", quiet=quiet)])
        for name, items in known.items()
    }
    config = replace(SMOOTHER, max_epochs=plan.smoother_epochs or SMOOTHER.max_epochs)
    smoother, log = train_smoother(
        examples["training"], examples["validation"], config, folder=plan.work / "smoother", device=device, quiet=quiet
    )
    predictor = PublishedPredictor(checkpoint, embedder, smoother.to(device))
    results = {
        "backbone": plan.backbone,
        "licence": checkpoint.card["licence"],
        "data": sets.card,
        "structures": {name: len(items) for name, items in known.items()} | {"not_found": len(missing)},
        "residues_all_validation_chains": checkpoint.card["validation"]["general"],
        "smoother": asdict(config) | {"validation_auprc": max(e.validation_auprc for e in log), "epochs": len(log)},
        "held_out": {
            name: evaluate(predictor, known["validation"], use_smoothing=smoothing, quiet=quiet)
            for name, smoothing in (("with smoothing", True), ("without smoothing", False))
        },
        "not_found": sorted(missing),
    }
    path = write_text(plan.work / "results.json", json.dumps(results, indent=1, ensure_ascii=False, default=str) + "\n")
    if not quiet:
        for name, figures in results["held_out"].items():
            print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
        print(f"wrote {path} and {job.out}")
    return results


def evaluate(
    predictor: PublishedPredictor, items: Sequence[KnownSites], *, use_smoothing: bool, quiet: bool = False
) -> dict[str, float]:
    """Residue and pocket figures, each site by itself; its centre is the mean of its CA atoms, as published."""
    labels, scores, flags, results = [], [], [], []
    no_ligand = np.zeros((0, 3), np.float32)
    for item in progress_bar(items, "evaluation", quiet):
        p = predictor.predict(item.structure, use_smoothing=use_smoothing)
        truth = np.zeros(len(p.probabilities), bool)
        truth[np.concatenate(item.sites)] = True
        labels.append(truth)
        scores.append(p.probabilities)
        flags.append(p.positive)
        ligands = [no_ligand] * len(item.sites)
        results.append(evaluate_complex(p, ligands, name=item.key, cluster=item.key, sites=item.sites))
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
    """Train, or take what an earlier run of the same job has written."""
    if job.out.is_file():
        checkpoint = load_checkpoint(job.out, backbone=job.weights)
        same = checkpoint.card.get("data", {}).get("sha256_of_chains") == sets.card["sha256_of_chains"]
        if not same or checkpoint.card.get("finetune") != settings(job.config):
            raise S2PError(f"{job.out} is from another run; remove its folder or choose another (--work)")
    else:
        checkpoint = run_finetune(job, sets, quiet=quiet)
    checkpoint.model.to(pick_device(job.device))
    return replace(checkpoint, threshold=0.7, smoothing_threshold=0.4)


Lines = Mapping[tuple[str, str], Sequence[NDArray[np.int32]]]
"""Binding residues of every line about a chain, by its id and sequence."""


def _sites(paths: Iterable[Path]) -> Lines:
    """The pockets of every chain of label files, of which training has the union only."""
    found: dict[tuple[str, str], list[NDArray[np.int32]]] = {}
    for a in (a for path in paths for a in read_annotations(path)):
        found.setdefault((a.id, a.sequence), []).append(a.indices)
    return found


def _structures(
    chains: Sequence[LabelledChain], sites: Lines, folder: Path | None, missing: list[str], label: str, quiet: bool
) -> list[KnownSites]:
    """Structures of the chains that can be found, each with its sites carried over by alignment."""
    files = None if folder is None else _index(folder)
    found = []
    for c in progress_bar(chains, label, quiet):
        item = _structure(c, sites[c.id, c.sequence], files)
        if item is None:
            missing.append(c.id)
        else:
            found.append(item)
    return found


def _structure(c: LabelledChain, sites: Sequence[NDArray[np.int32]], files: Mapping[str, Path] | None) -> KnownSites | None:
    from s2p.io.fetch import fetch_structure

    name, _, chain = c.id.partition("_")
    try:
        path = fetch_structure(name) if files is None else files.get(name.lower())
        structure = None if path is None else read_structure(path)
    except (FetchError, StructureError):
        return None
    if structure is None or not structure.chains:
        return None
    # sc-PDB ids end in the number of the entry's chain, published ones in its name: trust the sequence.
    order = sorted(structure.chains, key=lambda other: other != chain)
    best = max(order, key=lambda other: _identity(structure.sequence(other), c.sequence))
    if _identity(structure.sequence(best), c.sequence) < SAME:
        return None
    alone = structure.select_chains([best])
    placed = (np.flatnonzero(labels_on_chain(alone.sequence(best), c.sequence, site.tolist())) for site in sites)
    found = tuple(site for site in placed if len(site))
    return KnownSites(c.id, alone, found) if found else None


def _identity(observed: str, reference: str) -> float:
    """Identical residues over the length of the shorter sequence."""
    where = align(observed, reference)
    same = sum(observed[i] == reference[j] for i, j in enumerate(where.tolist()) if j >= 0)
    return same / max(1, min(len(observed), len(reference)))


def _index(folder: Path) -> dict[str, Path]:
    """PDB id -> structure file, from file names and, for ``protein.*``, from the folder's."""
    if not folder.is_dir():
        raise S2PError(f"{folder}: no such folder of structures")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.name.lower().removesuffix(".gz")
        stem, dot, suffix = name.partition(".")
        if dot and f".{suffix}" in SUFFIXES:
            files.setdefault(path.parent.name.lower() if stem == "protein" else stem, path)
    return files


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
    if options.dry_run or not options.quiet:
        print(describe(plan), flush=True)
    if not options.dry_run:
        reproduce(plan, quiet=options.quiet)


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    _run(_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
