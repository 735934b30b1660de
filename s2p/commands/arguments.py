"""Types of command-line arguments: what is wrong with a value is said before anything runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Moved", "epochs", "formats", "names", "positive", "probability"]


class Moved(argparse.Action):
    """An option or subcommand that has become a command of its own: names that, and stops with the status of wrong usage."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, command: str, nargs: str = "?", required: bool = False
    ) -> None:
        super().__init__(option_strings, dest, nargs=nargs, required=required, help=argparse.SUPPRESS)
        self.command = command

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: object, option: str | None = None) -> None:
        name = option or parser.prog
        parser.exit(2, f"s2p: error: {name} is now `{self.command}`, run from a copy of the repository\n")


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
    """Epochs of the head alone and of everything, as ``H,A``; at least one in all."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not two whole numbers, e.g. 2,1: of the head alone, and of everything")
    head, full = (_number(part, int) for part in parts)
    if head < 0 or full < 0 or head + full == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: at least one epoch is needed, and none can be negative")
    return head, full


def probability(text: str) -> float:
    """A number from 0 to 1."""
    value: float = _number(text, float)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """A finite number above zero."""

    def parse(text: str) -> Any:
        value = _number(text, kind)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    return parse


def _number(text: str, kind: type[int] | type[float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {'a whole number' if kind is int else 'a number'}") from None
