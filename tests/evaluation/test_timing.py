from __future__ import annotations

import pytest
import torch

from napari_followup.evaluation.timing import wait


def test_only_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)

    wait(torch.device("cpu"))
    wait(torch.device("cuda", 0))

    assert asked == [torch.device("cuda", 0)]
