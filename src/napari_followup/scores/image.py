"""One number a visit: how abnormal the whole image is (Dang 2025, Sec. 5.2.3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["image_scores"]


def image_scores(
    scores: Tensor,
    how: Literal["max", "mean", "top", "quantile"] = "max",
    *,
    top: int = 50,
    q: float = 0.99,
) -> Tensor:
    """Sum up every visit's score map in one number.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``.
    how
        ``"max"``, ``"mean"``, mean of the `top` highest pixels, or mean of the pixels above the `q`
        quantile.

    Returns
    -------
    Tensor
        ``(visit,)``.
    """
    flat = scores.flatten(1)
    if how == "max":
        return flat.amax(dim=1)
    if how == "mean":
        return flat.mean(dim=1)
    count = min(top, flat.shape[1]) if how == "top" else max(1, round((1 - q) * flat.shape[1]))
    return torch.topk(flat, count, dim=1).values.mean(dim=1)
