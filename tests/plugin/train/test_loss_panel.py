from __future__ import annotations

from typing import Any

import pytest

from napari_followup.plugin.train.loss_panel import LossPanel

pytestmark = pytest.mark.viewer

FIRST, SECOND = [(1, 1.0), (2, 0.5)], [(1, 8.0)]


@pytest.fixture
def panel(qtbot: Any) -> LossPanel:
    panel = LossPanel()
    qtbot.addWidget(panel)
    return panel


def test_one_phase_needs_no_choice(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [(2, 0.6)])

    assert panel.plot.curves.losses == FIRST
    assert panel.plot.curves.validations == [(2, 0.6)]
    assert panel.stage.isHidden()


def test_a_phase_that_begins_is_shown_and_the_one_before_can_be_chosen(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [])
    panel.show_losses("features", SECOND, [])
    assert panel.plot.curves.losses == SECOND

    panel.stage.setCurrentIndex(0)
    assert panel.plot.curves.losses == FIRST
    panel.show_losses("features", [*SECOND, (2, 7.0)], [])
    assert panel.plot.curves.losses == FIRST  # the user's choice stays


def test_the_scale_stays_when_losses_come(panel: LossPanel) -> None:
    panel.log_box.setChecked(True)
    panel.show_losses("denoise", FIRST, [])

    assert panel.plot.curves.is_log


def test_another_run_begins_with_nothing(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [])
    panel.clear()

    assert panel.plot.curves.losses == ()
    assert panel.stage.count() == 0
