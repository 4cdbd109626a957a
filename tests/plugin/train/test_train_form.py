from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from napari_followup.methods.table import TABLE
from napari_followup.plugin.train.train_form import AugmentForm, TrainForm
from napari_followup.training.plan import Augmentation, TrainingPlan

pytestmark = pytest.mark.viewer


@pytest.fixture
def form(qtbot: Any) -> TrainForm:
    form = TrainForm()
    qtbot.addWidget(form)
    return form


def test_it_starts_with_half_an_hour_and_else_the_defaults_of_the_plan(form: TrainForm) -> None:
    choice = form.choice

    assert choice.plan == TrainingPlan(minutes=30, checkpoint_every=100)
    assert (choice.method, choice.preset, choice.image_size) == ("sdm", "compact", None)
    assert choice.name == "sdm"


def test_every_method_has_its_text_and_presets(form: TrainForm) -> None:
    assert form.method.count() == len(TABLE)
    for name, about in TABLE.items():
        form.method.setCurrentIndex(form.method.findData(name))

        assert form.method_name == name
        assert form.text.text() == about.text
        presets = [form.preset.itemText(n) for n in range(form.preset.count())]
        assert presets == list(about.presets)


def test_fields_of_one_method_are_not_kept_for_another(form: TrainForm) -> None:
    form.fields.setText("channels=8,16")
    form.method.setCurrentIndex(1)

    assert form.choice.fields == ""


def test_steps_take_the_place_of_minutes(form: TrainForm) -> None:
    form.unit.setCurrentText("steps")
    form.steps.value = 70

    assert (form.choice.plan.steps, form.choice.plan.minutes) == (70, None)
    assert form.minutes.native.isHidden()


@pytest.mark.parametrize(
    "plan",
    [
        TrainingPlan(minutes=7.5, batch=8, held_out=0.25, seed=9),
        TrainingPlan(
            steps=40,
            learning_rate=2.5e-5,
            precision="bf16",
            checkpoint_every=7,
            augmentation=Augmentation(flip=("y", "x"), rotation=4, bias=0.25),
        ),
    ],
)
def test_noted_settings_are_taken_over(form: TrainForm, plan: TrainingPlan) -> None:
    noted = {
        "method": "anoddpm",
        "preset": "thesis",
        "config": {"image_size": [48, 64], "modalities": 2, "channels": [8, 16]},
        "plan": json.loads(json.dumps(asdict(plan))),
    }
    form.take(noted)
    choice = form.choice

    assert choice.plan == plan
    assert (choice.method, choice.preset, choice.image_size) == ("anoddpm", "thesis", (48, 64))
    assert choice.fields == "channels=[8, 16]"


def test_changes_are_told(form: TrainForm, qtbot: Any) -> None:
    for change in (
        lambda: setattr(form.plan.widgets["batch"], "value", 3),
        lambda: setattr(form.minutes, "value", 2),
        lambda: form.varied.flips["x"].setChecked(True),
        lambda: form.preset.setCurrentIndex(1),
    ):
        with qtbot.waitSignal(form.changed, timeout=1000):
            change()


@pytest.fixture
def varied(qtbot: Any) -> Any:
    made = AugmentForm()
    qtbot.addWidget(made)
    return made


def test_one_choice_sets_all_numbers(varied: Any) -> None:
    assert varied.value == Augmentation()

    varied.images.setCurrentText("varied a little")
    assert varied.value == Augmentation.usual()

    varied.images.setCurrentText("as they are")
    assert varied.value == Augmentation()


def test_a_number_of_ones_own_shows_in_the_choice(varied: Any) -> None:
    varied.images.setCurrentText("varied a little")
    varied.flips["x"].setChecked(True)

    assert varied.images.currentText() == "varied as set below"
    assert varied.value.flip == ("x",)
    assert varied.value.rotation == Augmentation.usual().rotation

    varied.images.setCurrentText("as they are")
    assert not varied.flips["x"].isChecked()


def test_settings_of_an_earlier_training_are_shown(varied: Any) -> None:
    told: list[None] = []
    varied.changed.connect(lambda: told.append(None))

    varied.take(asdict(Augmentation(flip=("y",), shift=0.1)))

    assert varied.value == Augmentation(flip=("y",), shift=0.1)
    assert varied.images.currentText() == "varied as set below"
    assert told
