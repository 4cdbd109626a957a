"""Train a model in the widget's thread, and report its state.

The thread sends its state as plain values (`Snapshot`), a few times a second.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.methods.table import TABLE
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_subjects import Reader, Subjects
from napari_followup.series.results import Cancelled

if TYPE_CHECKING:
    from napari_followup.training.plan import TrainingPlan
    from napari_followup.training.state import LossCurve, TrainingState

__all__ = [
    "MISSING",
    "STAGES",
    "Snapshot",
    "SnapshotSender",
    "TrainChoice",
    "Trained",
    "clock_time",
    "figures",
    "has_lightning",
    "makes_anomalies",
    "train_model",
]

MISSING = (
    "Training needs Lightning, which is not installed: "
    'pip install "napari-followup[train]", then start napari again.'
)
STAGES = {  # phases of a training
    "change": "Learning how images change with age",
    "denoise": "Learning to reconstruct healthy images",
    "features": "Learning the features that compare images",
    "measure": "Testing the finished model on held-out subjects",
    "pretrain": "Learning to distinguish images",
    "reconstruct": "Learning to reconstruct healthy images",
    "restore": "Learning to remove synthetic anomalies",
    "segment": "Learning to find anomalies",
}
FORESEEN = (FloatingPointError, ImportError, MemoryError)  # their messages say what to do
_ONE = threading.Lock()  # only one training runs at a time


@dataclass(frozen=True, kw_only=True)
class TrainChoice:
    """What is trained, and how."""

    plan: TrainingPlan
    method: str = "sdm"
    preset: str = "compact"
    image_size: tuple[int, int] | None = None  # None: as the series, 128 at most
    fields: str = ""  # other fields of the preset, as "channels=32,64; attention=1"
    device: str = "auto"
    about: Mapping[str, str] = field(default_factory=dict)  # name, text, author, licences

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.about.get("name") or self.method


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of a training: a model, or a stop at a checkpoint."""

    summary: str
    path: Path | None = None
    name: str = ""
    method: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)


def has_lightning() -> bool:
    """Whether Lightning is installed; it is not imported."""
    try:
        return find_spec("lightning") is not None
    except ValueError:  # put out of the way in sys.modules
        return False


def makes_anomalies(method: str, fields: str) -> bool:
    """Whether a method may draw anomalies if there are no labels, by the form's other fields."""
    taken = TABLE[method].labels
    given = [text.partition("=") for text in fields.split(";")]
    return taken is None or not any(
        name.strip() == taken.made_by and value.strip().lower() == "false"
        for name, _, value in given
    )


