"""``napari-followup bundle``: list, show, export, verify, install, join, calibrate models."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_recipe,
    add_seed,
    add_split,
    countdown,
    counted,
    read_data,
    recipe_named,
)
from napari_followup.cli.train import figures_line

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.models.catalogue import Entry
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.stack import VisitStack

__all__ = [
    "MODEL",
    "add_actions",
    "add_parser",
    "run",
]

MODEL = "name from `bundle list`, or a .safetensors file"
WIDTH = 100  # columns
MEGABYTE = 1_000_000
SHORT = 44  # characters of a text in the table
COLUMNS = ("name", "where", "method", "size", "image", "licence", "trained on")
FEW = 5  # healthy subjects; with fewer, a threshold from their highest scores is uncertain


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand and its actions."""
    parser = subcommands.add_parser(
        "bundle", help="list, show, export, verify, install, join or calibrate models"
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    add_actions(actions, shared, run)
    joining = actions.add_parser(
        "join",
        parents=[shared],
        help="join two models for the same images in one file",
        description="For example an SDM, which detects, and a TDM, which imputes. A part of the "
        "same method that MODEL already has is replaced.",
    )
    joining.add_argument("model", help=MODEL)
    joining.add_argument("part", help=f"{MODEL}, of another method")
    joining.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    joining.set_defaults(run=run, action=_join)
    _add_calibrate(actions, shared)


def _add_calibrate(actions: Subcommands, shared: argparse.ArgumentParser) -> None:
    calibrating = actions.add_parser(
        "calibrate",
        parents=[shared],
        help="measure healthy scores for another recipe",
        description="Writes a copy of the model with the scores that the recipe gives these "
        "subjects.",
        epilog="--own and --choose change the default recipe of the model.",
    )
    calibrating.add_argument("model", help=MODEL)
    calibrating.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help=f"healthy series that the model was not trained on: {FORMATS}",
    )
    calibrating.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    add_split(calibrating)
    add_recipe(calibrating)
    becomes = calibrating.add_mutually_exclusive_group()
    becomes.add_argument(
        "--own", action="store_true", help="make the recipe the default of the model"
    )
    becomes.add_argument(
        "--choose",
        action="store_true",
        help="also try other filters and edge tolerances on anomalies drawn into these subjects; "
        "if one is clearly better, it becomes the default of the model",
    )
    add_device(calibrating)
    add_seed(calibrating)
    calibrating.set_defaults(run=run, action=_calibrate)


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    args.action(args)
    return 0


def _join(args: argparse.Namespace) -> None:
    from napari_followup.models.files import load_bundle, save_bundle

    _check_name(args.out)
    bundle, part = load_bundle(args.model), load_bundle(args.part)
    joined = bundle.with_part(part)
    if bundle.modalities != part.modalities:
        raise ValueError(
            f"modalities: {part.name!r} takes {part.modalities} and {bundle.name!r} "
            f"{bundle.modalities}; join models for the same images"
        )
    for model in (bundle, part):
        model.build()  # raises if the weights do not fit
    was = bundle.parts.get(part.method)
    instead = f", which replaces {was.fingerprint}" if was else ""
    path = save_bundle(joined, args.out)
    print(
        f"{path}: {bundle.name} ({bundle.method}, {bundle.fingerprint}) with {part.name} "
        f"({part.method}, {part.fingerprint}){instead}"
    )


def _calibrate(args: argparse.Namespace) -> None:
    from napari_followup.detection.recipe_checks import model_and_options
    from napari_followup.device import choose_device
    from napari_followup.models.files import load_bundle, save_bundle
    from napari_followup.training.measuring import healthy_scores

    _check_name(args.out)
    bundle = load_bundle(args.model)
    recipe = recipe_named(args.recipe, bundle)
    stacks = read_data(args.data, args.split)
    device = str(choose_device(args.device))
    how: dict[str, Any] = {"device": device, "seed": args.seed}
    bundle = _refined(bundle, stacks, how)
    if args.choose:
        bundle, recipe = _with_best_recipe(bundle, stacks, recipe, how)
    calibrated = healthy_scores(bundle, stacks, recipe, **how)
    if args.own:
        calibrated = replace(calibrated, own_recipe=recipe)
    if args.own or args.choose:
        calibrated = _with_figures(calibrated, stacks, recipe, how)
    model, _ = model_and_options(calibrated, recipe)  # perhaps a part of the bundle
    highest = model.healthy[recipe.score_key].pixel_quantile(0.9999)
    path, who = save_bundle(calibrated, args.out), counted(len(stacks), "healthy subject")
    print(f"{path}: 1 pixel in 10 000 of {who} scores above {highest:.3g}")
    if len(stacks) < FEW:
        print(f"a threshold from {who} is uncertain; give {FEW} or more")


