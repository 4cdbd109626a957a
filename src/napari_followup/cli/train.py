"""``napari-followup train``: train a model on healthy series; stop and resume."""

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
    add_split,
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

FEW = " (too few for reliable figures)"

STAGES = {
    "change": "the network learns how images of one subject change with age",
    "denoise": "the network learns to restore healthy images from noisy ones",
    "features": "the network of features learns from the same healthy images",
    "measure": "the model is measured on held-out subjects",
    "pretrain": "the encoder learns to distinguish healthy images",
    "reconstruct": "the network learns to restore healthy images from parts of them",
    "restore": "the network learns to remove synthetic anomalies from healthy images",
    "segment": "a second network learns to segment anomalies, synthetic or from masks",
}

TRY = {"tdm": ("impute", "SERIES", "--forecast", "3")}  # else detect


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    from napari_followup.methods.table import TABLE

    parser = subcommands.add_parser(
        "train",
        parents=[shared],
        help="train a model on healthy series",
        description="Ctrl-C stops at a checkpoint. The same command, with the same labels if any, "
        "resumes from there, also after a crash.",
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
    _add_model(parser.add_argument_group("model"))
    _add_plan(parser.add_argument_group("training"))
    _add_augmentation(parser.add_argument_group("augmentation", "none by default"))
    add_device(parser)
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="number of GPUs that share each batch (default: 1)",
    )
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Series to learn from, and their labels."""
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help=f"healthy series, with --labels also others: {FORMATS}",
    )
    add_split(parser)
    parser.add_argument(
        "--labels",
        nargs="*",
        metavar="FILE",
        help="learn from known anomalies as well (anofpdm, sadm). FILE: masks of DATA, files or "
        "folders of the same kinds, nonzero where abnormal, visits in order of age. A mask named "
        "after a subject (NAME, NAME_mask, NAME_truth, NAME_labels, NAME_seg) belongs to that "
        "subject, and subjects without a mask are healthy. If no name fits, give one mask per "
        "series, in order. Without FILE: the truth in DATA ('truth' in an .npz, NAME_truth.tif "
        "beside NAME.tif)",
    )


def _add_model(group: Any) -> None:
    """Add the settings of the model, and entries of its card."""
    group.add_argument(
        "--preset", default="compact", help="compact, thesis, ... (default: compact)"
    )
    group.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("Y", "X"),
        help="size of planes in pixels (default: as the series, at most 128)",
    )
    group.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="range that intensities are scaled to (default: that of the preset)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field of the preset, such as channels=32,64,96; can be repeated",
    )
    group.add_argument("--name", default="", help="name of the model (default: the method)")
    group.add_argument("--about", default="", help="origin of the data, one line")
    group.add_argument("--author", default="", help="who trained the model")
    group.add_argument("--licence", default="", help="licence of the model")
    group.add_argument("--data-licence", default="", help="licence of the images")


def _add_plan(group: Any) -> None:
    """Length, batches and checkpoints."""
    group.add_argument("--steps", type=int, help="length of the training in batches")
    group.add_argument(
        "--minutes", type=float, help="length in minutes; the first limit reached counts"
    )
    group.add_argument("--batch", type=int, default=32, help="images per batch (default: 32)")
    group.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="images computed together (default: the batch, fewer if memory runs out)",
    )
    group.add_argument(
        "--learning-rate", type=float, default=1e-3, help="highest learning rate (default: 1e-3)"
    )
    group.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        help="share of subjects held out for validation (default: 0.1)",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=500,
        metavar="N",
        help="batches from one validation to the next; each writes a checkpoint, and so do every "
        "few minutes (default: 500)",
    )
    group.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="precision of the arithmetic (default: float32)",
    )
    group.add_argument(
        "--log",
        choices=["csv", "tensorboard"],
        default="csv",
        help="format of the log of losses (default: csv)",
    )


def _add_augmentation(group: Any) -> None:
    """Augmentation of the training images."""
    group.add_argument(
        "--flip", nargs="+", default=[], choices=["y", "x"], help="mirror along these axes"
    )
    for name, what in {
        "rotation": "rotate by up to this many degrees",
        "scale": "change the size by up to this share",
        "shift": "shift by up to this share of the plane's side",
        "intensity": "change intensities by up to this share of the value range",
        "bias": "add a smooth bias field of up to this strength",
    }.items():
        group.add_argument(f"--{name}", type=float, help=what)
    group.add_argument(
        "--vary",
        action="store_true",
        help="a little of each of these but --flip; amounts given as options count",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or resume a training."""
    from napari_followup.device import choose_device
    from napari_followup.series.results import Cancelled

    plan, settings = _plan(args), _model_settings(args)
    _check_preset(args.method, args.preset)
    check_out(args.out)
    device = str(choose_device(args.device))
    stacks, labels, about_labels = _series(args)
    train, about = _trainer(), _about(args)
    visits = sum(int(stack.is_observed.sum()) for stack in stacks)
    given = f"{counted(len(stacks), 'subject')}, {counted(visits, 'image')}{about_labels}"
    print(f"{given}; {args.preset} {args.method} on {device}", flush=True)
    with stop_at_interrupt("batch") as stopped:
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
                on_state=progress(stopped),
            )
        except Cancelled:
            print(
                f"stopped; checkpoints are in {args.out}; this command resumes:\n"
                f"{args.command_line}"
            )
            return 130
    _report_end(bundle, args.out / f"{bundle.name}.safetensors")
    return 0


