"""Fuse a patient's anomaly scores across visits.

Longitudinal Attention Fusion (LAFM) of Dang (2025), Sec. 3.2.2: an anomaly persists from visit to
visit, a reconstruction error does not. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fuse_over_time", "reference_of", "support_over_time", "visit_weights"]


def visit_weights(ages: Tensor, sigma: float) -> Tensor:
    """How much every visit counts as reference for every other.

    Parameters
    ----------
    ages
        ``(visit,)`` in years, two visits at least.
    sigma
        How fast a visit's weight falls with its distance, in years; 0 weighs all visits alike.

    Returns
    -------
    Tensor
        ``(visit, visit)``; rows sum to 1, the diagonal is 0: a visit is no reference for itself.
        Where all of a row's weights vanish, its references count alike.

    References
    ----------
    Dang (2025), eq. 3.7, normalised.
    """
    gaps = (ages[:, None] - ages[None, :]).double()
    others = 1 - torch.eye(len(ages), dtype=torch.float64, device=ages.device)
    weights = (torch.exp(-0.5 * (gaps / sigma) ** 2) if sigma else torch.ones_like(gaps)) * others
    sums = weights.sum(dim=1, keepdim=True)
    return torch.where(sums > 0, weights / sums.clamp_min(1e-300), others / (len(ages) - 1))


def reference_of(scores: Tensor, ages: Tensor, sigma: float) -> Tensor:
    """Weighted mean of the other visits' scores: (visit, z, y, x), (visit,) -> (visit, z, y, x)."""
    _check_ages(scores, ages)
    return torch.einsum("lm,m...->l...", visit_weights(ages, sigma).to(scores), scores)


def fuse_over_time(
    scores: Tensor,
    ages: Tensor,
    *,
    sigma: float = 2.5,
    beta: float = 1.0,
    gamma: float = 0.1,
    within: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Correct each visit's scores by those of the patient's other visits.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``, non-negative, comparable between visits.
    ages
        ``(visit,)`` in years, in the order of `scores`; equal and unsorted ages are fine.
    sigma
        How fast a visit's weight falls with its distance, in years; 0 weighs all visits alike.
    beta, gamma
        Strength of false-positive removal in [0, 1], and of false-negative recovery.
    within
        Lowest and highest reference of each visit's whole image, ``(visit, 1, 1, 1)``, where
        `scores` are but some planes of it.

    Returns
    -------
    Tensor
        Same shape, dtype and device as `scores`; a single visit passes through unchanged.

    Raises
    ------
    ValueError
        If there is not one age per visit.

    References
    ----------
    Dang (2025), eqs. 3.7-3.8, where ``s_ref`` is the weighted mean; its min-max runs over each
    visit's image.
    """
    _check_ages(scores, ages)
    if len(scores) == 1:
        return scores.clone()
    reference = reference_of(scores, ages, sigma)
    agreement = _rescaled(reference, within)
    return scores * (1 - beta * (1 - agreement)) + gamma * reference


def support_over_time(
    scores: Tensor, ages: Tensor, *, sigma: float = 2.5, gain: float = 0.3, reach: int = 1
) -> Tensor:
    """Raise a visit's scores where others show something at the same place, or nearly.

    Parameters
    ----------
    scores, ages, sigma
        As for `fuse_over_time`.
    gain
        What the reference counts for.
    reach
        By how many pixels an anomaly may have moved: the reference is the highest score that near,
        of each visit.

    Returns
    -------
    Tensor
        ``scores + gain · min(reference, 3 · scores)``, the shape of `scores`: what is at zero stays
        there, so that one visit's lesion leaves no ghost in the others.
    """
    _check_ages(scores, ages)
    if len(scores) == 1:
        return scores.clone()
    planes = scores.flatten(0, 1)[:, None]
    near = F.max_pool2d(planes, 2 * reach + 1, stride=1, padding=reach)[:, 0].unflatten(
        0, scores.shape[:2]
    )
    return scores + gain * torch.minimum(reference_of(near, ages, sigma), 3 * scores)


def _check_ages(scores: Tensor, ages: Tensor) -> None:
    if ages.shape != scores.shape[:1]:
        raise ValueError(
            f"ages: got {ages.numel()} for {len(scores)} visits; give one age per visit"
        )


def _rescaled(scores: Tensor, within: tuple[Tensor, Tensor] | None) -> Tensor:
    """Map each visit's lowest score to 0 and its highest to 1; constant scores to 0."""
    if within is None:
        axes = tuple(range(1, scores.ndim))
        within = scores.amin(dim=axes, keepdim=True), scores.amax(dim=axes, keepdim=True)
    low, high = within
    spread = high - low
    return torch.where(
        spread > 0, (scores - low) / spread.clamp_min(1e-30), torch.zeros_like(scores)
    )
