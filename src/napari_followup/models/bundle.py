"""A trained model in memory, with its recipes and the scores of healthy subjects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.device import placed_well
from napari_followup.methods import method_class, method_config, method_recipe, method_recipes
from napari_followup.recipe.fields import check_fields

if TYPE_CHECKING:
    from napari_followup.recipe.recipe import Recipe

__all__ = [
    "HealthyScores",
    "ModelBundle",
    "configured",
]

LARGEST = 1e9  # of a score; larger numbers are damaged
TAIL = tuple(np.logspace(0, -6, 121).tolist())  # shares of pixels above a score


@dataclass(frozen=True, kw_only=True)
class HealthyScores:
    """Scores that one recipe gives to healthy subjects that the model was not trained on."""

    shares: tuple[float, ...]  # of pixels above the score, falling
    heights: tuple[float, ...]  # score that this share of pixels exceeds, rising
    maxima: tuple[float, ...]  # highest score of each subject, rising

    def __post_init__(self) -> None:
        values = {name: np.asarray(value, float) for name, value in vars(self).items()}
        for name, numbers in values.items():
            if not numbers.size:
                raise ValueError(f"healthy scores: no {name}; calibrate the model again")
            if not (np.abs(numbers) <= LARGEST).all():
                raise ValueError(
                    f"healthy scores: {name} hold values that are no scores (NaN, infinite or "
                    f"beyond {LARGEST:.0e}); calibrate the model again"
                )
        shares, heights, maxima = values.values()
        rising = (np.diff(heights) >= 0).all() and (np.diff(maxima) >= 0).all()
        falling = (np.diff(shares) < 0).all() and shares[-1] > 0 and shares[0] <= 1
        if len(shares) != len(heights) or not (rising and falling):
            raise ValueError(
                "healthy scores: there must be one score per share of pixels, rising while the "
                "share falls from 1 towards 0; calibrate the model again"
            )

    @classmethod
    def of(cls, scores: Sequence[NDArray[np.float32]]) -> HealthyScores:
        """Summarise healthy scores, one array of any shape per subject, without NaN.

        Raises
        ------
        ValueError
            If all scores are NaN.
        """
        finite = [
            known for known in (subject[np.isfinite(subject)] for subject in scores) if known.size
        ]
        if not finite:
            raise ValueError(
                "healthy scores: no pixel of the healthy subjects was examined; give subjects "
                "with observed visits, or a smaller border (erosion)"
            )
        pooled = np.concatenate(finite)
        shares = tuple(share for share in TAIL if share * pooled.size >= 1)
        heights = np.quantile(pooled, [1 - share for share in shares])
        maxima = sorted(float(subject.max()) for subject in finite)
        return cls(shares=shares, heights=tuple(heights.tolist()), maxima=tuple(maxima))

    def pixel_quantile(self, q: float) -> float:
        """Score that a share `q` of healthy pixels does not exceed.

        Parameters
        ----------
        q
            Share in [0, 1]; for shares beyond the data the highest score is returned.

        Returns
        -------
        float
            Interpolated between the known shares, on a logarithmic scale.
        """
        logs = torch.tensor(self.shares, dtype=torch.float64).clamp_min(1e-12).log()
        wanted = torch.tensor(max(1 - q, self.shares[-1]), dtype=torch.float64).log()
        place = int(torch.searchsorted(-logs, -wanted).clamp(1, len(logs) - 1))
        low, high = logs[place - 1], logs[place]
        part = float(((wanted - low) / (high - low)).clamp(0, 1)) if high != low else 1.0
        return self.heights[place - 1] + part * (self.heights[place] - self.heights[place - 1])

    def subject_quantile(self, q: float) -> float:
        """Score that a share `q` of healthy subjects does not exceed at any pixel."""
        return float(torch.quantile(torch.tensor(self.maxima, dtype=torch.float64), q))


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelBundle:
    """A trained model: weights, configuration and description; `build` makes the network."""

    name: str
    method: str
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    healthy: Mapping[str, HealthyScores] = field(default_factory=dict)  # by `Recipe.score_key`
    card: Mapping[str, Any] = field(default_factory=dict)  # data, training, figures, licence
    version: str = "1"
    parts: Mapping[str, ModelBundle] = field(default_factory=dict)  # further models, by method
    own_recipe: Recipe | None = None  # by default that of the method

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"ModelBundle({self.name!r}, {self.method}, version {self.version}, "
            f"{height} x {width}, {self.fingerprint}"
            + "".join(f", with {part}" for part in self.parts)
            + ")"
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """``(y, x)`` in pixels, of the planes the model was trained on."""
        height, width = self.config["image_size"]
        return height, width

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest grey value that the model expects."""
        low, high = self.config["value_range"]
        return low, high

    @property
    def modalities(self) -> int:
        """Channels of the images."""
        return int(self.config["modalities"])

    @property
    def recipe(self) -> Recipe:
        """Default recipe of the model."""
        return self.recipes["default"]

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Recipes by name: ``"default"``, most often ``"published"``, ``"temporal"`` with a TDM."""
        own = {} if self.own_recipe is None else {"default": self.own_recipe}
        has_tdm = "tdm" in (self.method, *self.parts)
        temporal = {"temporal": method_recipe("tdm")} if has_tdm else {}
        return method_recipes(self.method) | temporal | own

    def name_of(self, recipe: Recipe) -> str:
        """Name of a recipe among `recipes`; empty if it is none of them."""
        known = {name: own.as_dict() for name, own in self.recipes.items()}
        return next((name for name, own in known.items() if own == recipe.as_dict()), "")

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the weights; it distinguishes two models of the same name."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            values = self.weights[name].detach().cpu().flatten()  # a counter has no axes
            digest.update(name.encode() + values.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]

    def build(self, device: torch.device | str = "cpu") -> Any:
        """Make the network in float32, ready to use; it is cached for each device.

        Raises
        ------
        ValueError
            If the weights do not fit the configuration, or this version cannot read it.
        """
        return _build(self, torch.device(device))

    def provenance(self, seed: int, **more: Any) -> dict[str, Any]:
        """Provenance of a result, ready for JSON: this model, this software, a seed, `more`."""
        return {
            "software": "napari-followup",
            "version": version("napari-followup"),
            "model": self.name,
            "model_version": self.version,
            "model_fingerprint": self.fingerprint,
            "method": self.method,
            "seed": seed,
            **more,
        }

    def part(self, method: str) -> ModelBundle:
        """Model of the given method in the same file; this model if it has that method.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.method == method:
            return self
        if method not in self.parts:
            raise ValueError(
                f"model {self.name!r} ({self.method}) has no {method}; choose a model with one, or "
                f"train it (napari-followup train {method}) and join the two (bundle join)"
            )
        return self.parts[method]

    def with_part(self, part: ModelBundle) -> ModelBundle:
        """Copy of this model with one more part; a part of the same method is replaced.

        Parts of `part` are added too, unless this model already has one of their method.

        Raises
        ------
        ValueError
            If both models have the same method.
        """
        if part.method == self.method:
            raise ValueError(
                f"{part.name!r} ({part.method}) cannot join {self.name!r} ({self.method}): give "
                "models of different methods"
            )
        brought = {method: other for method, other in part.parts.items() if method != self.method}
        alone = replace(part, parts={}) if part.parts else part
        return replace(self, parts={**brought, **self.parts, part.method: alone})

    def healthy_for(self, key: str) -> tuple[HealthyScores | None, bool]:
        """Healthy scores for a recipe's `score_key`, and whether they are of exactly this recipe.

        Scores of the same recipe with other draws or sampling steps are close enough. So are those
        with a narrower border left out, which give a higher threshold.
        """
        if key in self.healthy:
            return self.healthy[key], True
        wanted, border = _coarse(key)
        borders = {
            width: known
            for known in self.healthy
            for what, width in [_coarse(known)]
            if what == wanted
        }
        nearest = max((width for width in borders if width <= border), default=None)
        return None if nearest is None else self.healthy[borders[nearest]], False

    def with_healthy(self, key: str, scores: HealthyScores) -> ModelBundle:
        """Copy of this model with healthy scores for one more recipe.

        Parameters
        ----------
        key
            `Recipe.score_key` of that recipe.
        scores
            Those of healthy subjects.

        Returns
        -------
        ModelBundle
            It shares the weights.
        """
        return replace(self, healthy={**self.healthy, key: scores})


