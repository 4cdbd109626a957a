from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_followup.plugin.forms.fields import (
    ChoiceForm,
    FieldsForm,
    Hint,
    NumberBox,
    NumberEdit,
    NumbersEdit,
    field_widget,
    kinds_of,
    label_of,
)
from napari_followup.recipe.recipe import (
    Fam,
    Fusion,
    HealthyHysteresis,
    Lafm,
    Own,
    Pixel,
    Quantile,
    Score,
    Ssim,
    Threshold,
)

pytestmark = pytest.mark.viewer

TIP = Qt.ItemDataRole.ToolTipRole


def made(qtbot: Any, kind: Any, default: Any = None, name: str = "x", **hint: Any) -> Any:
    widget = field_widget(name, kind, default, Hint(**hint))
    assert widget is not None
    qtbot.addWidget(widget.native)
    return widget


@pytest.mark.parametrize(
    ("kind", "default", "values"),
    [
        (bool, True, [False, True]),
        (int, 3, [0, 1000]),
        (int | None, None, [None, 0, 7]),
        (float, 0.5, [0.0, 1e-5, 4096.0]),
        (float | None, None, [None, 1e-12, 0.25]),
        (tuple[int, ...], (1, 2), [(7,), (50, 100)]),
        (tuple[float, ...], (0.5,), [(1e-12, 2.0)]),
        (tuple[int, int] | None, None, [None, (32, 16)]),
        (tuple[float, float] | None, None, [None, (0.9, 0.98)]),
        (Literal["ddim", "ddpm"], "ddim", ["ddpm", "ddim"]),
    ],
)
def test_a_field_of_any_type_shows_its_default_and_gives_back_what_is_put_in(
    qtbot: Any, kind: Any, default: Any, values: list[Any]
) -> None:
    control = made(qtbot, kind, default)
    assert control.value == default

    for value in values:
        control.value = value
        assert control.value == value
        assert type(control.value) is type(value)


@pytest.mark.parametrize("kind", [str, Literal["patient"], dict[str, int], str | None])
def test_what_leaves_no_choice_has_no_widget(qtbot: Any, kind: Any) -> None:
    assert field_widget("x", kind, "x") is None


@pytest.mark.parametrize(
    ("kind", "default"), [(int, 100), (float, 0.5), (tuple[int, ...], (250,)), (int | None, None)]
)
def test_a_control_that_may_be_empty_begins_empty_and_says_what_that_means(
    qtbot: Any, kind: Any, default: Any
) -> None:
    control = made(qtbot, kind, default, empty="as usual")

    assert control.value is None
    box = control.native
    said = box.text() if isinstance(box, NumberBox) else box.placeholderText()
    assert said == "as usual"
    control.value = default or 3
    assert control.value == (default or 3)
    control.value = None
    assert control.value is None


def test_a_box_that_is_empty_counts_on_from_its_default(qtbot: Any) -> None:
    edit = made(qtbot, int, 100, empty="100 (default)", between=(1, 1000))
    edit.native.stepUp()
    assert edit.value == 101
    edit.native.stepUp()
    assert edit.value == 102

    edit.value = None
    edit.native.stepDown()
    assert edit.value == 99
    one = made(qtbot, int, 1, empty="1 (default)", between=(1, 9))
    one.native.stepDown()
    assert one.value == 1


def test_a_box_without_an_empty_state_reaches_its_lowest_number(qtbot: Any) -> None:
    edit = made(qtbot, int, 3, between=(0, 5))
    edit.value = 0

    assert edit.value == 0


@pytest.mark.parametrize("empty", ["", "1 (default)"])
def test_a_number_beyond_the_range_widens_it(qtbot: Any, empty: str) -> None:
    edit = made(qtbot, int, 1, empty=empty, between=(1, 15))
    edit.value = 21

    assert (edit.value, edit.native.maximum()) == (21, 21)
    edit.value = 3
    assert (edit.value, edit.native.maximum()) == (3, 21)
    edit.value = None if empty else 1
    assert edit.value == (None if empty else 1)


