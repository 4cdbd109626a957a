"""Patched diffusion (pDDPM): each patch is noised and read back from its clean surroundings.

Behrendt (2026), Sec. 3.4.2 and 8.2. Presets: `THESIS` has patches of half the image on a fixed
grid and the loss inside the patch, the best row of its Table 1; `COMPACT` is small and fast, and
trained to put corrupted parts right (`diffusion.corruption`), so that surroundings which hold a
part of an anomaly do not bring it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
from napari_followup.diffusion.patches import (
    check_patch,
    patch_cover,
    patch_grid,
    random_corners,
    stitched,
)
from napari_followup.diffusion.sampling import Denoise, decode, noised_to
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import PDDPMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.unet import UNet

__all__ = [
    "COMPACT",
    "PDDPM",
    "PRESETS",
    "THESIS",
    "PDDPMConfig",
    "PDDPMOptions",
]


@dataclass(frozen=True, kw_only=True)
class PDDPMConfig(DenoisingConfig):
    """Architecture, noise, patches and training target (defaults: Behrendt 2026, Sec. 8.2, 4.2)."""

    patch_share: float = 0.5  # side of a patch over the side of the image
    positions: Literal["grid", "anywhere"] = "grid"  # of patches in training
    loss_on: Literal["patch", "image"] = "patch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.patch_share <= 1:
            raise ValueError(f"patch_share must lie in (0, 1], got {self.patch_share}")

    @property
    def patch(self) -> tuple[int, int]:
        """``(y, x)`` in pixels, of the patches it is trained on."""
        height, width = (max(1, round(self.patch_share * side)) for side in self.image_size)
        return height, width


THESIS = PDDPMConfig()
COMPACT = PDDPMConfig(
    image_size=(64, 64),
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    residual_resampling=False,
    corruption=0.5,
    step_power=2.0,
)
PRESETS = {"thesis": THESIS, "compact": COMPACT}


class PDDPM(nn.Module, Method):
    """A denoising U-Net that sees a noised patch in clean surroundings.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = PDDPMConfig
    options_type = PDDPMOptions
    gives = TABLE["pddpm"].gives
    stages = ("denoise",)
    samples = "planes"

    def __init__(self, config: PDDPMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet.of(config)
        self.noise = noise_named(config.noise)
        abars = linear_schedule(config.steps, config.beta_range)
        self.register_buffer("abars", abars, persistent=False)

    @staticmethod
    def check_options(config: PDDPMConfig, options: PDDPMOptions) -> None:
        """Raise a ValueError if a level lies beyond the schedule, or patches do not fit."""
        check_levels(options.noise_levels, config.steps)
        check_patch(options.patch or config.patch, config.image_size, options.overlap)

    def reconstruct(
        self,
        planes: Tensor,
        options: PDDPMOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Pseudo-healthy planes, stitched from patches, one set a level and draw.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options, generator
            Levels, draws, sampling steps and patches, and the source of the noise, drawn anew for
            each patch.
        on_step
            Called after every network call: one a patch, step, level and draw.

        Returns
        -------
        Tensor
            See `from_levels`; errors are those of `check_options`.
        """
        self.check_options(self.config, options)
        patch = options.patch or self.config.patch
        height, width = planes.shape[-2:]
        corners = patch_grid((height, width), patch, options.overlap)
        advance = counter(on_step, options.calls * len(corners))
        denoisers = [
            self._denoiser(planes, cover, advance) for cover in patch_cover(corners, patch, planes)
        ]

        def decoded(level: int, denoise: Denoise) -> Tensor:
            noise = self.noise(tuple(planes.shape), generator, planes)
            start = noised_to(planes, level, self.abars, noise)
            return decode(start, level, options.sampling_steps, self.abars, denoise)

        def whole(level: int) -> Tensor:
            return stitched((decoded(level, each) for each in denoisers), corners, patch)

        return from_levels(whole, options.noise_levels, options.draws)

    def _denoiser(self, planes: Tensor, cover: Tensor, advance: Callable[[], None]) -> Denoise:
        """Network that is shown `planes` wherever `cover` (1, y, x) is 0, at every step."""

        def shown(noised: Tensor) -> Tensor:
            return torch.lerp(planes, noised, cover)

        code = self.unet.project_code(None)
        return denoiser(self.unet, code, self.abars, self.config, advance, shown)

    def examine(
        self, visits: Visits, options: PDDPMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct every plane of every visit by itself."""
        healthy = self.reconstruct(visits.planes, options, generator, on_step)
        return Evidence(healthy=visits.unplane(healthy))

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mean error inside one patch of each healthy plane (b, m, y, x), or on all of it."""
        sample = noised_planes(images, self.config, self.abars, generator)
        corners = self._corners(images, generator)
        cover = patch_cover(corners, self.config.patch, images)
        shown = torch.lerp(sample.shown, sample.noised, cover)
        steps, code = self.unet.project_steps(sample.steps), self.unet.project_code(None)
        errors = error_map(self.unet(shown, steps, code), images, sample, self.config)
        if self.config.loss_on == "image":
            return errors.mean()
        return (errors * cover).sum() / (cover.sum() * images.shape[1])

    def _corners(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """First row and column of a patch, (b, 2): one of the grid, or any."""
        (height, width), patch = images.shape[-2:], self.config.patch
        if self.config.positions == "anywhere":
            return random_corners(len(images), (height, width), patch, generator)
        grid = patch_grid((height, width), patch)
        chosen = torch.randint(
            len(grid), (len(images),), generator=generator, device=generator.device
        )
        return grid[chosen.cpu()]

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: the U-Net."""
        return (self.unet,)
