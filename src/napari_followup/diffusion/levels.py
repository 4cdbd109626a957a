"""Trained denoisers at work: a network bound to its condition, and images from several levels.

Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_followup.diffusion.denoising import clean_planes
from napari_followup.diffusion.sampling import Denoise
from napari_followup.diffusion.schedule import abar_at

__all__ = ["check_levels", "denoiser", "from_levels"]


def from_levels(
    decoded: Callable[[int], Tensor], noise_levels: tuple[int, ...], draws: int
) -> Tensor:
    """Put side by side what is made from each noise level, as often as is asked for.

    Parameters
    ----------
    decoded
        Makes ``(b, modality, y, x)`` from a level, with noise of its own each time.
    noise_levels, draws
        Where decoding starts, and how often from each.

    Returns
    -------
    Tensor
        ``(draw, b, modality, y, x)``, all draws of one level before those of the next.
    """
    turns = (level for level in noise_levels for _ in range(draws))
    return torch.stack([decoded(level) for level in turns])


def check_levels(noise_levels: tuple[int, ...], steps: int) -> None:
    """Raise a ValueError if a noise level lies beyond a schedule of so many steps."""
    if max(noise_levels) > steps:
        raise ValueError(f"noise_levels: got {noise_levels}, this model knows steps 1 to {steps}")


def denoiser(
    unet: Any,
    code: list[Tensor],
    abars: Tensor,
    config: Any,
    tell: Callable[[], None],
    shown: Callable[[Tensor], Tensor] | None = None,
) -> Denoise:
    """Bind a U-Net to its condition, its answers as clean planes inside the value range.

    Parameters
    ----------
    unet
        A `networks.unet.UNet`.
    code
        What its ``project_code`` made of the condition, once for all steps.
    abars
        Signal share of every step, see `linear_schedule`.
    config
        `prediction` and `value_range`.
    tell
        Called after every network call.
    shown
        What the network is shown of planes at a step; all of them when none is given.

    Returns
    -------
    callable
        See `Denoise`.
    """

    def denoise(noised: Tensor, step: int) -> Tensor:
        steps = torch.tensor([step], device=noised.device)
        seen = shown(noised) if shown else noised
        predicted = unet(seen, unet.project_steps(steps), code)
        tell()
        return clean_planes(predicted, noised, abar_at(abars, steps, noised), config)

    return denoise
