from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

import napari_followup as nf
from napari_followup.detection.recipe_checks import (
    check_healthy,
    check_recipe,
    chosen_recipe,
    lent_features,
    options_of,
)
from napari_followup.methods import method_presets, method_recipes
from napari_followup.methods.table import TABLE
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import (
    Fam,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Score,
    Ssim,
    Temporal,
    Yen,
)
from napari_followup.series.stack import VisitStack


def header(method: str, preset: str = "compact", **settings: Any) -> ModelBundle:
    """Model without weights: what a check may look at."""
    config = asdict(replace(method_presets(method)[preset], **settings))
    return ModelBundle(name="header", method=method, config=config, weights={})


PRESETS = [(method, preset) for method in sorted(TABLE) for preset in method_presets(method)]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_every_model_can_follow_the_recipes_of_its_method(method: str, preset: str) -> None:
    for recipe in method_recipes(method).values():
        check_recipe(header(method, preset), recipe)


@pytest.mark.parametrize(
    ("method", "score", "problem"),
    [
        ("sdm", Own(), "score Own: method 'sdm' brings no score of its own; choose another"),
        (
            "andi",
            Pixel(),
            r"score Pixel: method 'andi' gives no healthy image.*another score \(Own\)",
        ),
        ("andi", Ssim(), "score Ssim: method 'andi' gives no healthy image"),
        ("andi", Mahalanobis(), "score Mahalanobis: method 'andi' gives no healthy image"),
        ("andi", Fam(), "score Fam: method 'andi' gives no healthy image"),
        ("vae3d", Fam(), "method 'vae3d' gives no features to compare images by .SDM does"),
        ("sadm", Fam(), r"features .*choose another score \(Pixel, Ssim, Mahalanobis, Own\)"),
        ("sdm", Temporal(), r"model 'header' \(sdm\) has no tdm; choose a model with one"),
        (
            "disyre",
            Mahalanobis(),
            r"'disyre' makes a single healthy image, .*another score \(Pixel, Ssim, Own\)",
        ),
        ("disyre", Fam(), r"choose another score \(Pixel, Ssim, Own\)"),
    ],
)
def test_a_score_that_the_method_does_not_allow_is_refused(
    method: str, score: Score, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        check_recipe(header(method), Recipe(score=score))


def test_options_of_another_method_point_to_the_recipes_of_the_model() -> None:
    with pytest.raises(
        ValueError, match=r"bundle.recipe and bundle.recipes \(default, published\)"
    ):
        check_recipe(header("andi"), Recipe.published())


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("sdm", Recipe(median=99)), ("sadm", Recipe(options={"median": 99}, score=Own()))],
)
def test_a_median_wider_than_the_images_is_refused(method: str, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="median: got 99 pixels, wider than the 64 x 64 pixels of"):
        check_recipe(header(method), recipe)


def test_a_recipe_is_given_itself_and_not_by_name() -> None:
    model = header("andi")

    assert chosen_recipe(model, None) == model.recipe
    assert chosen_recipe(model, Recipe()) == Recipe()
    with pytest.raises(TypeError, match=r"got 'published'; give a Recipe, such as bundle\.recipes"):
        chosen_recipe(model, "published")  # type: ignore[arg-type]


def test_features_of_the_method_underneath_count() -> None:
    check_recipe(header("sadm", base="sdm", base_options=None), Recipe(score=Fam()))


def test_a_part_beside_the_model_predicts_visits() -> None:
    model = replace(header("andi"), parts={"tdm": header("tdm")})

    check_recipe(model, Recipe.temporal())
    with pytest.raises(ValueError, match=r"'andi' gives no healthy.*score \(Temporal, Own\)"):
        check_recipe(model, Recipe(score=Pixel()))


