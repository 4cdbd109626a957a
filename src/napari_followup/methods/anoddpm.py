"""AnoDDPM: a healthy image from a partly noised one, without any other knowledge of the subject.

Wyatt et al. (2022), as Behrendt (2026), Sec. 3.3 and 3.4.2, uses it: simplex noise, the clean image
predicted with L1, one network call at step 500. Several steps, of DDIM or with fresh noise at each
as in the original, are options. Presets: `THESIS`; `GAUSSIAN`, the plain DDPM; `COMPACT`, small and
fast, trained to put spoilt parts right (`diffusion.corruption`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from napari_followup.diffusion.ancestral import decode_ancestral
from napari_followup.diffusion.denoising import (
    check_levels,
    check_noising,
    check_use,
    clean_planes,
    error_map,
    noised_planes,
)
from napari_followup.diffusion.noise import noise_named
from napari_followup.diffusion.sampling import Denoise, decode, noised_to
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Evidence, OnStep, Visits, counter
from napari_followup.networks.unet import UNet
from napari_followup.recipe import Pixel, Recipe

__all__ = [
    "COMPACT",
    "DEFAULT_RECIPE",
    "GAUSSIAN",
    "PRESETS",
    "PUBLISHED_RECIPE",
    "THESIS",
    "AnoDDPM",
    "AnoDDPMConfig",
    "AnoDDPMOptions",
]


@dataclass(frozen=True, kw_only=True)
class AnoDDPMConfig:
    """Architecture, noise and training target (defaults: Behrendt 2026, Sec. 8.2, 4.2).

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
    corruption: float = 0.0  # share of training images that are spoilt before they are noised
    step_power: float = 1.0  # training steps fall on uniform ** step_power: above 1, on low ones

    def __post_init__(self) -> None:
        check_noising(self)


THESIS = AnoDDPMConfig()
GAUSSIAN = replace(THESIS, noise="gaussian")
COMPACT = AnoDDPMConfig(
    image_size=(64, 64),
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    residual_resampling=False,
    corruption=0.5,
    step_power=2.0,
)
PRESETS = {"thesis": THESIS, "gaussian": GAUSSIAN, "compact": COMPACT}
DEFAULT_RECIPE = Recipe.default()
PUBLISHED_RECIPE = Recipe(
    options={"noise_levels": (500,), "draws": 1, "sampling_steps": 1}, score=Pixel(), median=5
)


@dataclass(frozen=True, kw_only=True)
class AnoDDPMOptions:
    """How a trained AnoDDPM is used: where decoding starts, how often, in how many calls."""

    noise_levels: tuple[int, ...] = (500,)  # Sec. 3.4.2: T / 2
    draws: int = 1  # reconstructions from each level
    sampling_steps: int = 1
    sampler: Literal["ddim", "ddpm"] = "ddim"  # ddpm: fresh noise at every step, as in the original

    def __post_init__(self) -> None:
        check_use(self.noise_levels, self.draws, self.sampling_steps)
        if self.sampler not in ("ddim", "ddpm"):
            raise ValueError(f"sampler must be 'ddim' or 'ddpm', got {self.sampler!r}")


class AnoDDPM(nn.Module):
    """A denoising U-Net and its noise.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = AnoDDPMConfig
    options_type = AnoDDPMOptions
    stages = ("denoise",)
    samples = "planes"

    def __init__(self, config: AnoDDPMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet.of(config)
        self.noise = noise_named(config.noise)
        abars = linear_schedule(config.steps, config.beta_range)
        self.register_buffer("abars", abars, persistent=False)

    @staticmethod
    def fitted(config: AnoDDPMConfig, samples: Tensor) -> AnoDDPMConfig:
        """Take nothing from the training planes: they are in the value range already."""
        return config

    def reconstruct(
        self,
        planes: Tensor,
        options: AnoDDPMOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Pseudo-healthy planes, one set a level and draw.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options
            Noise levels, draws, sampling steps and sampler.
        generator
            Source of the noise.
        on_step
            Called after every network call.

        Returns
        -------
        Tensor
            ``(draw, b, modality, y, x)``, all draws of one level before those of the next.

        Raises
        ------
        ValueError
            If a noise level lies beyond the schedule.
        """
        check_levels(options.noise_levels, self.config.steps)
        calls = sum(min(level, options.sampling_steps) for level in options.noise_levels)
        denoise = self._denoiser(counter(on_step, options.draws * calls))
        drawn = [
            self._decoded(planes, level, options, generator, denoise)
            for level in options.noise_levels
            for _ in range(options.draws)
        ]
        return torch.stack(drawn)

    def _decoded(
        self,
        planes: Tensor,
        level: int,
        options: AnoDDPMOptions,
        generator: torch.Generator,
        denoise: Denoise,
    ) -> Tensor:
        noise = self.noise(tuple(planes.shape), generator, planes)
        start = noised_to(planes, level, self.abars, noise)
        walk = start, level, options.sampling_steps, self.abars, denoise
        if options.sampler == "ddim":
            return decode(*walk)
        return decode_ancestral(*walk, noise=self.noise, generator=generator)

    def _denoiser(self, tell: Callable[[], None]) -> Denoise:
        """Network, its answers as clean planes inside the value range."""
        code = self.unet.project_code(None)

        def denoise(noised: Tensor, step: int) -> Tensor:
            steps = torch.tensor([step], device=noised.device)
            predicted = self.unet(noised, self.unet.project_steps(steps), code)
            tell()
            return clean_planes(predicted, noised, self.abars[step].to(noised), self.config)

        return denoise

    def examine(
        self, visits: Visits, options: AnoDDPMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct every plane of every visit by itself."""
        healthy = self.reconstruct(visits.planes, options, generator, on_step)
        return Evidence(healthy=visits.unplane(healthy))

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mean error of the prediction on healthy planes (b, m, y, x) at random steps."""
        sample = noised_planes(images, self.config, self.abars, generator)
        steps, code = self.unet.project_steps(sample.steps), self.unet.project_code(None)
        return error_map(self.unet(sample.noised, steps, code), images, sample, self.config).mean()

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: the U-Net."""
        return (self.unet,)

    def begin(self, stage: str) -> None:
        """Nothing to prepare."""
