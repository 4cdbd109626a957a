"""Dates in the notations people use, and ages in years from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime

from napari_followup.io.errors import ReadError

__all__ = ["YEAR", "date_in_name", "read_dates", "years_between"]

YEAR = 365.25  # days
FORMATS = ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%d-%m-%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y")
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")


def read_dates(texts: Sequence[str], places: Sequence[str]) -> list[date | None]:
    """Read a column of dates; a time of day is left out.

    Parameters
    ----------
    texts
        One a row: 2020-01-31, 2020/01/31, 20200131, 31.01.2020, 31 Jan 2020, or with slashes day
        or month first, as the column as a whole tells; empty where there is none.
    places
        What to call each row in a message.

    Returns
    -------
    list
        A date a row, none where the text is empty.

    Raises
    ------
    ReadError
        If a text is no date, or nothing tells day from month.
    """
    slashed = [found for text in texts if (found := SLASHED.match(text))]
    order = _order(slashed)
    return [
        _date(text, place, order) if text else None
        for text, place in zip(texts, places, strict=True)
    ]


def date_in_name(name: str) -> date | None:
    """Find the date that stands in a file's name, such as 2020-01-31 or 20200131."""
    for year, _, month, day in IN_NAME.findall(name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def years_between(first: date, then: date) -> float:
    """Age in years at `then` of what began at `first`."""
    return (then - first).days / YEAR


def _order(slashed: Sequence[re.Match[str]]) -> str | None:
    """Format of dates with slashes: a number above 12 is a day. None if both or neither fit."""
    day_first = any(int(found[1]) > 12 for found in slashed)
    month_first = any(int(found[2]) > 12 for found in slashed)
    if day_first == month_first:
        return None
    return "%d/%m/%Y" if day_first else "%m/%d/%Y"


def _date(text: str, place: str, order: str | None) -> date:
    if slashed := SLASHED.match(text):
        if order is None:
            raise ReadError(
                f"{place}: the date {text!r} may be day or month first, and the other rows do not "
                "tell; write it as 2020-01-31"
            )
        return _parsed(slashed[0], [order], text, place)
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        day = re.split(r"T|\s+(?=\d\d?:)", text.strip())[0]
        plain = re.sub(r"[/,]\s*", lambda found: "-" if found[0] == "/" else " ", day)
        return _parsed(plain, FORMATS, text, place)


def _parsed(day: str, formats: Sequence[str], text: str, place: str) -> date:
    for form in formats:
        try:
            return datetime.strptime(day, form).date()
        except ValueError:
            continue
    raise ReadError(f"{place}: {text!r} is no date; write it as 2020-01-31")
