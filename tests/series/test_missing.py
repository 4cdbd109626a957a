from __future__ import annotations

import numpy as np
import pytest

from napari_followup.alignment.align import single_visits
from napari_followup.comparison.change_map import change
from napari_followup.series.missing import is_map, observed_visits, refuse_partly_missing
from napari_followup.series.stack import VisitStack


def images() -> np.ndarray:
    """Three visits of two planes: whole, without its first plane, missing."""
    values = np.random.default_rng(0).random((3, 1, 2, 4, 4))
    values[1, :, 0] = values[2] = np.nan
    return values


def test_visits_that_are_nan_all_over_are_missing_and_those_of_a_map_may_lack_planes() -> None:
    seen = observed_visits(images(), np.ones(3, bool), "anna", may_lack_planes=True)

    assert seen.tolist() == [True, True, False]
    with pytest.raises(ValueError, match="visit 2 of 3 of 'anna' is partly NaN; fill the holes"):
        observed_visits(images(), np.ones(3, bool), "anna", may_lack_planes=False)


def test_a_map_says_what_result_it_is() -> None:
    assert is_map({"layer": {"result": "score"}})
    assert not is_map({"layer": {"kind": "image"}})
    assert not is_map({"layer": "result"})


def test_nothing_is_computed_of_a_map_that_lacks_planes() -> None:
    said = {"layer": {"result": "score"}}
    stack = VisitStack.from_array(images(), provenance=said)

    refuse_partly_missing(images()[2], "a missing visit")
    with pytest.raises(ValueError, match="is a saved map, partly NaN; give the series"):
        change(stack, 0, 1)
    with pytest.raises(ValueError, match="is a saved map, partly NaN; give the series"):
        single_visits([stack])[1].image(0)
