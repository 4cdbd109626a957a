"""Ages and dates as they were typed, one a visit, and which of them do not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date

from napari_followup.io.dates import read_dates, years_between
from napari_followup.io.errors import ReadError

__all__ = ["OLDEST", "ages_of"]

OLDEST = 130.0  # years; above it an age was perhaps given in months or days
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/\d{4}")
DATE = re.compile(r"\d{8}")  # a number by its looks


def ages_of(texts: Sequence[str], births: Sequence[str]) -> tuple[list[float | None], list[str]]:
    """Read the ages of visits.

    Parameters
    ----------
    texts
        One a visit: an age in years, a date, or nothing.
    births
        Dates of birth, or empty texts; the first that is one counts. Without it, ages from dates
        count from the earliest.

    Returns
    -------
    tuple of list
        The ages, none where one is not known; and what is wrong with each, empty where nothing is.
    """
    ages: dict[int, float] = {}
    days: dict[int, date] = {}
    wrong = [""] * len(texts)
    for place, text in enumerate(texts):
        try:
            if NUMBER.fullmatch(text) and not DATE.fullmatch(text):
                ages[place] = _age(text)
            elif text:
                days[place] = _day(text, texts)
        except ReadError as error:
            wrong[place] = str(error)
    if ages and days:
        for place in days:
            wrong[place] = "is a date, where other visits have ages; give all visits the same kind"
        days = {}
    for place, text in enumerate(texts):
        if not text and any(texts):
            wrong[place] = "has no age or date, other visits have; give it one, or none at all"
    ages |= _from_days(days, births, wrong)
    return [ages.get(place) for place in range(len(texts))], wrong


def _age(text: str) -> float:
    age = float(text.replace(",", "."))
    if not 0 <= age < float("inf"):
        raise ReadError(f"the age {text!r} is below 0; write years as in 61.5")
    return age


def _day(text: str, column: Sequence[str]) -> date:
    """Read one date; the others tell whether the day or the month comes first."""
    if not any(letter.isdigit() for letter in text):
        raise ReadError(f"{text!r} is no age and no date; write years as in 61.5, or 2020-01-31")
    telling = _telling(column) if SLASHED.match(text) else []
    try:
        (day, *_) = read_dates([text, *telling], ["", *telling])
    except ReadError as error:
        raise ReadError(str(error).removeprefix(": ")) from error
    assert day is not None  # the text is not empty
    return day


def _telling(column: Sequence[str]) -> list[str]:
    """Dates that tell what those of a column do of day and month, and are dates themselves."""
    found = [each for text in column if (each := SLASHED.match(text))]
    day_first = any(int(each[1]) > 12 for each in found)
    month_first = any(int(each[2]) > 12 for each in found)
    return ["13/01/2000"] * day_first + ["01/13/2000"] * month_first


def _from_days(
    days: Mapping[int, date], births: Sequence[str], wrong: list[str]
) -> dict[int, float]:
    """Ages at dates; says in `wrong` which of them come before the birth."""
    if not days:
        return {}
    try:
        birth = next((_day(text, births) for text in births if text), min(days.values()))
    except ReadError as error:
        wrong[min(days)] = f"date of birth: {error}"
        return {}
    for place, day in days.items():
        if day < birth:
            wrong[place] = f"dated {day}, before the birth on {birth}"
    return {place: years_between(birth, day) for place, day in days.items() if day >= birth}
