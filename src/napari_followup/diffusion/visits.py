"""Which visit is predicted, from which others: drawn at random in training, each in turn at use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LeftOut", "draw_visits", "leave_one_out", "moved", "smoothed"]


def moved(images: Tensor, motion: Tensor) -> Tensor:
    """Read images at a distance from each pixel, linearly between pixels.

    Parameters
    ----------
    images
        ``(b, modality, y, x)``; edges are repeated beyond the image.
    motion
        ``(b, 2, y, x)`` in pixels, rows then columns: where the matter at a pixel comes from.

    Returns
    -------
    Tensor
        Shape of `images`.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device, dtype=images.dtype)
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    y = (rows[:, None] + motion[:, 0]) * (2 / (height - 1)) - 1
    x = (columns + motion[:, 1]) * (2 / (width - 1)) - 1
    return F.grid_sample(
        images, torch.stack([x, y], dim=-1), padding_mode="border", align_corners=True
    )


def smoothed(motion: Tensor, size: int) -> Tensor:
    """Take the mean over squares of pixels, linear between centres: (b, 2, y, x) -> the same."""
    if size == 1:
        return motion
    coarse = F.avg_pool2d(motion, size)
    return F.interpolate(coarse, size=motion.shape[-2:], mode="bilinear", align_corners=False)


def draw_visits(
    ages: Tensor, references: int, generator: torch.Generator, *, backward: bool
) -> tuple[Tensor, Tensor]:
    """Draw, for every series, which visit is wanted and which are known.

    Half of the samples go out from the visit nearest to the wanted one, a quarter from any. A last
    quarter wants a visit that is known: so a network learns to read motion off two images. Without
    `backward` the last visit drawn is wanted, and the nearest one is the base.

    Parameters
    ----------
    ages
        ``(b, visit)`` years, NaN where a series has fewer visits; two at least.
    references
        Known visits at most; few are drawn more often than many.
    generator
        Source of the choice.
    backward
        Whether visits may be predicted from later ones.

    Returns
    -------
    tuple of Tensor
        ``(b, n)`` positions and ages: the wanted visit, the base, further known ones, with an age
        of NaN for those that a sample does without.
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(ages.device)

    order = draw(*ages.shape).masked_fill(ages.isnan(), 2.0).argsort(dim=1)[:, : references + 1]
    years = ages.gather(1, order)
    count = 1 + (draw(len(ages), 1).square() * references).long()
    place = torch.arange(order.shape[1], device=ages.device)
    years = years.masked_fill(place > count, torch.nan)
    kind = draw(len(ages), 1)
    key = torch.where(kind < 0.5, place.to(years), (years - years[:, :1]).abs())
    if not backward:
        key = -years
    sorting = key.masked_fill(years.isnan(), torch.inf).argsort(dim=1, stable=True)
    order, years = order.gather(1, sorting), years.gather(1, sorting)
    if backward and order.shape[1] > 2:
        known = (kind[:, 0] < 0.25) & years[:, 2].isfinite()
        order[known, 0], years[known, 0] = order[known, 2], years[known, 2]
    return order, years


@dataclass(frozen=True, eq=False, kw_only=True)
class LeftOut:
    """Predictions of visits from the others: one for each neighbour that a visit has.

    `wanted` and `weight` are ``(task,)``, the weights of a visit's tasks sum to 1; `known` is
    ``(task, visit - 1)``, the neighbour first.
    """

    wanted: Tensor
    known: Tensor
    weight: Tensor


def leave_one_out(ages: Tensor, *, backward: bool) -> LeftOut:
    """Predict every visit from its neighbours on both sides, nearer ones counting more.

    Parameters
    ----------
    ages
        ``(visit,)`` years, rising; two at least.
    backward
        Whether visits may be predicted from later ones; if not, the first one is not predicted.

    Returns
    -------
    LeftOut
        Positions on the device of `ages`.
    """
    count = len(ages)
    sides = [(i, j) for i in range(count) for j in (i - 1, i + 1) if 0 <= j < count]
    sides = [(i, j) for i, j in sides if backward or ages[j] < ages[i]]
    weights = []
    for i, j in sides:
        opposite = 2 * i - j
        if not backward or not 0 <= opposite < count:
            weights.append(1.0)
            continue
        near, far = float((ages[i] - ages[j]).abs()), float((ages[i] - ages[opposite]).abs())
        weights.append(far / (near + far) if near + far else 0.5)
    others = [[j, *(k for k in range(count) if k not in (i, j))] for i, j in sides]
    return LeftOut(
        wanted=torch.tensor([i for i, _ in sides], device=ages.device),
        known=torch.tensor(others, device=ages.device),
        weight=torch.tensor(weights, device=ages.device),
    )
