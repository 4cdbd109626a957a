"""``napari-followup bundle``: the models there are, two joined, healthy scores measured."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.library import MODEL, add_actions
from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_recipe,
    add_seed,
    counted,
    read_data,
    recipe_named,
)
from napari_followup.cli.training_progress import figures_line

if TYPE_CHECKING:
    from napari_followup.models.files import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]

FEW = 5  # healthy subjects below which their highest scores say little of the next one's


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
        help="put two models of one kind of images into one file",
        description="Such as an SDM, which detects, and a TDM, which imputes. A part of the same "
        "method that MODEL has already is replaced.",
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
        help="measure healthy scores for one more recipe",
        description="Writes a copy of the model that knows how the recipe scores these subjects.",
        epilog="--own and --choose change what the model detects with when no recipe is given.",
    )
    calibrating.add_argument("model", help=MODEL)
    calibrating.add_argument(
        "data", nargs="+", metavar="DATA", help=f"healthy series not trained on: {FORMATS}"
    )
    calibrating.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    calibrating.add_argument("--split", help="take the subjects a cohort file marks with this word")
    add_recipe(calibrating)
    becomes = calibrating.add_mutually_exclusive_group()
    becomes.add_argument("--own", action="store_true", help="make the recipe the model's own")
    becomes.add_argument(
        "--choose",
        action="store_true",
        help="also try other filters, and other tolerances at edges, on anomalies drawn into these "
        "subjects; what finds clearly more becomes the model's own recipe",
    )
    add_device(calibrating)
    add_seed(calibrating)
    calibrating.set_defaults(run=run, action=_calibrate)


def run(args: argparse.Namespace) -> int:
    """Do the chosen action."""
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
            f"{bundle.modalities}; join models of the same images"
        )
    for model in (bundle, part):
        model.build()  # says so if the weights do not fit
    was = bundle.parts.get(part.method)
    instead = f", in the place of {was.fingerprint}" if was else ""
    path = save_bundle(joined, args.out)
    print(
        f"{path}: {bundle.name} ({bundle.method}, {bundle.fingerprint}) with {part.name} "
        f"({part.method}, {part.fingerprint}){instead}"
    )


def _calibrate(args: argparse.Namespace) -> None:
    from napari_followup.detection.score import examiner
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
    model, _ = examiner(calibrated, recipe)  # the one that detects by this recipe, perhaps a part
    height = model.healthy[recipe.score_key].height(0.9999)
    path, who = save_bundle(calibrated, args.out), counted(len(stacks), "healthy subject")
    print(f"{path}: 1 pixel in 10 000 of {who} scores above {height:.3g}")
    if len(stacks) < FEW:
        print(f"the line of {who} is a guess: subjects differ; give {FEW} or more")


def _refined(
    bundle: ModelBundle, stacks: Sequence[VisitStack], how: Mapping[str, Any]
) -> ModelBundle:
    """Measure what the configuration leaves to trained weights, if it is missing, and print it."""
    from napari_followup.methods import method_class
    from napari_followup.training.choosing import refined

    fields = method_class(bundle.method).refined_fields
    if any(bundle.config[name] is not None for name in fields):  # measured on the user's labels?
        return bundle
    fitted = refined(bundle, stacks, **how)
    if fitted is not bundle:
        values = {name: fitted.config[name] for name in fields}
        print("measured: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return fitted


def _with_best_recipe(
    bundle: ModelBundle, stacks: Sequence[VisitStack], recipe: Recipe, how: Mapping[str, Any]
) -> tuple[ModelBundle, Recipe]:
    """Try variations of a recipe, print them, note them in the card; the best becomes its own."""
    from napari_followup.training.choosing import choose_recipe

    chosen, tried = choose_recipe(bundle, stacks, recipe, **how)
    for each in tried:
        score = ", ".join(f"{name} {value}" for name, value in each["score"].items())
        filters = f"median {each['median']}, blur {each['blur']:g}"
        print(f"mDICE {each['mdice_percent']:.1f} %: {score}; {filters}")
    if chosen is bundle:
        print("none is clearly better; the model keeps its recipe")
    noted = replace(chosen, card={**chosen.card, "recipes_tried": tried})
    return noted, recipe if chosen is bundle else chosen.recipe


def _with_figures(
    bundle: ModelBundle, stacks: Sequence[VisitStack], recipe: Recipe, how: Mapping[str, Any]
) -> ModelBundle:
    """Measure anew what the model sees, for its card, and print it."""
    from napari_followup.training.measuring import what_it_sees

    seen = what_it_sees(bundle, stacks, recipe, **how)
    print(figures_line(seen))
    return replace(bundle, card={**bundle.card, "sees": seen})


def _check_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(f"out: got {out.name!r}; end the name in .safetensors")
