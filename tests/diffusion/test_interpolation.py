from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_followup.diffusion.interpolation import lerp, slerp

START, END = torch.randn(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
PART = torch.tensor([0.0, 0.3, 1.0])


def test_straight_interpolation_is_the_weighted_mean() -> None:
    found = lerp(START, END, PART)

    expected = [(1 - p) * a + p * b for a, b, p in zip(START, END, (0.0, 0.3, 1.0), strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_arc_is_that_of_the_printed_equation() -> None:
    found = slerp(START, END, PART)

    for index, part in enumerate((0.0, 0.3, 1.0)):
        a, b = (x[index].numpy().ravel().astype(float) for x in (START, END))
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        expected = (np.sin((1 - part) * angle) * a + np.sin(part * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(found[index].ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_both_ways_begin_and_end_where_they_should(path: object) -> None:
    torch.testing.assert_close(path(START, END, torch.zeros(3)), START)
    torch.testing.assert_close(path(START, END, torch.ones(3)), END)
    assert path(START, END, PART).dtype == START.dtype


def test_the_arc_keeps_the_length_that_the_straight_way_loses() -> None:
    one, other = torch.eye(2)[:, None]
    half = torch.tensor([0.5])

    torch.testing.assert_close(slerp(one, other, half), torch.full((1, 2), 0.5**0.5))
    torch.testing.assert_close(lerp(one, other, half), torch.full((1, 2), 0.5))


@pytest.mark.parametrize("factor", [1.0, 2.0, 1 + 1e-7])
def test_vectors_of_one_direction_are_joined_by_a_line(factor: float) -> None:
    found = slerp(START, factor * START, PART)

    assert found.isfinite().all()
    torch.testing.assert_close(found, lerp(START, factor * START, PART))


def test_opposite_and_empty_vectors_give_numbers() -> None:
    assert slerp(START, -START, PART).isfinite().all()
    assert slerp(START, torch.zeros_like(START), PART).isfinite().all()
