"""Between two codes or two stochastic subcodes: straight, or along the arc.

Dang (2025), appendix C.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["lerp", "slerp"]


def lerp(start: Tensor, end: Tensor, part: Tensor) -> Tensor:
    """Straight from `start` (b, ...) to `end` (b, ...); `part` (b,) goes from 0 to 1.

    References
    ----------
    Dang (2025), appendix C.
    """
    return torch.lerp(start, end, _beside(part, start))


def slerp(start: Tensor, end: Tensor, part: Tensor) -> Tensor:
    """Along the arc from `start` to `end`, as far apart as the angle between them.

    Parameters
    ----------
    start, end
        ``(b, ...)``; each sample is one vector.
    part
        ``(b,)`` from 0 to 1.

    Returns
    -------
    Tensor
        Shape of `start`. Vectors that point the same way are joined by a straight line, which the
        arc then is.

    References
    ----------
    Dang (2025), appendix C; Shoemake (1985).
    """
    cosine = torch.cosine_similarity(start.flatten(1).double(), end.flatten(1).double(), dim=1)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    arc = sine > 1e-6
    part = part.to(angle)
    to_start = torch.where(arc, ((1 - part) * angle).sin() / sine.where(arc, 1.0), 1 - part)
    to_end = torch.where(arc, (part * angle).sin() / sine.where(arc, 1.0), part)
    return _beside(to_start, start) * start + _beside(to_end, end) * end


def _beside(part: Tensor, values: Tensor) -> Tensor:
    """One number a sample, ready to be multiplied with samples."""
    return part.to(values).reshape(-1, *[1] * (values.ndim - 1))
