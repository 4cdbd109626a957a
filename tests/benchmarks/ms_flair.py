"""Registration and change maps on real MS patients, against shipped transforms and expert masks.

python tests/benchmarks/ms_flair.py FOLDER [PATIENT ...] [--figure PATH]

FOLDER holds patientNN/ with study1_FLAIR.nii.gz, study2_FLAIR.nii.gz, their transforms
study*_FLAIR_to_common_space.txt, common_space_gt.nii.gz and common_space_brainmask.nii.gz (Lesjak
et al. 2016). Printed: how far our transform lies from the shipped ones over the brain mask; voxel
AUPRC of the change inside the brain mask, with our transform and with the shipped ones, and that of
the plain absolute difference of the percentile-scaled visits. With --figure, the plane of each
patient with the largest change that the experts marked is drawn, as our transform aligns it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from napari_followup.alignment.align import align
from napari_followup.comparison.change_map import change
from napari_followup.series.grid import resampled
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack

NOISE = 8.0  # where the colours of the change map end, in units of noise
TITLES = ("visit 1", "visit 2, aligned", "plain |difference|", "our change", "with expert mask")
TICKS = [-8, -4, 0, 4, 8]
NOTE = (
    "Images and expert masks (black outline): Lesjak et al. 2016, Neuroinformatics 14:403, CC-BY. "
    "Difference of both visits scaled to their percentiles."
)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between ITK's LPS and RAS


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One plane of one patient, ``(y, x)``, for the figure."""

    patient: str
    visits: tuple[NDArray[np.float32], NDArray[np.float32]]  # scaled to their percentiles
    difference: NDArray[np.float32]
    change: NDArray[np.float32]
    truth: NDArray[np.bool_]


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Values (z, y, x) and the affine from voxel (z, y, x) to RAS in mm."""
    image: Any = nibabel.load(path)
    values = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    return values, np.asarray(image.affine)[:, [2, 1, 0, 3]]


def shipped_matrix(path: Path) -> NDArray[np.float64]:
    """Points of the common space to those of the raw image, RAS in mm."""
    transform = SimpleITK.ReadTransform(str(path))
    start = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(end)) for end in np.eye(3).tolist()]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(ends, axis=1) - start[:, None]
    matrix[:3, 3] = start
    return FLIP @ matrix @ FLIP


def displacement(
    first: NDArray[np.float64], second: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance between where two matrices take points (n, 4)."""
    return np.asarray(np.linalg.norm((points @ (first - second).T)[:, :3], axis=1))


def measure(folder: Path) -> Panel:
    raw = [read(folder / f"study{study}_FLAIR.nii.gz") for study in (1, 2)]
    shipped = [shipped_matrix(folder / f"study{n}_FLAIR_to_common_space.txt") for n in (1, 2)]
    truth, common = read(folder / "common_space_gt.nii.gz")
    mask = read(folder / "common_space_brainmask.nii.gz")[0] > 0
    truth = truth > 0

    visits = [
        VisitStack.from_array(image[None], affine=affine, ages=[float(number)], subject=folder.name)
        for number, (image, affine) in enumerate(raw)
    ]
    start = time.perf_counter()
    aligned = align(visits)
    seconds = time.perf_counter() - start
    ours = np.array(aligned.provenance["steps"][-1]["visits"][1]["matrix"])
    points = np.c_[np.argwhere(mask), np.ones(mask.sum())] @ common.T
    in_first = points @ shipped[0].T
    wrong = displacement(ours @ shipped[0], shipped[1], points)
    before = displacement(np.eye(4), shipped[1] @ np.linalg.inv(shipped[0]), in_first)
    print(
        f"{folder.name}: from the shipped transforms {wrong.mean():.3f} mm on average over the "
        f"brain mask, {wrong.max():.3f} mm at most; unregistered {before.mean():.3f} mm; "
        f"{seconds:.0f} s for images of {raw[0][0].shape} and {raw[1][0].shape}"
    )
    ways = {"shipped": shipped, "ours": [shipped[0], ours @ shipped[0]]}
    for name, matrices in ways.items():
        images = [
            resampled(image, np.linalg.inv(affine) @ matrix @ common, mask.shape)[0]
            for (image, affine), matrix in zip(raw, matrices, strict=True)
        ]
        stack = VisitStack.from_array(np.stack(images), affine=common)
        plain = [fit_scaling(image[mask]).apply(image)[mask] for image in stack.images[:, 0]]
        start = time.perf_counter()
        found = change(stack, 0, 1, mask=mask)[mask]
        seconds = time.perf_counter() - start
        rows = {
            "plain absolute difference": np.abs(plain[1] - plain[0]),
            "|change|": np.abs(found),
            "change, increase only": found,
        }
        for what, score in rows.items():
            auprc = average_precision_score(truth[mask], score)
            print(f"{folder.name} | {name:7} transforms | {what:26} | AUPRC {auprc:.3f}")
        print(f"{folder.name} | {name:7} transforms | change took {seconds:.1f} s", flush=True)
    return panel(folder.name, stack, change(stack, 0, 1, mask=mask), mask, truth)


