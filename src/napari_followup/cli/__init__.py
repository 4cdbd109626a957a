"""The command line: ``napari-followup demo | detect | impute | train | synthesize | ...``.

One module per subcommand: it parses the arguments, calls the library and prints the result. torch
and other large packages are loaded only when a subcommand needs them.
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
        Words of the command line; by default those of the process.

    Returns
    -------
    int
        0 on success, 1 if part of the work failed or an unexpected error occurred, 2 if the input
        could not be used at all, 130 if interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = parser().parse_args(words)
    args.command_line = shlex.join(["napari-followup", *words])  # it is written into result files
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("napari-followup: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        is_expected = isinstance(error, EXPECTED) and bool(str(error))
        text = str(error)
        if not is_expected:
            text = f"{type(error).__name__}: {error}; run again with --debug to see where"
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
    shared.add_argument("--debug", action="store_true", help="print the traceback of an error")
    subcommands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subcommands, shared)
    return whole


class _Parser(argparse.ArgumentParser):
    """A parser whose errors take one line, like all errors of this command."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


class _Version(argparse.Action):
    """Print the version; it is looked up on demand."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        from importlib.metadata import version

        print(f"napari-followup {version('napari-followup')}")
        parser.exit()
