from __future__ import annotations

from itertools import product

import dask.array
import numpy as np
import pytest

from napari_followup.detection.segment import examined_in, in_region, subject_in, without_border
from napari_followup.series.stack import VisitStack


def square(ground: float, subject: float, hole: float | None = None) -> np.ndarray:
    """(z, y, x): a square of 8 x 8 in planes of 14 x 14, noise on it."""
    image = np.full((1, 14, 14), ground, np.float32)
    image[:, 3:11, 3:11] = subject
    if hole is not None:
        image[:, 6:8, 6:8] = hole
    return image + np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("ground", "subject", "hole"),
    [(0.0, 1.0, None), (1.0, 0.0, None), (0.0, 1.0, 0.0), (1.0, 0.2, 1.0), (-5.0, -2.0, -5.0)],
    ids=["bright", "dark", "bright with a hole", "dark with a hole", "below zero"],
)
def test_a_subject_is_found_brighter_or_darker_than_its_ground(
    ground: float, subject: float, hole: float | None
) -> None:
    found = subject_in(square(ground, subject, hole))

    assert np.argwhere(found).min(axis=0).tolist() == [0, 3, 3]
    assert np.argwhere(found).max(axis=0).tolist() == [0, 10, 10]
    assert found.sum() == 64


def region_of(stack: VisitStack, erosion: int) -> np.ndarray:
    """Where something may be flagged, of every observed visit; False in the others."""
    region = np.zeros((stack.n_visits, *stack.shape[2:]), bool)
    for visit in np.flatnonzero(stack.is_observed):
        region[visit] = examined_in(stack.images[visit], erosion)
    return region


def test_specks_beside_the_subject_are_none_of_it() -> None:
    image = square(0.0, 1.0)
    image[0, 0, 0] = image[0, 12, 12] = 1.0

    assert subject_in(image).sum() == 64


def test_scores_are_those_of_the_region_that_can_be_flagged() -> None:
    stack = VisitStack.from_array(square(0.0, 1.0)[None])
    scores = np.arange(14 * 14, dtype=np.float32).reshape(1, 1, 14, 14)

    assert in_region(scores, stack, 0) is scores
    found = in_region(scores, stack, 2)
    np.testing.assert_array_equal(found, scores[0, 0, 5:9, 5:9].ravel())


def test_an_image_of_one_value_has_no_border() -> None:
    stack = VisitStack.from_array(np.stack([np.zeros((14, 14)), square(0.0, 1.0)[0]]))

    region = region_of(stack, 2)

    assert subject_in(np.full((2, 3, 3), 7)).all()
    assert region[0].all()
    assert region[1].sum() == 16


@pytest.mark.parametrize("width", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 13, 11), (6, 8, 7)])
def test_a_border_is_what_lies_within_some_steps_of_the_outside(
    shape: tuple[int, int, int], width: int
) -> None:
    mask = np.random.default_rng(width).random(shape) > 0.02

    found = without_border(mask, width)

    steps = [
        step for step in product(range(-width, width + 1), repeat=3) if sum(map(abs, step)) <= width
    ]
    expected = np.zeros(shape, bool)
    for place in np.ndindex(shape):
        around = [tuple(np.add(place, step)) for step in steps]
        there = [p for p in around if all(0 <= i < size for i, size in zip(p, shape, strict=True))]
        expected[place] = all(mask[p] for p in there)
    np.testing.assert_array_equal(found, expected)
    assert found.any()


def test_each_observed_visit_has_its_own_region_over_all_modalities() -> None:
    images = np.zeros((4, 2, 1, 14, 14), np.float32)
    images[0, 0] = images[2, 1] = square(0.0, 1.0)
    images[0, 1] = images[0, 0]
    images[2, 0, 0, 3:11, 1:4] = 1.0  # beside what the other modality shows
    images[1], images[3] = np.nan, images[0]
    stack = VisitStack.from_array(
        images[:, :, 0], axes="vmyx", is_observed=[True, False, True, False]
    )

    region = region_of(stack, 1)

    assert region.sum(axis=(1, 2, 3)).tolist() == [36, 0, 6 * 8, 0]
    lazy = stack.with_images(dask.array.from_array(images, chunks=(1, 1, 1, 14, 14)))
    np.testing.assert_array_equal(region_of(lazy, 1), region)
