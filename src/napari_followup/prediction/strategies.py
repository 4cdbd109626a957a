"""The strategies of imputation: from which visits each wanted one is predicted.

Tensors in the model's range and size; `impute` holds the public functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.methods.method import Visits

__all__ = ["BY_CODES", "Found", "Plan", "find", "planes_that_fit"]

BY_CODES = ("lerp-slerp", "lerp-lerp")  # strategies that interpolate codes of an SDM

Counted = Callable[[int, int], "Callable[[int, int], None]"]
"""Makes the `on_step` of one part from its number and the number of parts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to impute: strategy, draws, network calls a draw, and the source of noise."""

    strategy: str
    draws: int
    sampling_steps: int
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Draws of one wanted visit, and the share that each observed visit has in its base."""

    age: float
    drawn: Tensor  # (draw, modality, z, y, x)
    base: Tensor  # (observed visit,)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One prediction of a wanted visit, to be added to others with a weight."""

    age: float
    known: list[int]  # positions in the pool, the base first
    weight: float = 1.0


@dataclass(eq=False, kw_only=True)
class _Pool:
    """Visits to predict from: observed ones, and in a chain those imputed before."""

    images: Tensor  # (visit, modality, z, y, x)
    ages: Tensor  # (visit,) float64
    base: Tensor  # (visit, observed visit): what each goes back to

    def tasks(self, age: float, strategy: str, *, forward: bool) -> list[_Task]:
        """Predictions that together give the image at `age`."""
        gaps = age - self.ages
        earlier = int(gaps.masked_fill(gaps <= 0, torch.inf).argmin())
        later = int(gaps.masked_fill(gaps >= 0, -torch.inf).argmax())
        has_earlier, has_later = bool((gaps > 0).any()), bool((gaps < 0).any())
        if strategy == "chain" or forward:
            nearest = earlier if has_earlier else later
        else:
            nearest = int(gaps.abs().argmin())
        sides = [(nearest, 1.0)]
        if strategy not in ("direct", "chain") and has_earlier and has_later and not forward:
            share = float(gaps[earlier] / (self.ages[later] - self.ages[earlier]))  # of the way
            sides = [(earlier, 1 - share), (later, share)]
        all_others = range(len(gaps)) if strategy == "joint" else ()
        return [
            _Task(age=age, known=[base, *(i for i in all_others if i != base)], weight=weight)
            for base, weight in sides
        ]


