from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.methods.disyre import (
    COMPACT,
    DISYRE,
    PUBLISHED,
    DISYREConfig,
    DISYREOptions,
)
from napari_followup.methods.method import Visits

TINY = DISYREConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: DISYREConfig) -> DISYRE:
    """Untrained network whose layers that start at zero have values."""
    torch.manual_seed(0)
    disyre = DISYRE(config).eval()
    with torch.no_grad():
        for parameter in disyre.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return disyre.requires_grad_(False)


def alpha(step: int) -> float:
    """Share of the foreign patch at a step, from the betas."""
    return float(1 - np.sqrt(np.prod(1 - np.linspace(1e-3, 0.2, 100)[:step])))


def silent(done: int, total: int) -> None:
    """Nobody listens."""


def test_healing_is_algorithm_1_by_hand_with_a_fake_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disyre = DISYRE(TINY)
    asked: list[int] = []

    def halving(images: Tensor, steps: Tensor) -> Tensor:
        asked.append(int(steps))
        return 0.5 * images + 0.001 * steps

    monkeypatch.setattr(disyre, "restored", halving)
    x = torch.full((1, 1, 16, 16), 0.8)

    healthy, score = disyre.restore_chain(x, DISYREOptions())

    current, expected = 0.8, 0.0
    for step, following in ((100, 75), (75, 50), (50, 25), (25, None)):
        restored = 0.5 * current + 0.001 * step
        expected += abs(restored - current)
        if following is not None:
            current = (1 - alpha(following)) * restored + alpha(following) * current
    assert asked == [100, 75, 50, 25]
    torch.testing.assert_close(score, torch.full_like(x, expected))
    torch.testing.assert_close(healthy, torch.full_like(x, restored))


def test_a_single_step_scores_one_restoration() -> None:
    disyre, x = awake(TINY), torch.rand(2, 1, 16, 16)

    healthy, score = disyre.restore_chain(x, DISYREOptions(single_step=50))

    expected = disyre.restored(x, torch.tensor([50]))
    torch.testing.assert_close(healthy, expected)
    torch.testing.assert_close(score, (expected - x).abs())


def test_evidence_is_the_mean_over_modalities_in_the_axes_of_the_visits() -> None:
    disyre = awake(replace(TINY, modalities=2))
    visits = Visits(images=torch.rand(3, 2, 4, 16, 16), ages=torch.arange(3.0))
    seen: list[tuple[int, int]] = []

    found = disyre.examine(
        visits, DISYREOptions(), generator(), lambda done, total: seen.append((done, total))
    )

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.healthy is not None
    assert found.score is not None
    assert found.healthy.shape == (1, 3, 2, 4, 16, 16)
    assert 0 <= found.healthy.min() <= found.healthy.max() <= 1
    _, score = disyre.restore_chain(visits.images[1, :, 2][None], DISYREOptions())
    torch.testing.assert_close(found.score[1, 2], score[0].mean(dim=0), atol=1e-5, rtol=1e-4)


def test_corruption_grows_with_the_step_and_stays_between_image_and_patch() -> None:
    disyre, images = DISYRE(TINY), torch.rand(8, 1, 16, 16)
    changes = []
    for step in (1, 30, 100):
        steps = torch.full((8,), step)
        shown = disyre.corrupted(images, steps, generator(3))  # the same shapes and patches
        assert 0 <= shown.min() <= shown.max() <= 1
        changes.append((shown - images).abs().mean().item())

    assert changes[1] / changes[0] == pytest.approx(alpha(30) / alpha(1), rel=1e-2)
    assert changes[2] / changes[1] == pytest.approx(alpha(100) / alpha(30), rel=1e-3)


def test_some_images_are_left_as_they_are() -> None:
    disyre = DISYRE(replace(TINY, healthy_share=0.4, filling="any"))
    images, steps = torch.rand(500, 1, 16, 16), torch.full((500,), 100)

    shown = disyre.corrupted(images, steps, generator())

    same = (shown - images).abs().flatten(1).amax(dim=1) < 1e-6
    assert same.float().mean().item() == pytest.approx(0.4, abs=0.06)


def test_corruption_respects_the_value_range() -> None:
    images = torch.rand(6, 1, 16, 16)
    steps = torch.full((6,), 60)
    signed = DISYRE(replace(TINY, value_range=(-1.0, 1.0)))

    shown = signed.corrupted(2 * images - 1, steps, generator(2))

    plain = DISYRE(TINY).corrupted(images, steps, generator(2))
    torch.testing.assert_close(shown, 2 * plain - 1, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta_range": (0.02, 0.01)}, "beta_range must rise"),
        ({"healthy_share": 1.0}, "healthy_share must lie in"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        DISYREConfig(**settings)


def test_a_single_step_beyond_the_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="got 101, this model knows steps 1 to 100"):
        DISYRE(TINY).restore_chain(torch.rand(1, 1, 16, 16), DISYREOptions(single_step=101))


def test_an_image_size_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4 pixels"):
        DISYRE(replace(TINY, image_size=(16, 18)))


def test_presets_are_the_papers_network_and_a_small_one() -> None:
    assert len(DISYRE(PUBLISHED).unet.down) == 6 * PUBLISHED.blocks
    assert PUBLISHED.channels == (32, 64, 96, 128, 256, 256)
    assert sum(parameter.numel() for parameter in DISYRE(COMPACT).parameters()) < 2.6e6
