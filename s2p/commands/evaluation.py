"""``s2p evaluate``: predictors against known ligands."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import flag, names, number, option
from s2p.config import DEFAULT_MODEL, Count, Positive
from s2p.evaluation.config import OURS, BenchmarkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2p.evaluation.cases import CaseSet
    from s2p.evaluation.intervals import Summary
    from s2p.evaluation.runner import Run
    from s2p.evaluation.tables import Cost

__all__ = ["add", "add_cases", "guard"]

ALL = (*OURS, "kalasanty", "vabsnet")
"""What ``--predictor all`` stands for: the models that find pockets of small molecules."""
PEERS = "PocketNet Fpocket FpocketRs FpocketRsDruggability P2Rank PyKVFinder Pocketeer RandomPatch LargestCavity".split()
"""Classes of ``benchmarks.peers``: other people's programs and baselines, in a clone of the repository."""


def add_cases(parser: argparse.ArgumentParser) -> None:
    """Options that say what is evaluated, and on which proteins."""
    dataset = (
        "'mini' (the bundled complexes), or a folder: complexes with index.csv and chain_clusters.csv, LIGYSIS with chains.csv, "
        "structures with labels.csv, or structure files with ligands inside"
    )
    option(parser, "--dataset", "NAME|DIR", dataset, required=True)
    option(parser, "--split-table", "CSV", "dataset,id,split of complexes (default: the repository's)", Path)
    option(parser, "--model", "NAME|PATH", "our checkpoint", default=DEFAULT_MODEL)
    option(parser, "--limit", "N", "at most N proteins, spread over clusters", number(Count))
    trained = parser.add_mutually_exclusive_group()
    flag(trained, "--allow-trained", "continue where the checkpoint was trained on the proteins")
    flag(trained, "--skip-trained", "leave such proteins out")
    flag(parser, "--quiet", "print nothing but errors")


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        help="measure predictors on complexes with known ligands",
        description="Run predictors over a data set and write tables of sites, proteins, figures with intervals, and failures. "
        "A predictor that crashes or hangs on a structure misses the sites of that structure.",
    )
    add_cases(parser)
    option(parser, "--split", "NAME", "of complexes (default: test) or LIGYSIS (default: validation)")
    predictor = (
        "repeatable or comma-separated: s2p, s2p-published, s2p-clustered or s2p-no-smoothing (--model with these settings), "
        "kalasanty, vabsnet, the path of a checkpoint, 'all' of those named, or package.module:Class, as other programs and "
        f"baselines are in a clone of the repository: benchmarks.peers:{', '.join(PEERS)} (default: s2p)"
    )
    which = parser.add_mutually_exclusive_group()
    option(which, "--predictor", "NAME", predictor, names, [], action="extend")
    option(which, "--method", None, "of s2p: the default, or the paper's (s2p-published)", choices=("surface", "published"))
    option(parser, "--workers", "N", "processes", number(Count), 1)
    option(parser, "--timeout", "S", "seconds for one structure", number(Positive), BenchmarkConfig.timeout)
    flag(parser, "--resume", "resume the run in the output folder")
    option(parser, "-o --output", "DIR", "", Path, Path("runs/evaluate"))
    parser.set_defaults(run=_run_evaluate)


