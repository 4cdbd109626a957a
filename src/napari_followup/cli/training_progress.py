"""Lines that say how a training stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import counted, duration

if TYPE_CHECKING:
    from napari_followup.training.state import TrainingState

__all__ = ["STAGES", "figures_line", "progress"]

FEW = " (so few that the figures say little)"

STAGES = {
    "change": "the network learns how images of one subject change with age",
    "denoise": "the network learns to give back healthy images from noisy ones",
    "features": "the features that images are compared by learn from the same healthy images",
    "measure": "the finished model is tried on subjects that were held back",
    "pretrain": "the encoder learns to tell healthy images apart",
    "reconstruct": "the network learns to give back healthy images it sees in parts",
    "restore": "the network learns to take made-up anomalies out of healthy images",
    "segment": "a second network learns to find anomalies, made-up ones or those of masks",
}


def figures_line(sees: Mapping[str, Any]) -> str:
    """Say in a line what a model sees, by the figures of its card."""
    found = ", ".join(
        f"{kind.replace('_', ' ')} {value}" for kind, value in sees["mdice_percent"].items()
    )
    return (
        f"on {counted(sees['subjects'], 'held-out subject')}: "
        f"{sees['false_positives_percent']} % of healthy pixels marked; mean Dice in per cent "
        f"of drawn anomalies: {found}{FEW if sees['subjects'] < 3 else ''}"
    )


def progress(stopped: Callable[[], bool], every: float = 10.0) -> Callable[[TrainingState], bool]:
    """Make an `on_state` that prints a line every few seconds and says when to stop.

    Parameters
    ----------
    stopped
        Whether the user asked to stop.
    every
        Seconds from one line to the next.

    Returns
    -------
    callable
        Returns False to stop.
    """
    said, stage = -every, ""

    def tell(state: TrainingState) -> bool:
        nonlocal said, stage
        for note in state.notes if state.stage != "check" else ():  # told again at the end
            print(f"note: {note}", flush=True)
        if state.stage != stage and (state.loss is not None or state.stage == "measure"):
            stage = state.stage
            print(f"{stage}: {STAGES.get(stage, 'the next phase')}", flush=True)
        if state.stage == "measure" and state.progress:
            print(f"measure {state.progress:.0%}", flush=True)
        if state.loss is not None:
            now = time.monotonic()
            if now - said >= every or state.progress >= 1:
                said = now
                print(_line(state), flush=True)
        return not stopped()

    return tell


def _line(state: TrainingState) -> str:
    left = "?" if state.seconds_left is None else duration(state.seconds_left)
    known = state.validation_loss
    validation = "" if known is None else f"  validation {known:.4f}"
    memory = "" if state.memory is None else f"  {state.memory / 1e9:.1f} GB"
    return (
        f"{state.stage} batch {state.batch}  {state.progress:4.0%}  loss {state.loss:.4f}"
        f"{validation}  {left} left{memory}"
    )
