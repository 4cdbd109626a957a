from __future__ import annotations

import pytest
import torch

from napari_followup.scores.image import image_scores

SCORES = torch.tensor([[0.0, 1.0, 2.0, 5.0], [0.0, 0.0, 0.0, 4.0]]).view(2, 1, 2, 2)


@pytest.mark.parametrize(
    ("how", "settings", "expected"),
    [
        ("max", {}, [5.0, 4.0]),
        ("mean", {}, [2.0, 1.0]),
        ("top", {"top": 2}, [3.5, 2.0]),
        ("top", {"top": 50}, [2.0, 1.0]),  # more than there are pixels
        ("quantile", {"q": 0.5}, [3.5, 2.0]),
        ("quantile", {"q": 1.0}, [5.0, 4.0]),  # one pixel at least
    ],
)
def test_every_visit_gets_one_number(
    how: str, settings: dict[str, float], expected: list[float]
) -> None:
    assert image_scores(SCORES, how, **settings).tolist() == expected
