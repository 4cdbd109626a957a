"""Variational autoencoder with spatial erasing, of whole volumes or of planes.

Bengs et al. (2021), in Behrendt (2026), Sec. 3.4.1 and 8.1: boxes of the input are replaced by
noise in training, so that the network must fill them from their surroundings; at use nothing is
erased, and what it does not reproduce is the score. `PUBLISHED` is the 3D model on 64 × 64 × 64,
`PLANES` the 2D one beside it; `COMPACT` is a smaller 2D one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.erasing import erase
from napari_followup.diffusion.noise import draw_noise
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import VAE3DOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.vae import VAENetwork, divergence
from napari_followup.scores.filters import resize_volumes

__all__ = [
    "COMPACT",
    "PLANES",
    "PRESETS",
    "PUBLISHED",
    "VAE3D",
    "VAE3DConfig",
    "VAE3DOptions",
]


@dataclass(frozen=True, kw_only=True)
class VAE3DConfig:
    """Architecture and erasing (Behrendt 2026, Sec. 8.1)."""

    modalities: int = 1
    dimensions: Literal[2, 3] = 3
    image_size: tuple[int, int] = (64, 64)  # (y, x) in pixels
    depth: int = 64  # planes that volumes are resampled to; of no meaning in 2D
    value_range: tuple[float, float] = (0.0, 1.0)
    channels: tuple[int, ...] = (32, 64, 128, 128)  # Fig. 2, whose numbers the text does not repeat
    code_features: int = 512  # 128 in 2D
    erased: tuple[float, float] = (0.01, 0.25)  # share of the image, single boxes
    boxes: int = 1  # at most; 10 for the source's several cubes
    erasing_chance: float = 0.5
    filling: Literal["noise", "zero"] = "noise"
    # Of the divergence a feature of the code, beside the mean error of a pixel. The sum over the
    # code beside the mean over pixels would weigh a hundred times as much, and no code survive it.
    divergence_weight: float = 1e-3

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3):
            raise ValueError(f"dimensions must be 2 or 3, got {self.dimensions}")
        if not 0 < self.erased[0] <= self.erased[1] <= 1:
            raise ValueError(f"erased must be two rising shares in (0, 1], got {self.erased}")
        if self.boxes < 1:
            raise ValueError(f"boxes must be at least 1, got {self.boxes}")
        if not 0 <= self.erasing_chance <= 1:
            raise ValueError(f"erasing_chance must lie in [0, 1], got {self.erasing_chance}")

    @property
    def sides(self) -> tuple[int, ...]:
        """``(y, x)`` or ``(z, y, x)`` that the network takes."""
        return self.image_size if self.dimensions == 2 else (self.depth, *self.image_size)


PUBLISHED = VAE3DConfig()
PLANES = VAE3DConfig(dimensions=2, code_features=128)
COMPACT = VAE3DConfig(dimensions=2, channels=(64, 96, 128, 128), code_features=128)
PRESETS = {"published": PUBLISHED, "published 2d": PLANES, "compact": COMPACT}


class VAE3D(nn.Module, Method):
    """Variational autoencoder of volumes, or of planes where the configuration says so.

    `samples` of an instance is ``"volumes"`` (b, modality, z, y, x) in 3D.

    Raises
    ------
    ValueError
        If a side is no multiple of what the network halves.
    """

    config_type = VAE3DConfig
    options_type = VAE3DOptions
    gives = TABLE["vae3d"].gives
    stages = ("reconstruct",)
    samples: Literal["planes", "volumes"] = "planes"

    def __init__(self, config: VAE3DConfig) -> None:
        super().__init__()
        self.config = config
        if config.dimensions == 3:
            self.samples = "volumes"
        self.network = VAENetwork(
            config.modalities, config.sides, config.channels, config.code_features
        )

    def reconstruct(
        self,
        images: Tensor,
        options: VAE3DOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Encode and decode.

        Parameters
        ----------
        images
            ``(b, modality, ...)`` in the value range, of the sides in the configuration.
        options
            Draws of the code.
        generator
            Source of the draws.
        on_step
            Called after every draw.

        Returns
        -------
        Tensor
            ``(draw, b, modality, ...)`` in the value range.
        """
        advance = counter(on_step, max(1, options.draws))
        mean, log_variance = self.network.encode(images)
        drawn = []
        for _ in range(max(1, options.draws)):
            code = self._drawn(mean, log_variance, generator) if options.draws else mean
            drawn.append(self.network.decode(code).float().clamp(*self.config.value_range))
            advance()
        return torch.stack(drawn)

    def examine(
        self, visits: Visits, options: VAE3DOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct every plane, or every volume as a whole; visits stand for themselves."""
        if self.config.dimensions == 2:
            healthy = self.reconstruct(visits.planes, options, generator, on_step)
            return Evidence(healthy=visits.unplane(healthy))
        there = visits.images.shape[-3:]
        volumes = resize_volumes(visits.images, self.config.sides)
        healthy = self.reconstruct(volumes, options, generator, on_step)
        back = resize_volumes(healthy.flatten(0, 1), tuple(there))
        return Evidence(healthy=back.unflatten(0, healthy.shape[:2]))

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Absolute error plus weighted divergence, of images that were erased in parts.

        Parameters
        ----------
        stage
            The only one.
        images
            Healthy ``(b, modality, y, x)``, or ``(b, modality, z, y, x)`` in 3D.
        generator
            Source of every random draw.

        Returns
        -------
        Tensor
            One number.

        Raises
        ------
        ValueError
            If planes come where volumes should, or the other way round.
        """
        config = self.config
        if images.ndim != 2 + config.dimensions:
            raise ValueError(
                f"got training samples of shape {tuple(images.shape)}; a model of "
                f"{config.dimensions} dimensions takes {2 + config.dimensions} axes"
            )
        shown = erase(
            images,
            generator,
            shares=config.erased,
            boxes=config.boxes,
            chance=config.erasing_chance,
            fill=config.filling,
        )
        mean, log_variance = self.network.encode(shown)
        decoded = self.network.decode(self._drawn(mean, log_variance, generator))
        return F.l1_loss(decoded, images) + config.divergence_weight * divergence(
            mean, log_variance
        )

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: all."""
        return (self.network,)

    def _drawn(self, mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
        noise = draw_noise(tuple(mean.shape), generator, mean)
        return mean + (0.5 * log_variance).exp() * noise
