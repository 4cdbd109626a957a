from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.detect.result_panel import ResultPanel, ThresholdBar, summary
from napari_followup.plugin.layers.layers import Source, series_of
from napari_followup.plugin.layers.result_layers import Found
from napari_followup.recipe.recipe import HealthyHysteresis, Recipe
from napari_followup.series.results import Detection

pytestmark = pytest.mark.viewer


@pytest.fixture
def bar(qtbot: Any) -> ThresholdBar:
    bar = ThresholdBar()
    qtbot.addWidget(bar)
    return bar


@pytest.mark.parametrize(
    ("highest", "threshold", "said"),
    [
        (0.0013, 2.956551e-05, "2.957e-05"),
        (0.0013, 0.000123456, "0.0001235"),
        (101.0, 14.23456, "14.23"),
        (5e8, 3.3333e8, "3.333e+08"),
        (1.5, 0.5, "0.5"),
        (0.25, math.inf, "0.25"),
        (0.0, math.inf, "1"),
    ],
)
def test_the_threshold_is_shown_whole_in_four_digits(
    bar: ThresholdBar, highest: float, threshold: float, said: str
) -> None:
    bar.show_score(highest, threshold)
    bar.resize(390, bar.sizeHint().height())
    bar.show()

    assert bar.number.text() == said
    assert bar.number.fontMetrics().horizontalAdvance(said) < bar.number.contentsRect().width() - 4


def test_the_number_follows_the_slider_and_the_slider_what_is_typed(
    bar: ThresholdBar, qtbot: Any
) -> None:
    bar.show_score(2e-4, 1e-4)
    bar.slider.setValue(1.5e-4)
    assert bar.number.text() == "0.00015"

    with qtbot.waitSignal(bar.moved) as moved:
        bar.number.selectAll()
        qtbot.keyClicks(bar.number, "3e-05")
        bar.number.editingFinished.emit()
    assert moved.args == [pytest.approx(3e-5)]
    bar.number.selectAll()
    qtbot.keyClicks(bar.number, "7")
    bar.number.editingFinished.emit()
    assert bar.slider.value() == pytest.approx(2e-4)  # the highest score
    assert bar.number.text() == "0.0002"


def test_a_number_that_is_only_looked_at_changes_nothing(bar: ThresholdBar, qtbot: Any) -> None:
    bar.show_score(2.0, 1 / 3)

    with qtbot.assertNotEmitted(bar.moved):
        bar.number.editingFinished.emit()
    assert bar.slider.value() == pytest.approx(1 / 3)


def found(scores: list[float], marked: int = 0) -> Found:
    """One score for all pixels of a visit; the third of four visits is missing."""
    images = np.random.default_rng(0).random((4, 8, 8), dtype=np.float32)
    images[2] = np.nan
    source = Source(name="scan", data=images, axes="vyx")
    series = series_of(source, 0)
    score = np.broadcast_to(np.float32(scores)[:, None, None, None], (4, 1, 8, 8)).copy()
    mask = np.zeros(score.shape, bool)
    mask[:marked] = True
    detection = Detection(
        stack=series.stack,
        mask=mask,
        score=score,
        scores={},
        healthy=None,
        image_score=np.float32(scores),
        threshold=0.5,
    )
    return Found(source=source, series=(series,), detections=(detection,))


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "marked", "said"),
    [
        ([0.1, 0.2, NAN, 0.1], 0, "scan: anomalies flagged at 0 of 3 visits"),
        ([0.9, 0.2, NAN, 0.1], 1, "scan: anomalies flagged at 1 of 3 visits"),
        (
            [0.1, NAN, NAN, 0.1],
            0,
            "scan: 1 of 3 visits cannot be judged: their score is not finite",
        ),
        (
            [0.9, NAN, NAN, float("inf")],
            1,
            "scan: anomalies flagged at 1 of 3 visits; 2 of 3 visits cannot be judged: their "
            "score is not finite",
        ),
    ],
)
def test_a_score_that_is_no_number_is_never_called_healthy(
    scores: list[float], marked: int, said: str
) -> None:
    assert summary(found(scores, marked)) == said


def test_subjects_are_judged_together() -> None:
    one = found([0.1, 0.2, NAN, 0.1])
    other = found([NAN] * 4)
    both = replace(one, series=one.series * 2, detections=(*one.detections, *other.detections))

    assert summary(both) == (
        "scan: 2 subjects, 3 of 6 visits cannot be judged: their score is not finite"
    )


def test_a_series_without_any_finite_score_is_shown_without_a_word_of_health(
    make_napari_viewer: object,
) -> None:
    viewer = make_napari_viewer()  # type: ignore[operator]
    lost = found([NAN] * 4)
    layer = viewer.add_image(lost.source.data, name="scan")
    panel = ResultPanel(viewer)
    panel.show_found(lost, layer, [])

    assert panel.verdict.text() == "scan: 3 of 3 visits cannot be judged: their score is not finite"
    panel.close()


WHY = "40 % of all pixels are flagged: the images are probably out of distribution"


def with_provenance(found: Found, **provenance: object) -> Found:
    (detection,) = found.detections
    assert detection is not None
    return replace(found, detections=(replace(detection, provenance=provenance, floor=0.75),))


def test_images_out_of_distribution_come_first_and_without_a_finding() -> None:
    alone = with_provenance(found([0.9, 0.8, NAN, 0.7], 4), out_of_distribution=WHY)
    assert summary(alone) == f"scan: {WHY}"

    good = found([0.9, 0.2, NAN, 0.1], 1)
    detections = (*alone.detections, *good.detections)
    assert summary(replace(good, series=good.series * 2, detections=detections)) == (
        f"scan: 1 of 2 subjects: {WHY}; 1 subject, anomalies flagged at 1 of 3 visits"
    )


def test_the_finding_says_how_far_to_trust_it() -> None:
    recipe = Recipe(threshold=HealthyHysteresis(high=0.95)).as_dict()
    calibrated = with_provenance(found([0.9, 0.2, NAN, 0.1], 1), recipe=recipe)

    assert summary(calibrated) == (
        "scan: anomalies flagged at 1 of 3 visits; 5 % of healthy subjects are flagged too"
    )
    assert summary(calibrated.at_threshold(0.1)).endswith("; the threshold was set by hand")
