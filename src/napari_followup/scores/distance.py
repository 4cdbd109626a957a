"""Distances between images and healthy reconstructions: pixel, SSIM, Mahalanobis, feature.

Pixel and feature distance, and their combination (FAM): Dang (2025), eqs. 3.3 to 3.5, after DDAD
(Mousakhan et al. 2023). SSIM: Wang et al. (2004), and the ensemble over window sizes of Behrendt
(2026), Sec. 3.4.4 (SSIM-ens). Mahalanobis distance to several reconstructions of one image:
Behrendt (2026), Sec. 3.4.5 (MHD). Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.scores.filters import blur

__all__ = [
    "SIGMAS",
    "Features",
    "combine",
    "feature_distance",
    "in_unit_range",
    "local_contrast",
    "mahalanobis",
    "pixel_distance",
    "ssim_distance",
    "ssim_map",
    "structural_distance",
]

SIGMAS = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7)  # of SSIM-ens, in pixels

Features = Callable[[Tensor, tuple[int, ...]], list[Tensor]]
"""Maps planes (b, modality, y, x) and feature levels to one (b, c, y', x') tensor a level."""


def in_unit_range(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Bring images (any shape) from a value range to [0, 1], in which distances are measured."""
    low, high = value_range
    return images if (low, high) == (0.0, 1.0) else (images - low) / (high - low)


def pixel_distance(images: Tensor, healthy: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Absolute difference of grey values, mean over modalities.

    Parameters
    ----------
    images, healthy
        ``(visit, modality, z, y, x)``, same unit.
    tolerance
        How much less a difference counts where the reconstruction has an edge, which a displacement
        by a fraction of a pixel already turns into one: it is divided by ``1 + tolerance · local
        contrast``. 0 is the published distance.

    Returns
    -------
    Tensor
        ``(visit, z, y, x)``, non-negative.
    """
    distance = (images - healthy).abs()
    if tolerance:
        distance = distance / (1 + tolerance * local_contrast(healthy))
    return distance.mean(dim=1)


def local_contrast(images: Tensor) -> Tensor:
    """Largest minus smallest grey value among each pixel's 3 × 3 neighbours in its plane.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``.

    Returns
    -------
    Tensor
        Same shape, non-negative.
    """
    planes = images.flatten(0, 2)[:, None]
    highest = F.max_pool2d(planes, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-planes, 3, stride=1, padding=1)
    contrast: Tensor = (highest - lowest)[:, 0].unflatten(0, images.shape[:3])
    return contrast


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


def mahalanobis(
    images: Tensor,
    draws: Tensor,
    *,
    full: bool = True,
    ridge: float = 1e-5,
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
        whitened = _solved(delta, centred, ridge)
    else:
        whitened = delta / (centred.square().sum(dim=0) + ridge)
    squares = (delta * whitened).sum(dim=1)
    return squares.clamp_min(0).sqrt().to(images)


def _solved(delta: Tensor, centred: Tensor, ridge: float) -> Tensor:
    """(λI + C Cᵀ)⁻¹ δ by Woodbury, plane by plane, shape of `delta`."""
    gram = torch.einsum("nvmzyx,kvmzyx->vznk", centred, centred)
    seen = torch.einsum("nvmzyx,vmzyx->vzn", centred, delta)
    inner = gram + ridge * torch.eye(len(centred), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(inner, seen)
    return (delta - torch.einsum("nvmzyx,vzn->vmzyx", centred, weights)) / ridge


def feature_distance(
    images: Tensor, healthy: Tensor, features: Features, levels: tuple[int, ...] = (2, 3)
) -> Tensor:
    """Cosine distance of pooled features, summed over levels.

    Parameters
    ----------
    images, healthy
        ``(b, modality, y, x)`` in the value range of the network behind `features`.
    features
        Maps planes and levels to one ``(b, c, y', x')`` tensor a level.
    levels
        Stages of the feature network, 1 to 4.

    Returns
    -------
    Tensor
        ``(b, y, x)``, non-negative, at most twice the number of levels.

    References
    ----------
    Dang (2025), eq. 3.4: 3 × 3 average pooling, cosine along channels, bilinear interpolation.
    """
    total = images.new_zeros(len(images), 1, *images.shape[2:])
    for ours, theirs in zip(features(images, levels), features(healthy, levels), strict=True):
        # 1 - cos as half a squared chord: exactly 0 for equal features, those that are all 0 too
        chord = _direction(ours) - _direction(theirs)
        distance = 0.5 * chord.square().sum(dim=1)
        total += F.interpolate(distance[:, None], size=images.shape[2:], mode="bilinear")
    return total[:, 0]


def _direction(features: Tensor) -> Tensor:
    """Pooled features at unit length along channels."""
    pooled = F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
    return F.normalize(pooled, dim=1)


def combine(
    pixel: Tensor,
    feature: Tensor,
    *,
    weight: float = 1.0,
    tops: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Pixel distance plus feature distance scaled to the same maximum.

    Parameters
    ----------
    pixel, feature
        ``(visit, z, y, x)`` of one patient, non-negative.
    weight
        `v`, what the pixel distance counts for.
    tops
        Highest pixel and feature distance of the whole series, where these are but some planes of
        it.

    Returns
    -------
    Tensor
        ``(visit, z, y, x)``. Where there is no feature distance at all, ``weight * pixel``.

    References
    ----------
    Dang (2025), eq. 3.5. The maxima run over the patient's whole series, so that the scores
    of a healthy visit are not scaled up to those of a sick one.
    """
    top, highest = (pixel.max(), feature.max()) if tops is None else tops
    if highest <= 0:
        return weight * pixel
    return weight * pixel + feature * (top / highest)
