"""Recipe: how evidence becomes a mask: score, fusion over visits, filter, threshold.

Plain frozen dataclasses without torch, so that a recipe goes into a form, TOML and layer metadata
alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from napari_followup.recipe.choices import (
    Fam,
    Fixed,
    Fusion,
    HealthyHysteresis,
    HealthyQuantile,
    Lafm,
    Mahalanobis,
    Own,
    Pixel,
    Quantile,
    Score,
    Ssim,
    Support,
    Temporal,
    Threshold,
    Yen,
    check_fields,
    check_share,
)

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

    A mask is made in this order: what reaches `threshold`, and `floor`; less what lies at the rim
    of the subject or outside it (`erosion`); less its small parts (`smallest`); grown (`dilation`).

    `erosion` tells the subject from what surrounds it as `rims.examined_region` does; 0 examines
    the whole image. `smallest` is measured at each visit by itself: in mm² for planar series and in
    mm³ for volumes where the series has a spacing in mm, in pixels or voxels where it has not.
    Pixels that touch at a corner belong to one part; in volumes voxels of neighbouring planes too.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    score: Score = field(default_factory=Pixel)
    fusion: Fusion = None
    median: int = 1  # side of the median filter in pixels; 1 for none
    volume_median: bool = False  # whether that filter reaches across the planes of a volume, too
    blur: float = 0.0  # sigma in pixels of a Gaussian in the plane, after that filter; 0 for none
    rescale: bool = False  # min-max per patient after the filter (Dang 2025, Sec. 3.2.3)
    threshold: Threshold = field(default_factory=HealthyQuantile)
    floor: float | None = None  # healthy quantile that the mask must exceed beside `threshold`
    imputed_references: bool = False  # whether imputed visits count when scores are fused
    erosion: int = 0  # pixels or voxels at the subject's rim where nothing is marked
    smallest: float = 0.0  # parts of the mask below this are dropped, see `Recipe`
    dilation: int = 0  # pixels that the mask is grown by, in the plane

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
        return {
            "options": {name: _plain(value) for name, value in self.options.items()},
            **{name: _tagged(getattr(self, name)) for name in ("score", "fusion", "threshold")},
            **{
                name: getattr(self, name)
                for name in ("median", "rescale", "floor", "imputed_references")
            },
            **{
                name: getattr(self, name)
                for name in ("volume_median", "blur", "erosion", "smallest", "dilation")
            },
        }

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
        # What does nothing is left out: so the key is that of earlier versions
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
