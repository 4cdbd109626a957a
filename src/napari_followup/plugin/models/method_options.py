"""What can be set of every method, read from the fields of its options and what they say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from napari_followup.methods.options import OPTION_TYPES

__all__ = ["OPTIONS", "Option"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field of a method's options, for the person who sets it; see `form_text`."""

    name: str
    kind: Any  # its type
    default: Any
    tip: str
    label: str
    empty: str
    between: tuple[int, int]

    @property
    def title(self) -> str:
        """What stands before its control."""
        return self.label or self.name.replace("_", " ")

    @property
    def left(self) -> str:
        """What its control says where it is left to the method."""
        shown = self.default
        if isinstance(shown, tuple):
            shown = ", ".join(map(str, shown))
        return self.empty or f"{'none' if shown is None else shown} (default)"


def _options_of(kind: type) -> tuple[Option, ...]:
    hints = get_type_hints(kind)
    return tuple(
        Option(name=each.name, kind=hints[each.name], default=each.default, **each.metadata)
        for each in fields(kind)
    )


OPTIONS = {name: _options_of(kind) for name, kind in OPTION_TYPES.items()}