def guard(cases: CaseSet, predictors: Sequence[str], arguments: argparse.Namespace) -> tuple[CaseSet, list[str]]:
    """The cases that may be used, and the names of those that relatives of the checkpoint was trained on.

    Raises
    ------
    S2PError
        If the checkpoint was trained on relatives of some, and the options say neither to allow nor to skip them.
    """
    from s2p.evaluation.guard import guard_cases

    n = len(cases.cases)
    cases, trained = guard_cases(cases, arguments.model, predictors, allow=arguments.allow_trained, skip=arguments.skip_trained)
    if len(cases.cases) < n:
        print(f"{n - len(cases.cases)} proteins left out: the checkpoint was trained on relatives of them", file=sys.stderr)
    if trained:
        print(f"the checkpoint was trained on relatives of {len(trained)} of {n} proteins (--allow-trained)", file=sys.stderr)
    return cases, trained


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from s2p.evaluation.cases import find_cases
    from s2p.evaluation.runner import run_benchmark
    from s2p.evaluation.tables import cost, write_tables

    wanted = _predictors(arguments.predictor or ["s2p-published" if arguments.method == "published" else "s2p"])
    cases = find_cases(arguments.dataset, arguments.split, limit=arguments.limit, splits=arguments.split_table)
    cases, trained = guard(cases, wanted, arguments)
    hide = arguments.quiet or not sys.stderr.isatty()

    def step(name: str, done: int, total: int) -> None:
        bar.set_description(name)
        bar.update()

    with tqdm(total=len(cases.cases) * len(wanted), unit="protein", disable=hide, leave=False) as bar:
        how = {"model": arguments.model, "workers": arguments.workers, "resume": arguments.resume, "trained": trained}
        config = BenchmarkConfig(timeout=arguments.timeout)
        run = run_benchmark(cases, wanted, arguments.output, config=config, report=step, **how)
    figures = write_tables(run)
    costs = {name: cost(records) for name, records in run.records.items()}
    if not arguments.quiet:
        print(_table(run, figures, costs))
        print(f"wrote {arguments.output} (sites.csv, proteins.csv, summary.csv, paired.csv, failures.csv)")
    for name, entry in run.facts["predictors"].items():
        if name in wanted and "error" in entry:
            print(f"s2p: error: {name} did not run: {entry['error']}", file=sys.stderr)
    return 1 if any("error" in run.facts["predictors"].get(name, {}) for name in wanted) else 0


def _predictors(asked: list[str]) -> list[str]:
    """Names to evaluate, each once; refuses what no predictor is called, before anything runs."""
    from s2p.errors import S2PError
    from s2p.prediction import names_class, predictor_class

    wanted = list(dict.fromkeys(part for name in asked for part in (ALL if name == "all" else (name,))))
    for name in wanted:
        peer = next((peer for peer in PEERS if peer.lower() == name.replace("-", "").lower()), None)
        if names_class(name):
            predictor_class(name)
        elif peer is not None and not Path(name).exists():
            raise S2PError(f"{name} is not part of the package; in a clone of the repository it is benchmarks.peers:{peer}")
        elif name not in ALL:
            from s2p.predictor import checkpoint_format

            checkpoint_format(name, (*OURS, "all"))
    return wanted


def _table(run: Run, figures: dict[str, dict[str, Summary]], costs: dict[str, Cost]) -> str:
    from s2p.evaluation.intervals import recall_name

    config, (_, plus, _) = run.config, run.config.ranks
    shown = (("dcc", config.strict_hit), ("dcc", config.loose_hit), ("dca", config.strict_hit))
    # Heads, and the names of the figures under them.
    columns = {f"{measure}<{cutoff:g} {plus}": recall_name(measure, cutoff, plus) for measure, cutoff in shown}
    columns |= {"PFI": "PFI", "missed": "sites missed"}
    columns |= {"res. AP": "residue average precision", "res. MCC": "residue MCC"}
    width = max((len(name) for name in figures), default=9) + 2
    lines = [f"{'predictor':<{width}}" + "".join(f"{key:>12}" for key in columns) + f"{'failed':>8}{'s':>9}{'MB':>8}"]
    for name, table in figures.items():
        cells = [f"{table[key].value:>12.3f}" if key in table else f"{'–':>12}" for key in columns.values()]
        spent = costs[name]
        lines.append(f"{name:<{width}}{''.join(cells)}{spent.n_failed:>8}{spent.seconds:>9.2f}{spent.peak_mb:>8.0f}")
    first = next(iter(run.records.values()), [])
    split = f", {run.facts['split']}" if run.facts["split"] else ""
    lines.append(f"{run.facts['dataset']}{split}: {len(first)} proteins, {sum(len(r.sites) for r in first)} sites")
    return "\n".join(lines)
