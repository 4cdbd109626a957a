"""DISYRE: a restoration learned from synthetic anomalies, step by step; its changes are the score.

Naval Marimont et al. (2024). Cold diffusion: the image is mixed, more with every step, with a patch
of another healthy image, and the network predicts the healthy one. Presets: `PUBLISHED` has the
paper's network, steps and patches; `COMPACT` folds planes by four, fills its shapes with greys,
noise and blur as well, and leaves some images as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.corruption import (
    amounts,
    blend,
    foreign_patches,
    random_filling,
    random_shapes,
)
from napari_followup.diffusion.schedule import check_betas, draw_steps, linear_schedule
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import DISYREOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.unet import UNet

__all__ = [
    "COMPACT",
    "DISYRE",
    "PRESETS",
    "PUBLISHED",
    "DISYREConfig",
    "DISYREOptions",
]


@dataclass(frozen=True, kw_only=True)
class DISYREConfig:
    """Architecture and corruption (Naval Marimont et al. 2024, Sec. 2 and 3)."""

    modalities: int = 1
    image_size: tuple[int, int] = (128, 128)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)
    channels: tuple[int, ...] = (32, 64, 96, 128, 256, 256)
    blocks: int = 2  # residual blocks a level, as in Ho et al. (2020)
    attention: tuple[int, ...] = (2, 3, 4, 5)  # from the third block on
    unshuffle: int = 1
    residual_resampling: bool = False
    condition_features: int = 128
    dropout: float = 0.0
    steps: int = 100
    # The DDPM's 1e-4 to 2e-2 for 1000 steps, ten times as steep for a tenth of them: only so does
    # the last step hold next to nothing of the image, as the text has it.
    beta_range: tuple[float, float] = (1e-3, 0.2)
    filling: Literal["foreign", "any"] = "foreign"  # what the shapes are filled with in training
    healthy_share: float = 0.0  # share of training images that are left as they are

    def __post_init__(self) -> None:
        check_betas(self.beta_range)
        if not 0 <= self.healthy_share < 1:
            raise ValueError(f"healthy_share must lie in [0, 1), got {self.healthy_share}")


PUBLISHED = DISYREConfig()
COMPACT = DISYREConfig(
    image_size=(64, 64),
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    condition_features=64,
    filling="any",
    healthy_share=0.2,
)
PRESETS = {"published": PUBLISHED, "compact": COMPACT}


class DISYRE(nn.Module, Method):
    """U-Net that puts synthetic anomalies right.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    amounts: Tensor  # (steps + 1,) float64, share of the foreign patch at every step

    config_type = DISYREConfig
    options_type = DISYREOptions
    gives = TABLE["disyre"].gives
    stages = ("restore",)
    samples = "planes"

    def __init__(self, config: DISYREConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet.of(config)
        schedule = amounts(linear_schedule(config.steps, config.beta_range))
        self.register_buffer("amounts", schedule, persistent=False)

    @staticmethod
    def check_options(config: DISYREConfig, options: DISYREOptions) -> None:
        """Raise a ValueError if the single step lies beyond the schedule."""
        options.chain(config.steps)

    def restored(self, images: Tensor, steps: Tensor) -> Tensor:
        """Predict the healthy image, unclamped.

        Parameters
        ----------
        images
            ``(b, modality, y, x)`` in the value range.
        steps
            ``(b,)`` or ``(1,)``: how anomalous they are taken to be.

        Returns
        -------
        Tensor
            Shape of `images`.
        """
        predicted: Tensor = self.unet(
            images, self.unet.project_steps(steps), self.unet.project_code(None)
        )
        return predicted

    def restore_chain(
        self, planes: Tensor, options: DISYREOptions, on_step: OnStep | None = None
    ) -> tuple[Tensor, Tensor]:
        """Restore planes along the chain, and sum up what each step would change.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options
            The chain.
        on_step
            Called after every network call.

        Returns
        -------
        tuple of Tensor
            The last restoration and the anomaly score, both in the shape of `planes`.

        References
        ----------
        Algorithm 1, read so that ``t_next`` is there before it is compared with 0.
        """
        chain = options.chain(self.config.steps)
        advance = counter(on_step, len(chain))
        current, score = planes, torch.zeros_like(planes, dtype=torch.float64)
        for step, following in zip(chain, [*chain[1:], 0], strict=True):
            healthy = self.restored(current, torch.tensor([step], device=planes.device)).float()
            score += (healthy - current).abs()
            current = blend(
                healthy, current, torch.ones_like(current), self.amounts[following].to(current)
            )
            advance()
        return healthy, score.to(planes)

    def examine(
        self, visits: Visits, options: DISYREOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Heal every plane of every visit; scores are the mean over modalities."""
        healthy, score = self.restore_chain(visits.planes, options, on_step)
        return Evidence(
            healthy=visits.unplane(healthy[None].clamp(*self.config.value_range)),
            score=visits.unplane(score[None])[0].mean(dim=1),
        )

    def corrupted(self, images: Tensor, steps: Tensor, generator: torch.Generator) -> Tensor:
        """Healthy planes (b, m, y, x) with an anomaly in them, as plain as its step (b,) says."""
        low, high = self.config.value_range
        unit = (images - low) / (high - low)
        mask = random_shapes(unit, generator)
        fill = foreign_patches if self.config.filling == "foreign" else random_filling
        chance = torch.rand(len(images), generator=generator, device=generator.device).to(images)
        kept = (chance < self.config.healthy_share)[:, None, None, None]
        amount = self.amounts[steps].to(images)[:, None, None, None]
        return low + (high - low) * blend(unit, fill(unit, generator), mask * ~kept, amount)

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mean square of what is left of the anomalies, on healthy planes (b, m, y, x)."""
        steps = draw_steps(len(images), (1, self.config.steps), generator, images)
        return F.mse_loss(self.restored(self.corrupted(images, steps, generator), steps), images)

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: the U-Net."""
        return (self.unet,)
