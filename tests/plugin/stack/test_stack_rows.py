from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.io.dates import YEAR
from napari_followup.plugin.stack.stack_rows import (
    Found,
    Options,
    Part,
    Row,
    StackModel,
    ages_of,
    facts_of,
    part_of,
)
from napari_followup.plugin.stack.stack_sources import FileOrigin
from napari_followup.series.stack import VisitStack


def test_the_thumbnail_is_the_middle_plane_made_small() -> None:
    images = np.zeros((1, 3, 128, 256), np.float32)
    images[0, 1, :64] = 5.0
    facts = facts_of(VisitStack.from_array(images, spacing=(3, 0.5, 0.5)), 0)

    assert facts.thumbnail.shape == (32, 64)
    assert (facts.thumbnail[:16] == 255).all()
    assert (facts.thumbnail[16:] == 0).all()
    assert facts.grid == "3 × 128 × 256\n3 × 0.5 × 0.5 mm"


def test_a_missing_or_even_visit_has_a_black_thumbnail() -> None:
    images = np.stack([np.full((4, 4), np.nan), np.full((4, 4), 7.0)]).astype(np.float32)
    stack = VisitStack.from_array(images, ages=[61, 62])

    assert part_of(stack, 0, "").is_missing
    for index in range(2):
        assert (facts_of(stack, index).thumbnail == 0).all()


def test_an_age_that_was_made_up_is_not_told() -> None:
    images = np.zeros((1, 4, 4))

    assert part_of(VisitStack.from_array(images), 0, "").age is None
    assert part_of(VisitStack.from_array(images, ages=[61]), 0, "anna").age == 61


def test_a_visit_without_an_image_has_nothing_to_be_read() -> None:
    assert not Row(name="no image", is_missing=True).is_pending


def test_ages_are_numbers_of_years_with_point_or_comma() -> None:
    assert ages_of(["61.5", "62,25", "63"], []) == ([61.5, 62.25, 63.0], ["", "", ""])


def test_dates_count_from_the_first_one() -> None:
    ages, wrong = ages_of(["2020-01-31", "20210131", "31.01.2020"], [])

    assert ages == [0.0, pytest.approx(366 / YEAR), 0.0]
    assert wrong == ["", "", ""]


def test_dates_count_from_the_birth() -> None:
    ages, _ = ages_of(["2020-01-31"], ["", "1960-01-31"])

    assert ages == [pytest.approx(60, abs=0.01)]


def test_other_rows_tell_day_from_month() -> None:
    ages, wrong = ages_of(["03/04/2020", "31/04/2020", "30/04/2020"], [])

    assert ages == [0, None, pytest.approx(27 / YEAR)]
    assert wrong[0] == wrong[2] == ""
    assert "31/04/2020" in wrong[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "'soon' is no age and no date"),
        ("-3", "the age '-3' is below 0"),
        ("2020-13-45", "'2020-13-45' is no date"),
    ],
)
def test_what_cannot_be_read_is_said_where_it_stands(text: str, said: str) -> None:
    ages, wrong = ages_of(["61", text], [])

    assert ages[0] == 61
    assert wrong[0] == ""
    assert said in wrong[1]


def test_dates_among_ages_and_empty_rows_are_said() -> None:
    _, wrong = ages_of(["61", "2020-01-31", ""], [])

    assert wrong[0] == ""
    assert "is a date, but other visits have ages" in wrong[1]
    assert "has no age or date, but other visits have" in wrong[2]


def test_no_ages_at_all_are_no_error() -> None:
    assert ages_of(["", ""], []) == ([None, None], ["", ""])


def test_a_visit_before_the_birth_and_a_birth_that_is_no_date_are_said() -> None:
    assert "before the birth" in ages_of(["1950-01-01"], ["1960-01-31"])[1][0]
    assert "date of birth: 'then' is no" in ages_of(["1950-01-01"], ["then"])[1][0]


def row(name: str, **said: Any) -> Row:
    return Row(name=name, origin=FileOrigin(Path(name)), **said)


def parts(count: int, subject: str = "", **said: Any) -> tuple[Part, ...]:
    stack = VisitStack.from_array(np.random.default_rng(0).random((count, 4, 4)), **said)
    return tuple(part_of(stack, index, subject) for index in range(count))


