from __future__ import annotations

import pytest

from napari_followup.io.dates import YEAR
from napari_followup.plugin.stack.stack_ages import ages_of


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
    assert "is a date, where other visits have ages" in wrong[1]
    assert "has no age or date, other visits have" in wrong[2]


def test_no_ages_at_all_are_no_error() -> None:
    assert ages_of(["", ""], []) == ([None, None], ["", ""])


def test_a_visit_before_the_birth_and_a_birth_that_is_no_date_are_said() -> None:
    assert "before the birth" in ages_of(["1950-01-01"], ["1960-01-31"])[1][0]
    assert "date of birth: 'then' is no" in ages_of(["1950-01-01"], ["then"])[1][0]
