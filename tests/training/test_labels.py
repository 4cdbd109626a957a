from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest

from napari_followup.methods.table import TABLE
from napari_followup.series.stack import VisitStack
from napari_followup.training.labels import checked_marks, marks_of


@pytest.fixture
def stack() -> VisitStack:
    """Three visits of two planes; the second visit is missing."""
    images = np.random.default_rng(0).random((3, 2, 6, 8))
    images[1] = np.nan
    return VisitStack.from_array(images, axes="vzyx", subject="p")


def mask(kind: Any = bool) -> np.ndarray:
    """(visit, z, y, x), something at the first plane of the last visit."""
    found = np.zeros((3, 2, 6, 8), kind)
    found[2, 0, 1:3, 4] = 5
    return found


@pytest.mark.parametrize(
    ("entry", "planes"),
    [
        (0, [[0, 0], [0, 0], [0, 0]]),
        (2, [[1, 1], [1, 1], [1, 1]]),
        ([0, 0, 1], [[0, 0], [0, 0], [1, 1]]),
        ([[0, 1], [0, 0], [1, 0]], [[0, 1], [0, 0], [1, 0]]),
        (mask(), [[0, 0], [0, 0], [1, 0]]),
        (mask(np.int16), [[0, 0], [0, 0], [1, 0]]),
        (mask(np.float32), [[0, 0], [0, 0], [1, 0]]),
        (dask.array.from_array(mask(np.uint8)), [[0, 0], [0, 0], [1, 0]]),
    ],
)
def test_labels_say_which_planes_are_abnormal(
    stack: VisitStack, entry: Any, planes: list[list[int]]
) -> None:
    marks = marks_of(stack, entry)

    assert marks.planes.astype(int).tolist() == planes
    assert marks.is_sick == np.any(planes)
    assert marks_of(stack, marks) is marks
    if np.ndim(entry) == 4:
        np.testing.assert_array_equal(marks.mask(2), mask()[2])


def test_a_mask_is_nan_where_the_visit_is_missing(stack: VisitStack) -> None:
    given = mask(np.float32)
    given[1] = np.nan

    marks = marks_of(stack, given)

    assert not marks.mask(1).any()
    assert marks.fingerprint == marks_of(stack, mask()).fingerprint


def test_planar_series_take_masks_without_z() -> None:
    stack = VisitStack.from_array(np.random.rand(3, 6, 8))

    marks = marks_of(stack, mask()[:, 0])

    assert marks.planes.tolist() == [[False], [False], [True]]
    np.testing.assert_array_equal(marks.mask(2), mask()[2, :1])


def test_a_lazy_mask_is_read_a_visit_at_a_time(stack: VisitStack) -> None:
    read: list[tuple[int, ...]] = []

    class Lazy:
        shape, dtype, ndim = (3, 2, 6, 8), np.dtype(bool), 4

        def __getitem__(self, index: Any) -> np.ndarray:
            read.append(mask()[index].shape)
            return mask()[index]

    assert marks_of(stack, Lazy()).is_sick  # type: ignore[arg-type]
    assert read == [(2, 6, 8)] * 3


def test_fingerprints_tell_marks_apart_but_not_how_healthy_is_said(stack: VisitStack) -> None:
    moved = np.roll(mask(), 1, axis=-1)

    found = [marks_of(stack, entry).fingerprint for entry in (mask(), 3 * mask(int), moved)]

    assert found[0] == found[1] != found[2]
    healthy = (0, [0, 0, 0], np.zeros((3, 2, 6, 8)))
    assert len({marks_of(stack, entry).fingerprint for entry in healthy}) == 1


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ([0, 1], r"labels of 'p': got shape \(2,\); give a number, \(3,\), \(3, 2\), or a mask"),
        (np.zeros((3, 6, 8)), r"got shape \(3, 6, 8\); .* or a mask \(3, 2, 6, 8\)"),
        (np.zeros((3, 2, 8, 6)), r"got shape \(3, 2, 8, 6\)"),
        (0.3 * mask(float), "they hold fractions, as grey values do"),
        ([0, 0.5, 0], "they hold fractions"),
        ("sick", "values of type <U4; give numbers"),
        ([[0, 1], [1], [1, 1]], "the rows differ in length"),
    ],
)
def test_what_is_no_label_is_told(stack: VisitStack, entry: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        marks_of(stack, entry)


def test_a_method_of_pixels_wants_masks_of_the_sick_alone(stack: VisitStack) -> None:
    marks = checked_marks([stack, stack], [mask(), 0], TABLE["sadm"].labels, "SADM")

    assert [each.is_sick for each in marks] == [True, False]
    with pytest.raises(ValueError, match=r"labels of 'p': SADM learns which pixels are abnormal"):
        checked_marks([stack, stack], [0, [0, 0, 1]], TABLE["sadm"].labels, "SADM")
    assert checked_marks([stack, stack], [0, [0, 0, 1]], TABLE["anofpdm"].labels, "AnoFPDM")[
        1
    ].is_sick


def test_marks_at_missing_visits_are_nothing_to_learn_from(stack: VisitStack) -> None:
    missing = np.zeros((3, 2, 6, 8), bool)
    missing[1] = True

    with pytest.raises(ValueError, match="they mark nothing in any observed visit"):
        checked_marks([stack], [missing], TABLE["sadm"].labels, "SADM")
