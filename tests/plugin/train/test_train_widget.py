from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QScrollArea

from napari_followup.plugin.train import train_actions
from napari_followup.series.results import Cancelled

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
NAME = "Train a model"
TINY = (
    "channels=8,16; attention=1; unshuffle=2; condition_features=16; code_features=16; "
    "encoder_width=8; encoder_grid=1; adaptation_levels=5,10; adaptation_steps=2"
)
CARD = {
    "sees": {
        "subjects": 1,
        "false_positives_percent": 0.25,
        "mdice_percent": {"darker_blob": 61.5, "patch": None},
    },
    "losses": {},
    "notes": [],
}


class Training:
    """Stands in for `training.train.train`: as many batches as asked, then a file."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.batches, self.error = 6, None
        self.gate = threading.Event()  # what the second batch waits for
        self.gate.set()
        self.ended = threading.Event()

    def __call__(self, method: str, stacks: Any, out: Path, plan: Any, **more: Any) -> Any:
        tell = more.pop("on_state")  # refers to the run, which shall be free to go
        self.asked.append({"method": method, "stacks": stacks, "out": out, "plan": plan, **more})
        try:
            return self._run(method, Path(out), tell)
        finally:
            self.ended.set()

    def _run(self, method: str, out: Path, tell: Callable[..., bool]) -> Any:
        tell(_state(batch=0, notes=("denoise: about 0.1 s a batch on this machine",)))
        for batch in range(1, self.batches + 1):
            example = SimpleNamespace(given=_images(batch), healthy=_images(0))
            shown = example if batch % 3 == 0 else None
            goes_on = tell(
                _state(batch=batch, loss=1 / batch, progress=batch / self.batches, example=shown)
            )
            while goes_on and not self.gate.wait(0.01):
                goes_on = tell(_state(batch=batch, loss=1 / batch, progress=0.1))
            if not goes_on:
                (out / "denoise").mkdir(parents=True)
                (out / "denoise" / "last.ckpt").write_bytes(b"")
                raise Cancelled("training was stopped")
        if self.error is not None:
            raise self.error
        out.mkdir(parents=True, exist_ok=True)
        (out / "made.safetensors").write_bytes(b"")
        return SimpleNamespace(name="made", method=method, card=CARD)


def _state(**values: Any) -> SimpleNamespace:
    usual = {"stage": "denoise", "loss": None, "validation_loss": None, "progress": 0.0}
    more = {"seconds_left": 60.0, "memory": 10**9, "example": None, "notes": ()}
    return SimpleNamespace(**{**usual, **more, **values})


def wait_for_threads() -> None:
    """A training's thread ends by collecting garbage, and no other thread can in that moment."""
    from qtpy.QtCore import QThreadPool

    assert QThreadPool.globalInstance().waitForDone(10_000)


def _images(value: float) -> np.ndarray:
    return np.full((2, 1, 8, 8), value, np.float32)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, models: Path) -> Iterator[Training]:
    fake, module = Training(), ModuleType("train")
    module.train = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_followup.training.train", module)
    yield fake
    fake.gate.set()


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def cohort(subjects: int = 3, size: int = 16, name: str = "cohort") -> Image:
    rows = np.linspace(0, 1, size, dtype=np.float32)
    noise = np.random.default_rng(0).random((subjects, 3, size, size), dtype=np.float32)
    return Image(rows[:, None] + 0.1 * noise, name=name, metadata={"followup": {"axes": "svyx"}})


def looked(qtbot: Any, widget: Any) -> Any:
    qtbot.waitUntil(lambda: widget.data.facts is not None, timeout=10_000)
    return widget.data.facts


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.finished, timeout=240_000):
        (start or widget.run)()


def test_a_click_trains_shows_the_losses_and_the_figures(
    open_widget: Open, training: Training, models: Path, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, cohort())
    assert looked(qtbot, widget).text.startswith("3 subjects (1 held out), 9 visits")
    finish(qtbot, widget, widget.button.click)

    assert widget.error == ""
    asked = training.asked[0]
    assert (asked["method"], asked["preset"], asked["plan"].minutes) == ("sdm", "compact", 30)
    assert asked["out"] == models.parent / "trainings" / "sdm"
    assert [stack.shape for stack in asked["stacks"]] == [(3, 1, 1, 16, 16)] * 3
    assert widget.losses.plot.curves.losses[-1] == (6, pytest.approx(1 / 6))
    assert "0.25 % of healthy pixels" in widget.result.text.text()
    assert "darker blob 61.5, patch not measured" in widget.result.text.text()
    assert [layer.name for layer in viewer.layers] == ["cohort", "given | healthy (training)"]
    assert viewer.layers[1].data.shape == (2, 8, 16)
    assert viewer.layers[1].data[0, 0, 0] == 6  # the newest example


