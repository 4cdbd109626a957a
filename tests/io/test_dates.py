from __future__ import annotations

from datetime import date

import pytest

from napari_followup.io.dates import date_in_name, read_dates, years_between
from napari_followup.io.errors import ReadError


@pytest.mark.parametrize(
    "text",
    [
        *("2020-01-31", "2020/01/31", "20200131", "31.01.2020", "31-01-2020", "31/01/2020"),
        *("01/31/2020", "31 January 2020", "Jan 31, 2020", "31.01.2020 14:05"),
        "2020-01-31T14:05:00Z",
    ],
)
def test_a_day_is_read_in_every_usual_notation(text: str) -> None:
    assert read_dates(["", text], ["row 2", "row 3"]) == [None, date(2020, 1, 31)]


def test_the_column_tells_day_from_month() -> None:
    assert read_dates(["01/02/2020", "31/01/2020"], ["", ""])[0] == date(2020, 2, 1)
    assert read_dates(["01/02/2020", "01/31/2020"], ["", ""])[0] == date(2020, 1, 2)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["yesterday"], "row 2: 'yesterday' is no date; write it as 2020-01-31"),
        (["01/02/2020"], "row 2: the date '01/02/2020' may be day or month first"),
        (["13/02/2020", "02/13/2020"], "may be day or month first"),
        (["32/01/2020"], "is no date"),
    ],
)
def test_what_is_no_date_is_told_with_its_place(texts: list[str], problem: str) -> None:
    with pytest.raises(ReadError, match=problem):
        read_dates(texts, [f"row {n}" for n in range(2, 2 + len(texts))])


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("flair_2020-01-31.nii.gz", date(2020, 1, 31)),
        ("20200131_x.png", date(2020, 1, 31)),
        ("v20201331.png", None),
        ("1.2020013112.png", None),
        ("visit-3.png", None),
    ],
)
def test_dates_in_names_are_found(name: str, day: date | None) -> None:
    assert date_in_name(name) == day


def test_a_year_has_its_mean_length() -> None:
    assert years_between(date(2000, 1, 1), date(2004, 1, 1)) == 4.0
