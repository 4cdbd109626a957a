"""Recipe: how evidence becomes a mask: score, fusion over visits, filter, threshold.

Plain frozen dataclasses without torch, so that a recipe goes into a form, TOML and layer metadata
alike: all of these read the fields. `detection` holds the functions they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from napari_followup.recipe.fields import check_fields, check_share, form_text

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
    "Recipe",
    "Score",
    "Ssim",
    "Support",
    "Temporal",
    "Threshold",
    "Yen",
]


TOLERANCE = form_text("How much less differences count next to edges; 0 for no less")
BLUR = form_text("Sigma of a Gaussian filter on the result, in pixels; 0 for none")
SIGMA = form_text("Years over which visits support each other; 0 weighs all visits alike")
PER = form_text("Which scores share one threshold")
SHARE = form_text("Share of pixels, 0 to 1, that lie below the threshold", label="quantile")


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """Distance of grey values: mean over modalities and over draws (Dang 2025, eq. 3.3)."""

    tolerance: float = field(  # 0 as published
        default=0.0, metadata=TOLERANCE
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.tolerance < 0:
            raise ValueError(f"tolerance must not be negative, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class Fam:
    """Feature attention: pixel plus feature distance (Dang 2025, Sec. 3.2.1)."""

    weight: float = field(  # v
        default=1.0,
        metadata=form_text("Weight of the pixel distance; the feature distance has weight 1"),
    )
    levels: tuple[int, ...] = field(  # Table 4.2 lists 1 to 3
        default=(2, 3),
        metadata=form_text("Stages of the feature network that are compared, 1 to 4, with commas"),
    )
    blur: float = field(  # the published code blurs by 2 or 4, the text not at all
        default=0.0, metadata=BLUR
    )

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

    tolerance: float = field(default=2.0, metadata=TOLERANCE)
    draws: int = field(
        default=1,
        metadata=form_text("Predictions of each visit from the others; their mean is used"),
    )

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

    sigmas: tuple[float, ...] = field(
        default=(0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7),
        metadata=form_text("Sigmas of the windows in pixels, with commas"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.sigmas or min(self.sigmas) <= 0:
            raise ValueError(f"sigmas must be one or more numbers above 0, got {self.sigmas}")


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """Distance measured by how the healthy images of several draws differ (Behrendt 2026, 3.4.5).

    It needs two draws or noise levels at least; ten draws are published.
    """

    full: bool = field(
        default=True,
        metadata=form_text(
            "Use the covariance between pixels; else the variance of each pixel alone",
            label="full covariance",
        ),
    )
    ridge: float = field(
        default=1e-5,
        metadata=form_text(
            "Number added to the variances; where it is large, small differences count less"
        ),
    )
    blur: float = field(default=1.0, metadata=BLUR)
    with_ssim: bool = field(  # 1 - SSIM, sigma 1
        default=True,
        metadata=form_text(
            "Multiply by the structural distance to the mean of all draws", label="times SSIM"
        ),
    )

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

    sigma: float = field(  # Table 5.6 tries 0 to 4.5, best at 2.5
        default=2.5, metadata=SIGMA
    )
    beta: float = field(
        default=1.0,
        metadata=form_text("How strongly a score that other visits do not show is reduced, 0 to 1"),
    )
    gamma: float = field(
        default=0.1, metadata=form_text("How strongly the scores of other visits are added")
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sigma < 0 or self.gamma < 0:
            raise ValueError(
                f"sigma and gamma must not be negative, got {self.sigma} and {self.gamma}"
            )
        check_share("beta", self.beta)


@dataclass(frozen=True, kw_only=True)
class Support:
    """Higher scores where neighbouring visits show something at the same place, or nearly.

    LAFM multiplies by the agreement of the other visits, which crushes what is faint, new or has
    moved by a pixel; this only adds. See ``docs/benchmarks.md`` for the comparison.
    """

    sigma: float = field(  # as in `Lafm`
        default=2.5, metadata=SIGMA
    )
    gain: float = field(default=0.3, metadata=form_text("Weight of the scores of the other visits"))
    reach: int = field(
        default=1, metadata=form_text("Pixels by which an anomaly may move between visits")
    )

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
    (Dang 2025, Table 5.4: patient-wise and dataset-wise); see `cohort.detect_cohort`.
    """

    per: Literal["patient", "dataset"] = field(default="patient", metadata=PER)
    pixel_too: bool = field(  # Yen on the distance inside the mask
        default=True,
        metadata=form_text(
            "A pixel must also pass the threshold of the pixel distance", label="pixel too"
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """An upper quantile of the scores themselves: flags the same share whatever they show.

    That share is of each image, of each patient's visits together, of all visits of all patients,
    or of each pixel over all visits of all patients (Dang 2025, Table 5.4); the last two need
    patients that are examined together, see `cohort.detect_cohort`.
    """

    q: float = field(default=0.97, metadata=SHARE)
    per: Literal["image", "patient", "pixel", "dataset"] = field(default="patient", metadata=PER)

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("q", self.q)


@dataclass(frozen=True, kw_only=True)
class HealthyQuantile:
    """A threshold from the bundle that scores of healthy patients seldom reach; needs no label."""

    q: float = field(default=0.9999, metadata=SHARE)

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

    low: float = field(
        default=0.9995,
        metadata=form_text("Share of healthy pixels, 0 to 1, that lie below the low threshold"),
    )
    high: float = field(  # everywhere
        default=0.9,
        metadata=form_text("Share of healthy patients, 0 to 1, that stay below the high threshold"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("low", self.low)
        check_share("high", self.high)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A number of the user's choice, in units of the score."""

    value: float = field(default=0.5, metadata=form_text("Score from which a pixel is flagged"))

    def __post_init__(self) -> None:
        check_fields(self)


Score = Pixel | Fam | Temporal | Ssim | Mahalanobis | Own
Fusion = Lafm | Support | None
Threshold = Yen | Quantile | HealthyQuantile | HealthyHysteresis | Fixed

_CHOICES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Pixel,
        Fam,
        Temporal,
        Ssim,
        Mahalanobis,
        Own,
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

    A mask is made in this order: what reaches `threshold`, and `floor`; without what lies at the
    border of the subject or outside it (`erosion`); without its small parts (`smallest`); grown
    (`dilation`).

    `erosion` finds the subject as `segment.examined_in` does; 0 examines the whole image.
    `smallest` is measured at each visit by itself: in mm² for planar series and in mm³ for volumes
    where the series has a spacing in mm, in pixels or voxels where it has not. Pixels that touch at
    a corner belong to one part; in volumes voxels of neighbouring planes too.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    score: Score = field(default_factory=Pixel)
    fusion: Fusion = None
    imputed_references: bool = field(
        default=False,
        metadata=form_text(
            "Examine imputed visits too, and let them support or weaken what observed visits show "
            "(LAFM, Support)",
            label="imputed visits",
        ),
    )
    median: int = field(
        default=1,
        metadata=form_text(
            "Side of the median filter on the score, in pixels; an odd number, 1 for none",
            between=(1, 15),
            step=2,
        ),
    )
    volume_median: bool = field(
        default=False,
        metadata=form_text(
            "Apply the median filter across the planes of volumes, too", label="median in space"
        ),
    )
    blur: float = field(
        default=0.0,
        metadata=form_text(
            "Sigma of a Gaussian filter on the score in the plane, in pixels; 0 for none",
            label="score blur",
            between=(0, 99),
            step=0.5,
        ),
    )
    rescale: bool = False  # min-max per patient after the filters (Dang 2025, Sec. 3.2.3)
    threshold: Threshold = field(default_factory=HealthyQuantile)
    floor: float | None = None  # healthy quantile that the mask must exceed beside `threshold`
    erosion: int = field(
        default=0,
        metadata=form_text(
            "Width of the border of the subject where nothing is flagged, in pixels; 0 examines "
            "the whole image",
            between=(0, 99),
        ),
    )
    smallest: float = field(
        default=0.0,
        metadata=form_text(
            "Smaller parts of the mask are removed at each visit: in mm² (planes) or mm³ (volumes) "
            "where the layer has units of length, else in pixels or voxels; 0 keeps all",
            label="smallest part",
            between=(0, 1e9),
        ),
    )
    dilation: int = field(
        default=0,
        metadata=form_text(
            "Pixels by which the mask grows in the plane after small parts are removed",
            between=(0, 99),
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.median < 1 or self.median % 2 == 0:
            raise ValueError(
                f"median must be an odd number of pixels, 1 for none; got {self.median}"
            )
        if self.blur < 0:
            raise ValueError(f"blur must be a sigma in pixels, 0 for none; got {self.blur}")
        if self.floor is not None:
            check_share("floor", self.floor)
        if self.smallest < 0:
            raise ValueError(f"smallest must be a size, 0 to keep every part; got {self.smallest}")
        for name in ("erosion", "dilation"):
            if (count := getattr(self, name)) < 0:
                raise ValueError(f"{name} must be a number of pixels, 0 for none; got {count}")

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
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        choices = {name: _tagged(values[name]) for name in ("score", "fusion", "threshold")}
        options = {name: _plain(value) for name, value in self.options.items()}
        return values | choices | {"options": options}

    @property
    def is_pooled(self) -> bool:
        """Whether its threshold is one for series that are examined together."""
        return getattr(self.threshold, "per", "patient") in ("pixel", "dataset")

    @property
    def score_key(self) -> str:
        """Choices that shape the score, as text: recipes alike here share healthy scores."""
        values = self.as_dict()
        if isinstance(self.score, Temporal):  # which says itself how its model is used
            values["options"] = {}
        names = ["options", "score", "fusion", "median"]
        # what does nothing is left out, so that the key is that of earlier versions
        if self.volume_median and self.median > 1:
            names.append("volume_median")
        names += [name for name in ("blur", "erosion") if values[name]]
        return json.dumps({n: _as_floats(values[n]) for n in names}, sort_keys=True)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], bases: Mapping[str, Recipe] | None = None
    ) -> Recipe:
        """Read what `as_dict` wrote, or a file.

        Parameters
        ----------
        values
            Fields by name. ``"base"`` names the recipe that gives what is not named, options one
            by one; without it, that keeps its default.
        bases
            Recipes by name, such as ``bundle.recipes``.

        Raises
        ------
        ValueError
            If a name is not one of a recipe's or of `bases`, or a value of another kind.
        """
        values = _on_base(values, bases) if bases else values
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a recipe has no {', '.join(sorted(unknown))}; it has {_names(cls)}")
        read = {
            name: _untagged(value) if isinstance(value, Mapping) and "kind" in value else value
            for name, value in values.items()
        }
        if isinstance(options := read.get("options"), Mapping):
            read["options"] = _tupled(options)
        for name in ("score", "fusion", "threshold"):
            if isinstance(choice := read.get(name), str):
                raise ValueError(f'{name}: got {choice!r}; write {name} = {{kind = "{choice}"}}')
        return cls(**read)


def _on_base(values: Mapping[str, Any], bases: Mapping[str, Recipe]) -> Mapping[str, Any]:
    """Values with those of the recipe that they name as their base, less that name."""
    if "base" not in values:
        return values
    named = dict(values)
    if (base := str(named.pop("base"))) not in bases:
        raise ValueError(f"base: got {base!r}; give one of {', '.join(bases)}")
    under = bases[base].as_dict()
    if isinstance(own := named.get("options", {}), Mapping):
        named["options"] = under["options"] | own
    return under | named


def _names(kind: Any) -> str:
    return ", ".join(f.name for f in fields(kind))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


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
    kind = _CHOICES.get(str(values["kind"]))
    if kind is None:
        raise ValueError(f"a recipe knows no {values['kind']!r}; it knows {', '.join(_CHOICES)}")
    settings = _tupled({name: value for name, value in values.items() if name != "kind"})
    unknown = set(settings) - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(
            f"{values['kind']} has no {', '.join(sorted(unknown))}; it has {_names(kind)}"
        )
    return kind(**settings)
