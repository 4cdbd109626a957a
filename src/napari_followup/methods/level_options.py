"""How methods that decode from noise levels are used: AnoDDPM, cDDPM, pDDPM, SDM. Without torch.

Behrendt (2026), Sec. 3.4: one network call from half of the schedule; the mean over several levels
is an ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari_followup.methods.form_text import form_text
from napari_followup.recipe.choices import check_fields

__all__ = [
    "AnoDDPMOptions",
    "CDDPMOptions",
    "LevelOptions",
    "PDDPMOptions",
    "SDMOptions",
]

LEVELS = form_text("Step where decoding starts, 1 to 1000; several with commas")
CALLS = form_text("Network calls from a level down to the image")


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """Where decoding starts, how often, and in how many network calls."""

    # Sec. 3.4.2 and 3.4.3: T / 2
    noise_levels: tuple[int, ...] = field(default=(500,), metadata=LEVELS)
    draws: int = field(default=1, metadata=form_text("Reconstructions from each level"))
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
        metadata=form_text(
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
        metadata=form_text(
            "Sides of the patches in pixels, as in 32, 32",
            label="patch (y, x)",
            empty="as trained",
        ),
    )
    overlap: int = field(
        default=0,
        metadata=form_text("Pixels that neighbouring patches share at least", between=(0, 1000)),
    )


@dataclass(frozen=True, kw_only=True)
class SDMOptions(LevelOptions):
    """How a trained SDM is used: where decoding starts, how often, in how many network calls."""

    # Table 5.2: 250 is the best of 50 to 1000
    noise_levels: tuple[int, ...] = field(default=(250,), metadata=LEVELS)
    sampling_steps: int = field(default=100, metadata=CALLS)
    start: Literal["semantic", "infer"] = field(  # added noise, or the inverted subcode
        default="semantic",
        metadata=form_text(
            "semantic: from added noise; infer: from the noise that the model finds in the image, "
            "as many network calls again"
        ),
    )