def _coarse(key: str) -> tuple[Any, float]:
    """Give the settings that recipes with the same healthy scores share, and the border."""
    values = json.loads(key)
    border = values.pop("erosion", 0.0)
    for name in ("options", "score"):
        some = values[name].items()
        values[name] = {n: v for n, v in some if n not in ("draws", "sampling_steps")}
    return values, border


def configured(bundle: ModelBundle) -> tuple[Any, Any]:
    """Class of a model's method, and its configuration; does not make the network.

    Parameters
    ----------
    bundle
        The model; only `name`, `method` and `config` are read.

    Returns
    -------
    tuple
        A class like `methods.method.Method`, and an object of its ``config_type``.

    Raises
    ------
    ValueError
        If this version does not know the method or its configuration.
    """
    from napari_followup.methods.table import TABLE

    if bundle.method not in TABLE:
        raise ValueError(
            f"model {bundle.name!r} uses the method {bundle.method!r}, which this version does not "
            f"have (it has {', '.join(sorted(TABLE))}); update napari-followup, or choose "
            "another model"
        )
    try:
        config = method_config(bundle.method, bundle.config)
        check_fields(config)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(
            f"model {bundle.name!r}: this version cannot read its configuration: {error}; "
            "update napari-followup, or train the model again"
        ) from error
    return method_class(bundle.method), config


def _shortened(text: str, most: int) -> str:
    """Text of at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@lru_cache(maxsize=2)
def _build(bundle: ModelBundle, device: torch.device) -> Any:
    kind, config = configured(bundle)
    _check_fit(bundle, kind, config)
    method = kind(config)
    method.load_state_dict({name: tensor.float() for name, tensor in bundle.weights.items()})
    return placed_well(method.to(device)).eval().requires_grad_(False)


def _check_fit(bundle: ModelBundle, kind: Any, config: Any) -> None:
    """Compare names and shapes of the weights with those of the network, before it is made."""
    try:
        with torch.device("meta"):  # a network without memory
            wanted = {name: tuple(each.shape) for name, each in kind(config).state_dict().items()}
    except (
        RuntimeError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AssertionError,
    ) as error:  # sizes that are impossible for tensors, or for this method
        raise ValueError(
            f"model {bundle.name!r}: its configuration fits no network "
            f"({_shortened(str(error), 120)}); download it again"
        ) from error
    given = {name: tuple(each.shape) for name, each in bundle.weights.items()}
    misfits = [
        f"{name} is {given.get(name, 'missing')}, the configuration asks for "
        f"{wanted.get(name, 'none')}"
        for name in [*wanted, *(given.keys() - wanted.keys())]
        if given.get(name) != wanted.get(name)
    ]
    if misfits:
        raise ValueError(
            f"model {bundle.name!r}: its weights do not fit its configuration"
            f"{''.join(f'; {_shortened(each, 120)}' for each in misfits[:3])}; download it "
            "again, or train it again with this version"
        )
