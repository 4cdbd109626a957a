"""Options that several subcommands share, and how their values are read."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.plane_selection import Slicing
    from napari_followup.series.stack import VisitStack

__all__ = [
    "FORMATS",
    "Subcommands",
    "add_device",
    "add_model",
    "add_planes",
    "add_recipe",
    "add_seed",
    "add_split",
    "check_out",
    "countdown",
    "counted",
    "duration",
    "planes_chosen",
    "read_data",
    "recipe_named",
    "stop_at_interrupt",
]

Subcommands = Any
"""What ``ArgumentParser.add_subparsers`` returns; argparse gives it no public type."""

FORMATS = (
    "tables of visits (.csv), NIfTI, TIFF or .npz files, OME-Zarr, BIDS or DICOM folders, or "
    "folders of such files"
)
"""What a series can be read from, for help texts."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """--model: an embedded name or a file."""
    parser.add_argument(
        "--model",
        default="starmen",
        help="name from `bundle list`, or a .safetensors file (default: starmen)",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """--recipe: see `recipe_named`."""
    parser.add_argument(
        "--recipe",
        default="default",
        help="default (the model's own), published (as in the source of its method), temporal "
        "(what came or went between visits; needs a model with a TDM), or a .toml file, where "
        'base = "default" keeps all settings that the file does not name (default: default)',
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """--seed: the same seed gives the same result."""
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device: where torch computes."""
    parser.add_argument(
        "--device", default="auto", help="where to compute: auto, cpu or cuda (default: auto)"
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """--split: some subjects of a cohort file."""
    parser.add_argument(
        "--split", help="use only the subjects that a cohort file assigns to this split"
    )


def add_planes(parser: argparse.ArgumentParser) -> None:
    """--plane-axis and --planes: see `planes_chosen`."""
    parser.add_argument(
        "--plane-axis",
        choices=("z", "y", "x"),
        default="z",
        help="axis of a volume that is perpendicular to its planes (default: z)",
    )
    parser.add_argument(
        "--planes",
        metavar="FIRST:LAST[:STEP]",
        help="planes to examine, counted from 0, without LAST, as in 20:120:2 (default: all)",
    )


def planes_chosen(args: argparse.Namespace) -> Slicing | None:
    """Planes that --plane-axis and --planes name; none if these are all planes along z.

    Raises
    ------
    ValueError
        If the text is no range of planes, or the range is empty.
    """
    from napari_followup.series.plane_selection import Slicing

    parts = (args.planes or "").split(":")
    if len(parts) > 3 or not all(part.isdigit() or not part for part in parts):
        raise ValueError(f"planes: got {args.planes!r}; give first:last or first:last:step")
    if args.planes and len(parts) == 1:
        parts = [parts[0], str(int(parts[0]) + 1)]  # a single plane
    numbers = [int(part) if part else None for part in [*parts, "", ""][:3]]
    chosen = Slicing(args.plane_axis, numbers[0] or 0, numbers[1], numbers[2] or 1)
    return None if chosen.is_whole else chosen


def recipe_named(name: str, bundle: ModelBundle) -> Recipe:
    """Recipe of a model by its name, or from a TOML file that may name one of them as its base.

    Raises
    ------
    FileNotFoundError
        If it is neither.
    ValueError
        If the file is not a valid recipe.
    """
    import tomllib

    from napari_followup.recipe.recipe import Recipe

    if name in bundle.recipes:
        return bundle.recipes[name]
    path = Path(name)
    if not path.is_file():
        other = "" if "temporal" in bundle.recipes else "; temporal needs a model with a TDM"
        raise FileNotFoundError(
            f"recipe: got {name!r}; give {', '.join(bundle.recipes)} or a .toml file{other}"
        )
    try:
        return Recipe.from_dict(tomllib.loads(path.read_text(encoding="utf-8")), bundle.recipes)
    except ValueError as error:
        raise ValueError(f"{path.name!r} is not a valid recipe: {error}") from error


def read_data(paths: Sequence[str], split: str | None = None) -> list[VisitStack]:
    """Healthy series of all files and folders; `split` selects subjects of cohort files."""
    from napari_followup.io import read_healthy

    return [stack for path in paths for stack in read_healthy(path, split=split)]


def check_out(path: Path) -> None:
    """Check before any computing that a folder can be created and written to.

    Raises
    ------
    NotADirectoryError
        If it is a file.
    PermissionError
        If it is not writable.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"out: {str(nearest)!r} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"out: {str(nearest)!r} is not writable; give another folder")


def counted(number: int, noun: str) -> str:
    """Put a number before a noun: 1 visit, 2 visits."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def countdown(
    what: str, every: float = 5.0, *, roughly: bool = False
) -> Callable[[int, int], None]:
    """Make an `on_step` that prints the progress of `what` on stderr every few seconds.

    `roughly` marks the time left as approximate, for steps of different length.
    """
    about = "about " if roughly else ""
    start = time.monotonic()
    shown = start

    def step(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < every and done < total:
            return
        shown = now
        left = (now - start) / done * (total - done)
        print(
            f"{what} {done} of {total}, {about}{duration(left)} left", file=sys.stderr, flush=True
        )

    return step


@contextmanager
def stop_at_interrupt(what: str) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C ask to stop after this `what`; the second one stops at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        print(f"stopping after this {what}; press Ctrl-C again to stop at once", flush=True)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
