from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from napari_followup.networks.segmentation import ResidualSegmenter


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24), (8, 16, 24, 32)])
def test_logits_have_the_plane_of_the_images(channels: tuple[int, ...]) -> None:
    segmenter = ResidualSegmenter(2, channels)
    side = 4 * segmenter.multiple

    logits = segmenter(torch.rand(3, 2, side, 2 * side), torch.rand(3, 2, side, 2 * side))

    assert logits.shape == (3, 1, side, 2 * side)


def test_published_widths_double_in_the_decoder() -> None:
    segmenter = ResidualSegmenter(1)

    inputs = [block[0].in_channels for block in segmenter.up]
    assert inputs == [2 * 256 + 2 * 128, 128 + 2 * 64]
    assert segmenter.multiple == 4


def test_both_inputs_go_through_the_same_encoder_by_themselves() -> None:
    segmenter = ResidualSegmenter(1, (8, 16)).eval()
    residual, images = torch.rand(2, 2, 1, 8, 8)

    found = segmenter(residual, images)

    fine = [segmenter.down[0](x) for x in (residual, images)]
    coarse = [segmenter.down[1](F.avg_pool2d(x, 2)) for x in fine]
    up = F.interpolate(torch.cat(coarse, dim=1), scale_factor=2.0, mode="nearest")
    expected = segmenter.head(segmenter.up[0](torch.cat([up, *fine], dim=1)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, segmenter(images, residual))


def test_it_starts_from_what_is_abnormal_being_rare() -> None:
    torch.manual_seed(0)
    segmenter = ResidualSegmenter(1, (16, 32))
    images = torch.rand(4, 1, 32, 32)

    found = torch.sigmoid(segmenter(torch.zeros_like(images), images))

    assert 0.002 < found.mean() < 0.05
