"""The command ``s2p``: parses, calls, prints.

Exit status: 0 fine, 1 an input failed, 2 wrong usage, 130 interrupted. Everything heavy is imported inside the commands, so
that ``s2p --help`` is immediate, and only the command that is asked for is imported. A subcommand is an ``add`` function, which
sets ``run``; the larger ones have a module in :mod:`s2p.commands`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from s2p.commands.arguments import Moved
from s2p.errors import S2PError

__all__ = ["build_parser", "main"]

_Subparsers = Any  # argparse's class for this is private
HOMES = {
    "predict": "predict",
    "design": "design",
    "finetune": "training",
    "smooth-train": "training",
    "evaluate": "evaluation",
    "labels": "data",
    "datasets": "data",
}
"""Subcommand -> the module of this folder that adds it."""
MOVED = {"sweep": "python -m benchmarks.studies.sweep", "reproduce": "python -m benchmarks.recipes.published"}
"""Earlier subcommands, and what is to be run instead."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status (wrong usage raises ``SystemExit(2)``, as argparse does)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a chain name must not crash a terminal that is not UTF-8
            stream.reconfigure(errors="replace")
    argv = sys.argv[1:] if argv is None else argv
    arguments = build_parser(next(iter(argv), "")).parse_args(argv)
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


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser with the subcommand that is asked for, or with all if that is none of :data:`HOMES`."""
    parser = argparse.ArgumentParser(
        prog="s2p",
        description="Ligand-binding pockets of a protein structure, found with a protein language model (Seq2Pocket).",
        epilog="s2p COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for home in dict.fromkeys([HOMES[command]] if command in HOMES else HOMES.values()):
        import_module(f"s2p.commands.{home}").add(commands)
    _add_view(commands)
    _add_notebook(commands)
    for name, command in MOVED.items():
        # No option is known here, so that all that follows the name is one positional argument.
        commands.add_parser(name, add_help=False, prefix_chars="\0").add_argument(
            "rest", nargs="*", action=Moved, command=command
        )
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


def _add_view(commands: _Subparsers) -> None:
    parser = commands.add_parser(
        "view",
        help="open the report of a prediction",
        description="Open the HTML report of a prediction, or the index of the reports of several.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="PREDICTION_DIR", help="folder that `s2p predict` wrote, or one report in it"
    )
    parser.add_argument("--no-open", action="store_true", help="only print the path of what would be opened")
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


INDEX = "index.html"
"""What a batch writes beside its reports, with a link to each."""


def _run_view(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if not folder.exists():
        raise S2PError(f"{folder}: no such folder; make one with: s2p predict INPUT -o {folder}")
    pages = [folder] if folder.is_file() else sorted(folder.glob("*_report.html"))
    if not pages or pages[0].suffix != ".html":
        raise S2PError(f"{folder}: no report (*_report.html) in it; write one with: s2p predict INPUT --format html -o {folder}")
    if len(pages) > 1 and (folder / INDEX).is_file():
        pages = [folder / INDEX]
    for page in pages:
        print(page.resolve())
    if len(pages) > 1 and not arguments.no_open:
        print("several reports: name the one to open", file=sys.stderr)
    elif not arguments.no_open:
        import webbrowser

        if not webbrowser.open(pages[0].resolve().as_uri()):
            print("no browser could be started; open the file yourself", file=sys.stderr)
    return 0


def _run_notebook(arguments: argparse.Namespace) -> int:
    from s2p.commands.notebook import run_notebook

    print(f"wrote {run_notebook(arguments.name, arguments.parameters, arguments.output, progress=sys.stderr.isatty())}")
    return 0
