"""``napari-followup detect``: series in; masks, scores, healthy images and a table out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import detection_rows, file_stem, write_csv, write_detection
from napari_followup.cli.options import (
    Subcommands,
    add_device,
    add_model,
    add_recipe,
    add_seed,
    recipe_named,
)

if TYPE_CHECKING:
    from napari_followup.results import Detection
    from napari_followup.stack import VisitStack

__all__ = ["add_parser", "run"]

# What one bad file or one series too large may raise without ending the others' run.
FAILURES = (OSError, ValueError, TypeError, MemoryError, ArithmeticError, RuntimeError)


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "detect",
        parents=[shared],
        help="find what is abnormal in series",
        description="Writes SUBJECT.npz a subject (and TIFFs for a TIFF) and visits.csv. A series "
        "that fails is named on stderr and does not stop the others; the exit code is then 1.",
    )
    parser.add_argument(
        "series", nargs="+", metavar="SERIES", help=".npz or TIFF files, or folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    add_model(parser)
    add_recipe(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Detect in every series, one after another."""
    from napari_followup.bundle import load_bundle
    from napari_followup.detect import detect
    from napari_followup.device import choose_device

    recipe, bundle = recipe_named(args.recipe), load_bundle(args.model)
    choose_device(args.device)  # a wrong one is the user's error, not each file's
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    failed = 0
    for source, stack in _series(args):
        start = time.monotonic()
        try:
            if isinstance(stack, Exception):
                raise stack
            found = detect(stack, bundle, recipe, device=args.device, seed=args.seed)
            is_tiff = source.suffix.lower() in (".tif", ".tiff")
            write_detection(args.out, file_stem(stack.subject, taken), found, tiff=is_tiff)
        except FAILURES as error:
            if args.debug:
                raise
            failed += 1
            print(f"napari-followup: error: {source}: {error}", file=sys.stderr)
            continue
        rows += detection_rows(found, str(source))
        write_csv(
            args.out / "visits.csv", rows
        )  # each time anew: what is done is kept if the run dies
        print(f"{_line(found)} ({time.monotonic() - start:.1f} s)", flush=True)
    if not rows:
        raise ValueError("nothing could be examined")
    return int(failed > 0)


def _series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series with the file it comes from, or what went wrong when the file was read."""
    from napari_followup.reading import READERS, read_stacks

    for given in map(Path, args.series):
        files = [given]
        if given.is_dir():
            inside = sorted(f for f in given.iterdir() if f.suffix.lower() in READERS)
            files = inside or files  # an empty folder is an error of its own
        for file in files:
            try:
                for stack in read_stacks(file, split=args.split):
                    yield file, stack
            except FAILURES as error:
                yield file, error


def _line(found: Detection) -> str:
    shown = int(found.mask.any(axis=(1, 2, 3)).sum())
    highest = found.image_score[found.stack.is_observed].max()
    return (
        f"{found.stack.subject}: {found.stack.n_visits} visits, {shown} of them marked, "
        f"highest score {highest:.3f} at threshold {found.threshold:.3f}"
    )
