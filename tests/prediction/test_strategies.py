from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.methods.method import Visits
from napari_followup.prediction.strategies import Found, Plan, find


class Toy:
    """Predicts base + years gone by + 10 * number of visits known; writes down what it is asked."""

    def __init__(self, *, backward: bool = True, noisy: bool = False) -> None:
        self.config = SimpleNamespace(backward=backward)
        self.noisy = noisy
        self.asked: list[tuple[float, list[float]]] = []
        self.sizes: list[int] = []

    def predict(
        self,
        images: Tensor,
        ages: Tensor,
        wanted: Tensor,
        noise: Tensor,
        sampling_steps: int,
        on_step: Callable[[int, int], None],
    ) -> Tensor:
        assert len(images) == len(ages) == len(wanted) == noise.shape[1]
        assert images.shape[2:] == noise.shape[2:]
        self.asked += [(float(w), row.tolist()) for w, row in zip(wanted, ages, strict=True)]
        self.sizes.append(images.shape[0] * images.shape[1])
        on_step(1, 1)
        gone = (wanted - ages[:, 0]).to(images)[:, None, None, None]
        found = images[:, 0] + gone + 10.0 * (images.shape[1] - 1)
        return found + (noise if self.noisy else torch.zeros_like(noise))

    def between(
        self, earlier: Tensor, later: Tensor, part: Tensor, *, arc: bool, **more: Any
    ) -> Tensor:
        assert earlier.shape == later.shape
        assert part.shape == earlier.shape[:1]
        more["on_step"](1, 1)
        mixed = torch.lerp(earlier, later, part[:, None, None, None])
        return mixed + (100.0 if arc else 0.0)


AGES = [60.0, 62.0, 65.0]


def visits(depth: int = 1, modalities: int = 1) -> Visits:
    """Visits of 0, 1000 and 2000, with 100 for every plane and 50 for a second modality."""
    images = torch.zeros(3, modalities, depth, 2, 3)
    images += 1000.0 * torch.arange(3)[:, None, None, None, None]
    images += 50.0 * torch.arange(modalities)[None, :, None, None, None]
    images += 100.0 * torch.arange(depth)[None, None, :, None, None]
    return Visits(images=images, ages=torch.tensor(AGES, dtype=torch.float64))


def filled(
    strategy: str,
    wanted: list[float],
    *,
    toy: Toy | None = None,
    at: Visits | None = None,
    planes: int = 64,
    draws: int = 1,
    seed: int = 0,
) -> dict[float, Found]:
    plan = Plan(strategy=strategy, draws=draws, sampling_steps=1, seed=seed)
    steps = find(
        toy or Toy(),
        at or visits(),
        np.asarray(wanted, float),
        plan,
        planes,
        lambda index, parts: lambda done, total: None,
    )
    return {found.age: found for found in steps}


def value(found: Found) -> float:
    assert found.drawn.amax() - found.drawn.amin() < 1e-3
    return float(found.drawn.double().mean())


def test_direct_goes_out_from_the_nearest_visit() -> None:
    toy = Toy()

    found = filled("direct", [58.0, 60.5, 61.9, 70.0], toy=toy)

    assert {age: value(each) for age, each in found.items()} == pytest.approx(
        {58.0: -2.0, 60.5: 0.5, 61.9: 999.9, 70.0: 2005.0}, rel=1e-6
    )
    assert toy.asked == [(58.0, [60.0]), (60.5, [60.0]), (61.9, [62.0]), (70.0, [65.0])]
    assert found[61.9].base.tolist() == [0.0, 1.0, 0.0]


def test_both_sides_weigh_two_predictions_by_their_distance() -> None:
    toy = Toy()

    found = filled("both sides", [58.0, 60.5, 64.0, 70.0], toy=toy)

    # 0.75 (0 + 0.5) + 0.25 (1000 - 1.5) and 1/3 (1000 + 2) + 2/3 (2000 - 1)
    assert {age: value(each) for age, each in found.items()} == pytest.approx(
        {58.0: -2.0, 60.5: 250.0, 64.0: 5000 / 3, 70.0: 2005.0}, rel=1e-6
    )
    assert found[64.0].base.tolist() == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert found[58.0].base.tolist() == [1.0, 0.0, 0.0]
    assert {tuple(known) for _, known in toy.asked} == {(60.0,), (62.0,), (65.0,)}


def test_joint_looks_at_every_visit_whatever_it_goes_out_from() -> None:
    toy = Toy()

    found = filled("joint", [58.0, 61.5, 70.0], toy=toy)

    assert all(sorted(known) == AGES for _, known in toy.asked)
    assert {known[0] for age, known in toy.asked if age == 58.0} == {60.0}
    assert {known[0] for age, known in toy.asked if age == 70.0} == {65.0}
    assert value(found[58.0]) == -2.0 + 20.0
    for each in found.values():
        assert float(each.base.sum()) == pytest.approx(1.0)


