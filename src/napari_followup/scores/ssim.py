"""Structural similarity of an image and its healthy reconstruction, pixel by pixel.

Wang et al. (2004), and the ensemble over window sizes of Behrendt (2026), Sec. 3.4.4 (SSIM-ens).
Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_followup.scores.smooth import blur

__all__ = ["SIGMAS", "ssim_distance", "ssim_map", "structural_distance"]

SIGMAS = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7)  # of SSIM-ens, in pixels


def ssim_map(images: Tensor, healthy: Tensor, sigma: float, *, data_range: float = 1.0) -> Tensor:
    """SSIM around every pixel of every plane.

    Parameters
    ----------
    images, healthy
        ``(..., y, x)``, same shape and unit.
    sigma
        Of the Gaussian window, in pixels. The window reaches ``int(3.5 sigma + 0.5)`` pixels to
        each side; one that is a single pixel leaves no variance, and SSIM compares grey values.
    data_range
        Highest minus lowest grey value that images can have.

    Returns
    -------
    Tensor
        Same shape, in [-1, 1]; 1 where both agree.

    References
    ----------
    Behrendt (2026), Sec. 3.4.4, with the constants of Wang et al. (2004): K1 = 0.01, K2 = 0.03.
    Variances are those of the window, not corrected for its number of pixels, which would divide by
    zero where it is one.
    """
    reach = int(3.5 * sigma + 0.5)
    # double: a variance is the small difference of two means
    x, y = (values.double().flatten(0, -3)[None] for values in (images, healthy))

    def local_mean(planes: Tensor) -> Tensor:
        return blur(planes, sigma, reach=reach)

    mean_x, mean_y = local_mean(x), local_mean(y)
    power = mean_x.square() + mean_y.square()
    variance = (local_mean(x.square() + y.square()) - power).clamp_min(0)
    covariance = local_mean(x * y) - mean_x * mean_y
    first, second = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + first) / (power + first)
    structure = (2 * covariance + second) / (variance + second)
    return (luminance * structure).reshape(images.shape).clamp(-1, 1).to(images)


def structural_distance(
    images: Tensor, healthy: Tensor, *, sigma: float = 1.0, data_range: float = 1.0
) -> Tensor:
    """One minus `ssim_map`, in [0, 2]; parameters are the same."""
    return 1 - ssim_map(images, healthy, sigma, data_range=data_range)


def ssim_distance(
    images: Tensor,
    healthy: Tensor,
    *,
    sigmas: Sequence[float] = SIGMAS,
    data_range: float = 1.0,
) -> Tensor:
    """One minus SSIM, of several window sizes weighed at every pixel; mean over modalities.

    Parameters
    ----------
    images, healthy
        ``(visit, modality, z, y, x)``, same unit.
    sigmas
        Of the Gaussian windows, in pixels; with one alone the distance is ``1 - SSIM``.
    data_range
        Highest minus lowest grey value that images can have.

    Returns
    -------
    Tensor
        ``(visit, z, y, x)`` in [0, 2].

    References
    ----------
    Behrendt (2026), Sec. 3.4.4: weights are ``exp(-SSIM)`` over their sum, so that the window that
    sees most counts most.
    """
    maps = torch.stack(
        [ssim_map(images, healthy, sigma, data_range=data_range) for sigma in sigmas]
    )
    weights = torch.softmax(-maps, dim=0)
    return (1 - (weights * maps).sum(dim=0)).mean(dim=1)