def panel(
    patient: str,
    stack: VisitStack,
    found: NDArray[np.float32],
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
) -> Panel:
    """Take the plane with the largest truth, cut to the brain and upright."""
    z = int(truth.sum(axis=(1, 2)).argmax())
    rows, columns = (np.flatnonzero(mask.any(axis=(0, axis))) for axis in (2, 1))
    part = (slice(rows[0] - 4, rows[-1] + 5), slice(columns[0] - 4, columns[-1] + 5))
    scaled = [fit_scaling(image[mask]).apply(image) for image in stack.images[:, 0]]
    difference = np.where(mask, np.abs(scaled[1] - scaled[0]), 0)
    volumes = (*scaled, difference, found, truth)
    planes = [upright(volume[z], stack.affine, part) for volume in volumes]
    return Panel(
        patient=patient,
        visits=(planes[0], planes[1]),
        difference=planes[2],
        change=planes[3],
        truth=planes[4],
    )


def upright(
    plane: NDArray[Any], affine: NDArray[np.float64], part: tuple[slice, slice]
) -> NDArray[Any]:
    """Front on top, the patient's right on the left."""
    plane = plane[part]
    plane = plane[::-1] if affine[1, 1] > 0 else plane
    return plane[:, ::-1] if affine[0, 2] > 0 else plane


def draw(panels: list[Panel], path: Path) -> None:
    """Draw a row a patient: both visits, their difference, the change map, the experts' mask."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {
        "image.interpolation": "nearest",
        "figure.constrained_layout.h_pad": 0.07,
    }
    import matplotlib.pyplot as plt
    from PIL import Image

    heights = [each.change.shape[0] / each.change.shape[1] for each in panels]
    figure, axes = plt.subplots(
        len(panels) + 1,
        5,
        figsize=(14, 2.75 * sum(heights) + 1.2),
        squeeze=False,
        layout="constrained",
        height_ratios=[*heights, 0.05],
    )
    bars, axes = axes[-1], axes[:-1]
    plain, shown = [draw_row(row, each) for row, each in zip(axes, panels, strict=True)][-1]
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=15)
    for bar in bars:
        bar.set_axis_off()
    for image, under, text, ticks in (
        (plain, bars[2:3], "share of the intensity range", None),
        (shown, bars[3:], "units of noise; red: brighter at visit 2, blue: darker", TICKS),
    ):
        bar = figure.colorbar(
            image, ax=under, location="bottom", shrink=0.9, fraction=0.9, ticks=ticks
        )
        bar.set_label(text, fontsize=13)
        bar.ax.tick_params(labelsize=12)
    figure.supxlabel(NOTE, fontsize=10)
    figure.savefig(path, dpi=100)
    few = Image.open(path).convert("RGB").quantize(150, kmeans=3)  # a third of the bytes
    few.save(path, optimize=True)


def draw_row(axes: Any, panel: Panel) -> tuple[Any, Any]:
    """Draw one patient; what the colour bars are made of comes back."""
    for axis, image in zip(axes, panel.visits, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1.1)
    plain = axes[2].imshow(panel.difference, cmap="magma", vmin=0, vmax=0.5)
    shown = [axis.imshow(panel.change, cmap="RdBu_r", vmin=-NOISE, vmax=NOISE) for axis in axes[3:]]
    axes[4].contour(panel.truth, levels=[0.5], colors="black", linewidths=1.1)
    axes[0].set_ylabel(panel.patient, fontsize=15)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return plain, shown[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("patients", nargs="*", metavar="PATIENT")
    parser.add_argument("--figure", type=Path, help="where to draw one plane of each, a .png file")
    args = parser.parse_args()
    names = args.patients or ["patient01", "patient12"]
    panels = [measure(args.folder / name) for name in names]
    if args.figure is not None:
        draw(panels, args.figure)


if __name__ == "__main__":
    main()
