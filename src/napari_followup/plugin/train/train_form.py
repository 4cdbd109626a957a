"""The settings of *Train a model* as a form: model, length, and everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QLineEdit, QWidget
from superqt import QCollapsible

from napari_followup.methods.table import TABLE
from napari_followup.plugin.forms.fields import FieldsForm, Hint, field_widget
from napari_followup.plugin.forms.forms import add_row, column_of, new_form
from napari_followup.plugin.train.train_actions import TrainChoice

if TYPE_CHECKING:
    from napari_followup.training.plan import Augmentation

__all__ = ["TrainForm"]

FIRST = ("sdm", "tdm")  # methods at the top of the list
MINUTES, STEPS = "minutes", "steps"
PLAN = {  # fields of `TrainingPlan`
    "batch": Hint(between=(1, 4096), tip="Images of one step of the optimiser"),
    "learning_rate": Hint(
        between=(1e-6, 1.0),
        tip="The highest rate: it rises over 200 batches and falls towards the end",
    ),
    "held_out": Hint(between=(0.0, 0.9), tip="Share of subjects for validation; one at least"),
    "checkpoint_every": Hint(
        label="validate every",
        between=(1, 1_000_000),
        tip="Batches between two validations, each with an example",
    ),
    "seed": Hint(
        between=(0, 2**31 - 1),
        tip="Source of all randomness: held-out subjects, noise, first weights",
    ),
    "precision": Hint(
        choices=[("float32", "float32"), ("bf16", "bf16")], tip="bf16 is faster on recent GPUs"
    ),
}
AMOUNTS = {  # fields of `Augmentation`
    "rotation": Hint(between=(0, 180), tip="Degrees in the plane at most, either way"),
    "scale": Hint(between=(0, 0.9), tip="Share of the size at most, smaller or larger"),
    "shift": Hint(between=(0, 0.5), tip="Share of the plane's side at most, in any direction"),
    "intensity": Hint(between=(0, 0.9), tip="Share of the value range: offset, and gain about 1"),
    "bias": Hint(
        between=(0, 2), tip="Strength of a smooth field that brightens one side, as of a coil"
    ),
}
AS_THEY_ARE, A_LITTLE, AS_SET = "as they are", "varied a little", "varied as set below"
VARIED = (
    "A little: rotated, scaled, shifted, brightened and shaded a little, as head scans differ. It "
    "helps if subjects are few or scanners differ. Mirror images are set below"
)
ABOUT = {  # fields of the card
    "text": ("data", "A line on the origin of the data"),
    "author": ("author", "Who trains it"),
    "licence": ("licence", "Of the model, such as CC-BY-4.0"),
    "data_licence": ("data licence", "Of the images it learns from"),
}


class TrainForm(QWidget):
    """Method, preset, length and name; the rest under *advanced*.

    Attributes
    ----------
    minutes, steps, image_size, plan, varied
        Made by magicgui: ``minutes.value``, ``plan.widgets["batch"].value``.
    """

    changed = Signal()

    def __init__(self) -> None:
        from napari_followup.training.plan import TrainingPlan

        super().__init__()
        self.method, self.preset, self.text = QComboBox(), QComboBox(), QLabel()
        self.unit, self.device, self.name = QComboBox(), QComboBox(), QLineEdit()
        self.minutes = field_widget("minutes", float, 30.0, Hint(between=(0.05, 100_000)))
        self.steps = field_widget("steps", int, 5000, Hint(between=(1, 10_000_000), tip="Batches"))
        self.image_size = field_widget(
            "image size",
            tuple[int, int],
            None,
            Hint(empty="auto", tip="Rows and columns that planes are resampled to, as in 64, 64"),
        )
        start = TrainingPlan(minutes=30.0, checkpoint_every=100)
        self.plan, self.varied = FieldsForm(start, PLAN, tuple(PLAN)), AugmentForm()
        self.about = {name: QLineEdit() for name in ABOUT}
        self.fields = QLineEdit()
        self.advanced = QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
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
        by_steps = self.unit.currentText() == STEPS
        plan = replace(
            self.plan.value,
            steps=self.steps.value if by_steps else None,
            minutes=None if by_steps else self.minutes.value,
            augmentation=self.varied.value,
        )
        about = {name: line.text().strip() for name, line in self.about.items()}
        return TrainChoice(
            plan=plan,
            method=self.method_name,
            preset=self.preset.currentText(),
            image_size=self.image_size.value,
            fields=self.fields.text().strip(),
            device=self.device.currentText(),
            about={"name": self.name.text().strip(), **about},
        )

    def take(self, noted: Mapping[str, Any]) -> None:
        """Show the settings of a training, as noted in its folder."""
        self.method.setCurrentIndex(self.method.findData(noted["method"]))
        self.preset.setCurrentText(noted["preset"])
        config = dict(noted.get("config", {}))
        size = config.pop("image_size", None)
        self.image_size.value = None if size is None else tuple(size)
        config.pop("modalities", None)  # follows the series
        self.fields.setText("; ".join(f"{name}={value}" for name, value in config.items()))
        plan = noted["plan"]
        is_timed = plan.get("steps") is None
        self.unit.setCurrentText(MINUTES if is_timed else STEPS)
        length = self.minutes if is_timed else self.steps
        length.value = plan["minutes"] if is_timed else plan["steps"]
        for name, widget in self.plan.widgets.items():
            widget.value = plan.get(name, widget.value)
        self.varied.take(plan.get("augmentation", {}))

    def _on_method(self, _: object = None) -> None:
        about = TABLE[self.method_name]
        self.text.setText(about.text)
        self.preset.clear()
        self.preset.addItems(list(about.presets))
        self.fields.clear()  # those of another method
        self.name.setPlaceholderText(self.method_name)
        self.changed.emit()

    def _on_unit(self, _: object = None) -> None:
        by_steps = self.unit.currentText() == STEPS
        self.steps.native.setVisible(by_steps)
        self.minutes.native.setVisible(not by_steps)
        self.changed.emit()

    def _on_changed(self, _: object = None) -> None:
        self.changed.emit()

    def _connect(self) -> None:
        self.method.currentIndexChanged.connect(self._on_method)
        self.unit.currentIndexChanged.connect(self._on_unit)
        for widget in (self.minutes, self.steps, self.image_size):
            widget.changed.connect(self._on_changed)
        for combo in (self.preset, self.device):
            combo.currentIndexChanged.connect(self.changed)
        for form in (self.plan, self.varied):
            form.changed.connect(self.changed)
        for line in (self.name, self.fields):
            line.editingFinished.connect(self.changed)


class AugmentForm(QWidget):
    """How far images are varied; `images` is one choice for all numbers, shown elsewhere."""

    changed = Signal()

    def __init__(self) -> None:
        from napari_followup.training.plan import Augmentation

        super().__init__()
        self.images = QComboBox()
        self.images.addItems([AS_THEY_ARE, A_LITTLE, AS_SET])
        self.images.setToolTip(VARIED)
        self.flips = {axis: QCheckBox(f"along {axis}") for axis in ("y", "x")}
        self.amounts = FieldsForm(Augmentation(), AMOUNTS)
        note = QLabel("Vary images only as healthy subjects vary: variation is seen as normal.")
        note.setWordWrap(True)
        rows = new_form()
        add_row(rows, "mirror", _row(*self.flips.values()))
        column_of(self, note, rows, self.amounts)
        _no_margins(self)
        self.images.currentTextChanged.connect(self._on_images)
        self.amounts.changed.connect(self._on_number)
        for flip in self.flips.values():
            flip.toggled.connect(self._on_number)

    @property
    def value(self) -> Augmentation:
        """The augmentation as set."""
        flip = tuple(axis for axis, box in self.flips.items() if box.isChecked())
        augmentation: Augmentation = replace(self.amounts.value, flip=flip)
        return augmentation

    def take(self, values: Mapping[str, Any]) -> None:
        """Show the plain values of an augmentation; missing values are 0."""
        for axis, flip in self.flips.items():
            flip.setChecked(axis in values.get("flip", ()))
        for name, widget in self.amounts.widgets.items():
            widget.value = values.get(name, 0.0)

    def _on_images(self, chosen: str) -> None:
        from napari_followup.training.plan import Augmentation

        if chosen != AS_SET:
            wanted = Augmentation.usual() if chosen == A_LITTLE else Augmentation()
            self.take({name: getattr(wanted, name) for name in AMOUNTS})

    def _on_number(self, _: object = None) -> None:
        from napari_followup.training.plan import Augmentation

        named = {AS_THEY_ARE: Augmentation(), A_LITTLE: Augmentation.usual()}
        shown = next((name for name, each in named.items() if each == self.value), AS_SET)
        with QSignalBlocker(self.images):  # the numbers have changed, not the choice
            self.images.setCurrentText(shown)
        self.changed.emit()


def _set_defaults(form: TrainForm) -> None:
    for number, name in enumerate(dict.fromkeys((*FIRST, *TABLE))):
        form.method.addItem(TABLE[name].title, name)
        form.method.setItemData(number, TABLE[name].text, Qt.ItemDataRole.ToolTipRole)
    form.text.setWordWrap(True)
    form.preset.setToolTip("compact is small and quick; the others are as published")
    form.unit.addItems([MINUTES, STEPS])
    form.unit.setToolTip("Later phases of a method take a tenth of this each")
    form.device.addItems(["auto", "cpu", "cuda"])
    for name, (_, tip) in ABOUT.items():
        form.about[name].setPlaceholderText(tip)
    form.name.setToolTip("Name of the model; by default the method")
    form.fields.setPlaceholderText("channels=32,64,96; dropout=0.1")
    form.fields.setToolTip("Other fields of the preset: name=value, separated by semicolons")


def _lay_out(form: TrainForm) -> None:
    rows, inner = new_form(), QWidget()
    add_row(rows, "method", form.method)
    add_row(rows, "", form.text)
    add_row(rows, "preset", form.preset)
    add_row(rows, "train for", _row(form.minutes.native, form.steps.native, form.unit))
    add_row(rows, "images", form.varied.images)
    add_row(rows, "name", form.name)
    size, more = new_form(), new_form()
    add_row(size, "image size", form.image_size.native)
    add_row(more, "device", form.device)
    for name, (label, _) in ABOUT.items():
        add_row(more, label, form.about[name])
    add_row(more, "other fields", form.fields)
    column_of(inner, size, form.plan, form.varied, more)
    form.advanced.addWidget(inner)
    column_of(form, rows, form.advanced)
    for part in (form, inner):
        _no_margins(part)


def _no_margins(widget: QWidget) -> None:
    layout = widget.layout()
    assert layout is not None  # it has been laid out
    layout.setContentsMargins(0, 0, 0, 0)


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, stretch=1)
    return row
