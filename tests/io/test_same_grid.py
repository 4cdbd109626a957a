from __future__ import annotations

import numpy as np
import pytest

from napari_followup.io.errors import ReadError
from napari_followup.io.same_grid import SAME_PLACE, apart, check_grid
from napari_followup.series.stack import VisitStack


def stack(shift: float = 0.0, shape: tuple[int, ...] = (2, 3, 4)) -> VisitStack:
    affine = np.array([[0, 0, 2, shift], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    return VisitStack.from_array(np.ones((1, *shape)), affine=affine)


def test_grids_lie_as_far_apart_as_their_furthest_corners_in_voxels() -> None:
    moved, wider = stack(3.0), np.array(stack().affine)
    wider[0, 2] = 4.0  # of 2 mm become 4: the last of four voxels lies 6 mm further

    assert apart(stack().affine, stack().affine, (2, 3, 4)) == 0
    assert apart(moved.affine, stack().affine, (2, 3, 4)) == pytest.approx(1.5)
    assert apart(wider, stack().affine, (2, 3, 4)) == pytest.approx(3.0)


def test_rounding_is_no_other_grid_and_more_is() -> None:
    check_grid(stack(SAME_PLACE), "row 3", stack(), "row 2")

    text = (
        r"row 3: 2 x 3 x 4 voxels of 1 x 1 x 2 mm lie elsewhere than those of row 2, .*; bring "
        r"the visits onto one grid with align \(in Python: nf\.align\(nf\.read_visits\("
    )
    with pytest.raises(ReadError, match=text):
        check_grid(stack(1.0), "row 3", stack(), "row 2")
    with pytest.raises(ReadError, match="row 3: 2 x 3 x 5 voxels"):
        check_grid(stack(shape=(2, 3, 5)), "row 3", stack(), "row 2")
