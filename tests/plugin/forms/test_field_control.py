from __future__ import annotations

from typing import Any, Literal

import pytest

from napari_followup.plugin.forms.field_control import Choice, Count, Line, Number, control_of

pytestmark = pytest.mark.viewer


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
    control = control_of(kind, default)
    assert control is not None
    qtbot.addWidget(control)
    assert control.setting == default

    for value in values:
        control.setting = value
        assert control.setting == value
        assert type(control.setting) is type(value)


@pytest.mark.parametrize("kind", [str, Literal["patient"], dict[str, int], str | None])
def test_what_leaves_no_choice_has_no_control(qtbot: Any, kind: Any) -> None:
    assert control_of(kind, "x") is None


@pytest.mark.parametrize(
    ("kind", "default"), [(int, 100), (float, 0.5), (tuple[int, ...], (250,)), (int | None, None)]
)
def test_a_control_that_may_be_empty_begins_empty_and_says_what_that_means(
    qtbot: Any, kind: Any, default: Any
) -> None:
    control = control_of(kind, default, empty="as usual")
    assert isinstance(control, Count | Line)
    qtbot.addWidget(control)

    assert control.setting is None
    said = control.text() if isinstance(control, Count) else control.placeholderText()
    assert said == "as usual"
    control.setting = default or 3
    assert control.setting == (default or 3)
    control.setting = None
    assert control.setting is None


def test_a_box_that_is_empty_counts_on_from_its_default(qtbot: Any) -> None:
    box = control_of(int, 100, empty="100 (default)", between=(1, 1000))
    assert isinstance(box, Count)
    qtbot.addWidget(box)
    box.stepUp()
    assert box.setting == 101
    box.stepUp()
    assert box.setting == 102

    box.setting = None
    box.stepDown()
    assert box.setting == 99
    one = Count(1, 9, 1, "1 (default)")
    qtbot.addWidget(one)
    one.setting = None
    one.stepDown()
    assert one.setting == 1


def test_a_box_without_an_empty_state_reaches_its_lowest_number(qtbot: Any) -> None:
    box = Count(0, 5)
    qtbot.addWidget(box)
    box.setting = 0

    assert box.setting == 0


@pytest.mark.parametrize("empty", ["", "1 (default)"])
def test_a_number_beyond_the_range_widens_it(qtbot: Any, empty: str) -> None:
    box = control_of(int, 1, empty=empty, between=(1, 15))
    assert isinstance(box, Count)
    qtbot.addWidget(box)
    box.setting = 21

    assert (box.setting, box.maximum()) == (21, 21)
    box.setting = 3
    assert (box.setting, box.maximum()) == (3, 21)
    box.setting = None if empty else 1
    assert box.setting == (None if empty else 1)


def test_a_number_with_decimals_widens_its_range_too(qtbot: Any) -> None:
    box = Number(0, 9)
    qtbot.addWidget(box)
    box.setting = 12.5

    assert box.setting == 12.5


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
    line = control_of(kind, None, label="levels", empty="none")
    assert isinstance(line, Line)
    qtbot.addWidget(line)
    line.setText(typed)

    with pytest.raises(ValueError, match=said):
        _ = line.setting


@pytest.mark.parametrize("kind", [bool, Literal["one", "two"]])
def test_none_puts_a_choice_back_to_its_default(qtbot: Any, kind: Any) -> None:
    default = True if kind is bool else "two"
    control = control_of(kind, default)
    assert control is not None
    qtbot.addWidget(control)
    control.setting = False if kind is bool else "one"
    assert control.setting != default
    control.setting = None

    assert control.setting == default


def test_every_control_tells_of_a_change(qtbot: Any) -> None:
    heard: list[int] = []
    for control, change in (
        (Count(0, 9), lambda box: box.setValue(3)),
        (Number(0, 9), lambda box: box.setValue(3)),
        (Choice(["a", "b"], "a"), lambda box: box.setCurrentText("b")),
        (control_of(bool, False), lambda box: box.click()),
        (Line("line", int), lambda box: box.editingFinished.emit()),
    ):
        assert control is not None
        qtbot.addWidget(control)
        control.edited.connect(lambda *_: heard.append(1))
        change(control)

    assert len(heard) == 5


def test_a_number_steps_from_nothing_by_what_can_be_seen(qtbot: Any) -> None:
    box = Number(-1, 1000)
    qtbot.addWidget(box)

    found = []
    for start, steps in ((0.0, 1), (0.0, -2), (2.0, 1), (50.0, -1)):
        box.setting = start
        box.stepBy(steps)
        found.append(box.setting)

    assert found == pytest.approx([0.1, -0.2, 2.1, 49.0])
