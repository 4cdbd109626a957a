"""Time `detect` on one patient against the published pipeline's network calls.

python tests/benchmarks/detect_patient.py [MODEL] [DEVICE]

A patient has ten visits of 64 x 64 pixels. `detect` runs at the default recipe, from intensities to
mask. Against it: 100 calls, one after another, of the U-Net of the thesis' size on a batch of ten,
which is what its sampler does for one patient before any score is made. Same process, same threads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from napari_followup.detection.detect import detect
from napari_followup.device import choose_device, inference
from napari_followup.diffusion.denoising import denoiser
from napari_followup.methods.sdm import SDM, THESIS
from napari_followup.models.files import load_bundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.synthetic import add_anomaly, starmen

CALLS, BATCH, REPEATS = 100, 10, 5


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """How long `work` takes, fastest first."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return sorted(found)


def published_calls(model: SDM, device: torch.device) -> None:
    """Call the thesis' network as its sampler does; its condition is computed once, as ours is."""
    images = torch.rand(BATCH, 1, *THESIS.image_size, device=device)
    with inference(device):
        code = model.unet.project_code(model.encoder(images))
        denoise = denoiser(model.unet, code, model.abars, model.config, lambda: None)
        for step in range(CALLS, 0, -1):
            images = denoise(images, step)


def main() -> None:
    bundle = load_bundle(sys.argv[1] if len(sys.argv) > 1 else "starmen")
    device = choose_device(sys.argv[2] if len(sys.argv) > 2 else "auto")
    stack, _ = add_anomaly(starmen(1, visits=BATCH)[0], "growing_circle")
    detect(stack, bundle, device=device.type)  # the network is built once a session
    ours = seconds(lambda: detect(stack, bundle, device=device.type), REPEATS, device)
    thesis = SDM(THESIS).to(device, memory_format=torch.channels_last).eval()
    theirs = seconds(lambda: published_calls(thesis, device), 2, device)
    print(f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"default recipe: {dict(Recipe.default().options)}")
    print(
        f"detect, {BATCH} visits, {bundle.name}: {ours[0]:.3f} s (median {ours[REPEATS // 2]:.3f})"
    )
    print(f"{CALLS} calls of the thesis-size U-Net at batch {BATCH}: {theirs[0]:.2f} s")
    print(f"factor: {theirs[0] / ours[REPEATS // 2]:.1f}")


if __name__ == "__main__":
    main()
