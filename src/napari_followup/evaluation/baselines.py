"""What a method must beat: a healthy image made of the principal components of healthy images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Components", "fit_components"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """Mean and principal axes of healthy planes."""

    mean: Tensor  # (modality · y · x,)
    axes: Tensor  # (component, modality · y · x), orthonormal

    def reconstruct(self, planes: Tensor) -> Tensor:
        """Planes as the components can tell them: (b, modality, y, x) -> the same shape."""
        mean, axes = self.mean.to(planes), self.axes.to(planes)
        weights = (planes.flatten(1) - mean) @ axes.T
        return (mean + weights @ axes).reshape(planes.shape)


def fit_components(planes: Tensor, count: int = 200, *, seed: int = 0) -> Components:
    """Principal components of healthy planes.

    Parameters
    ----------
    planes
        ``(plane, modality, y, x)``, healthy ones.
    count
        How many components, fewer where there are fewer pixels, or no more planes than that: of
        n planes and their mean, n - 1 differ.
    seed
        Source of the randomised decomposition; the caller's random state is left as it was.

    Returns
    -------
    Components
        Axes in falling order of variance.

    Raises
    ------
    ValueError
        If there are fewer than two planes.
    """
    if len(planes) < 2:
        raise ValueError(f"principal components need at least 2 healthy planes, got {len(planes)}")
    flat = planes.flatten(1)
    mean = flat.mean(dim=0)
    rank = min(count, len(flat) - 1, flat.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, _, axes = torch.svd_lowrank(flat - mean, q=min(rank + 20, *flat.shape), niter=4)
    return Components(mean=mean, axes=axes[:, :rank].T.contiguous())
