"""The command ``s2p``: parses, calls, prints.

Exit status: 0 fine, 1 an input failed, 2 wrong usage, 130 interrupted. Everything heavy is imported inside the commands, so
that ``s2p --help`` is immediate. A subcommand is one ``_add_*`` function, which sets ``run``, and one ``_run_*`` function.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import data, evaluation, smoothing, training
from s2p.commands.arguments import formats, names, positive, probability
from s2p.config import DEFAULT_MODEL, ClusterConfig, PredictConfig
from s2p.errors import S2PError

if TYPE_CHECKING:
    from s2p.batch import Row
    from s2p.benchmark import LigandHit

__all__ = ["build_parser", "main"]

_Subparsers = Any  # argparse's class for this is private


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status (wrong usage raises ``SystemExit(2)``, as argparse does)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a chain name must not crash a terminal that is not UTF-8
            stream.reconfigure(errors="replace")
    arguments = build_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except S2PError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return 130
    except BrokenPipeError:  # the reader, say `head`, has left; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if os.environ.get("S2P_DEBUG"):
            traceback.print_exc()
        return _fail(f"unexpected {type(error).__name__}: {error} (S2P_DEBUG=1 shows where)")


def _fail(message: str) -> int:
    print(f"s2p: error: {message}", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="s2p",
        description="Ligand-binding pockets of a protein structure, found with a protein language model (Seq2Pocket).",
        epilog="s2p COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_predict, _add_view, _add_notebook, smoothing.add, evaluation.add, training.add, data.add):
        add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version("s2p")
        except metadata.PackageNotFoundError:
            version = "unknown (not installed)"
        print(f"s2p {version}")
        parser.exit(0)


def _add_predict(commands: _Subparsers) -> None:
    parser = commands.add_parser(
        "predict",
        help="find the pockets of structures",
        description="Find the pockets of structures and write them as tables, reports and scripts for viewers.",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="structure file (.pdb .ent .cif .mmcif .bcif, or .gz), folder, list file (.txt .lst: one path or id a line), "
        "PDB id, UniProt accession, AF- id",
    )
    parser.add_argument("--chain", type=names, metavar="A,B", help="only these chains (default: all that hold protein)")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|PATH", help="checkpoint (default: %(default)s)")
    parser.add_argument("--backbone", metavar="NAME", help="ESM-2 backbone, where the checkpoint does not bring its own")
    parser.add_argument(
        "--threshold", type=probability, metavar="P", help="residues above this probability bind (default: the checkpoint's)"
    )
    parser.add_argument(
        "--bandwidth",
        type=positive(float),
        default=ClusterConfig.bandwidth,
        metavar="A",
        help="of the mean-shift clustering, in angstrom (default: %(default)g)",
    )
    parser.add_argument("--no-smoothing", action="store_true", help="do not add residues by embedding-supported smoothing")
    parser.add_argument(
        "--ranking",
        choices=("surface", "published"),
        help="how pockets are found and ranked: by a learned score of the surface, or as published (default: the checkpoint's; "
        "published where --threshold, --bandwidth or --no-smoothing is given, which shape those pockets only)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("s2p_out"), metavar="DIR", help="folder to write to (default: %(default)s)"
    )
    parser.add_argument(
        "--format",
        type=formats,
        default=("csv", "json", "html"),
        metavar="F,G",
        help="of csv,json,pdb,pml,cxc,html,box (default: csv,json,html; csv is always written)",
    )
    parser.add_argument("--jobs", type=positive(int), default=1, metavar="N", help="worker processes (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="skip inputs whose outputs are all there and newer than the input")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=_run_predict)


def _add_view(commands: _Subparsers) -> None:
    parser = commands.add_parser(
        "view", help="open the report of a prediction", description="Open the HTML report of a prediction."
    )
    parser.add_argument(
        "folder", type=Path, metavar="PREDICTION_DIR", help="folder that `s2p predict` wrote, or one report in it"
    )
    parser.add_argument("--no-open", action="store_true", help="only print the report's path")
    parser.set_defaults(run=_run_view)


def _add_notebook(commands: _Subparsers) -> None:
    parser = commands.add_parser(
        "notebook",
        help="run a numbered notebook",
        description="Run a notebook of the repository from top to bottom with papermill.",
    )
    parser.add_argument("name", metavar="NN", help="number of the notebook, or its name, e.g. quickstart")
    parser.add_argument(
        "-r",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        dest="parameters",
        help="set a parameter (repeatable)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of the executed notebook (default: %(default)s)",
    )
    parser.set_defaults(run=_run_notebook)


def _run_predict(arguments: argparse.Namespace) -> int:
    from s2p import batch

    config = PredictConfig(
        threshold=arguments.threshold,
        use_smoothing=not arguments.no_smoothing,
        ranking=arguments.ranking,
        cluster=ClusterConfig(bandwidth=arguments.bandwidth),
    )
    options = batch.BatchOptions(
        folder=arguments.output,
        load=partial(batch.load_predictor, arguments.model, arguments.backbone, arguments.device),
        formats=arguments.format,
        chains=arguments.chain,
        config=config,
        resume=arguments.resume,
        quiet=arguments.quiet,
    )
    items = batch.expand_inputs(arguments.inputs)
    single = len(items) == 1
    say: Callable[[str], None] = print
    bar = None
    if not single and not arguments.quiet and sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(total=len(items), unit="structure", file=sys.stderr)
        say = tqdm.write  # prints above the bar
    done = failed = 0
    try:
        with closing(batch.predict_batch(items, options, jobs=arguments.jobs)) as rows:
            for row in rows:
                done += 1
                if row.status == "error":
                    failed += 1
                    print(f"s2p: error: {row.message}", file=sys.stderr)
                elif not arguments.quiet:
                    say(_one_report(row) if single else _one_line(row))
                if bar is not None:
                    bar.update()
    finally:
        if bar is not None:
            bar.close()
        if not single and done and not arguments.quiet:
            print(f"{done - failed} of {len(items)} predicted, {failed} failed; {arguments.output / 'summary.csv'}")
    return 1 if failed else 0


def _pockets(n: int) -> str:
    return "1 pocket" if n == 1 else f"{n} pockets"


def _one_line(row: Row) -> str:
    if row.status == "skipped":
        return f"{row.input}: {row.message}"
    note = f" ({row.message})" if row.message else ""
    return f"{row.input}: {_pockets(row.n_pockets)}, {row.seconds:.1f} s{note}"


SHOWN = 10
"""Pockets in the table of a single input; the file has them all."""


def _one_report(row: Row) -> str:
    """Pockets, known ligands, notes and files of a single input."""
    prediction = row.prediction
    if prediction is None:
        return _one_line(row)
    from s2p.benchmark import ligand_hits

    structure = prediction.structure
    n = len(structure.residues)
    lines = [f"{structure.name}: {n} residues, {_pockets(row.n_pockets)}, {row.seconds:.1f} s ({prediction.model})"]
    if prediction.pockets:
        lines.append(f"{'rank':>4}  {'score':>7}  {'probability':>11}  {'residues':>8}  centre (Å)")
    for p in prediction.pockets[:SHOWN]:
        x, y, z = p.center.tolist()
        lines.append(f"{p.rank:>4}  {p.score:>7.3f}  {p.probability:>11.2f}  {len(p.residues):>8}  {x:8.1f} {y:8.1f} {z:8.1f}")
    if row.n_pockets > SHOWN:
        lines.append(f"   … {row.n_pockets - SHOWN} more")
    lines += [_ligand_line(hit) for hit in ligand_hits(prediction)]
    if row.message:
        lines.append(f"note: {row.message}")
    boxes = [path for path in row.paths if path.name.endswith("_box.txt")]
    lines += [f"wrote {path}" for path in row.paths if path not in boxes]
    if boxes:
        lines.append(f"wrote {boxes[0]}" + (f" … {boxes[-1].name} ({len(boxes)} files)" if len(boxes) > 1 else ""))
    return "\n".join(lines)


def _ligand_line(hit: LigandHit) -> str:
    if not hit.pocket:
        return f"true ligand {hit.ligand}: not found"
    where = f"centre {hit.dca:.1f} Å from its closest atom, {hit.dcc:.1f} Å from its middle"
    if hit.found:
        return f"true ligand {hit.ligand}: found by pocket {hit.pocket}, {where}"
    return f"true ligand {hit.ligand}: not found; nearest is pocket {hit.pocket}, {where}"


def _run_view(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if not folder.exists():
        raise S2PError(f"{folder}: no such folder; make one with: s2p predict INPUT -o {folder}")
    reports = [folder] if folder.is_file() else sorted(folder.glob("*_report.html"))
    if not reports or reports[0].suffix != ".html":
        raise S2PError(f"{folder}: no report (*_report.html) in it; write one with: s2p predict INPUT --format html -o {folder}")
    for report in reports:
        print(report.resolve())
    if len(reports) > 1 and not arguments.no_open:
        print("several reports: name the one to open", file=sys.stderr)
    elif not arguments.no_open:
        import webbrowser

        if not webbrowser.open(reports[0].resolve().as_uri()):
            print("no browser could be started; open the file yourself", file=sys.stderr)
    return 0


def _run_notebook(arguments: argparse.Namespace) -> int:
    from s2p.notebook import run_notebook

    print(f"wrote {run_notebook(arguments.name, arguments.parameters, arguments.output, progress=sys.stderr.isatty())}")
    return 0
