"""Train a model in the widget's thread, and put the finished one where models are found."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_live import Snapshot, Teller
from napari_followup.plugin.train.train_subjects import Reader, Subjects
from napari_followup.series.results import Cancelled

if TYPE_CHECKING:
    from napari_followup.training.plan import TrainingPlan
    from napari_followup.training.state import LossCurve

__all__ = ["MISSING", "TrainChoice", "Trained", "figures", "has_lightning", "train_model"]

MISSING = (
    "Training needs Lightning, which is not installed: "
    'pip install "napari-followup[train]", then start napari again.'
)
FORESEEN = (FloatingPointError, ImportError, MemoryError)  # whose messages say what to do
_ONE = threading.Lock()  # a training ends before the next one begins, in the same folder or not


@dataclass(frozen=True, kw_only=True)
class TrainChoice:
    """What is trained, and how."""

    plan: TrainingPlan
    method: str = "sdm"
    preset: str = "compact"
    image_size: tuple[int, int] | None = None  # as the series, 128 at most
    fields: str = ""  # others of the preset, as "channels=32,64; attention=1"
    device: str = "auto"
    about: Mapping[str, str] = field(default_factory=dict)  # name, text, author, licences

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.about.get("name") or self.method


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training: a model, or a stop at a checkpoint."""

    said: str
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


def train_model(
    read: Reader,
    choice: TrainChoice,
    out: Path,
    *,
    report: Report | None = None,
    send: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Trained:
    """Train, or go on with a training; a stop is a result, too.

    Parameters
    ----------
    read
        Gives the series, and what is abnormal in them if that is told.
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
        Without a path where it was stopped.

    Raises
    ------
    OSError, ValueError
        As `training.train.train`; also where the loss is no number, memory does not suffice or
        Lightning is missing.
    """
    report = report or Report()
    problem, teller = "", None
    try:
        with _alone(report):
            report.phase("Reading the subjects")
            subjects = read()
            report.phase("Getting ready")
            teller = _teller(report, send, out)
            return _trained(subjects, choice, out, teller)
    except Cancelled as stop:
        clear_frames(stop.__traceback__)
        return Trained(said=_stopped(teller, out))
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
    """Say what a card's figures are, a line each."""
    sees, lines = card.get("sees") or {}, []
    if sees:
        count, share = sees["subjects"], sees["false_positives_percent"]
        held_out = "1 held-out subject" if count == 1 else f"{count} held-out subjects"
        lines.append(f"On {held_out}, {share:g} % of healthy pixels are marked.")
        found = [
            f"{kind.replace('_', ' ')} {_shown(v)}" for kind, v in sees["mdice_percent"].items()
        ]
        lines.append(f"Mean Dice of drawn anomalies, in %: {', '.join(found)}.")
    for stage, curve in card.get("losses", {}).items():
        best = curve.get("weights_of")
        said = f", validation loss {best['validation_loss']:.4g}" if best else ""
        lines.append(f"{stage}: {curve['batches']} batches in {curve['minutes']:.3g} min{said}.")
    return "\n".join([*lines, *(f"Note: {note}." for note in card.get("notes", ()))])


def _trained(subjects: Subjects, choice: TrainChoice, out: Path, teller: Teller) -> Trained:
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
        on_state=teller,
    )
    path = out / f"{bundle.name}.safetensors"
    return Trained(
        said=f"Trained: {path}", path=path, name=bundle.name, method=bundle.method, card=bundle.card
    )


def _teller(report: Report, send: Callable[[Snapshot], None], out: Path) -> Teller:
    """Make what is told the states; the curves of an interrupted run go on."""
    if not has_lightning():
        raise ValueError(MISSING)
    from napari_followup.training.checkpoint import read_checkpoint
    from napari_followup.training.state import LossCurve

    curves: dict[str, LossCurve] = {}
    for file in sorted(out.glob("*/last.ckpt")):
        if saved := read_checkpoint(file.parent):
            curves[file.parent.name] = LossCurve(**saved.curve)
    return Teller(report=report, send=send, curves=curves, new_curve=LossCurve)


def _stopped(teller: Teller | None, out: Path) -> str:
    if teller is None or not teller.batch:
        return "Stopped before the first batch."
    return (
        f"Stopped at batch {teller.batch} of {teller.stage!r}. The checkpoint is kept in {out}; "
        "Resume goes on from it."
    )


@contextmanager
def _alone(report: Report) -> Iterator[None]:
    """Wait for a training that still writes its checkpoint."""
    while not _ONE.acquire(timeout=0.2):
        report.phase("Waiting for another training to end")
    try:
        yield
    finally:
        _ONE.release()


def _give_back(device: str) -> None:
    """Free the GPU's memory, also after a stop: Lightning's objects refer to each other."""
    import sys

    gc.collect()
    if "torch" not in sys.modules:
        return
    from napari_followup.device import choose_device, inference

    try:
        with inference(choose_device(device)):
            pass
    except ValueError:  # no such device, as the training has said
        return


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"
