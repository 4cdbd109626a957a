from __future__ import annotations

import math

import torch

from napari_followup.networks.embedding import NumberEmbedding, sinusoids


def test_sinusoids_worked_by_hand() -> None:
    found = sinusoids(torch.tensor([0, 2]), 4, longest_period=100.0)

    rates = [1.0, 0.1]  # 100 ** (-0 / 2), 100 ** (-1 / 2)
    second = [math.cos(2 * r) for r in rates] + [math.sin(2 * r) for r in rates]
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0, 0.0], second]))


def test_embedding_tells_neighbouring_steps_apart() -> None:
    embedded = NumberEmbedding(16)(torch.arange(1, 1001))

    assert embedded.shape == (1000, 16)
    assert (embedded.diff(dim=0).abs().amax(dim=1) > 1e-4).all()
