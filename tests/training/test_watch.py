from __future__ import annotations

import torch
from torch import nn

from napari_followup.training.watch import Averages


def test_weights_are_averaged_closely_at_first() -> None:
    layer, seen = nn.Linear(3, 2), []
    averages = Averages(layer, decay=0.999)
    averages.start()

    for count in range(4):
        with torch.no_grad():
            layer.weight.normal_()
        seen.append(layer.weight.detach().clone())
        averages.update(count)

    mean = seen[0]
    for n, weights in enumerate(seen[1:], start=1):
        decay = (1 + n) / (10 + n)
        mean = decay * mean + (1 - decay) * weights
    torch.testing.assert_close(averages.copy()["weight"], mean)


def test_late_averages_keep_what_the_decay_says() -> None:
    layer = nn.Linear(1, 1, bias=False)
    averages = Averages(layer, decay=0.5)
    averages.start({"weight": torch.zeros(1, 1)})
    torch.nn.init.constant_(layer.weight, 1.0)

    averages.update(10_000)

    assert averages.copy()["weight"].item() == 0.5


def test_counters_are_copied() -> None:
    norm = nn.BatchNorm1d(2)
    averages = Averages(norm, decay=0.9)
    averages.start()
    norm(torch.rand(5, 2))
    norm(torch.rand(5, 2))

    averages.update(7)

    assert averages.copy()["num_batches_tracked"] == 2


def test_averages_stand_in_for_the_weights_for_a_while() -> None:
    layer = nn.Linear(2, 2)
    averages = Averages(layer, decay=0.9)
    averages.start({name: torch.zeros_like(v) for name, v in layer.state_dict().items()})
    before = layer.weight.detach().clone()

    with averages.in_place():
        assert not layer.weight.any()

    assert torch.equal(layer.weight, before)


def test_a_copy_does_not_change_any_more() -> None:
    layer = nn.Linear(2, 2)
    averages = Averages(layer, decay=0.0)
    averages.start()
    kept = averages.copy()

    torch.nn.init.constant_(layer.weight, 5.0)
    averages.update(3)

    assert kept["weight"].max() < 5.0
    assert averages.copy()["weight"].min() == 5.0