def _refined(
    bundle: ModelBundle, stacks: Sequence[VisitStack], how: Mapping[str, Any]
) -> ModelBundle:
    """Measure the fields of the configuration that depend on the weights, if they are missing."""
    from napari_followup.methods import method_class
    from napari_followup.training.choosing import refined

    fields = method_class(bundle.method).refined_fields
    if any(bundle.config[name] is not None for name in fields):  # perhaps measured on labels
        return bundle
    fitted = refined(bundle, stacks, **how)
    if fitted is not bundle:
        values = {name: fitted.config[name] for name in fields}
        print("measured: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return fitted


def _with_best_recipe(
    bundle: ModelBundle, stacks: Sequence[VisitStack], recipe: Recipe, how: Mapping[str, Any]
) -> tuple[ModelBundle, Recipe]:
    """Try variations of a recipe, print them and add them to the card; keep the best one."""
    from napari_followup.training.choosing import choose_recipe

    chosen, tried = choose_recipe(bundle, stacks, recipe, **how)
    for each in tried:
        score = ", ".join(f"{name} {value}" for name, value in each["score"].items())
        filters = f"median {each['median']}, blur {each['blur']:g}"
        print(f"mDICE {each['mdice_percent']:.1f} %: {score}; {filters}")
    if chosen is bundle:
        print("no recipe is clearly better; the model keeps its own")
    noted = replace(chosen, card={**chosen.card, "recipes_tried": tried})
    return noted, recipe if chosen is bundle else chosen.recipe


def _with_figures(
    bundle: ModelBundle, stacks: Sequence[VisitStack], recipe: Recipe, how: Mapping[str, Any]
) -> ModelBundle:
    """Measure what the model finds, for its card, and print it."""
    from napari_followup.training.measuring import what_it_sees

    seen = what_it_sees(bundle, stacks, recipe, **how)
    print(figures_line(seen))
    return replace(bundle, card={**bundle.card, "sees": seen})


def _check_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(f"out: got {out.name!r}; end the name in .safetensors")


def add_actions(actions: Any, shared: argparse.ArgumentParser, run: Callable[..., int]) -> None:
    """Describe the actions on single models."""

    def add(name: str, action: Callable[..., None], **words: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, parents=[shared], **words)
        parser.set_defaults(run=run, action=action)
        return parser

    add("list", _list, help="list the embedded models and those in the model folder")
    showing = add("show", _show, help="print the description of a model")
    showing.add_argument("model", help=MODEL)
    exporting = add("export", _export, help="copy a model to a file")
    exporting.add_argument("model", help=MODEL)
    exporting.add_argument("out", type=Path, metavar="FILE", help=".safetensors file to write")
    verifying = add("verify", _verify, help="check the weights of a model and run it once")
    verifying.add_argument("model", help=MODEL)
    installing = add(
        "install",
        _install,
        help="copy or download a model into the model folder",
        description="The model then loads by its name, offline. The environment variable "
        "NAPARI_FOLLOWUP_MODELS sets the folder; by default it is in the user's data folder.",
    )
    installing.add_argument("source", metavar="FILE_OR_URL", help=".safetensors file or URL")
    installing.add_argument("--sha256", metavar="HASH", help="SHA-256 of the file; a URL needs it")
    installing.add_argument("--name", help="name of the model (default: that of the file)")
    for parser in (exporting, installing):
        parser.add_argument("--replace", action="store_true", help="replace an existing file")


def _list(args: argparse.Namespace) -> None:
    from napari_followup.models.catalogue import embedded, entries, model_folder

    found = [e for e in entries() if e.is_embedded or e.name not in embedded()]
    if not found:
        print("no models are installed")
    else:
        print("\n".join(_table([_row(entry) for entry in found])))
    print(f"model folder: {model_folder()}")
    print("all models work offline; `bundle show NAME` prints details, `bundle install` adds one")


def _row(entry: Entry) -> tuple[str, ...]:
    where = "embedded" if entry.is_embedded else "folder"
    size = f"{entry.path.stat().st_size / 1e6:.1f} MB"
    if entry.problem:
        return entry.name, where, "?", size, "?", "", f"cannot be read: {entry.problem}"
    texts = [
        textwrap.shorten(str(entry.about["card"].get(key, "")), SHORT, placeholder=" …")
        for key in ("licence", "about")
    ]
    return entry.name, where, "+".join(entry.methods), size, entry.image_size, *texts


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _show(args: argparse.Namespace) -> None:
    from napari_followup.models.files import load_bundle

    bundle = load_bundle(args.model)
    print("\n".join(_facts(bundle)))
    for part in bundle.parts.values():
        print(f"part {part.method}:")
        print(textwrap.indent("\n".join(_facts(part)), "  "))


def _facts(bundle: ModelBundle) -> list[str]:
    """Lines about one model."""
    parameters = sum(tensor.numel() for tensor in bundle.weights.values())
    facts: dict[str, Any] = {
        "name": bundle.name,
        "method": bundle.method,
        "version": bundle.version,
        "fingerprint": bundle.fingerprint,
        "parameters": f"{parameters / 1e6:.2f} million",
        "image size": " x ".join(map(str, bundle.image_size)),
        "value range": " to ".join(map(str, bundle.value_range)),
        "modalities": bundle.modalities,
        "recipe": bundle.recipe.as_dict()
        if bundle.own_recipe
        else f"the default of {bundle.method}",
        **bundle.card,
    }
    return [
        *(line for name, value in facts.items() for line in _entry_lines(name, value)),
        f"healthy scores for {counted(len(bundle.healthy), 'recipe')}:",
        *(
            f"  {counted(len(scores.maxima), 'subject')}; "
            f"1 pixel in 10 000 above {scores.pixel_quantile(0.9999):.3g}, "
            f"1 subject in 10 above {scores.subject_quantile(0.9):.3g}: {key}"
            for key, scores in bundle.healthy.items()
        ),
    ]


def _entry_lines(name: str, value: Any, depth: int = 0) -> Iterator[str]:
    """Lines about one entry of a card, of any kind."""
    indent, name = "  " * depth, str(name).replace("_", " ")
    if isinstance(value, Mapping) and value:
        yield f"{indent}{name}:"
        for key, each in value.items():
            yield from _entry_lines(key, each, depth + 1)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, start=1):
            yield from _entry_lines(f"{name} {number}", each, depth)
    else:
        yield from textwrap.wrap(
            f"{name}: {_plain(value)}",
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None or value == {} else str(value)


def _export(args: argparse.Namespace) -> None:
    from napari_followup.models.folder import export_model

    path, sha256 = export_model(args.model, args.out, replace=args.replace)
    print(f"{path}\nsha256: {sha256}")


def _verify(args: argparse.Namespace) -> None:
    from napari_followup.models.verify import verify_model

    for found in verify_model(args.model):
        stored = "as stored" if found.is_as_stored else "not compared: the file stores none"
        print(
            f"{found.name} ({found.method}): fingerprint {found.fingerprint}, {stored}; the "
            f"weights fit, and the network ran in {found.seconds:.1f} s"
        )


def _install(args: argparse.Namespace) -> None:
    from napari_followup.models.folder import install_model

    path = install_model(
        args.source,
        sha256=args.sha256,
        name=args.name,
        replace=args.replace,
        on_bytes=_meter(),
    )
    print(f"{path}: load it as {path.stem!r}; it works offline")


def _meter() -> Callable[[int, int], None]:
    """Print every few seconds how many megabytes have arrived."""
    report = countdown("MB")
    return lambda done, total: report(max(1, done // MEGABYTE), total // MEGABYTE + 1)
