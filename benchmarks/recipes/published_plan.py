"""Plan of the paper's recipe: its steps and what they need, as printed by ``published --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.gpus import GPUS, UTILISATION, embedding_hours, finetuning_hours, smoother_hours
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.language.sequences import BACKBONES
from s2p.structure.reading import SUFFIXES
from s2p.training.batches import plan as batch_plan
from s2p.training.config import FinetuneConfig, SmootherTrainConfig
from s2p.training.job import FinetuneJob, LabelSets, check_job, estimate_job, read_sets
from s2p.training.job import describe as describe_training
from s2p.training.memory import CONTEXT

__all__ = ["SMOOTHER", "Reproduction", "check", "describe", "pdb_id", "read_labels", "splits", "structure_files"]

SMOOTHER = replace(SmootherTrainConfig(), width=2048, dropout=0.5, include_self=True)
"""The classifier of the paper's 3B model; the learning rate is ours, the paper searched it from 1e-5 to 1e-3."""
PAIRS, MEMBERS = 0.4, 19
"""Pairs per residue, and residues in the context of a pair, if 15 % of residues bind (:mod:`benchmarks.stand_in`)."""


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
    def smoother_config(self) -> SmootherTrainConfig:
        """Of the classifier."""
        return replace(SMOOTHER, max_epochs=self.smoother_epochs or SMOOTHER.max_epochs)

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


def describe(plan: Reproduction, sets: LabelSets, gpu_memory: float | None) -> str:
    """The steps of a run, and what each needs."""
    c, s = plan.config, SMOOTHER
    lengths = {name: [len(x.sequence) for x in table["general"]] for name, table in splits(sets)}
    every = [n for members in lengths.values() for n in members]
    n_pairs = PAIRS * sum(lengths["training"])
    width, size = BACKBONES[plan.backbone][1], _embedding_bytes(plan, sets) / 1e9
    weights = s.width * (2 * width + s.width)
    where = "the PDB, over the network, one file a chain, kept in s2p's cache"
    if plan.structures:
        found = " and ".join(
            f"{_files(plan, table['general'])} of {len(table['general'])} {name}" for name, table in splits(sets)
        )
        where = f"{plan.structures}: files of {found} chains"
    radii = f"own context included, context {s.context_radius:g} Å, negatives {s.negative_radius:g} Å"
    n_steps, most = -(-n_pairs // s.batch_size), plan.smoother_config.max_epochs
    work = f"about {n_pairs:,.0f} pairs, {n_steps:,.0f} steps an epoch, at most {most} epochs; state {16 * weights / 1e9:.2g} GB"
    optimizer = "8-bit AdamW on CUDA (bitsandbytes)" if c.eight_bit else "AdamW"
    lines = [
        describe_training(plan.job, sets, timed=False, gpu_memory=gpu_memory),
        f"1 labels      {plan.labels}{f', the first {plan.limit} chains' if plan.limit else ''}",
        f"2 fine-tuning {plan.backbone}: {c.head_epochs} epochs of the head, {c.full_epochs} of everything, {optimizer} "
        f"lr {c.backbone_lr:g} eps {c.adam_eps:g}; weights: {plan.weights or 'found or downloaded'}",
        f"3 structures  {where}",
        f"4 embeddings  of the pre-trained model, {size:.2g} GB in {plan.work}/embeddings, half precision",
        f"5 smoother    {2 * width}-{s.width}-{s.width}-1, dropout {s.dropout:g}, {radii}; {work}",
        "6 evaluation  held-out clusters: thresholds 0.7 and 0.4, mean shift of bandwidth 9 Å, published ranking",
        f"results       {plan.work}/results.json; every finished step is kept, and a stopped run resumes",
    ]
    needed, steps = estimate_job(plan.job, sets, gpu_memory or 1.0).device.total + CONTEXT, len(batch_plan(sets.training, c))
    for gpu in GPUS:
        if 1e9 * gpu.memory >= needed and (gpu_memory is None or gpu_memory >= 1e9 * gpu.memory):
            tuning = finetuning_hours(gpu, plan.backbone, c, lengths["training"], lengths["validation"], steps)
            embedding = embedding_hours(gpu, plan.backbone, every)
            smoother = smoother_hours(gpu, width, s, n_pairs, MEMBERS, most, 1e9 * size)
            parts = f"fine-tuning {tuning:.1f}, embeddings {embedding:.1f}, at most {most} epochs of the smoother {smoother:.1f}"
            lines.append(f"hours         {gpu.name}: {parts}")
    lines.append(
        f"              (counted operations at {UTILISATION:.0%} of what the GPU's data sheet states: an estimate, not measured)"
    )
    return "\n".join(lines)


def check(plan: Reproduction, sets: LabelSets, gpu_memory: float | None) -> None:
    """:class:`S2PError` for weights and structures that are not there, and for what does not fit GPU, memory or disk."""
    check_job(plan.job, sets, gpu_memory, _embedding_bytes(plan, sets))
    for name, table in splits(sets):
        found, n = _files(plan, table["general"]), len(table["general"])
        if not found:
            raise S2PError(f"{plan.structures}: none of the {n} {name} chains has a structure file there; see --structures")


def _files(plan: Reproduction, chains: Sequence[LabelledChain]) -> int:
    """How many chains have a structure file, or may have one over the network."""
    if plan.structures is None:
        return len(chains)
    files = structure_files(plan.structures)
    return sum(pdb_id(c) in files for c in chains)


def splits(sets: LabelSets) -> tuple[tuple[str, dict[str, list[LabelledChain]]], ...]:
    """Names of both sets of chains, and the chains by head."""
    return ("training", sets.training), ("validation", sets.validation)


def _embedding_bytes(plan: Reproduction, sets: LabelSets) -> float:
    residues = sum(len(c.sequence) for _, table in splits(sets) for c in table["general"])
    return float(residues * (2 * BACKBONES[plan.backbone][1] + 4))


def read_labels(plan: Reproduction) -> LabelSets:
    """Training and validation chains; :class:`S2PError` if there are none."""
    if plan.labels is None:
        raise S2PError(
            "the labels are missing: `s2p datasets list` says where enhanced sc-PDB is from; give its file with --labels"
        )
    return read_sets(plan.job)


def pdb_id(c: LabelledChain) -> str:
    """In lower case."""
    return c.id.partition("_")[0].lower()


def structure_files(folder: Path) -> dict[str, Path]:
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
