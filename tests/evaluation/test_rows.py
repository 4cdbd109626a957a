from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from napari_followup.evaluation.baselines import fit_components
from napari_followup.evaluation.rows import Row, baseline_rows, check_names, model_rows
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Fam, Pixel, Recipe, Temporal


def test_model_rows_differ_from_the_thesis_by_what_their_names_say(
    tiny_bundle: ModelBundle,
) -> None:
    rows = {row.name: row.recipe for row in model_rows(tiny_bundle, Recipe.default())}
    default, published, pixel, fam = rows.values()

    assert default == Recipe.default()
    assert published == rows["published recipe"] == Recipe.published()
    assert replace(fam, fusion=published.fusion) == published
    assert (type(pixel.score).__name__, pixel.fusion, pixel.median) == ("Pixel", None, 1)
    assert pixel.options == published.options


def test_rows_of_another_method_stand_on_its_own_published_recipe(
    tiny_of: Callable[[str], ModelBundle],
) -> None:
    bundle = tiny_of("vae3d")
    _, published, pixel, fam = (row.recipe for row in model_rows(bundle, bundle.recipe))

    assert published == bundle.recipes["published"]
    assert isinstance(pixel.score, Pixel)
    assert isinstance(fam.score, Fam)
    assert fam.smallest == published.smallest
    assert pixel.smallest == 0


def test_a_method_without_a_published_recipe_has_no_row_of_it(tiny_tdm: ModelBundle) -> None:
    names = [row.name for row in model_rows(tiny_tdm, Recipe.temporal())]

    assert names == ["default recipe", "pixel distance + Yen", "FAM + Yen, no fusion"]


def test_rows_share_evidence_by_source_options_and_draws_of_the_temporal_score() -> None:
    def heal(*_: object) -> torch.Tensor:
        return torch.zeros(1)

    options = {"draws": 2}
    one, two = Row(name="a", recipe=Recipe()), Row(name="b", recipe=Recipe(median=3))
    other = Row(name="c", recipe=Recipe(options=options))
    healed = Row(name="d", recipe=Recipe(options=options), healer=heal, source="d")
    temporal = [Row(name="t", recipe=Recipe(score=Temporal(draws=n))) for n in (1, 2)]

    assert one.key == two.key
    assert len({row.key for row in (one, other, healed, *temporal)}) == 5


def test_baseline_rows_are_named_after_the_number_of_components() -> None:
    planes = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    assert [row.name for row in baseline_rows(fit_components(planes, 3))] == [
        "PCA(3) residual + Yen",
        "PCA(3) residual + LAFM",
    ]


def test_names_that_stand_for_two_rows_are_told() -> None:
    rows = [Row(name=name, recipe=Recipe()) for name in ("a", "b", "a")]

    check_names(rows[:2])
    with pytest.raises(ValueError, match="rows: a named twice"):
        check_names(rows)
