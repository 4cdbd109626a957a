"""``napari-followup bundle``: list models, show one, join two, measure healthy scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from napari_followup.bundle import ModelBundle

__all__ = ["add_parser", "run"]


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand and its four actions."""
    parser = subcommands.add_parser("bundle", help="list, show, join or calibrate models")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[shared], help="embedded models")
    listing.set_defaults(run=run, action=_list)
    showing = actions.add_parser("show", parents=[shared], help="what a model says of itself")
    showing.add_argument("model", help="embedded name or .safetensors file")
    showing.set_defaults(run=run, action=_show)
    joining = actions.add_parser(
        "join",
        parents=[shared],
        help="put two models of one kind of images into one file",
        description="Such as an SDM, which detects, and a TDM, which imputes. A part of the same "
        "method that MODEL has already is replaced.",
    )
    joining.add_argument("model", help="embedded name or .safetensors file")
    joining.add_argument("part", help="embedded name or .safetensors file of another method")
    joining.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    joining.set_defaults(run=run, action=_join)
    calibrating = actions.add_parser(
        "calibrate",
        parents=[shared],
        help="measure healthy scores for one more recipe",
        description="Writes a copy of the model that knows how the recipe scores these subjects.",
    )
    calibrating.add_argument("model", help="embedded name or .safetensors file")
    calibrating.add_argument(
        "data", nargs="+", metavar="DATA", help=f"healthy series not trained on: {FORMATS}"
    )
    calibrating.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    calibrating.add_argument("--split", help="take the subjects a cohort file marks with this word")
    add_recipe(calibrating)
    add_device(calibrating)
    add_seed(calibrating)
    calibrating.set_defaults(run=run, action=_calibrate)


def run(args: argparse.Namespace) -> int:
    """Do the chosen action."""
    args.action(args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from napari_followup.catalogue import embedded, embedded_path

    for name in embedded():
        path = embedded_path(name)
        size = path.stat().st_size / 1e6 if path else 0.0
        print(f"{name}  {size:.1f} MB")
    if not embedded():
        print("no embedded models in this installation")


def _show(args: argparse.Namespace) -> None:
    from napari_followup.bundle import load_bundle

    bundle = load_bundle(args.model)
    print("\n".join(_facts(bundle)))
    for part in bundle.parts.values():
        print(f"with a part, {part.method}:")
        print("\n".join(f"  {line}" for line in _facts(part)))


def _facts(bundle: ModelBundle) -> list[str]:
    """Lines on one model."""
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
        **bundle.card,
    }
    return [
        *(f"{name}: {value}" for name, value in facts.items()),
        f"healthy scores for {counted(len(bundle.healthy), 'recipe')}:",
        *(
            f"  {counted(len(scores.maxima), 'subject')}; "
            f"1 pixel in 10 000 above {scores.height(0.9999):.4f}, "
            f"1 subject in 20 above {scores.patient_height(0.95):.4f}: {key}"
            for key, scores in bundle.healthy.items()
        ),
    ]


def _join(args: argparse.Namespace) -> None:
    from napari_followup.bundle import load_bundle, save_bundle

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
    from napari_followup.bundle import load_bundle, save_bundle
    from napari_followup.device import choose_device
    from napari_followup.scoring import examiner
    from napari_followup.training.calibrate import healthy_scores

    _check_name(args.out)
    bundle, recipe = load_bundle(args.model), recipe_named(args.recipe)
    stacks = read_data(args.data, args.split)
    device = str(choose_device(args.device))
    calibrated = healthy_scores(bundle, stacks, recipe, device=device, seed=args.seed)
    model, _ = examiner(calibrated, recipe)  # the one that detects by this recipe, perhaps a part
    height = model.healthy[recipe.score_key].height(0.9999)
    path, who = save_bundle(calibrated, args.out), counted(len(stacks), "healthy subject")
    print(f"{path}: 1 pixel in 10 000 of {who} scores above {height:.4f}")


def _check_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(f"out: got {out.name!r}; end the name in .safetensors")
