from __future__ import annotations

import numpy as np

from napari_followup.plugin.stack.stack_rows import Row, facts_of, part_of
from napari_followup.series.stack import VisitStack


def test_the_thumbnail_is_the_middle_plane_made_small() -> None:
    images = np.zeros((1, 3, 128, 256), np.float32)
    images[0, 1, :64] = 5.0
    facts = facts_of(VisitStack.from_array(images, spacing=(3, 0.5, 0.5)), 0)

    assert facts.thumbnail.shape == (32, 64)
    assert (facts.thumbnail[:16] == 255).all()
    assert (facts.thumbnail[16:] == 0).all()
    assert facts.grid == "3 × 128 × 256\n3 × 0.5 × 0.5 mm"


def test_a_missing_or_even_visit_has_a_black_thumbnail() -> None:
    images = np.stack([np.full((4, 4), np.nan), np.full((4, 4), 7.0)]).astype(np.float32)
    stack = VisitStack.from_array(images, ages=[61, 62])

    assert part_of(stack, 0, "").is_missing
    for index in range(2):
        assert (facts_of(stack, index).thumbnail == 0).all()


def test_an_age_that_was_made_up_is_not_told() -> None:
    images = np.zeros((1, 4, 4))

    assert part_of(VisitStack.from_array(images), 0, "").age is None
    assert part_of(VisitStack.from_array(images, ages=[61]), 0, "anna").age == 61


def test_a_visit_without_an_image_has_nothing_to_be_read() -> None:
    assert not Row(name="no image", is_missing=True).is_pending