def _series(args: argparse.Namespace) -> tuple[list[VisitStack], list[Any] | None, str]:
    """Series, their labels if asked for, and a text about the labels."""
    from napari_followup.methods.table import TABLE

    if args.labels is None:
        return read_data(args.data, args.split), None, ""
    if TABLE[args.method].labels is None:
        able = [name for name, row in TABLE.items() if row.labels is not None]
        raise ValueError(
            f"labels: {args.method} learns from healthy series only; {' and '.join(able)} take "
            "labels; leave --labels out"
        )
    from napari_followup.io.labels import read_labelled

    found = read_labelled(args.data, args.labels, split=args.split)
    how = {"truth": "from their truth", "name": "by name", "order": "in order"}[found.by]
    return found.stacks, found.labels, f", {counted(found.marked, 'mask')} {how}"


def _report_end(bundle: ModelBundle, path: Path) -> None:
    """Print what the model finds, and how to use it."""
    if sees := bundle.card.get("sees"):
        print(figures_line(sees))
    for note in bundle.card.get("notes", ()):
        print(f"note: {note}")
    words = TRY.get(bundle.method, ("detect", "SERIES"))
    try_it = shlex.join(["napari-followup", *words, "--model", str(path)])
    known = _validation_loss(bundle)
    print(f"{path}: {bundle.fingerprint}{known}; try it: {try_it} --out results")


def _validation_loss(bundle: ModelBundle) -> str:
    """Lowest validation loss of the first stage, as text."""
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
    """Fields of the preset that options change."""
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
    """Import `train`, or say what to install if Lightning is missing."""
    try:
        from napari_followup.training.train import train
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("lightning"):
            raise ImportError(
                "training needs Lightning: pip install 'napari-followup[train]'"
            ) from error
        raise
    return train


def figures_line(sees: Mapping[str, Any]) -> str:
    """One line on what a model finds, from the figures of its card."""
    found = ", ".join(
        f"{kind.replace('_', ' ')} {value}" for kind, value in sees["mdice_percent"].items()
    )
    return (
        f"on {counted(sees['subjects'], 'held-out subject')}: "
        f"{sees['false_positives_percent']} % of healthy pixels flagged; mean Dice in per cent "
        f"of drawn anomalies: {found}{FEW if sees['subjects'] < 3 else ''}"
    )


def progress(stopped: Callable[[], bool], every: float = 10.0) -> Callable[[TrainingState], bool]:
    """Make an `on_state` that prints a line every few seconds and returns False to stop.

    Parameters
    ----------
    stopped
        Returns whether the user asked to stop.
    every
        Seconds between two lines.

    Returns
    -------
    callable
        For `train`.
    """
    shown, stage = -every, ""

    def report(state: TrainingState) -> bool:
        nonlocal shown, stage
        for note in state.notes if state.stage != "check" else ():  # repeated at the end
            print(f"note: {note}", flush=True)
        if state.stage != stage and (state.loss is not None or state.stage == "measure"):
            stage = state.stage
            print(f"{stage}: {STAGES.get(stage, 'the next stage')}", flush=True)
        if state.stage == "measure" and state.progress:
            print(f"measure {state.progress:.0%}", flush=True)
        if state.loss is not None:
            now = time.monotonic()
            if now - shown >= every or state.progress >= 1:
                shown = now
                print(_line(state), flush=True)
        return not stopped()

    return report


def _line(state: TrainingState) -> str:
    left = "?" if state.seconds_left is None else duration(state.seconds_left)
    known = state.validation_loss
    validation = "" if known is None else f"  validation {known:.4f}"
    memory = "" if state.memory is None else f"  {state.memory / 1e9:.1f} GB"
    return (
        f"{state.stage} batch {state.batch}  {state.progress:4.0%}  loss {state.loss:.4f}"
        f"{validation}  {left} left{memory}"
    )
