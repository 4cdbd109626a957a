from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.schedule import (
    check_betas,
    check_steps,
    draw_steps,
    linear_schedule,
    step_grid,
)


def test_signal_share_is_the_running_product_of_what_each_step_leaves() -> None:
    abars = linear_schedule(3, (0.1, 0.3))

    expected = [1.0, 0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7]
    torch.testing.assert_close(abars, torch.tensor(expected, dtype=torch.float64))


def test_published_schedule_ends_with_almost_no_signal() -> None:
    abars = linear_schedule(1000)

    assert len(abars) == 1001
    assert abars[0] == 1.0
    assert (abars.diff() < 0).all()
    assert abars[-1].item() == pytest.approx(4.036e-5, rel=1e-3)  # known of Ho et al. (2020)


@pytest.mark.parametrize(
    ("level", "sampling_steps", "expected"),
    [
        (250, 1, [250, 0]),
        (250, 5, [250, 200, 150, 100, 50, 0]),
        (3, 100, [3, 2, 1, 0]),
        (1, 1, [1, 0]),
    ],
)
def test_grid_falls_from_the_level_to_the_clean_image(
    level: int, sampling_steps: int, expected: list[int]
) -> None:
    assert step_grid(level, sampling_steps).tolist() == expected


def test_no_step_of_an_uneven_grid_comes_twice() -> None:
    grid = step_grid(10, 7)

    assert len(grid) == 8
    assert (grid.diff() < 0).all()


@pytest.mark.parametrize(("level", "sampling_steps"), [(0, 5), (5, 0)])
def test_a_walk_of_no_step_is_refused(level: int, sampling_steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {level} and {sampling_steps}"):
        step_grid(level, sampling_steps)


def test_a_schedule_rises_between_no_noise_and_noise_alone() -> None:
    check_betas((1e-4, 2e-2))
    for betas in ((0.0, 0.02), (0.02, 0.01), (0.5, 1.0)):
        with pytest.raises(ValueError, match="beta_range must rise inside"):
            check_betas(betas)


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
