from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from napari_followup.training.plan import Augmentation

pytestmark = pytest.mark.viewer


@pytest.fixture
def form(qtbot: Any) -> Any:
    from napari_followup.plugin.train.augment_form import AugmentForm

    made = AugmentForm()
    qtbot.addWidget(made)
    return made


def test_one_choice_sets_all_numbers(form: Any) -> None:
    assert form.value == Augmentation()

    form.images.setCurrentText("varied a little")
    assert form.value == Augmentation.usual()

    form.images.setCurrentText("as they are")
    assert form.value == Augmentation()


def test_a_number_of_ones_own_shows_in_the_choice(form: Any) -> None:
    form.images.setCurrentText("varied a little")
    form.flips["x"].setChecked(True)

    assert form.images.currentText() == "varied as set below"
    assert form.value.flip == ("x",)
    assert form.value.rotation == Augmentation.usual().rotation

    form.images.setCurrentText("as they are")
    assert not form.flips["x"].isChecked()


def test_settings_of_an_earlier_training_are_shown(form: Any) -> None:
    told: list[None] = []
    form.changed.connect(lambda: told.append(None))

    form.take(asdict(Augmentation(flip=("y",), shift=0.1)))

    assert form.value == Augmentation(flip=("y",), shift=0.1)
    assert form.images.currentText() == "varied as set below"
    assert told
