"""Whether a model can follow a recipe, told before any network is built or called.

What a recipe asks for is known from its text, what a model gives from its method and configuration,
which stand in the header of its file: no weight is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_followup.detection.score import examiner
from napari_followup.methods.given import given_by, lack_of, possible_scores
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Mahalanobis, Recipe

__all__ = ["check_healthy", "check_recipe", "chosen_recipe", "options_of"]


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A method as it is to be used: its class, its configuration, its options."""

    kind: Any
    config: Any
    options: Any

    @property
    def healing(self) -> _Use:
        """What makes the healthy images: itself, or the method that it stands on."""
        if not hasattr(self.kind, "underneath"):
            return self
        kind, config, options = self.kind.underneath(self.config)
        return _Use(kind=kind, config=config, options=options)

    @property
    def draws(self) -> int:
        """Healthy images that it makes of each image."""
        options = self.healing.options
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
    model, options = examiner(bundle, recipe)
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
        levels = ", or several noise_levels" if hasattr(use.healing.options, "noise_levels") else ""
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