def find(
    network: Any,
    visits: Visits,
    wanted: NDArray[np.float64],
    plan: Plan,
    planes: int,
    counted: Counted,
    places: Sequence[int] | None = None,
) -> Iterator[Found]:
    """Impute every wanted age, as many at a time as fit and as the strategy allows.

    `places` are the positions of the planes in their volume, which their noise depends on; from 0
    when none are given.
    """
    count, _, depth = visits.images.shape[:3]
    places = range(depth) if places is None else places
    pool = _Pool(images=visits.images, ages=visits.ages, base=torch.eye(count).to(visits.images))
    fit = planes_that_fit(planes, count, plan.strategy)
    thick = min(depth, fit)
    ages = _order(wanted, float(visits.ages.min()), plan.strategy)
    many = 1 if plan.strategy == "chain" else max(1, fit // depth)
    groups = [ages[start : start + many] for start in range(0, len(ages), many)]
    starts = range(0, depth, thick)
    parts = len(groups) * len(starts)
    for number, group in enumerate(groups):
        drawn, base = [], torch.empty(0)
        for place, start in enumerate(starts):
            on_step = counted(number * len(starts) + place, parts)
            slab = slice(start, start + thick)
            found, base = _predict(network, pool, group, slab, places[slab], plan, on_step)
            drawn.append(found)
        whole = torch.cat(drawn, dim=3)  # (draw, age, modality, z, y, x)
        for index, age in enumerate(group):
            yield Found(age=age, drawn=whole[:, index], base=base[index])
        if plan.strategy == "chain":
            pool.images = torch.cat([pool.images, whole.mean(dim=0)])
            pool.ages = torch.cat([pool.ages, pool.ages.new_tensor(group)])
            pool.base = torch.cat([pool.base, base])


def planes_that_fit(planes: int, visits: int, strategy: str) -> int:
    """How many planes can be imputed at a time where `planes` images can be computed at a time."""
    return max(1, planes // (2 * visits if strategy == "joint" else 2))


def _order(wanted: NDArray[np.float64], first: float, strategy: str) -> list[float]:
    """Ages in the order to impute them: a chain goes up, and down before the first visit."""
    if strategy != "chain":
        return [float(age) for age in wanted]
    return [*wanted[wanted > first].tolist(), *wanted[wanted < first][::-1].tolist()]


def _predict(
    network: Any,
    pool: _Pool,
    ages: list[float],
    slab: slice,
    places: Sequence[int],
    plan: Plan,
    on_step: Callable[[int, int], None],
) -> tuple[Tensor, Tensor]:
    """Images (draw, age, modality, z, y, x) of a slab, and their bases (age, observed visit)."""
    by_codes = plan.strategy in BY_CODES
    forward = not (by_codes or network.config.backward)
    sets = [pool.tasks(age, plan.strategy, forward=forward) for age in ages]
    tasks = [task for tasks in sets for task in tasks]
    images = pool.images[:, :, slab].transpose(1, 2)  # (visit, z, modality, y, x)
    depth = images.shape[1]
    base = torch.stack([_base(pool, tasks) for tasks in sets])
    if by_codes:
        return _between(network, images, sets, plan, on_step), base
    known = torch.tensor([task.known for task in tasks])
    noise = torch.stack([_noise(task.age, places, images, plan) for task in tasks], dim=1)
    drawn = network.predict(
        images[known].transpose(1, 2).flatten(0, 1),  # (task · z, visit, modality, y, x)
        pool.ages[known].repeat_interleave(depth, dim=0),
        pool.ages.new_tensor([task.age for task in tasks]).repeat_interleave(depth),
        noise.flatten(1, 2),
        plan.sampling_steps,
        on_step,
    ).unflatten(1, (len(tasks), depth))
    weighted = drawn * drawn.new_tensor([t.weight for t in tasks])[:, None, None, None, None]
    sizes = [len(tasks) for tasks in sets]
    summed = torch.stack([part.sum(dim=1) for part in weighted.split(sizes, dim=1)], dim=1)
    return summed.transpose(2, 3), base


def _between(
    network: Any,
    images: Tensor,
    sets: list[list[_Task]],
    plan: Plan,
    on_step: Callable[[int, int], None],
) -> Tensor:
    """Images (1, age, modality, z, y, x) by the codes of two of (visit, z, modality, y, x)."""
    depth = images.shape[1]
    earlier, later = (
        images[[tasks[side].known[0] for tasks in sets]].flatten(0, 1) for side in (0, 1)
    )
    part = images.new_tensor([tasks[1].weight for tasks in sets]).repeat_interleave(depth)
    between: Tensor = network.between(
        earlier,
        later,
        part,
        arc=plan.strategy == "lerp-slerp",
        sampling_steps=plan.sampling_steps,
        on_step=on_step,
    ).unflatten(0, (-1, depth))
    return between.transpose(1, 2)[None]


def _base(pool: _Pool, tasks: list[_Task]) -> Tensor:
    """(observed visit,): what an image goes back to that these tasks make together."""
    return torch.stack([task.weight * pool.base[task.known[0]] for task in tasks]).sum(dim=0)


def _noise(age: float, places: Sequence[int], images: Tensor, plan: Plan) -> Tensor:
    """(draw, z, modality, y, x), the same at an age whatever else is imputed and however."""
    bits = int(np.float64(age).view(np.uint64))
    planes = [
        np.random.default_rng((plan.seed, bits, z)).standard_normal(
            (plan.draws, *images.shape[2:]), dtype=np.float32
        )
        for z in places
    ]
    return torch.from_numpy(np.stack(planes, axis=1)).to(images)
