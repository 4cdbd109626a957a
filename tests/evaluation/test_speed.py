from __future__ import annotations

import pytest
import torch

from napari_followup.device import wait
from napari_followup.evaluation.speed import evaluate_speed
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.stack import VisitStack


def test_the_published_scheme_is_timed_beside_ours(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    other = {"another": tiny_tdm.build("cpu")}

    rows = evaluate_speed(tiny_series, tiny_tdm, other, device="cpu", repeats=2)

    door, ours, prepared_once, published, another = rows
    assert [row.calls for row in rows] == [16, 16, 20, 20, 100]  # this network has 20 steps
    assert ours.ratio == 1.0
    assert published.seconds > ours.seconds
    assert published.ratio == published.seconds / ours.seconds
    assert min(door.seconds, prepared_once.seconds, another.seconds) > 0


def test_only_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)

    wait(torch.device("cpu"))
    wait(torch.device("cuda", 0))

    assert asked == [torch.device("cuda", 0)]
