"""What a model can do, as its file says before a weight of it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_followup.methods.given import LACKS, NEEDS, given_by, lack_of, possible_scores
from napari_followup.methods.options import OPTION_TYPES
from napari_followup.methods.recipes import RECIPES
from napari_followup.models.catalogue import find
from napari_followup.models.header import read_about
from napari_followup.plugin.forms.fields import label_of
from napari_followup.plugin.models.train_methods import METHODS
from napari_followup.recipe.recipe import Recipe, Temporal

if TYPE_CHECKING:
    from napari_followup.plugin.layers.layers import Source

__all__ = ["ModelFacts", "facts_of"]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Method of a model, its recipes by name, and what it gives a score to go by.

    Without arguments those of a file that cannot be read: a run will say why.
    """

    method: str = "sdm"
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: RECIPES["sdm"])
    gives: frozenset[str] = frozenset(LACKS)
    modalities: int | None = None  # of the images it takes, where its file says so
    image_size: tuple[int, int] | None = None  # (y, x) that planes are resampled to, the same

    @property
    def title(self) -> str:
        """Name of the method, as its authors write it."""
        return METHODS[self.method].title.partition(",")[0]

    @property
    def option_type(self) -> type:
        """Dataclass of the method's options."""
        return OPTION_TYPES[self.method]

    @property
    def options(self) -> dict[str, Any]:
        """Defaults of the method's options, by name."""
        return dict(vars(self.option_type()))

    @property
    def obstacles(self) -> dict[type, str]:
        """Scores that the model cannot give, and why not."""
        lacks = {kind: lack_of(kind, self.gives) for kind in NEEDS}
        return {kind: f"{self.title} {lack}" for kind, lack in lacks.items() if lack}

    def problem(self, recipe: Recipe) -> str:
        """Say why the model cannot follow a recipe; empty where it can."""
        if why := self.obstacles.get(type(recipe.score)):
            able = ", ".join(label_of(kind) for kind in possible_scores(self.gives))
            return f"score: {why}; choose another score ({able}) or another model"
        if isinstance(recipe.score, Temporal):
            return ""
        known = list(self.options)
        others = sorted(set(recipe.options) - set(known))
        if not others:
            return self._too_large(recipe.options.get("patch"))
        return (
            f"options: {self.title} has no {', '.join(others)}, it has {', '.join(known)}; "
            "choose another recipe or another model"
        )

    def _too_large(self, patch: Sequence[int] | None) -> str:
        size = self.image_size
        if patch is None or size is None or all(np.less_equal(patch, size)):
            return ""
        return (
            f"patch: got {' x '.join(map(str, np.ravel(patch)))} pixels, larger than the model's "
            f"images of {size[0]} x {size[1]}; choose a smaller one"
        )

    def mismatch(self, source: Source) -> str:
        """Say why the model cannot take these images; empty where nothing is known against it."""
        axes = source.axes
        there = source.data.shape[axes.index("m")] if "m" in axes else 1
        if self.modalities in (None, there):
            return ""
        return (
            f"modalities: {source.name!r} has {there}, the model was trained on "
            f"{self.modalities}; choose a layer of that many, or another model"
        )

    def name_of(self, recipe: Recipe, recipes: Mapping[str, Recipe]) -> str:
        """Name among `recipes` of one that comes to the same; empty where none does."""
        wanted = self._spelt_out(recipe)
        return next((name for name, own in recipes.items() if self._spelt_out(own) == wanted), "")

    def _spelt_out(self, recipe: Recipe) -> Recipe:
        """Recipe that names all options; none for a score that does not go by them."""
        if isinstance(recipe.score, Temporal):
            return replace(recipe, options={})
        return replace(recipe, options=self.options | dict(recipe.options))


def facts_of(model: str) -> ModelFacts:
    """Read what a model can do from the header of its file.

    Parameters
    ----------
    model
        Name of an embedded model, or a file.

    Returns
    -------
    ModelFacts
        Those of an SDM where there is no such file, or it cannot be read.
    """
    try:
        about = read_about(find(model))
        own = {"default": Recipe.from_dict(about["recipe"])} if "recipe" in about else {}
    except (OSError, ValueError, TypeError, KeyError):
        return ModelFacts()
    method, parts = about["method"], about["parts"]
    if method not in OPTION_TYPES:
        return ModelFacts()
    is_temporal = "tdm" in (method, *parts)
    recipes = RECIPES[method] | ({"temporal": Recipe.temporal()} if is_temporal else {}) | own
    gives = given_by(method, about["config"], parts)
    said = {name: about["config"].get(name) for name in ("modalities", "image_size")}
    return ModelFacts(method=method, recipes=recipes, gives=gives, **said)
