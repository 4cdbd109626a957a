"""Synthetic anomalies with their masks, to learn a segmentation from healthy images.

Two kinds: DRAEM's Perlin outlines (Behrendt 2026, Sec. 8.6, appendix C), and the soft shapes of
`diffusion.corruption`. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_followup.diffusion.augmentation import augmented
from napari_followup.diffusion.corruption import corrupt
from napari_followup.diffusion.perlin import perlin_masks

__all__ = ["perlin_anomalies", "shape_anomalies"]

VISIBLE = 0.04  # change of grey from which a pixel of a soft shape counts as anomalous


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
    """Spoil images as `corrupt` does, and mark what can be seen of it.

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
