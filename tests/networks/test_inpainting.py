from __future__ import annotations

import pytest
import torch

from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.networks.inpainting import FeatureDecoder


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
