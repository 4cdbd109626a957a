from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.results.timeline_plot import (
    BOTTOM,
    FLAGGED,
    LEFT,
    MARGIN,
    RIGHT,
    TOP,
    Points,
    TimelinePlot,
    _with_room,
)

pytestmark = pytest.mark.viewer

AGES = np.array([62.0, 60.0, 64.0])
SIZE = (200 + LEFT + RIGHT, 100 + TOP + BOTTOM)


def points(values: list[float], observed: tuple[bool, ...] = (True, True, True)) -> Points:
    return Points(ages=AGES, values=np.array(values), is_observed=np.array(observed))


def test_points_lie_by_age_and_score() -> None:
    place = points([0.0, 1.0, 0.55]).place(*SIZE)

    np.testing.assert_allclose(place[:, 0], [LEFT + 100, LEFT, LEFT + 200])
    np.testing.assert_allclose(place[:, 1], TOP + 100 * (1 - np.array([0, 1, 0.55]) / 1.1))


def test_a_missing_visit_lies_on_the_axis() -> None:
    assert points([np.nan, 1, 1]).place(*SIZE)[0, 1] == TOP + 100


def test_a_single_age_and_no_score_at_all_can_be_drawn() -> None:
    lonely = Points(ages=np.array([60.0]), values=np.array([np.nan]), is_observed=np.array([False]))

    np.testing.assert_allclose(lonely.place(*SIZE), [[LEFT + 100, TOP + 100]])
    assert points([0, 0, 0]).top == 1


def test_a_visit_is_hit_within_reach_of_its_age() -> None:
    drawn = points([1, 1, 1])

    assert drawn.nearest(LEFT + 95, *SIZE) == 0
    assert drawn.nearest(LEFT + 3, *SIZE) == 1
    assert drawn.nearest(LEFT + 50, *SIZE) is None


def test_a_visit_is_described() -> None:
    drawn = points([0.5, np.nan, 0.25], (True, False, False))

    assert drawn.describe(0) == "visit 1, age 62.0: image score 0.5"
    assert drawn.describe(1) == "visit 2, age 60.0: missing"
    assert drawn.describe(2) == "visit 3, age 64.0: image score 0.25, imputed"


def test_a_flagged_visit_is_said_and_the_threshold_fits_in() -> None:
    drawn = Points(
        ages=AGES,
        values=np.array([0.5, 1.0, 0.25]),
        is_observed=np.ones(3, bool),
        is_flagged=np.array([False, True, False]),
        threshold=2.0,
    )

    assert drawn.describe(1) == "visit 2, age 60.0: image score 1, flagged"
    assert drawn.describe(0).endswith("image score 0.5")
    assert drawn.top == pytest.approx(2.2)


def test_points_of_many_visits_do_not_touch() -> None:
    many = Points(ages=np.arange(80.0), values=np.ones(80), is_observed=np.ones(80, bool))

    assert 2 * many.radius(SIZE[0]) < 200 / 79
    assert points([1, 1, 1]).radius(SIZE[0]) == 4.5


def test_flagged_visits_have_a_color_of_their_own(qtbot: Any) -> None:
    plot = TimelinePlot()
    qtbot.addWidget(plot)
    plot.resize(*SIZE)
    observed = np.ones(3, bool)
    drawn = Points(
        ages=AGES,
        values=np.array([0.5, 0.5, 1.0]),
        is_observed=observed,
        is_flagged=np.array([False, False, True]),
        threshold=0.8,
    )
    plot.show_visits(drawn)
    image, places = plot.grab().toImage(), drawn.place(plot.width(), plot.height())
    colors = [image.pixelColor(round(x), round(y)).name() for x, y in places]

    assert colors[2] == FLAGGED.name()
    assert colors[0] == colors[1] != FLAGGED.name()
    plot.show_visits(None)
    assert plot.points is None


def test_a_click_on_a_point_tells_its_visit(qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    plot = TimelinePlot()
    qtbot.addWidget(plot)
    plot.show_visits(points([0.5, np.nan, 1.0], (True, False, True)))
    plot.resize(*SIZE)
    plot.show_visit(2)
    with qtbot.waitExposed(plot):
        plot.show()
    hits: list[int] = []
    plot.visit_clicked.connect(hits.append)
    for x in (LEFT + 200, LEFT + 1, LEFT + 50):
        qtbot.mouseMove(plot, QPoint(x, 50))
        qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(x, 50))

    assert hits == [2, 1]
    assert not plot.grab().isNull()


def test_nothing_is_drawn_or_hit_before_there_is_a_result(qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    plot = TimelinePlot()
    qtbot.addWidget(plot)
    with qtbot.assertNotEmitted(plot.visit_clicked):
        qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(60, 50))

    assert not plot.grab().isNull()


def alone(count: int = 3) -> Points:
    return Points(
        ages=np.arange(60.0, 60.0 + count),
        values=None,
        is_observed=np.arange(count) == 0,
        is_missing=np.arange(count) == 2,
    )


def test_visits_without_numbers_lie_on_one_line() -> None:
    place = alone().place(200 + 2 * MARGIN, 100)

    np.testing.assert_allclose(place[:, 0], [MARGIN, MARGIN + 100, MARGIN + 200])
    assert len(set(place[:, 1])) == 1
    assert [alone().describe(visit) for visit in range(3)] == [
        "visit 1 of 3, age 60.0",
        "visit 2 of 3, age 61.0, imputed",
        "visit 3 of 3, age 62.0, missing",
    ]


def test_visits_beside_each_other_stand_by_age() -> None:
    drawn = points([1, 1, 1])  # ages 62, 60, 64

    assert [drawn.beside(visit, 1) for visit in range(3)] == [2, 0, None]
    assert [drawn.beside(visit, -1) for visit in range(3)] == [1, None, 0]


def test_ages_are_written_where_there_is_room() -> None:
    assert _with_room(np.array([0.0, 100.0, 50.0])) == [0, 2, 1]
    assert _with_room(np.linspace(0, 100, 51)) == [0, 19, 50]
    assert _with_room(np.array([0.0, 5.0])) == [0]
    assert _with_room(np.array([7.0])) == [0]


def test_a_ring_is_hollow_and_a_dot_is_filled(qtbot: Any) -> None:
    plot = TimelinePlot(100)
    qtbot.addWidget(plot)
    plot.resize(200 + 2 * MARGIN, 100)
    plot.show_visits(alone())
    drawn, places = plot.grab().toImage(), plot.points.place(plot.width(), plot.height())
    dot, ring, _ = (drawn.pixelColor(round(x), round(y)).name() for x, y in places)

    assert dot == plot.palette().color(plot.foregroundRole()).name()
    assert ring == plot.palette().color(plot.backgroundRole()).name()


def test_the_arrow_keys_go_to_the_visits_beside(qtbot: Any) -> None:
    from qtpy.QtCore import Qt

    plot = TimelinePlot()
    qtbot.addWidget(plot)
    hits: list[int] = []
    plot.visit_clicked.connect(hits.append)
    qtbot.keyClick(plot, Qt.Key.Key_Right)  # nothing is shown yet
    plot.show_visits(points([1, 1, 1]))
    plot.show_visit(0)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Up):
        qtbot.keyClick(plot, key)
    plot.show_visit(2)
    qtbot.keyClick(plot, Qt.Key.Key_Right)

    assert hits == [2, 1]
