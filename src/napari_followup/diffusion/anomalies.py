"""Synthetic anomalies with their masks, to learn a segmentation from healthy images.

Two kinds: DRAEM's Perlin outlines (Behrendt 2026, Sec. 8.6, appendix C), and the soft shapes of
`diffusion.corruption`. Pure tensor functions, any device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.diffusion.corruption import corrupt

__all__ = [
    "augmented",
    "perlin_anomalies",
    "perlin_masks",
    "perlin_noise",
    "shape_anomalies",
    "variants",
]


FINEST = 5  # lattices have 1, 2, 4, ... 2 ** FINEST cells a side
VISIBLE = 0.04  # change of grey from which a pixel of a soft shape counts as anomalous


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


def perlin_noise(
    count: int,
    size: tuple[int, int],
    cells: tuple[int, int],
    generator: torch.Generator,
    like: Tensor,
) -> Tensor:
    """Draw fields on a lattice of so many cells.

    Parameters
    ----------
    count
        Number of fields.
    size
        ``(y, x)`` in pixels.
    cells
        Rows and columns of lattice cells that the field is divided into.
    generator
        Source of the gradients, one angle a lattice point.
    like
        Gives device and dtype.

    Returns
    -------
    Tensor
        ``(count, 1, y, x)`` in [-1, 1], 0 at lattice points.
    """
    drawn = torch.rand(
        count, cells[0] + 1, cells[1] + 1, generator=generator, device=generator.device
    )
    angles = (2 * math.pi * drawn).to(like)
    row, down = _lattice(size[0], cells[0], like)
    column, right = _lattice(size[1], cells[1], like)

    def corner(below: int, beside: int) -> Tensor:
        """Product of each pixel's gradient and offset at one corner of its cell."""
        angle = angles[:, (row + below)[:, None], (column + beside)[None]]
        return angle.cos() * (down - below)[:, None] + angle.sin() * (right - beside)[None]

    fade_y, fade_x = _fade(down)[:, None], _fade(right)[None]
    top = torch.lerp(corner(0, 0), corner(0, 1), fade_x.expand(count, *size))
    bottom = torch.lerp(corner(1, 0), corner(1, 1), fade_x.expand(count, *size))
    field = torch.lerp(top, bottom, fade_y.expand(count, *size))
    return math.sqrt(2) * field[:, None]


def perlin_masks(images: Tensor, generator: torch.Generator) -> Tensor:
    """Binarise a Perlin field an image at a threshold that is drawn evenly.

    Parameters
    ----------
    images
        ``(b, c, y, x)``; only their shape is looked at.
    generator
        Source of every random draw.

    Returns
    -------
    Tensor
        ``(b, 1, y, x)`` bool, at least one pixel each. Thresholds run from 0 to the field's
        highest value; all fields of a batch have the same lattice.
    """
    count, _, height, width = images.shape
    powers = torch.randint(FINEST + 1, (2,), generator=generator, device=generator.device).tolist()
    cells = (min(2 ** powers[0], height), min(2 ** powers[1], width))
    field = perlin_noise(count, (height, width), cells, generator, images)
    highest = field.flatten(1).amax(dim=1)
    height_share = torch.rand(count, generator=generator, device=generator.device).to(images)
    return field >= (highest * height_share)[:, None, None, None]


def _lattice(side: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cell of each pixel along one axis, and how far into it the pixel lies."""
    place = torch.arange(side, device=like.device, dtype=like.dtype) * (cells / side)
    cell = place.floor().clamp_max(cells - 1)
    return cell.long(), place - cell


def _fade(t: Tensor) -> Tensor:
    """Smooth step without a jump in its first two derivatives (Perlin 2002)."""
    return t**3 * (t * (6 * t - 15) + 10)


def perlin_anomalies(
    images: Tensor,
    generator: torch.Generator,
    *,
    share: float = 0.5,
    opacity: tuple[float, float] = (0.2, 1.0),
) -> tuple[Tensor, Tensor]:
    """Blend changed versions of the images into Perlin outlines.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of every random draw.
    share
        Chance of an anomaly; the other images stay healthy.
    opacity
        Range of ``γ``, what the changed image counts for.

    Returns
    -------
    tuple of Tensor
        Images, and masks ``(b, 1, y, x)`` of 0 and 1.

    References
    ----------
    ``I_syn = (1 - M) I + (1 - γ) M I + γ M I_aug``.
    """

    def draw() -> Tensor:
        return torch.rand(len(images), generator=generator, device=generator.device).to(images)

    chosen = (draw() < share)[:, None, None, None]
    masks = (perlin_masks(images, generator) & chosen).to(images)
    gamma = (opacity[0] + (opacity[1] - opacity[0]) * draw())[:, None, None, None]
    blended = (1 - gamma) * masks * images + gamma * masks * augmented(images, generator)
    return (1 - masks) * images + blended, masks


def shape_anomalies(
    images: Tensor, generator: torch.Generator, *, share: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Corrupt images as `corrupt` does, with masks of what can be seen.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of every random draw.
    share
        Chance of a first shape.

    Returns
    -------
    tuple of Tensor
        Images, and masks ``(b, 1, y, x)`` of 0 and 1.
    """
    shown = corrupt(images, generator, share)
    change = (shown - images).abs().amax(dim=1, keepdim=True)
    return shown, (change > VISIBLE).to(images)
