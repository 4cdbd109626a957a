"""Series named on a command line, one after another; one that fails does not end the others'."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.cli.options import FORMATS, Subcommands

if TYPE_CHECKING:
    from napari_followup.series.stack import VisitStack

__all__ = ["FAILURES", "add_series", "read_series", "tell_failure"]

# What one bad file or one series too large may raise without ending the others' run.
FAILURES = (OSError, ValueError, TypeError, MemoryError, ArithmeticError, RuntimeError)


def add_series(parser: Subcommands) -> None:
    """SERIES, --out, --split and --axes."""
    parser.add_argument("series", nargs="+", metavar="SERIES", help=f"series: {FORMATS}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    parser.add_argument(
        "--axes", help="one letter an axis, s(ubject) v(isit) m(odality) z y x, such as svyx"
    )


def read_series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series with the file it comes from, or what went wrong when the file was read."""
    from napari_followup.io import files_in, read_stacks

    for given in map(Path, args.series):
        try:
            files = files_in(given) if given.is_dir() else [given]
        except FAILURES as error:
            yield given, error
            continue
        for file in files:
            try:
                stacks = read_stacks(file, split=args.split, axes=args.axes)
                if len(stacks) > 1:
                    print(f"{file}: taken as a cohort of {len(stacks)} subjects", flush=True)
                for stack in stacks:
                    yield file, stack
            except FAILURES as error:
                yield file, error


def tell_failure(source: Path, error: Exception) -> None:
    """Name on stderr the series that failed."""
    text = str(error).removeprefix(f"{source.name!r}: ")  # as reading names it
    print(f"napari-followup: error: {source}: {text}", file=sys.stderr)
