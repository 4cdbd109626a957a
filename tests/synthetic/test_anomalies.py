from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import ANOMALIES, add_anomaly, starmen

HAND = (20, 12)  # (y, x) of the left-most body pixel: the first from above


def block(
    visits: int = 6, white: float = 1.0, dtype: str = "float32", **settings: Any
) -> VisitStack:
    """A square body, one year a visit."""
    images = np.zeros((visits, 48, 48), dtype=dtype)
    images[:, 20:40, 12:32] = white
    return VisitStack.from_array(images, ages=60.0 + np.arange(visits), **settings)


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[:48, :48]
    return (y - HAND[0]) ** 2 + (x - HAND[1]) ** 2 <= radius**2


def test_growing_circle_has_the_radius_of_its_years() -> None:
    sick, truth = add_anomaly(block(), "growing_circle")

    for year, frame in enumerate(sick.images[:, 0, 0]):
        np.testing.assert_array_equal(frame == 1, disc(year) | (block().images[0, 0, 0] == 1))
        np.testing.assert_array_equal(truth[year, 0], disc(year) & (block().images[0, 0, 0] == 0))


@pytest.mark.parametrize(("kind", "pixels"), [("darker_circle", 13), ("darker_line", 22)])
def test_darker_shapes_fade_year_by_year(kind: str, pixels: int) -> None:
    sick, truth = add_anomaly(block(white=255, dtype="uint8"), kind)

    greys = [np.unique(frame[mask]) for frame, mask in zip(sick.images[:, 0], truth, strict=True)]
    assert truth.sum(axis=(1, 2, 3)).tolist() == [pixels] * 6
    assert [grey.tolist() for grey in greys] == [[200], [180], [160], [140], [120], [100]]


def test_darkening_stops_at_black_and_truth_leaves_out_what_was_black_before() -> None:
    sick, truth = add_anomaly(block(visits=12), "darker_circle")

    body = block().images[0, 0, 0] == 1
    assert sick.images[10, 0, 0][disc(2)].max() == 0.0
    np.testing.assert_array_equal(truth[10, 0], disc(2) & body)


def test_line_is_the_one_that_opencv_draws() -> None:
    _, truth = add_anomaly(block(), "darker_line")

    # cv2.line(image, (12, 20), (15, 23), 200, thickness=2)
    rows = ["".join(".#"[v] for v in row) for row in truth[0, 0, 19:25, 11:17].astype(int)]
    assert rows == [".##...", "####..", "#####.", ".#####", "..####", "...##."]


def test_transient_circle_shows_at_one_visit() -> None:
    sick, truth = add_anomaly(block(), "transient_circle", visit=3)

    assert np.flatnonzero(truth.any(axis=(1, 2, 3))).tolist() == [3]
    np.testing.assert_array_equal(sick.images[[0, 1, 2, 4, 5]], block().images[[0, 1, 2, 4, 5]])
    np.testing.assert_array_equal(truth[3, 0], disc(4) & (block().images[0, 0, 0] == 0))


def test_seed_chooses_the_visit_of_the_transient_circle() -> None:
    truths = [add_anomaly(block(), "transient_circle", seed=s)[1] for s in range(20)]

    shown = [int(np.flatnonzero(truth.any(axis=(1, 2, 3)))[0]) for truth in truths]
    assert len(set(shown)) > 3
    again = add_anomaly(block(), "transient_circle", seed=7)[1]
    np.testing.assert_array_equal(again, truths[7])


def test_visit_is_where_an_anomaly_begins() -> None:
    _, truth = add_anomaly(block(), "growing_circle", visit=2)

    assert not truth[:3].any()  # radius 0 on a body pixel changes nothing
    np.testing.assert_array_equal(truth[5, 0], disc(3) & (block().images[0, 0, 0] == 0))


@pytest.mark.parametrize("kind", ANOMALIES)
def test_truth_is_what_changed_visibly_and_the_original_stays(kind: str) -> None:
    (healthy,) = starmen(seed=4)
    before = healthy.images.copy()

    sick, truth = add_anomaly(healthy, kind)

    np.testing.assert_array_equal(healthy.images, before)
    assert truth.shape == (10, 1, 64, 64)
    assert truth.any()
    change = np.abs(sick.images[:, 0].astype(float) - before[:, 0])
    assert (change[truth] > 0.99 / 255).all()
    assert (change[~truth] < 1.01 / 255).all()
    assert (sick.subject, sick.ages.tolist()) == (healthy.subject, healthy.ages.tolist())


def test_greys_are_parts_of_the_series_own_range() -> None:
    stack = block(white=1000, dtype="int16").with_images(
        block(white=1000, dtype="int16").images - np.int16(500)
    )

    sick, _ = add_anomaly(stack, "darker_circle")

    assert sick.images.dtype == np.int16
    assert sick.images[0, 0, 0][disc(2)].tolist() == [round(-500 + 1000 * 200 / 255)] * 13


def test_missing_visit_stays_missing() -> None:
    images = block().images[:, 0, 0].copy()
    images[2] = np.nan

    sick, truth = add_anomaly(VisitStack.from_array(images), "growing_circle")

    assert sick.is_observed.tolist() == [True, True, False, True, True, True]
    assert not truth[2].any()
    assert truth[3, 0].sum() == (disc(3) & (images[0] == 0)).sum()


def test_visit_without_a_body_stays_as_it_is() -> None:
    images = block().images[:, 0, 0].copy()
    images[2] = 0.0

    sick, truth = add_anomaly(VisitStack.from_array(images), "growing_circle")

    assert not truth[2].any()
    assert not sick.images[2].any()


def test_shape_is_cut_off_at_the_border() -> None:
    images = np.zeros((2, 16, 16), np.float32)
    images[:, 0:4, 0:4] = 1.0

    _, truth = add_anomaly(VisitStack.from_array(images, ages=[0, 9]), "growing_circle")

    assert truth[1, 0, 0, 4:10].all()  # nothing comes in again from the other side
    assert not truth[1, 0, :, 10:].any()


def test_volumes_get_it_in_their_middle_plane_and_every_modality() -> None:
    planes = block().images[:, 0, 0]
    images = np.stack([planes, 3 * planes], axis=1)[:, :, None].repeat(3, axis=2)

    sick, truth = add_anomaly(VisitStack.from_array(images), "darker_circle")

    assert truth.any(axis=(0, 2, 3)).tolist() == [False, True, False]
    greys = sick.images[0, :, 1, *HAND]
    np.testing.assert_allclose(greys, [200 / 255, 3 * 200 / 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "visit", "text"),
    [
        ("hole", None, "got 'hole'; choose one of growing_circle, darker_circle"),
        ("growing_circle", 6, "got 6; the series has visits 0 to 5"),
        ("growing_circle", -1, "got -1"),
    ],
)
def test_unknown_kind_or_visit_is_refused(kind: str, visit: int | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        add_anomaly(block(), kind, visit=visit)
