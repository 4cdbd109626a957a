"""``napari-followup train``: from healthy series to a model file; can be stopped and resumed."""

from __future__ import annotations

import argparse
import csv
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_seed,
    check_out,
    counted,
    duration,
    read_data,
    stop_at_interrupt,
)

if TYPE_CHECKING:
    from napari_followup.bundle import ModelBundle
    from napari_followup.training.plan import TrainingPlan

__all__ = ["add_parser", "run"]

STAGES = {
    "denoise": "the network learns to give back healthy images from noisy ones",
    "features": "the features that images are compared by learn from the same healthy images",
    "change": "the network learns how images of one subject change with age",
}
WHAT = {
    "sdm": "spatial diffusion model, for healthy images and what differs from them",
    "tdm": "temporal diffusion model, for visits that are missing or still to come",
}
TRY = {"tdm": ("impute", "SERIES", "--forecast", "3")}  # else detect


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    from napari_followup.methods import METHODS

    parser = subcommands.add_parser(
        "train",
        parents=[shared],
        help="train a model on healthy series",
        description="Ctrl-C stops at a checkpoint; the same command goes on from there.",
    )
    parser.add_argument(
        "method",
        choices=sorted(METHODS),
        help="; ".join(f"{name}: {WHAT.get(name, 'see its card')}" for name in sorted(METHODS)),
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help=f"healthy series: {FORMATS}")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoints and the model"
    )
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    parser.add_argument("--preset", default="compact", help="compact or thesis (default: compact)")
    _add_plan(parser)
    parser.add_argument("--name", help="what the model is called (default: the method)")
    parser.add_argument("--about", default="", help="a line on where the data come from")
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    """Length, batches and checkpoints."""
    parser.add_argument("--steps", type=int, help="length in batches")
    parser.add_argument("--minutes", type=float, help="or in minutes, whichever ends first")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("Y", "X"),
        help="pixels that planes are resampled to (default: as the series, 128 at most)",
    )
    parser.add_argument("--batch", type=int, default=32, help="images a batch (default: 32)")
    parser.add_argument(
        "--learning-rate", type=float, default=1e-3, help="at its height (default: 1e-3)"
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        help="share of subjects kept for validation (default: 0.1)",
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=500, metavar="N", help="batches (default: 500)"
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="of the arithmetic (default: float32)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on with a training."""
    from napari_followup.device import choose_device
    from napari_followup.results import Cancelled

    plan = _plan(args)
    _check_preset(args.method, args.preset)
    check_out(args.out)
    device, stacks = str(choose_device(args.device)), read_data(args.data, args.split)
    train = _trainer()
    visits = sum(int(stack.is_observed.sum()) for stack in stacks)
    given = f"{counted(len(stacks), 'subject')}, {counted(visits, 'image')}"
    print(f"{given}; {args.preset} {args.method} on {device}", flush=True)
    with stop_at_interrupt("batch") as stopped:
        try:
            bundle = train(
                args.method,
                stacks,
                args.out,
                plan,
                preset=args.preset,
                image_size=tuple(args.image_size) if args.image_size else None,
                name=args.name,
                about=args.about,
                device=device,
                on_loss=_progress(stopped),
            )
        except Cancelled:
            print(
                f"stopped; checkpoints are in {args.out}, and this goes on from them:\n"
                f"{args.command_line}"
            )
            return 130
    path = args.out / f"{bundle.name}.safetensors"
    loss = _validation_loss(args.out / _first_stage(args.method))
    known = "" if loss is None else f", validation loss {loss:.4f}"
    words = TRY.get(bundle.method, ("detect", "SERIES"))
    try_it = shlex.join(["napari-followup", *words, "--model", str(path)])
    print(f"{path}: {bundle.fingerprint}{known}; now try it: {try_it} --out results")
    return 0


def _check_preset(method: str, preset: str) -> None:
    from napari_followup.methods import method_presets

    presets = method_presets(method)
    if preset not in presets:
        raise ValueError(f"preset: got {preset!r}; {method} has {', '.join(presets)}")


def _first_stage(method: str) -> str:
    from napari_followup.methods import method_class

    return str(method_class(method).stages[0])


def _validation_loss(stage: Path) -> float | None:
    """Last one of a stage, as its tables of losses have it; none in a short training."""
    tables = (stage / "losses").glob("from-*/metrics.csv")
    for path in sorted(tables, key=lambda path: path.stat().st_mtime, reverse=True):
        with path.open(newline="", encoding="utf-8") as file:
            losses = [row.get("validation_loss") for row in csv.DictReader(file)]
        if known := [float(loss) for loss in losses if loss]:
            return known[-1]
    return None


def _plan(args: argparse.Namespace) -> TrainingPlan:
    from napari_followup.training.plan import TrainingPlan

    return TrainingPlan(
        steps=args.steps,
        minutes=args.minutes,
        batch=args.batch,
        learning_rate=args.learning_rate,
        held_out=args.held_out,
        checkpoint_every=args.checkpoint_every,
        precision=args.precision,
        seed=args.seed,
    )


def _trainer() -> Callable[..., ModelBundle]:
    """Import the door, or say what to install when Lightning is not there."""
    try:
        from napari_followup.training.train import train
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("lightning"):
            raise ImportError(
                "training needs Lightning: pip install 'napari-followup[train]'"
            ) from error
        raise
    return train


def _progress(
    stopped: Callable[[], bool], every: float = 10.0
) -> Callable[[str, int, float, float], bool]:
    """Make an `on_loss` that prints a line every few seconds and says when to stop."""
    said, start, first = 0.0, time.monotonic(), 0.0
    stage = ""

    def tell(name: str, step: int, progress: float, loss: float) -> bool:
        nonlocal said, start, first, stage
        now = time.monotonic()
        if name != stage:
            stage, start, first = name, now, progress
            print(f"{name}: {STAGES.get(name, 'the next phase')}", flush=True)
        progress = min(progress, 1.0)  # the last batch may end after its time
        if now - said >= every or progress >= 1:
            said, gained = now, progress - first
            left = duration((now - start) / gained * (1 - progress)) if gained > 0 else "?"
            print(f"{name} batch {step}  {progress:4.0%}  loss {loss:.4f}  {left} left", flush=True)
        return not stopped()

    return tell
