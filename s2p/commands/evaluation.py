"""``s2p evaluate``: predictors against known ligands."""

from __future__ import annotations

import argparse
import sys
from itertools import product
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from s2p.commands import flag, names, number, option
from s2p.config import DEFAULT_MODEL, Count, Empty, Positive
from s2p.evaluation.config import OURS, BenchmarkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2p.evaluation.cases import CaseSet
    from s2p.evaluation.guard import Seen
    from s2p.evaluation.intervals import Summary
    from s2p.evaluation.runner import Run
    from s2p.evaluation.tables import Cost

__all__ = ["add", "add_cases", "cases_of", "guard"]

ALL = (*OURS, "kalasanty", "vabsnet")
"""Meaning of ``--predictor all``: the models that find pockets of small molecules."""
NUCLEIC = {"crossbind": "any", "crossbind-dna": "dna", "crossbind-rna": "rna"}
"""Predictors of contacts with nucleic acids, and the kind."""
PEERS = "PocketNet Fpocket FpocketRs FpocketRsDruggability P2Rank PyKVFinder Pocketeer RandomPatch LargestCavity".split()
"""Classes of ``benchmarks.peers``: other people's programs and baselines, in a clone of the repository."""


def add_cases(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is evaluated, and on which proteins."""
    dataset = (
        "'mini' (the bundled complexes); a label file, one site per line; or a folder: complexes with index.csv and "
        "chain_clusters.csv, LIGYSIS with chains.csv, structures with labels.csv or labels.txt, or with ligands inside"
    )
    option(parser, "--dataset", "NAME|FILE|DIR", dataset, required=True)
    option(parser, "--split-table", "CSV", "table with columns dataset,id,split of complexes (default: the repository's)", Path)
    option(parser, "--structures", "DIR", "structure files for a label file (default: its folder)", Path)
    empty = "proteins without a site: use them, skip them, or stop (default: %(default)s)"
    option(parser, "--empty", None, empty, choices=get_args(Empty), default="use")
    option(parser, "--model", "NAME|PATH", "checkpoint of the predictor s2p", default=DEFAULT_MODEL)
    option(parser, "--limit", "N", "at most N proteins, spread over clusters", number(Count))
    trained = parser.add_mutually_exclusive_group()
    flag(trained, "--allow-trained", "continue if the checkpoint was trained on the proteins, or does not say")
    flag(trained, "--skip-trained", "leave out proteins that the checkpoint was trained on")
    flag(parser, "--quiet", "print nothing but errors")


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        help="measure predictors on complexes with known ligands or nucleic acids",
        description="Run predictors on a data set and write tables of sites, proteins, metrics with intervals, and failures. "
        "If a predictor crashes or hangs on a structure, the sites of that structure count as missed.",
    )
    add_cases(parser)
    option(parser, "--split", "NAME", "split of complexes (default: test) or LIGYSIS (default: validation)")
    contacts = (
        "evaluate residues that touch nucleic acid of this kind in a structure file, or in those of a folder (default: what "
        "crossbind, crossbind-dna or crossbind-rna predict if they are evaluated; otherwise ligands)"
    )
    option(parser, "--contacts", None, contacts, choices=("any", "dna", "rna"))
    predictor = (
        "predictors, repeatable or comma-separated: s2p, s2p-published, s2p-clustered or s2p-no-smoothing (--model with these "
        "settings), kalasanty, vabsnet, 'all' of these, crossbind, crossbind-dna, crossbind-rna, the path of a checkpoint, or "
        "package.module:Class; other programs and baselines, in a clone of the repository, are "
        f"benchmarks.peers:{', '.join(PEERS)}, and for nucleic acids those of benchmarks.peers.nucleic (default: s2p)"
    )
    which = parser.add_mutually_exclusive_group()
    option(which, "--predictor", "NAME", predictor, names, [], action="extend")
    option(which, "--method", None, "method of s2p (published: s2p-published)", choices=("surface", "published"))
    option(parser, "--workers", "N", "number of processes", number(Count), 1)
    option(parser, "--timeout", "S", "seconds allowed for one structure", number(Positive), BenchmarkConfig.timeout)
    flag(parser, "--resume", "resume the run in the output folder")
    option(parser, "-o --output", "DIR", "", Path, Path("runs/evaluate"))
    parser.set_defaults(run=_run_evaluate)


def cases_of(arguments: argparse.Namespace, split: str | None) -> CaseSet:
    """The cases selected by the options of :func:`add_cases`; :class:`S2PError` if there are none."""
    from s2p.evaluation.cases import find_cases

    more = {key: getattr(arguments, key) for key in ("limit", "structures", "empty")}
    more["contacts"] = getattr(arguments, "contacts", None)
    return find_cases(arguments.dataset, split, splits=arguments.split_table, **more)


def guard(cases: CaseSet, predictors: Sequence[str], arguments: argparse.Namespace) -> tuple[CaseSet, dict[str, Seen]]:
    """The cases that may be used, and what is known about the training of each predictor.

    :class:`S2PError` if a checkpoint was trained on relatives of some cases or has no record of its training, and no option says
    how to proceed.
    """
    from s2p.evaluation.guard import guard_cases

    n = len(cases.cases)
    cases, seen = guard_cases(cases, arguments.model, predictors, allow=arguments.allow_trained, skip=arguments.skip_trained)
    if len(cases.cases) < n:
        print(f"{n - len(cases.cases)} proteins left out, because their relatives were in the training data", file=sys.stderr)
    for name, known in seen.items():
        if known.trained_on:
            print(f"{name} was {known} (--allow-trained)", file=sys.stderr)
    return cases, seen


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from s2p.evaluation.runner import run_benchmark
    from s2p.evaluation.tables import cost, write_tables

    wanted = _predictors(arguments.predictor or ["s2p-published" if arguments.method == "published" else "s2p"])
    if arguments.contacts is None and (own := {NUCLEIC[name] for name in wanted if name in NUCLEIC}):
        arguments.contacts = own.pop() if len(own) == 1 else "any"
    cases = cases_of(arguments, arguments.split)
    cases, seen = guard(cases, wanted, arguments)
    hide = arguments.quiet or not sys.stderr.isatty()

    def step(name: str, done: int, total: int) -> None:
        bar.set_description(name)
        bar.update()

    with tqdm(total=len(cases.cases) * len(wanted), unit="protein", disable=hide, leave=False) as bar:
        how = {"model": arguments.model, "workers": arguments.workers, "resume": arguments.resume, "trained": seen}
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
    """Names to evaluate, each once; refuses unknown predictors before anything runs."""
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
            from s2p.checkpoint import checkpoint_format

            checkpoint_format(name, (*OURS, "all"))
    return wanted


def _table(run: Run, figures: dict[str, dict[str, Summary]], costs: dict[str, Cost]) -> str:
    """Table of the results of every predictor: a row per metric, a column per rank; at most 120 characters wide."""
    from s2p.evaluation.intervals import recall_name

    config = run.config
    first = next(iter(run.records.values()), [])
    blank = sum(r.protein.status != "unreadable" and "1" not in r.labels for r in first)
    n, sites = len(first), sum(len(r.sites) for r in first)
    name = ", ".join(filter(None, (run.facts["dataset"], run.facts["split"])))
    lines = [f"{name}: {n} protein{'s' * (n != 1)}, {sites} site{'s' * (sites != 1)}" + f"; {blank} without a site" * bool(blank)]
    if not any(r.sites for r in first) and any("1" in r.labels for r in first):
        lines.append("Only residues are labelled, not single sites, so there are metrics of residues and none of sites.")
    elif any(figures.values()):
        lines.append("Share of sites found, with 95 % intervals. DCC: pocket's centre to the ligand's centroid;")
        lines.append("DCC CA: to the mean CA of the site's residues, as published; DCA: to the ligand's closest atom.")
    for name, table in figures.items():
        lines += ["", f"{name[-39:]:<40}" + "".join(f"{f'top {rank}':<22}" for rank in config.ranks)]
        for measure, cutoff in product(("dcc", "dcc CA", "dca"), (config.strict_hit, config.loose_hit)):
            row = [table.get(recall_name(measure, cutoff, rank)) for rank in config.ranks]
            if not all(cell is None or isnan(cell.value) for cell in row):
                lines.append(f"{f'  {measure.upper()} < {cutoff:g} Å':<40}" + "".join(f"{cell!s:<22}" for cell in row))
        for group in (
            ("PFI", "merging", "sites missed"),
            ("best residue overlap",),
            ("residue average precision", "residue MCC"),
            ("residue AUPRC, mean of proteins", "residue MCC, mean of proteins"),
        ):
            if known := [f"{key} {table[key]}" for key in group if key in table and not isnan(table[key].value)]:
                lines.append("  " + "; ".join(known))
        spent = costs[name]
        lines.append(f"  {spent.n_failed} failed; {spent.seconds:.2f} s and at most {spent.peak_mb:.0f} MB a protein")
        lines.append(f"  training: {run.training(name)}")
    return "\n".join(line.rstrip() for line in lines)
