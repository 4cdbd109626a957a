"""What can be set of every method; plain text, so that a form is filled without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["OPTIONS", "Option"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field of a method's options, for the person who sets it."""

    name: str
    kind: Any  # its type
    default: Any
    tip: str
    label: str = ""  # its name, if nothing is given
    empty: str = ""  # what its control says where it is left to the method
    between: tuple[int, int] = (1, 1000)  # of a whole number

    @property
    def title(self) -> str:
        """What stands before its control."""
        return self.label or self.name.replace("_", " ")

    @property
    def left(self) -> str:
        """What its control says where it is left to the method."""
        shown = self.default
        if isinstance(shown, tuple):
            shown = ", ".join(map(str, shown))
        return self.empty or f"{'none' if shown is None else shown} (default)"


NOISE_LEVELS = Option(
    name="noise_levels",
    kind=tuple[int, ...],
    default=(500,),
    tip="Step where decoding starts, 1 to 1000; several with commas",
)
DRAWS = Option(name="draws", kind=int, default=1, tip="Reconstructions from each level")
SAMPLING_STEPS = Option(
    name="sampling_steps",
    kind=int,
    default=1,
    tip="Network calls from a level down to the image",
)
USUAL = (NOISE_LEVELS, DRAWS, SAMPLING_STEPS)
FIRST_STEP = Option(name="first_step", kind=int, default=1, tip="Lowest step that is looked at")
LAST_STEP = replace(FIRST_STEP, name="last_step", tip="Highest step that is looked at")
STRIDE = Option(
    name="stride",
    kind=int,
    default=1,
    tip="1 takes every step from the first to the last, 5 every fifth: quicker and rougher",
)

OPTIONS: dict[str, tuple[Option, ...]] = {
    "andi": (
        replace(FIRST_STEP, default=75),
        replace(LAST_STEP, default=200, tip="Step before which it ends"),
        STRIDE,
        Option(
            name="noise",
            kind=Literal["gaussian", "pyramid"],
            default="gaussian",
            tip="Noise that is added to the image; the model learned with the pyramid's",
        ),
        Option(
            name="mean",
            kind=Literal["geometric", "arithmetic"],
            default="geometric",
            tip="How the errors of the steps become one score",
        ),
        Option(
            name="floor",
            kind=float,
            default=1e-12,
            tip="Smallest error that the geometric mean tells from none at all",
        ),
    ),
    "anoddpm": (
        *USUAL,
        Option(
            name="sampler",
            kind=Literal["ddim", "ddpm"],
            default="ddim",
            tip="ddpm adds fresh noise at every step, as in the original, and needs many steps",
        ),
    ),
    "anofpdm": (
        FIRST_STEP,
        replace(LAST_STEP, default=600),
        STRIDE,
        Option(
            name="guidance",
            kind=float,
            default=2.0,
            tip="How strongly images are drawn towards healthy ones; 0 for not at all",
        ),
        Option(
            name="forward",
            kind=Literal["ddim", "ddpm"],
            default="ddim",
            tip="ddim follows one path of noisy images, ddpm draws fresh noise at each step",
        ),
        Option(
            name="cut",
            kind=tuple[float, float] | None,
            default=None,
            tip="Two shares of pixels, as in 0.9, 0.98: each image's score is divided by the "
            "height at which the source cuts it, so that a fixed threshold of 1 cuts as published",
            empty="scores as they are",
        ),
        Option(
            name="median",
            kind=int,
            default=5,
            label="median of cut",
            tip="Side of the median filter before that height is taken, in pixels",
            between=(1, 15),
        ),
    ),
    "cddpm": USUAL,
    "disyre": (
        Option(
            name="step_size",
            kind=int,
            default=25,
            tip="Steps that each restoration goes down; 25 of 100 are four network calls",
        ),
        Option(
            name="single_step",
            kind=int | None,
            default=None,
            tip="One restoration alone, of an image that is taken for spoilt up to this step",
            empty="in a chain",
        ),
    ),
    "pddpm": (
        *USUAL,
        Option(
            name="patch",
            kind=tuple[int, int] | None,
            default=None,
            label="patch (y, x)",
            tip="Sides of the patches in pixels, as in 32, 32",
            empty="as trained",
        ),
        Option(
            name="overlap",
            kind=int,
            default=0,
            tip="Pixels that neighbouring patches share at least",
            between=(0, 1000),
        ),
    ),
    "sadm": (
        Option(name="structure", kind=float, default=1.0, tip="Weight of the structural distance"),
        Option(
            name="segmentation",
            kind=float,
            default=1.0,
            tip="Weight of what the segmenting network marks",
        ),
        Option(
            name="median",
            kind=int,
            default=1,
            label="own median",
            tip="Side of a median filter on the structural distance alone, in pixels; 1 for none",
            between=(1, 15),
        ),
        Option(
            name="sigma",
            kind=float,
            default=1.0,
            label="own sigma",
            tip="Sigma of the window of the structural distance, in pixels",
        ),
    ),
    "sdm": (
        replace(NOISE_LEVELS, default=(250,)),
        DRAWS,
        replace(SAMPLING_STEPS, default=100),
        Option(
            name="start",
            kind=Literal["semantic", "infer"],
            default="semantic",
            tip="semantic: from added noise; infer: from the noise that the model finds in the "
            "image, as many network calls again",
        ),
    ),
    "tdm": (
        replace(DRAWS, tip="Predictions of each visit from the others"),
        replace(
            SAMPLING_STEPS,
            kind=int | None,
            default=None,
            tip="Network calls a prediction",
            empty="as many as it needs",
        ),
    ),
    "vae3d": (
        replace(
            DRAWS,
            default=0,
            tip="Codes drawn for each image; 0 takes the mean of the code",
            between=(0, 1000),
        ),
    ),
}
