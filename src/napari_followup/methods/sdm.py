"""Spatial Diffusion Model: a healthy image of the same subject, from noise and a semantic code.

Dang (2025), Sec. 3.1 and 4.2.1. Presets: `THESIS` follows Tables 4.1-4.2 to the letter; `COMPACT`
is small and fast: planes folded by four, a narrow ResNet-18 shaped encoder (group norm at its stem,
batch norm in its residual blocks), the clean image as target, and corrupted inputs in training
(`diffusion.corruption`), so that neither code nor noised image carries an anomaly along.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.corruption import corrupt
from napari_followup.diffusion.denoising import check_levels, check_target, denoiser, from_levels
from napari_followup.diffusion.noise import draw_noise
from napari_followup.diffusion.process import add_noise
from napari_followup.diffusion.sampling import Denoise, decode, encode, lerp, noised_to, slerp
from napari_followup.diffusion.schedule import abar_at, linear_schedule
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import SDMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.networks.unet import UNet
from napari_followup.scores.distance import Features

__all__ = [
    "COMPACT",
    "PRESETS",
    "SDM",
    "THESIS",
    "SDMConfig",
    "SDMOptions",
]


@dataclass(frozen=True, kw_only=True)
class SDMConfig:
    """Architecture, noise schedule and training target (defaults: Dang 2025, Tables 4.1-4.2)."""

    modalities: int = 1
    image_size: tuple[int, int] = (64, 64)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)  # part of what a noise level means
    channels: tuple[int, ...] = (32, 64, 96)
    attention: tuple[int, ...] = (1, 2)  # levels at 1/2 and 1/4 of the plane
    unshuffle: int = 1
    residual_resampling: bool = True  # not in the text, but in the 2.5 M parameters of its code
    condition_features: int = 128
    code_features: int = 512
    dropout: float = 0.1
    encoder_depth: int = 50
    encoder_width: int = 64
    encoder_stem_norm: Literal["batch", "group"] = "batch"
    encoder_pool: bool = True
    encoder_grid: int = 1  # parts of the plane, each way, that have codes of their own
    steps: int = 1000
    beta_range: tuple[float, float] = (1e-4, 2e-2)
    prediction: Literal["noise", "clean"] = "noise"
    corruption: float = 0.0  # chance that a part of a training image is corrupted, see `corrupt`
    step_power: float = 1.0  # training steps fall on uniform ** step_power: above 1, on low ones
    feature_levels: tuple[int, ...] = (2, 3)  # Sec. 3.2.1; Table 4.2 lists levels 1 to 3
    adaptation_levels: tuple[int, ...] = (100, 250, 500, 1000)  # Sec. 4.2.2
    adaptation_steps: int = 100
    distillation: float = 0.1  # Table 4.2; the text says 1

    def __post_init__(self) -> None:
        check_target(self)

    def corrupted(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(b, modality, y, x) in the value range, some of them with parts that are not healthy."""
        if not self.corruption:
            return images
        low, high = self.value_range
        return low + (high - low) * corrupt(
            (images - low) / (high - low), generator, self.corruption
        )


THESIS = SDMConfig()
COMPACT = SDMConfig(
    channels=(64, 96, 96),
    unshuffle=4,
    residual_resampling=False,
    dropout=0.0,
    code_features=256,
    encoder_depth=18,
    encoder_width=16,
    encoder_stem_norm="group",
    encoder_pool=False,
    encoder_grid=4,
    prediction="clean",
    corruption=0.5,
    step_power=2.0,
    adaptation_steps=4,
)
PRESETS = {"thesis": THESIS, "compact": COMPACT}