def test_a_chain_goes_on_from_what_it_imputed_up_and_before_the_first_visit_down() -> None:
    toy = Toy()

    found = filled("chain", [57.0, 59.0, 61.0, 61.5, 63.0, 70.0, 72.0], toy=toy)

    assert toy.asked == [
        *[(61.0, [60.0]), (61.5, [61.0]), (63.0, [62.0]), (70.0, [65.0]), (72.0, [70.0])],
        *[(59.0, [60.0]), (57.0, [59.0])],
    ]
    assert list(found) == [61.0, 61.5, 63.0, 70.0, 72.0, 59.0, 57.0]
    assert value(found[61.5]) == pytest.approx(1.5)
    assert value(found[57.0]) == pytest.approx(-3.0)
    assert found[72.0].base.tolist() == [0.0, 0.0, 1.0]  # what the chain began with
    assert found[57.0].base.tolist() == [1.0, 0.0, 0.0]


def test_a_chain_goes_on_from_the_mean_of_its_draws() -> None:
    found = filled("chain", [66.0, 67.0], toy=Toy(noisy=True), draws=5)

    mean = found[66.0].drawn.mean(dim=0)
    alone = filled("direct", [67.0], toy=Toy(noisy=True), draws=5)[67.0].drawn
    own_noise = alone - (visits().images[2] + 2.0)
    torch.testing.assert_close(found[67.0].drawn, mean + 1.0 + own_noise, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["joint", "both sides", "direct", "chain"])
def test_a_model_that_goes_forward_is_asked_from_earlier_visits_only(strategy: str) -> None:
    toy = Toy(backward=False)

    found = filled(strategy, [61.9, 64.9, 66.0], toy=toy)

    assert all(known[0] < age for age, known in toy.asked)
    assert {age: known[0] for age, known in toy.asked} == {61.9: 60.0, 64.9: 62.0, 66.0: 65.0}
    assert [each.base.argmax().item() for each in found.values()] == [0, 1, 2]


@pytest.mark.parametrize("strategy", ["joint", "both sides", "direct", "chain"])
@pytest.mark.parametrize("planes", [1, 2, 3, 7, 64])
def test_how_many_planes_fit_at_once_does_not_matter(strategy: str, planes: int) -> None:
    wanted = [58.0, 60.5, 61.5, 64.0, 70.0]
    series = visits(depth=5, modalities=2)

    toy = Toy(noisy=True)
    found = filled(strategy, wanted, toy=toy, at=series, planes=planes, draws=2)
    whole = filled(strategy, wanted, toy=Toy(noisy=True), at=series, planes=10_000, draws=2)

    assert sorted(found) == wanted
    assert max(toy.sizes) <= max(planes, 6)  # one plane of one age, at least
    for age in wanted:
        assert found[age].drawn.shape == (2, 2, 5, 2, 3)
        torch.testing.assert_close(found[age].drawn, whole[age].drawn)
        assert torch.equal(found[age].base, whole[age].base)


@pytest.mark.parametrize("strategy", ["joint", "both sides", "direct"])
def test_an_age_is_what_it_is_whatever_else_is_imputed(strategy: str) -> None:
    together = filled(strategy, [58.0, 61.0, 63.5], toy=Toy(noisy=True), draws=2)

    for age in together:
        alone = filled(strategy, [age], toy=Toy(noisy=True), draws=2)[age]
        assert torch.equal(alone.drawn, together[age].drawn)


def test_noise_differs_from_age_to_age_from_plane_to_plane_and_by_seed() -> None:
    def noise(age: float, seed: int = 0) -> Tensor:
        at = visits(depth=2)
        found = filled("direct", [age], toy=Toy(noisy=True), at=at, draws=2, seed=seed)[age].drawn
        return found - filled("direct", [age], at=at)[age].drawn

    one = noise(61.5)
    assert torch.equal(one, noise(61.5))
    for other in (noise(61.50001), noise(61.5, seed=1), one.flip(0), one.flip(2)):
        assert (one - other).abs().mean() > 0.5
    assert 0.5 < one.std() < 1.5


@pytest.mark.parametrize(("strategy", "mark"), [("lerp-slerp", 100.0), ("lerp-lerp", 0.0)])
@pytest.mark.parametrize("planes", [1, 64])
def test_codes_are_mixed_by_the_time_gone_by(strategy: str, mark: float, planes: int) -> None:
    series = visits(depth=3, modalities=2)

    found = filled(strategy, [60.5, 64.0], at=series, planes=planes)

    assert found[60.5].base.tolist() == [0.75, 0.25, 0.0]
    first, second, third = series.images
    expected = {60.5: 0.75 * first + 0.25 * second, 64.0: second / 3 + 2 * third / 3}
    for age, images in expected.items():
        torch.testing.assert_close(found[age].drawn, (images + mark)[None])


def test_progress_rises_to_the_end() -> None:
    seen: list[tuple[int, int]] = []

    def counted(index: int, parts: int) -> Callable[[int, int], None]:
        return lambda done, total: seen.append((index * total + done, parts * total))

    plan = Plan(strategy="direct", draws=1, sampling_steps=1, seed=0)
    list(find(Toy(), visits(depth=4), np.array([61.0, 63.0, 66.0]), plan, 4, counted))

    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, total in seen} == {len(seen)}


def test_the_visits_given_stay_as_they_are() -> None:
    series = visits()
    before = series.images.clone()

    filled("chain", [61.0, 66.0, 67.0], at=series)

    assert torch.equal(series.images, before)
    assert series.images.shape[0] == 3