def test_a_number_with_decimals_widens_its_range_too(qtbot: Any) -> None:
    edit = made(qtbot, float, 1.0, between=(0, 9))
    edit.value = 12.5

    assert edit.value == 12.5


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [
        (tuple[int, ...], "250, high", r"levels: got '250, high'; write whole numbers, as in 2, 3"),
        (tuple[float, ...], "0.5 wide", r"levels: got '0\.5 wide'; write numbers, as in 0\.5, 1"),
        (tuple[int, int] | None, "32", "levels: got '32'; write 2 whole numbers, as in 2, 3"),
        (tuple[float, float] | None, "1, 2, 3", "write 2 numbers, as in"),
        (float | None, "much", r"levels: got 'much'; write a number, as in 2\.0"),
        (float | None, "1, 2", "levels: got '1, 2'; write a number"),
    ],
)
def test_numbers_that_cannot_be_read_are_refused(
    qtbot: Any, kind: Any, typed: str, said: str
) -> None:
    line = made(qtbot, kind, name="levels", empty="none")
    assert isinstance(line, NumbersEdit)
    line.native.setText(typed)

    with pytest.raises(ValueError, match=said):
        _ = line.value


def test_every_widget_reports_a_change(qtbot: Any) -> None:
    heard: list[int] = []
    for kind, default, change in (
        (int, 1, lambda box: box.setValue(3)),
        (float, 1.0, lambda box: box.setValue(3)),
        (Literal["a", "b"], "a", lambda box: box.setCurrentText("b")),
        (bool, False, lambda box: box.click()),
        (tuple[int, ...], (1,), lambda box: box.setText("2")),
    ):
        widget = made(qtbot, kind, default)
        widget.changed.connect(lambda *_: heard.append(1))
        change(widget.native)

    assert len(heard) == 5


def test_a_range_a_step_and_a_tip_come_from_the_hint(qtbot: Any) -> None:
    edit = made(qtbot, int, 3, between=(1, 15), step=2, tip="odd")
    edit.native.stepUp()

    assert isinstance(edit, NumberEdit)
    assert (edit.value, edit.tooltip, edit.native.maximum()) == (5, "odd", 15)


def test_a_number_steps_from_nothing_by_what_can_be_seen(qtbot: Any) -> None:
    box = NumberBox(-1, 1000)
    qtbot.addWidget(box)

    found = []
    for start, steps in ((0.0, 1), (0.0, -2), (2.0, 1), (50.0, -1)):
        box.set_number(start)
        box.stepBy(steps)
        found.append(box.number())

    assert found == pytest.approx([0.1, -0.2, 2.1, 49.0])


def enabled(form: ChoiceForm) -> list[str]:
    model: Any = form.kind.model()
    return [form.kind.itemText(n) for n in range(model.rowCount()) if model.item(n).isEnabled()]


def test_kinds_against_which_something_speaks_cannot_be_chosen_and_say_why(qtbot: Any) -> None:
    form = ChoiceForm("score", kinds_of(Score))
    qtbot.addWidget(form)
    form.refuse({kind: "no healthy image" for kind in kinds_of(Score) if kind not in (None, Own)})

    assert enabled(form) == ["the method's own"]
    row = form.kind.findText("pixel distance")
    assert form.kind.itemData(row, TIP) == "no healthy image"
    form.refuse({})
    assert len(enabled(form)) == len(kinds_of(Score))
    assert form.kind.itemData(row, TIP).startswith("Distance of grey values")


def test_no_kind_at_all_can_always_be_chosen(qtbot: Any) -> None:
    form = ChoiceForm("fusion", kinds_of(Fusion))
    qtbot.addWidget(form)
    form.refuse({kind: "no visits" for kind in kinds_of(Fusion) if kind})

    assert enabled(form) == ["none"]


