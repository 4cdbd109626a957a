from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.labelled import ANOMALOUS, HEALTHY, VISIBLE, half_spoilt


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_second_image_is_spoilt_and_the_others_are_healthy() -> None:
    images = torch.rand(64, 1, 16, 16)

    shown, labels = half_spoilt(images, generator())

    assert torch.equal(shown[::2], images[::2])
    assert (labels[::2] == HEALTHY).all()
    assert (labels[1::2] == ANOMALOUS).float().mean() > 0.8


def test_a_label_says_whether_the_change_can_be_seen() -> None:
    images = torch.full((200, 1, 8, 8), 0.5)  # many a filling is the same grey, or nearly

    shown, labels = half_spoilt(images, generator(1))

    change = (shown - images).abs().flatten(1).amax(dim=1)
    assert torch.equal(labels == ANOMALOUS, change > VISIBLE)
    assert 0 < labels[1::2].float().mean() < 1


def test_the_value_range_is_kept() -> None:
    images = torch.rand(32, 1, 16, 16)

    signed, labels = half_spoilt(2 * images - 1, generator(2), (-1.0, 1.0))

    plain, expected = half_spoilt(images, generator(2))
    torch.testing.assert_close(signed, 2 * plain - 1, atol=1e-5, rtol=1e-5)
    assert torch.equal(labels, expected)
    assert signed.min() == pytest.approx(-1, abs=0.01)
