"""Forms from annotations: a magicgui widget for each field of a dataclass or setting of a function.

`FieldsForm` shows one dataclass, `ChoiceForm` one of several; `controls_of` makes the widgets of a
function. What a type does not say (label, tip, range) is a `Hint`: in a table, in the annotation
(``Annotated[float, Hint(...)]``), or in the metadata of the field.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from magicgui.backends._qtpy.widgets import QBaseValueWidget
from magicgui.type_map import TypeMap
from magicgui.types import Undefined
from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form

__all__ = [
    "TYPES",
    "ChoiceForm",
    "FieldsForm",
    "Hint",
    "NumberBox",
    "NumberEdit",
    "NumbersEdit",
    "OptionalNumber",
    "WordsEdit",
    "as_text",
    "controls_of",
    "field_widget",
    "kinds_of",
    "label_of",
]

WHOLE, DECIMAL = (0, 1000), (0, 1e6)  # usual ranges


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What a form shows of a field beyond its type."""

    label: str = ""  # the name of the field when none is given
    tip: str = ""
    empty: str = ""  # what an empty widget means; a field without it is empty only as None
    between: tuple[float, float] | None = None  # lowest and highest number
    step: float | None = None  # of the arrows; a tenth of the number's size when none is given
    text: str = ""  # of the check box
    start: float | None = None  # a check box stands before a number that may be None; at first this
    choices: Sequence[tuple[str, Any]] = ()  # text and value; a list to choose from


LABELS = {  # of kinds of settings, by their class
    "Fam": "feature attention (FAM)",
    "Fixed": "fixed value",
    "Lafm": "LAFM",
    "Mahalanobis": "Mahalanobis distance",
    "Own": "the method's own",
    "Pixel": "pixel distance",
    "Quantile": "quantile of the scores",
    "Ssim": "structural distance (SSIM)",
    "Temporal": "temporal residual",
    "Yen": "Yen",
}


