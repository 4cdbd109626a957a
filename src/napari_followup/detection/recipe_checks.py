"""Which part of a model follows a recipe, with which options, and whether it can.

Recipes are checked before any network is built or called: what a recipe asks for is known from its
choices, what a model gives from its method and configuration, which the header of its file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_followup.detection.prepare import Examiner
from napari_followup.methods.table import given_by, lack_of, possible_scores
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Mahalanobis, Recipe, Temporal
from napari_followup.scores.distance import Features

__all__ = [
    "check_healthy",
    "check_recipe",
    "chosen_recipe",
    "examiner_of",
    "lent_features",
    "model_and_options",
    "options_of",
]


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A method as it is to be used: its class, its configuration, its options."""

    kind: Any
    config: Any
    options: Any

    @property
    def base(self) -> _Use:
        """What makes the healthy images: itself, or the method that it stands on."""
        if not hasattr(self.kind, "underneath"):
            return self
        kind, config, options = self.kind.underneath(self.config)
        return _Use(kind=kind, config=config, options=options)

    @property
    def draws(self) -> int:
        """Healthy images that it makes of each image."""
        options = self.base.options
        levels = getattr(options, "noise_levels", (0,))
        return len(levels) * max(1, getattr(options, "draws", 1))


def chosen_recipe(bundle: ModelBundle, recipe: Recipe | None) -> Recipe:
    """Give a recipe back, or the model's own where none is given.

    Raises
    ------
    TypeError
        If it is no recipe.
    """
    if recipe is not None and not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe: got {recipe!r:.40}; give a Recipe, such as bundle.recipes['default'], one "
            f"of {', '.join(bundle.recipes)}"
        )
    return recipe or bundle.recipe


def model_and_options(bundle: ModelBundle, recipe: Recipe) -> tuple[ModelBundle, Mapping[str, Any]]:
    """Model that finds a recipe's evidence, and the options it is used with.

    Parameters
    ----------
    bundle
        The model given.
    recipe
        Its score may ask for another part of the bundle.

    Returns
    -------
    tuple
        The bundle, or its part, and options by name.

    Raises
    ------
    ValueError
        If the bundle has no such part.
    """
    if not isinstance(recipe.score, Temporal):
        return bundle, recipe.options
    return bundle.part("tdm"), {"draws": recipe.score.draws}


def check_recipe(bundle: ModelBundle, recipe: Recipe) -> None:
    """Check that a model can follow a recipe.

    Parameters
    ----------
    bundle
        The model; its weights are not looked at.
    recipe
        Options and score.

    Raises
    ------
    ValueError
        If the method has no such option, its configuration does not allow it, its evidence does
        not hold what the score needs, the model has no part that the score asks for, or a median is
        wider than its images.
    """
    model, options = model_and_options(bundle, recipe)
    use = _use(model, options)
    for median in (recipe.median, getattr(use.options, "median", 1)):
        _check_median(median, use.config.image_size)
    kind, gives = type(recipe.score), given_by(bundle.method, bundle.config, bundle.parts)
    if lack := lack_of(kind, gives):
        able = ", ".join(score.__name__ for score in possible_scores(gives))
        raise ValueError(
            f"score {kind.__name__}: method {bundle.method!r} {lack}; choose another score "
            f"({able}) or another model"
        )
    if isinstance(recipe.score, Mahalanobis) and use.draws < 2:
        levels = ", or several noise_levels" if hasattr(use.base.options, "noise_levels") else ""
        raise ValueError(
            f"score Mahalanobis: got {use.draws} reconstruction of each image, the Mahalanobis "
            f"distance needs two or more, ten as published; set draws to 2 or more{levels}"
        )


def options_of(bundle: ModelBundle, options: Mapping[str, Any]) -> Any:
    """Options of a model's method, checked against its configuration.

    Parameters
    ----------
    bundle
        The model; its weights are not looked at.
    options
        By name; what is not named keeps the method's default.

    Returns
    -------
    dataclass
        Of the method's ``options_type``.

    Raises
    ------
    ValueError
        If the method has no such option, or cannot be used with one of them.
    """
    return _use(bundle, options).options


def check_healthy(bundle: ModelBundle) -> None:
    """Raise a ValueError if a model's method gives no healthy images."""
    if "healthy" not in configured(bundle)[0].gives:
        raise ValueError(
            f"method {bundle.method!r} gives no healthy images, only scores; detect with it, or "
            "choose another model"
        )


def examiner_of(bundle: ModelBundle, options: Mapping[str, Any], device: torch.device) -> Examiner:
    """Build the network of a model, ready to examine planes.

    Parameters
    ----------
    bundle, options
        As for `options_of`, and so are the errors.
    device
        Where to compute.

    Returns
    -------
    Examiner
        With the features of an SDM beside the model, if there is one.
    """
    return Examiner(
        method=bundle.build(device),
        options=options_of(bundle, options),
        device=device,
        lent=lent_features(bundle),
    )


def lent_features(bundle: ModelBundle) -> Features | None:
    """Features of the SDM beside a model, by which FAM can compare any method's healthy images.

    Parameters
    ----------
    bundle
        The model and its parts.

    Returns
    -------
    callable or None
        Takes planes in the range of `bundle`; none where there is no SDM among the parts.
    """
    if "sdm" not in bundle.parts:
        return None
    sdm = bundle.part("sdm")
    (low, high), (first, last) = bundle.value_range, sdm.value_range

    def features(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        found: list[Tensor] = sdm.build(planes.device).examine_features(
            first + (planes - low) * ((last - first) / (high - low)), levels
        )
        return found

    return features


def _use(bundle: ModelBundle, options: Mapping[str, Any]) -> _Use:
    """Look up a model's method with options that suit it, or raise a ValueError."""
    kind, config = configured(bundle)
    known = kind.options_type.__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"method {bundle.method!r} has no option {', '.join(unknown)}; it has "
            f"{', '.join(known)}; recipes with its options are bundle.recipe and bundle.recipes "
            f"({', '.join(bundle.recipes)})"
        )
    chosen = kind.options_type(**options)
    kind.check_options(config, chosen)
    return _Use(kind=kind, config=config, options=chosen)


def _check_median(side: int, image_size: tuple[int, int]) -> None:
    if side > min(image_size):
        raise ValueError(
            f"median: got {side} pixels, wider than the {image_size[0]} x {image_size[1]} pixels "
            "of the model, on whose grid it is taken; give a smaller one"
        )
