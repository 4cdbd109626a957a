"""Patched diffusion (pDDPM): each patch is noised and read back from its clean surroundings.

Behrendt (2026), Sec. 3.4.2 and 8.2. Presets: `THESIS` has patches of half the image on a fixed
grid and the loss inside the patch, the best row of its Table 1; `COMPACT` is small and fast, and
trained to put spoilt parts right (`diffusion.corruption`), so that surroundings which hold a part
of an anomaly do not bring it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from napari_followup.diffusion.denoising import (
    check_levels,
    check_noising,
    check_use,
    clean_planes,
    error_map,
    noised_planes,
)
from napari_followup.diffusion.noise import noise_named
from napari_followup.diffusion.patches import (
    patch_cover,
    patch_grid,
    random_corners,
    stitched,
)
from napari_followup.diffusion.sampling import Denoise, decode, noised_to
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Evidence, OnStep, Visits, counter
from napari_followup.networks.unet import UNet
from napari_followup.recipe import HealthyHysteresis, Pixel, Recipe, Support

__all__ = [
    "COMPACT",
    "DEFAULT_RECIPE",
    "PDDPM",
    "PRESETS",
    "PUBLISHED_RECIPE",
    "THESIS",
    "PDDPMConfig",
    "PDDPMOptions",
]


@dataclass(frozen=True, kw_only=True)
class PDDPMConfig:
    """Architecture, noise, patches and training target (defaults: Behrendt 2026, Sec. 8.2, 4.2).

    As for AnoDDPM, the text leaves open where its U-Net attends.
    """

    modalities: int = 1
    image_size: tuple[int, int] = (96, 96)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)  # part of what a noise level means
    patch_share: float = 0.5  # side of a patch over the side of the image
    positions: Literal["grid", "anywhere"] = "grid"  # of patches in training
    loss_on: Literal["patch", "image"] = "patch"
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
    positions="anywhere",
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    residual_resampling=False,
    corruption=0.5,
    step_power=2.0,
)
PRESETS = {"thesis": THESIS, "compact": COMPACT}
DEFAULT_RECIPE = Recipe(
    options={"noise_levels": (100, 250), "overlap": 8},
    score=Pixel(tolerance=2.0),
    fusion=Support(),
    threshold=HealthyHysteresis(),
)
PUBLISHED_RECIPE = Recipe(options={"noise_levels": (500,)}, score=Pixel(), median=5)


@dataclass(frozen=True, kw_only=True)
class PDDPMOptions:
    """How a trained pDDPM is used: from which levels, with which patches, in how many calls."""

    noise_levels: tuple[int, ...] = (500,)  # Sec. 3.4.2: T / 2
    draws: int = 1  # reconstructions from each level
    sampling_steps: int = 1
    patch: tuple[int, int] | None = None  # (y, x) in pixels; the trained size when none is given
    overlap: int = 0  # pixels that neighbouring patches share at least

    def __post_init__(self) -> None:
        check_use(self.noise_levels, self.draws, self.sampling_steps)


class PDDPM(nn.Module):
    """A denoising U-Net that sees a noised patch in clean surroundings.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = PDDPMConfig
    options_type = PDDPMOptions
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
    def fitted(config: PDDPMConfig, samples: Tensor) -> PDDPMConfig:
        """Take nothing from the training planes: they are in the value range already."""
        return config

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
        options
            Noise levels, draws, sampling steps, patches.
        generator
            Source of the noise, drawn anew for each patch.
        on_step
            Called after every network call: one a patch, step, level and draw.

        Returns
        -------
        Tensor
            ``(draw, b, modality, y, x)``, all draws of one level before those of the next.

        Raises
        ------
        ValueError
            If a noise level lies beyond the schedule, or a patch is larger than the image.
        """
        check_levels(options.noise_levels, self.config.steps)
        patch = options.patch or self.config.patch
        height, width = planes.shape[-2:]
        corners = patch_grid((height, width), patch, options.overlap)
        calls = sum(min(level, options.sampling_steps) for level in options.noise_levels)
        tell = counter(on_step, options.draws * calls * len(corners))
        covers = patch_cover(corners, patch, planes)
        drawn = []
        for level in options.noise_levels:
            for _ in range(options.draws):
                made = (
                    self._decoded(planes, cover, level, options.sampling_steps, generator, tell)
                    for cover in covers
                )
                drawn.append(stitched(made, corners, patch))
        return torch.stack(drawn)

    def _decoded(
        self,
        planes: Tensor,
        cover: Tensor,
        level: int,
        sampling_steps: int,
        generator: torch.Generator,
        tell: Callable[[], None],
    ) -> Tensor:
        """Planes read back from a level, right where `cover` (1, y, x) is 1."""
        noise = self.noise(tuple(planes.shape), generator, planes)
        start = noised_to(planes, level, self.abars, noise)
        denoise = self._denoiser(planes, cover, tell)
        return decode(start, level, sampling_steps, self.abars, denoise)

    def _denoiser(self, planes: Tensor, cover: Tensor, tell: Callable[[], None]) -> Denoise:
        """Network that is shown `planes` wherever `cover` (1, y, x) is 0, at every step."""
        code = self.unet.project_code(None)

        def denoise(noised: Tensor, step: int) -> Tensor:
            shown = torch.lerp(planes, noised, cover)
            steps = torch.tensor([step], device=noised.device)
            predicted = self.unet(shown, self.unet.project_steps(steps), code)
            tell()
            return clean_planes(predicted, noised, self.abars[step].to(noised), self.config)

        return denoise

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

    def begin(self, stage: str) -> None:
        """Nothing to prepare."""
