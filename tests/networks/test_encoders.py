from __future__ import annotations

import pytest
import torch

from napari_followup.networks.encoders import FeatureDecoder, SemanticEncoder


@pytest.mark.parametrize(("pool", "sides"), [(True, (8, 4, 2, 1)), (False, (16, 8, 4, 2))])
def test_features_of_each_stage_are_half_as_large_as_the_ones_before(
    pool: bool, sides: tuple[int, ...]
) -> None:
    encoder = SemanticEncoder(2, 5, depth=18, width=8, stem_norm="group", pool=pool).eval()

    found = encoder.features(torch.randn(1, 2, 32, 32), (1, 2, 3, 4))

    assert [f.shape[1] for f in found] == [8, 16, 32, 64]
    assert [f.shape[2] for f in found] == list(sides)


def test_only_the_levels_asked_for_come_back() -> None:
    encoder = SemanticEncoder(1, 5, depth=18, width=8, stem_norm="group").eval()
    images = torch.randn(2, 1, 16, 24)

    every = encoder.features(images, (1, 2, 3, 4))
    some = encoder.features(images, (2, 3))

    assert torch.equal(some[0], every[1])
    assert torch.equal(some[1], every[2])
    assert len(some) == 2


def test_code_is_a_linear_map_of_the_mean_over_the_plane() -> None:
    encoder = SemanticEncoder(1, 5, depth=18, width=8, stem_norm="group").eval()
    images = torch.randn(3, 1, 32, 16)

    last = encoder.features(images, (4,))[0]

    torch.testing.assert_close(encoder(images), encoder.to_code(last.mean(dim=(2, 3))))


def test_a_finer_code_averages_over_the_parts_of_the_plane() -> None:
    encoder = SemanticEncoder(1, 5, depth=18, width=8, stem_norm="group", pool=False, grid=2).eval()
    images = torch.randn(3, 1, 64, 64)

    last = encoder.features(images, (4,))[0]

    parts = last.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(encoder(images), encoder.to_code(parts.flatten(1)))


@pytest.mark.parametrize(("depth", "width"), [(18, 8), (50, 8)])
def test_features_of_all_stages_become_an_image(depth: int, width: int) -> None:
    encoder = SemanticEncoder(2, 16, depth=depth, width=width, stem_norm="group", pool=False)
    images = torch.rand(2, 2, 32, 48)

    stages = encoder.features(images, (1, 2, 3, 4))
    filled = FeatureDecoder(encoder.widths, 2, features=16)(stages, images)

    assert [stage.shape[1] for stage in stages] == list(encoder.widths)
    assert filled.shape == images.shape


def test_every_stage_has_a_say() -> None:
    widths = (8, 16)
    decoder = FeatureDecoder(widths, 1, features=8)
    stages = [torch.randn(1, 8, 8, 8), torch.randn(1, 16, 4, 4)]
    like = torch.zeros(1, 1, 16, 16)

    filled = decoder(stages, like)

    for index in range(2):
        changed = [stage + (place == index) for place, stage in enumerate(stages)]
        assert not torch.allclose(decoder(changed, like), filled)
