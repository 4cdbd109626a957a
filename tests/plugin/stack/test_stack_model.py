from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_followup.plugin.stack.stack_model import Found, StackModel
from napari_followup.plugin.stack.stack_rows import Options, Part, Row, part_of
from napari_followup.plugin.stack.stack_sources import FileOrigin
from napari_followup.series.stack import VisitStack


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
