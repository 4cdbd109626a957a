from __future__ import annotations

import numpy as np
import pytest

from napari_followup.io.errors import ReadError
from napari_followup.io.visits import join_visits
from napari_followup.series.stack import VisitStack


def visit(value: float = 0.0, age: float | None = None, **settings: object) -> VisitStack:
    ages = None if age is None else [age]
    return VisitStack.from_array(np.full((1, 2, 3, 4), value), ages=ages, **settings)  # type: ignore[arg-type]


def test_visits_on_one_grid_become_one_stack() -> None:
    stack = join_visits([visit(1, 62), visit(2, 61)])

    assert stack.ages.tolist() == [61, 62]
    assert stack.images[:, 0, 0, 0, 0].tolist() == [2, 1]


def test_visits_without_ages_keep_their_order() -> None:
    stack = join_visits([visit(1), visit(2)])

    assert (stack.ages.tolist(), stack.ages_known) == ([0, 1], False)


def test_lazy_visits_stay_lazy() -> None:
    from dask.array import from_array

    lazy = visit(1, 61).with_images(from_array(np.ones((1, 1, 2, 3, 4))))

    assert hasattr(join_visits([lazy, visit(2, 62)]).images, "dask")


def test_grids_may_differ_by_rounding_and_no_more() -> None:
    affine = np.diag([1.0, 1, 1, 1])
    moved = affine.copy()
    moved[0, 3] = 0.005
    assert join_visits([visit(affine=affine), visit(affine=moved)]).n_visits == 2

    moved[0, 3] = 0.05
    with pytest.raises(ReadError, match=r"visit 2: 2 x 3 x 4 voxels of 1 x 1 x 1 mm.*align"):
        join_visits([visit(affine=affine), visit(affine=moved)])


def test_other_sizes_are_told() -> None:
    larger = VisitStack.from_array(np.ones((1, 2, 3, 5)))
    text = (
        r"visit 2: 2 x 3 x 5 voxels of 1 x 1 x 1 pixel lie elsewhere than those of visit 1, .*; "
        r"bring the visits onto one grid with align \(in Python: nf\.align\(nf\.read_visits\("
    )
    with pytest.raises(ReadError, match=text):
        join_visits([visit(1), larger])


def test_other_modalities_are_told() -> None:
    with pytest.raises(ReadError, match="visit 2: holds T2, visit 1 T1; give all visits the same"):
        join_visits([visit(modalities=["T1"]), visit(modalities=["T2"])])


def test_missing_visits_of_a_stack_stay_missing() -> None:
    images = np.stack([np.ones((2, 3, 4)), np.full((2, 3, 4), np.nan)])
    two = VisitStack.from_array(images, axes="vzyx", ages=[60, 62])

    stack = join_visits([two, visit(3, 61)])

    assert stack.ages.tolist() == [60, 61, 62]
    assert stack.is_missing.tolist() == [False, False, True]
