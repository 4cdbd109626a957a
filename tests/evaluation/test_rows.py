from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.evaluation.rows import (
    Row,
    baseline_rows,
    check_names,
    fit_components,
    model_rows,
)
from napari_followup.models.bundle import ModelBundle
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
    def reconstruct(*_: object) -> torch.Tensor:
        return torch.zeros(1)

    options = {"draws": 2}
    one, two = Row(name="a", recipe=Recipe()), Row(name="b", recipe=Recipe(median=3))
    other = Row(name="c", recipe=Recipe(options=options))
    healed = Row(name="d", recipe=Recipe(options=options), reconstructor=reconstruct, source="d")
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


def planes(count: int = 40) -> torch.Tensor:
    """Mixtures of three patterns: 3 components tell all of them."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(3, 1, 8, 8, generator=generator)
    weights = torch.randn(count, 3, generator=generator)
    return 0.5 + torch.einsum("bk,kcyx->bcyx", weights, patterns)


def test_as_many_components_as_there_are_patterns_tell_everything() -> None:
    healthy = planes()

    again = fit_components(healthy, 3).reconstruct(healthy)

    torch.testing.assert_close(again, healthy, rtol=0, atol=1e-4)


def test_axes_are_those_of_the_exact_decomposition() -> None:
    healthy = planes()
    flat = healthy.flatten(1).numpy()
    _, _, exact = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)

    found = fit_components(healthy, 2).axes.numpy()

    np.testing.assert_allclose(np.abs(found @ exact[:2].T), np.eye(2), atol=1e-3)


def test_what_is_no_mixture_is_left_out() -> None:
    components = fit_components(planes(), 3)
    sick = planes()[:1].clone()
    sick[0, 0, 2, 2] += 5

    residual = (sick - components.reconstruct(sick)).abs()

    assert residual[0, 0].argmax() == 2 * 8 + 2


def test_fitting_leaves_the_random_state_alone_and_repeats() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)

    first, again = (fit_components(planes(), 3, seed=1).axes for _ in range(2))

    torch.testing.assert_close(first, again)
    torch.testing.assert_close(torch.rand(3), expected)


def test_no_more_components_than_planes_that_differ_from_their_mean() -> None:
    assert len(fit_components(planes(4), 200).axes) == 3


def test_one_plane_has_no_components() -> None:
    with pytest.raises(ValueError, match="at least 2 healthy planes, got 1"):
        fit_components(planes(1))
