"""Whether a model can follow a recipe, told before any network is built or called.

What a recipe asks for is known from its text, what a model gives from its method and configuration,
which stand in the header of its file: no weight is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from napari_followup.model_bundle import ModelBundle, configured
from napari_followup.recipe import Fam, Mahalanobis, Own, Recipe
from napari_followup.scoring import examiner

__all__ = ["check_healthy", "check_recipe", "options_of", "problem_of"]


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A method as it is to be used: its class, its configuration, its options."""

    name: str
    kind: Any
    config: Any
    options: Any

    @property
    def healing(self) -> _Use:
        """What makes the healthy images: itself, or the method that it stands on."""
        if not hasattr(self.kind, "underneath"):
            return self
        kind, config, options = self.kind.underneath(self.config)
        return _Use(name=self.name, kind=kind, config=config, options=options)

    @property
    def gives(self) -> frozenset[str]:
        """What the evidence holds, features of the method underneath among them."""
        given: frozenset[str] = self.kind.gives | (self.healing.kind.gives & {"features"})
        return given

    @property
    def draws(self) -> int:
        """Healthy images that it makes of each image."""
        options = self.healing.options
        levels = getattr(options, "noise_levels", (0,))
        return len(levels) * max(1, getattr(options, "draws", 1))


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
        not hold what the score needs, or the model has no part that the score asks for.
    """
    model, options = examiner(bundle, recipe)
    use = _use(model, options)
    if isinstance(recipe.score, Own):
        _check_own(use)
        return
    _check_compared(use, type(recipe.score).__name__)
    if isinstance(recipe.score, Fam) and "features" not in use.gives:
        raise ValueError(
            f"score Fam: FAM needs a method with features, such as SDM, and {use.name!r} has none; "
            "choose the pixel score"
        )
    if isinstance(recipe.score, Mahalanobis) and use.draws < 2:
        raise ValueError(
            f"score Mahalanobis: got {use.draws} reconstruction of each image, the Mahalanobis "
            "distance needs two or more, ten as published; set draws, or several noise levels"
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


def problem_of(
    method: str,
    config: Mapping[str, Any],
    recipe: Recipe,
    parts: Collection[str] = (),
    *,
    name: str = "",
) -> str:
    """Say why a model cannot follow a recipe, from what its file says of itself.

    Parameters
    ----------
    method, config
        As `read_about` returns them.
    recipe
        Options and score.
    parts
        Methods of the model's parts.
    name
        What the model is called; its method when none is given.

    Returns
    -------
    str
        What is wrong and what to do; empty where the model can follow the recipe.
    """
    header = ModelBundle(
        name=name or method,
        method=method,
        config=config,
        weights={},
        parts={part: _header(part) for part in parts},
    )
    try:
        check_recipe(header, recipe)
    except ValueError as error:
        return str(error)
    return ""


def _header(method: str) -> ModelBundle:
    return ModelBundle(name=method, method=method, config={}, weights={})


def _use(bundle: ModelBundle, options: Mapping[str, Any]) -> _Use:
    """Look up a model's method with options that suit it, or raise a ValueError."""
    kind, config = configured(bundle)
    known = kind.options_type.__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"method {bundle.method!r} has no option {', '.join(unknown)}; "
            f"it has {', '.join(known)}"
        )
    try:
        chosen = kind.options_type(**options)
        kind.check_options(config, chosen)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ValueError(
            f"options of method {bundle.method!r}: got {given}; one of them is of the wrong kind "
            f"({error}); give values like {kind.options_type()}"
        ) from error
    return _Use(name=bundle.method, kind=kind, config=config, options=chosen)


def _check_own(use: _Use) -> None:
    if "score" not in use.gives:
        raise ValueError(
            f"score Own: method {use.name!r} brings no score of its own; choose the pixel score"
        )


def _check_compared(use: _Use, score: str) -> None:
    if "healthy" not in use.gives:
        raise ValueError(
            f"score {score}: method {use.name!r} gives no healthy image to compare with; choose "
            "the method's own score"
        )
