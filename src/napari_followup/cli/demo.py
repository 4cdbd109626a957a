"""``napari-followup demo``: detect a synthetic anomaly and compare the mask with the truth."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.detect import first_line, notes_on
from napari_followup.cli.files import detection_rows, write_csv, write_maps
from napari_followup.cli.options import (
    Subcommands,
    add_device,
    add_model,
    add_recipe,
    add_seed,
    check_out,
    recipe_named,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_followup.series.results import Detection

__all__ = [
    "add_parser",
    "run",
    "write_montage",
]


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "demo",
        parents=[shared],
        help="detect a synthetic anomaly and compare the mask with the truth",
        description="Needs no data, no network and no screen. Writes a montage (PNG), all layers "
        "(.npz) and a table (CSV).",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("napari-followup-demo"),
        help="folder for the results (default: napari-followup-demo)",
    )
    parser.add_argument(
        "--kind", default="growing_circle", help="kind of anomaly (default: growing_circle)"
    )
    parser.add_argument("--view", action="store_true", help="open the layers in napari afterwards")
    add_model(parser)
    add_recipe(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate a series, detect, print, write."""
    from napari_followup.detection.detect import detect
    from napari_followup.models.files import load_bundle
    from napari_followup.synthetic import add_anomaly, starmen

    check_out(args.out)
    start = time.monotonic()
    (healthy,) = starmen(1, seed=args.seed)
    named = healthy.with_images(healthy.images, subject=f"starman with {args.kind}")
    stack, truth = add_anomaly(named, args.kind, seed=args.seed)
    bundle = load_bundle(args.model)
    recipe = recipe_named(args.recipe, bundle)
    found = detect(stack, bundle, recipe, device=args.device, seed=args.seed)
    rows = _rows(found, truth, args)
    print("\n  ".join([first_line(found), *notes_on(found)]))
    print(f"\n{_table(rows)}")
    written = _write(args, found, truth, rows)
    print(f"\nWritten in {time.monotonic() - start:.0f} s: {', '.join(map(str, written))}")
    if args.view and _has_screen():
        _view(found, truth)
    elif args.view:
        print(
            "--view: there is no screen here (DISPLAY and WAYLAND_DISPLAY are not set); look at "
            "montage.png, or open layers.npz in napari on a machine with a screen"
        )
    return 0


def _write(
    args: argparse.Namespace,
    found: Detection,
    truth: NDArray[np.bool_],
    rows: list[dict[str, Any]],
) -> list[Path]:
    """Write montage, layers and table."""
    args.out.mkdir(parents=True, exist_ok=True)
    about = found.provenance | {"command": args.command_line, "anomaly": args.kind}
    maps = {
        "images": found.stack.images,
        "ages": found.stack.ages,
        "subject": found.stack.subject,
        "truth": truth,
        "mask": found.mask,
        "score": found.score,
    }
    maps |= {f"score_{name}": values for name, values in found.scores.items()}
    maps |= {} if found.healthy is None else {"healthy": found.healthy}
    return [
        write_montage(args.out / "montage.png", found, truth, about),
        write_maps(args.out / "layers.npz", maps, about),
        write_csv(args.out / "visits.csv", rows),
    ]


