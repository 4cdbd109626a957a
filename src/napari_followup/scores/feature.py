"""Feature attention (FAM): pixel and feature distance of an image to its healthy reconstruction.

Dang (2025), Sec. 3.2.1, after DDAD (Mousakhan et al. 2023). Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["adaptation_loss", "combine", "feature_distance"]

Features = Callable[[Tensor, tuple[int, ...]], list[Tensor]]


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
    """Pixel distance plus feature distance brought to its height.

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
    Dang (2025), eq. 3.5. The maxima run over the patient's whole series, so that a healthy visit is
    not stretched to the height of a sick one.
    """
    top, highest = (pixel.max(), feature.max()) if tops is None else tops
    if highest <= 0:
        return weight * pixel
    return weight * pixel + feature * (top / highest)


def adaptation_loss(
    trained: Features,
    frozen: Features,
    images: Tensor,
    healthy: Tensor,
    *,
    levels: tuple[int, ...] = (2, 3),
    distillation: float = 0.1,
) -> Tensor:
    """Loss that teaches the features of a healthy image and of its reconstruction to agree.

    Parameters
    ----------
    trained, frozen
        The features being adapted and those of the encoder they started from.
    images, healthy
        ``(b, modality, y, x)``.
    distillation
        λ_DL, weight of staying near the frozen features.

    Returns
    -------
    Tensor
        Scalar.

    References
    ----------
    Dang (2025), eq. 3.6.
    """
    pairs = zip(trained(images, levels), trained(healthy, levels), strict=True)
    with torch.no_grad():
        anchors = list(zip(frozen(images, levels), frozen(healthy, levels), strict=True))
    loss = images.new_zeros(())
    for (ours, theirs), (ours_frozen, theirs_frozen) in zip(pairs, anchors, strict=True):
        loss = loss + _distance(theirs, ours)
        loss = loss + distillation * (
            _distance(theirs, theirs_frozen) + _distance(ours, ours_frozen)
        )
    return loss


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(a, b, dim=1)).mean()
