"""The command ``s2p``: parses, calls, prints.

Exit status: 0 success, 1 an input failed, 2 wrong usage, 130 interrupted. Large modules are imported inside the commands, so
that ``s2p --help`` is immediate, and only the requested command is imported. A subcommand is an ``add`` function, which
declares its arguments (:func:`option`, :func:`flag`) and sets ``run``; the larger ones have a module in :mod:`s2p.commands`.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args

from s2p import __version__
from s2p.config import Checked, Natural
from s2p.errors import S2PError, sentence

__all__ = ["build_parser", "chosen", "epochs", "flag", "formats", "main", "names", "number", "option"]

C = TypeVar("C", bound=Checked)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status (wrong usage raises ``SystemExit(2)``, as argparse does)."""
    _open_streams()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:
        if _printed():
            raise
        return 1
    return status if _printed() else 1


def _run(argv: Sequence[str]) -> int:
    try:
        parser = build_parser(next(iter(argv), ""))
        if not argv:
            parser.print_help()
            return 0
        arguments = parser.parse_args(argv)
        if getattr(arguments, "quiet", False):
            logging.getLogger("s2p").setLevel(logging.ERROR)
        status: int = arguments.run(arguments)
        return status
    except KeyboardInterrupt as interrupt:
        _fail(str(interrupt) or "interrupted")
        return 130
    except Exception as error:
        if isinstance(error, OSError) and not _printed("\n"):  # not if something else could not be written
            return 1
        return _fail(sentence(error))


def _open_streams() -> None:
    """Open closed standard streams on the null device, so that no file takes their place; writing to closed output fails."""
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode))  # noqa: SIM115 - for as long as the program runs
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a chain name must not crash a terminal that is not UTF-8
            stream.reconfigure(errors="replace")


def _printed(more: str = "") -> bool:
    """Whether all output, and ``more``, could be printed; if not, report it and discard the rest."""
    try:
        print(more, end="", flush=True)
        return True
    except OSError as error:  # a full disk, a reader like `head` that has ended, a closed stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter prints an error at exit
        _fail(f"standard output cannot be written ({error.strerror}); the files that were written are complete")
        return False