def write_montage(
    path: Path, found: Detection, truth: NDArray[np.bool_] | None, provenance: Mapping[str, Any]
) -> Path:
    """Draw the middle plane of every visit into a PNG; needs no screen.

    Parameters
    ----------
    path
        Ends in ``.png``.
    found
        The detection.
    truth
        ``(visit, z, y, x)``, if it is known.
    provenance
        Written as JSON into the metadata of the picture.

    Returns
    -------
    Path
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from napari_followup.evaluation.report import replacing

    rows = _planes(found, truth)
    visits = found.stack.n_visits
    size = (0.4 + 1.1 * visits, 0.6 + 1.1 * len(rows))
    figure = Figure(figsize=size, dpi=110, layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), visits, squeeze=False)
    for line, (name, (planes, settings)) in zip(axes, rows.items(), strict=True):
        for plane, axis in zip(planes, line, strict=True):
            axis.imshow(plane, interpolation="nearest", **settings)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name)
    for axis, age in zip(axes[0], found.stack.ages, strict=True):
        axis.set_title(f"{age:.1f}", fontsize=9)
    figure.suptitle(f"{found.stack.subject}, by age in years", fontsize=10)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", metadata={"Description": json.dumps(provenance)})
    return path


def _planes(
    found: Detection, truth: NDArray[np.bool_] | None
) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Planes ``(visit, y, x)`` of every row of the picture, and how to draw them."""
    import numpy as np

    middle = found.stack.shape[2] // 2
    images = np.asarray(found.stack.images[:, 0, middle], np.float32)
    grey = {"cmap": "gray", "vmin": float(np.nanmin(images)), "vmax": float(np.nanmax(images))}
    hot = {"cmap": "inferno", "vmin": 0.0, "vmax": max(float(np.nanmax(found.score)), 1e-6)}
    binary = {"cmap": "gray", "vmin": 0, "vmax": 1}
    rows: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {"input": (images, grey)}
    if found.healthy is not None:
        rows["healthy"] = (found.healthy[:, 0, middle], grey)
    rows |= {"score": (found.score[:, middle], hot), "mask": (found.mask[:, middle], binary)}
    return rows if truth is None else rows | {"truth": (truth[:, middle], binary)}


def _has_screen() -> bool:
    """Whether a window can be opened: without a screen Qt ends the whole process on Linux."""
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform != "linux" or any(os.environ.get(name) for name in wanted)


def _rows(
    found: Detection, truth: NDArray[np.bool_], args: argparse.Namespace
) -> list[dict[str, Any]]:
    from napari_followup.evaluation.statistics import dice_by_visit

    rows = detection_rows(found, f"demo --kind {args.kind} --seed {args.seed}")
    dices = dice_by_visit(found.mask, truth)
    for visit, row in enumerate(rows):
        row |= {"truth_pixels": int(truth[visit].sum()), "dice": round(float(dices[visit]), 6)}
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    """Age, Dice and image score per visit; a visit without anomaly has no Dice."""
    from napari_followup.evaluation.report import table

    head = [
        "visit",
        "age",
        "truth [pixels]",
        "flagged [pixels]",
        "Dice [%]",
        "image score",
        "flagged",
    ]
    lines = [
        [
            str(row["visit"]),
            f"{row['age']:.1f}",
            str(row["truth_pixels"]),
            str(row["flagged_pixels"]),
            f"{100 * row['dice']:.0f}" if row["truth_pixels"] else "–",
            f"{row['image_score']:.3f}",
            "yes" if row["flagged_pixels"] else "no",
        ]
        for row in rows
    ]
    dices = [row["dice"] for row in rows if row["truth_pixels"]]
    mean = "–"
    if dices:
        mean = f"{100 * sum(dices) / len(dices):.1f} % (all visits count alike)"
    return f"{table(head, lines)}\n\nMean Dice over visits with an anomaly: {mean}"


def _view(found: Detection, truth: NDArray[np.bool_]) -> None:
    import napari

    stack = found.stack
    viewer = napari.Viewer(title="napari-followup demo")
    shared: dict[str, Any] = {"scale": (1.0, *stack.spacing)}
    viewer.add_image(stack.images[:, 0], name=stack.subject, **shared)
    if found.healthy is not None:
        viewer.add_image(found.healthy[:, 0], name="healthy", visible=False, **shared)
    viewer.add_image(found.score, name="score", colormap="inferno", visible=False, **shared)
    viewer.add_labels(truth.astype(int) * 2, name="truth", visible=False, **shared)
    viewer.add_labels(found.mask.astype(int), name="mask", opacity=0.6, **shared)
    viewer.dims.axis_labels = ("visit", "z", "y", "x")
    napari.run()
