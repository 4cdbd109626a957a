"""Denoising of healthy planes, shared by methods: training samples, targets, checks.

Behrendt (2026), Sec. 3.4, throughout: a network sees a noised plane and predicts the clean one,
with the mean absolute error. Predicting the noise with the mean squared error is the older way (Ho
et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from napari_followup.diffusion.corruption import corrupt
from napari_followup.diffusion.noise import noise_named
from napari_followup.diffusion.process import add_noise, clean_from_noise
from napari_followup.diffusion.sampling import Denoise
from napari_followup.diffusion.schedule import abar_at, check_betas, draw_steps

__all__ = [
    "DenoisingConfig",
    "NoisedPlanes",
    "check_levels",
    "check_target",
    "clean_planes",
    "denoiser",
    "error_map",
    "from_levels",
    "noised_planes",
]


@dataclass(frozen=True, kw_only=True)
class DenoisingConfig:
    """A U-Net, its noise and its training target (defaults: Behrendt 2026, Sec. 8.2, 4.2).

    The text leaves open where its U-Net attends: here it is the coarsest level, and the middle.
    Levels are resampled by residual blocks, as in Dhariwal & Nichol (2021), which it follows.
    """

    modalities: int = 1
    image_size: tuple[int, int] = (96, 96)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)  # part of what a noise level means
    channels: tuple[int, ...] = (128, 128, 256)
    blocks: int = 3
    attention: tuple[int, ...] = (2,)
    unshuffle: int = 1
    residual_resampling: bool = True
    condition_features: int = 128
    dropout: float = 0.0
    noise: str = "simplex"  # or "gaussian"
    steps: int = 1000
    beta_range: tuple[float, float] = (1e-4, 2e-2)
    prediction: Literal["noise", "clean"] = "clean"
    loss: Literal["l1", "l2"] = "l1"
    corruption: float = 0.0  # share of training images that are corrupted before they are noised
    step_power: float = 1.0  # training steps fall on uniform ** step_power: above 1, on low ones

    def __post_init__(self) -> None:
        check_target(self)
        noise_named(self.noise)


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisedPlanes:
    """Healthy planes made ready for a training step.

    `shown` is what was noised: the planes, some of them corrupted on purpose; `noised` and `noise`
    are ``(b, modality, y, x)`` as well, `steps` is ``(b,)``.
    """

    shown: Tensor
    noised: Tensor
    noise: Tensor
    steps: Tensor


def check_target(config: Any) -> None:
    """Check a configuration's schedule and target.

    Parameters
    ----------
    config
        `beta_range`, `corruption` and `prediction`.

    Raises
    ------
    ValueError
        If one of them makes no sense, or two do not go together.
    """
    check_betas(config.beta_range)
    if config.corruption and config.prediction != "clean":
        raise ValueError(
            "corruption needs prediction='clean': the noise in a corrupted image is not the noise "
            "that was added to it"
        )


def noised_planes(
    images: Tensor, config: Any, abars: Tensor, generator: torch.Generator
) -> NoisedPlanes:
    """Noise healthy planes to random steps.

    Parameters
    ----------
    images
        ``(b, modality, y, x)`` in the value range.
    config
        `noise` by name; `corruption`, the share of planes corrupted first; `step_power`, above 1
        for more low steps than high ones; `value_range`.
    abars
        Signal share of every step, see `linear_schedule`.
    generator
        Source of steps, noise and blobs.

    Returns
    -------
    NoisedPlanes
        A new sample; `images` stays as it is.
    """
    most = len(abars) - 1
    steps = draw_steps(len(images), (1, most), generator, images, power=config.step_power)
    noise = noise_named(config.noise)(tuple(images.shape), generator, images)
    shown = _corrupted(images, config, generator)
    noised = add_noise(shown, noise, abar_at(abars, steps, images))
    return NoisedPlanes(shown=shown, noised=noised, noise=noise, steps=steps)


def _corrupted(images: Tensor, config: Any, generator: torch.Generator) -> Tensor:
    if not config.corruption:
        return images
    low, high = config.value_range
    corrupted = corrupt((images - low) / (high - low), generator, config.corruption)
    return torch.lerp(torch.full_like(images, low), torch.full_like(images, high), corrupted)


def clean_planes(predicted: Tensor, noised: Tensor, abar: Tensor, config: Any) -> Tensor:
    """Read the clean planes off what a network predicts.

    Parameters
    ----------
    predicted, noised
        ``(b, modality, y, x)``: the network's answer, and what it was asked about.
    abar
        Signal share of the step, broadcastable over both.
    config
        `prediction` and `value_range`.

    Returns
    -------
    Tensor
        Shape of `noised`, clamped to the value range.
    """
    if config.prediction == "noise":
        predicted = clean_from_noise(noised, predicted, abar)
    low, high = config.value_range
    return predicted.clamp(low, high)


def error_map(predicted: Tensor, images: Tensor, sample: NoisedPlanes, config: Any) -> Tensor:
    """Error of a prediction at every pixel, whose mean is the training loss.

    Parameters
    ----------
    predicted
        What the network made of ``sample.noised``.
    images
        The healthy planes, never corrupted.
    sample
        What `noised_planes` made of them.
    config
        `prediction` and `loss`.

    Returns
    -------
    Tensor
        Shape of `images`: absolute (``"l1"``) or squared (``"l2"``) difference from the target.
    """
    error = predicted - (images if config.prediction == "clean" else sample.noise)
    return error.abs() if config.loss == "l1" else error.square()


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
    on_call: Callable[[], None],
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
    on_call
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
        on_call()
        return clean_planes(predicted, noised, abar_at(abars, steps, noised), config)

    return denoise
