"""A random search for a better smoothing classifier, and the ablation of what it is trained with.

``python -m benchmarks.studies.smoothing search COMPLEXES --trials 20 -o CKPT`` or ``... ablation COMPLEXES``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.published import frozen_model
from benchmarks.studies.smoother_figures import PairFigures, candidate_figures, pair_figures
from s2p.checkpoint import Checkpoint
from s2p.commands import chosen, number
from s2p.commands.training import add_smoothing, known_examples, note, open_sites, silent, write_smoother
from s2p.config import Checked, Count, Natural
from s2p.datasets.labelled import KnownSites
from s2p.errors import S2PError
from s2p.io.files import make_folder, write_csv
from s2p.prediction import sigmoid
from s2p.residues import Smoother
from s2p.structure.reading import Structure
from s2p.training.config import SmootherTrainConfig
from s2p.training.known_sites import embed_structures
from s2p.training.loop import EpochLog
from s2p.training.smoother import SmoothingExample, train_smoother

__all__ = [
    "AblationRow",
    "AblationRun",
    "SmootherAblationConfig",
    "SmootherSearchConfig",
    "Trial",
    "ablation",
    "random_search",
    "summarise_ablation",
    "trial_configs",
    "write_table",
]


@dataclass(frozen=True)
class SmootherSearchConfig(Checked):
    """Ranges of a random search over the smoothing classifier, for 320-dimensional embeddings.

    The paper's ranges, for its larger models: width 256 to 2048, dropout 0.1, 0.3 and 0.5, rate 1e-5 to 1e-3, batch 256 to 4096.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dropouts: tuple[float, ...] = (0.1, 0.3, 0.5)
    lr_range: tuple[float, float] = (1e-4, 3e-3)
    """Learning rates are drawn evenly on a logarithmic scale between these."""
    batch_sizes: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    seed: Natural = 0


@dataclass(frozen=True)
class SmootherAblationConfig(Checked):
    """What the ablation of the smoothing classifier compares, one change from the training configuration at a time."""

    context_radii: tuple[float, ...] = (10.0, 15.0)
    """Å."""
    negative_radii: tuple[float, ...] = (10.0, 15.0)
    """Å; the figures are given over the negatives within each of these."""
    seeds: tuple[int, ...] = (0, 1, 2)


Kind = Literal["finetuned", "frozen"]


@dataclass(frozen=True, eq=False)
class Trial:
    """One training of a search."""

    config: SmootherTrainConfig
    smoother: Smoother
    log: list[EpochLog]

    @property
    def auprc(self) -> float:
        """Validation AUPRC of the epoch that was kept."""
        return max(entry.validation_auprc for entry in self.log)


def trial_configs(base: SmootherTrainConfig, n: int, search: SmootherSearchConfig | None = None) -> list[SmootherTrainConfig]:
    """``base`` and ``n`` random draws; the first draws are the same whatever ``n``."""
    search = search or SmootherSearchConfig()
    draw = np.random.default_rng(search.seed)
    low, high = np.log(search.lr_range)
    configs = [base]
    for _ in range(n):
        width, dropout, batch = (int(draw.integers(len(x))) for x in (search.widths, search.dropouts, search.batch_sizes))
        configs.append(
            replace(
                base,
                width=search.widths[width],
                dropout=search.dropouts[dropout],
                batch_size=search.batch_sizes[batch],
                lr=float(f"{np.exp(draw.uniform(low, high)):.2e}"),
            )
        )
    return configs


