"""How each method of the table is used, once it is trained; without torch, for forms.

Comments give the place of a default in the method's source, see its module. Methods that decode
from noise levels (AnoDDPM, cDDPM, pDDPM, SDM) share `LevelOptions`: Behrendt (2026), Sec. 3.4, one
network call from half of the schedule; the mean over several levels is an ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from napari_followup.recipe.fields import check_fields, form_text

__all__ = [
    "ANDiOptions",
    "AnoDDPMOptions",
    "AnoFPDMOptions",
    "CDDPMOptions",
    "DISYREOptions",
    "LevelOptions",
    "PDDPMOptions",
    "SADMOptions",
    "SDMOptions",
    "TDMOptions",
    "VAE3DOptions",
]

option = partial(form_text, between=(1, 1000))  # of whole numbers

LEVELS = option("Step where decoding starts, 1 to 1000; several with commas")
CALLS = option("Network calls from a level down to the image")
LOWEST = option("Lowest step that is used")
STRIDE = option("1 takes every step from the first to the last, 5 every fifth: quicker and rougher")


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """Where decoding starts, how often, and in how many network calls."""

    # Sec. 3.4.2 and 3.4.3: T / 2
    noise_levels: tuple[int, ...] = field(default=(500,), metadata=LEVELS)
    draws: int = field(default=1, metadata=option("Reconstructions from each level"))
    sampling_steps: int = field(default=1, metadata=CALLS)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.noise_levels or min(self.noise_levels) < 1:
            raise ValueError(f"noise_levels must name steps from 1 up, got {self.noise_levels}")
        if self.draws < 1 or self.sampling_steps < 1:
            raise ValueError(
                f"draws and sampling_steps must be at least 1, got {self.draws} and "
                f"{self.sampling_steps}"
            )

    @property
    def calls(self) -> int:
        """Network calls that all reconstructions of an image take; a level has no more steps."""
        return self.draws * sum(min(level, self.sampling_steps) for level in self.noise_levels)


@dataclass(frozen=True, kw_only=True)
class AnoDDPMOptions(LevelOptions):
    """How a trained AnoDDPM is used: where decoding starts, how often, in how many calls."""

    sampler: Literal["ddim", "ddpm"] = field(
        default="ddim",
        metadata=option(
            "ddpm adds fresh noise at every step, as in the original, and needs many steps"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CDDPMOptions(LevelOptions):
    """How a trained cDDPM is used: from one level, or from several whose mean is published."""


@dataclass(frozen=True, kw_only=True)
class PDDPMOptions(LevelOptions):
    """How a trained pDDPM is used: from which levels, with which patches, in how many calls."""

    patch: tuple[int, int] | None = field(  # (y, x) in pixels; the trained size when none is given
        default=None,
        metadata=option(
            "Sides of the patches in pixels, as in 32, 32",
            label="patch (y, x)",
            empty="as trained",
        ),
    )
    overlap: int = field(
        default=0,
        metadata=option("Pixels that neighbouring patches share at least", between=(0, 1000)),
    )


@dataclass(frozen=True, kw_only=True)
class SDMOptions(LevelOptions):
    """How a trained SDM is used: where decoding starts, how often, in how many network calls."""

    # Table 5.2: 250 is the best of 50 to 1000
    noise_levels: tuple[int, ...] = field(default=(250,), metadata=LEVELS)
    sampling_steps: int = field(default=100, metadata=CALLS)
    start: Literal["semantic", "infer"] = field(  # added noise, or the inverted subcode
        default="semantic",
        metadata=option(
            "semantic: from added noise; infer: from the noise that the model finds in the image, "
            "as many network calls again"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ANDiOptions:
    """How a trained ANDi is used: which steps, how many of them, and their mean."""

    first_step: int = field(default=75, metadata=LOWEST)  # T_l
    last_step: int = field(  # T_u, not included
        default=200, metadata=option("Step before which it ends")
    )
    stride: int = field(default=1, metadata=STRIDE)  # 1 takes every step: 125 network calls
    noise: Literal["gaussian", "pyramid"] = field(  # Sec. 4.4: better than what it learned
        default="gaussian",
        metadata=option("Noise that is added to the image; the model learned with the pyramid's"),
    )
    mean: Literal["geometric", "arithmetic"] = field(
        default="geometric", metadata=option("How the errors of the steps become one score")
    )
    floor: float = field(
        default=1e-12,
        metadata=option("Smallest error; the geometric mean takes smaller ones for this"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check_steps(self.first_step, self.last_step, self.stride)
        if self.floor <= 0:
            raise ValueError(
                f"floor must be positive, the geometric mean has logs; got {self.floor}"
            )

    @property
    def steps(self) -> range:
        """Every step that is used."""
        return range(self.first_step, self.last_step, self.stride)


@dataclass(frozen=True, kw_only=True)
class AnoFPDMOptions:
    """How a trained AnoFPDM is used: the steps, the guidance, and how scores are scaled."""

    first_step: int = field(default=1, metadata=LOWEST)
    last_step: int = field(  # included; Fig. 2 shows steps up to 600
        default=600, metadata=option("Highest step that is used")
    )
    stride: int = field(default=1, metadata=STRIDE)
    guidance: float = field(  # w, Table 2
        default=2.0,
        metadata=option("How strongly images are drawn towards healthy ones; 0 for not at all"),
    )
    forward: Literal["ddim", "ddpm"] = field(
        default="ddim",
        metadata=option(
            "ddim follows one path of noisy images, ddpm draws fresh noise at each step"
        ),
    )
    # Quantiles a and b of Algorithm 1: scores are divided by each image's own threshold, so that a
    # fixed threshold of 1 is the published one. None leaves scores as they are.
    cut: tuple[float, float] | None = field(
        default=None,
        metadata=option(
            "Two shares of pixels, as in 0.9, 0.98: each image's score is divided by its threshold "
            "in the source, so that a fixed threshold of 1 is the published one",
            empty="scores as they are",
        ),
    )
    median: int = field(
        default=5,
        metadata=option(
            "Side of the median filter before that threshold is computed, in pixels",
            label="median of cut",
            between=(1, 15),
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check_steps(self.first_step, self.last_step, self.stride)
        if self.guidance < 0:
            raise ValueError(
                f"guidance must not be negative, which leads away from healthy; got {self.guidance}"
            )
        if self.cut is not None and not 0 <= self.cut[0] <= self.cut[1] <= 1:
            raise ValueError(f"cut must be two rising quantiles in [0, 1], got {self.cut}")
        _check_median(self.median)

    @property
    def steps(self) -> range:
        """Every step that is used."""
        return range(self.first_step, self.last_step + 1, self.stride)


@dataclass(frozen=True, kw_only=True)
class DISYREOptions:
    """How a trained DISYRE is used: in a chain of restorations, or in one."""

    step_size: int = field(  # Sec. 3; 100, 75, 50, 25 are four network calls
        default=25,
        metadata=option("Steps that each restoration goes down; 25 of 100 are four network calls"),
    )
    single_step: int | None = field(
        default=None,
        metadata=option(
            "One restoration alone, of an image that is taken for corrupted up to this step",
            empty="in a chain",
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.step_size < 1:
            raise ValueError(f"step_size must be at least 1, got {self.step_size}")
        if self.single_step is not None and self.single_step < 1:
            raise ValueError(f"single_step must be at least 1, got {self.single_step}")

    def chain(self, steps: int) -> list[int]:
        """List the steps at which the network of a model that knows so many is called.

        Raises
        ------
        ValueError
            If the single step, or that between two, goes beyond them.
        """
        usual = DISYREOptions.step_size  # takes the chain of a shorter schedule in one
        for name, most in (("step_size", max(steps, usual)), ("single_step", steps)):
            if (got := getattr(self, name) or 0) > most:
                raise ValueError(f"{name}: got {got}, this model knows steps 1 to {steps}")
        if self.single_step is None:
            return list(range(steps, 0, -self.step_size))
        return [self.single_step]


@dataclass(frozen=True, kw_only=True)
class SADMOptions:
    """How the two branches are put together."""

    structure: float = field(  # of 1 - SSIM; 0 leaves the segmentation alone (appendix D)
        default=1.0, metadata=option("Weight of the structural distance")
    )
    segmentation: float = field(
        default=1.0, metadata=option("Weight of what the segmenting network flags")
    )
    median: int = field(  # 5 as published
        default=1,
        metadata=option(
            "Side of a median filter on the structural distance alone, in pixels; 1 for none",
            label="own median",
            between=(1, 15),
        ),
    )
    sigma: float = field(  # of the Gaussian window of SSIM (Sec. 8.6)
        default=1.0,
        metadata=option(
            "Sigma of the window of the structural distance, in pixels", label="own sigma"
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.structure, self.segmentation) < 0 or self.structure + self.segmentation == 0:
            raise ValueError(
                "structure and segmentation must not be negative nor both 0, got "
                f"{self.structure} and {self.segmentation}"
            )
        _check_median(self.median)
        if self.sigma <= 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}")


@dataclass(frozen=True, kw_only=True)
class TDMOptions:
    """How a trained TDM is used: how many images are drawn, in how many network calls each."""

    draws: int = field(default=1, metadata=option("Predictions of each visit from the others"))
    sampling_steps: int | None = field(  # see `TDMConfig.usual_steps`
        default=None,
        metadata=option("Network calls a prediction", empty="as many as it needs"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.draws < 1 or (self.sampling_steps is not None and self.sampling_steps < 1):
            raise ValueError(
                f"draws and sampling_steps must be at least 1, got {self.draws} and "
                f"{self.sampling_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class VAE3DOptions:
    """How a trained autoencoder is used."""

    draws: int = field(
        default=0,
        metadata=option(
            "Codes drawn for each image; 0 takes the mean of the code", between=(0, 1000)
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.draws < 0:
            raise ValueError(f"draws must not be negative, got {self.draws}")


def _check_median(side: int) -> None:
    if side < 1 or side % 2 == 0:
        raise ValueError(f"median must be an odd number of pixels, got {side}")


def _check_steps(first: int, last: int, stride: int) -> None:
    if not 1 <= first < last:
        raise ValueError(f"steps must rise from 1 up, got first_step {first} and last_step {last}")
    if not 1 <= stride <= last - first:
        raise ValueError(f"stride must lie in [1, {last - first}], or steps end; got {stride}")