def test_words_of_a_literal_are_chosen_from(qtbot: Any) -> None:
    form = ChoiceForm("threshold", kinds_of(Threshold))
    qtbot.addWidget(form)
    form.value = Quantile(q=0.9, per="image")
    control = form.forms[kinds_of(Threshold).index(Quantile)].widgets["per"]
    assert isinstance(control, ComboBox)
    assert control.current_choice == "image"
    control.value = "patient"

    assert form.value == Quantile(q=0.9, per="patient")


def test_kinds_are_named_in_words() -> None:
    assert label_of(None) == "none"
    assert label_of(Pixel) == "pixel distance"
    assert label_of(HealthyHysteresis) == "healthy hysteresis"


def test_lines_of_numbers_with_decimals_are_read_as_such(qtbot: Any) -> None:
    form = ChoiceForm("score", [Ssim, Fam])
    qtbot.addWidget(form)
    form.forms[0].widgets["sigmas"].native.setText("0.5, 2 3.25")
    assert form.value == Ssim(sigmas=(0.5, 2.0, 3.25))
    form.forms[0].widgets["sigmas"].native.setText("0.5, wide")

    with pytest.raises(ValueError, match=r"sigmas: got '0\.5, wide'; write numbers"):
        _ = form.value
    form.kind.setCurrentIndex(1)
    form.forms[1].widgets["levels"].native.setText("2, 2.5")
    with pytest.raises(ValueError, match=r"levels: got '2, 2\.5'; write whole numbers"):
        _ = form.value


def test_only_the_numbers_of_the_chosen_kind_are_shown(qtbot: Any) -> None:
    form = ChoiceForm("fusion", kinds_of(Fusion))
    qtbot.addWidget(form)
    lafm = kinds_of(Fusion).index(Lafm)
    assert form.forms[lafm].isHidden()
    form.kind.setCurrentIndex(lafm)

    assert form.value == Lafm()
    assert set(form.forms[lafm].widgets) == {"sigma", "beta", "gamma"}
    assert not form.forms[lafm].isHidden()


@dataclass(frozen=True, kw_only=True)
class New:
    """A kind that nobody has written yet."""

    speed: float = 0.25
    parts: tuple[int, ...] = (1, 2)
    is_on: bool = True
    count: int = 3
    name: str = "x"


def test_a_new_kind_needs_no_code(qtbot: Any) -> None:
    form = ChoiceForm("score", [Pixel, New])
    qtbot.addWidget(form)
    form.value = New(speed=0.5, parts=(7,), is_on=False, count=4, name="y")

    assert form.kind.currentText() == "new"
    assert form.value == New(speed=0.5, parts=(7,), is_on=False, count=4, name="y")
    form.forms[1].widgets["parts"].native.setText("1, two")
    with pytest.raises(ValueError, match="parts: got '1, two'"):
        _ = form.value


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings whose annotations say what a form needs."""

    width: Annotated[float, Hint(tip="In mm", between=(0.5, 20))] = 2.0
    is_fast: Annotated[bool, Hint(label="quick")] = False
    score: Score = field(default_factory=Pixel)
    note: str = "kept"


def test_annotations_say_what_a_form_shows(qtbot: Any) -> None:
    form = FieldsForm(Plan(note="mine"))
    qtbot.addWidget(form)
    heard: list[int] = []
    form.changed.connect(lambda: heard.append(1))
    width = form.widgets["width"]
    labels = [label.text() for label in form.rows.parentWidget().findChildren(QLabel)]

    assert (width.tooltip, width.native.minimum()) == ("In mm", 0.5)
    assert labels[:3] == ["width", "quick", "score"]
    width.value, form.widgets["is_fast"].value = 3.5, True
    form.widgets["score"].value = Fam(weight=2.0)
    assert form.value == Plan(width=3.5, is_fast=True, score=Fam(weight=2.0), note="mine")
    assert heard
    form.value = Plan()
    assert form.value == Plan()
