"""``s2p finetune``: train the residue model on own labels. ``s2p smooth-train``: train the smoothing classifier of a checkpoint.

The options of both (:func:`add_finetuning`, :func:`add_smoothing` and related functions) are also used by the recipes and studies
of the repository that train the same models.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from s2p.commands import chosen, epochs, flag, number, option
from s2p.config import DEFAULT_MODEL, Count, Empty, NonNegative, Positive, Share, SmoothingConfig
from s2p.training.config import FinetuneConfig, SmootherTrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2p.checkpoint import Checkpoint
    from s2p.datasets.labelled import KnownSites
    from s2p.language.esm import ResidueModel
    from s2p.residues import Smoother
    from s2p.training.loop import EpochLog
    from s2p.training.smoother import SmoothingExample

__all__ = [
    "add",
    "add_finetuning",
    "add_smoothing",
    "finetune_config",
    "known_examples",
    "note",
    "open_sites",
    "planned_memory",
    "silent",
    "write_smoother",
]


def add(commands: Any) -> None:
    """Add both commands to the parser's subcommands."""
    _add_finetune(commands)
    _add_smooth_train(commands)


def _add_finetune(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="fine-tune an ESM-2 on labelled chains",
        description="Fine-tune an ESM-2 to score binding residues and write a checkpoint that `s2p predict --model` takes. Logs, "
        "learning curves and a state are written to the work folder, from which the same command resumes an interrupted run.",
        epilog="Label files: lines of pdb;chain;TYPE;A12 G13;SEQUENCE (0-based indices), the same as CSV, or records of three "
        "lines (>id, sequence, 0/1); one line per chain or pocket; the pockets of a chain are joined. "
        "A checkpoint has the licence of the weights it starts from; its card states it.",
    )
    add = partial(option, parser)
    add("labels", "LABELS", "chains with their binding residues", Path)
    add("--validation", "LABELS", "validation chains (default: a tenth of LABELS, by whole clusters)", Path)
    add("--cryptic", "LABELS", "chains with cryptic sites, for which a second head is trained", Path)
    add("--cryptic-validation", "LABELS", "validation chains with cryptic sites", Path)
    empty = "chains without a binding residue: use them as negatives, skip them, or stop (default: %(default)s)"
    add("--empty", None, empty, choices=get_args(Empty), default="use")
    add("--backbone", "NAME", "fair-esm name or size, e.g. 8M, 650M, 3B", required=True)
    add("--weights", "PATH", "weights of the backbone, or a checkpoint that contains them (default: found or downloaded)", Path)
    add("-o --output", "CKPT", "checkpoint to write (default: model.safetensors in --work)", Path)
    flag(parser, "--merge", "with --lora: store the whole model instead of an adapter (only the updates)")
    flag(parser, "--resume", argparse.SUPPRESS)  # the default now, but used in many scripts
    add_finetuning(parser, "runs/finetune, or with -o NAME.safetensors the folder NAME")
    parser.set_defaults(run=partial(_run_finetune, parser), work=None)


def add_finetuning(parser: argparse.ArgumentParser, work: str, config: str | None = None) -> None:
    """Add the options of a fine-tuning; ``config``: the configuration, by default chosen by the user."""
    add = partial(option, parser)
    if config is None:
        add("--config", None, choices=("default", "published"), default="default")
    else:
        parser.set_defaults(config=config)
    add("--epochs", "H,A", "epochs of the head alone, then of all weights (default: from --config)", epochs)
    add("--lora", "RANK", "train low-rank updates of this rank instead of the weights", number(Count), dest="lora_rank")
    flag(parser, "--checkpointing", "save memory by computing activations again: for large backbones", default=None)
    bits = "AdamW with 8-bit states on CUDA (default: from --config)"
    parser.add_argument("--eight-bit", action=argparse.BooleanOptionalAction, help=bits)
    add("--batch-tokens", "N", "tokens in a batch (default: from --config)", number(Count), dest="token_budget")
    add("--micro-tokens", "N", "tokens in one forward pass; a batch is divided into these", number(Count))
    add("--ema", "D", "keep a moving average of the weights with this decay", number(Share), dest="ema_decay")
    add("--label-smoothing", "S", "share of each label that is moved to the other class", number(Share))
    add("--seed", "K", "default: from --config", int)
    add("--device", None, choices=("auto", "cpu", "cuda"), default="auto")
    add("--work", "DIR", f"folder of logs and states (default: {work})", Path, Path(work))
    minutes = "minutes between saved states; one is saved after each epoch too (default: %(default)g)"
    add("--save-minutes", "M", minutes, number(NonNegative), FinetuneConfig.save_minutes)
    flag(parser, "--dry-run", "do not train: print counts, steps, memory, disk and time, and what is missing or does not fit")
    add("--gpu-memory", "GB", "with --dry-run: memory of the GPU to plan for (of any machine)", number(Positive))
    flag(parser, "--quiet", "print nothing but errors")


