from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_followup.detection.recipe_checks import check_recipe
from napari_followup.methods.table import TABLE
from napari_followup.models.bundle import ModelBundle
from napari_followup.plugin.models.model_choice import ModelFacts, facts_of
from napari_followup.recipe.recipe import Fam, Mahalanobis, Own, Pixel, Recipe, Ssim, Temporal

pytestmark = pytest.mark.viewer

Header = Callable[..., Path]
CONFIGS = {"sadm": {"image_size": (32, 32), "base": "vae3d", "base_preset": "compact"}}


@pytest.mark.parametrize("method", sorted(TABLE))
def test_the_header_of_a_file_names_the_recipes(header_of: Header, method: str) -> None:
    facts = facts_of(str(header_of(method)))

    assert facts.method == method
    assert facts.recipes["default"] == TABLE[method].recipes["default"]
    assert ("published" in facts.recipes) == (method != "tdm")
    assert ("temporal" in facts.recipes) == (method == "tdm")


def test_a_part_brings_the_temporal_recipe(header_of: Header) -> None:
    facts = facts_of(str(header_of("sdm", ("tdm",))))

    assert list(facts.recipes) == ["default", "published", "temporal"]
    assert facts.recipes["temporal"] == Recipe.temporal()
    assert Temporal not in facts.obstacles


def test_a_recipe_of_the_model_s_own_is_its_default(header_of: Header) -> None:
    own = Recipe(options={"draws": 7}, score=Pixel(tolerance=0.5), median=3)
    facts = facts_of(str(header_of("cddpm", recipe=own.as_dict())))

    assert facts.recipes["default"] == own
    assert facts.recipes["published"] == TABLE["cddpm"].recipes["published"]


@pytest.mark.parametrize("score", [Pixel(), Fam(), Temporal(), Ssim(), Mahalanobis(), Own()])
@pytest.mark.parametrize("method", sorted(TABLE))
def test_a_score_is_refused_just_where_the_library_refuses_it(
    header_of: Header, method: str, score: Pixel | Fam | Temporal | Ssim | Mahalanobis | Own
) -> None:
    config = CONFIGS.get(method, {})
    many = {"noise_levels": (50, 100)} if method in ("sdm", "anoddpm", "pddpm", "cddpm") else {}
    recipe = Recipe(options=many, score=score)
    facts = facts_of(str(header_of(method, config=config)))
    header, said = ModelBundle(name="x", method=method, config=config, weights={}), ""
    try:
        check_recipe(header, recipe)
    except ValueError as error:
        said = str(error)

    if "Mahalanobis" in said and "two or more" in said:  # of draws, which a run says
        said = ""
    assert bool(facts.problem(recipe)) == bool(said)
    assert (type(score) in facts.obstacles) == bool(said)


def test_what_a_model_cannot_give_is_said_with_what_it_can(header_of: Header) -> None:
    facts = facts_of(str(header_of("andi")))

    problem = facts.problem(Recipe(score=Pixel()))
    assert problem == (
        "score: ANDi gives no healthy image to compare with; choose another score (the method's "
        "own) or another model"
    )
    assert facts.obstacles[Fam] == "ANDi gives no healthy image to compare with"
    assert facts.problem(TABLE["andi"].recipes["default"]) == ""


def test_options_of_another_method_are_refused(header_of: Header) -> None:
    facts = facts_of(str(header_of("andi")))

    problem = facts.problem(Recipe(options={"noise_levels": (50,), "stride": 2}, score=Own()))
    assert "ANDi has no noise_levels, it has first_step, last_step, stride" in problem
    both = facts_of(str(header_of("sdm", ("tdm",))))
    assert both.problem(Recipe(options={"stride": 2}, score=Temporal())) == ""  # goes by none


def test_sadm_hands_on_the_features_of_the_method_underneath(header_of: Header) -> None:
    plain = facts_of(str(header_of("sadm", config={"base": "cddpm"})))
    assert Fam in plain.obstacles
    rich = facts_of(str(header_of("sadm", config={"base": "sdm"})))

    assert Fam not in rich.obstacles


def test_two_recipes_that_come_to_the_same_have_one_name(header_of: Header) -> None:
    facts = facts_of(str(header_of("disyre")))
    own = facts.recipes["default"]

    assert facts.name_of(own, facts.recipes) == "default"
    spelt = Recipe(
        options={"step_size": 25}, score=own.score, fusion=own.fusion, threshold=own.threshold
    )
    assert facts.name_of(spelt, facts.recipes) == "default"
    assert facts.name_of(Recipe(options={"step_size": 50}), facts.recipes) == ""


def test_a_file_that_cannot_be_read_is_taken_for_an_sdm(tmp_path: Path, header_of: Header) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"x" * 99)

    assert facts_of(str(broken)) == ModelFacts()
    assert facts_of(str(tmp_path / "none.safetensors")) == ModelFacts()
    assert facts_of("") == ModelFacts()
    assert facts_of(str(header_of("not-yet-known"))) == ModelFacts()
    assert ModelFacts().obstacles == {}


def test_a_header_is_read_without_torch(header_of: Header) -> None:
    script = (
        "import sys; from napari_followup.plugin.models.model_choice import facts_of;"
        "print(facts_of(sys.argv[1]).title, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(header_of("andi"))], capture_output=True, text=True
    )

    assert done.stdout.split() == ["ANDi", "False"], done.stderr


@pytest.mark.parametrize(
    ("patch", "is_refused"),
    [((128, 128), True), ((64, 65), True), (128, True), ((64, 64), False), (None, False)],
)
def test_patches_are_held_against_the_size_of_the_images(
    header_of: Header, patch: Any, is_refused: bool
) -> None:
    recipe = Recipe(options={"patch": patch})
    facts = facts_of(str(header_of("pddpm", config={"image_size": [64, 64]})))
    assert facts.problem(recipe).startswith("patch: got ") == is_refused
    assert bool(facts.problem(recipe)) == is_refused

    assert facts_of(str(header_of("pddpm"))).problem(recipe) == ""  # a size that is not known