def test_the_controls_reach_the_door(
    open_widget: Open, training: Training, qtbot: Any, tmp_path: Path
) -> None:
    _, widget = open_widget(NAME, cohort())
    form = widget.form
    form.method.setCurrentIndex(form.method.findData("vae3d"))
    form.preset.setCurrentText("published 2d")
    form.unit.setCurrentText("steps")
    form.steps.value = 12
    form.image_size.value = (32, 16)
    form.fields.setText("channels=4,8; dropout=0.5")
    form.varied.flips["x"].setChecked(True)
    form.varied.amounts.widgets["rotation"].value = 5
    form.device.setCurrentText("cpu")
    form.name.setText("mine")
    form.about["author"].setText("N. N.")
    widget.out.folder = tmp_path / "elsewhere"
    finish(qtbot, widget)
    asked = training.asked[0]
    plan = asked["plan"]

    assert (asked["method"], asked["preset"], asked["device"]) == ("vae3d", "published 2d", "cpu")
    assert (plan.steps, plan.minutes) == (12, None)
    assert plan.augmentation.flip == ("x",)
    assert plan.augmentation.rotation == 5
    assert asked["settings"] == {"channels": (4, 8), "dropout": 0.5, "image_size": (32, 16)}
    assert (asked["about"].name, asked["about"].author) == ("mine", "N. N.")
    assert asked["out"] == tmp_path / "elsewhere"


def test_the_estimate_of_the_first_batch_is_shown(
    open_widget: Open, training: Training, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, cohort())
    training.gate.clear()
    widget.run()
    qtbot.waitUntil(lambda: "0.1 s a batch" in widget.notes.text(), timeout=10_000)

    assert not widget.form.isEnabled()
    finish(qtbot, widget, widget.stop)
    assert widget.form.isEnabled()


def test_a_stop_waits_for_the_checkpoint_and_says_so(
    open_widget: Open, training: Training, models: Path, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, cohort())
    training.gate.clear()
    widget.run()
    qtbot.waitUntil(lambda: bool(widget.losses.plot.curves.losses), timeout=10_000)
    finish(qtbot, widget, widget.job.stop_button.click)

    assert "Stopped at batch 1 of 'denoise'. The checkpoint is saved" in widget.job.status.text()
    assert widget.error == ""
    assert training.ended.is_set()
    assert widget.result.trained is None


def test_closing_the_dock_stops_at_a_checkpoint(
    open_widget: Open, training: Training, models: Path, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, cohort())
    training.gate.clear()
    widget.run()
    qtbot.waitUntil(lambda: bool(widget.losses.plot.curves.losses), timeout=10_000)
    viewer.window.remove_dock_widget(widget)

    qtbot.waitUntil(training.ended.is_set, timeout=10_000)
    wait_for_threads()
    assert (models.parent / "trainings" / "sdm" / "denoise" / "last.ckpt").exists()


def test_closing_the_viewer_ends_a_training(
    training: Training, open_widget: Open, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, cohort())
    training.gate.clear()
    widget.run()
    qtbot.waitUntil(lambda: bool(widget.losses.plot.curves.losses), timeout=10_000)
    assert widget.job.is_running

    viewer.close()

    qtbot.waitUntil(training.ended.is_set, timeout=10_000)
    wait_for_threads()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FloatingPointError("the loss became nan at batch 6"), "the loss became nan at batch 6"),
        (OSError(28, "cannot write a checkpoint: make room first"), "make room first"),
        (ValueError("out: holds a training with other settings: plan seed"), "other settings"),
        (MemoryError("not one sample fits"), "not one sample fits"),
        (RuntimeError("odd"), "RuntimeError: odd (unexpected"),
    ],
)
def test_what_goes_wrong_is_said(
    open_widget: Open, training: Training, qtbot: Any, error: Exception, said: str
) -> None:
    _, widget = open_widget(NAME, cohort())
    training.error = error
    finish(qtbot, widget)

    assert said in widget.error
    assert said in widget.job.status.text()
    assert widget.button.isEnabled()


