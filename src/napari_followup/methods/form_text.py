"""What a form says of one option of a method, kept with the option: the metadata of its field."""

from __future__ import annotations

from typing import Any

__all__ = ["form_text"]


def form_text(
    tip: str, *, label: str = "", empty: str = "", between: tuple[int, int] = (1, 1000)
) -> dict[str, Any]:
    """Metadata of an option's field.

    Parameters
    ----------
    tip
        What it does, for the person who sets it.
    label
        What stands before its control; its name when none is given.
    empty
        What it means to leave it to the method; its default when none is given.
    between
        Lowest and highest whole number that a control offers.

    Returns
    -------
    dict
        All of them by name, for `dataclasses.field`.
    """
    return {"tip": tip, "label": label, "empty": empty, "between": between}