@pytest.mark.parametrize(
    ("method", "options", "is_enough"),
    [
        ("cddpm", {"noise_levels": (50,)}, False),
        ("cddpm", {"noise_levels": (50, 100)}, True),
        ("cddpm", {"noise_levels": (50,), "draws": 2}, True),
        ("vae3d", {}, False),
        ("vae3d", {"draws": 2}, True),
        ("tdm", {"draws": 2}, True),
        ("sadm", {}, True),  # two levels of the method underneath
    ],
)
def test_mahalanobis_needs_two_reconstructions_in_all(
    method: str, options: dict[str, Any], is_enough: bool
) -> None:
    recipe = Recipe(options=options, score=Mahalanobis())

    if is_enough:
        check_recipe(header(method), recipe)
        return
    with pytest.raises(ValueError, match=r"set draws to 2 or more(, or several noise_levels)?$"):
        check_recipe(header(method), recipe)


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        ("sdm", {"noise_level": 1}, "method 'sdm' has no option noise_level; it has noise_levels,"),
        (
            "sdm",
            {"noise_levels": (50, 1001)},
            r"got \(50, 1001\), this model knows steps 1 to 1000",
        ),
        ("anoddpm", {"noise_levels": (1001,)}, "this model knows steps 1 to 1000"),
        ("cddpm", {"noise_levels": (1001,)}, "this model knows steps 1 to 1000"),
        ("pddpm", {"noise_levels": (1001,)}, "this model knows steps 1 to 1000"),
        ("pddpm", {"patch": (65, 32)}, "got 65 x 32 pixels, larger than the image of 64 x 64"),
        ("pddpm", {"overlap": 32}, "got 32 x 32 and 32 pixels; the overlap must be smaller"),
        ("andi", {"last_step": 400}, "got steps 75 to 399; this model knows steps 1 to 300"),
        ("anofpdm", {"last_step": 601}, "got steps 1 to 601; this model knows steps 1 to 600"),
        ("disyre", {"single_step": 101}, "single_step: got 101, this model knows steps 1 to 100"),
        ("sdm", {"draws": 0}, "draws and sampling_steps must be at least 1, got 0"),
        ("sdm", {"draws": "two"}, "draws must be a whole number; got 'two'"),
        ("pddpm", {"patch": [32]}, r"patch must be .*\(a whole number, a whole number\) or none"),
    ],
)
def test_options_that_the_configuration_does_not_allow_are_refused(
    method: str, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        options_of(header(method), options)


def test_options_of_the_method_underneath_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"got \(1001,\), this model knows steps 1 to 1000"):
        options_of(header("sadm", base_options={"noise_levels": (1001,)}), {})


def test_options_come_back_with_the_defaults_of_the_method() -> None:
    kind, _ = configured(header("sdm"))

    assert options_of(header("sdm"), {"draws": 3}) == kind.options_type(draws=3)


def test_a_method_that_only_scores_gives_no_healthy_images() -> None:
    check_healthy(header("sdm"))
    with pytest.raises(ValueError, match="'andi' gives no healthy images, only scores"):
        check_healthy(header("andi"))


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        (Recipe(options={"noise_levels": (21,)}), r"got \(21,\), this model knows steps 1 to 20"),
        (Recipe(options={"noise_levels": (10,)}, score=Own()), "brings no score of its own"),
        (Recipe(options={"noise_levels": (10,)}, score=Mahalanobis()), "needs two or more"),
    ],
)
def test_a_recipe_is_refused_before_a_network_is_built(
    tiny_series: VisitStack,
    tiny_bundle: ModelBundle,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Recipe,
    problem: str,
) -> None:
    monkeypatch.setattr(ModelBundle, "build", lambda *_: pytest.fail("a network was built"))

    with pytest.raises(ValueError, match=problem):
        nf.detect(tiny_series, tiny_bundle, recipe)


def test_reconstruction_says_so_before_it_builds_a_network(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelBundle, "build", lambda *_: pytest.fail("a network was built"))

    with pytest.raises(ValueError, match="this model knows steps 1 to 20"):
        nf.reconstruct(tiny_series, tiny_bundle, options={"noise_levels": (21,)})
    with pytest.raises(ValueError, match="gives no healthy images"):
        nf.reconstruct(tiny_series, header("andi", image_size=(16, 16)))


def test_an_sdm_beside_a_model_lends_its_features_in_its_own_range(
    tiny_anofpdm: ModelBundle, tiny_bundle: ModelBundle
) -> None:
    planes = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    joined = tiny_anofpdm.with_part(tiny_bundle)

    features = lent_features(joined)

    assert (joined.value_range, tiny_bundle.value_range) == ((-1, 1), (0, 1))
    assert features is not None
    expected = tiny_bundle.build().examine_features((planes + 1) / 2, (2, 3))
    for found, wanted in zip(features(planes, (2, 3)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_without_an_sdm_there_are_no_features_to_lend(tiny_anofpdm: ModelBundle) -> None:
    assert lent_features(tiny_anofpdm) is None


def test_fam_compares_the_healthy_images_of_any_method_by_lent_features(
    tiny_anofpdm: ModelBundle, tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    joined = tiny_anofpdm.with_part(tiny_bundle)
    recipe = Recipe(
        options={"last_step": 16, "stride": 5}, score=Fam(), threshold=Yen(pixel_too=False)
    )

    found = nf.detect(tiny_series, joined, recipe)

    plain = nf.detect(tiny_series, tiny_anofpdm, replace(recipe, score=Pixel()))
    assert found.healthy is not None
    assert plain.healthy is not None
    assert (found.healthy == plain.healthy).all()
    assert found.scores["feature"].max() > 0
    assert found.provenance["features_of"] == f"tiny {tiny_bundle.fingerprint}"
    assert "features_of" not in plain.provenance
    with pytest.raises(ValueError, match="gives no features to compare images by"):
        nf.detect(tiny_series, tiny_anofpdm, recipe)
