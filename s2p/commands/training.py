"""``s2p finetune``: train the residue model on own labels. ``s2p reproduce``: the paper's recipe from data to figures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from s2p.commands.arguments import epochs, positive, probability
from s2p.training.config import FinetuneConfig

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the subcommands."""
    _add_finetune(commands)
    _add_reproduce(commands)


def _add_finetune(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="fine-tune an ESM-2 on labelled chains",
        description="Fine-tune an ESM-2 to score binding residues and write a checkpoint that `s2p predict --model` takes. Logs, "
        "learning curves and a state to resume from go to the work folder.",
        epilog="Label files: lines of pdb;chain;TYPE;A12 G13;SEQUENCE (0-based indices), the same as CSV, or records of three "
        "lines (>id, sequence, 0/1). A checkpoint carries the licence of the weights it starts from; its card says which.",
    )
    parser.add_argument("labels", type=Path, metavar="LABELS", help="chains with their binding residues")
    parser.add_argument(
        "--validation", type=Path, metavar="LABELS", help="validation chains (default: a tenth of LABELS, by whole clusters)"
    )
    parser.add_argument("--cryptic", type=Path, metavar="LABELS", help="chains with cryptic sites: they get a head of their own")
    parser.add_argument("--cryptic-validation", type=Path, metavar="LABELS", help="validation chains with cryptic sites")
    parser.add_argument("--backbone", required=True, metavar="NAME", help="fair-esm name or size, e.g. 8M, 650M, 3B")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="weights of the backbone (default: found or downloaded)")
    parser.add_argument("-o", "--output", type=Path, metavar="CKPT", help="checkpoint (default: model.safetensors in --work)")
    _add_training(parser, "runs/finetune")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the work folder")
    parser.set_defaults(run=partial(_run_finetune, parser))


def _add_reproduce(commands: Any) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="repeat a published recipe, from labels to figures",
        description="`published` repeats the paper: ESM-2 3B on enhanced sc-PDB, a smoother on pre-trained embeddings, "
        "thresholds 0.7 and 0.4, bandwidth 9. It prints what it needs and does, and goes on where it was stopped.",
    )
    parser.add_argument("recipe", choices=("published",))
    parser.add_argument("--size", default="3B", metavar="SIZE", help="of the ESM-2 backbone (default: %(default)s)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="label file of the training chains")
    parser.add_argument("--validation", type=Path, metavar="FILE", help="label file (default: clusters of the training chains)")
    parser.add_argument("--structures", type=Path, metavar="DIR", help="structure files (default: fetched from the PDB)")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="weights of the backbone (default: found or downloaded)")
    parser.add_argument("--limit", type=positive(int), metavar="N", help="use the first N chains only")
    parser.add_argument(
        "--smoother-epochs", type=positive(int), metavar="N", help="at most so many for the smoother (default: as published)"
    )
    _add_training(parser, "runs/published", config="published")
    parser.set_defaults(run=partial(_run_reproduce, parser))


def _add_training(parser: argparse.ArgumentParser, work: str, config: str = "default") -> None:
    """What both commands know of the training."""
    if config == "default":
        parser.add_argument("--config", choices=("default", "published"), default=config, help="default: %(default)s")
    else:
        parser.set_defaults(config=config)
    parser.add_argument(
        "--epochs", type=epochs, metavar="H,A", help="epochs of the head alone, and of all (default: the config's)"
    )
    parser.add_argument("--lora", type=positive(int), metavar="RANK", help="train low-rank updates in place of the weights")
    parser.add_argument("--checkpointing", action="store_true", help="store less, compute more: for large backbones")
    parser.add_argument(
        "--eight-bit", action=argparse.BooleanOptionalAction, help="AdamW with 8-bit states on CUDA (default: the config's)"
    )
    parser.add_argument("--batch-tokens", type=positive(int), metavar="N", help="tokens in a batch (default: the config's)")
    parser.add_argument("--micro-tokens", type=positive(int), metavar="N", help="tokens that go through at once")
    parser.add_argument("--ema", type=probability, metavar="D", help="keep a moving average of the weights, of this decay")
    parser.add_argument("--label-smoothing", type=probability, metavar="S", help="share of each label moved to the other class")
    parser.add_argument("--seed", type=int, metavar="K", help="default: the config's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path(work), metavar="DIR", help="logs and states (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print counts, steps, memory and time, and stop")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _config(arguments: argparse.Namespace) -> FinetuneConfig:
    config = FinetuneConfig.published() if arguments.config == "published" else FinetuneConfig()
    given = {
        "lora_rank": arguments.lora,
        "eight_bit": arguments.eight_bit,
        "token_budget": arguments.batch_tokens,
        "micro_tokens": arguments.micro_tokens,
        "ema_decay": arguments.ema,
        "label_smoothing": arguments.label_smoothing,
        "seed": arguments.seed,
        "checkpointing": arguments.checkpointing or None,
    }
    if arguments.epochs:
        given["head_epochs"], given["full_epochs"] = arguments.epochs
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def _run_finetune(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if (arguments.cryptic is None) and arguments.cryptic_validation is not None:
        parser.error("--cryptic-validation needs --cryptic")
    out: Path = arguments.output or arguments.work / "model.safetensors"
    if out.suffix != ".safetensors":
        parser.error(f"-o {out}: a checkpoint is a .safetensors file")
    from s2p.training.job import FinetuneJob, backbone_name, describe, read_sets, run_finetune

    job = FinetuneJob(
        arguments.labels,
        backbone_name(arguments.backbone),
        out,
        arguments.work,
        arguments.validation,
        arguments.cryptic,
        arguments.cryptic_validation,
        arguments.weights,
        _config(arguments),
        arguments.device,
    )
    sets = read_sets(job)
    if arguments.dry_run or not arguments.quiet:
        print(describe(job, sets, timed=arguments.dry_run), flush=True)
    if arguments.dry_run:
        return 0
    checkpoint = run_finetune(job, sets, resume=arguments.resume, quiet=arguments.quiet)
    if not arguments.quiet:
        for head, figures in checkpoint.card["validation"].items():
            auprc, threshold, mcc = (figures[key] for key in ("auprc", "threshold", "mcc"))
            print(f"validation, {head} sites: AUPRC {auprc:.4f}; MCC {mcc:.4f} at the threshold {threshold:.2f}")
        print(f"wrote {out}, licence {checkpoint.card['licence']} ({checkpoint.card['licence_reason']})")
    return 0


def _run_reproduce(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from benchmarks.recipes.published import Reproduction, describe, reproduce
    from s2p.training.job import backbone_name

    plan = Reproduction(
        backbone_name(arguments.size),
        arguments.work,
        arguments.labels,
        arguments.validation,
        arguments.structures,
        arguments.weights,
        arguments.limit,
        _config(arguments),
        arguments.smoother_epochs,
        arguments.device,
    )
    if arguments.dry_run or not arguments.quiet:
        print(describe(plan), flush=True)
    if not arguments.dry_run:
        reproduce(plan, quiet=arguments.quiet)
    return 0
