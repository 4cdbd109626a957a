from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_followup.plugin.impute.impute_widget import AgesTable
from napari_followup.series.stack import VisitStack

pytestmark = pytest.mark.viewer

AGES = [60.0, 61.0, 62.0, 63.0, 65.0]


@pytest.fixture
def table(qtbot: Any) -> AgesTable:
    """Five visits, the third missing, and a gap before the last."""
    made = AgesTable()
    qtbot.addWidget(made)
    images = np.zeros((5, 1, 1))
    images[2] = np.nan
    made.show_series(VisitStack.from_array(images, ages=AGES))
    return made


def rows(made: AgesTable) -> list[tuple[str, str]]:
    cells = [[made.table.item(row, n) for n in (0, 1)] for row in range(made.table.rowCount())]
    return [(age.text(), kind.text()) for age, kind in cells if age and kind]


def test_missing_visits_and_gaps_are_proposed(table: AgesTable) -> None:
    assert rows(table) == [
        ("60", "observed"),
        ("61", "observed"),
        ("62", "missing"),
        ("63", "observed"),
        ("64", "gap"),
        ("65", "observed"),
    ]
    assert table.ages == [62, 64]


def test_a_visit_can_be_left_out(table: AgesTable) -> None:
    item = table.table.item(2, 0)
    assert item is not None
    item.setCheckState(Qt.CheckState.Unchecked)

    assert table.ages == [64]


def test_ages_are_typed_and_taken_out_again(table: AgesTable) -> None:
    table.typed.setText("61.5, 59")
    table.add_button.click()
    assert table.ages == [59, 61.5, 62, 64]
    assert rows(table)[0] == ("59", "added")
    assert table.typed.text() == ""
    button = table.table.cellWidget(0, 2)
    assert button is not None
    button.click()  # type: ignore[attr-defined]

    assert table.ages == [61.5, 62, 64]


def test_coming_visits_are_added(table: AgesTable) -> None:
    table.count.setValue(2)
    table.forecast_button.click()
    table.forecast_button.click()  # once is enough

    assert rows(table)[-2:] == [("66", "forecast"), ("67", "forecast")]
    assert table.ages == [62, 64, 66, 67]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("old", "ages: cannot read 'old'"),
        ("61", "ages: 61 is already observed, visit 2 of 5"),
        ("nan", "give one or more finite numbers"),
        ("61.5; 62.5", "give ages of one subject"),
    ],
)
def test_what_is_no_new_age_is_said(
    table: AgesTable, qtbot: Any, text: str, complaint: str
) -> None:
    table.typed.setText(text)
    with qtbot.waitSignal(table.complained) as said:
        table.add_button.click()

    assert complaint in said.args[0]
    assert table.ages == [62, 64]


def test_ages_are_set_by_a_script(table: AgesTable) -> None:
    table.ages = [66.5, 64.0]
    assert table.ages == [64, 66.5]
    table.ages = []
    assert table.ages == []
    with pytest.raises(ValueError, match="already observed"):
        table.ages = [60.0]


def test_what_was_added_stays_with_its_series(table: AgesTable) -> None:
    shown = VisitStack.from_array(np.array([0, 0, np.nan, 0, 0])[:, None, None], ages=AGES)
    table.ages = [61.5]
    table.show_series(shown)
    assert table.ages == [61.5]
    table.show_series(shown.with_images(shown.images, subject="other"))

    assert table.ages == [62, 64]


def test_an_imputed_visit_can_be_imputed_anew(table: AgesTable) -> None:
    images = np.arange(12).reshape(3, 2, 2)
    filled = VisitStack.from_array(images, ages=[1, 2, 3], is_observed=[1, 0, 1])
    table.show_series(filled)
    assert rows(table)[1] == ("2", "imputed")
    assert table.ages == []
    table.ages = [2.0]

    assert table.ages == [2]


def test_without_a_series_nothing_can_be_added(table: AgesTable) -> None:
    table.show_series(None, "choose one")
    table.add_forecast()

    assert rows(table) == []
    assert table.note.text() == "choose one"
    assert not table.typed.isEnabled()
    with pytest.raises(ValueError, match="there is no series"):
        table.ages = [61.0]
