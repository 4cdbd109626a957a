from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.options import (
    add_planes,
    check_out,
    countdown,
    counted,
    duration,
    planes_chosen,
    read_data,
    recipe_named,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe, Yen
from napari_followup.series.plane_selection import Slicing


def test_recipes_of_a_model_have_names(tiny_bundle: ModelBundle) -> None:
    assert recipe_named("default", tiny_bundle) == Recipe.default()
    assert recipe_named("published", tiny_bundle) == Recipe.published()


def test_a_model_may_have_a_recipe_of_its_own(tiny_bundle: ModelBundle) -> None:
    own = Recipe(median=3)

    assert recipe_named("default", replace(tiny_bundle, own_recipe=own)) == own


def test_a_recipe_comes_from_toml(recipe: Path, tiny_bundle: ModelBundle) -> None:
    found = recipe_named(str(recipe), tiny_bundle)

    assert found.threshold == Yen(pixel_too=False)
    assert found.options == {"noise_levels": (10,), "draws": 1, "sampling_steps": 3}


def test_a_file_may_build_on_a_recipe_of_the_model(
    tmp_path: Path, tiny_bundle: ModelBundle
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('base = "published"\nmedian = 3\n')

    assert recipe_named(str(path), tiny_bundle) == replace(Recipe.published(), median=3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("median = 4", "odd number of pixels"),
        ("colour = 1", "no colour"),
        ("median = ", "recipe.toml' is not a valid recipe"),
        ('score = {kind = "Guess"}', "knows no 'Guess'"),
        ('options = "many"', "is not a valid recipe: options must be a table"),
        ('base = "mine"', "base: got 'mine'; give one of default, published"),
    ],
)
def test_a_wrong_recipe_is_named(
    text: str, problem: str, tmp_path: Path, tiny_bundle: ModelBundle
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)

    with pytest.raises(ValueError, match=problem):
        recipe_named(str(path), tiny_bundle)


def test_a_recipe_that_is_not_there_is_named(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(FileNotFoundError, match="got 'mine'; give default, published or a"):
        recipe_named("mine", tiny_bundle)
    with pytest.raises(FileNotFoundError, match="temporal needs a model with a TDM"):
        recipe_named("temporal", tiny_bundle)


def test_data_of_several_files_come_together(series: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", images=np.ones((2, 3, 8, 8)), axes="svyx")

    assert len(read_data([str(series), str(tmp_path / "two.npz")])) == 3


def test_a_folder_is_looked_at_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")

    check_out(tmp_path / "new" / "folder")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
            check_out(wrong)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError, match="is not writable; give another folder"):
        check_out(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_one_is_no_plural() -> None:
    assert [counted(n, "visit") for n in (0, 1, 2)] == ["0 visits", "1 visit", "2 visits"]


def test_countdown_speaks_at_the_end_and_not_at_every_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = countdown("patient", every=60.0)
    for done in (1, 2, 3):
        tell(done, 3)

    assert capsys.readouterr().err == "patient 3 of 3, 0:00 left\n"


def test_countdown_says_about_where_steps_differ(capsys: pytest.CaptureFixture[str]) -> None:
    countdown("patient", roughly=True)(3, 3)

    assert capsys.readouterr().err == "patient 3 of 3, about 0:00 left\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (3661, "1:01:01"), (59.6, "1:00")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def planes_of(*words: str) -> Slicing | None:
    parser = argparse.ArgumentParser()
    add_planes(parser)
    return planes_chosen(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "planes"),
    [
        ([], None),
        (["--planes", ":"], None),
        (["--plane-axis", "y"], Slicing("y")),
        (["--planes", "20:120:2"], Slicing("z", 20, 120, 2)),
        (["--planes", "20:"], Slicing("z", 20)),
        (["--planes", ":9", "--plane-axis", "x"], Slicing("x", 0, 9)),
        (["--planes", "7"], Slicing("z", 7, 8)),
    ],
)
def test_planes_are_read_as_python_writes_them(words: list[str], planes: Slicing | None) -> None:
    assert planes_of(*words) == planes


@pytest.mark.parametrize("text", ["a:b", "1:2:3:4", "-5:", "1.5"])
def test_planes_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"planes: got '.*'; give first:last or first:last:step"):
        planes_of(f"--planes={text}")
