from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.methods.table import TABLE

pytestmark = pytest.mark.viewer

NAME = "Reconstruct (SDM)"
Open = Callable[..., Any]


def finish(qtbot: Any, widget: Any) -> None:
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        widget.step.button.click()


def test_the_options_are_those_of_the_model_s_method(
    open_widget: Open, doors: Any, header_of: Callable[..., Path]
) -> None:
    _, widget = open_widget(NAME)
    for method in (*TABLE, *reversed(TABLE)):
        widget.model.value = str(header_of(method))

        assert list(widget["options"].native.widgets) == [
            option.name for option in fields(TABLE[method].options)
        ]
        assert widget["options"].value == TABLE[method].recipes["default"].options


def test_a_model_of_another_method_reconstructs(
    open_widget: Open, tiny_cddpm_model: Path, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="scan"))
    widget.model.value = str(tiny_cddpm_model)
    widget["options"].native.widgets["draws"].value = 2
    finish(qtbot, widget)

    assert widget.step.error == ""
    assert [layer.name for layer in viewer.layers] == ["scan", "scan healthy"]
    provenance = viewer.layers["scan healthy"].metadata["followup"]["provenance"]
    assert provenance["method"] == "cddpm"
    assert dict(provenance["options"])["draws"] == 2


def test_a_method_without_healthy_images_is_refused_before_a_run(
    open_widget: Open, doors: Any, header_of: Callable[..., Path], series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, Image(series, name="scan"))
    widget.model.value = str(header_of("andi"))
    finish(qtbot, widget)

    assert "ANDi gives no healthy images, but a score of its own" in widget.step.error
    assert not doors.loaded
    widget.model.value = str(header_of("anofpdm"))
    finish(qtbot, widget)
    assert widget.step.error == ""


def test_numbers_that_cannot_be_read_are_said(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, Image(series, name="scan"))
    widget["options"].native.widgets["noise_levels"].native.setText("high")
    finish(qtbot, widget)

    assert "noise levels: got 'high'; write whole numbers" in widget.step.error
    assert not doors.calls
