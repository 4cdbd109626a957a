from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_followup.plugin.detect.recipe_form import kinds_of
from napari_followup.plugin.forms.choice_form import ChoiceForm, label_of
from napari_followup.plugin.forms.field_control import Choice
from napari_followup.recipe.recipe import (
    Fusion,
    HealthyHysteresis,
    Own,
    Pixel,
    Quantile,
    Score,
    Threshold,
)

pytestmark = pytest.mark.viewer

TIP = Qt.ItemDataRole.ToolTipRole


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
    control = form.controls[kinds_of(Threshold).index(Quantile)]["per"]
    assert isinstance(control, Choice)
    assert control.currentText() == "image"
    control.setCurrentText("patient")

    assert form.value == Quantile(q=0.9, per="patient")


def test_kinds_are_named_in_words() -> None:
    assert label_of(None) == "none"
    assert label_of(Pixel) == "pixel distance"
    assert label_of(HealthyHysteresis) == "healthy hysteresis"
