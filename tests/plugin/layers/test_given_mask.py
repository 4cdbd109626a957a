from __future__ import annotations

import numpy as np
import pytest

from napari_followup.plugin.layers.given_mask import GivenMask
from napari_followup.plugin.layers.layers import Source

VOLUMES = Source(name="scan", data=np.zeros((2, 3, 4, 5)), axes="vzyx")
PLANES = Source(name="scan", data=np.zeros((2, 4, 5)), axes="vyx")


def marks(*shape: int) -> GivenMask:
    data = np.zeros(shape, np.uint8)
    data[..., 1, 2] = 3
    return GivenMask(name="labels", data=data)


def test_labels_on_the_voxels_of_a_visit_are_taken_as_they_are() -> None:
    found = marks(3, 4, 5).on(VOLUMES)

    assert found.dtype == bool
    np.testing.assert_array_equal(np.argwhere(found)[:, 1:], [[1, 2]] * 3)
    assert marks(4, 5).on(PLANES).shape == (1, 4, 5)


def test_labels_of_every_visit_count_together_or_one_by_one() -> None:
    mask = marks(2, 3, 4, 5)
    mask.data[0] = 0
    mask.data[0, 0, 0, 0] = 1

    assert mask.on(VOLUMES)[0, 0, 0]
    assert mask.on(VOLUMES)[2, 1, 2]
    assert not mask.on(VOLUMES, 1)[0, 0, 0]


def test_labels_on_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'labels' has the shape \(3, 4, 6\).* has \(3, 4, 5\)"):
        marks(3, 4, 6).on(VOLUMES)


def test_empty_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="mask: 'labels' marks nothing"):
        GivenMask(name="labels", data=np.zeros((3, 4, 5))).on(VOLUMES)