def test_without_lightning_it_says_what_to_install(
    open_widget: Open, training: Training, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    _, widget = open_widget(NAME, cohort())
    finish(qtbot, widget)

    assert 'pip install "napari-followup[train]"' in widget.error
    assert widget.missing.text() == train_actions.MISSING
    assert not training.asked


def test_without_subjects_it_is_said(open_widget: Open, training: Training, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    finish(qtbot, widget)

    assert "no healthy subjects are chosen: check the layers" in widget.error


def test_opening_the_widget_loads_no_torch() -> None:
    import subprocess

    script = (
        "import sys; import napari_followup.plugin.train.train_widget; "
        "from napari_followup.plugin.train.train_subjects import examined; "
        "import numpy as np; from napari_followup.plugin.train.train_subjects import Subjects; "
        "from napari_followup.series.stack import VisitStack; "
        "stacks = VisitStack.from_cohort(np.random.rand(4, 2, 8, 8)); "
        "given = Subjects(stacks=stacks, labels=[np.eye(8)[None].repeat(2, 0), 0, 0, 0]); "
        "facts = examined(lambda: given, method='sadm', held_out=0.1, seed=0); "
        "assert not facts.problem, facts; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "False", done.stderr


def sick_one(name: str = "sick") -> tuple[Image, Labels]:
    """A subject with a square at the last visit, and its truth."""
    images = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (3, 16, 1))
    marks = np.zeros(images.shape, np.uint8)
    marks[2, 4:8, 4:8] = 1
    about = {"followup": {"axes": "vyx"}}
    layer = Image(images + marks, name=name, metadata=about)
    return layer, Labels(marks, name=f"{name} truth")


def test_labels_reach_the_door(open_widget: Open, training: Training, qtbot: Any) -> None:
    _, widget = open_widget(NAME, cohort(), *sick_one())
    assert widget.data.labels.isHidden()
    widget.form.method.setCurrentIndex(widget.form.method.findData("sadm"))
    assert not widget.data.labels.isHidden()
    finish(qtbot, widget)

    (asked,) = training.asked
    assert [stack.subject for stack in asked["stacks"]][-1] == "sick"
    assert asked["labels"][:3] == [0, 0, 0]
    assert np.argwhere(asked["labels"][3])[0].tolist() == [2, 0, 4, 4]


def test_a_method_that_makes_nothing_and_has_no_labels_is_said_before_the_run(
    open_widget: Open, training: Training, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, cohort())
    widget.form.method.setCurrentIndex(widget.form.method.findData("anofpdm"))
    widget.form.fields.setText("synthetic_labels=false")
    with qtbot.waitSignal(widget.data.looked, timeout=10_000):
        widget.form.fields.editingFinished.emit()

    assert "AnoFPDM learns from labels alone where synthetic_labels is off" in (
        widget.data.notes.text()
    )


@pytest.mark.slow
def test_a_real_training_learns_from_labels(open_widget: Open, models: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME, cohort(), *sick_one(), *sick_one("other"))
    form = widget.form
    form.method.setCurrentIndex(form.method.findData("sadm"))
    form.unit.setCurrentText("steps")
    form.steps.value = 20
    form.plan.widgets["batch"].value = 4
    form.device.setCurrentText("cpu")
    base = "{'dimensions': 2, 'channels': (8, 8), 'code_features': 4}"
    form.fields.setText(
        f"base=vae3d; base_config={base}; base_options={{}}; channels=8,8; "
        "synthetic_anomalies=false"
    )
    finish(qtbot, widget)

    assert widget.error == ""
    assert widget.result.trained.card["series_with_labels"] == 2
    widget.data.labels.choose(widget.data.layers.layers[-1], None)
    widget.out.folder = models / "anew"
    finish(qtbot, widget)
    assert "no held-out series shows anything abnormal" in widget.error


@pytest.mark.slow
def test_a_real_training_is_stopped_resumed_saved_and_detects(
    open_widget: Open, models: Path, qtbot: Any, kept: SimpleNamespace
) -> None:
    viewer, widget = open_widget(NAME, cohort())
    form = widget.form
    form.unit.setCurrentText("steps")
    form.steps.value = 20
    form.plan.widgets["checkpoint_every"].value = 5
    form.plan.widgets["batch"].value = 4
    form.plan.widgets["held_out"].value = 0.3
    form.device.setCurrentText("cpu")
    form.fields.setText(TINY)
    form.name.setText("tiny")
    form.changed.emit()
    widget.run()
    qtbot.waitUntil(lambda: len(widget.losses.plot.curves.losses) > 5, timeout=60_000)
    finish(qtbot, widget, widget.stop)
    assert "Resume continues from it" in widget.job.status.text()
    assert widget.button.text() == "Resume"

    form.plan.widgets["batch"].value = 5
    assert "batch 4 there, 5 here" in widget.out.state.text()
    finish(qtbot, widget)
    assert "holds a training with other settings: plan batch was 4 and is now 5" in widget.error
    widget.out.take_button.click()
    assert form.plan.widgets["batch"].value == 4
    assert "is now" not in widget.job.status.text()
    finish(qtbot, widget, widget.button.click)
    assert widget.error == ""
    assert widget.result.trained.name == "tiny"
    assert "of healthy pixels are flagged" in widget.result.text.text()
    assert viewer.layers[-1].data.shape == (3, 16, 32)
    assert widget.losses.stage.count() == 2
    with qtbot.waitSignal(widget.result.finished, timeout=10_000):
        widget.result.save_button.click()
    assert (models / "tiny.safetensors").exists()

    _, detect = viewer.window.add_plugin_dock_widget("napari-followup", "Detect anomalies")
    detect.model = "tiny"
    detect.layer = viewer.layers[0]
    with qtbot.waitSignal(detect.finished, timeout=60_000):
        detect.run()
    assert detect.error == ""
    assert detect.detection.provenance["model"] == "tiny"


def test_an_error_is_scrolled_to(open_widget: Open, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    viewer.window._qt_window.resize(900, 500)
    viewer.window._qt_window.show()
    widget.form.advanced.expand(animate=False)
    bar = widget.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    bar.setValue(0)
    assert widget.job.visibleRegion().isEmpty()

    widget.run()

    qtbot.waitUntil(lambda: not widget.job.status.visibleRegion().isEmpty())
    assert "no healthy subjects are chosen" in widget.job.status.text()
