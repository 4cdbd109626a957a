from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.anomalies import VISIBLE, perlin_anomalies, shape_anomalies


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_perlin_anomalies_change_nothing_outside_their_mask() -> None:
    images = torch.rand(30, 2, 16, 16)

    shown, masks = perlin_anomalies(images, generator())

    assert masks.shape == (30, 1, 16, 16)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    outside = masks.expand_as(images) == 0
    assert torch.equal(shown[outside], images[outside])
    assert (shown - images).abs()[~outside].mean() > 0.05
    assert 0 <= shown.min() <= shown.max() <= 1


def test_half_of_the_images_stay_healthy() -> None:
    _, masks = perlin_anomalies(torch.rand(600, 1, 8, 8), generator())

    assert masks.flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_opacity_weighs_the_change() -> None:
    images = torch.rand(20, 1, 16, 16)

    faint, masks = perlin_anomalies(images, generator(1), share=1.0, opacity=(0.2, 0.2))
    full, same = perlin_anomalies(images, generator(1), share=1.0, opacity=(1.0, 1.0))

    assert torch.equal(masks, same)
    torch.testing.assert_close(faint - images, 0.2 * (full - images), atol=1e-6, rtol=1e-4)


def test_shapes_are_marked_where_they_can_be_seen() -> None:
    images = torch.rand(40, 2, 16, 16)
    images[:, 1] = images[:, 0]

    shown, masks = shape_anomalies(images, generator(), share=1.0)

    change = (shown - images).abs().amax(dim=1, keepdim=True)
    assert torch.equal(masks == 1, change > VISIBLE)
    assert masks.flatten(1).any(dim=1).float().mean() > 0.9
    assert not shape_anomalies(images, generator(), share=0.0)[1].any()
