"""``napari-followup change``: a series in; the change between two of its visits out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.cli.onefile import check_file, modality_of, subject_of, write_series
from napari_followup.cli.options import Subcommands

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_followup.stack import VisitStack

__all__ = ["add_parser", "run"]

MUCH = 3.0  # units of noise; one voxel in 370 reaches it by chance, if noise is Gaussian


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "change",
        parents=[shared],
        help="map the change between two visits of a series",
        description="Writes one image: signed change in units of noise, above 0 where the later "
        "visit is brighter. The visits must lie on one grid; align brings them there.",
    )
    parser.add_argument("series", metavar="SERIES", help="one subject's series, aligned")
    parser.add_argument(
        "--visits",
        type=int,
        nargs=2,
        required=True,
        metavar=("FROM", "TO"),
        help="which two, counted from 1",
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz, .nii or .nii.gz file")
    parser.add_argument(
        "--mask",
        type=Path,
        help="image on the same grid, 0 where not to look (default: the foreground of both)",
    )
    parser.add_argument("--subject", help="which one, of a file that holds several")
    parser.add_argument("--modality", help="the one that is compared (default: the first)")
    parser.add_argument(
        "--smoothing",
        type=float,
        default=1.5,
        help="standard deviation of the smoothing, in the series' unit (default: 1.5)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, compare, write."""
    import numpy as np

    from napari_followup.change import change, change_mask
    from napari_followup.provenance import add_step
    from napari_followup.reading import read_stacks

    check_file(args.out)
    [stack] = subject_of(read_stacks(args.series), args.subject)
    first, second = _visits(args, stack)
    modality = modality_of(stack, args.modality)
    mask = _mask(args, stack) if args.mask else change_mask(stack, first, second, modality=modality)
    found = change(stack, first, second, mask=mask, modality=modality, smoothing=args.smoothing)
    said = {
        "visits": args.visits,
        "ages": [float(stack.ages[visit]) for visit in (first, second)],
        "modality": stack.modalities[modality],
        "mask": str(args.mask) if args.mask else "foreground of both visits",
        "smoothing": args.smoothing,
        "unit": "noise",
    }
    later = stack.select(second).with_images(
        found[None, None],
        is_observed=np.array([True]),
        modalities=("change",),
        provenance=add_step(stack.provenance, "change", **said),
    )
    write_series(args.out, later, args.command_line)
    brighter, darker = (float((part > MUCH).sum() / mask.sum()) for part in (found, -found))
    print(
        f"{args.out}: {stack.subject}, visit {args.visits[0]} to {args.visits[1]}; brighter by "
        f"more than {MUCH:g} units of noise in {brighter:.2%} of the mask, darker in {darker:.2%}"
    )
    return 0


def _visits(args: argparse.Namespace, stack: VisitStack) -> tuple[int, int]:
    first, second = args.visits
    for number in (first, second):
        if not 1 <= number <= stack.n_visits:
            raise ValueError(
                f"visits: got {number}; {stack.subject!r} has {stack.n_visits}, counted from 1"
            )
    if first == second:
        raise ValueError(f"visits: got {first} twice; give two different ones")
    return first - 1, second - 1


def _mask(args: argparse.Namespace, stack: VisitStack) -> NDArray[np.bool_]:
    """Image of the mask, on the series' own grid."""
    import numpy as np

    from napari_followup.reading import read_stack

    given = read_stack(args.mask)
    same_place = given.unit != stack.unit or np.allclose(given.affine, stack.affine, atol=1e-2)
    if given.shape[2:] != stack.shape[2:] or not same_place:
        raise ValueError(
            f"mask: {args.mask.name!r} lies on another grid than the series; resample it onto "
            "that of the series"
        )
    return np.asarray(given.images[0, 0]).astype(bool)
