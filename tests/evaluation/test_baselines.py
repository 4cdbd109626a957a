from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_followup.evaluation.baselines import fit_components


def planes(count: int = 40) -> torch.Tensor:
    """Mixtures of three patterns: 3 components tell all of them."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(3, 1, 8, 8, generator=generator)
    weights = torch.randn(count, 3, generator=generator)
    return 0.5 + torch.einsum("bk,kcyx->bcyx", weights, patterns)


def test_as_many_components_as_there_are_patterns_tell_everything() -> None:
    healthy = planes()

    again = fit_components(healthy, 3).reconstruct(healthy)

    torch.testing.assert_close(again, healthy, rtol=0, atol=1e-4)


def test_axes_are_those_of_the_exact_decomposition() -> None:
    healthy = planes()
    flat = healthy.flatten(1).numpy()
    _, _, exact = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)

    found = fit_components(healthy, 2).axes.numpy()

    np.testing.assert_allclose(np.abs(found @ exact[:2].T), np.eye(2), atol=1e-3)


def test_what_is_no_mixture_is_left_out() -> None:
    components = fit_components(planes(), 3)
    sick = planes()[:1].clone()
    sick[0, 0, 2, 2] += 5

    residual = (sick - components.reconstruct(sick)).abs()

    assert residual[0, 0].argmax() == 2 * 8 + 2


def test_fitting_leaves_the_random_state_alone_and_repeats() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)

    first, again = (fit_components(planes(), 3, seed=1).axes for _ in range(2))

    torch.testing.assert_close(first, again)
    torch.testing.assert_close(torch.rand(3), expected)


def test_no_more_components_than_planes_that_differ_from_their_mean() -> None:
    assert len(fit_components(planes(4), 200).axes) == 3


def test_one_plane_has_no_components() -> None:
    with pytest.raises(ValueError, match="at least 2 healthy planes, got 1"):
        fit_components(planes(1))
