from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from napari_followup.networks.references import RRDB


def test_the_thesis_encoder_is_that_of_wang_and_others() -> None:
    encoder = RRDB()

    # three dense blocks of five convolutions each; growth 32 (Wang et al. 2018, appendix)
    dense = sum((64 + 32 * n) * 32 * 9 + 32 for n in range(4)) + (64 + 128) * 64 * 9 + 64
    assert len(encoder.blocks) == 8
    assert sum(p.numel() for p in encoder.parameters()) == 8 * 3 * dense + 64 * 9 + 64
    assert encoder.outputs == 8 * 64
    with torch.device("meta"):
        shape = RRDB()(torch.empty(2, 1, 64, 64)).shape
    assert shape == (2, 512, 64, 64)


def test_every_block_is_three_dense_blocks_and_a_fifth_of_what_they_make() -> None:
    encoder = RRDB(2, 4, 2, growth=3).double()
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)

    def dense(x: torch.Tensor, weights: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        made = [x]
        for weight, bias in weights[:-1]:
            h = F.conv2d(torch.cat(made, dim=1), weight, bias, padding=1)
            made.append(torch.where(h > 0, h, 0.2 * h))
        weight, bias = weights[-1]
        return x + 0.2 * F.conv2d(torch.cat(made, dim=1), weight, bias, padding=1)

    parameters = iter(encoder.parameters())
    h = F.conv2d(x, next(parameters), next(parameters), padding=1)
    maps = []
    for _ in range(2):
        before = h
        for _ in range(3):
            h = dense(h, [(next(parameters), next(parameters)) for _ in range(5)])
        h = before + 0.2 * h  # h is D3(D2(D1(before)))
        maps.append(h)
    assert next(parameters, None) is None
    torch.testing.assert_close(encoder(x), torch.cat(maps, dim=1))


@pytest.mark.parametrize(("unshuffle", "size"), [(1, (6, 8)), (2, (6, 8)), (4, (8, 12))])
def test_features_keep_their_place_on_planes_as_fine_as_the_network_works(
    unshuffle: int, size: tuple[int, int]
) -> None:
    encoder = RRDB(1, 4, 3, growth=2, unshuffle=unshuffle)
    x = torch.zeros(1, 1, *size)
    spot = x.clone()
    spot[..., -1, -1] = 5.0

    change = (encoder(spot) - encoder(x))[0, :4].abs().sum(dim=0)

    assert change.shape == (size[0] // unshuffle, size[1] // unshuffle)
    assert encoder(x).shape[1] == encoder.outputs == 12
    assert change[-2:, -2:].max() > 20 * change[0, 0]
