"""``napari-followup change``: map the change between two visits of a series."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import check_file, modality_of, subject_of, write_series
from napari_followup.cli.options import Subcommands

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "change",
        parents=[shared],
        help="map the change between two visits of a series",
        description="Writes one image: signed change in units of noise, above 0 where the later "
        "visit is brighter. The visits must lie on one grid (see align).",
    )
    parser.add_argument("series", metavar="SERIES", help="aligned series of one subject")
    parser.add_argument(
        "--visits",
        type=int,
        nargs=2,
        required=True,
        metavar="VISIT",
        help="two visits, counted from 1 by age; the change goes from the earlier to the later one",
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz, .nii or .nii.gz file")
    parser.add_argument(
        "--mask",
        type=Path,
        help="mask on the same grid, 0 where to leave out (default: the foreground of both)",
    )
    parser.add_argument("--subject", help="subject to compare, if there are several")
    parser.add_argument("--modality", help="the one to compare (default: the first)")
    parser.add_argument(
        "--smoothing",
        type=float,
        default=1.5,
        help="standard deviation of the smoothing, in the unit of the series (default: 1.5)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="NOISE",
        help="smallest change that the summary counts, in units of noise (default: 4)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, compare, write."""
    import numpy as np

    from napari_followup.comparison.change_map import change, change_mask
    from napari_followup.io import read_stacks
    from napari_followup.series.stack import add_step

    check_file(args.out)
    threshold = _threshold(args)
    [stack] = subject_of(read_stacks(args.series), args.subject)
    first, second = _visits(args, stack)
    modality = modality_of(stack, args.modality)
    mask = _mask(args, stack) if args.mask else change_mask(stack, first, second, modality=modality)
    found = change(stack, first, second, mask=mask, modality=modality, smoothing=args.smoothing)
    about = _about(stack, first, second) | {
        "modality": stack.modalities[modality],
        "mask": str(args.mask) if args.mask else "foreground of both visits",
        "smoothing": args.smoothing,
    }
    later = stack.select(second).with_images(
        found[None, None],
        is_observed=np.array([True]),
        modalities=("change",),
        provenance=add_step(stack.provenance, "change", **about),
    )
    write_series(args.out, later, args.command_line)
    brighter, darker = (float((part >= threshold)[mask].mean()) for part in (found, -found))
    order = "" if args.visits[0] < args.visits[1] else " (by age)"
    print(
        f"{args.out}: {stack.subject}, visit {first + 1} to {second + 1}{order}; brighter by "
        f"{threshold:g} units of noise or more in {brighter:.2%} of the mask, darker in "
        f"{darker:.2%}"
    )
    return 0


def _threshold(args: argparse.Namespace) -> float:
    from napari_followup.comparison.regions import THRESHOLD

    threshold = THRESHOLD if args.threshold is None else float(args.threshold)
    if not threshold > 0:
        raise ValueError(f"threshold: got {threshold}; give one above 0, in units of noise")
    return threshold


def _visits(args: argparse.Namespace, stack: VisitStack) -> tuple[int, int]:
    """Positions of the two visits from 0, the earlier one first."""
    first, second = sorted(args.visits)
    for number in (first, second):
        if not 1 <= number <= stack.n_visits:
            raise ValueError(
                f"visits: got {number}; {stack.subject!r} has {stack.n_visits}, counted from 1"
            )
        if stack.is_missing[number - 1]:
            raise ValueError(f"visits: {number} of {stack.subject!r} is missing; choose another")
    if first == second:
        raise ValueError(f"visits: got {first} twice; give two different ones")
    return first - 1, second - 1


def _about(stack: VisitStack, first: int, second: int) -> dict[str, Any]:
    """Entries of the provenance: which visits, and what the sign means."""
    ages = [float(stack.ages[visit]) for visit in (first, second)] if stack.ages_known else None
    numbers = [first + 1, second + 1]
    when = [f", age {age:.4g}" for age in ages] if ages else ["", ""]
    earlier, later = (f"visit {n}{age}" for n, age in zip(numbers, when, strict=True))
    return {
        "visits": numbers,
        "ages": ages,
        "unit": "noise",
        "meaning": f"above 0: brighter at the later visit ({later}) than before ({earlier})",
    }


def _mask(args: argparse.Namespace, stack: VisitStack) -> NDArray[np.bool_]:
    """Mask from a file, on the grid of the series."""
    import numpy as np

    from napari_followup.io import read_stack

    given = read_stack(args.mask)
    same_place = given.unit != stack.unit or np.allclose(given.affine, stack.affine, atol=1e-2)
    if given.shape[2:] != stack.shape[2:] or not same_place:
        raise ValueError(
            f"mask: {args.mask.name!r} lies on another grid than the series; resample it onto "
            "the grid of the series"
        )
    return np.asarray(given.images[0, 0]).astype(bool)
