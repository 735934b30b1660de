"""``s2p smooth-train``: train the smoothing classifier of a checkpoint, search for a better one, or run the ablation."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.studies.smoothing import SmootherAblationConfig
from s2p.commands.arguments import positive
from s2p.config import DEFAULT_MODEL, SmoothingConfig
from s2p.errors import S2PError
from s2p.training.config import SmootherTrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.studies.smoothing import Kind, Trial
    from s2p.checkpoint import Checkpoint
    from s2p.training.known_sites import KnownSites
    from s2p.training.smoother import SmoothingExample

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "smooth-train",
        help="train the smoothing classifier of a checkpoint",
        description="Train the classifier that adds residues around predicted ones, for one checkpoint, with early stopping on "
        "validation clusters. The log, the learning curve and a state to resume from go to the work folder.",
        epilog="The embeddings of a fine-tuned model are in-sample for the chains it was trained on: figures count on clusters "
        "that neither it nor the smoother has seen. Give the split the checkpoint was trained with (--split).",
    )
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
    parser.add_argument(
        "--embeddings",
        choices=("finetuned", "frozen"),
        help="of the checkpoint's own language model, or of the pre-trained one; `s2p predict` runs one language model only, so "
        "a smoother of frozen embeddings is trained and judged but not written (default: finetuned; the ablation: both)",
    )
    parser.add_argument("--weights", type=Path, metavar="PATH", help="weights of the pre-trained backbone, for frozen embeddings")
    parser.add_argument(
        "--radius",
        type=positive(float),
        default=SmootherTrainConfig.context_radius,
        metavar="A",
        help="residues this close form the context, in angstrom (published: 10 and 15; default: %(default)g)",
    )
    parser.add_argument(
        "--negative-radius",
        type=positive(float),
        default=SmootherTrainConfig.negative_radius,
        metavar="A",
        help="non-binding residues this close to a binding one are learned from (published: 10 and 15; default: %(default)g)",
    )
    parser.add_argument(
        "--own-context", action="store_true", help="let a binding residue into its own context when training, as published"
    )
    parser.add_argument("--search", type=positive(int), metavar="N", help="try N random settings besides the default; best wins")
    parser.add_argument(
        "--ablation", action="store_true", help="compare settings over several seeds; writes tables, no checkpoint"
    )
    parser.add_argument(
        "--seeds",
        type=positive(int),
        default=len(SmootherAblationConfig.seeds),
        metavar="N",
        help="of the ablation (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=SmootherTrainConfig.seed, metavar="K", help="default: %(default)s")
    parser.add_argument(
        "--max-epochs", type=positive(int), default=SmootherTrainConfig.max_epochs, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/smooth-train"),
        metavar="DIR",
        help="log, learning curve, tables, and states: a run that was stopped goes on from there (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of embeddings (default: embeddings in s2p's cache folder)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, metavar="CKPT", help="checkpoint to write (.safetensors)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.ablation and (arguments.search or arguments.output):
        parser.error("--ablation compares settings and writes no checkpoint: leave --search and -o out")
    if arguments.embeddings == "frozen" and arguments.output:
        parser.error("a smoother of frozen embeddings cannot go into a checkpoint: leave -o out, or use --embeddings finetuned")
    if arguments.embeddings != "frozen" and not arguments.ablation:
        if arguments.output is None:
            parser.error("say where to write the checkpoint: -o NAME.safetensors")
        if arguments.output.suffix != ".safetensors":
            parser.error(f"a checkpoint is a .safetensors file, not {arguments.output.name}")

    from s2p.checkpoint import load_checkpoint
    from s2p.io.files import make_folder
    from s2p.io.runtime import pick_device
    from s2p.training.known_sites import read_known_sites

    started = time.perf_counter()
    say = _silent if arguments.quiet else print
    checkpoint = load_checkpoint(arguments.model, device=pick_device(arguments.device))
    make_folder(arguments.work)
    if arguments.output is not None:
        make_folder(arguments.output.parent)
    sites = read_known_sites(arguments.source, splits=arguments.split, structures=arguments.structures, quiet=arguments.quiet)
    counts = ", ".join(f"{len(items)} {name}" for name, items in sites.items())
    say(f"{arguments.source}: {counts} structures, split by {arguments.split or 'a hash of their clusters'}")
    if arguments.split is None:
        say("note: validation is honest only if the checkpoint was not trained on those clusters; give its split with --split")
    config = SmootherTrainConfig(
        max_epochs=arguments.max_epochs,
        context_radius=arguments.radius,
        negative_radius=arguments.negative_radius,
        include_self=arguments.own_context,
        seed=arguments.seed,
    )
    if arguments.ablation:
        _ablate(arguments, checkpoint, sites, config)
    else:
        trial = _train(arguments, checkpoint, sites, config)
        if arguments.output is not None:
            _write(arguments, checkpoint, trial, {name: len(items) for name, items in sites.items()})
    say(f"{time.perf_counter() - started:.0f} s")
    return 0


def _silent(_: str) -> None:
    """Takes the place of ``print``."""


def _note(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)


def _examples(
    arguments: argparse.Namespace, checkpoint: Checkpoint, sites: dict[str, list[KnownSites]], kind: Kind
) -> tuple[Sequence[SmoothingExample], Sequence[SmoothingExample]]:
    """Training and validation examples; in the ablation, validation ones also say what the checkpoint predicts."""
    from s2p.training.known_sites import embed_structures, frozen_model, predicted_residues, smoothing_examples

    embed = partial(embed_structures, folder=arguments.cache, note=_note, quiet=arguments.quiet)
    own = checkpoint.model
    device = next(own.parameters()).device
    model = own if kind == "finetuned" else frozen_model(own.name, arguments.weights, device=device)
    training = smoothing_examples(sites["train"], [e for _, e in embed(model, sites["train"])])
    validation = sites["validation"]
    embeddings = [e for _, e in embed(model, validation)]
    predicted = None
    if arguments.ablation:
        logits = [x for x, _ in embed(own, validation)]
        predicted = [predicted_residues(checkpoint, v.structure, x) for v, x in zip(validation, logits, strict=True)]
    return training, smoothing_examples(validation, embeddings, predicted)


def _ablate(
    arguments: argparse.Namespace, checkpoint: Checkpoint, sites: dict[str, list[KnownSites]], config: SmootherTrainConfig
) -> None:
    from benchmarks.studies.smoothing import ablation

    ablation(
        partial(_examples, arguments, checkpoint, sites),
        config,
        arguments.work / "ablation",
        SmootherAblationConfig(seeds=tuple(range(config.seed, config.seed + arguments.seeds))),
        kinds=("finetuned", "frozen") if arguments.embeddings is None else (arguments.embeddings,),
        device=next(checkpoint.model.parameters()).device,
        quiet=arguments.quiet,
        say=_silent if arguments.quiet else print,
    )
    if not arguments.quiet:
        print(f"wrote {arguments.work / 'ablation' / 'ablation.csv'}")


def _train(
    arguments: argparse.Namespace, checkpoint: Checkpoint, sites: dict[str, list[KnownSites]], config: SmootherTrainConfig
) -> Trial:
    from dataclasses import asdict

    from benchmarks.studies.smoothing import Trial, random_search, trial_configs, write_table
    from s2p.training.smoother import train_smoother, write_learning_curve

    training, validation = _examples(arguments, checkpoint, sites, arguments.embeddings or "finetuned")
    device = next(checkpoint.model.parameters()).device
    say = _silent if arguments.quiet else print
    if arguments.search:
        configs = trial_configs(config, arguments.search)
        folder = arguments.work / "search"
        trial = random_search(training, validation, configs, folder, device=device, quiet=arguments.quiet, say=say)
        write_table(arguments.work / "log.csv", [asdict(entry) for entry in trial.log])
    else:
        result = train_smoother(training, validation, config, folder=arguments.work, device=device, quiet=arguments.quiet)
        trial = Trial(config, *result)
    curve = write_learning_curve(arguments.work / "learning_curve.png", trial.log)
    say(f"validation AUPRC {trial.auprc:.4f} over the pairs, {len(trial.log)} epochs; {curve}")
    return trial


def _write(arguments: argparse.Namespace, checkpoint: Checkpoint, trial: Trial, counts: dict[str, int]) -> None:
    from dataclasses import asdict, replace

    from s2p.checkpoint import save_checkpoint

    training = asdict(trial.config) | {"validation_auprc": round(trial.auprc, 4), "epochs": len(trial.log)}
    training |= {
        "structures": counts,
        "split": str(arguments.split.name) if arguments.split else "hash of the clusters",
        "note": "embeddings are in-sample for chains the language model was trained on; thresholds are those of the old smoother",
    }
    card = checkpoint.card | {"smoother": training, "smoother_of": checkpoint.name}
    written = replace(checkpoint, name=arguments.output.stem, smoother=trial.smoother, card=card)
    try:
        save_checkpoint(written, arguments.output)
    except OSError as error:
        raise S2PError(f"cannot write {arguments.output} ({error.strerror or error})") from None
    if arguments.quiet:
        return
    if trial.config.context_radius != SmoothingConfig.radius:
        print(f"note: `s2p predict` forms contexts within {SmoothingConfig.radius:g} Å, not {trial.config.context_radius:g}")
    print(f"wrote {arguments.output}; its thresholds are unchanged: tune them again on validation before relying on them")
