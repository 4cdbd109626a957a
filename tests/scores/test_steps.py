from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_followup.scores.steps import StepMean, mean_over_steps


def test_geometric_mean_is_the_root_of_the_product() -> None:
    deviations = torch.rand(7, 3, 4) * 10.0 ** torch.randint(-5, 3, (7, 3, 4))
    product = np.ones((3, 4))
    for step in deviations.double().numpy():
        product = product * step

    np.testing.assert_allclose(mean_over_steps(deviations).numpy(), product ** (1 / 7), rtol=1e-5)


def test_arithmetic_mean_is_the_sum_over_the_number_of_steps() -> None:
    deviations = torch.rand(5, 2, 3)

    found = mean_over_steps(deviations, "arithmetic")

    torch.testing.assert_close(found, deviations.sum(dim=0) / 5)


def test_steps_may_come_in_parts_of_any_length() -> None:
    deviations = torch.rand(6, 4)
    mean = StepMean("geometric")
    for part in deviations.split([1, 3, 2]):
        mean.add(part)

    torch.testing.assert_close(mean.value(), mean_over_steps(deviations))


def test_hundreds_of_tiny_deviations_neither_vanish_nor_overflow() -> None:
    tiny = torch.full((500, 2), 1e-9)

    torch.testing.assert_close(mean_over_steps(tiny), torch.full((2,), 1e-9))


def test_a_deviation_of_zero_counts_as_the_floor() -> None:
    deviations = torch.tensor([[0.0], [1.0]])

    assert mean_over_steps(deviations, floor=1e-6).item() == pytest.approx(1e-3)
    assert mean_over_steps(deviations, "arithmetic").item() == pytest.approx(0.5)


def test_one_loud_step_raises_the_geometric_mean_less() -> None:
    deviations = torch.ones(10, 1)
    deviations[3] = 1000.0

    geometric, arithmetic = (mean_over_steps(deviations, h) for h in ("geometric", "arithmetic"))

    assert geometric < 2.1 < 100 < arithmetic


def test_wrong_settings_and_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'harmonic'; take 'geometric' or 'arithmetic'"):
        StepMean("harmonic")
    with pytest.raises(ValueError, match="floor must be positive"):
        StepMean(floor=0.0)
    with pytest.raises(ValueError, match="no step to take the mean of"):
        StepMean().value()
