"""What public functions return, how they report progress, and what they raise when stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = [
    "Cancelled",
    "Detection",
    "Imputation",
    "OnStep",
    "Reconstruction",
    "counted",
    "counting",
    "finding",
]

OnStep = Callable[[int, int], "bool | None"]
"""Called with the steps done and to do; returns False to stop."""


class Cancelled(Exception):
    """A long run was stopped by its `on_step`; nothing was written.

    `partial` holds what was finished until then, where that is of use by itself.
    """

    partial: Imputation | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputation:
    """A series with visits filled in.

    Attributes
    ----------
    stack
        Observed and imputed visits by age, the latter with ``is_observed`` False; intensities are
        those of the series.
    spread
        Standard deviation over the draws, shape and units of ``stack.images``, NaN where a visit
        was observed; none for a single draw.
    imputed
        ``(visit,)`` bool: which visits were filled in.
    provenance
        Model, strategy, seed and version, ready for JSON; ``provenance["notes"]`` lists what the
        user should know.
    """

    stack: VisitStack
    spread: NDArray[np.float32] | None
    imputed: NDArray[np.bool_]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Imputation({self.stack.subject!r}, {int(self.imputed.sum())} of "
            f"{self.stack.n_visits} visits imputed, {self.provenance.get('strategy')})"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction:
    """Pseudo-healthy images of one patient.

    `healthy` has the shape of ``stack.images`` and the stack's own intensity units, NaN where a
    visit is missing; `provenance` says which model made it, with which options and seed.
    """

    stack: VisitStack
    healthy: NDArray[np.float32]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Detection:
    """Where one patient's images differ from what a healthy subject would show.

    Attributes
    ----------
    stack
        The series that was examined.
    mask
        ``(visit, z, y, x)`` bool; False throughout a missing visit.
    score
        ``(visit, z, y, x)`` float32, fused over visits; NaN where a visit is missing.
    scores
        Every stage by name, in the order it was made: ``"pixel"``, ``"feature"``, ``"fam"``,
        ``"lafm"``, …; each the shape of `score`.
    healthy
        Pseudo-healthy images, shape and intensity units of ``stack.images``; none for methods
        without one.
    image_score
        ``(visit,)`` one number a visit; NaN where it is missing.
    threshold
        What `score` was compared with, the lowest threshold where each visit or pixel has its own;
        infinite where scores have nothing to split.
    floor
        Score that healthy patients stay below, from the bundle; none when it is not
        known.
    provenance
        Model, recipe, seed and version, ready for JSON; ``provenance["notes"]`` lists what the user
        should know. ``provenance["out_of_distribution"]`` is there when the images are probably out
        of distribution for the model; it is the note that says why.
    clean
        Does to a mask ``(visit, z, y, x)``, in its place, what the recipe does after its threshold;
        none where it does nothing.
    """

    stack: VisitStack
    mask: NDArray[np.bool_]
    score: NDArray[np.float32]
    scores: dict[str, NDArray[np.float32]]
    healthy: NDArray[np.float32] | None
    image_score: NDArray[np.float32]
    threshold: float
    floor: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    clean: Callable[[NDArray[np.bool_]], None] | None = None

    def __repr__(self) -> str:
        shown = int(self.mask.any(axis=(1, 2, 3)).sum())
        return (
            f"Detection({self.stack.subject!r}, {shown} of {self.stack.n_visits} visits flagged, "
            f"{int(self.mask.sum())} pixels, threshold {self.threshold:.3g})"
        )

    @property
    def is_out_of_distribution(self) -> bool:
        """Whether the images are probably out of distribution: the mask is then no finding."""
        return bool(self.out_of_distribution)

    @property
    def out_of_distribution(self) -> str:
        """Why the images are probably out of distribution; empty where nothing suggests it."""
        return str(self.provenance.get("out_of_distribution", ""))

    @property
    def flagging_thresholds(self) -> tuple[float, float]:
        """Score that one pixel of a region must reach, and score that all its pixels must reach.

        The two differ after hysteresis thresholding alone. A threshold set by `at_threshold` stands
        alone.
        """
        low, floor = self.threshold, self.floor
        if floor is None or "threshold" in self.provenance:
            return low, low
        recipe = self.provenance.get("recipe", {})
        kind = (recipe.get("threshold") or {}).get("kind")
        is_hysteresis = kind == "HealthyHysteresis" and recipe.get("floor") is None
        high = max(low, floor)
        return high, low if is_hysteresis else high

    def at_threshold(self, threshold: float) -> Detection:
        """Segment anew: every pixel whose fused score reaches `threshold`, cleaned as before.

        Parameters
        ----------
        threshold
            In the unit of `score`.

        Returns
        -------
        Detection
            The same but for its mask and threshold.
        """
        with np.errstate(invalid="ignore"):
            mask = np.asarray(self.score >= threshold)
        if self.clean is not None:
            self.clean(mask)
        provenance = self.provenance | {"threshold": threshold}
        return replace(self, mask=mask, threshold=threshold, provenance=provenance)


def finding(detections: Sequence[Detection], *, is_cohort: bool = False) -> str:
    """First line of a result: what was flagged, and how far to trust it.

    Images out of distribution come first, and there is no finding for them.

    Parameters
    ----------
    detections
        One per subject, at least one.
    is_cohort
        Say of how many subjects the line is.

    Returns
    -------
    str
        Without the name of the series.
    """
    reasons = [each.out_of_distribution for each in detections if each.is_out_of_distribution]
    others = [each for each in detections if not each.is_out_of_distribution]
    parts = []
    if reasons:
        parts.append(f"{len(reasons)} of {len(detections)} subjects: " * is_cohort + reasons[0])
    if others:
        parts.append(f"{counted(len(others), 'subject')}, " * is_cohort + _flagged(others))
    return "; ".join(parts)


def _flagged(detections: Sequence[Detection]) -> str:
    """Count flagged visits and visits without a score, and say what the threshold is worth."""
    visits = sum(int(each.stack.is_observed.sum()) for each in detections)
    flagged = sum(int(each.mask.any(axis=(1, 2, 3)).sum()) for each in detections)
    unknown = sum(
        int((each.stack.is_observed & ~np.isfinite(each.image_score)).sum()) for each in detections
    )
    many = counted(visits, "visit")
    text = f"anomalies flagged at {flagged} of {many}"
    if not unknown:
        return text + _trust(detections[0])
    missed = f"{unknown} of {many} cannot be judged: their score is not finite"
    return f"{text}; {missed}" if flagged else missed


def _trust(detection: Detection) -> str:
    """Say how often healthy subjects are flagged, if the threshold was calibrated on them."""
    if "threshold" in detection.provenance:
        return "; the threshold was set by hand"
    rule = (detection.provenance.get("recipe") or {}).get("threshold") or {}
    if rule.get("kind") != "HealthyHysteresis" or detection.floor is None:
        return ""  # the notes say what such a threshold is worth
    return f"; {100 * (1 - rule['high']):.3g} % of healthy subjects are flagged too"


def counted(number: int, noun: str) -> str:
    """Put a number before a noun: 1 visit, 2 visits."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counting(on_step: OnStep | None, index: int, parts: int) -> Callable[[int, int], None]:
    """Make an `on_step` for one of several parts that counts over all and raises to stop.

    Parameters
    ----------
    on_step
        Called with the calls done and to do over all parts; return False to stop.
    index, parts
        Which of how many parts of equal length.

    Returns
    -------
    callable
        Takes the calls done and to do in this part; raises `Cancelled`.
    """

    def step(done: int, total: int) -> None:
        if on_step is not None and on_step(index * total + done, parts * total) is False:
            raise Cancelled("stopped before the end")

    return step