class NumberBox(QDoubleSpinBox):
    """A number with as many decimals as it needs, or a whole one.

    Its range limits what can be typed; a script may set any number, which widens the range. One
    step below the lowest number the box is empty, if it has a text for that.
    """

    def __init__(self, low: float = 0, high: float = 1e6, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_whole, self._start = False, 0.0
        self.setDecimals(12)  # scores may be small
        self.setRange(low, high)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def offer(
        self, between: tuple[float, float], step: float | None, *, whole: int | None, empty: str
    ) -> None:
        """Take a range and a step; `whole` is where an empty box starts to count."""
        self._is_whole, self._start = whole is not None, whole or 0
        self.setDecimals(0 if self._is_whole else 12)
        self.setRange(between[0] - bool(empty), between[1])
        self.setSpecialValueText(empty)
        if self._is_whole or step is not None:
            self.setStepType(QDoubleSpinBox.StepType.DefaultStepType)
            self.setSingleStep(step or 1)

    def number(self) -> float | None:
        """Give the number; none where the box is empty."""
        if self.specialValueText() and self.value() == self.minimum():
            return None
        return round(self.value()) if self._is_whole else self.value()

    def set_number(self, number: float | None) -> None:
        """Show a number; none empties the box."""
        if number is not None:
            self.setMaximum(max(self.maximum(), number))
        self.setValue(self.minimum() if number is None else number)

    def stepBy(self, steps: int) -> None:
        """Step by a tenth of the number's size, from 0 by 0.1, from an empty box by its default."""
        is_adaptive = self.stepType() == self.StepType.AdaptiveDecimalStepType
        if self.number() is None:
            self.setValue(max(self._start + steps, self.minimum() + 1))
        elif is_adaptive and self.value() == 0:
            self.setValue(0.1 * steps)
        else:
            super().stepBy(steps)

    def textFromValue(self, value: float) -> str:
        """Write a number without trailing zeros."""
        return f"{value:.0f}" if self._is_whole else f"{value:.6g}"


class _Box(QBaseValueWidget):
    """A `NumberBox` as magicgui takes it."""

    def __init__(self, parent: QWidget | None = None, **offered: Any) -> None:
        super().__init__(NumberBox, "number", "set_number", "valueChanged", parent=parent)
        self._qwidget.offer(**offered)  # type: ignore[attr-defined]


class NumberEdit(ValueWidget[Any]):
    """A number in a `NumberBox`; whole or not, by its annotation."""

    def __init__(
        self,
        value: Any = Undefined,
        *,
        hint: Hint = Hint(),
        annotation: Any = float,
        nullable: bool = False,
        **more: Any,
    ) -> None:
        is_whole = _bare(annotation) is int
        offered = {
            "between": hint.between or (WHOLE if is_whole else DECIMAL),
            "step": hint.step,
            "whole": (0 if value in (None, Undefined) else value) if is_whole else None,
            "empty": hint.empty,
        }
        super().__init__(
            None if hint.empty else value,
            nullable=bool(hint.empty),
            widget_type=_Box,
            annotation=annotation,
            backend_kwargs=offered,
            **more,
        )


class NumbersEdit(LineEdit):
    """Numbers with commas between them: a tuple or a single one, by its annotation."""

    def __init__(
        self, value: Any = Undefined, *, hint: Hint, annotation: Any, nullable: bool, **more: Any
    ) -> None:
        word, *others = get_args(annotation) or (annotation,)
        self._word: type = word
        self._is_single = not get_args(annotation)
        self._size = 0 if Ellipsis in others else 1 + len(others)  # 0 for as many as are typed
        self._hint = hint
        value = None if hint.empty else value
        super().__init__(value=value, annotation=annotation, nullable=bool(hint.empty), **more)
        self.native.setPlaceholderText(hint.empty)

    def get_value(self) -> Any:
        """Read the text; None where it is empty.

        Raises
        ------
        ValueError
            If it cannot be read; the message names the field.
        """
        text = super().get_value()
        words = text.replace(",", " ").split()
        if not words and self._hint.empty:
            return None
        try:
            values = tuple(self._word(word) for word in words)
        except ValueError:
            values = ()
        if len(values) != (self._size or len(words)):
            raise ValueError(f"{self._hint.label}: got {text!r}; write {self._example()}")
        return values[0] if self._is_single else values

    def set_value(self, value: Any) -> None:
        """Show a value."""
        super().set_value("" if value is None else as_text(value))

    def _example(self) -> str:
        kind = "whole number" if self._word is int else "number"
        if self._is_single:
            return f"a {kind}, as in {self._word(2)}"
        many = f"{self._size} {kind}s" if self._size else f"{kind}s"
        return f"{many}, as in {'2, 3' if self._word is int else '0.5, 1'}"


class OptionalNumber(Container[Any]):
    """A number with a check box; none where the box is not checked."""

    def __init__(self, value: float | None, *, hint: Hint, **more: Any) -> None:
        own = replace(hint, empty="")
        first = hint.start if value is None else value
        self.check = CheckBox(text=hint.text, value=value is not None, tooltip=hint.tip)
        self.number = NumberEdit(
            first, hint=own, annotation=float, nullable=False, tooltip=hint.tip
        )
        parts = [self.check, self.number]
        super().__init__(widgets=parts, layout="horizontal", labels=False, **more)
        self.margins = (0, 0, 0, 0)
        self.check.changed.connect(self._enable)
        self._enable(self.check.value)

    @property
    def value(self) -> float | None:
        """The number, or none."""
        return float(self.number.value) if self.check.value else None

    @value.setter
    def value(self, value: float | None) -> None:
        self.check.value = value is not None
        if value is not None:
            self.number.value = value

    def _enable(self, is_on: bool) -> None:
        self.number.enabled = is_on


class WordsEdit(Container[Any]):
    """A row of check boxes, one a word; its value is the tuple of checked words."""

    def __init__(self, value: Sequence[str], *, words: Sequence[str], **more: Any) -> None:
        boxes = [CheckBox(text=word, value=word in value) for word in words]
        super().__init__(widgets=boxes, layout="horizontal", labels=False, **more)
        self.margins = (0, 0, 0, 0)

    @property
    def value(self) -> tuple[str, ...]:
        """The words that are checked."""
        return tuple(box.text for box in self if box.value)

    @value.setter
    def value(self, words: Sequence[str]) -> None:
        for box in self:
            box.value = box.text in words


class Field(Protocol):
    """What a form shows of a field: a magicgui widget, or a `ChoiceForm`."""

    value: Any
    changed: Any


TYPES = TypeMap(
    simple_types={bool: CheckBox, int: NumberEdit, float: NumberEdit, tuple: NumbersEdit}
)


def field_widget(name: str, kind: Any, default: Any, hint: Hint | None = None) -> Any:
    """Make the widget of a field.

    Parameters
    ----------
    name
        Of the field.
    kind
        Its type: bool, int, float, a tuple of numbers, a Literal; all of them also ``| None``; or a
        tuple of Literals.
    default
        What the widget shows at first; one with a text for it begins empty.
    hint
        What the type does not say.

    Returns
    -------
    Widget or None
        A widget of magicgui. Its ``value`` is that of the field, none where it is empty. Nothing
        for other types, and for those that leave no choice.
    """
    hint = hint or Hint()
    kind, may_be_none = _without_none(kind)
    parts = get_args(kind)
    if get_origin(kind) is tuple and get_origin(parts[0]) is Literal:
        return WordsEdit(default, words=get_args(parts[0]), name=name, tooltip=hint.tip)
    is_choice = bool(hint.choices) or (get_origin(kind) is Literal and len(parts) > 1)
    is_number = kind in (int, float) or (get_origin(kind) is tuple and parts[0] in (int, float))
    if not (is_choice or is_number or kind is bool):
        return None
    options: dict[str, Any] = {"tooltip": hint.tip}
    if hint.choices:
        options |= {"choices": list(hint.choices), "nullable": False, "widget_type": ComboBox}
    elif is_number:
        empty = hint.empty or ("none" if may_be_none else "")
        options["hint"] = replace(hint, label=hint.label or name, empty=empty)
        if may_be_none and hint.start is not None:
            return OptionalNumber(default, name=name, **options)
        if kind is float and empty:  # a box could not show the smallest numbers
            options["widget_type"] = NumbersEdit
    widget = TYPES.create_widget(default, kind, name=name, options=options)
    if isinstance(widget, CheckBox):
        widget.text = hint.text  # its label stands before it
    return widget


def controls_of(function: Callable[..., Any], hints: Mapping[str, Hint]) -> dict[str, Any]:
    """Make the widgets of a function's settings: its defaults, and the tips of its docstring.

    Parameters
    ----------
    function
        With annotations, and a numpy docstring.
    hints
        The parameters that get a widget, in their order.

    Returns
    -------
    dict
        As from `field_widget`, by the names of the parameters.
    """
    kinds, parameters = get_type_hints(function), inspect.signature(function).parameters
    doc = (inspect.getdoc(function) or "").partition("Parameters\n----------\n")[2]
    found = re.findall(r"^(\w+)\n((?:    .*\n?)+)", doc.partition("\n\n")[0], re.MULTILINE)
    tips = {name: " ".join(text.split()) for name, text in found}
    return {
        name: field_widget(
            name,
            kinds[name],
            parameters[name].default,
            replace(hint, tip=hint.tip or tips.get(name, "")),
        )
        for name, hint in hints.items()
    }


def as_text(value: Any) -> str:
    """Write a number, or several with commas between them."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class FieldsForm(QWidget):
    """The fields of a dataclass, a row each; a field without a widget keeps its value.

    Attributes
    ----------
    widgets
        By the name of the field.
    """

    changed = Signal()

    def __init__(
        self, base: Any, hints: Mapping[str, Hint] | None = None, names: Sequence[str] = ()
    ) -> None:
        """Show an instance; `names` are the fields in order, all of them when none are given."""
        super().__init__()
        self._base = base
        self.widgets: dict[str, Field] = {}
        self.rows = new_form(self)
        kinds = get_type_hints(type(base), include_extras=True)
        hints = {each.name: _hint_of(each, kinds[each.name], hints or {}) for each in fields(base)}
        for name in names or hints:
            self._add(name, kinds[name], hints[name])

    @property
    def values(self) -> dict[str, Any]:
        """Values of the widgets, by name.

        Raises
        ------
        ValueError
            If a number cannot be read; the message says which.
        """
        return {name: widget.value for name, widget in self.widgets.items()}

    @property
    def value(self) -> Any:
        """The dataclass as set; a ValueError names a field that does not fit."""
        return replace(self._base, **self.values)

    @value.setter
    def value(self, value: Any) -> None:
        self._base = value
        for name, widget in self.widgets.items():
            widget.value = getattr(value, name)

    def _add(self, name: str, kind: Any, hint: Hint) -> None:
        kind = _bare(kind)
        hint = replace(hint, label=hint.label or name.replace("_", " "))
        default = getattr(self._base, name)
        if any(is_dataclass(each) for each in get_args(kind)):
            choice = ChoiceForm(hint.label, kinds_of(kind))
            choice.value = default
            self.rows.addRow(choice)
            self.widgets[name] = choice
        else:
            widget = field_widget(name, kind, default, hint)
            if widget is None:
                return
            add_row(self.rows, hint.label, widget.native)
            self.widgets[name] = widget
        self.widgets[name].changed.connect(self._on_changed)

    def _on_changed(self, _: object = None) -> None:
        self.changed.emit()


class ChoiceForm(QWidget):
    """One of some dataclasses, or none where that is among the kinds.

    Attributes
    ----------
    kind
        Which one.
    forms
        The fields of each, in the order of the kinds; nothing for none.
    """

    changed = Signal()

    def __init__(self, label: str, kinds: Sequence[type | None]) -> None:
        super().__init__()
        self._kinds = list(kinds)
        self.kind = QComboBox(self)
        self.forms = [None if kind is None else FieldsForm(kind()) for kind in kinds]
        self._rows = new_form(self)
        add_row(self._rows, label, self.kind)
        for kind, form in zip(kinds, self.forms, strict=True):
            self.kind.addItem(label_of(kind))
            if form is not None:
                self._rows.addRow(form)
                form.changed.connect(self.changed)
        self.refuse({})
        self.kind.currentIndexChanged.connect(self._on_kind)
        self._on_kind(0)

    @property
    def value(self) -> Any:
        """The chosen settings; as `FieldsForm.value`."""
        form = self.forms[self.kind.currentIndex()]
        return None if form is None else form.value

    @value.setter
    def value(self, value: Any) -> None:
        index = self._kinds.index(None if value is None else type(value))
        form = self.forms[index]
        if form is not None:
            form.value = value
        self.kind.setCurrentIndex(index)

    def refuse(self, obstacles: Mapping[type, str]) -> None:
        """Disable the kinds that cannot be chosen; the tip of each says why."""
        model = self.kind.model()
        for row, kind in enumerate(self._kinds):
            why = "" if kind is None else obstacles.get(kind, "")
            about = (kind.__doc__ or "").partition("\n")[0] if kind else "The scores as they are"
            self.kind.setItemData(row, why or about, Qt.ItemDataRole.ToolTipRole)
            item = model.item(row)  # type: ignore[union-attr]
            item.setEnabled(not why)

    def _on_kind(self, chosen: int) -> None:
        for index, form in enumerate(self.forms):
            if form is not None:
                form.setVisible(index == chosen and bool(form.widgets))
        self.changed.emit()


def kinds_of(union: Any) -> list[type | None]:
    """List the dataclasses of a union, none first where it is one of them."""
    kinds = [None if kind is NoneType else kind for kind in get_args(union)]
    return sorted(kinds, key=lambda kind: kind is not None)


def label_of(kind: type | None) -> str:
    """Text of a kind of settings."""
    name = "none" if kind is None else kind.__name__
    words = re.sub(r"(?<!^)([A-Z])", r" \1", name).lower()
    return LABELS.get(name, words)


def _hint_of(of: Any, kind: Any, hints: Mapping[str, Hint]) -> Hint:
    """Hint of a field: of the table, of its annotation, or of its metadata."""
    if of.name in hints:
        return hints[of.name]
    said = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((each for each in said if isinstance(each, Hint)), Hint(**of.metadata))


def _bare(kind: Any) -> Any:
    """Type without its annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _without_none(kind: Any) -> tuple[Any, bool]:
    """Type of a field without ``| None``, and whether it had that."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    first, *_ = [each for each in get_args(kind) if each is not NoneType]
    return first, NoneType in get_args(kind)
