"""Min-max rescaling of score maps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["rescale"]


def rescale(
    scores: Tensor,
    *,
    over: Literal["patient", "visit"] = "patient",
    within: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Map the lowest score to 0 and the highest to 1.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``.
    over
        ``"patient"``: over the whole series (Dang 2025, Sec. 3.2.3). ``"visit"``: over each visit
        by itself.
    within
        Lowest and highest score, ``(visit, 1, 1, 1)``, where `scores` are but some planes of the
        series; their own when none are given.

    Returns
    -------
    Tensor
        Same shape; all zeros where the scores are constant.
    """
    axes = tuple(range(scores.ndim)) if over == "patient" else tuple(range(1, scores.ndim))
    if within is None:
        within = scores.amin(dim=axes, keepdim=True), scores.amax(dim=axes, keepdim=True)
    low, high = within
    spread = high - low
    return torch.where(
        spread > 0, (scores - low) / spread.clamp_min(1e-30), torch.zeros_like(scores)
    )
