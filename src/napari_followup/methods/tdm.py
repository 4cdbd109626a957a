"""Temporal Diffusion Model: what a subject's image looks like at another age.

Dang (2025), Sec. 6: diffusion over the change from a known visit, given that visit, its age and
the gap. Presets: `THESIS` follows Table 6.1 to the letter; `COMPACT` takes any number of known
visits and both directions of time, and reads the change as a motion of what is there plus a rest,
so that what does not move stays exactly as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.noise import draw_noise
from napari_followup.diffusion.process import add_noise, clean_from_noise
from napari_followup.diffusion.sampling import decode
from napari_followup.diffusion.schedule import abar_at, check_betas, linear_schedule
from napari_followup.diffusion.visits import draw_visits, leave_one_out, moved, smoothed
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import TDMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.references import RRDB, ReferencePool
from napari_followup.networks.unet import UNet

__all__ = ["COMPACT", "PRESETS", "TDM", "THESIS", "TDMConfig", "TDMOptions"]

GAP_FLOOR = 0.02  # of the squared gap that errors are measured by, in the cohort's gap_sd


@dataclass(frozen=True, kw_only=True)
class TDMConfig:
    """Architecture, noise schedule, target, and the cohort's ages (defaults: Dang 2025, Table 6.1).

    Years in `age_mean`, `age_sd`, `gap_sd` and `age_range` are those of the training cohort.
    """

    modalities: int = 1
    image_size: tuple[int, int] = (64, 64)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)
    channels: tuple[int, ...] = (32, 64, 128, 256)
    blocks: int = 2
    condition_features: int = 32
    dropout: float = 0.1
    unshuffle: int = 1
    encoder_blocks: int = 8
    encoder_features: int = 64
    encoder_growth: int = 32
    references: int = 1  # known visits that a training sample has at most
    backward: bool = False  # whether earlier visits may be predicted from later ones
    motion: bool = False  # whether the change is a motion plus a rest, or the rest alone
    prediction: Literal["noise", "clean"] = "noise"
    steps: int = 1000
    beta_range: tuple[float, float] = (1e-4, 2e-2)
    age_mean: float = 0.0
    age_sd: float = 1.0
    gap_sd: float = 1.0
    age_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_betas(self.beta_range)
        if self.motion and self.prediction != "clean":
            raise ValueError("motion needs prediction='clean': noise does not move")
        if self.references < 1:
            raise ValueError(f"references must be at least 1, got {self.references}")

    def fitted(self, ages: Tensor) -> TDMConfig:
        """Config that knows a cohort's ages (series, visit), NaN for none, and their gaps."""
        known = ages[ages.isfinite()]
        gaps = (ages[:, :, None] - ages[:, None]).flatten()
        gaps = gaps[gaps.isfinite() & (gaps != 0)]
        if not gaps.numel():
            raise ValueError(
                "every visit has the same age: change over time needs ages that differ"
            )
        return replace(
            self,
            age_mean=float(known.mean()),
            age_sd=float(known.std()) or 1.0,
            gap_sd=float(gaps.square().mean().sqrt()),
            age_range=(float(known.min()), float(known.max())),
        )

    def usual_steps(self, draws: int) -> int:
        """Network calls a draw that this model needs.

        One gives the mean image of a model that predicts clean changes; images that differ from
        draw to draw take more, and a model that predicts noise takes the published number.
        """
        if self.prediction == "noise":
            return 100
        return 1 if draws == 1 else 4


THESIS = TDMConfig()
COMPACT = TDMConfig(
    channels=(64, 96, 96),
    blocks=1,
    condition_features=64,
    dropout=0.0,
    unshuffle=4,
    encoder_blocks=1,
    encoder_features=48,
    encoder_growth=16,
    references=4,
    backward=True,
    motion=True,
    prediction="clean",
)
PRESETS = {"thesis": THESIS, "compact": COMPACT}


