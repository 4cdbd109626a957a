from __future__ import annotations

from typing import Any

import pytest

from napari_followup.plugin.stack.stack_form import StackForm, parse_spacing
from napari_followup.plugin.stack.stack_rows import Options

pytestmark = pytest.mark.viewer


@pytest.fixture
def form(qtbot: Any) -> StackForm:
    form = StackForm()
    qtbot.addWidget(form)
    return form


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", None),
        ("6, 0.9, 0.8", (6.0, 0.9, 0.8)),
        ("6 × 0.9 × 0.8", (6.0, 0.9, 0.8)),
        ("0.9 0.8", (1.0, 0.9, 0.8)),
        ("2", (2.0, 2.0, 2.0)),
    ],
)
def test_spacing_is_read_as_people_write_it(text: str, sizes: Any) -> None:
    assert parse_spacing(text) == sizes


@pytest.mark.parametrize("text", ["big", "1, 2, 3, 4", "1, 0, 1", "1, inf, 1"])
def test_a_spacing_that_is_none_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=f"spacing: cannot read '{text}'"):
        parse_spacing(text)


def test_an_untouched_form_says_nothing(form: StackForm) -> None:
    assert form.options() == Options(name="stack")
    assert form.subject_combo.isHidden()
    assert form.axes_combo.isHidden()


def test_what_is_set_is_told(form: StackForm, qtbot: Any) -> None:
    form.name_edit.setText("anna")
    form.modality_edit.setText("FLAIR")
    form.spacing_edit.setText("3, 1, 1")
    form.unit_combo.setCurrentText("mm")
    form.birth_edit.setText("1960-01-31")
    with qtbot.waitSignal(form.changed):
        form.onto_first.setChecked(True)

    assert form.options() == Options(
        name="anna",
        modality="FLAIR",
        spacing=(3.0, 1.0, 1.0),
        unit="mm",
        birth="1960-01-31",
        onto_first=True,
    )


def test_subjects_and_axes_are_asked_for_where_there_is_doubt(form: StackForm, qtbot: Any) -> None:
    with qtbot.assertNotEmitted(form.subject_chosen), qtbot.assertNotEmitted(form.axes_chosen):
        form.show_subjects(["anna", "bob"], "bob", "bob")
        form.show_axes(["zyx", "vyx"], None)
    assert not form.subject_combo.isHidden()
    assert form.options().subject == form.options().name == "bob"
    with qtbot.waitSignal(form.subject_chosen) as told:
        form.subject_combo.setCurrentText("anna")
    assert told.args == ["anna"]
    with qtbot.waitSignal(form.axes_chosen) as told:
        form.axes_combo.setCurrentText("z, y, x: one visit")
    assert told.args == ["zyx"]
    form.show_subjects(["anna"], "", "anna")

    assert form.subject_combo.isHidden()
