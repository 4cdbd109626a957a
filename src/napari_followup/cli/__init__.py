"""The command line: ``napari-followup demo | detect | impute | train | synthesize | ...``.

One module a subcommand; each reads its arguments, calls the library and prints. Nothing heavy is
loaded before a subcommand runs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from napari_followup.cli import (
    align,
    bundle,
    change,
    demo,
    detect,
    evaluate,
    impute,
    study,
    synthesize,
    train,
)

__all__ = ["main", "parser"]

COMMANDS = (demo, align, change, detect, impute, train, synthesize, evaluate, study, bundle)
EXPECTED = (OSError, ValueError, TypeError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments
        Words of the command line; those of the process if not given.

    Returns
    -------
    int
        0 when all went well, 1 when part of the work failed or something unforeseen happened,
        2 when nothing could be done with what was given, 130 when interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = parser().parse_args(words)
    args.command_line = shlex.join(["napari-followup", *words])  # result files say it
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("napari-followup: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        is_expected = isinstance(error, EXPECTED) and bool(str(error))
        text = str(error) if is_expected else f"{type(error).__name__}: {error}; --debug tells more"
        print(f"napari-followup: error: {' '.join(text.split())}", file=sys.stderr)
        return 2 if is_expected else 1


def parser() -> argparse.ArgumentParser:
    """Build the parser of all subcommands."""
    whole = _Parser(
        prog="napari-followup",
        description="Find what is abnormal in a series of images of one subject. "
        "A research tool, not a medical device.",
    )
    whole.add_argument("--version", action=_Version)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--debug", action="store_true", help="show where in the code an error arose"
    )
    subcommands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subcommands, shared)
    return whole


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as every error here is said."""

    def error(self, message: str) -> NoReturn:
        """Say it and leave."""
        self.exit(2, f"{self.prog}: error: {message}; --help tells more\n")


class _Version(argparse.Action):
    """Print the version, looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Answer and leave."""
        from importlib.metadata import version

        print(f"napari-followup {version('napari-followup')}")
        parser.exit()
