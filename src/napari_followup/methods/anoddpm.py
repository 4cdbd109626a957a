"""AnoDDPM: a healthy image from a partly noised one, without any other knowledge of the subject.

Wyatt et al. (2022), as Behrendt (2026), Sec. 3.3 and 3.4.2, uses it: simplex noise, the clean image
predicted with L1, one network call at step 500. Several steps, of DDIM or with fresh noise at each
as in the original, are options. Presets: `THESIS`; `GAUSSIAN`, the plain DDPM; `COMPACT`, small and
fast, trained to put corrupted parts right (`diffusion.corruption`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from napari_followup.diffusion.denoising import (
    DenoisingConfig,
    check_levels,
    denoiser,
    error_map,
    from_levels,
    noised_planes,
)
from napari_followup.diffusion.noise import noise_named
from napari_followup.diffusion.sampling import Denoise, decode, decode_ancestral, noised_to
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import AnoDDPMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.unet import UNet

__all__ = [
    "COMPACT",
    "GAUSSIAN",
    "PRESETS",
    "THESIS",
    "AnoDDPM",
    "AnoDDPMConfig",
    "AnoDDPMOptions",
]


@dataclass(frozen=True, kw_only=True)
class AnoDDPMConfig(DenoisingConfig):
    """Architecture, noise and training target; all of them are those of `DenoisingConfig`."""


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


class AnoDDPM(nn.Module, Method):
    """A denoising U-Net and its noise.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = AnoDDPMConfig
    options_type = AnoDDPMOptions
    gives = TABLE["anoddpm"].gives
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
    def check_options(config: AnoDDPMConfig, options: AnoDDPMOptions) -> None:
        """Raise a ValueError if a noise level lies beyond the schedule."""
        check_levels(options.noise_levels, config.steps)

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
        options, generator
            Levels, draws, sampling steps and sampler, and the source of the noise.
        on_step
            Called after every network call.

        Returns
        -------
        Tensor
            See `from_levels`; errors are those of `check_options`.
        """
        self.check_options(self.config, options)
        code, advance = self.unet.project_code(None), counter(on_step, options.calls)
        denoise = denoiser(self.unet, code, self.abars, self.config, advance)
        return from_levels(
            lambda level: self._decoded(planes, level, options, generator, denoise),
            options.noise_levels,
            options.draws,
        )

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
