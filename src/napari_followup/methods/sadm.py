"""SADM: a reconstructing method, and a network that learns which of its residuals are anomalies.

Behrendt (2026), Sec. 3.4.6 and 8.6. Stage I is another method of the table, trained as ever; stage
II segments anomalies from image and residual. The score is the sum of ``1 - SSIM``, which sees
anything, and of the segmentation, which sees what it was shown: synthetic anomalies, or those of
the user's own masks. The source takes one or the other (Sec. 8.6, 5.1 and 5.2); here planes with a
mask keep it and healthy ones may get a synthetic anomaly, unless `synthetic_anomalies` is off.
Presets: `PUBLISHED` stands on a pre-trained cDDPM; `COMPACT` on a small one, with soft shapes of
every size in the place of Perlin outlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.diffusion.anomalies import perlin_anomalies, shape_anomalies
from napari_followup.methods import method_class, method_config, method_presets, tupled
from napari_followup.methods.method import (
    Evidence,
    Method,
    OnStep,
    Visits,
    main_stage,
)
from napari_followup.methods.options import SADMOptions
from napari_followup.methods.table import TABLE
from napari_followup.networks.blocks import check_sides
from napari_followup.networks.segmentation import ResidualSegmenter
from napari_followup.scores.distance import in_unit_range, structural_distance
from napari_followup.scores.filters import median_filter

__all__ = [
    "COMPACT",
    "PRESETS",
    "PUBLISHED",
    "SADM",
    "SADMConfig",
    "SADMOptions",
]

SEGMENT = "segment"


@dataclass(frozen=True, kw_only=True)
class SADMConfig:
    """The method underneath, the segmenting network, and what it learns from."""

    modalities: int = 1
    image_size: tuple[int, int] = (96, 96)  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)
    base: str = "cddpm"  # name of a method that gives healthy images
    base_preset: str = "thesis"  # its configuration, where `base_config` gives none
    base_config: Mapping[str, Any] | None = None
    base_options: Mapping[str, Any] | None = None  # how it is used, in stage II and afterwards
    channels: tuple[int, ...] = (64, 128, 256)  # Sec. 8.6, appendix B.1
    anomalies: Literal["perlin", "shapes"] = "perlin"
    anomalous_share: float = 0.5  # of the training images; with masks, half of these are their own
    synthetic_anomalies: bool = True  # whether healthy planes may be given any; off, masks alone

    def __post_init__(self) -> None:
        if not 0 < self.anomalous_share <= 1:
            raise ValueError(f"anomalous_share must lie in (0, 1], got {self.anomalous_share}")
        if self.anomalies not in ("perlin", "shapes"):
            raise ValueError(f"anomalies must be 'perlin' or 'shapes', got {self.anomalies!r}")
        if self.base == "sadm":
            raise ValueError("base must be another method; SADM cannot stand on itself")

    def of_base(self) -> Any:
        """Give the configuration of the method underneath, for images like those of this one."""
        if self.base_config is None:
            given = method_presets(self.base)[self.base_preset]
        else:
            given = method_config(self.base, self.base_config)
        return replace(
            given,
            modalities=self.modalities,
            image_size=self.image_size,
            value_range=self.value_range,
        )


PUBLISHED = SADMConfig(  # appendix B.1
    base_config={"pretraining": True, "channels": (128, 128, 256)},
    base_options={"noise_levels": (250, 500, 750)},
)
COMPACT = SADMConfig(
    image_size=(64, 64),
    base_preset="compact",
    base_options={"noise_levels": (50, 100)},
    channels=(16, 32, 64),
    anomalies="shapes",
)
PRESETS = {"published": PUBLISHED, "compact": COMPACT}


class SADM(nn.Module, Method):
    """Another method, and a segmenting network on its residuals.

    `config` of an instance holds the whole configuration of the method underneath.

    Raises
    ------
    ValueError
        If the method underneath does not learn from planes or gives no healthy images, or the image
        size does not fit.
    """

    config_type = SADMConfig
    options_type = SADMOptions
    gives = TABLE["sadm"].gives
    stages: tuple[str, ...] = (SEGMENT,)  # an instance has those of its base before it
    samples = "planes"
    takes_labels = TABLE["sadm"].labels

    def __init__(self, config: SADMConfig) -> None:
        super().__init__()
        base = config.of_base()
        self.config = replace(config, base_config=asdict(base))
        self.base = method_class(config.base)(base)
        if self.base.samples != "planes":
            raise ValueError(
                f"base: {config.base!r} learns from {_said(self.base)}; SADM needs a method that "
                "learns from healthy planes"
            )
        if "healthy" not in self.base.gives:
            raise ValueError(
                f"base: {config.base!r} gives no healthy images; SADM needs a method that does"
            )
        _, _, self.base_options = self.underneath(config)
        self.stages, self.main_stage = (*self.base.stages, SEGMENT), main_stage(self.base)
        self.masked_stages = {SEGMENT: self._own_share()}
        self.segmenter = ResidualSegmenter(config.modalities, config.channels)
        check_sides(config.image_size, self.segmenter.multiple)

    @staticmethod
    def underneath(config: SADMConfig) -> tuple[Any, Any, Any]:
        """Class, configuration and options of the method underneath."""
        kind = method_class(config.base)
        return kind, config.of_base(), kind.options_type(**tupled(config.base_options or {}))

    @staticmethod
    def check_options(config: SADMConfig, options: SADMOptions) -> None:
        """Raise a ValueError if the method underneath cannot be used as the configuration says."""
        kind, base, base_options = SADM.underneath(config)
        kind.check_options(base, base_options)

    @staticmethod
    def fitted(config: SADMConfig, samples: Tensor) -> SADMConfig:
        """Fit the configuration of the method underneath to the training planes."""
        base = method_class(config.base).fitted(config.of_base(), samples)
        return replace(config, base_config=asdict(base))

    def segment(self, planes: Tensor, healthy: Tensor) -> Tensor:
        """Logits of the segmentation.

        Parameters
        ----------
        planes, healthy
            ``(b, modality, y, x)`` in the value range.

        Returns
        -------
        Tensor
            ``(b, 1, y, x)``.
        """
        logits: Tensor = self.segmenter(planes - healthy, planes)
        return logits.float()

    def examine(
        self, visits: Visits, options: SADMOptions, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Reconstruct with the method underneath, then add both branches' scores (eq. 3)."""
        evidence = self.base.examine(visits, self.base_options, generator, on_step)
        healthy = replace(visits, images=self._mean(evidence)).planes
        unit = [in_unit_range(each, self.config.value_range) for each in (visits.planes, healthy)]
        distance = structural_distance(*unit, sigma=options.sigma)
        found = torch.sigmoid(self.segment(visits.planes, healthy))[:, 0]
        structure = median_filter(distance.mean(dim=1)[:, None], options.median)[:, 0]
        score = options.structure * structure + options.segmentation * found
        return Evidence(
            healthy=evidence.healthy,
            score=visits.unplane(score[None, :, None])[0, :, 0],
            features=evidence.features,
        )

    def loss(
        self, stage: str, batch: Tensor | tuple[Tensor, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Loss of the method underneath, or cross-entropy of the segmentation (eq. 2).

        Parameters
        ----------
        stage
            One of `stages`.
        batch
            Healthy planes ``(b, modality, y, x)``; for the last stage also a tuple of planes and
            the user's masks ``(b, 1, y, x)``, empty for healthy planes.
        generator
            Source of every random draw.

        Returns
        -------
        Tensor
            One number.

        Raises
        ------
        ValueError
            If there are no masks, and no anomalies may be made.
        """
        if stage != SEGMENT:
            loss: Tensor = self.base.loss(stage, batch, generator)
            return loss
        shown, masks = self._shown(batch, generator)
        with torch.no_grad():
            healthy = self._healthy(shown, generator)
        return F.binary_cross_entropy_with_logits(self.segment(shown, healthy), masks)

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains: those of the base, then the segmenting network alone."""
        if stage == SEGMENT:
            return (self.segmenter,)
        parts: tuple[nn.Module, ...] = self.base.parts_of(stage)
        return parts

    def begin(self, stage: str) -> None:
        """Prepare `stage`, where it is one of the method underneath."""
        if stage != SEGMENT:
            self.base.begin(stage)

    def _shown(
        self, batch: Tensor | tuple[Tensor, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Planes with anomalies, and their masks (b, 1, y, x): the user's own, and made ones."""
        if isinstance(batch, Tensor):
            if not self.config.synthetic_anomalies:
                raise ValueError(
                    "SADM learns from planes with masks, got planes alone; give both, or a "
                    "configuration with synthetic_anomalies"
                )
            return self._anomalous(batch, generator, self.config.anomalous_share)
        planes, masks = batch[0], batch[1].to(batch[0])
        if not self.config.synthetic_anomalies:
            return planes, masks
        share = self._own_share()
        made, outlines = self._anomalous(planes, generator, share / (1 - share))
        own = masks.flatten(1).any(dim=1)[:, None, None, None]
        return planes.where(own, made), masks.where(own, outlines)

    def _own_share(self) -> float:
        """Share of planes in a batch that show the user's anomalies, where there are any."""
        share = self.config.anomalous_share
        return share / 2 if self.config.synthetic_anomalies else share

    def _anomalous(
        self, images: Tensor, generator: torch.Generator, share: float
    ) -> tuple[Tensor, Tensor]:
        """Planes with synthetic anomalies, in the value range, and their masks (b, 1, y, x)."""
        low, high = self.config.value_range
        unit = in_unit_range(images, (low, high)).clamp(0, 1)
        make = perlin_anomalies if self.config.anomalies == "perlin" else shape_anomalies
        shown, masks = make(unit, generator, share=share)
        return low + (high - low) * shown, masks

    def _healthy(self, planes: Tensor, generator: torch.Generator) -> Tensor:
        """Healthy planes (b, m, y, x) of planes of no patient in particular."""
        visits = Visits(images=planes[:, :, None], ages=torch.arange(float(len(planes))))
        found = self.base.examine(visits, self.base_options, generator, lambda done, total: None)
        return self._mean(found)[:, :, 0]

    def _mean(self, evidence: Evidence) -> Tensor:
        """(visit, modality, z, y, x) mean of the draws."""
        return cast(Tensor, evidence.healthy).mean(dim=0)


def _said(base: Any) -> str:
    """Say what a method learns from that will not do."""
    needed = "planes with labels of the user's" if base.samples == "labelled" else base.samples
    return str(needed)
