"""Image-level labels without anybody's labels: half of the healthy images are spoilt.

Stand-in for the labels that weakly supervised methods learn from, when a cohort is all healthy.
Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_followup.diffusion.corruption import corrupt

__all__ = ["ANOMALOUS", "HEALTHY", "half_spoilt"]

HEALTHY, ANOMALOUS = 0, 1
VISIBLE = 0.1  # change of grey, of the value range, without which a spoilt image counts as healthy


def half_spoilt(
    images: Tensor, generator: torch.Generator, value_range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """Spoil every second image, and say which ones show it.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` healthy, in `value_range`.
    generator
        Source of every random draw.
    value_range
        Grey values for low and high.

    Returns
    -------
    tuple of Tensor
        Images of the same shape, and labels ``(b,)`` int64, `HEALTHY` or `ANOMALOUS`. A shape that
        was filled with what stood there before leaves its image healthy.
    """
    low, high = value_range
    unit = (images - low) / (high - low)
    chosen = (torch.arange(len(images), device=images.device) % 2 == 1)[:, None, None, None]
    shown = torch.where(chosen, corrupt(unit, generator, share=1.0), unit)
    change = (shown - unit).abs().flatten(1).amax(dim=1)
    return low + (high - low) * shown, torch.where(change > VISIBLE, ANOMALOUS, HEALTHY)
