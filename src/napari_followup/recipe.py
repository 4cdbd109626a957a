"""Recipe: how evidence becomes a mask: score, fusion over visits, filter, threshold.

Plain frozen dataclasses without torch, so that a recipe goes into a form, TOML and layer metadata
alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = [
    "Fam",
    "Fixed",
    "Fusion",
    "HealthyHysteresis",
    "HealthyQuantile",
    "Lafm",
    "Pixel",
    "Quantile",
    "Recipe",
    "Score",
    "Support",
    "Temporal",
    "Threshold",
    "Yen",
]


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """Distance of grey values: mean over modalities and over draws (Dang 2025, eq. 3.3)."""

    tolerance: float = 0.0  # how much less differences count beside edges; 0 as published

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ValueError(f"tolerance must not be negative, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class Fam:
    """Feature attention: pixel plus feature distance (Dang 2025, Sec. 3.2.1)."""

    weight: float = 1.0  # v, of the pixel distance
    levels: tuple[int, ...] = (2, 3)  # Table 4.2 lists 1 to 3
    blur: float = 0.0  # sigma in pixels; the published code blurs by 2 or 4, the text not at all

    def __post_init__(self) -> None:
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
        if self.tolerance < 0 or self.draws < 1:
            raise ValueError(
                "tolerance must not be negative and draws at least 1, got "
                f"{self.tolerance} and {self.draws}"
            )


@dataclass(frozen=True, kw_only=True)
class Lafm:
    """Longitudinal attention fusion (Dang 2025, Sec. 3.2.2)."""

    sigma: float = 2.5  # years; Table 5.6 tries 0 (all visits alike) to 4.5, best at 2.5
    beta: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.sigma < 0 or self.gamma < 0:
            raise ValueError(
                f"sigma and gamma must not be negative, got {self.sigma} and {self.gamma}"
            )
        _check_share("beta", self.beta)


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
        if self.sigma < 0 or self.gain < 0 or self.reach < 0:
            raise ValueError(
                f"sigma, gain and reach must not be negative, got {self.sigma}, {self.gain} "
                f"and {self.reach}"
            )


@dataclass(frozen=True, kw_only=True)
class Yen:
    """Yen's automatic threshold on the patient's pooled series (Dang 2025, eq. 3.9)."""

    per: Literal["patient"] = "patient"
    pixel_too: bool = True  # the mask must pass Yen on the pixel distance inside it, too


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """The patient's own upper quantile: flags the same share of every series."""

    q: float = 0.97

    def __post_init__(self) -> None:
        _check_share("q", self.q)


@dataclass(frozen=True, kw_only=True)
class HealthyQuantile:
    """A height that scores of healthy patients seldom reach, from the bundle; needs no label."""

    q: float = 0.9999

    def __post_init__(self) -> None:
        _check_share("q", self.q)


@dataclass(frozen=True, kw_only=True)
class HealthyHysteresis:
    """Regions that somewhere pass a high healthy line, out to where they fall below a low one.

    The high line keeps healthy images clean. It goes by patients and not by pixels, so that one
    unusual healthy subject cannot raise it. The low line follows a lesion to its rim. Both come
    from the bundle and need no label.
    """

    low: float = 0.9995  # share of healthy pixels that lie below the low line
    high: float = 0.95  # share of healthy patients that stay below the high line everywhere

    def __post_init__(self) -> None:
        _check_share("low", self.low)
        _check_share("high", self.high)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A number of the user's choice, in units of the score."""

    value: float = 0.5


