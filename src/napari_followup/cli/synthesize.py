"""``napari-followup synthesize``: generate series, healthy or with an anomaly and its truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import write_maps, write_tiff
from napari_followup.cli.options import Subcommands, add_seed, check_out, counted

if TYPE_CHECKING:
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]

HEALTHY = "healthy"
GENERATORS = ("starmen", "phantom")
SUFFIXES = (".npz", ".tif", ".tiff")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "synthesize",
        parents=[shared],
        help="generate synthetic series",
        description="Writes a series (visit, y, x) or a cohort (subject, visit, y, x), with a z "
        "before y if --depth is 2 or more, and with ages. The truth is stored as 'truth' in an "
        ".npz, and as NAME_truth.tif beside a TIFF.",
    )
    _add_generator(parser)
    parser.add_argument("--out", type=Path, required=True, help=".npz or .tif file")
    parser.add_argument(
        "--kind",
        default=HEALTHY,
        help=f"{HEALTHY} (default) or an anomaly, such as growing_circle of starmen or "
        "brighter_blob of phantoms; the error for an unknown kind lists all",
    )
    parser.add_argument("--subjects", type=int, default=1, help="number of subjects (default: 1)")
    parser.add_argument("--visits", type=int, default=10, help="visits per subject (default: 10)")
    parser.add_argument(
        "--noise",
        type=float,
        help="standard deviation, for grey values in [0, 1] (default: 0; 0.02 for phantoms)",
    )
    parser.add_argument(
        "--validation-share",
        type=float,
        metavar="SHARE",
        help="assign the last subjects to the split 'val', the others to 'train' (.npz only)",
    )
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_generator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "generator",
        nargs="?",
        choices=GENERATORS,
        default="starmen",
        help="starmen (default): figures that raise a hand; phantom: heads whose ventricles widen",
    )
    parser.add_argument(
        "--size", type=int, help="rows and columns of a phantom, in pixels (default: 64)"
    )
    parser.add_argument("--depth", type=int, help="planes of a phantom (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Generate and write."""
    import numpy as np

    if args.out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out: got {args.out.name!r}; end the name in {', '.join(SUFFIXES)}")
    if args.out.is_dir():
        raise IsADirectoryError(f"out: {str(args.out)!r} is a folder; give a file")
    check_out(args.out.parent)
    split = _split(args)
    drawn = _drawn(args, _healthy(args))
    arrays = _arrays(drawn)
    if split:
        arrays["split"] = np.array(split)
    if args.subjects == 1:
        arrays = {name: values[0] for name, values in arrays.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print(_summary(args, split))
    for path in _write(args, arrays, drawn[0][0]):
        print(path)
    return 0


def _healthy(args: argparse.Namespace) -> list[VisitStack]:
    from napari_followup.synthetic import phantoms, starmen

    wished = {"visits": args.visits, "seed": args.seed}
    wished |= {} if args.noise is None else {"noise": args.noise}
    if args.generator == "phantom":
        side = args.size if args.size is not None else 64
        depth = args.depth if args.depth is not None else 1
        return phantoms(args.subjects, size=(side, side), depth=depth, **wished)
    for name in ("size", "depth"):
        if getattr(args, name) is not None:
            raise ValueError(f"{name}: starmen have 64 x 64 pixels; leave it out or use phantom")
    return starmen(args.subjects, **wished)


def _drawn(args: argparse.Namespace, series: list[VisitStack]) -> list[tuple[VisitStack, Any]]:
    """Draw an anomaly into each subject, with a seed of its own; healthy series have no truth."""
    from napari_followup.synthetic import ANOMALIES, add_anomaly
    from napari_followup.synthetic.generic import GENERIC_ANOMALIES, draw

    if args.kind == HEALTHY:
        return [(stack, None) for stack in series]
    own = ANOMALIES if args.generator == "starmen" else ()
    known = (HEALTHY, *own, *GENERIC_ANOMALIES)
    if args.kind not in known:
        raise ValueError(f"kind: got {args.kind!r}; {args.generator} has {', '.join(known)}")
    drawer = add_anomaly if args.kind in own else draw
    return [drawer(stack, args.kind, seed=args.seed + n) for n, stack in enumerate(series)]


def _arrays(drawn: list[tuple[VisitStack, Any]]) -> dict[str, Any]:
    """Arrays of the file, one entry per subject; z is left out if there is one plane."""
    import numpy as np

    plane: Any = 0 if drawn[0][0].shape[2] == 1 else slice(None)
    arrays: dict[str, Any] = {
        "images": np.stack([stack.images[:, 0, plane] for stack, _ in drawn]),
        "ages": np.stack([stack.ages for stack, _ in drawn]),
        "subject": np.array([stack.subject for stack, _ in drawn]),
    }
    if drawn[0][1] is not None:
        arrays["truth"] = np.stack([truth[:, plane] for _, truth in drawn])
    return arrays


def _split(args: argparse.Namespace) -> list[str]:
    """Split of each subject; empty if no share was given."""
    share = args.validation_share
    if share is None:
        return []
    if args.out.suffix.lower() != ".npz":
        raise ValueError("validation-share: a TIFF has no splits; end the name of --out in .npz")
    if not 0 < share < 1 or args.subjects < 2:
        raise ValueError(
            f"validation-share: got {share} of {counted(args.subjects, 'subject')}; give a share "
            "between 0 and 1, and 2 subjects or more"
        )
    last = min(max(1, round(share * args.subjects)), args.subjects - 1)
    return ["train"] * (args.subjects - last) + ["val"] * last


def _summary(args: argparse.Namespace, split: list[str]) -> str:
    who = counted(args.subjects, "healthy subject")
    if args.kind != HEALTHY:
        who = f"{counted(args.subjects, 'subject')} with {args.kind}"
    parts = [f"{who}, {counted(args.visits, 'visit')} each"]
    if split:
        parts.append(", ".join(f"{split.count(word)} {word}" for word in ("train", "val")))
    return ": ".join(parts)


def _write(args: argparse.Namespace, arrays: dict[str, Any], example: VisitStack) -> list[Path]:
    from importlib.metadata import version

    about = {
        "software": "napari-followup",
        "version": version("napari-followup"),
        "command": args.command_line,
        "seed": args.seed,
    }
    is_cohort = arrays["ages"].ndim == 2
    zyx = "yx" if example.shape[2] == 1 else "zyx"
    if args.out.suffix.lower() == ".npz":
        placed: dict[str, Any] = {"axes": ("sv" if is_cohort else "v") + zyx, "kind": args.kind}
        if example.unit != "pixel":
            placed |= {"spacing": example.spacing, "unit": example.unit}
        return [write_maps(args.out, arrays | placed, about)]
    axes, ages = ("QT" if is_cohort else "T") + zyx.upper(), arrays["ages"]
    written = [write_tiff(args.out, arrays["images"], example, about, axes, ages)]
    if "truth" in arrays:
        beside = args.out.with_name(f"{args.out.stem}_truth{args.out.suffix}")
        written.append(write_tiff(beside, arrays["truth"], example, about, axes, ages))
    return written
