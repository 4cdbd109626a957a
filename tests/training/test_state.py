from __future__ import annotations

from itertools import pairwise

import torch

from napari_followup.training.state import MOST_POINTS, LossCurve, memory_in_use


def test_a_long_curve_stays_small_and_even() -> None:
    curve = LossCurve()

    for batch in range(1, 20_001):
        curve.add(batch, 1 / batch)

    batches = [batch for batch, _ in curve.losses]
    assert MOST_POINTS / 2 <= len(batches) <= MOST_POINTS
    assert len({b - a for a, b in pairwise(batches)}) == 1
    assert all(loss == 1 / batch for batch, loss in curve.losses)


def test_a_curve_goes_on_from_its_fields() -> None:
    whole, part = LossCurve(), LossCurve()
    for batch in range(1, 2001):
        whole.add(batch, float(batch))
        if batch == 900:
            part = LossCurve(**vars(part))
        part.add(batch, float(batch))

    assert vars(part) == vars(whole)


def test_a_thinned_curve_keeps_its_end() -> None:
    curve = LossCurve()
    for batch in range(1, 301):
        curve.add(batch, float(batch))
        if batch % 100 == 0:
            curve.validated(batch, batch / 1000)

    found = curve.thinned(most=7)

    assert len(found["loss"]) <= 7
    assert found["loss"][-1] == (300, 300.0)
    assert found["validation_loss"] == [(100, 0.1), (200, 0.2), (300, 0.3)]
    assert LossCurve().thinned() == {"loss": [], "validation_loss": []}


def test_memory_of_this_process_is_known() -> None:
    used = memory_in_use(torch.device("cpu"))

    assert used is None or 10e6 < used < 1e12