def _fail(message: str) -> int:
    try:
        print(f"s2p: error: {message}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return 1


class Parser(argparse.ArgumentParser):
    """A parser that accepts inputs between options, and suggests a correction for a misspelt word."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but unknown arguments are refused here, by the subcommand they were passed to."""
        found, extras = super().parse_known_args(args, namespace)
        end = extras.index("--") if "--" in extras else len(extras)
        unknown = [text for text in extras[:end] if text.startswith("-")]
        if extras and not unknown and isinstance(getattr(found, "inputs", None), list):
            found.inputs += extras[:end] + extras[end + 1 :]
        elif extras:
            guess = _guess(unknown[0].partition("=")[0], self._option_string_actions) if unknown else ""
            self.error(f"unrecognized arguments: {' '.join(extras)}{guess}")
        return found, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            raise argparse.ArgumentError(action, error.message + _guess(value, action.choices or ())) from None


def _guess(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser with the requested subcommand, or with all if it is not in :data:`HOMES`."""
    parser = Parser(
        prog="s2p",
        description="Find ligand-binding pockets of a protein structure with a protein language model (Seq2Pocket).",
        epilog="`s2p COMMAND --help` lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"s2p {__version__}", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for home in dict.fromkeys([HOMES[command]] if command in HOMES else HOMES.values()):
        import_module(f"s2p.commands.{home}").add(commands)
    _add_view(commands)
    _add_notebook(commands)
    _add_completion(commands)
    return parser


def _add_view(commands: Any) -> None:
    parser = commands.add_parser(
        "view",
        help="open the report of a prediction",
        description="Open the HTML report of a prediction, or the index of the reports of several.",
    )
    option(parser, "folder", "PREDICTION_DIR", "folder written by `s2p predict`, or one report in it", Path)
    flag(parser, "--no-open", "print the path without opening it")
    parser.set_defaults(run=_run_view)


def _add_notebook(commands: Any) -> None:
    parser = commands.add_parser(
        "notebook",
        help="run a numbered notebook",
        description="Run a notebook of the repository from top to bottom with papermill.",
    )
    option(parser, "name", "NN", "number of the notebook, or its name, e.g. quickstart")
    pair = ("KEY", "VALUE")
    option(parser, "-r", pair, "set a parameter (repeatable)", default=[], nargs=2, action="append", dest="parameters")
    option(parser, "-o --output", "DIR", "folder for the executed notebook", Path, Path("runs"))
    parser.set_defaults(run=_run_notebook)


def _add_completion(commands: Any) -> None:
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands with the tab key",
        description="Print a script that completes s2p's commands and options with the tab key. For bash, add this line to "
        '~/.bashrc: eval "$(s2p completion bash)"; for zsh, write the script to a file _s2p in a folder of your $fpath.',
    )
    option(parser, "shell", None, choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(run=_run_completion)


def _run_completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(build_parser(), arguments.shell))
    return 0


INDEX = "index.html"
"""File that a batch writes next to its reports, with a link to each."""


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
        print("there are several reports; give the path of the one to open", file=sys.stderr)
    elif not arguments.no_open:
        import webbrowser

        if not webbrowser.open(pages[0].resolve().as_uri()):
            print("no browser could be started; open the file yourself", file=sys.stderr)
    return 0


def _run_notebook(arguments: argparse.Namespace) -> int:
    from s2p.commands.notebook import run_notebook

    print(f"wrote {run_notebook(arguments.name, arguments.parameters, arguments.output, progress=sys.stderr.isatty())}")
    return 0


# Options and the types of their values: wrong values are reported before anything runs.


def option(
    parser: argparse._ActionsContainer,
    names: str,
    metavar: str | tuple[str, ...] | None,
    text: str = "",
    kind: Callable[[str], Any] | None = None,
    default: Any = None,
    **more: Any,
) -> None:
    """Add an argument with a value, whose help ends with its default unless it mentions one; ``more`` is for argparse."""
    if default not in (None, []) and "default" not in text:
        shown = f"default: %(default){'g' if isinstance(default, float) else 's'}"
        text = f"{text} ({shown})" if text else shown
    values = {"metavar": metavar, "help": text or None, "type": kind, "default": default} | more
    parser.add_argument(*names.split(), **{key: value for key, value in values.items() if value is not None})


def flag(parser: argparse._ActionsContainer, names: str, text: str, **more: Any) -> None:
    """Add an option without a value."""
    parser.add_argument(*names.split(), action="store_true", help=text, **more)


def chosen(config: C, arguments: argparse.Namespace) -> C:
    """A configuration whose fields are set by the options with the same ``dest``."""
    given = {entry.name: getattr(arguments, entry.name, None) for entry in fields(config)}  # type: ignore[arg-type]
    return replace(config, **{name: value for name, value in given.items() if value is not None})  # type: ignore[type-var]


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list of at least one name."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise argparse.ArgumentTypeError("needs at least one name")
    return found


def formats(text: str) -> tuple[str, ...]:
    """Output formats, in the order of :data:`s2p.output.files.FORMATS`; csv is always one of them."""
    from s2p.output.files import FORMATS, MAPS

    known = (*FORMATS, *MAPS)
    wanted = tuple(name.lower() for name in names(text))
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown format {name!r}; the formats are {', '.join(known)}")
    return tuple(name for name in known if name in {"csv", *wanted})


def epochs(text: str) -> tuple[int, int]:
    """Epochs of the head alone and of all weights, as ``H,A``; at least one in total."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not two whole numbers, e.g. 2,1: of the head alone, and of everything")
    head, full = map(number(Natural), parts)
    if head + full == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: at least one epoch is needed")
    return head, full


def number(wanted: Any) -> Callable[[str], Any]:
    """Parser of a number within the bounds of a configuration: ``number(Share)``."""
    kind, bounds = get_args(wanted)

    def parse(text: str) -> Any:
        with suppress(ValueError):
            if bounds.holds(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole number' if kind is int else 'number'} {bounds}")

    return parse
