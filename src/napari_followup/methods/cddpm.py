"""Context-conditioned diffusion (cDDPM): a healthy image from noise and a code of the image.

Behrendt (2026), Sec. 3.4.3 and 8.3. Presets: `THESIS`; `PRETRAINED`, whose encoder first learns to
fill in masked images; `COMPACT`, small and fast, trained to put corrupted parts right
(`diffusion.corruption`), so that neither code nor noised image carries an anomaly along.

The masked pre-training is that of the text with one change: its SparK encoder leaves masked places
out of every convolution (sparse convolutions), here they enter as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from napari_followup.diffusion.erasing import random_tiles
from napari_followup.diffusion.noise import noise_named
from napari_followup.diffusion.sampling import decode, noised_to
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import CDDPMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.encoders import FeatureDecoder, SemanticEncoder
from napari_followup.networks.unet import UNet

__all__ = [
    "CDDPM",
    "COMPACT",
    "PRESETS",
    "PRETRAINED",
    "THESIS",
    "CDDPMConfig",
    "CDDPMOptions",
]


@dataclass(frozen=True, kw_only=True)
class CDDPMConfig(DenoisingConfig):
    """Architecture, noise, pre-training, training target (defaults: Behrendt 2026, Sec. 8.3, 4.4).

    The text names no depth for the ResNet.
    """

    channels: tuple[int, ...] = (128, 256, 256)
    code_features: int = 128  # the best of 32 to 512
    encoder_depth: int = 50
    encoder_width: int = 64
    encoder_stem_norm: Literal["batch", "group"] = "batch"
    encoder_pool: bool = True
    encoder_grid: int = 1  # parts of the plane, each way, that have codes of their own
    pretraining: bool = False  # whether the encoder first learns to fill in masked images
    masked: float = 0.65  # share of the image
    tile: int = 16  # side of what is masked at once, in pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.masked < 1 or self.tile < 1:
            raise ValueError(
                f"masked must lie in (0, 1) and tile be at least 1, got {self.masked} and "
                f"{self.tile}"
            )


THESIS = CDDPMConfig()
PRETRAINED = replace(THESIS, pretraining=True)
COMPACT = CDDPMConfig(
    image_size=(64, 64),
    channels=(64, 80, 80),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    residual_resampling=False,
    condition_features=32,
    encoder_depth=18,
    encoder_width=16,
    encoder_stem_norm="group",
    encoder_pool=False,
    encoder_grid=4,
    corruption=0.5,
    step_power=2.0,
)
PRESETS = {"thesis": THESIS, "pretrained": PRETRAINED, "compact": COMPACT}


class CDDPM(nn.Module, Method):
    """Encoder and U-Net of a context-conditioned diffusion model.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = CDDPMConfig
    options_type = CDDPMOptions
    gives = TABLE["cddpm"].gives
    stages: tuple[str, ...] = ("denoise",)
    main_stage = "denoise"  # the one that gets the whole training budget
    samples = "planes"

    def __init__(self, config: CDDPMConfig) -> None:
        super().__init__()
        self.config = config
        if config.pretraining:
            self.stages = ("pretrain", "denoise")
        self.unet = UNet.of(config, config.code_features)
        self.encoder = SemanticEncoder(
            config.modalities,
            config.code_features,
            depth=config.encoder_depth,
            width=config.encoder_width,
            stem_norm=config.encoder_stem_norm,
            pool=config.encoder_pool,
            grid=config.encoder_grid,
        )
        self.decoder: FeatureDecoder | None = None  # in pre-training only
        self.noise = noise_named(config.noise)
        abars = linear_schedule(config.steps, config.beta_range)
        self.register_buffer("abars", abars, persistent=False)

    @staticmethod
    def check_options(config: CDDPMConfig, options: CDDPMOptions) -> None:
        """Raise a ValueError if a noise level lies beyond the schedule."""
        check_levels(options.noise_levels, config.steps)

    def reconstruct(
        self,
        planes: Tensor,
        options: CDDPMOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Pseudo-healthy planes, one set a level and draw; their mean is the published ensemble.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options, generator
            Levels, draws and sampling steps, and the source of the noise.
        on_step
            Called after every network call.

        Returns
        -------
        Tensor
            See `from_levels`; errors are those of `check_options`.
        """
        self.check_options(self.config, options)
        code, advance = (
            self.unet.project_code(self.encoder(planes)),
            counter(on_step, options.calls),
        )
        denoise = denoiser(self.unet, code, self.abars, self.config, advance)

        def decoded(level: int) -> Tensor:
            noise = self.noise(tuple(planes.shape), generator, planes)
            start = noised_to(planes, level, self.abars, noise)
            return decode(start, level, options.sampling_steps, self.abars, denoise)

        return from_levels(decoded, options.noise_levels, options.draws)

    def examine(
        self, visits: Visits, options: CDDPMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct every plane of every visit by itself."""
        healthy = self.reconstruct(visits.planes, options, generator, on_step)
        return Evidence(healthy=visits.unplane(healthy))

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mean error on healthy planes (b, m, y, x): of the clean image, or of what is masked."""
        if stage == "pretrain":
            return self._filling_loss(images, generator)
        sample = noised_planes(images, self.config, self.abars, generator)
        steps = self.unet.project_steps(sample.steps)
        code = self.unet.project_code(self.encoder(sample.shown))
        return error_map(self.unet(sample.noised, steps, code), images, sample, self.config).mean()

    def _filling_loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error where the image was masked (Sec. 8.3, 3.3)."""
        if self.decoder is None:
            raise ValueError('stage "pretrain" has not begun: call begin("pretrain") first')
        cover = random_tiles(images, self.config.tile, self.config.masked, generator)
        filled = self.decoder(self.encoder.features(images * (1 - cover), (1, 2, 3, 4)), images)
        error: Tensor = ((filled - images).square() * cover).sum()
        return error / (cover.sum() * images.shape[1])

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains."""
        if stage == "pretrain" and self.decoder is not None:
            return (self.encoder, self.decoder)
        return (self.unet, self.encoder)

    def begin(self, stage: str) -> None:
        """Make the decoder that pre-training needs, and discard it afterwards (Sec. 8.3, 3.3)."""
        widths = self.encoder.widths
        is_first = stage == "pretrain"
        self.decoder = FeatureDecoder(widths, self.config.modalities) if is_first else None