Score = Pixel | Fam | Temporal
Fusion = Lafm | Support | None
Threshold = Yen | Quantile | HealthyQuantile | HealthyHysteresis | Fixed
_CHOICES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Pixel,
        Fam,
        Temporal,
        Lafm,
        Support,
        Yen,
        Quantile,
        HealthyQuantile,
        HealthyHysteresis,
        Fixed,
    )
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything between a trained model and a mask.

    `options` are the method's own (for SDM: `noise_levels`, `draws`, `sampling_steps`, `start`), by
    name; what is not named keeps the method's default.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    score: Score = field(default_factory=Pixel)
    fusion: Fusion = None
    median: int = 1  # side of the median filter in pixels; 1 for none
    rescale: bool = False  # min-max per patient after the filter (Dang 2025, Sec. 3.2.3)
    threshold: Threshold = field(default_factory=HealthyQuantile)
    floor: float | None = None  # healthy quantile that the mask must exceed beside `threshold`
    imputed_references: bool = False  # whether imputed visits count when scores are fused

    def __post_init__(self) -> None:
        if self.median < 1 or self.median % 2 == 0:
            raise ValueError(
                f"median must be an odd number of pixels, 1 for none; got {self.median}"
            )
        if self.floor is not None:
            _check_share("floor", self.floor)

    @classmethod
    def default(cls) -> Recipe:
        """Give the recipe that measures best on validation data, the same for every anomaly.

        ``docs/recipes.md`` says why each part differs from the published one, and
        ``docs/benchmarks.md`` by how much.
        """
        return cls(
            options={"noise_levels": (50, 100), "draws": 2, "sampling_steps": 1},
            score=Pixel(tolerance=2.0),
            fusion=Support(),
            threshold=HealthyHysteresis(),
        )

    @classmethod
    def temporal(cls) -> Recipe:
        """Recipe of the temporal residual, see `Temporal`; nothing is fused over visits."""
        return cls(score=Temporal(), threshold=HealthyHysteresis())

    @classmethod
    def published(cls) -> Recipe:
        """Recipe of the thesis: one draw in 100 steps, FAM, LAFM, median 5, Yen twice.

        References
        ----------
        Dang (2025), Sec. 3.2, with the values of the text; sigma is the best of Table 5.6.
        """
        return cls(
            options={"noise_levels": (250,), "draws": 1, "sampling_steps": 100},
            score=Fam(),
            fusion=Lafm(),
            median=5,
            rescale=True,
            threshold=Yen(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and TOML; `from_dict` reads them back."""
        return {
            "options": {name: _plain(value) for name, value in self.options.items()},
            **{name: _tagged(getattr(self, name)) for name in ("score", "fusion", "threshold")},
            **{
                name: getattr(self, name)
                for name in ("median", "rescale", "floor", "imputed_references")
            },
        }

    @property
    def score_key(self) -> str:
        """Choices that shape the score, as text: recipes alike here share healthy scores."""
        values = self.as_dict()
        if isinstance(self.score, Temporal):  # which says itself how its model is used
            values["options"] = {}
        return json.dumps(
            {n: _as_floats(values[n]) for n in ("options", "score", "fusion", "median")},
            sort_keys=True,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read what `as_dict` wrote.

        Raises
        ------
        ValueError
            If a name is not one of a recipe's.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a recipe has no {', '.join(sorted(unknown))}; it has {_names(cls)}")
        read = {
            name: _untagged(value) if isinstance(value, Mapping) and "kind" in value else value
            for name, value in values.items()
        }
        options = {
            name: tuple(v) if isinstance(v, list) else v
            for name, v in read.get("options", {}).items()
        }
        return cls(**(read | {"options": options}))


def _names(kind: Any) -> str:
    return ", ".join(f.name for f in fields(kind))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_floats(value: Any) -> Any:
    """Value with every number a float, so that 2 and 2.0 read alike."""
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else value


def _tagged(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    return {"kind": type(choice).__name__} | {k: _plain(v) for k, v in asdict(choice).items()}


def _untagged(values: Mapping[str, Any]) -> Any:
    kind = _CHOICES.get(values["kind"])
    if kind is None:
        raise ValueError(f"a recipe knows no {values['kind']!r}; it knows {', '.join(_CHOICES)}")
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    unknown = set(settings) - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(
            f"{values['kind']} has no {', '.join(sorted(unknown))}; it has {_names(kind)}"
        )
    return kind(**settings)
