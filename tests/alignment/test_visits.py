from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_followup.alignment.visits import check_alike, reference_of, single_visits
from napari_followup.series.stack import VisitStack


def stack(*ages: float, z: int = 3, missing: int | None = None) -> VisitStack:
    images = np.random.default_rng(0).random((len(ages), z, 4, 5)).astype(np.float32)
    if missing is not None:
        images[missing] = np.nan
    return VisitStack.from_array(images, ages=ages, spacing=(3.0, 2.0, 1.0), subject="p")


def test_visits_of_several_stacks_come_by_age_with_their_names() -> None:
    parts = single_visits([stack(62.0, 60.0), stack(61.25)])

    assert [part.age for part in parts] == [60.0, 61.25, 62.0]
    assert parts[1].name == "visit 2 (age 61.25) of 'p'"
    assert parts[0].images.shape == (1, 3, 4, 5)


def test_without_ages_visits_keep_the_order_of_the_stacks() -> None:
    one = replace(stack(0.0), ages_known=False)

    parts = single_visits([one, one])

    assert [part.age for part in parts] == [0.0, 1.0]
    assert parts[1].name == "visit 2 of 'p'"


def test_a_volume_is_registered_in_the_world_and_a_plane_within_itself() -> None:
    volume, plane = single_visits([stack(60.0)])[0], single_visits([stack(60.0, z=1)])[0]

    assert volume.frame is volume.affine
    np.testing.assert_array_equal(plane.frame @ [0, 2, 3, 1], [3.0, 4.0, 0.0, 1.0])


def test_an_image_without_any_contrast_is_refused() -> None:
    flat = stack(60.0)
    flat = flat.with_images(np.ones_like(flat.images))

    with pytest.raises(ValueError, match=r"visit 1 \(age 60\) of 'p' is the same value all over"):
        single_visits([flat])[0].image(0)


def test_the_reference_is_the_first_visit_with_an_image_or_the_chosen_one() -> None:
    parts = single_visits([stack(60.0, 61.0, 62.0, missing=0)])

    assert reference_of(parts, None) is parts[1]
    assert reference_of(parts, 2) is parts[2]
    with pytest.raises(ValueError, match=r"reference: visit 1 .* is missing; choose another"):
        reference_of(parts, 0)
    with pytest.raises(ValueError, match="reference: got 3; there are 3 visits"):
        reference_of(parts, 3)


def test_visits_of_different_kinds_are_refused() -> None:
    check_alike([stack(60.0), stack(61.0)])

    with pytest.raises(ValueError, match="got no visit"):
        check_alike([])
    with pytest.raises(ValueError, match="unit: the visits have mm and pixel"):
        check_alike([stack(60.0), replace(stack(61.0), unit="pixel")])
    with pytest.raises(ValueError, match="planes and others volumes"):
        check_alike([stack(60.0), stack(61.0, z=1)])
