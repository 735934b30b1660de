"""``s2p finetune``: train the residue model on own labels. ``s2p smooth-train``: train the smoothing classifier of a checkpoint.

What both know of their training (:func:`add_finetuning`, :func:`add_smoothing` and the functions beside them) also serves the
recipes and studies of the repository that train the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import Moved, chosen, epochs, moved, number
from s2p.config import DEFAULT_MODEL, Count, Positive, Share, SmoothingConfig
from s2p.errors import S2PError
from s2p.training.config import FinetuneConfig, SmootherTrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2p.checkpoint import Checkpoint
    from s2p.residues.smoothing import Smoother
    from s2p.training.known_sites import KnownSites
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
    add_finetuning(parser, "runs/finetune")
    parser.add_argument("--resume", action="store_true", help="resume the run in the work folder")
    parser.set_defaults(run=partial(_run_finetune, parser))


def add_finetuning(parser: argparse.ArgumentParser, work: str, config: str | None = None) -> None:
    """Options of a fine-tuning; without ``config`` the user chooses it."""
    if config is None:
        parser.add_argument("--config", choices=("default", "published"), default="default", help="default: %(default)s")
    else:
        parser.set_defaults(config=config)
    parser.add_argument(
        "--epochs", type=epochs, metavar="H,A", help="epochs of the head alone, and of all (default: the config's)"
    )
    parser.add_argument(
        "--lora", dest="lora_rank", type=number(Count), metavar="RANK", help="train low-rank updates in place of the weights"
    )
    parser.add_argument(
        "--checkpointing", action="store_true", default=None, help="store less, compute more: for large backbones"
    )
    parser.add_argument(
        "--eight-bit", action=argparse.BooleanOptionalAction, help="AdamW with 8-bit states on CUDA (default: the config's)"
    )
    parser.add_argument(
        "--batch-tokens", dest="token_budget", type=number(Count), metavar="N", help="tokens in a batch (default: the config's)"
    )
    parser.add_argument(
        "--micro-tokens", dest="micro_tokens", type=number(Count), metavar="N", help="tokens that go through at once"
    )
    parser.add_argument(
        "--ema", dest="ema_decay", type=number(Share), metavar="D", help="keep a moving average of the weights, of this decay"
    )
    parser.add_argument("--label-smoothing", type=number(Share), metavar="S", help="share of each label moved to the other class")
    parser.add_argument("--seed", type=int, metavar="K", help="default: the config's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path(work), metavar="DIR", help="logs and states (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print counts, steps, memory and time, and stop")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def finetune_config(arguments: argparse.Namespace) -> FinetuneConfig:
    """The configuration that the options of :func:`add_finetuning` ask for."""
    if arguments.epochs:
        arguments.head_epochs, arguments.full_epochs = arguments.epochs
    return chosen(FinetuneConfig.published() if arguments.config == "published" else FinetuneConfig(), arguments)


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
        finetune_config(arguments),
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


def _add_smooth_train(commands: Any) -> None:
    parser = commands.add_parser(
        "smooth-train",
        help="train the smoothing classifier of a checkpoint",
        description="Train the classifier that adds residues around predicted ones, for one checkpoint, with early stopping on "
        "validation clusters. The log, the learning curve and a state to resume from go to the work folder.",
        epilog="The embeddings of a fine-tuned model are in-sample for the chains it was trained on: figures count on clusters "
        "that neither it nor the smoother has seen. Give the split the checkpoint was trained with (--split).",
    )
    add_smoothing(parser, "runs/smooth-train")
    parser.add_argument(
        "--embeddings",
        choices=("finetuned", "frozen"),
        default="finetuned",
        help="of the checkpoint's own language model, or of the pre-trained one; `s2p predict` runs one language model only, so "
        "a smoother of frozen embeddings is trained and judged but not written (default: %(default)s)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="CKPT", help="checkpoint to write (.safetensors)")
    for option, command in (("--search", "search"), ("--ablation", "ablation"), ("--seeds", "ablation … --seeds N")):
        parser.add_argument(option, action=Moved, now=moved(f"python -m benchmarks.studies.smoothing {command}"))
    parser.set_defaults(run=partial(_run_smooth_train, parser))


def add_smoothing(parser: argparse.ArgumentParser, work: str) -> None:
    """Data and options of a training of the smoothing classifier."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="COMPLEXES|LABELS",
        help="folder of complexes (index.csv, chain_clusters.csv), sites being the contacts of the ligands; or a label file, "
        "lines of pdb;chain;TYPE;A12 G13;SEQUENCE or the same as CSV, every line a site",
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="CKPT", help="checkpoint, by name or path (default: %(default)s)"
    )
    parser.add_argument("--structures", type=Path, metavar="DIR", help="structure files of a label file (default: beside it)")
    parser.add_argument(
        "--split", type=Path, metavar="CSV", help="columns dataset,id,split (default: by a hash of the 30 %% identity cluster)"
    )
    parser.add_argument("--weights", type=Path, metavar="PATH", help="weights of the pre-trained backbone, for frozen embeddings")
    parser.add_argument(
        "--radius",
        dest="context_radius",
        type=number(Positive),
        default=SmootherTrainConfig.context_radius,
        metavar="A",
        help="residues this close form the context, in angstrom (published: 10 and 15; default: %(default)g)",
    )
    parser.add_argument(
        "--negative-radius",
        type=number(Positive),
        default=SmootherTrainConfig.negative_radius,
        metavar="A",
        help="non-binding residues this close to a binding one are learned from (published: 10 and 15; default: %(default)g)",
    )
    parser.add_argument(
        "--own-context", dest="include_self", action="store_true", help="let a binding residue into its own context, as published"
    )
    parser.add_argument("--seed", type=int, default=SmootherTrainConfig.seed, metavar="K", help="default: %(default)s")
    parser.add_argument(
        "--max-epochs", type=number(Count), default=SmootherTrainConfig.max_epochs, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(work),
        metavar="DIR",
        help="log, learning curve, tables, and states: a stopped run resumes from there (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of embeddings (default: embeddings in s2p's cache folder)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _run_smooth_train(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.embeddings == "frozen" and arguments.output:
        parser.error("a smoother of frozen embeddings cannot go into a checkpoint: leave -o out, or use --embeddings finetuned")
    if arguments.embeddings != "frozen":
        if arguments.output is None:
            parser.error("say where to write the checkpoint: -o NAME.safetensors")
        if arguments.output.suffix != ".safetensors":
            parser.error(f"a checkpoint is a .safetensors file, not {arguments.output.name}")

    from s2p.training.smoother import train_smoother

    started = time.perf_counter()
    checkpoint, sites = open_sites(arguments)
    config = chosen(SmootherTrainConfig(), arguments)
    training, validation = known_examples(arguments, checkpoint, sites, arguments.embeddings)
    device = next(checkpoint.model.parameters()).device
    smoother, log = train_smoother(training, validation, config, folder=arguments.work, device=device, quiet=arguments.quiet)
    write_smoother(arguments, checkpoint, sites, config, smoother, log)
    (silent if arguments.quiet else print)(f"{time.perf_counter() - started:.0f} s")
    return 0


def silent(_: str) -> None:
    """Takes the place of ``print``."""


def note(message: str) -> None:
    """A sentence on standard error."""
    print(f"note: {message}", file=sys.stderr)


def open_sites(arguments: argparse.Namespace) -> tuple[Checkpoint, dict[str, list[KnownSites]]]:
    """The checkpoint, and training and validation structures with their sites; makes the folders that will be written to.

    Raises
    ------
    S2PError
        If something is missing or does not fit together.
    """
    from s2p.checkpoint import load_checkpoint
    from s2p.io.files import make_folder
    from s2p.io.runtime import pick_device
    from s2p.training.known_sites import read_known_sites

    say = silent if arguments.quiet else print
    checkpoint = load_checkpoint(arguments.model, device=pick_device(arguments.device))
    make_folder(arguments.work)
    if arguments.output is not None:
        make_folder(arguments.output.parent)
    sites = read_known_sites(arguments.source, splits=arguments.split, structures=arguments.structures, quiet=arguments.quiet)
    counts = ", ".join(f"{len(items)} {name}" for name, items in sites.items())
    say(f"{arguments.source}: {counts} structures, split by {arguments.split or 'a hash of their clusters'}")
    if arguments.split is None:
        say("note: validation is honest only if the checkpoint was not trained on those clusters; give its split with --split")
    return checkpoint, sites


def known_examples(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    sites: dict[str, list[KnownSites]],
    kind: str,
) -> tuple[Sequence[SmoothingExample], Sequence[SmoothingExample]]:
    """Training and validation examples with ``finetuned`` or ``frozen`` embeddings."""
    from s2p.training.known_sites import embed_structures, frozen_model, smoothing_examples

    model = checkpoint.model
    if kind == "frozen":
        model = frozen_model(model.name, arguments.weights, device=next(model.parameters()).device)
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
    """Draw the learning curve and, where an output is asked for, write the checkpoint with its new smoother.

    Raises
    ------
    S2PError
        If the checkpoint cannot be written.
    """
    from s2p.checkpoint import save_checkpoint
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
    card = checkpoint.card | {"smoother": training, "smoother_of": checkpoint.name}
    written = replace(checkpoint, name=arguments.output.stem, smoother=smoother, card=card)
    try:
        save_checkpoint(written, arguments.output)
    except OSError as error:
        raise S2PError(f"cannot write {arguments.output} ({error.strerror or error})") from None
    if config.context_radius != SmoothingConfig.radius:
        say(f"note: `s2p predict` forms contexts within {SmoothingConfig.radius:g} Å, not {config.context_radius:g}")
    say(f"wrote {arguments.output}; its thresholds are unchanged: tune them again on validation before relying on them")
