"""Mahalanobis distance of an image to its own healthy reconstructions, pixel by pixel.

Behrendt (2026), Sec. 3.4.5 (MHD): how the reconstructions of one image differ from each other says
which deviations are usual. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mahalanobis"]


def mahalanobis(
    images: Tensor,
    draws: Tensor,
    *,
    full: bool = True,
    ridge: float = 1e-5,
    volume: bool = False,
) -> Tensor:
    """Share of every pixel in the Mahalanobis distance of its plane.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``.
    draws
        ``(draw, visit, modality, z, y, x)`` healthy reconstructions, two of each image at least.
    full
        Whether the covariance between pixels counts, or the variance of each alone.
    ridge
        λ > 0, added to the variances.
    volume
        Whether all planes of a visit are one vector, or each plane is one of its own.

    Returns
    -------
    Tensor
        ``(visit, z, y, x)``, non-negative: ``sqrt(max(0, δ_i (Σ⁻¹ δ)_i))``, where δ is the
        difference from the mean draw; the modalities of a pixel are added up.

    Raises
    ------
    ValueError
        If there are fewer than two draws.

    References
    ----------
    Behrendt (2026), Sec. 3.4.5. The covariance C Cᵀ of N draws has a rank below N, so that
    Woodbury's identity inverts λI + C Cᵀ exactly with a matrix of N × N: time and memory grow with
    the number of pixels and not with its cube. λ is added to the diagonal covariance, too, which
    is zero wherever all draws agree.
    """
    if len(draws) < 2:
        raise ValueError(
            f"draws: got {len(draws)} reconstruction of each image; the Mahalanobis distance needs "
            "two or more, ten as published: set draws, or several noise levels"
        )
    draws = draws.double()
    mean = draws.mean(dim=0)
    delta = images.double() - mean
    centred = (draws - mean) / (len(draws) - 1) ** 0.5
    if full:
        whitened = _solved(delta, centred, ridge, volume)
    else:
        whitened = delta / (centred.square().sum(dim=0) + ridge)
    squares = (delta * whitened).sum(dim=1)
    return squares.clamp_min(0).sqrt().to(images)


def _solved(delta: Tensor, centred: Tensor, ridge: float, volume: bool) -> Tensor:
    """(λI + C Cᵀ)⁻¹ δ by Woodbury, plane by plane or volume by volume, shape of `delta`."""
    gram = torch.einsum("nvmzyx,kvmzyx->vznk", centred, centred)
    seen = torch.einsum("nvmzyx,vmzyx->vzn", centred, delta)
    if volume:
        gram, seen = gram.sum(dim=1, keepdim=True), seen.sum(dim=1, keepdim=True)
    inner = gram + ridge * torch.eye(len(centred), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(inner, seen).expand(-1, delta.shape[2], -1)
    return (delta - torch.einsum("nvmzyx,vzn->vmzyx", centred, weights)) / ridge