class SDM(nn.Module, Method):
    """Encoder, U-Net and feature extractor of a Spatial Diffusion Model.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = SDMConfig
    options_type = SDMOptions
    gives = TABLE["sdm"].gives
    stages = ("denoise", "features")
    samples = "planes"

    def __init__(self, config: SDMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(
            config.modalities,
            config.modalities,
            config.channels,
            attention=config.attention,
            features=config.condition_features,
            code_features=config.code_features,
            dropout=config.dropout,
            unshuffle=config.unshuffle,
            residual_resampling=config.residual_resampling,
        )
        if any(side % self.unet.multiple for side in config.image_size):
            raise ValueError(
                f"image_size: got {config.image_size}; this network takes multiples of "
                f"{self.unet.multiple} pixels"
            )
        self.encoder = SemanticEncoder(
            config.modalities,
            config.code_features,
            depth=config.encoder_depth,
            width=config.encoder_width,
            stem_norm=config.encoder_stem_norm,
            pool=config.encoder_pool,
            grid=config.encoder_grid,
        )
        self.extractor = deepcopy(self.encoder)
        self.register_buffer(
            "abars", linear_schedule(config.steps, config.beta_range), persistent=False
        )

    @staticmethod
    def check_options(config: SDMConfig, options: SDMOptions) -> None:
        """Raise a ValueError if a noise level lies beyond the schedule."""
        check_levels(options.noise_levels, config.steps)

    def reconstruct(
        self,
        planes: Tensor,
        options: SDMOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Pseudo-healthy planes, one set a level and draw.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options
            Noise levels, draws and sampling steps.
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
        self.check_options(self.config, options)
        calls = options.calls * (2 if options.start == "infer" else 1)
        denoise = self._denoiser(self.encoder(planes), counter(on_step, calls))

        def decoded(level: int) -> Tensor:
            noised = self._start(planes, level, options, generator, denoise)
            return decode(noised, level, options.sampling_steps, self.abars, denoise)

        return from_levels(decoded, options.noise_levels, options.draws)

    def between(
        self,
        earlier: Tensor,
        later: Tensor,
        part: Tensor,
        *,
        arc: bool,
        sampling_steps: int = 100,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Planes between two visits: codes and stochastic subcodes interpolated, then decoded.

        Parameters
        ----------
        earlier, later
            ``(b, modality, y, x)`` in the value range.
        part
            ``(b,)`` time passed since the earlier visit, 0 to 1.
        arc
            Whether subcodes go along the arc (lerp-slerp) or straight (lerp-lerp).
        sampling_steps
            Network calls for each of: encoding the one, encoding the other, decoding.
        on_step
            Called after every network call.

        Returns
        -------
        Tensor
            ``(b, modality, y, x)``.

        References
        ----------
        Dang (2025), appendix C.
        """
        level = self.config.steps
        advance = counter(on_step, 3 * min(level, sampling_steps))
        codes = [self.encoder(planes) for planes in (earlier, later)]
        subcodes = [
            encode(planes, level, sampling_steps, self.abars, self._denoiser(code, advance))
            for planes, code in zip((earlier, later), codes, strict=True)
        ]
        mix = slerp if arc else lerp
        subcode = mix(subcodes[0], subcodes[1], part)
        denoise = self._denoiser(lerp(codes[0], codes[1], part), advance)
        return decode(subcode, level, sampling_steps, self.abars, denoise)

    def _denoiser(self, code: Tensor, advance: Callable[[], None]) -> Denoise:
        """Network with a semantic code (b, code_features) bound."""
        return denoiser(self.unet, self.unet.project_code(code), self.abars, self.config, advance)

    def _start(
        self,
        planes: Tensor,
        level: int,
        options: SDMOptions,
        generator: torch.Generator,
        denoise: Denoise,
    ) -> Tensor:
        """Planes at `level`: noise added, or their own stochastic subcode (Sec. 3.1.3)."""
        if options.start == "infer":
            return encode(planes, level, options.sampling_steps, self.abars, denoise)
        noise = draw_noise(tuple(planes.shape), generator, planes)
        return noised_to(planes, level, self.abars, noise)

    def examine(
        self, visits: Visits, options: SDMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct every plane of every visit; nothing is shared between visits (Sec. 3.1)."""
        planes = visits.planes
        healthy = self.reconstruct(planes, options, generator, on_step)
        return Evidence(healthy=visits.unplane(healthy), features=self.examine_features)

    def examine_features(self, planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        """Adapted features of planes for FAM: (b, m, y, x) -> one (b, c, y', x') a level."""
        return self.extractor.features(planes, levels)

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Loss on healthy planes (b, m, y, x): eq. 3.2 for "denoise", eq. 3.6 for "features"."""
        if stage == "denoise":
            return self._denoise_loss(images, generator)
        return self._feature_loss(images, generator)

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains; the rest stays as it is."""
        return (self.unet, self.encoder) if stage == "denoise" else (self.extractor,)

    def begin(self, stage: str) -> None:
        """Prepare `stage`: the feature extractor starts as a copy of the encoder (Sec. 3.2.1)."""
        if stage == "features":
            self.extractor.load_state_dict(self.encoder.state_dict())

    def _denoise_loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        even = torch.rand(len(images), generator=generator, device=generator.device).to(images)
        steps = 1 + (even**self.config.step_power * self.config.steps).long().clamp_max(
            self.config.steps - 1
        )
        noise = draw_noise(tuple(images.shape), generator, images)
        shown = self.config.corrupted(images, generator)
        noised = add_noise(shown, noise, abar_at(self.abars, steps, images))
        predicted = self.unet(
            noised, self.unet.project_steps(steps), self.unet.project_code(self.encoder(shown))
        )
        return F.mse_loss(predicted, images if self.config.prediction == "clean" else noise)

    def _feature_loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        choice = torch.randint(
            len(self.config.adaptation_levels), (1,), generator=generator, device=generator.device
        )
        level = self.config.adaptation_levels[int(choice)]
        options = SDMOptions(noise_levels=(level,), sampling_steps=self.config.adaptation_steps)
        with torch.no_grad():
            healthy = self.reconstruct(images, options, generator)[0]
        return adaptation_loss(
            self.extractor.features,
            self.encoder.features,
            images,
            healthy,
            levels=self.config.feature_levels,
            distillation=self.config.distillation,
        )


def adaptation_loss(
    trained: Features,
    frozen: Features,
    images: Tensor,
    healthy: Tensor,
    *,
    levels: tuple[int, ...] = (2, 3),
    distillation: float = 0.1,
) -> Tensor:
    """Loss that teaches the features of a healthy image and of its reconstruction to agree.

    Parameters
    ----------
    trained, frozen
        The features being adapted and those of the encoder they started from.
    images, healthy
        ``(b, modality, y, x)``.
    distillation
        λ_DL, weight of staying near the frozen features.

    Returns
    -------
    Tensor
        Scalar.

    References
    ----------
    Dang (2025), eq. 3.6.
    """
    pairs = zip(trained(images, levels), trained(healthy, levels), strict=True)
    with torch.no_grad():
        anchors = list(zip(frozen(images, levels), frozen(healthy, levels), strict=True))
    loss = images.new_zeros(())
    for (ours, theirs), (ours_frozen, theirs_frozen) in zip(pairs, anchors, strict=True):
        loss = loss + _cosine_distance(theirs, ours)
        loss = loss + distillation * (
            _cosine_distance(theirs, theirs_frozen) + _cosine_distance(ours, ours_frozen)
        )
    return loss


def _cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(a, b, dim=1)).mean()
