from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.steps import check_steps, draw_steps

ANY = torch.zeros(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_step_of_the_range_is_drawn_alike_both_ends_included() -> None:
    steps = draw_steps(8000, (3, 6), generator(), ANY)

    values, counts = steps.unique(return_counts=True)
    assert values.tolist() == [3, 4, 5, 6]
    assert (counts / 8000).tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_a_power_above_one_favours_low_steps() -> None:
    steps = draw_steps(8000, (1, 100), generator(), ANY, power=2.0)

    assert (steps <= 25).float().mean().item() == pytest.approx(0.5, abs=0.02)  # sqrt(1/4)


def test_a_range_of_one_step_gives_that_step() -> None:
    assert draw_steps(5, (7, 7), generator(), ANY).tolist() == [7] * 5


@pytest.mark.parametrize("between", [(0, 5), (5, 4), (3, 11)])
def test_a_range_outside_the_schedule_is_refused(between: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"options: got steps .*; this model knows steps 1 to 10"):
        check_steps("options", between, (1, 10))
