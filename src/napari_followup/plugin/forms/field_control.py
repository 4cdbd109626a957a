"""One control for one field of a dataclass, by the type of the field.

Controls of every kind are read and written alike: `setting` is the value, none where the control is
empty, and `edited` the signal that it has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSpinBox

from napari_followup.plugin.forms.forms import NumberBox

__all__ = ["Check", "Choice", "Control", "Count", "Line", "Number", "control_of"]


class Check(QCheckBox):
    """Yes or no; none stands for its default."""

    def __init__(self, default: bool) -> None:
        super().__init__()
        self._default = default
        self.setting = default

    @property
    def setting(self) -> bool:
        """Whether it is checked."""
        return self.isChecked()

    @setting.setter
    def setting(self, value: bool | None) -> None:
        self.setChecked(self._default if value is None else value)

    @property
    def edited(self) -> Any:
        """Signal of a change."""
        return self.toggled


class Choice(QComboBox):
    """One of some words; none stands for its default."""

    def __init__(self, choices: Sequence[Any], default: Any) -> None:
        super().__init__()
        self._default = default
        for choice in choices:
            self.addItem(str(choice), choice)
        self.setting = default

    @property
    def setting(self) -> Any:
        """The word that is chosen."""
        return self.currentData()

    @setting.setter
    def setting(self, value: Any) -> None:
        self.setCurrentIndex(self.findData(self._default if value is None else value))

    @property
    def edited(self) -> Any:
        """Signal of a change."""
        return self.currentIndexChanged


class Count(QSpinBox):
    """A whole number; below its lowest it is empty, where that may be, and shows `empty`.

    Its range is what a person can type: a higher number that is put in stays as it is.
    """

    def __init__(self, low: int, high: int, start: int = 0, empty: str = "") -> None:
        super().__init__()
        self._start, self._may_be_empty = start, bool(empty)
        self.setRange(low - 1 if empty else low, high)
        self.setSpecialValueText(empty)

    def stepBy(self, steps: int) -> None:
        """Begin at the default, where the box is empty."""
        if self.setting is None:
            self.setValue(max(self._start + steps, self.minimum() + 1))
        else:
            super().stepBy(steps)

    @property
    def setting(self) -> int | None:
        """The number; none where the box is empty."""
        is_empty = self._may_be_empty and self.value() == self.minimum()
        return None if is_empty else self.value()

    @setting.setter
    def setting(self, value: int | None) -> None:
        if value is not None:
            self.setMaximum(max(self.maximum(), value))
        self.setValue(self.minimum() if value is None else value)

    @property
    def edited(self) -> Any:
        """Signal of a change."""
        return self.valueChanged


class Number(NumberBox):
    """A number that is always there; its range as that of `Count`."""

    @property
    def setting(self) -> float:
        """The number."""
        return self.value()

    @setting.setter
    def setting(self, value: float) -> None:
        self.setMaximum(max(self.maximum(), value))
        self.setValue(value)

    @property
    def edited(self) -> Any:
        """Signal of a change."""
        return self.valueChanged


class Line(QLineEdit):
    """Numbers with commas between them, or a single one; `empty` is shown where nothing is typed.

    `size` says how many make up the value: none for a single one, 0 for as many as are typed.
    """

    def __init__(self, label: str, word: type, size: int | None = 0, empty: str = "") -> None:
        super().__init__()
        self._label, self._word, self._size = label, word, size
        self._may_be_empty = bool(empty)
        self.setPlaceholderText(empty)

    @property
    def setting(self) -> Any:
        """What is typed: a number or a tuple of them; none where that is nothing.

        Raises
        ------
        ValueError
            If it cannot be read.
        """
        words = self.text().replace(",", " ").split()
        if not words and self._may_be_empty:
            return None
        try:
            values = tuple(self._word(word) for word in words)
        except ValueError:
            values = ()
        wanted = 1 if self._size is None else self._size or len(words)
        if len(values) != wanted:
            raise ValueError(f"{self._label}: got {self.text()!r}; write {self._example()}")
        return values[0] if self._size is None else values

    @setting.setter
    def setting(self, value: Any) -> None:
        self.setText("" if value is None else as_text(value))

    @property
    def edited(self) -> Any:
        """Signal of a change."""
        return self.editingFinished

    def _example(self) -> str:
        kind = "whole number" if self._word is int else "number"
        if self._size is None:
            return f"a {kind}, as in {self._word(2)}"
        many = f"{self._size} {kind}s" if self._size else f"{kind}s"
        return f"{many}, as in {'2, 3' if self._word is int else '0.5, 1'}"


Control = Check | Choice | Count | Line | Number


def control_of(
    kind: Any,
    default: Any,
    *,
    label: str = "",
    empty: str = "",
    between: tuple[int, int] = (0, 1000),
) -> Control | None:
    """Make the control of a field.

    Parameters
    ----------
    kind
        Its type: bool, int, float, a tuple of numbers, a Literal; all of them also ``| None``.
    default
        What the control shows at first.
    label
        Name of the field in messages.
    empty
        What an empty control says; without it, only a field that may be none can be empty.
    between
        Lowest and highest whole number.

    Returns
    -------
    Control or None
        Nothing for other types, and for those that leave no choice.
    """
    kind, may_be_none = _without_none(kind)
    empty = empty or ("none" if may_be_none else "")
    control = _made(kind, default, label, empty, between)
    if control is not None:
        control.setting = None if empty and isinstance(control, Count | Line) else default
    return control


def as_text(value: Any) -> str:
    """Write a number, or several with commas between them."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _made(
    kind: Any, default: Any, label: str, empty: str, between: tuple[int, int]
) -> Control | None:
    if kind is bool:
        return Check(bool(default))
    if kind is int:
        return Count(*between, default or 0, empty)
    if kind is float:
        return Line(label, float, None, empty) if empty else Number(0, 1e6)
    if get_origin(kind) is Literal and len(get_args(kind)) > 1:
        return Choice(get_args(kind), default)
    if get_origin(kind) is tuple and get_args(kind)[0] in (int, float):
        word, *others = get_args(kind)
        return Line(label, word, 0 if Ellipsis in others else 1 + len(others), empty)
    return None


def _without_none(kind: Any) -> tuple[Any, bool]:
    """Type of a field without ``| None``, and whether it had that."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    first, *_ = [each for each in get_args(kind) if each is not NoneType]
    return first, NoneType in get_args(kind)