def model_of(*rows: Row) -> StackModel:
    model = StackModel()
    model.add(rows)
    return model


def names(model: StackModel) -> list[str]:
    return [row.name for row in model.shown]


def test_a_single_visit_fills_its_row() -> None:
    model = model_of(row("a"), row("b", when="70"))
    for each in model.pending:
        model.take(each, Found(parts=parts(1, ages=[61], modalities=["FLAIR"])))

    assert [(r.when, r.modality, r.is_pending) for r in model.rows] == [
        ("61", "FLAIR", False),
        ("70", "FLAIR", False),
    ]


def test_several_visits_are_a_row_each_where_the_file_stood() -> None:
    model = model_of(row("a"), row("b"), row("c"))
    model.take(model.pending[1], Found(parts=parts(2, ages=[61, 62])))

    assert names(model) == ["a", "b [0]", "b [1]", "c"]
    assert [r.when for r in model.rows] == ["", "61", "62", ""]
    assert [r.part for r in model.rows] == [0, 0, 1, 0]


def test_a_file_that_a_table_gives_one_visit_may_not_hold_several() -> None:
    model = model_of(row("a", is_listed=True))
    model.take(model.pending[0], Found(parts=parts(2)))

    assert "holds 2 visits" in model.rows[0].error


def test_an_error_stays_until_it_is_read_again() -> None:
    model = model_of(row("a"), row("b"))
    model.take(model.pending[0], Found(error="is cut short"))
    assert [len(model.pending), model.rows[0].error] == [1, "is cut short"]
    model.reset()
    assert len(model.pending) == 2
    model.take(model.pending[0], Found(parts=parts(1)))

    assert model.rows[0].error == ""


def test_axes_are_asked_for_and_can_be_changed() -> None:
    model = model_of(row("a"))
    (origin,) = model.pending
    model.take(origin, Found(error="axes?", choices=("zyx", "vyx")))
    assert model.doubtful == [origin]
    model.set_axes([origin], "vyx")
    assert model.pending == [origin]
    model.take(origin, Found(parts=parts(3)))
    assert names(model) == ["a [0]", "a [1]", "a [2]"]
    model.set_axes(model.doubtful, "zyx")

    assert names(model) == ["a"]
    assert model.rows[0].is_pending


def test_what_was_taken_out_meanwhile_stays_out() -> None:
    model = model_of(row("a"))
    (origin,) = model.pending
    model.remove(model.rows)
    model.take(origin, Found(parts=parts(1)))

    assert model.rows == []


def test_the_first_of_many_subjects_is_chosen() -> None:
    model = model_of(row("a", subject="anna"), row("b", subject="bob"), row("c"))

    assert model.subjects == ["anna", "bob"]
    assert names(model) == ["a", "c"]
    model.subject = "bob"
    assert names(model) == ["b", "c"]


def test_subjects_that_come_one_by_one_are_all_shown() -> None:
    model = model_of(row("a", subject="anna"))
    model.add([row("b", subject="bob")])

    assert names(model) == ["a", "b"]


def test_rows_move_and_stop_at_the_ends() -> None:
    model = model_of(row("a"), row("b"), row("c"))
    model.move(model.rows[1:], -1)
    assert names(model) == ["b", "c", "a"]
    model.move(model.rows[:2], -1)
    assert names(model) == ["b", "c", "a"]
    model.move(model.rows[:2], 1)
    assert names(model) == ["a", "b", "c"]


def test_rows_are_sorted_by_age_or_date_those_without_last() -> None:
    model = model_of(row("a", when="62"), row("b"), row("c", when="61"))
    model.sort(Options())
    assert names(model) == ["c", "a", "b"]
    model = model_of(row("a", when="2020-01-31"), row("b", when="2019-01-31"))
    model.sort(Options())
    assert names(model) == ["b", "a"]


def test_a_missing_visit_comes_last_and_a_table_goes_as_a_whole() -> None:
    model = model_of(row("a", table=Path("t.csv")), row("b"))
    added = model.add_missing()
    assert model.rows[-1] is added
    model.remove_table(Path("t.csv"))

    assert names(model) == ["b", "no image"]
