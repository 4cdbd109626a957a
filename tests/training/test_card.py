from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from napari_followup.series.stack import VisitStack
from napari_followup.training.card import About, data_summary, loss_curves, model_card
from napari_followup.training.fit import fit_stage
from napari_followup.training.plan import TrainingPlan


def test_data_are_summed_up() -> None:
    images = np.random.rand(3, 5, 8, 8)
    images[1] = np.nan
    aged = VisitStack.from_array(images, ages=[60.0, 61.0, 70.5])
    unaged = VisitStack.from_array(np.random.rand(2, 8, 8))

    found = data_summary([aged, unaged], [unaged])

    assert found == {
        "subjects": 2,
        "held_out_subjects": 1,
        "visits": 4,
        "planes": 2 * 5 + 2,
        "ages": [60.0, 70.5],
        "image_sizes": [[1, 8, 8], [5, 8, 8]],
    }
    assert data_summary([unaged], [unaged])["ages"] is None


def test_a_card_is_plain_and_says_what_was_not_said() -> None:
    plan = TrainingPlan(steps=3)

    card = model_card(About(author="me"), plan, {"subjects": 2}, {"preset": "compact"})

    assert json.loads(json.dumps(card))["plan"]["steps"] == 3
    assert (card["author"], card["licence"], card["data_licence"]) == (
        *("me", "not stated", "not stated"),
    )
    assert (card["subjects"], card["preset"]) == (2, "compact")


def test_losses_of_a_stage_are_told_with_the_batch_its_weights_are_from(
    toy: type, tmp_path: Path
) -> None:
    plan = TrainingPlan(steps=6, batch=4, checkpoint_every=3)
    samples = torch.rand(9, 1, 8, 8), torch.rand(3, 1, 8, 8)
    fit_stage(toy(), "first", samples, plan, tmp_path / "first")

    found = loss_curves(tmp_path, ["first", "second"])

    assert list(found) == ["first"]
    first = found["first"]
    assert first["batches"] == 6
    assert [batch for batch, _ in first["loss"]] == [1, 2, 3, 4, 5, 6]
    lowest = min(first["validation_loss"], key=lambda point: point[1])
    assert first["weights_of"] == {"batch": lowest[0], "validation_loss": lowest[1]}
    assert json.loads(json.dumps(found))