class TDM(nn.Module, Method):
    """Encoder of known visits and U-Net of a Temporal Diffusion Model.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = TDMConfig
    options_type = TDMOptions
    gives = TABLE["tdm"].gives
    stages = ("change",)
    samples = "series"

    def __init__(self, config: TDMConfig) -> None:
        super().__init__()
        self.config = config
        several = config.references > 1
        self.encoder = RRDB(
            config.modalities * (2 if several else 1),
            config.encoder_features,
            config.encoder_blocks,
            growth=config.encoder_growth,
            unshuffle=config.unshuffle,
        )
        self.pool = ReferencePool(self.encoder.outputs) if several else None
        features = config.condition_features
        self.from_age = nn.Linear(1, features)
        self.from_gap = nn.Linear(1, features)
        self.unet = UNet(
            config.modalities,
            config.modalities + (2 if config.motion else 0),
            config.channels,
            attention=(),
            features=features,
            code_features=self.encoder.outputs + features,
            dropout=config.dropout,
            unshuffle=config.unshuffle,
            blocks=config.blocks,
            summed=True,
        )
        if any(side % self.unet.multiple for side in config.image_size):
            raise ValueError(
                f"image_size: got {config.image_size}; this network takes multiples of "
                f"{self.unet.multiple} pixels"
            )
        self.register_buffer(
            "abars", linear_schedule(config.steps, config.beta_range), persistent=False
        )

    @staticmethod
    def fitted(config: TDMConfig, samples: tuple[Tensor, Tensor]) -> TDMConfig:
        """Config that knows the ages of the training series, and the gaps between their visits."""
        return config.fitted(samples[1])

    def predict(
        self,
        images: Tensor,
        ages: Tensor,
        wanted: Tensor,
        noise: Tensor,
        sampling_steps: int | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Images at other ages.

        Parameters
        ----------
        images
            ``(b, visit, modality, y, x)`` known visits in the value range. The change is predicted
            from the first one, the base; a model with ``references = 1`` looks at no other.
        ages
            ``(b, visit)`` years; NaN where a series has fewer visits than others.
        wanted
            ``(b,)`` years.
        noise
            ``(draw, b, modality, y, x)`` of unit variance: where each draw starts.
        sampling_steps
            Network calls a draw; `usual_steps` when none are given.
        on_step
            Called after every network call.

        Returns
        -------
        Tensor
            ``(draw, b, modality, y, x)``, clamped to the value range, or to that of the base
            where it is wider.

        Raises
        ------
        ValueError
            If the model goes forward in time only and a base is later than the wanted age.
        """
        sampling_steps = sampling_steps or self.config.usual_steps(len(noise))
        gaps = self._gaps(ages, wanted)
        base, gap = images[:, 0], self._gap(gaps)
        bottom, top = self.config.value_range  # beyond which a visit's own extremes may lie
        low = base.amin(dim=(1, 2, 3), keepdim=True).clamp_max(bottom)
        high = base.amax(dim=(1, 2, 3), keepdim=True).clamp_min(top)
        conditions = self.conditions(images, gaps, wanted)
        advance = counter(on_step, len(noise) * min(sampling_steps, self.config.steps))

        def denoise(noised: Tensor, step: int) -> Tensor:
            steps = torch.tensor([step], device=noised.device)
            change = self.change(noised, steps, conditions, base, gap)
            advance()
            return (base + change).clamp(low, high) - base

        changes = [
            decode(start, self.config.steps, sampling_steps, self.abars, denoise) for start in noise
        ]
        return base + torch.stack(changes)

    def conditions(self, images: Tensor, gaps: Tensor, wanted: Tensor) -> list[Tensor]:
        """Gather what the U-Net knows of the subject, once for all steps and draws.

        Parameters
        ----------
        images
            ``(b, visit, modality, y, x)``, the base first.
        gaps
            ``(b, visit)`` years from each visit to the wanted age, NaN where there is none.
        wanted
            ``(b,)`` years.

        Returns
        -------
        list of Tensor
            One map a residual block.
        """
        config = self.config
        gap = self._gap(gaps)
        age = ((wanted[:, None] - gaps[:, :1] - config.age_mean) / config.age_sd).float()
        if self.pool is None:
            maps = self.encoder(images[:, 0])
        else:
            maps = self.pool(self.encoder, images, gaps / config.gap_sd, age)
        numbers = self.from_age(age) + self.from_gap(gap)
        numbers = numbers[..., None, None].expand(-1, -1, *maps.shape[-2:])
        return self.unet.project_maps(torch.cat([maps, numbers], dim=1))

    def change(
        self,
        noised: Tensor,
        steps: Tensor,
        conditions: list[Tensor],
        base: Tensor,
        gap: Tensor,
    ) -> Tensor:
        """Predict the clean change, unclamped: a motion that grows with the gap, plus a rest.

        Parameters
        ----------
        noised
            ``(b, modality, y, x)`` the change, noised to `steps` (b or 1).
        steps
            Diffusion steps.
        conditions
            As `conditions` returns them.
        base
            ``(b, modality, y, x)`` the visit that changes.
        gap
            ``(b, 1)`` time from it to the wanted age, in standard deviations of the cohort's gaps.

        Returns
        -------
        Tensor
            Shape of `noised`.
        """
        predicted: Tensor = self.unet(noised, self.unet.project_steps(steps), conditions)
        if self.config.prediction == "noise":
            return clean_from_noise(noised, predicted, abar_at(self.abars, steps, noised))
        if not self.config.motion:
            return predicted
        rest, motion = predicted.split([self.config.modalities, 2], dim=1)
        motion = smoothed(motion, self.config.unshuffle) * gap[..., None, None]  # speed times time
        change: Tensor = moved(base, motion) - base + rest
        return change

    def examine(
        self, visits: Visits, options: TDMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Predict every visit from the others: what differs has appeared or gone."""
        images = visits.images.permute(2, 0, 1, 3, 4)  # (z, visit, modality, y, x)
        depth, count = images.shape[:2]
        if count < 2:
            raise ValueError("a single visit: there is no other one to predict it from")
        tasks = leave_one_out(visits.ages, backward=self.config.backward)
        known = images[:, tasks.known].flatten(0, 1)  # (z · task, other, modality, y, x)
        ages = visits.ages[tasks.known].repeat(depth, 1)
        wanted = visits.ages[tasks.wanted].repeat(depth)
        noise = draw_noise((options.draws, len(known), *known.shape[2:]), generator, known)
        drawn = self.predict(known, ages, wanted, noise, options.sampling_steps, on_step)
        weighted = drawn.unflatten(1, (depth, -1)) * tasks.weight.to(drawn)[:, None, None, None]
        healthy = images.repeat(options.draws, 1, 1, 1, 1, 1)  # as it is where nothing precedes it
        healthy[:, :, tasks.wanted] = 0
        healthy = healthy.index_add(2, tasks.wanted, weighted.to(healthy))
        return Evidence(healthy=healthy.permute(0, 2, 3, 1, 4, 5))

    def loss(self, stage: str, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        """Loss on healthy series: images (b, visit, modality, y, x) and ages (b, visit), eq. 6.1.

        Ages are NaN where a series has fewer visits; every series has two or more.
        """
        backward, references = self.config.backward, self.config.references
        picks, years = draw_visits(batch[1], references, generator, backward=backward)
        taken = batch[0][torch.arange(len(picks), device=picks.device)[:, None], picks]
        target, images, wanted = taken[:, 0], taken[:, 1:], years[:, 0]
        gaps, base = wanted[:, None] - years[:, 1:], taken[:, 1]
        noise = draw_noise(tuple(base.shape), generator, base)
        steps = torch.randint(
            1, self.config.steps + 1, (len(base),), generator=generator, device=generator.device
        ).to(base.device)
        noised = add_noise(target - base, noise, abar_at(self.abars, steps, base))
        conditions = self.conditions(images, gaps, wanted)
        if self.config.prediction == "noise":
            predicted = self.unet(noised, self.unet.project_steps(steps), conditions)
            return F.mse_loss(predicted, noise)
        gap = self._gap(gaps)
        change = self.change(noised, steps, conditions, base, gap)
        squares = (change - (target - base)).square().mean(dim=(1, 2, 3))
        # What a long gap leaves open must not drown what a short one shows: errors grow with it.
        relative: Tensor = squares / (GAP_FLOOR + gap[:, 0].square())
        return relative.mean()

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: all of them."""
        return (self,)

    def _gaps(self, ages: Tensor, wanted: Tensor) -> Tensor:
        """(b, visit) years from each known visit to the wanted age, NaN for those not seen."""
        gaps = wanted[:, None] - ages
        if self.config.backward:
            return gaps
        if (gaps[:, 0] < 0).any():
            raise ValueError("this model goes forward in time only and needs an earlier visit")
        return gaps.masked_fill(gaps < 0, torch.nan)

    def _gap(self, gaps: Tensor) -> Tensor:
        """(b, 1) float32: standardised time from the base, the first of (b, visit)."""
        return (gaps[:, :1] / self.config.gap_sd).float()
