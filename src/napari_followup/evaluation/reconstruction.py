"""Evaluation of reconstruction: how near it comes to images that are healthy already.

Errors are taken in the model's value range, similarities of images brought to [0, 1], for they
depend on where zero lies; image by image. SSIM has MONAI's defaults: a Gaussian window of 11 pixels
with sigma 1.5, K 0.01 and 0.03. MS-SSIM of small images cannot have that window at all of its five
scales: here it has 7 pixels, as many scales as MONAI admits for it (four for 64 × 64), and their
published weights, scaled to sum 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from torch import Tensor

from napari_followup.detection.steps import examine
from napari_followup.detection.stream import prepare
from napari_followup.device import choose_device, inference
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack

__all__ = [
    "THESIS",
    "ReconstructionFigures",
    "compare_images",
    "evaluate_reconstruction",
    "usual_options",
]

WINDOW = 7  # of MS-SSIM, pixels
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. (2003)


@dataclass(frozen=True, kw_only=True)
class ReconstructionFigures:
    """Means over images; `l1` and `l2` in the value range, `psnr` in dB, similarities in [0, 1]."""

    name: str
    l1: float
    l2: float
    psnr: float
    ssim: float
    ms_ssim: float
    images: int = 0


THESIS = ReconstructionFigures(
    name="thesis, level 250 (other variant of the data, test split)",
    l1=12.61e-3,
    l2=0.73e-3,
    psnr=32.66,
    ssim=0.8570,
    ms_ssim=0.9885,
    images=1500,
)
"""Dang (2025), Table 5.1: healthy test subjects, added noise, 250 steps."""


def usual_options(recipe: Recipe, level: int = 250) -> dict[str, dict[str, Any]]:
    """Ways to reconstruct, by name: from `level` by one draw and several, and as in `recipe`."""
    default = dict(recipe.options)
    draws = default.get("draws", 1)
    found = {f"level {level}, one draw": default | {"noise_levels": (level,), "draws": 1}}
    if draws > 1:
        found[f"level {level}, {draws} draws"] = default | {"noise_levels": (level,)}
    return found | {"recipe itself": default}


def evaluate_reconstruction(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    options: Mapping[str, Mapping[str, Any]],
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> list[ReconstructionFigures]:
    """Figures of every way to reconstruct, on the same healthy subjects.

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on.
    bundle
        The model.
    options
        The method's options by the name of the row, see `usual_options`.
    device, seed
        As for `detect`; each subject's noise is seeded with `seed` plus its position.
    on_step
        Called with the subjects done and to do; return False to end there.

    Returns
    -------
    list of ReconstructionFigures
        In the order of `options`.
    """
    where = choose_device(device)
    found: dict[str, list[Tensor]] = {name: [] for name in options}
    for number, stack in enumerate(stacks):
        prepared = prepare(stack, bundle, where)
        with inference(where):
            for name, values in options.items():
                evidence = examine(prepared, bundle, values, seed + number)
                if evidence.healthy is None:
                    raise ValueError(f"method {bundle.method!r} gives no healthy images")
                healthy = replace(prepared.visits, images=evidence.healthy.float().mean(dim=0))
                figures = compare_images(prepared.visits.planes, healthy.planes, bundle.value_range)
                found[name].append(figures.cpu())
        if on_step is not None and on_step(number + 1, len(stacks)) is False:
            break
    return [_figures(name, torch.cat(parts)) for name, parts in found.items()]


def compare_images(
    images: Tensor, healthy: Tensor, value_range: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """Errors and similarities of every image.

    Parameters
    ----------
    images, healthy
        ``(b, modality, y, x)``, 11 pixels a side at least.
    value_range
        Lowest and highest value an image is meant to have.

    Returns
    -------
    Tensor
        ``(b, 5)``: l1, l2, PSNR in dB, SSIM, MS-SSIM. An image met exactly has 100 dB.
    """
    span = value_range[1] - value_range[0]
    difference = (images - healthy).flatten(1)
    l1, l2 = difference.abs().mean(dim=1), difference.square().mean(dim=1)
    psnr = 10 * torch.log10(span**2 / l2.clamp_min(1e-10 * span**2))
    unit = [(each - value_range[0]) / span for each in (healthy, images)]
    return torch.stack([l1, l2, psnr, *_similarities(*unit)], dim=1)


def _similarities(healthy: Tensor, images: Tensor) -> list[Tensor]:
    """SSIM and MS-SSIM of images in [0, 1], ``(b,)`` each."""
    weights = _weights(min(images.shape[-2:]))
    metrics = (
        SSIMMetric(2, data_range=1.0, reduction="none"),
        MultiScaleSSIMMetric(
            2, data_range=1.0, kernel_size=WINDOW, weights=weights, reduction="none"
        ),
    )
    found = [torch.as_tensor(metric(healthy, images)) for metric in metrics]
    return [each.reshape(len(images), -1).mean(dim=1) for each in found]


def _weights(side: int) -> tuple[float, ...]:
    """As many of the published weights as MONAI admits scales for this window, scaled to sum 1."""
    fits = [count for count in range(1, 6) if side // max(1, count - 1) ** 2 >= WINDOW]
    chosen = WEIGHTS[: max(fits, default=1)]
    return tuple(weight / sum(chosen) for weight in chosen)


def _figures(name: str, values: Tensor) -> ReconstructionFigures:
    l1, l2, psnr, ssim, ms_ssim = values.double().mean(dim=0).tolist()
    return ReconstructionFigures(
        name=name, l1=l1, l2=l2, psnr=psnr, ssim=ssim, ms_ssim=ms_ssim, images=len(values)
    )
