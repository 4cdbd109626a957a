from __future__ import annotations

from typing import get_args

import pytest

from napari_followup.choices import Fam, Mahalanobis, Own, Pixel, Score, Ssim, Temporal
from napari_followup.methods import METHODS, method_class
from napari_followup.methods.given import (
    GIVES,
    LACKS,
    NEEDS,
    given_by,
    lack_of,
    possible_scores,
)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_class_of_a_method_gives_what_the_table_says(name: str) -> None:
    assert method_class(name).gives == GIVES[name]


def test_the_tables_are_complete() -> None:
    assert set(GIVES) == set(METHODS)
    assert set(NEEDS) == set(get_args(Score))
    assert {need for needs in NEEDS.values() for need in needs} == set(LACKS)


def test_a_method_hands_on_the_features_of_the_one_underneath() -> None:
    assert given_by("sadm", {"base": "sdm"}, ()) == {"healthy", "score", "features"}
    assert given_by("sadm", {"base": "anofpdm"}, ()) == {"healthy", "score"}
    assert given_by("sdm", {}, ()) == {"healthy", "features"}


def test_a_tdm_predicts_wherever_it_stands() -> None:
    assert given_by("tdm", {}, ()) == {"healthy", "temporal"}
    assert given_by("andi", {}, ["tdm"]) == {"score", "temporal"}


def test_the_first_thing_that_a_score_lacks_is_said() -> None:
    assert lack_of(Fam, {"healthy", "features"}) == ""
    assert lack_of(Fam, {"healthy"}) == "gives no features to compare images by (SDM does)"
    assert lack_of(Fam, {"score"}) == "gives no healthy image to compare with"
    assert lack_of(Own, {"healthy"}) == "brings no score of its own"


def test_only_scores_that_lack_nothing_are_possible() -> None:
    assert possible_scores({"healthy"}) == [Pixel, Ssim, Mahalanobis]
    assert possible_scores({"score", "temporal"}) == [Temporal, Own]
    assert possible_scores(()) == []
