"""Measure the memory that a series of volumes takes on its way through `detect` and `impute`.

python tests/benchmarks/volume_memory.py [detect|impute] [--step 16] [--native] [--visits 10]

The series has ten visits of 155 x 240 x 240 voxels in float32. The embedded model sees its planes
at 64 x 64; with --native an untrained one of the same kind sees them as they are. The baseline is
what the process takes once everything is imported and the model has run on a single plane; the peak
is the highest resident memory up to the end, files that are mapped into memory included
(``getrusage``; not on Windows). Every --step-th plane across z is taken, all of them with --step 1:
what does not fit into memory does not grow with their number, and time does. With a step, `detect`
still gives maps of the whole grid, and `impute` a series of these planes alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import torch

from napari_followup.detection.detect import detect
from napari_followup.methods.sdm import SDM, SDMConfig
from napari_followup.methods.tdm import TDM, TDMConfig
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle
from napari_followup.prediction.impute import imputation
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.stack import VisitStack

GRID = (155, 240, 240)


def peak() -> int:
    """Highest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def untrained(bundle: ModelBundle, size: tuple[int, int]) -> ModelBundle:
    """Bundle of the same kind for planes of another size, its healthy scores kept."""
    kinds = {"sdm": (SDM, SDMConfig), "tdm": (TDM, TDMConfig)}
    made = []
    for part in (bundle, *bundle.parts.values()):
        network, settings = kinds[part.method]
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in part.config.items()}
        config = settings(**(values | {"image_size": size}))
        weights = network(config).state_dict()
        made.append(replace(part, config=asdict(config), weights=weights, parts={}))
    return made[0].with_part(made[1])


def series(visits: int, grid: tuple[int, int, int]) -> VisitStack:
    """Noise on a slope, made visit by visit so that nothing else of its size is ever there."""
    images = np.empty((visits, 1, *grid), np.float32)
    for visit in range(visits):
        np.random.default_rng(visit).random(out=images[visit, 0], dtype=np.float32)
        images[visit, 0] += np.linspace(0, 2, grid[2], dtype=np.float32)
    return VisitStack.from_array(images, axes="vmzyx", ages=60.0 + np.arange(visits))


def run(door: str, stack: VisitStack, bundle: ModelBundle, planes: Slicing) -> None:
    """Detect with the default recipe, or impute one visit in the middle with the default draws."""
    if door == "detect":
        detect(stack, bundle, device="cpu", planes=planes)
    else:
        imputation(stack, bundle, [float(stack.ages.mean()) + 0.25], device="cpu", planes=planes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("door", nargs="?", choices=("detect", "impute"), default="detect")
    parser.add_argument("--step", type=int, default=16)
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--visits", type=int, default=10)
    args = parser.parse_args()
    bundle = load_bundle("starmen")
    if args.native:
        bundle = untrained(bundle, GRID[1:])
    model = sum(
        weights.nbytes
        for part in (bundle, *bundle.parts.values())
        for weights in part.weights.values()
    )
    run(args.door, series(args.visits, (1, *GRID[1:])), bundle, Slicing())
    baseline = peak()
    stack = series(args.visits, GRID)
    start = time.perf_counter()
    run(args.door, stack, bundle, Slicing(step=args.step))
    seconds, highest, size = time.perf_counter() - start, peak(), stack.images.nbytes
    planes = len(range(0, GRID[0], args.step))
    print(
        f"{args.door}, {'native' if args.native else bundle.name}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads: {planes} of {GRID[0]} planes in {seconds:.0f} s"
    )
    print(f"array {size / 1e6:.0f} MB, model {model / 1e6:.0f} MB")
    print(f"baseline {baseline / 1e6:.0f} MB, peak {highest / 1e6:.0f} MB")
    print(
        f"(peak - baseline) / array = {(highest - baseline) / size:.2f}; peak / (2 x array + "
        f"model) = {highest / (2 * size + model):.2f}"
    )


if __name__ == "__main__":
    main()
