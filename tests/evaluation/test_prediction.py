from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_followup.evaluation.prediction import (
    Series,
    Tally,
    Task,
    copies,
    linear,
    predict_tasks,
    series_of,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.stack import VisitStack

CPU = torch.device("cpu")


def flat(*levels: float, ages: tuple[float, ...] = (0.0, 1.0, 3.0), subject: int = 0) -> Series:
    images = torch.tensor(levels)[:, None, None, None].expand(-1, 1, 16, 16)
    return Series(images=images, ages=torch.tensor(ages, dtype=torch.float64), subject=subject)


def test_a_line_goes_on_as_it_came_and_stays_in_the_range() -> None:
    task = Task(series=flat(0.1, 0.2, 0.9), known=(0, 1), wanted=2)

    assert float(linear(task, (0.0, 1.0)).mean()) == pytest.approx(0.4)
    assert float(linear(task, (0.0, 0.3)).max()) == pytest.approx(0.3)


def test_a_line_between_two_visits_goes_by_age() -> None:
    task = Task(series=flat(0.0, 0.5, 0.9), known=(0, 2), wanted=1)

    assert float(linear(task, (0.0, 1.0)).mean()) == pytest.approx(0.3)


def test_a_copy_is_the_first_known_visit() -> None:
    tasks = [Task(series=flat(0.1, 0.2, 0.9), known=(1, 0), wanted=2)]

    assert float(copies(tasks).mean()) == pytest.approx(0.2)


def test_a_tally_takes_the_mean_over_images_and_the_interval_over_subjects() -> None:
    tally = Tally((0.0, 1.0))
    image = torch.zeros(1, 1, 16, 16)
    tally.add("g", "n", 0, image.expand(3, -1, -1, -1), image.expand(3, -1, -1, -1) + 0.1)
    tally.add("g", "n", 1, image, image + 0.01)

    (row,) = tally.figures()

    assert (row.group, row.name, row.images) == ("g", "n", 4)
    assert row.l1 == pytest.approx((3 * 0.1 + 0.01) / 4, rel=1e-4)
    assert row.psnr == pytest.approx((3 * 20 + 40) / 4, abs=1e-2)  # mean of each image's
    assert row.interval == pytest.approx((20.0, 40.0), abs=1e-2)


def test_series_are_planes_in_the_models_range_without_missing_visits(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    images = np.repeat(np.asarray(tiny_series.images), 2, axis=2)
    images[1] = np.nan
    stack = tiny_series.with_images(images, is_observed=np.array([True, False, True, True]))

    found = series_of([stack, tiny_series], tiny_tdm, CPU)

    assert [each.subject for each in found] == [0, 0, 1]
    assert found[0].ages.tolist() == [60.0, 62.5, 64.0]
    assert found[0].images.shape == (3, 1, 16, 16)
    assert (found[2].images.min(), found[2].images.max()) == (0.0, 1.0)


def test_many_predictions_are_those_of_the_network_one_by_one(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    (series,) = series_of([tiny_series], tiny_tdm, CPU)
    tasks = [
        Task(series=series, known=(0,), wanted=1),
        Task(series=series, known=(1, 0, 3), wanted=2),
    ]
    network = tiny_tdm.build("cpu")
    noise = torch.randn((4, 2, 1, 16, 16), generator=torch.Generator().manual_seed(3))

    found = predict_tasks(network, tasks, seed=3)

    for place, task in enumerate(tasks):
        known = list(task.known)
        with torch.no_grad():
            alone = network.predict(
                series.images[known][None],
                series.ages[known][None],
                series.ages[[task.wanted]],
                noise[:, [place]],
            )
        torch.testing.assert_close(found[place], alone[:, 0].mean(dim=0), rtol=0, atol=1e-5)
    assert all(math.isfinite(value) for value in found.flatten().tolist())
