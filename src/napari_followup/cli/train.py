"""``napari-followup train``: from healthy series to a model file; can be stopped and resumed."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.series.stack import VisitStack
    from napari_followup.training.plan import Augmentation, TrainingPlan
    from napari_followup.training.state import TrainingState

__all__ = [
    "STAGES",
    "add_parser",
    "figures_line",
    "progress",
    "run",
]

TRY = {"tdm": ("impute", "SERIES", "--forecast", "3")}  # else detect


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    from napari_followup.methods.table import TABLE

    parser = subcommands.add_parser(
        "train",
        parents=[shared],
        help="train a model on healthy series",
        description="Ctrl-C stops at a checkpoint; the same command, with the same labels if any, "
        "goes on from there, and so it does after a crash.",
    )
    parser.add_argument(
        "method",
        choices=sorted(TABLE),
        help="; ".join(f"{name}: {TABLE[name].summary}" for name in sorted(TABLE)),
    )
    _add_data(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoints and the model"
    )
    _add_model(parser.add_argument_group("the model"))
    _add_plan(parser.add_argument_group("the training"))
    _add_augmentation(parser.add_argument_group("varied images", "left as they are by default"))
    add_device(parser)
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="GPUs to share a batch (default: 1)"
    )
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Whom is learned from, and what is abnormal in them."""
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help=f"healthy series, with --labels others, too: {FORMATS}",
    )
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    parser.add_argument(
        "--labels",
        nargs="*",
        metavar="FILE",
        help="learn what is abnormal, too (anofpdm, sadm), from masks of DATA: files or folders "
        "of the same kinds, nonzero where abnormal, visits in the order of their ages. A mask "
        "named as a subject (or NAME_mask, NAME_truth, NAME_labels, NAME_seg) is that subject's, "
        "and subjects without one are healthy; else one for each series, in order. Without FILE: "
        "the truth that DATA holds ('truth' in an .npz, NAME_truth.tif beside NAME.tif)",
    )


def _add_model(group: Any) -> None:
    """Model, its fields, and what its card says."""
    group.add_argument(
        "--preset", default="compact", help="compact, thesis, ... (default: compact)"
    )
    group.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("Y", "X"),
        help="pixels that planes are resampled to (default: as the series, 128 at most)",
    )
    group.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what intensities are scaled to (default: the preset's)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field of the preset, such as channels=32,64,96; may be given again",
    )
    group.add_argument("--name", default="", help="what the model is called (default: the method)")
    group.add_argument("--about", default="", help="a line on where the data come from")
    group.add_argument("--author", default="", help="who trained it")
    group.add_argument("--licence", default="", help="of the model")
    group.add_argument("--data-licence", default="", help="of the images it learned from")


def _add_plan(group: Any) -> None:
    """Length, batches and checkpoints."""
    group.add_argument("--steps", type=int, help="length in batches")
    group.add_argument("--minutes", type=float, help="or in minutes, whichever ends first")
    group.add_argument("--batch", type=int, default=32, help="images a batch (default: 32)")
    group.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="of them computed together (default: all, fewer where memory runs out)",
    )
    group.add_argument(
        "--learning-rate", type=float, default=1e-3, help="at its height (default: 1e-3)"
    )
    group.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        help="share of subjects kept for validation (default: 0.1)",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=500,
        metavar="N",
        help="batches between validations; a checkpoint is written then, and every few minutes "
        "(default: 500)",
    )
    group.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="of the arithmetic (default: float32)",
    )
    group.add_argument(
        "--log", choices=["csv", "tensorboard"], default="csv", help="of the losses (default: csv)"
    )


