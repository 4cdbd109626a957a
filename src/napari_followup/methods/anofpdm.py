"""AnoFPDM: errors of healthy-guided predictions along the forward process of a diffusion model.

Che et al. (2024). One network learns healthy and anomalous images under their label, and without
one; guided towards "healthy" it takes anomalies away, unguided it only blurs them. The step where
the two part most ends the sum of errors. Image labels come with the batch, or are made: half of the
healthy planes are corrupted (`diffusion.labelled`). Labels enter the network where codes do, not by
cross-attention as in the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.corruption import HEALTHY, half_corrupted
from napari_followup.diffusion.noise import draw_noise
from napari_followup.diffusion.process import add_noise, clean_from_noise, ddim_step
from napari_followup.diffusion.sampling import noised_to
from napari_followup.diffusion.schedule import (
    abar_at,
    check_betas,
    check_steps,
    draw_steps,
    linear_schedule,
)
from napari_followup.methods.method import Evidence, Method, OnStep, Visits, counter
from napari_followup.methods.options import AnoFPDMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.unet import UNet
from napari_followup.scores.filters import median_filter
from napari_followup.scores.steps import ForwardErrors, chosen_quantile, healthy_boundary

__all__ = [
    "COMPACT",
    "PRESETS",
    "PUBLISHED",
    "AnoFPDM",
    "AnoFPDMConfig",
    "AnoFPDMOptions",
]

UNLABELLED = 2  # third entry of the label table, beside healthy and anomalous
# In `AnoFPDM.refined`: of the steps, every so many (in a trial M came out 1 to 2 % higher with 2,
# 5 to 8 % with 5); planes at once; the share on the right side below which no cosine is kept.
FIT_STRIDE, FIT_PLANES, RELIABLE = 2, 16, 0.7


@dataclass(frozen=True, kw_only=True)
class AnoFPDMConfig:
    """Architecture, schedule and labels (Che et al. 2024, Table 2)."""

    modalities: int = 1
    image_size: tuple[int, int] = (128, 128)  # (y, x) in pixels
    value_range: tuple[float, float] = (-1.0, 1.0)
    channels: tuple[int, ...] = (128, 128, 256, 384, 512)  # "channels 128"; multiples not printed
    blocks: int = 2  # residual blocks a level, as in Ho et al. (2020)
    attention: tuple[int, ...] = (2, 3, 4)  # at 32, 16 and 8 pixels of 128; one head, not two
    unshuffle: int = 1
    residual_resampling: bool = False
    condition_features: int = 128
    dropout: float = 0.1
    steps: int = 1000
    beta_range: tuple[float, float] = (1e-4, 2e-2)
    prediction: Literal["noise", "clean"] = "noise"
    trained_steps: tuple[int, int] = (1, 1000)
    label_dropout: float = 0.1
    synthetic_labels: bool = True  # whether plain healthy planes may be corrupted to make labels
    # M_max of Algorithm 1, which `AnoFPDM.refined` measures when training ends; where it is not
    # known, the series' own largest
    largest_difference: float | None = None
    # Cosine of appendix B from which an image is healthy, measured then too; where it is not known,
    # every image has its own quantile as threshold
    healthy_similarity: float | None = None

    def __post_init__(self) -> None:
        check_betas(self.beta_range)
        check_steps("trained_steps", self.trained_steps, (1, self.steps))
        if not 0 < self.label_dropout < 1:
            raise ValueError(f"label_dropout must lie in (0, 1), got {self.label_dropout}")
        if self.largest_difference is not None and self.largest_difference <= 0:
            raise ValueError(f"largest_difference must be positive, got {self.largest_difference}")


PUBLISHED = AnoFPDMConfig()
COMPACT = AnoFPDMConfig(
    image_size=(64, 64),
    channels=(64, 96, 96),
    blocks=1,
    attention=(1, 2),
    unshuffle=4,
    condition_features=64,
    dropout=0.0,
    prediction="clean",
    trained_steps=(1, 600),
)
PRESETS = {"published": PUBLISHED, "compact": COMPACT}


class AnoFPDM(nn.Module, Method):
    """U-Net with a table of labels: healthy, anomalous, none.

    Raises
    ------
    ValueError
        If the image size is no multiple of what the U-Net halves and folds.
    """

    abars: Tensor  # (steps + 1,) float64, signal share of every step

    config_type = AnoFPDMConfig
    options_type = AnoFPDMOptions
    gives = TABLE["anofpdm"].gives
    stages = ("denoise",)
    samples: Literal["planes", "labelled"] = "planes"
    takes_labels = TABLE["anofpdm"].labels
    refines = ("cut",)
    refined_fields = ("largest_difference", "healthy_similarity")

    def __init__(self, config: AnoFPDMConfig) -> None:
        super().__init__()
        self.config = config
        if not config.synthetic_labels:
            self.samples = "labelled"
        self.unet = UNet.of(config, config.condition_features)
        self.labels = nn.Embedding(3, config.condition_features)
        self.register_buffer(
            "abars", linear_schedule(config.steps, config.beta_range), persistent=False
        )

    @staticmethod
    def check_options(config: AnoFPDMConfig, options: AnoFPDMOptions) -> None:
        """Raise a ValueError if a step lies beyond those that were trained."""
        check_steps("options", (options.steps[0], options.steps[-1]), config.trained_steps)

    def clean(self, noised: Tensor, steps: Tensor, code: list[Tensor]) -> Tensor:
        """Predict the clean image, unclamped.

        Parameters
        ----------
        noised
            ``(b, modality, y, x)``.
        steps
            ``(b,)`` or ``(1,)`` diffusion steps.
        code
            What `labelled` made of labels.

        Returns
        -------
        Tensor
            Shape of `noised`.
        """
        predicted: Tensor = self.unet(noised, self.unet.project_steps(steps), code).float()
        if self.config.prediction == "clean":
            return predicted
        return clean_from_noise(noised, predicted, abar_at(self.abars, steps, noised))

    def labelled(self, labels: Tensor) -> list[Tensor]:
        """Labels (b,) int64 -> each block's (b, 2 c)."""
        return self.unet.project_code(self.labels(labels))

    def gather(
        self,
        planes: Tensor,
        options: AnoFPDMOptions,
        generator: torch.Generator,
        on_step: OnStep | None = None,
    ) -> ForwardErrors:
        """Errors with and without guidance along the forward process.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range.
        options
            Steps and guidance.
        generator
            Source of the noise, of which the DDIM path needs none.
        on_step
            Called after every step, for which guided and unguided planes go through together.

        Returns
        -------
        ForwardErrors
            With all steps in it.

        Raises
        ------
        ValueError
            If a step lies beyond those that were trained.

        References
        ----------
        Eqs. 3 to 5. Guidance is linear in the prediction, so it may act on clean images or noise.
        """
        self.check_options(self.config, options)
        wanted = options.steps
        advance, errors = counter(on_step, len(wanted)), ForwardErrors(planes)
        both = torch.tensor([HEALTHY, UNLABELLED], device=planes.device)
        code = self.labelled(both.repeat_interleave(len(planes)))
        noised = planes  # taken for an image of the first step, as the DDIM path begins
        for count, step in enumerate(wanted):
            if options.forward == "ddpm":
                noise = draw_noise(tuple(planes.shape), generator, planes)
                noised = noised_to(planes, step, self.abars, noise)
            steps = torch.tensor([step], device=planes.device)
            guided, unguided = self.clean(noised.repeat(2, 1, 1, 1), steps, code).chunk(2)
            w = options.guidance
            errors.add((1 + w) * guided - w * unguided, unguided)
            if options.forward == "ddim" and count + 1 < len(wanted):
                here, there = (self.abars[s].to(planes) for s in wanted[count : count + 2])
                noised = ddim_step(noised, unguided, here, there)
            advance()
        return errors

    def examine(
        self, visits: Visits, options: AnoFPDMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Score every plane of every visit; each has an end step of its own (eq. 6)."""
        errors = self.gather(visits.planes, options, generator, on_step)
        score = visits.unplane(errors.score()[None, :, None])[0, :, 0]
        if options.cut is not None:
            thresholds = self._thresholds(errors, options.cut, options.median)
            score = score / visits.unplane(thresholds[None, :, None, None, None])[0, :, 0]
        healthy = errors.healthy.clamp(*self.config.value_range)
        return Evidence(healthy=visits.unplane(healthy[None]), score=score)

    def _thresholds(self, errors: ForwardErrors, cut: tuple[float, float], median: int) -> Tensor:
        """(b,) threshold of each plane by Algorithm 1; infinite for a healthy plane."""
        most = self.config.largest_difference or float(errors.largest.max().clamp_min(1e-12))
        quantiles = chosen_quantile(errors.largest, most, cut)
        smooth = median_filter(errors.score()[:, None], median).flatten(1)
        thresholds = [
            torch.quantile(one, float(q)) for one, q in zip(smooth, quantiles, strict=True)
        ]
        found = torch.stack(thresholds).clamp_min(1e-12)
        if self.config.healthy_similarity is None:
            return found
        return found.where(errors.similarity() < self.config.healthy_similarity, torch.inf)

    def loss(
        self, stage: str, batch: Tensor | tuple[Tensor, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Denoising loss under labels, a tenth of them dropped.

        Parameters
        ----------
        stage
            The only one.
        batch
            Images ``(b, modality, y, x)`` and labels ``(b,)``, 0 healthy and 1 anomalous; or
            healthy images alone.
        generator
            Source of every random draw.

        Returns
        -------
        Tensor
            Mean square.

        Raises
        ------
        ValueError
            If labels are missing, and may not be made.
        """
        images, labels = self._with_labels(batch, generator)
        chance = torch.rand(len(images), generator=generator, device=generator.device)
        dropped = chance.to(images.device) < self.config.label_dropout
        code = self.labelled(labels.masked_fill(dropped, UNLABELLED))
        steps = draw_steps(len(images), self.config.trained_steps, generator, images)
        noise = draw_noise(tuple(images.shape), generator, images)
        noised = add_noise(images, noise, abar_at(self.abars, steps, images))
        predicted = self.unet(noised, self.unet.project_steps(steps), code)
        return F.mse_loss(predicted, images if self.config.prediction == "clean" else noise)

    def _with_labels(
        self, batch: Tensor | tuple[Tensor, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if isinstance(batch, tuple | list):
            images, labels = batch
            return images, (labels > 0).long().to(images.device)
        if not self.config.synthetic_labels:
            raise ValueError(
                "AnoFPDM learns from images with labels, healthy or anomalous, got images alone; "
                "give both, or a configuration with synthetic_labels"
            )
        return half_corrupted(batch, generator, self.config.value_range)

    def refined(
        self, planes: Tensor, labels: Tensor | None, generator: torch.Generator
    ) -> AnoFPDMConfig:
        """Measure M_max of Algorithm 1 and the cosine of appendix B.

        Parameters
        ----------
        planes
            ``(b, modality, y, x)`` in the value range, not trained on; healthy without `labels`.
        labels
            ``(b,)``, 0 for healthy. Where none are given, half of the planes are corrupted, as in
            training.
        generator
            Source of what they are corrupted with.

        Returns
        -------
        AnoFPDMConfig
            Without the cosine where it separates healthy planes little better than chance, and
            would hide what the quantiles find. M_max is that of the anomalous planes, or of all
            planes where none is anomalous.
        """
        if labels is None:
            planes, labels = half_corrupted(planes, generator, self.config.value_range)
        first, last = self.config.trained_steps
        options = AnoFPDMOptions(
            first_step=first, last_step=min(AnoFPDMOptions.last_step, last), stride=FIT_STRIDE
        )
        parts = [self.gather(part, options, generator) for part in planes.split(FIT_PLANES)]
        largest = torch.cat([errors.largest for errors in parts])
        similarity = torch.cat([errors.similarity() for errors in parts])
        is_healthy, boundary, share = labels == 0, 0.0, 0.0
        sick = largest if is_healthy.all() else largest[~is_healthy]
        if is_healthy.any() and not is_healthy.all():
            boundary, share = healthy_boundary(similarity, is_healthy)
        return replace(
            self.config,
            largest_difference=float(sick.max().clamp_min(1e-12)),
            healthy_similarity=boundary if share >= RELIABLE else None,
        )

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: all."""
        return (self.unet, self.labels)
