"""ANDi: deviations of a diffusion model's backward steps from the true ones, over many steps.

Frotscher et al. (2024). The network learns to remove pyramid noise and is tested with Gaussian
noise, so it takes away coarse anomalies as well. There is no healthy image: every step is a call of
its own from the image itself, and the mean over steps is the score. Presets: `PUBLISHED` has the
schedule, noise and range of the paper, which prints no widths; `COMPACT` folds planes by four,
predicts the clean image and trains on the steps around those that are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.noise import draw_noise, pyramid_noise
from napari_followup.diffusion.process import add_noise, clean_from_noise, transition_deviation
from napari_followup.diffusion.schedule import (
    abar_at,
    check_betas,
    check_steps,
    draw_steps,
    linear_schedule,
)
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import ANDiOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.unet import UNet
from napari_followup.scores.steps import StepMean

__all__ = [
    "COMPACT",
    "PRESETS",
    "PUBLISHED",
    "ANDi",
    "ANDiConfig",
    "ANDiOptions",
]

IMAGES_AT_ONCE = 64  # planes times steps in one network call


@dataclass(frozen=True, kw_only=True)
class ANDiConfig:
    """Architecture, schedule and training noise (Frotscher et al. 2024, Sec. 4.4, appendix A)."""

    modalities: int = 1
    image_size: tuple[int, int] = (128, 128)  # (y, x) in pixels, Sec. 5.2
    value_range: tuple[float, float] = (-1.0, 1.0)
    channels: tuple[int, ...] = (64, 128, 192, 256)  # the paper prints none
    blocks: int = 2  # residual blocks a level, as in Ho et al. (2020)
    attention: tuple[int, ...] = (2, 3)
    unshuffle: int = 1
    residual_resampling: bool = False
    condition_features: int = 128
    dropout: float = 0.0
    steps: int = 1000
    beta_range: tuple[float, float] = (1e-4, 2e-2)
    noise: Literal["pyramid", "gaussian"] = "pyramid"  # in training
    decay: float = 0.8  # of the pyramid, eq. 9
    levels: int = 10
    prediction: Literal["noise", "clean"] = "noise"
    trained_steps: tuple[int, int] = (1, 1000)

    def __post_init__(self) -> None:
        check_betas(self.beta_range)
        check_steps("trained_steps", self.trained_steps, (1, self.steps))


PUBLISHED = ANDiConfig()
COMPACT = ANDiConfig(
    image_size=(64, 64),
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    condition_features=64,
    prediction="clean",
    trained_steps=(1, 300),
)
PRESETS = {"published": PUBLISHED, "compact": COMPACT}


class ANDi(nn.Module, Method):
    """U-Net that predicts what pyramid noise has been added to.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = ANDiConfig
    options_type = ANDiOptions
    gives = TABLE["andi"].gives
    stages = ("denoise",)
    samples = "planes"

    def __init__(self, config: ANDiConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet.of(config)
        self.register_buffer(
            "abars", linear_schedule(config.steps, config.beta_range), persistent=False
        )

    @staticmethod
    def check_options(config: ANDiConfig, options: ANDiOptions) -> None:
        """Raise a ValueError if a step lies beyond those that were trained."""
        check_steps("options", (options.steps[0], options.steps[-1]), config.trained_steps)

    def clean(self, noised: Tensor, steps: Tensor) -> Tensor:
        """Predict the clean image, unclamped: clipping would take outliers away (Sec. 5.6).

        Parameters
        ----------
        noised
            ``(b, modality, y, x)``.
        steps
            ``(b,)`` diffusion steps.

        Returns
        -------
        Tensor
            Shape of `noised`.
        """
        predicted = self._network(noised, steps).float()
        if self.config.prediction == "clean":
            return predicted
        return clean_from_noise(noised, predicted, abar_at(self.abars, steps, noised))

    def deviations(
        self, planes: Tensor, options: ANDiOptions, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """Squared distances ``d_t`` of the transitions, as many steps at once as fit.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options
            Steps and noise.
        generator
            Source of the noise, drawn anew for each step.

        Yields
        ------
        Tensor
            ``(step, b, modality, y, x)``; together all of ``options.steps``.

        Raises
        ------
        ValueError
            If a step lies beyond those that were trained.

        References
        ----------
        Algorithm 1, lines 3 to 9.
        """
        self.check_options(self.config, options)
        wanted = options.steps
        for chunk in _chunks(wanted, len(planes)):
            steps = torch.tensor(chunk, device=planes.device).repeat_interleave(len(planes))
            noise = torch.cat([self._noise(options.noise, planes, generator) for _ in chunk])
            clean = planes.repeat(len(chunk), 1, 1, 1)
            noised = add_noise(clean, noise, abar_at(self.abars, steps, clean))
            predicted = self.clean(noised, steps)
            deviation = transition_deviation(clean, predicted, self.abars, steps)
            yield deviation.unflatten(0, (len(chunk), len(planes)))

    def examine(
        self, visits: Visits, options: ANDiOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Score every plane of every visit; the highest modality counts (Sec. 4.5)."""
        planes = visits.planes
        advance = counter(on_step, len(_chunks(options.steps, len(planes))))
        mean = StepMean(options.mean, floor=options.floor)
        for deviation in self.deviations(planes, options, generator):
            mean.add(deviation)
            advance()
        return Evidence(score=visits.unplane(mean.value()[None])[0].amax(dim=1))

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Loss on healthy planes (b, m, y, x): eq. 5, with pyramid noise."""
        steps = draw_steps(len(images), self.config.trained_steps, generator, images)
        noise = self._noise(self.config.noise, images, generator)
        noised = add_noise(images, noise, abar_at(self.abars, steps, images))
        target = images if self.config.prediction == "clean" else noise
        return F.mse_loss(self._network(noised, steps), target)

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: the U-Net."""
        return (self.unet,)

    def _network(self, noised: Tensor, steps: Tensor) -> Tensor:
        predicted: Tensor = self.unet(
            noised, self.unet.project_steps(steps), self.unet.project_code(None)
        )
        return predicted

    def _noise(self, kind: str, like: Tensor, generator: torch.Generator) -> Tensor:
        shape = tuple(like.shape)
        if kind == "gaussian":
            return draw_noise(shape, generator, like)
        config = self.config
        return pyramid_noise(shape, generator, like, decay=config.decay, levels=config.levels)


def _chunks(steps: range, planes: int) -> list[list[int]]:
    """Group the steps so that each group gives about `IMAGES_AT_ONCE` images."""
    size = max(1, IMAGES_AT_ONCE // planes)
    return [list(steps[start : start + size]) for start in range(0, len(steps), size)]