def _add_augmentation(group: Any) -> None:
    """How far training images are varied."""
    group.add_argument(
        "--flip", nargs="+", default=[], choices=["y", "x"], help="mirror along these axes"
    )
    for name, what in {
        "rotation": "degrees, at most",
        "scale": "share of the size",
        "shift": "share of the plane's side",
        "intensity": "share of the value range",
        "bias": "strength of a smooth field",
    }.items():
        group.add_argument(f"--{name}", type=float, help=what)
    group.add_argument(
        "--vary", action="store_true", help="a little of all of these but mirroring, unless given"
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on with a training."""
    from napari_followup.device import choose_device
    from napari_followup.series.results import Cancelled

    plan, settings = _plan(args), _model_settings(args)
    _check_preset(args.method, args.preset)
    check_out(args.out)
    device = str(choose_device(args.device))
    stacks, labels, told_labels = _series(args)
    train, about = _trainer(), _about(args)
    visits = sum(int(stack.is_observed.sum()) for stack in stacks)
    given = f"{counted(len(stacks), 'subject')}, {counted(visits, 'image')}{told_labels}"
    print(f"{given}; {args.preset} {args.method} on {device}", flush=True)
    with stop_at_interrupt("batch") as stopped:
        told = progress(stopped)
        try:
            bundle = train(
                args.method,
                stacks,
                args.out,
                plan,
                preset=args.preset,
                settings=settings,
                about=about,
                labels=labels,
                device=device,
                on_state=told,
            )
        except Cancelled:
            print(
                f"stopped; checkpoints are in {args.out}, and this goes on from them:\n"
                f"{args.command_line}"
            )
            return 130
    _tell_end(bundle, args.out / f"{bundle.name}.safetensors")
    return 0


def _series(args: argparse.Namespace) -> tuple[list[VisitStack], list[Any] | None, str]:
    """Series, labels where they are asked for, and what to say of these."""
    from napari_followup.methods.table import TABLE

    if args.labels is None:
        return read_data(args.data, args.split), None, ""
    if TABLE[args.method].labels is None:
        able = [name for name, row in TABLE.items() if row.labels is not None]
        raise ValueError(
            f"labels: {args.method} learns from healthy series alone, {' and '.join(able)} take "
            "labels; leave --labels out"
        )
    from napari_followup.io.labels import read_labelled

    found = read_labelled(args.data, args.labels, split=args.split)
    how = {"truth": "from their truth", "name": "by name", "order": "in order"}[found.by]
    return found.stacks, found.labels, f", {counted(found.marked, 'mask')} {how}"


def _tell_end(bundle: ModelBundle, path: Path) -> None:
    """Print what the model can see, and what to do with it."""
    if sees := bundle.card.get("sees"):
        print(figures_line(sees))
    for note in bundle.card.get("notes", ()):
        print(f"note: {note}")
    words = TRY.get(bundle.method, ("detect", "SERIES"))
    try_it = shlex.join(["napari-followup", *words, "--model", str(path)])
    known = _validation_loss(bundle)
    print(f"{path}: {bundle.fingerprint}{known}; now try it: {try_it} --out results")


def _validation_loss(bundle: ModelBundle) -> str:
    """Say the lowest one of the first stage."""
    for stage in bundle.card.get("losses", {}).values():
        if "weights_of" in stage:
            return f", validation loss {stage['weights_of']['validation_loss']:.4f}"
        break
    return ""


def _check_preset(method: str, preset: str) -> None:
    from napari_followup.methods import method_presets

    presets = method_presets(method)
    if preset not in presets:
        raise ValueError(f"preset: got {preset!r}; {method} has {', '.join(presets)}")


def _model_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of the preset to change."""
    from napari_followup.training.settings import read_setting

    found = dict(read_setting(text) for text in args.set)
    if args.image_size:
        found["image_size"] = tuple(args.image_size)
    if args.value_range:
        found["value_range"] = tuple(args.value_range)
    return found


def _plan(args: argparse.Namespace) -> TrainingPlan:
    from napari_followup.training.plan import TrainingPlan

    names = (
        *("steps", "minutes", "batch", "at_once", "learning_rate", "held_out", "devices"),
        *("checkpoint_every", "precision", "log", "seed"),
    )
    given = {name: getattr(args, name) for name in names}
    return TrainingPlan(augmentation=_augmentation(args), **given)


def _augmentation(args: argparse.Namespace) -> Augmentation:
    from napari_followup.training.plan import Augmentation

    names = ("rotation", "scale", "shift", "intensity", "bias")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    usual = Augmentation.usual() if args.vary else Augmentation()
    return replace(usual, flip=tuple(args.flip), **given)


def _about(args: argparse.Namespace) -> Any:
    from napari_followup.training.card import About

    return About(
        name=args.name,
        text=args.about,
        author=args.author,
        licence=args.licence,
        data_licence=args.data_licence,
    )


def _trainer() -> Callable[..., ModelBundle]:
    """Import the function, or say what to install when Lightning is not there."""
    try:
        from napari_followup.training.train import train
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("lightning"):
            raise ImportError(
                "training needs Lightning: pip install 'napari-followup[train]'"
            ) from error
        raise
    return train


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
        f"{sees['false_positives_percent']} % of healthy pixels flagged; mean Dice in per cent "
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
