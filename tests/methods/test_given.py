from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from napari_followup.methods import METHODS, method_class
from napari_followup.methods.given import (
    GIVES,
    LABELS,
    LACKS,
    NEEDS,
    given_by,
    lack_of,
    possible_scores,
)
from napari_followup.methods.options import OPTION_TYPES
from napari_followup.recipe.choices import Fam, Mahalanobis, Own, Pixel, Score, Ssim, Temporal


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_class_of_a_method_gives_what_the_table_says(name: str) -> None:
    assert method_class(name).gives == GIVES[name]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_class_of_a_method_takes_the_labels_that_the_table_says(name: str) -> None:
    kind, takes = method_class(name), LABELS.get(name)

    assert kind.takes_labels == takes
    if takes is not None:
        assert (
            getattr(kind.config_type(), takes.made_by) is True
        )  # labels are never needed at first
    assert bool(kind.masked_stages or name == "sadm") == (
        takes is not None and takes.per == "pixel"
    )


def test_the_tables_are_complete() -> None:
    assert set(GIVES) == set(METHODS)
    assert set(NEEDS) == set(get_args(Score))
    assert {need for needs in NEEDS.values() for need in needs} == set(LACKS)


def test_a_method_hands_on_the_features_of_the_one_underneath() -> None:
    assert given_by("sadm", {"base": "sdm"}, ()) == {"healthy", "score", "features", "draws"}
    assert given_by("sadm", {"base": "anofpdm"}, ()) == {"healthy", "score"}
    assert given_by("sdm", {}, ()) == {"healthy", "features", "draws"}


@pytest.mark.parametrize("name", sorted(name for name in METHODS if "healthy" in GIVES[name]))
def test_several_healthy_images_come_of_options_that_ask_for_them(name: str) -> None:
    options = {each.name for each in fields(OPTION_TYPES[name])}

    asks = bool(options & {"draws", "noise_levels"})
    assert ("draws" in given_by(name, {}, ())) == (asks or name == "sadm")  # by what is underneath


def test_an_sdm_beside_a_method_lends_features_to_its_healthy_images() -> None:
    assert given_by("vae3d", {}, ["sdm"]) == {"healthy", "features", "draws"}
    assert given_by("andi", {}, ["sdm"]) == {"score"}


def test_a_tdm_predicts_wherever_it_stands() -> None:
    assert given_by("tdm", {}, ()) == {"healthy", "temporal", "draws"}
    assert given_by("andi", {}, ["tdm"]) == {"score", "temporal"}


def test_the_first_thing_that_a_score_lacks_is_said() -> None:
    assert lack_of(Fam, {"healthy", "features"}) == ""
    assert lack_of(Fam, {"healthy"}) == (
        "gives no features to compare images by (SDM does; bundle join puts one beside it)"
    )
    assert lack_of(Fam, {"score"}) == "gives no healthy image to compare with"
    assert lack_of(Own, {"healthy"}) == "brings no score of its own"


def test_only_scores_that_lack_nothing_are_possible() -> None:
    assert possible_scores({"healthy"}) == [Pixel, Ssim]
    assert possible_scores({"healthy", "draws"}) == [Pixel, Ssim, Mahalanobis]
    assert possible_scores({"score", "temporal"}) == [Temporal, Own]
    assert possible_scores(()) == []
