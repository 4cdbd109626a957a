"""Fields of settings: what a value may be, and what a form says of it.

Settings are frozen dataclasses. Their types say which values a field takes, `check_fields` holds
them to it; the metadata of a field says what a form shows of it.
"""

from __future__ import annotations

import math
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["check_fields", "check_share", "form_text"]

WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    NoneType: "none at all",
}


def form_text(
    tip: str,
    *,
    label: str = "",
    empty: str = "",
    between: tuple[float, float] | None = None,
    step: float | None = None,
) -> dict[str, Any]:
    """Metadata of a field that a form shows.

    Parameters
    ----------
    tip
        What it does, for the person who sets it.
    label
        What stands before its control; its name when none is given.
    empty
        What it means to leave it to the method; its default when none is given.
    between
        Lowest and highest number that a control offers; as for its type when none are given.
    step
        Of the control's arrows; a tenth of the number's size when none is given.

    Returns
    -------
    dict
        What is given of them by name, for `dataclasses.field`.
    """
    given = {"tip": tip, "label": label, "empty": empty, "between": between, "step": step}
    return {name: value for name, value in given.items() if value not in ("", None)}


def check_fields(settings: object) -> None:
    """Check every field of a dataclass against its type; numbers must be finite, too.

    Parameters
    ----------
    settings
        An instance. Its types are numbers, classes, `Literal` words, tuples of one type, mappings
        and unions of these; a list passes for a tuple.

    Raises
    ------
    ValueError
        If a field holds something else.
    """
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _fits(value, kind):
            raise ValueError(f"{name} must be {_wording(kind)}; got {value!r}")


def check_share(name: str, value: float) -> None:
    """Raise a ValueError if a setting of that name does not lie in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


def _fits(value: Any, kind: Any) -> bool:
    parts, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        as_many = parts[-1] is ... or len(value) == len(parts)
        return as_many and all(_fits(each, parts[0]) for each in value)
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else int | float)
        return is_number and not isinstance(value, bool) and abs(value) < math.inf
    return isinstance(value, origin or kind)


def _wording(kind: Any) -> str:
    parts, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(_wording(part) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        inner = ", ".join("..." if part is ... else _wording(part) for part in parts)
        return f"values in brackets, ({inner})"
    if origin is not None:
        return "a table of names and values"
    return WORDS.get(kind, f"{kind.__name__}()")
