"""Which model, how long, and how: the settings of *Train a model*, as a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible

from napari_followup.plugin.forms.fields import NumberBox
from napari_followup.plugin.forms.forms import add_row, column_of, new_form
from napari_followup.plugin.models.train_methods import METHODS
from napari_followup.plugin.train.train_actions import TrainChoice

if TYPE_CHECKING:
    from napari_followup.training.plan import Augmentation

__all__ = [
    "AugmentForm",
    "TrainForm",
]

MINUTES, STEPS = "minutes", "steps"
ABOUT = {  # fields of the card
    "text": ("data", "A line on where the data come from"),
    "author": ("author", "Who trains it"),
    "licence": ("licence", "Of the model, such as CC-BY-4.0"),
    "data_licence": ("data licence", "Of the images it learns from"),
}


class TrainForm(QWidget):
    """Method, preset, length and name; below *advanced* everything else."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.method, self.preset, self.text = QComboBox(), QComboBox(), QLabel()
        self.minutes, self.steps, self.unit = NumberBox(0.05, 100_000), QSpinBox(), QComboBox()
        self.name = QLineEdit()
        self.height_box, self.width_box = QSpinBox(), QSpinBox()
        self.batch, self.every, self.seed = QSpinBox(), QSpinBox(), QSpinBox()
        self.rate, self.held_out = NumberBox(1e-6, 1.0), NumberBox(0.0, 0.9)
        self.device, self.precision = QComboBox(), QComboBox()
        self.varied = AugmentForm()
        self.about = {name: QLineEdit() for name in ABOUT}
        self.fields = QLineEdit()
        self.advanced = QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
        self.rows = new_form()
        _set_defaults(self)
        _lay_out(self)
        self._connect()
        self._on_method()
        self._on_unit()

    @property
    def method_name(self) -> str:
        """Name in the table of methods."""
        return str(self.method.currentData())

    @property
    def choice(self) -> TrainChoice:
        """What is chosen.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        from napari_followup.training.plan import TrainingPlan

        by_steps = self.unit.currentText() == STEPS
        plan = TrainingPlan(
            steps=self.steps.value() if by_steps else None,
            minutes=None if by_steps else self.minutes.value(),
            batch=self.batch.value(),
            learning_rate=self.rate.value(),
            held_out=self.held_out.value(),
            checkpoint_every=self.every.value(),
            precision=self.precision.currentText(),
            augmentation=self.varied.value,
            seed=self.seed.value(),
        )
        size = (self.height_box.value(), self.width_box.value())
        said = {name: line.text().strip() for name, line in self.about.items()}
        return TrainChoice(
            plan=plan,
            method=self.method_name,
            preset=self.preset.currentText(),
            image_size=size if all(size) else None,
            fields=self.fields.text().strip(),
            device=self.device.currentText(),
            about={"name": self.name.text().strip(), **said},
        )

    def take(self, noted: Mapping[str, Any]) -> None:
        """Show the settings that a training was begun with, as its folder notes them."""
        self.method.setCurrentIndex(self.method.findData(noted["method"]))
        self.preset.setCurrentText(noted["preset"])
        config = dict(noted.get("config", {}))
        for box, side in zip(
            (self.height_box, self.width_box), config.pop("image_size", (0, 0)), strict=True
        ):
            box.setValue(side)
        config.pop("modalities", None)  # follows the series
        self.fields.setText("; ".join(f"{name}={value}" for name, value in config.items()))
        self._take_plan(noted["plan"])

    def _take_plan(self, plan: Mapping[str, Any]) -> None:
        is_timed = plan.get("steps") is None
        self.unit.setCurrentText(MINUTES if is_timed else STEPS)
        (self.minutes if is_timed else self.steps).setValue(
            plan["minutes"] if is_timed else plan["steps"]
        )
        for box, name in (
            (self.batch, "batch"),
            (self.rate, "learning_rate"),
            (self.held_out, "held_out"),
            (self.every, "checkpoint_every"),
            (self.seed, "seed"),
        ):
            box.setValue(plan.get(name, box.value()))
        self.precision.setCurrentText(plan.get("precision", "float32"))
        self.varied.take(plan.get("augmentation", {}))

    def _on_method(self, _: object = None) -> None:
        about = METHODS[self.method_name]
        self.text.setText(about.text)
        self.preset.clear()
        self.preset.addItems(list(about.presets))
        self.fields.clear()  # those of another method
        self.name.setPlaceholderText(self.method_name)
        self.changed.emit()

    def _on_unit(self, _: object = None) -> None:
        by_steps = self.unit.currentText() == STEPS
        self.steps.setVisible(by_steps)
        self.minutes.setVisible(not by_steps)
        self.changed.emit()

    def _connect(self) -> None:
        self.method.currentIndexChanged.connect(self._on_method)
        self.unit.currentIndexChanged.connect(self._on_unit)
        for box in (self.steps, self.batch, self.every, self.seed, self.height_box, self.width_box):
            box.valueChanged.connect(self.changed)
        for number in (self.minutes, self.rate, self.held_out):
            number.valueChanged.connect(self.changed)
        for combo in (self.preset, self.device, self.precision):
            combo.currentIndexChanged.connect(self.changed)
        self.varied.changed.connect(self.changed)
        for line in (self.name, self.fields):
            line.editingFinished.connect(self.changed)


def _set_defaults(form: TrainForm) -> None:
    for name, about in METHODS.items():
        form.method.addItem(about.title, name)
        form.method.setItemData(form.method.count() - 1, about.text, Qt.ItemDataRole.ToolTipRole)
    form.text.setWordWrap(True)
    form.preset.setToolTip("compact is small and quick; the others are as published")
    form.unit.addItems([MINUTES, STEPS])
    form.unit.setToolTip("Further phases of a method take a tenth of this each")
    form.device.addItems(["auto", "cpu", "cuda"])
    form.precision.addItems(["float32", "bf16"])
    form.precision.setToolTip("bf16 is faster on recent GPUs")
    for name, (_, tip) in ABOUT.items():
        form.about[name].setPlaceholderText(tip)
    form.name.setToolTip("What the model is called; the method if nothing is given")
    form.fields.setPlaceholderText("channels=32,64,96; dropout=0.1")
    form.fields.setToolTip("Other fields of the preset, name=value, with semicolons between them")
    _set_numbers(form)


def _set_numbers(form: TrainForm) -> None:
    for box, low, high, value, tip in (
        (form.steps, 1, 10_000_000, 5000, "Batches"),
        (form.batch, 1, 4096, 32, "Images behind one step of the optimiser"),
        (form.every, 1, 1_000_000, 100, "Batches between two validations, each with an example"),
        (form.seed, 0, 2**31 - 1, 0, "Source of all chance: who is held out, noise, weights"),
        (form.height_box, 0, 1024, 0, "Rows that planes are resampled to"),
        (form.width_box, 0, 1024, 0, "Columns that planes are resampled to"),
    ):
        box.setRange(low, high)
        box.setValue(value)
        box.setToolTip(tip)
    for box in (form.height_box, form.width_box):
        box.setSingleStep(16)
        box.setSpecialValueText("auto")
    form.minutes.setValue(30)
    form.rate.setValue(1e-3)
    form.rate.setToolTip("At its height; it rises over 200 batches, and falls towards the end")
    form.held_out.setValue(0.1)
    form.held_out.setToolTip("Share of subjects kept aside to validate on; at least one is")


def _lay_out(form: TrainForm) -> None:
    add_row(form.rows, "method", form.method)
    add_row(form.rows, "", form.text)
    add_row(form.rows, "preset", form.preset)
    add_row(form.rows, "train for", _row(form.minutes, form.steps, form.unit))
    add_row(form.rows, "images", form.varied.images)
    add_row(form.rows, "name", form.name)
    inner = QWidget()
    more = new_form(inner)
    add_row(more, "image size (y, x)", _row(form.height_box, form.width_box))
    for name, box in (
        ("batch", form.batch),
        ("learning rate", form.rate),
        ("held out", form.held_out),
        ("validate every", form.every),
        ("seed", form.seed),
        ("device", form.device),
        ("precision", form.precision),
    ):
        add_row(more, name, box)
    more.addRow(form.varied)
    for name, (label, _) in ABOUT.items():
        add_row(more, label, form.about[name])
    add_row(more, "other fields", form.fields)
    form.advanced.addWidget(inner)
    column_of(form, form.rows, form.advanced)
    layout = form.layout()
    assert layout is not None
    layout.setContentsMargins(0, 0, 0, 0)


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, stretch=1)
    return row


AMOUNTS = {  # the most, and what it means
    "rotation": (180.0, "Degrees in the plane, at most, either way"),
    "scale": (0.9, "Share of the size, at most, smaller or larger"),
    "shift": (0.5, "Share of the plane's side, at most, any way"),
    "intensity": (0.9, "Share of the value range: offset, and gain about 1"),
    "bias": (2.0, "Strength of a smooth field that brightens one side, as coils do"),
}
AS_THEY_ARE, A_LITTLE, AS_SET = "as they are", "varied a little", "varied as set below"
TIP = (
    "A little: turned, scaled, shifted, brightened and shaded a little, as head scans differ. It "
    "helps where subjects are few or scanners differ; a mirror image is set below"
)


class AugmentForm(QWidget):
    """Numbers of an augmentation; `images` is a choice for all of them, to be shown elsewhere."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.images = QComboBox()
        self.images.addItems([AS_THEY_ARE, A_LITTLE, AS_SET])
        self.images.setToolTip(TIP)
        self.flips = {axis: QCheckBox(f"along {axis}") for axis in ("y", "x")}
        self.amounts = {name: NumberBox(0.0, most) for name, (most, _) in AMOUNTS.items()}
        _lay_out_varied(self)
        self.images.currentTextChanged.connect(self._on_images)
        for flip in self.flips.values():
            flip.toggled.connect(self._on_number)
        for amount in self.amounts.values():
            amount.valueChanged.connect(self._on_number)

    @property
    def value(self) -> Augmentation:
        """The augmentation as set."""
        from napari_followup.training.plan import Augmentation

        flip = tuple(axis for axis, box in self.flips.items() if box.isChecked())
        return Augmentation(flip=flip, **{n: box.value() for n, box in self.amounts.items()})

    def take(self, values: Mapping[str, Any]) -> None:
        """Show an augmentation, given as plain values; what is not named is 0."""
        for axis, flip in self.flips.items():
            flip.setChecked(axis in values.get("flip", ()))
        for name, amount in self.amounts.items():
            amount.setValue(values.get(name, 0.0))

    def _on_images(self, chosen: str) -> None:
        from napari_followup.training.plan import Augmentation

        if chosen == AS_SET:
            return
        wanted = Augmentation.usual() if chosen == A_LITTLE else Augmentation()
        self.take({name: getattr(wanted, name) for name in AMOUNTS})

    def _on_number(self, _: object = None) -> None:
        from napari_followup.training.plan import Augmentation

        named = {AS_THEY_ARE: Augmentation(), A_LITTLE: Augmentation.usual()}
        shown = next((name for name, each in named.items() if each == self.value), AS_SET)
        with QSignalBlocker(self.images):  # the numbers have changed, not the choice
            self.images.setCurrentText(shown)
        self.changed.emit()


def _lay_out_varied(form: AugmentForm) -> None:
    rows = new_form(form)
    note = QLabel("Vary images only as healthy subjects vary: what is varied is seen as normal.")
    note.setWordWrap(True)
    rows.addRow(note)
    mirror = QHBoxLayout()
    for flip in form.flips.values():
        mirror.addWidget(flip, stretch=1)
    add_row(rows, "mirror", mirror)
    for name, amount in form.amounts.items():
        amount.setToolTip(AMOUNTS[name][1])
        add_row(rows, name, amount)
