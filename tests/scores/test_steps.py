from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.scores.steps import (
    ForwardErrors,
    StepMean,
    chosen_quantile,
    healthy_boundary,
)


def mean_over_steps(deviations: Tensor, how: str = "geometric", *, floor: float = 1e-12) -> Tensor:
    """Mean of deviations (step, ...) that are all there at once."""
    mean = StepMean(how, floor=floor)
    mean.add(deviations)
    return mean.value()


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


def stored(images: Tensor, guided: Tensor, unguided: Tensor) -> tuple[list[int], Tensor, Tensor]:
    """End step, H and M of each image from every step at once, in plain loops."""
    x, h, n = (tensor.double().numpy() for tensor in (images, guided, unguided))
    ends, maps, largest = [], [], []
    for b in range(len(x)):
        means = []
        for t in range(len(h)):
            means.append(np.abs((h[t, b] - x[b]) ** 2 - (n[t, b] - x[b]) ** 2).mean())
        end = max(1, int(np.argmax(means)))
        ends.append(int(np.argmax(means)))
        total = np.zeros(x.shape[2:])
        for t in range(end):
            for d in range(x.shape[1]):
                total += (h[t, b, d] - x[b, d]) ** 2
        maps.append(total / (end * x.shape[1]))
        largest.append(max(means))
    return ends, torch.tensor(np.stack(maps)).float(), torch.tensor(largest)


@pytest.mark.parametrize("seed", range(4))
def test_running_sums_agree_with_a_loop_that_stores_everything(seed: int) -> None:
    torch.manual_seed(seed)
    images, guided, unguided = torch.rand(5, 2, 6, 4), *torch.rand(2, 9, 5, 2, 6, 4)

    errors = ForwardErrors(images)
    for one, other in zip(guided, unguided, strict=True):
        errors.add(one, other)

    ends, maps, largest = stored(images, guided, unguided)
    torch.testing.assert_close(errors.score(), maps)
    torch.testing.assert_close(errors.largest, largest)
    for b, end in enumerate(ends):
        assert torch.equal(errors.healthy[b], guided[end, b])


@pytest.mark.parametrize("end", [0, 1, 3])
def test_the_map_ends_before_the_step_that_parts_the_errors_most(end: int) -> None:
    images = torch.zeros(1, 1, 1, 1)
    guided = torch.tensor([1.0, 2.0, 3.0, 4.0])
    unguided = guided.clone()
    unguided[end] = 10.0

    errors = ForwardErrors(images)
    for one, other in zip(guided, unguided, strict=True):
        errors.add(one.view(1, 1, 1, 1), other.view(1, 1, 1, 1))

    squares = [1.0, 4.0, 9.0, 16.0][: max(end, 1)]  # the end step is the second at least
    assert errors.score().item() == pytest.approx(sum(squares) / len(squares))


def test_the_mean_is_of_all_steps_whatever_parts_the_errors() -> None:
    errors = ForwardErrors(torch.zeros(1, 2, 1, 1))
    for guided in (1.0, 3.0):
        pair = torch.tensor([guided, 2 * guided]).view(1, 2, 1, 1)
        errors.add(pair, pair)

    assert errors.mean().item() == pytest.approx((1 + 4 + 9 + 36) / 4)


def test_images_do_not_share_their_end_step() -> None:
    images = torch.zeros(2, 1, 1, 1)
    errors = ForwardErrors(images)
    for guided, unguided in (([1, 1], [1, 1]), ([2, 2], [9, 2]), ([3, 3], [3, 9])):
        errors.add(torch.tensor(guided).view(2, 1, 1, 1), torch.tensor(unguided).view(2, 1, 1, 1))

    torch.testing.assert_close(errors.score().flatten(), torch.tensor([1.0, 2.5]))


def test_similarity_is_the_cosine_of_the_errors_over_all_steps() -> None:
    images, guided, unguided = torch.rand(4, 2, 5, 5), *torch.rand(2, 7, 4, 2, 5, 5)

    errors = ForwardErrors(images)
    for one, other in zip(guided, unguided, strict=True):
        errors.add(one, other)

    h, n = (((x - images) ** 2).double().mean(dim=(2, 3, 4)).numpy() for x in (guided, unguided))
    expected = (h * n).sum(axis=0) / np.linalg.norm(h, axis=0) / np.linalg.norm(n, axis=0)
    np.testing.assert_allclose(errors.similarity().numpy(), expected, rtol=1e-6)


def test_quantiles_are_those_of_algorithm_1() -> None:
    largest, most = torch.tensor([0.0, 0.1, 0.1234, 0.5, 7.0]), 0.5
    grid = np.linspace(0.90, 0.98, 101)[::-1]
    expected = []
    for m in largest.double().numpy():
        index = round(round(float(np.clip(m / most, 0, 1)), 2) * 100)
        expected.append(grid[index])

    np.testing.assert_allclose(chosen_quantile(largest, most).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_boundary_is_as_right_as_any_can_be(seed: int) -> None:
    torch.manual_seed(seed)
    is_healthy = torch.rand(30) < 0.7
    similarity = (0.8 + 0.1 * torch.randn(30) + 0.1 * is_healthy).double()

    def right(boundary: float) -> float:
        above = similarity >= boundary
        return (
            above[is_healthy].double().mean() + (~above)[~is_healthy].double().mean()
        ).item() / 2

    found, share = healthy_boundary(similarity, is_healthy)

    tried = np.linspace(0, 2, 20001)
    assert share == pytest.approx(right(found))
    assert share == pytest.approx(max(right(boundary) for boundary in tried))
    assert all(right(boundary) < share - 1e-9 for boundary in tried[tried > found + 0.3])


def test_the_boundary_lies_in_the_middle_between_those_that_can_be_separated() -> None:
    similarity = torch.tensor([0.9, 0.5, 0.8, 0.6])
    is_healthy = torch.tensor([True, False, True, False])

    assert healthy_boundary(similarity, is_healthy) == pytest.approx((0.7, 1.0))


def test_images_that_cannot_be_separated_are_guessed() -> None:
    similarity = torch.tensor([0.5, 0.6, 0.5, 0.6])

    boundary, share = healthy_boundary(similarity, torch.tensor([True, True, False, False]))

    assert share == pytest.approx(0.5)
    assert boundary > 0.6  # none passes
