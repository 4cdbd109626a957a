from __future__ import annotations

import numpy as np
import pytest

from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES, VISIBLE, draw


def body(dtype: str = "f4", depth: int = 1, visits: int = 4) -> VisitStack:
    """A textured bright ball on a dark ground, in its own units."""
    y, x = np.mgrid[:48, :40]
    inside = (y - 24) ** 2 + (x - 20) ** 2 < 16**2
    image = np.where(inside, 500 + 200 * np.sin(y / 3.0) * np.cos(x / 4.0), 10.0)
    return VisitStack.from_array(np.broadcast_to(image, (visits, depth, 48, 40)).astype(dtype))


@pytest.mark.parametrize("kind", GENERIC_ANOMALIES)
@pytest.mark.parametrize("depth", [1, 9])
def test_anomalies_stay_at_one_place_and_grow(kind: str, depth: int) -> None:
    stack = body(depth=depth)

    _, truth = draw(stack, kind, seed=2)

    sizes = truth.sum(axis=(1, 2, 3))
    assert sizes[0] > 0
    assert sizes[-1] > sizes[0]
    assert (np.diff(sizes) >= 0).all()
    kept = (truth[0] & truth[-1]).sum() / truth[0].sum()
    assert kept > 0.8
    assert sizes[-1] < 0.2 * truth[0].size
    if depth > 1:
        assert 1 < truth[-1].any(axis=(1, 2)).sum() < depth


@pytest.mark.parametrize("kind", GENERIC_ANOMALIES)
def test_the_truth_is_what_changed_visibly_and_little_else_changed(kind: str) -> None:
    stack = body()

    sick, truth = draw(stack, kind)

    low, high = np.percentile(stack.images, (0.5, 99.5))
    change = np.abs(sick.images - stack.images)[:, 0] / (high - low)
    np.testing.assert_array_equal(truth, change > VISIBLE)
    assert change[~truth].max() <= VISIBLE
    assert np.asarray(stack.images).max() < 701  # the healthy series is as it was


def test_blobs_are_darker_and_brighter() -> None:
    for kind, sign in (("darker_blob", -1), ("brighter_blob", 1)):
        stack = body()
        sick, truth = draw(stack, kind, seed=1)
        change = (sick.images - stack.images)[:, 0][truth]
        assert (np.sign(change) == sign).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f8", "?"])
def test_the_type_of_the_images_is_kept(dtype: str) -> None:
    stack = body("f4")
    scaled = np.asarray(stack.images) / 3
    images = (scaled > 50) if dtype == "?" else scaled
    own = VisitStack.from_array(images.astype(dtype))

    sick, truth = draw(own, "darker_blob")

    assert sick.images.dtype == own.images.dtype
    assert truth.any()


def test_every_modality_gets_it_in_its_own_units() -> None:
    one = np.asarray(body().images)
    stack = VisitStack.from_array(np.concatenate([one, -3 * one], axis=1))

    sick, _ = draw(stack, "brighter_blob")

    change = sick.images - stack.images
    assert (change[:, 0] >= 0).all()
    np.testing.assert_allclose(change[:, 1].max(), 3 * change[:, 0].max(), rtol=1e-2)


def test_nothing_becomes_darker_than_the_ground() -> None:
    stack = body()
    for seed in range(5):
        sick, truth = draw(stack, "darker_blob", seed)
        assert truth.any()
        lowest = [np.asarray(each.images).min(axis=(1, 2, 3, 4)) for each in (sick, stack)]
        np.testing.assert_allclose(*lowest, rtol=1e-4)


def test_missing_visits_stay_missing() -> None:
    images = np.array(body().images)
    images[1] = np.nan

    sick, truth = draw(VisitStack.from_array(images), "brighter_blob")

    assert np.isnan(sick.images[1]).all()
    assert not truth[1].any()
    assert truth[[0, 2, 3]].any(axis=(1, 2, 3)).all()


def test_the_seed_chooses_the_place() -> None:
    stack = body()

    first, again, other = (draw(stack, "darker_blob", seed)[1] for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_any_image_gets_something_even_one_without_a_subject() -> None:
    flat = VisitStack.from_array(np.full((2, 16, 16), 7.0))
    noise = VisitStack.from_array(np.random.default_rng(0).random((1, 16, 16)))

    assert draw(flat, "brighter_blob")[1].any()
    for kind in GENERIC_ANOMALIES:
        assert draw(noise, kind)[1].any()


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="got 'wound'; choose one of darker_blob, brighter_blob"):
        draw(body(), "wound")


def test_the_size_is_that_of_what_is_drawn_and_not_its_place() -> None:
    stack = body()

    usual, small = (draw(stack, "darker_blob", 1, size=size)[1][-1] for size in (1.0, 0.5))

    assert 0 < small.sum() < usual.sum() / 2
    assert (small & usual).sum() == small.sum()


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match=r"size: got .*; give a number above 0"):
        draw(body(), "darker_blob", size=size)