def train_model(
    read: Reader,
    choice: TrainChoice,
    out: Path,
    *,
    report: Report | None = None,
    send: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Trained:
    """Train a model, or resume a training.

    Parameters
    ----------
    read
        Reads the series, and their labels if there are any.
    choice
        Model and plan.
    out
        Folder of the run.
    report
        Progress and stop.
    send
        Gets the state a few times a second.

    Returns
    -------
    Trained
        Without a path if the training was stopped.

    Raises
    ------
    OSError, ValueError
        As `training.train.train`; also if the loss is not finite, the memory does not suffice or
        Lightning is missing.
    """
    report = report or Report()
    problem, sender = "", None
    try:
        with _alone(report):
            report.phase("Reading the subjects")
            subjects = read()
            report.phase("Preparing the training")
            sender = _sender(report, send, out)
            return _trained(subjects, choice, out, sender)
    except Cancelled as stop:
        clear_frames(stop.__traceback__)
        return Trained(summary=_stopped(sender, out))
    except FORESEEN as error:
        clear_frames(error.__traceback__)
        problem = str(error) or type(error).__name__
    except Exception as error:
        clear_frames(error.__traceback__)  # which would keep the network on the GPU
        raise
    finally:
        _give_back(choice.device)
    raise ValueError(problem)


def figures(card: Mapping[str, Any]) -> str:
    """Write the figures of a model card, one a line."""
    sees, lines = card.get("sees") or {}, []
    if sees:
        count, share = sees["subjects"], sees["false_positives_percent"]
        held_out = "1 held-out subject" if count == 1 else f"{count} held-out subjects"
        lines.append(f"On {held_out}, {share:g} % of healthy pixels are flagged.")
        found = [
            f"{kind.replace('_', ' ')} {_shown(v)}" for kind, v in sees["mdice_percent"].items()
        ]
        lines.append(f"Mean Dice of drawn anomalies, in %: {', '.join(found)}.")
    for stage, curve in card.get("losses", {}).items():
        best = curve.get("weights_of")
        loss = f", validation loss {best['validation_loss']:.4g}" if best else ""
        lines.append(f"{stage}: {curve['batches']} batches in {curve['minutes']:.3g} min{loss}.")
    return "\n".join([*lines, *(f"Note: {note}." for note in card.get("notes", ()))])


def _trained(subjects: Subjects, choice: TrainChoice, out: Path, sender: SnapshotSender) -> Trained:
    from napari_followup.training.card import About
    from napari_followup.training.settings import read_setting
    from napari_followup.training.train import train

    fields = [text for text in choice.fields.split(";") if text.strip()]
    settings = dict(read_setting(text) for text in fields)
    if choice.image_size:
        settings["image_size"] = choice.image_size
    bundle = train(
        choice.method,
        subjects.stacks,
        out,
        choice.plan,
        preset=choice.preset,
        settings=settings,
        about=About(**choice.about),
        labels=subjects.labels,
        device=choice.device,
        on_state=sender,
    )
    path = out / f"{bundle.name}.safetensors"
    return Trained(
        summary=f"Trained: {path}",
        path=path,
        name=bundle.name,
        method=bundle.method,
        card=bundle.card,
    )


def _sender(report: Report, send: Callable[[Snapshot], None], out: Path) -> SnapshotSender:
    """Make the receiver of the states; it continues the curves of an interrupted run."""
    if not has_lightning():
        raise ValueError(MISSING)
    from napari_followup.training.checkpoint import read_checkpoint
    from napari_followup.training.state import LossCurve

    curves: dict[str, LossCurve] = {}
    for file in sorted(out.glob("*/last.ckpt")):
        if saved := read_checkpoint(file.parent):
            curves[file.parent.name] = LossCurve(**saved.curve)
    return SnapshotSender(report=report, send=send, curves=curves, new_curve=LossCurve)


def _stopped(sender: SnapshotSender | None, out: Path) -> str:
    if sender is None or not sender.batch:
        return "Stopped before the first batch."
    return (
        f"Stopped at batch {sender.batch} of {sender.stage!r}. The checkpoint is saved in {out}; "
        "Resume continues from it."
    )


@contextmanager
def _alone(report: Report) -> Iterator[None]:
    """Wait until another training has written its checkpoint."""
    while not _ONE.acquire(timeout=0.2):
        report.phase("Waiting for another training to end")
    try:
        yield
    finally:
        _ONE.release()


def _give_back(device: str) -> None:
    """Free the GPU's memory, also after a stop: Lightning has circular references."""
    import sys

    gc.collect()
    if "torch" not in sys.modules:
        return
    from napari_followup.device import choose_device, inference

    try:
        with inference(choose_device(device)):
            pass
    except ValueError:  # no such device; the training has raised it
        return


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


Point = tuple[int, float]
INTERVAL = 0.3  # seconds


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """State of a training, for the widget."""

    stage: str = ""
    batch: int = 0
    losses: Sequence[Point] = ()
    validations: Sequence[Point] = ()
    notes: Sequence[str] = ()
    pair: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None  # given, healthy


@dataclass(eq=False)
class SnapshotSender:
    """The `on_state` of a training in a thread.

    `send` gets about three snapshots a second at most; those with an example or a note at once.
    """

    report: Report
    send: Callable[[Snapshot], None]
    curves: dict[str, LossCurve]  # by stage; those of an earlier run continue
    new_curve: Callable[[], LossCurve]
    clock: Callable[[], float] = time.monotonic
    notes: list[str] = field(default_factory=list)
    stage: str = ""
    batch: int = 0
    _last: float = -INTERVAL
    _sent_stage: str = ""

    def __call__(self, state: TrainingState) -> bool:
        """Record a state, and send it if it is time; False to stop."""
        if not self._goes_on():
            return False
        self.notes += [note for note in state.notes if note not in self.notes]
        if state.loss is None:
            self._send(state)
            return True
        self.stage, self.batch = state.stage, state.batch
        curve = self.curves.setdefault(state.stage, self.new_curve())
        curve.add(state.batch, state.loss)
        if _is_new(curve, state):
            curve.validated(state.batch, state.validation_loss or 0.0)
        now = self.clock()
        if state.example or state.notes or now - self._last >= INTERVAL or state.progress >= 1:
            self._last = now
            self._send(state)
        return True

    def _send(self, state: TrainingState) -> None:
        is_known = state.loss is not None or state.stage == "measure"
        if is_known and state.stage != self._sent_stage:
            self._sent_stage = state.stage
            with suppress(Cancelled):  # the training stops at a checkpoint, not here
                self.report.phase(STAGES.get(state.stage, state.stage))
        self.report.detail(_line(state))
        self.report(round(100 * state.progress), 100)
        curve, shown = self.curves.get(state.stage), state.example
        self.send(
            Snapshot(
                stage=state.stage,
                batch=state.batch,
                losses=tuple(curve.losses) if curve else (),
                validations=tuple(curve.validations) if curve else (),
                notes=tuple(self.notes),
                pair=None if shown is None else (shown.given, shown.healthy),
            )
        )

    def _goes_on(self) -> bool:
        try:
            self.report.check()
        except Cancelled:
            return False
        return True


def _is_new(curve: LossCurve, state: TrainingState) -> bool:
    """Whether the validation loss is new."""
    if state.validation_loss is None:
        return False
    return not curve.validations or curve.validations[-1][1] != state.validation_loss


def _line(state: TrainingState) -> str:
    """One line: batch, progress, time left, memory."""
    if state.loss is None:
        return ""
    if state.progress >= 1:
        return "finished; the next phase may take a moment to start"
    parts = [f"batch {state.batch}", f"{state.progress:.0%}"]
    if state.seconds_left is not None:
        parts.append(f"{clock_time(state.seconds_left)} left")
    if state.memory is not None:
        parts.append(f"{state.memory / 1e9:.1f} GB of memory")
    return ", ".join(parts)


def clock_time(seconds: float) -> str:
    """Write a duration."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{round(minutes)} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
