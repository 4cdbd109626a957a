from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.scores.feature import adaptation_loss, combine, feature_distance


def pairs(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
    """Features of two channels at the planes' own size: grey and its complement."""
    return [torch.cat([planes, 1 - planes], dim=1) for _ in levels]


def test_distance_of_even_planes_worked_by_hand() -> None:
    # features (1, 0) and (0.6, 0.4): cosine 0.6 / sqrt(0.52), twice for two levels
    images, healthy = torch.ones(1, 1, 6, 4), torch.full((1, 1, 6, 4), 0.6)

    found = feature_distance(images, healthy, pairs)

    torch.testing.assert_close(found, torch.full((1, 6, 4), 2 * (1 - 0.6 / 0.52**0.5)))


def test_distance_agrees_with_the_cosine_of_pooled_features() -> None:
    encoder = (
        SemanticEncoder(1, 4, depth=18, width=8, stem_norm="group").eval().requires_grad_(False)
    )
    images, healthy = torch.rand(2, 1, 32, 24), torch.rand(2, 1, 32, 24)

    found = feature_distance(images, healthy, encoder.features, (2,))

    pool = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ours, theirs = (pool(encoder.features(each, (2,))[0]) for each in (images, healthy))
    slow = 1 - torch.einsum("bcyx,bcyx->byx", ours, theirs) / (
        ours.norm(dim=1) * theirs.norm(dim=1)
    )
    expected = F.interpolate(slow[:, None], size=(32, 24), mode="bilinear")[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_equal_features_are_no_distance_apart_dead_ones_neither() -> None:
    images = torch.rand(2, 1, 8, 8)

    def dead(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        return [torch.zeros(len(planes), 3, 4, 4) for _ in levels]

    assert not feature_distance(images, images, pairs).any()
    assert not feature_distance(images, torch.rand(2, 1, 8, 8), dead).any()


def test_feature_distance_is_brought_to_the_height_of_the_pixel_distance() -> None:
    pixel = torch.tensor([0.0, 0.2, 0.5]).view(3, 1, 1, 1)
    feature = torch.tensor([0.1, 2.0, 0.0]).view(3, 1, 1, 1)

    found = combine(pixel, feature, weight=2.0)

    # s = 2 D_p + D_f * 0.5 / 2.0, the maxima over the whole series
    torch.testing.assert_close(found.flatten(), torch.tensor([0.025, 0.9, 1.0]))


def test_without_any_feature_distance_the_pixel_distance_remains() -> None:
    pixel = torch.rand(2, 1, 4, 4)

    assert torch.equal(combine(pixel, torch.zeros_like(pixel), weight=0.5), 0.5 * pixel)


def test_without_any_pixel_distance_nothing_is_abnormal() -> None:
    assert not combine(torch.zeros(2, 1, 4, 4), torch.rand(2, 1, 4, 4)).any()


def test_an_untrained_copy_loses_nothing_on_equal_images() -> None:
    images = torch.rand(2, 1, 8, 8)

    loss = adaptation_loss(pairs, pairs, images, images)

    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_adaptation_loss_worked_by_hand() -> None:
    images, healthy = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.6)

    def turned(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        return [f.flip(1) for f in pairs(planes, levels)]

    loss = adaptation_loss(pairs, turned, images, healthy, levels=(2,), distillation=0.1)

    apart = 1 - 0.6 / 0.52**0.5  # between image and reconstruction
    image_moved = 1 - 0.0  # (1, 0) against (0, 1)
    healthy_moved = 1 - 0.48 / 0.52  # (0.6, 0.4) against (0.4, 0.6)
    assert loss.item() == pytest.approx(apart + 0.1 * (image_moved + healthy_moved), rel=1e-5)
