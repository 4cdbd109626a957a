"""How trained denoisers are used: from which noise levels, how often, in how many network calls.

Behrendt (2026), Sec. 3.4: one network call from half of the schedule; the mean over several levels
is an ensemble. Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_followup.diffusion.denoising import clean_planes
from napari_followup.diffusion.sampling import Denoise

__all__ = ["LevelOptions", "check_levels", "denoiser"]


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """Where decoding starts, how often, and in how many network calls."""

    noise_levels: tuple[int, ...] = (500,)  # Sec. 3.4.2 and 3.4.3: T / 2
    draws: int = 1  # reconstructions from each level
    sampling_steps: int = 1

    def __post_init__(self) -> None:
        if not self.noise_levels or min(self.noise_levels) < 1:
            raise ValueError(f"noise_levels must name steps from 1 up, got {self.noise_levels}")
        if self.draws < 1 or self.sampling_steps < 1:
            raise ValueError(
                f"draws and sampling_steps must be at least 1, got {self.draws} and "
                f"{self.sampling_steps}"
            )

    @property
    def calls(self) -> int:
        """Network calls that all reconstructions of an image take; a level has no more steps."""
        return self.draws * sum(min(level, self.sampling_steps) for level in self.noise_levels)

    def reconstructions(self, decoded: Callable[[int], Tensor]) -> Tensor:
        """Put side by side what is made from each level, as often as is asked for.

        Parameters
        ----------
        decoded
            Makes ``(b, modality, y, x)`` from a level, with noise of its own each time.

        Returns
        -------
        Tensor
            ``(draw, b, modality, y, x)``, all draws of one level before those of the next.
        """
        turns = (level for level in self.noise_levels for _ in range(self.draws))
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
        return clean_planes(predicted, noised, abars[step].to(noised), config)

    return denoise
