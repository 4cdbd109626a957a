"""``napari-followup synthesize``: made-up series, healthy or with an anomaly and its truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import write_maps, write_tiff
from napari_followup.cli.options import Subcommands, add_seed, check_out, counted

if TYPE_CHECKING:
    from napari_followup.stack import VisitStack

__all__ = ["add_parser", "run"]

HEALTHY = "healthy"
SUFFIXES = (".npz", ".tif", ".tiff")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "synthesize",
        parents=[shared],
        help="make up series",
        description="Writes a series (visit, y, x) or a cohort (subject, visit, y, x), with ages. "
        "The truth stands in the .npz as 'truth', and beside a TIFF in NAME_truth.tif.",
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz or .tif file")
    parser.add_argument("--kind", default=HEALTHY, help="healthy (default) or an anomaly")
    parser.add_argument("--subjects", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--visits", type=int, default=10, help="of each subject (default: 10)")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        help="standard deviation, of grey values in [0, 1] (default: 0)",
    )
    parser.add_argument(
        "--validation-share",
        type=float,
        metavar="SHARE",
        help="mark the last subjects as 'val' and the others as 'train', for --split (.npz only)",
    )
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make up and write."""
    import numpy as np

    from napari_followup.synthetic import add_anomaly, starmen

    if args.out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out: got {args.out.name!r}; end the name in {', '.join(SUFFIXES)}")
    if args.out.is_dir():
        raise IsADirectoryError(f"out: {str(args.out)!r} is a folder; give a file")
    check_out(args.out.parent)
    split = _split(args)
    series = starmen(args.subjects, visits=args.visits, seed=args.seed, noise=args.noise)
    drawn: list[tuple[VisitStack, Any]] = [(stack, None) for stack in series]
    if args.kind != HEALTHY:
        drawn = [
            add_anomaly(stack, args.kind, seed=args.seed + n) for n, stack in enumerate(series)
        ]
    arrays: dict[str, Any] = {
        "images": np.stack([stack.images[:, 0, 0] for stack, _ in drawn]),
        "ages": np.stack([stack.ages for stack, _ in drawn]),
        "subject": np.array([stack.subject for stack, _ in drawn]),
    }
    if args.kind != HEALTHY:
        arrays["truth"] = np.stack([truth[:, 0] for _, truth in drawn])
    if split:
        arrays["split"] = np.array(split)
    if args.subjects == 1:
        arrays = {name: values[0] for name, values in arrays.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print(_told(args, split))
    for path in _write(args, arrays, series[0]):
        print(path)
    return 0


def _split(args: argparse.Namespace) -> list[str]:
    """One word a subject, or none at all where no share was asked for."""
    share = args.validation_share
    if share is None:
        return []
    if args.out.suffix.lower() != ".npz":
        raise ValueError("validation-share: a TIFF cannot hold it; end the name of --out in .npz")
    if not 0 < share < 1 or args.subjects < 2:
        raise ValueError(
            f"validation-share: got {share} of {counted(args.subjects, 'subject')}; give a share "
            "between 0 and 1, and 2 subjects or more"
        )
    last = min(max(1, round(share * args.subjects)), args.subjects - 1)
    return ["train"] * (args.subjects - last) + ["val"] * last


def _told(args: argparse.Namespace, split: list[str]) -> str:
    who = counted(args.subjects, "healthy subject")
    if args.kind != HEALTHY:
        who = f"{counted(args.subjects, 'subject')} with {args.kind}"
    parts = [f"{who}, {counted(args.visits, 'visit')} each"]
    if split:
        parts.append(", ".join(f"{split.count(word)} {word}" for word in ("train", "val")))
    return ": ".join(parts)


def _write(args: argparse.Namespace, arrays: dict[str, Any], example: VisitStack) -> list[Path]:
    from importlib.metadata import version

    said = {
        "software": "napari-followup",
        "version": version("napari-followup"),
        "command": args.command_line,
        "seed": args.seed,
    }
    is_cohort = arrays["images"].ndim == 4
    if args.out.suffix.lower() == ".npz":
        axes = {"axes": "svyx" if is_cohort else "vyx"}
        return [write_maps(args.out, arrays | axes | {"kind": args.kind}, said)]
    axes_of_tiff, ages = "QTYX" if is_cohort else "TYX", arrays["ages"]
    written = [write_tiff(args.out, arrays["images"], example, said, axes_of_tiff, ages)]
    if "truth" in arrays:
        beside = args.out.with_name(f"{args.out.stem}_truth{args.out.suffix}")
        written.append(write_tiff(beside, arrays["truth"], example, said, axes_of_tiff, ages))
    return written
