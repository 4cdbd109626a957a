"""Change the look of whole images: what DRAEM fills the outlines of its anomalies with.

Zavrtanik et al. (2021), in Behrendt (2026), Sec. 8.6, appendix C: seven functions of image
libraries, three of which are drawn for each image. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augmented", "variants"]


def augmented(images: Tensor, generator: torch.Generator, turns: int = 3) -> Tensor:
    """Apply functions that are drawn for each image, one after another.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of every random draw.
    turns
        How many functions; one may come twice.

    Returns
    -------
    Tensor
        Same shape, in [0, 1].
    """
    every = torch.arange(len(images), device=images.device)
    for _ in range(turns):
        changed = torch.stack(list(variants(images, generator).values()))
        kind = torch.randint(
            len(changed), (len(images),), generator=generator, device=generator.device
        )
        images = changed[kind.to(images.device), every]
    return images


def variants(images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Every function's image by name, with settings drawn for each image.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of the settings.

    Returns
    -------
    dict
        Same shapes, in [0, 1]: posterize, sharpness, solarize, equalize, brightness, colour,
        contrast. Colour draws modalities together or apart, and leaves single ones as they are.
    """

    def draw(low: float, high: float) -> Tensor:
        even = torch.rand(len(images), generator=generator, device=generator.device).to(images)
        return (low + (high - low) * even)[:, None, None, None]

    greys = 2 ** draw(1, 5).floor()
    smooth = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    mean = images.mean(dim=1, keepdim=True)
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return {
        "posterize": (images * greys).floor().clamp_max(greys - 1) / (greys - 1),
        "sharpness": (smooth + draw(0, 3) * (images - smooth)).clamp(0, 1),
        "solarize": torch.where(images > draw(0.1, 0.9), 1 - images, images),
        "equalize": _equalized(images),
        "brightness": (images * draw(0.3, 2)).clamp(0, 1),
        "colour": (mean + draw(0, 2) * (images - mean)).clamp(0, 1),
        "contrast": (images - low) / (high - low).clamp_min(1e-6),
    }


def _equalized(images: Tensor) -> Tensor:
    """Each grey becomes the share of the image's pixels that are darker."""
    flat = images.flatten(2).contiguous()
    ordered = flat.sort(dim=2).values
    darker = torch.searchsorted(ordered, flat)
    return (darker.to(images) / max(1, flat.shape[2] - 1)).view_as(images)