def finetune_config(arguments: argparse.Namespace) -> FinetuneConfig:
    """The configuration given by the options of :func:`add_finetuning`."""
    if arguments.epochs:
        arguments.head_epochs, arguments.full_epochs = arguments.epochs
    return chosen(FinetuneConfig.published() if arguments.config == "published" else FinetuneConfig(), arguments)


def planned_memory(arguments: argparse.Namespace) -> float | None:
    """Memory (bytes) of the GPU for which a dry run plans."""
    return 1e9 * arguments.gpu_memory if arguments.dry_run and arguments.gpu_memory else None


def _run_finetune(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if (arguments.cryptic is None) and arguments.cryptic_validation is not None:
        parser.error("--cryptic-validation needs --cryptic")
    work: Path = arguments.work or (arguments.output.with_suffix("") if arguments.output else Path("runs/finetune"))
    out: Path = arguments.output or work / "model.safetensors"
    if out.suffix != ".safetensors":
        parser.error(f"-o {out}: a checkpoint is a .safetensors file")
    from s2p.io.runtime import pick_device
    from s2p.training.job import FinetuneJob, backbone_name, check_job, describe, read_sets, run_finetune
    from s2p.training.processes import join

    quiet = arguments.quiet or not join(pick_device(arguments.device))[0].first
    paths = (work, arguments.validation, arguments.cryptic, arguments.cryptic_validation, arguments.weights)
    backbone, config = backbone_name(arguments.backbone), finetune_config(arguments)
    job = FinetuneJob(
        arguments.labels, backbone, out, *paths, config, arguments.device, empty=arguments.empty, merge=arguments.merge
    )
    sets = read_sets(job)
    if arguments.dry_run or not quiet:
        print(describe(job, sets, timed=arguments.dry_run, gpu_memory=planned_memory(arguments)), flush=True)
    if arguments.dry_run:
        check_job(job, sets, planned_memory(arguments))
        return 0
    checkpoint = run_finetune(job, sets, quiet=quiet)
    if not quiet:
        for head, figures in checkpoint.card["validation"].items():
            auprc, threshold, mcc = (figures[key] for key in ("auprc", "threshold", "mcc"))
            print(f"validation, {head} sites: AUPRC {auprc:.4f}; MCC {mcc:.4f} at the threshold {threshold:.2f}")
        print(f"wrote {out}, licence {checkpoint.card['licence']} ({checkpoint.card['licence_reason']})")
    return 0


def _add_smooth_train(commands: Any) -> None:
    parser = commands.add_parser(
        "smooth-train",
        help="train the smoothing classifier of a checkpoint",
        description="Train the classifier that adds residues near predicted ones, for one checkpoint, with early stopping on "
        "validation clusters. Log, learning curve and a state to resume from are written to the work folder.",
        epilog="The embeddings of a fine-tuned model are in-sample for the chains it was trained on: only clusters that neither "
        "it nor the smoother has seen give valid metrics. Give the split the checkpoint was trained with (--split).",
    )
    add_smoothing(parser, "runs/smooth-train")
    option(parser, "-o --output", "CKPT", "checkpoint to write (.safetensors)", Path, required=True)
    parser.set_defaults(run=partial(_run_smooth_train, parser))


def add_smoothing(parser: argparse.ArgumentParser, work: str) -> None:
    """Add the data and options of a training of the smoothing classifier."""
    add, given = partial(option, parser), SmootherTrainConfig
    source = (
        "folder of complexes (index.csv, chain_clusters.csv), whose sites are the contacts of the ligands; or a label file, "
        "lines of pdb;chain;TYPE;A12 G13;SEQUENCE or the same as CSV, one site per line"
    )
    add("source", "COMPLEXES|LABELS", source, Path)
    add("--model", "CKPT", "checkpoint, by name or path", default=DEFAULT_MODEL)
    add("--structures", "DIR", "structure files for a label file (default: its folder)", Path)
    add("--split", "CSV", "table with columns dataset,id,split (default: split by a hash of the 30 %% identity cluster)", Path)
    add("--weights", "PATH", "weights of the pre-trained backbone, for an adapter (default: found by their name)", Path)
    close = "predicted residues within this distance form the context, in angstrom (published: 10 and 15; default: %(default)g)"
    add("--radius", "A", close, number(Positive), given.context_radius, dest="context_radius")
    negative = "train on non-binding residues within this distance of a binding one (published: 10 and 15; default: %(default)g)"
    add("--negative-radius", "A", negative, number(Positive), given.negative_radius)
    flag(parser, "--own-context", "include a binding residue in its own context, as published", dest="include_self")
    add("--seed", "K", "", int, given.seed)
    add("--max-epochs", "N", "", number(Count), given.max_epochs)
    add("--work", "DIR", "folder of log, learning curve, tables, and states to resume from", Path, Path(work))
    add("--cache", "DIR", "folder of embeddings (default: embeddings in s2p's cache folder)", Path)
    add("--device", None, choices=("auto", "cpu", "cuda"), default="auto")
    flag(parser, "--quiet", "print nothing but errors")


def _run_smooth_train(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.output.suffix != ".safetensors":
        parser.error(f"a checkpoint is a .safetensors file, not {arguments.output.name}")
    from s2p.training.smoother import train_smoother

    started = time.perf_counter()
    checkpoint, sites = open_sites(arguments)
    config = chosen(SmootherTrainConfig(), arguments)
    training, validation = known_examples(arguments, checkpoint.model, sites)
    device = next(checkpoint.model.parameters()).device
    smoother, log = train_smoother(training, validation, config, folder=arguments.work, device=device, quiet=arguments.quiet)
    write_smoother(arguments, checkpoint, sites, config, smoother, log)
    (silent if arguments.quiet else print)(f"{time.perf_counter() - started:.0f} s")
    return 0


def silent(_: str) -> None:
    """Print nothing, in place of ``print``."""


def note(message: str) -> None:
    """Print a sentence on standard error."""
    print(f"note: {message}", file=sys.stderr)


def open_sites(arguments: argparse.Namespace) -> tuple[Checkpoint, dict[str, list[KnownSites]]]:
    """The checkpoint, and training and validation structures with their sites; makes the folders that will be written to.

    :class:`S2PError` if something is missing or does not fit together.
    """
    from s2p.checkpoint import load_checkpoint
    from s2p.io.files import make_folder
    from s2p.io.runtime import pick_device
    from s2p.training.known_sites import read_known_sites

    say = silent if arguments.quiet else print
    checkpoint = load_checkpoint(arguments.model, backbone=arguments.weights, device=pick_device(arguments.device))
    make_folder(arguments.work)
    if arguments.output is not None:
        make_folder(arguments.output.parent)
    sites = read_known_sites(arguments.source, splits=arguments.split, structures=arguments.structures, quiet=arguments.quiet)
    counts = ", ".join(f"{len(items)} {name}" for name, items in sites.items())
    say(f"{arguments.source}: {counts} structures, split by {arguments.split or 'a hash of their clusters'}")
    if arguments.split is None:
        say("note: validation is valid only if the checkpoint was not trained on those clusters; give its split with --split")
    return checkpoint, sites


def known_examples(
    arguments: argparse.Namespace, model: ResidueModel, sites: dict[str, list[KnownSites]]
) -> tuple[Sequence[SmoothingExample], Sequence[SmoothingExample]]:
    """Training and validation examples with the embeddings of a language model."""
    from s2p.training.known_sites import embed_structures, smoothing_examples

    embed = partial(embed_structures, model, folder=arguments.cache, note=note, quiet=arguments.quiet)
    training, validation = (smoothing_examples(sites[x], [e for _, e in embed(sites[x])]) for x in ("train", "validation"))
    return training, validation


def write_smoother(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    sites: dict[str, list[KnownSites]],
    config: SmootherTrainConfig,
    smoother: Smoother,
    log: Sequence[EpochLog],
) -> None:
    """Draw the learning curve and, if an output is requested, write the checkpoint with its new smoother.

    :class:`S2PError` if the checkpoint cannot be written.
    """
    from s2p.checkpoint import save_checkpoint
    from s2p.evaluation.guard import CARD_KEY, training_sketch
    from s2p.training.curves import learning_curves

    say = silent if arguments.quiet else print
    kept = max(log, key=lambda entry: entry.validation_auprc)
    auprc, curve = kept.validation_auprc, arguments.work / "learning_curve.png"
    learning_curves(log, [], curve, kept=kept)
    say(f"validation AUPRC {auprc:.4f} over the pairs, {len(log)} epochs; {curve}")
    if arguments.output is None:
        return
    training = asdict(config) | {"validation_auprc": round(auprc, 4), "epochs": len(log)}
    training |= {
        "structures": {name: len(items) for name, items in sites.items()},
        "split": str(arguments.split.name) if arguments.split else "hash of the clusters",
        "note": "embeddings are in-sample for chains the language model was trained on; thresholds are those of the old smoother",
    }
    learned = {f"{x.key}|{chain}": x.structure.sequence(chain) for x in sites["train"] for chain in x.structure.chains}
    training[CARD_KEY] = training_sketch(learned)
    card = checkpoint.card | {"smoother": training, "smoother_of": checkpoint.name}
    save_checkpoint(replace(checkpoint, name=arguments.output.stem, smoother=smoother, card=card), arguments.output)
    if config.context_radius != SmoothingConfig.radius:
        say(f"note: `s2p predict` forms contexts within {SmoothingConfig.radius:g} Å, not {config.context_radius:g}")
    say(f"wrote {arguments.output}; its thresholds are unchanged: tune them again on validation before relying on them")
