"""Registration and change maps on real MS patients, against shipped transforms and expert masks.

python tests/benchmarks/ms_flair.py FOLDER [PATIENT ...]

FOLDER holds patientNN/ with study1_FLAIR.nii.gz, study2_FLAIR.nii.gz, their transforms
study*_FLAIR_to_common_space.txt, common_space_gt.nii.gz and common_space_brainmask.nii.gz (Lesjak
et al. 2016). Printed: how far our transform lies from the shipped ones over the brain mask; voxel
AUPRC of the change inside the brain mask, with our transform and with the shipped ones, and that of
the plain absolute difference of the percentile-scaled visits.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from napari_followup.change import change
from napari_followup.grids import resampled
from napari_followup.intensity import fit_scaling
from napari_followup.registration import align
from napari_followup.stack import VisitStack

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between ITK's LPS and RAS


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


def measure(folder: Path) -> None:
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


def main() -> None:
    folder = Path(sys.argv[1])
    for patient in sys.argv[2:] or ["patient01", "patient12"]:
        measure(folder / patient)


if __name__ == "__main__":
    main()
