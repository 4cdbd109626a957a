"""``napari-followup align``: register the visits of one subject; write them on one grid."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import check_file, modality_of, subject_of, write_series
from napari_followup.cli.options import Subcommands, add_seed, countdown, stop_at_interrupt

if TYPE_CHECKING:
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "align",
        parents=[shared],
        help="register the visits of one subject to the first one",
        description="Registers every visit rigidly to the first one, resamples it onto the grid of "
        "the first one and writes one series. Needs SimpleITK: pip install 'napari-followup[mri]'.",
    )
    parser.add_argument(
        "visits",
        nargs="+",
        metavar="VISIT",
        help="one file per visit, in order; or one table of visits, folder or series",
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz, .nii or .nii.gz file")
    parser.add_argument("--ages", type=float, nargs="+", metavar="YEARS", help="one age per file")
    parser.add_argument("--subject", help="subject to align, if there are several")
    parser.add_argument(
        "--reference",
        type=int,
        metavar="VISIT",
        help="the visit that does not move, counted from 1 by age (default: the first)",
    )
    parser.add_argument("--modality", help="the one to register by (default: the first)")
    parser.add_argument(
        "--interpolation",
        default="linear",
        choices=["linear", "cubic", "nearest"],
        help="how images are resampled (default: linear)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="more are faster, but results differ slightly from run to run (default: 1)",
    )
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, align, write."""
    from napari_followup.alignment.align import align
    from napari_followup.alignment.rigid import need_simpleitk
    from napari_followup.series.results import Cancelled

    need_simpleitk()
    check_file(args.out)
    visits = _visits(args)
    reference = _reference(args, visits)
    start = time.monotonic()
    with stop_at_interrupt("step") as stopped:
        try:
            aligned = align(
                visits,
                reference=reference,
                modality=modality_of(visits[0], args.modality),
                interpolation=args.interpolation,
                seed=args.seed,
                threads=args.threads,
                on_step=_step(stopped),
            )
        except Cancelled:
            print("stopped; nothing was written")
            return 130
    for visit in aligned.provenance["steps"][-1]["visits"]:
        print(_line(visit, aligned.unit))
    write_series(args.out, aligned, args.command_line)
    seconds = time.monotonic() - start
    missing = int(aligned.is_missing.sum())
    print(
        f"{args.out}: {aligned.subject}, {aligned.n_visits} visits on one grid"
        f"{f', {missing} of them missing' if missing else ''} ({seconds:.1f} s)"
    )
    return 0


def _visits(args: argparse.Namespace) -> list[VisitStack]:
    """Every visit of one subject; at least two."""
    from napari_followup.io import read_stacks
    from napari_followup.io.kinds import TABLES, suffix_of
    from napari_followup.io.manifest import read_visits

    paths = [Path(path) for path in args.visits]
    if len(paths) > 1:
        stacks = read_visits(paths, ages=args.ages)
    elif args.ages is not None:
        raise ValueError(
            "ages: give them with several files, one per visit, and not with a table or series"
        )
    elif paths[0].is_dir() or suffix_of(paths[0]) in TABLES:
        stacks = read_visits(paths[0], keep_missing=True)
    else:
        stacks = read_stacks(paths[0])
    stacks = subject_of(stacks, args.subject)
    if sum(int((~stack.is_missing).sum()) for stack in stacks) < 2:
        raise ValueError(f"{args.visits[0]!r} holds one visit; give two or more to align")
    return stacks


def _reference(args: argparse.Namespace, visits: list[VisitStack]) -> int | None:
    """Index of the visit that does not move, if one is named."""
    count = sum(stack.n_visits for stack in visits)
    if args.reference is None:
        return None
    if not 1 <= args.reference <= count:
        raise ValueError(
            f"reference: got {args.reference}; there are {count} visits, counted from 1 by age"
        )
    return int(args.reference) - 1


def _step(stopped: Callable[[], bool]) -> Callable[[int, int], bool]:
    report = countdown("level")

    def step(done: int, total: int) -> bool:
        if 0 < done < total:  # the lines of the visits report the end
            report(done, total)
        return not stopped()

    return step


def _line(visit: dict[str, Any], unit: str) -> str:
    if visit["matrix"] is None:
        return f"{visit['visit']}: missing"
    away = visit["mean_displacement"]
    moved = [f"moved by {away:.2f} {unit} on average"] if away else []
    return f"{visit['visit']}: {'; '.join([*moved, *visit['notes']])}"