def random_search(
    training: Sequence[SmoothingExample],
    validation: Sequence[SmoothingExample],
    configs: Sequence[SmootherTrainConfig],
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> Trial:
    """Train with every configuration and return the trial of the best validation AUPRC.

    ``folder`` gets ``search.csv``, complete after every trial, and ``trial_NN`` with each one's log and state, so that a search
    that was stopped resumes where it was.
    """
    trials: list[Trial] = []
    for k, config in enumerate(configs):
        place = folder / f"trial_{k:02d}"
        trials.append(Trial(config, *train_smoother(training, validation, config, folder=place, device=device, quiet=quiet)))
        write_table(folder / "search.csv", [_trial_row(j, trial) for j, trial in enumerate(trials)])
        if say is not None:
            say(", ".join(f"{key} {value}" for key, value in _trial_row(k, trials[-1]).items()))
    return max(trials, key=lambda trial: trial.auprc)


def _trial_row(k: int, trial: Trial) -> dict[str, Any]:
    c = trial.config
    drawn = {"width": c.width, "dropout": c.dropout, "lr": c.lr, "batch_size": c.batch_size, "seed": c.seed}
    return {"trial": k} | drawn | {"epochs": len(trial.log), "validation_auprc": round(trial.auprc, 4)}


@dataclass(frozen=True)
class AblationRun:
    """One training of the ablation, with its validation figures."""

    embeddings: Kind
    own_context: bool
    context_radius: float
    negative_radius: float
    seed: int
    epochs: int
    pairs: tuple[PairFigures, ...]
    """By :attr:`SmootherAblationConfig.negative_radii`."""
    in_use: PairFigures

    @property
    def setting(self) -> tuple[Kind, bool, float, float]:
        """All but the seed."""
        return self.embeddings, self.own_context, self.context_radius, self.negative_radius


@dataclass(frozen=True)
class AblationRow:
    """Mean and standard deviation over the seeds of one setting."""

    embeddings: Kind
    own_context: bool
    context_radius: float
    negative_radius: float
    seeds: int
    figures: Mapping[str, tuple[float, float]]
    """Column -> (mean, standard deviation)."""


def ablation(
    examples: Callable[[Kind], tuple[Sequence[SmoothingExample], Sequence[SmoothingExample]]],
    config: SmootherTrainConfig,
    folder: Path,
    study: SmootherAblationConfig | None = None,
    *,
    kinds: Sequence[Kind] = ("finetuned", "frozen"),
    device: str | torch.device = "cpu",
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> list[AblationRun]:
    """Change one thing of ``config`` at a time, with every kind of embedding and every seed.

    Parameters
    ----------
    examples
        Training and validation examples for a kind of embedding, made when they are needed: both need not fit in memory.
    folder
        Gets ``ablation_runs.csv`` (every run), ``ablation.csv`` (mean and standard deviation over the seeds), both complete after
        every run, and a folder with log and state for each run.
    """
    study = study or SmootherAblationConfig()
    runs: list[AblationRun] = []
    for kind in kinds:
        training, validation = examples(kind)
        for variant in _variants(config, study):
            for seed in study.seeds:
                own = "own" if variant.include_self else "others"
                place = folder / f"{kind}_{own}_{variant.context_radius:g}_{variant.negative_radius:g}_seed{seed}"
                smoother, log = train_smoother(
                    training, validation, replace(variant, seed=seed), folder=place, device=device, quiet=quiet
                )
                runs.append(_judge(kind, replace(variant, seed=seed), smoother, len(log), validation, study))
                write_table(folder / "ablation_runs.csv", [_run_row(run, study) for run in runs])
                write_table(folder / "ablation.csv", [_summary_row(row) for row in summarise_ablation(runs, study)])
        if say is not None:
            for row in summarise_ablation([run for run in runs if run.embeddings == kind], study):
                say(", ".join(f"{key} {value}" for key, value in _summary_row(row).items()))
    return runs


def summarise_ablation(runs: Sequence[AblationRun], study: SmootherAblationConfig | None = None) -> list[AblationRow]:
    """One row for each setting, in the order of the runs."""
    study = study or SmootherAblationConfig()
    rows = []
    for setting in dict.fromkeys(run.setting for run in runs):
        tables = [_figure_columns(run, study) for run in runs if run.setting == setting]
        values = {key: np.array([table[key] for table in tables]) for key in tables[0]}
        spread = {key: (float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else float("nan")) for key, x in values.items()}
        rows.append(AblationRow(*setting, len(tables), spread))
    return rows


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """CSV of rows with the same columns."""
    make_folder(path.parent)
    return write_csv(path, rows)


def _variants(config: SmootherTrainConfig, study: SmootherAblationConfig) -> Iterator[SmootherTrainConfig]:
    yield config
    yield replace(config, include_self=not config.include_self)
    yield from (replace(config, context_radius=r) for r in study.context_radii if r != config.context_radius)
    yield from (replace(config, negative_radius=r) for r in study.negative_radii if r != config.negative_radius)


def _judge(
    kind: Kind,
    config: SmootherTrainConfig,
    smoother: Smoother,
    epochs: int,
    validation: Sequence[SmoothingExample],
    study: SmootherAblationConfig,
) -> AblationRun:
    reach = config.context_radius
    pairs = tuple(pair_figures(smoother, validation, context_radius=reach, negative_radius=r) for r in study.negative_radii)
    in_use = candidate_figures(smoother, validation, context_radius=reach, candidate_radius=max(study.context_radii))
    return AblationRun(kind, config.include_self, reach, config.negative_radius, config.seed, epochs, pairs, in_use)


def _figure_columns(run: AblationRun, study: SmootherAblationConfig) -> dict[str, float]:
    columns: dict[str, float] = {}
    for radius, figures in zip(study.negative_radii, run.pairs, strict=True):
        columns |= {f"auprc_{radius:g}": figures.auprc, f"mcc_{radius:g}": figures.mcc}
    return columns | {"auprc_in_use": run.in_use.auprc, "mcc_in_use": run.in_use.mcc, "epochs": float(run.epochs)}


def _run_row(run: AblationRun, study: SmootherAblationConfig) -> dict[str, Any]:
    setting = {key: value for key, value in asdict(run).items() if key not in ("pairs", "in_use", "epochs")}
    shares = {f"positive_{r:g}": x.positive for r, x in zip(study.negative_radii, run.pairs, strict=True)}
    shares |= {"positive_in_use": run.in_use.positive}
    return setting | {key: round(value, 4) for key, value in (_figure_columns(run, study) | shares).items()}


def _summary_row(row: AblationRow) -> dict[str, Any]:
    setting = {key: getattr(row, key) for key in ("embeddings", "own_context", "context_radius", "negative_radius", "seeds")}
    for key, (mean, deviation) in row.figures.items():
        setting |= {key: round(mean, 4), f"{key}_sd": round(deviation, 4)}
    return setting


def _search(options: argparse.Namespace) -> None:
    if options.output is not None and options.output.suffix != ".safetensors":
        raise S2PError(f"a checkpoint is a .safetensors file, not {options.output.name}")
    checkpoint, sites = open_sites(argparse.Namespace(**{**vars(options), "weights": None}))  # those are of the frozen model
    training, validation = known_examples(options, checkpoint.model, sites)
    best = random_search(
        training,
        validation,
        trial_configs(chosen(SmootherTrainConfig(), options), options.trials),
        options.work / "search",
        device=next(checkpoint.model.parameters()).device,
        quiet=options.quiet,
        say=silent if options.quiet else print,
    )
    write_table(options.work / "log.csv", [asdict(entry) for entry in best.log])
    write_smoother(options, checkpoint, sites, best.config, best.smoother, best.log)


def predicted_residues(checkpoint: Checkpoint, structure: Structure, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) what the checkpoint predicts before smoothing, from the logits of its language model."""
    flags: NDArray[np.bool_] = sigmoid(logits) > checkpoint.threshold
    return flags


def predicted_examples(
    options: argparse.Namespace, checkpoint: Checkpoint, sites: dict[str, list[KnownSites]], kind: Kind
) -> tuple[Sequence[SmoothingExample], Sequence[SmoothingExample]]:
    """Training and validation examples; those of validation also say what the checkpoint predicts."""
    model = checkpoint.model
    if kind == "frozen":
        model = frozen_model(model.name, options.weights, device=next(model.parameters()).device)
    training, validation = known_examples(options, model, sites)
    items = sites["validation"]
    found = embed_structures(checkpoint.model, items, options.cache, note=note, quiet=options.quiet)
    flags = [predicted_residues(checkpoint, item.structure, logits) for item, (logits, _) in zip(items, found, strict=True)]
    return training, [replace(example, predicted=x) for example, x in zip(validation, flags, strict=True)]


def _ablation(options: argparse.Namespace) -> None:
    config = chosen(SmootherTrainConfig(), options)
    checkpoint, sites = open_sites(argparse.Namespace(**{**vars(options), "weights": None}))  # those are of the frozen model
    ablation(
        partial(predicted_examples, options, checkpoint, sites),
        config,
        options.work / "ablation",
        SmootherAblationConfig(seeds=tuple(range(config.seed, config.seed + options.seeds))),
        kinds=options.embeddings or ("finetuned", "frozen"),
        device=next(checkpoint.model.parameters()).device,
        quiet=options.quiet,
        say=silent if options.quiet else print,
    )
    if not options.quiet:
        print(f"wrote {options.work / 'ablation' / 'ablation.csv'}")


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.smoothing", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    search = commands.add_parser("search", help="train with random settings and keep the classifier that is best on validation")
    study = commands.add_parser("ablation", help="compare settings over several seeds; writes tables, no checkpoint")
    for part, run in ((search, _search), (study, _ablation)):
        add_smoothing(part, "runs/smooth-train")
        part.set_defaults(run=run, output=None)
    search.add_argument(
        "--trials", type=number(Count), default=20, metavar="N", help="besides the default (default: %(default)s)"
    )
    search.add_argument("-o", "--output", type=Path, metavar="CKPT", help="checkpoint to write (.safetensors)")
    study.add_argument("--embeddings", choices=("finetuned", "frozen"), action="append", help="default: both")
    study.add_argument("--seeds", type=number(Count), default=3, metavar="N", help="default: %(default)s")
    options = parser.parse_args(argv)
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
