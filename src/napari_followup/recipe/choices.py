"""What a recipe chooses from: scores, fusions over visits, thresholds.

Plain frozen dataclasses without torch; `scoring` and `cutting` hold the functions they stand for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = [
    "Fam",
    "Fixed",
    "Fusion",
    "HealthyHysteresis",
    "HealthyQuantile",
    "Lafm",
    "Mahalanobis",
    "Own",
    "Pixel",
    "Quantile",
    "Score",
    "Ssim",
    "Support",
    "Temporal",
    "Threshold",
    "Yen",
    "check_fields",
    "check_share",
]


WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    NoneType: "none at all",
}


def check_fields(settings: object) -> None:
    """Check every field of a dataclass against its type; numbers must be finite, too.

    Parameters
    ----------
    settings
        An instance. Its types are numbers, classes, `Literal` words, tuples of one type, mappings
        and unions of these; a list passes for a tuple.

    Raises
    ------
    ValueError
        If a field holds something else.
    """
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _fits(value, kind):
            raise ValueError(f"{name} must be {_wording(kind)}; got {value!r}")


def check_share(name: str, value: float) -> None:
    """Raise a ValueError if a setting of that name does not lie in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """Distance of grey values: mean over modalities and over draws (Dang 2025, eq. 3.3)."""

    tolerance: float = 0.0  # how much less differences count beside edges; 0 as published

    def __post_init__(self) -> None:
        check_fields(self)
        if self.tolerance < 0:
            raise ValueError(f"tolerance must not be negative, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class Fam:
    """Feature attention: pixel plus feature distance (Dang 2025, Sec. 3.2.1)."""

    weight: float = 1.0  # v, of the pixel distance
    levels: tuple[int, ...] = (2, 3)  # Table 4.2 lists 1 to 3
    blur: float = 0.0  # sigma in pixels; the published code blurs by 2 or 4, the text not at all

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.levels or not set(self.levels) <= {1, 2, 3, 4}:
            raise ValueError(
                f"levels must be stages 1 to 4 of the feature network, got {self.levels}"
            )
        if self.weight < 0 or self.blur < 0:
            raise ValueError(
                f"weight and blur must not be negative, got {self.weight} and {self.blur}"
            )


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """Temporal residual: distance from what a TDM predicts for a visit from all the others.

    It shows what came or went between visits. What was there at every visit is predicted with
    them, and does not show.
    """

    tolerance: float = 2.0  # as in `Pixel`
    draws: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.tolerance < 0 or self.draws < 1:
            raise ValueError(
                "tolerance must not be negative and draws at least 1, got "
                f"{self.tolerance} and {self.draws}"
            )


@dataclass(frozen=True, kw_only=True)
class Ssim:
    """Structural distance, 1 - SSIM, over windows of several sizes (Behrendt 2026, Sec. 3.4.4)."""

    sigmas: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7)  # in pixels

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.sigmas or min(self.sigmas) <= 0:
            raise ValueError(f"sigmas must be one or more numbers above 0, got {self.sigmas}")


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """Distance measured by how the healthy images of several draws differ (Behrendt 2026, 3.4.5).

    It needs two draws or noise levels at least; ten draws are published.
    """

    full: bool = True  # the covariance between pixels, or the variance of each alone
    ridge: float = 1e-5  # added to the variances
    blur: float = 1.0  # sigma in pixels
    with_ssim: bool = True  # whether it is multiplied by 1 - SSIM of the mean draw, sigma 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ridge <= 0 or self.blur < 0:
            raise ValueError(
                f"ridge must be above 0 and blur not negative, got {self.ridge} and {self.blur}"
            )


@dataclass(frozen=True, kw_only=True)
class Own:
    """The score that the method itself brings, if it does: ANDi, AnoFPDM, DISYRE, SADM."""


@dataclass(frozen=True, kw_only=True)
class Lafm:
    """Longitudinal attention fusion (Dang 2025, Sec. 3.2.2)."""

    sigma: float = 2.5  # years; Table 5.6 tries 0 (all visits alike) to 4.5, best at 2.5
    beta: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sigma < 0 or self.gamma < 0:
            raise ValueError(
                f"sigma and gamma must not be negative, got {self.sigma} and {self.gamma}"
            )
        check_share("beta", self.beta)


@dataclass(frozen=True, kw_only=True)
class Support:
    """Scores raised where neighbouring visits show something at the same place, or nearly.

    LAFM multiplies by the agreement of the other visits, which crushes what is faint, new or has
    moved by a pixel; this only adds. See ``docs/benchmarks.md`` for the comparison.
    """

    sigma: float = 2.5  # years, as in `Lafm`
    gain: float = 0.3  # what the other visits' scores count for
    reach: int = 1  # pixels that an anomaly may move between visits

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sigma < 0 or self.gain < 0 or self.reach < 0:
            raise ValueError(
                f"sigma, gain and reach must not be negative, got {self.sigma}, {self.gain} "
                f"and {self.reach}"
            )


@dataclass(frozen=True, kw_only=True)
class Yen:
    """Yen's automatic threshold on pooled scores (Dang 2025, eq. 3.9).

    Pooled are the visits of each patient, or all visits of all patients that are examined together
    (Dang 2025, Table 5.4: patient-wise and dataset-wise); see `cohorts.detect_cohort`.
    """

    per: Literal["patient", "dataset"] = "patient"
    pixel_too: bool = True  # the mask must pass Yen on the pixel distance inside it, too

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """An upper quantile of the scores themselves: flags the same share whatever they show.

    That share is of each image, of each patient's visits together, of all visits of all patients,
    or of each pixel over all visits of all patients (Dang 2025, Table 5.4); the last two need
    patients that are examined together, see `cohorts.detect_cohort`.
    """

    q: float = 0.97
    per: Literal["image", "patient", "pixel", "dataset"] = "patient"

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("q", self.q)


@dataclass(frozen=True, kw_only=True)
class HealthyQuantile:
    """A height that scores of healthy patients seldom reach, from the bundle; needs no label."""

    q: float = 0.9999

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("q", self.q)


@dataclass(frozen=True, kw_only=True)
class HealthyHysteresis:
    """Regions that somewhere pass a high healthy threshold, out to where they fall below a low one.

    The high threshold keeps healthy images clean. It is set by patients and not by pixels, so that
    one unusual healthy subject cannot raise it. The low threshold follows a lesion to its border.
    Both come from the bundle and need no label.
    """

    low: float = 0.9995  # share of healthy pixels that lie below the low threshold
    high: float = 0.9  # share of healthy patients that stay below the high threshold everywhere

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("low", self.low)
        check_share("high", self.high)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A number of the user's choice, in units of the score."""

    value: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


Score = Pixel | Fam | Temporal | Ssim | Mahalanobis | Own
Fusion = Lafm | Support | None
Threshold = Yen | Quantile | HealthyQuantile | HealthyHysteresis | Fixed


def _fits(value: Any, kind: Any) -> bool:
    parts, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        as_many = parts[-1] is ... or len(value) == len(parts)
        return as_many and all(_fits(each, parts[0]) for each in value)
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else int | float)
        return is_number and not isinstance(value, bool) and abs(value) < math.inf
    return isinstance(value, origin or kind)


def _wording(kind: Any) -> str:
    parts, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(_wording(part) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        inner = ", ".join("..." if part is ... else _wording(part) for part in parts)
        return f"values in brackets, ({inner})"
    if origin is not None:
        return "a table of names and values"
    return WORDS.get(kind, f"{kind.__name__}()")
