"""``napari-followup bundle``: list models, show one, measure its healthy scores for a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_followup.cli.options import (
    Subcommands,
    add_device,
    add_recipe,
    add_seed,
    counted,
    read_data,
    recipe_named,
)

__all__ = ["add_parser", "run"]


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand and its three actions."""
    parser = subcommands.add_parser("bundle", help="list, show or calibrate models")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[shared], help="embedded models")
    listing.set_defaults(run=run, action=_list)
    showing = actions.add_parser("show", parents=[shared], help="what a model says of itself")
    showing.add_argument("model", help="embedded name or .safetensors file")
    showing.set_defaults(run=run, action=_show)
    calibrating = actions.add_parser(
        "calibrate",
        parents=[shared],
        help="measure healthy scores for one more recipe",
        description="Writes a copy of the model that knows how the recipe scores these subjects.",
    )
    calibrating.add_argument("model", help="embedded name or .safetensors file")
    calibrating.add_argument(
        "data", nargs="+", metavar="DATA", help="healthy series not trained on"
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
    for name, value in facts.items():
        print(f"{name}: {value}")
    print(f"healthy scores for {counted(len(bundle.healthy), 'recipe')}:")
    for key, scores in bundle.healthy.items():
        print(
            f"  {counted(len(scores.maxima), 'subject')}; "
            f"1 pixel in 10 000 above {scores.height(0.9999):.4f}, "
            f"1 subject in 20 above {scores.patient_height(0.95):.4f}: {key}"
        )


def _calibrate(args: argparse.Namespace) -> None:
    from napari_followup.bundle import load_bundle, save_bundle
    from napari_followup.device import choose_device
    from napari_followup.training.calibrate import healthy_scores

    if args.out.suffix != ".safetensors":
        raise ValueError(f"out: got {args.out.name!r}; end the name in .safetensors")
    bundle, recipe = load_bundle(args.model), recipe_named(args.recipe)
    stacks = read_data(args.data, args.split)
    device = str(choose_device(args.device))
    calibrated = healthy_scores(bundle, stacks, recipe, device=device, seed=args.seed)
    height = calibrated.healthy[recipe.score_key].height(0.9999)
    path, who = save_bundle(calibrated, args.out), counted(len(stacks), "healthy subject")
    print(f"{path}: 1 pixel in 10 000 of {who} scores above {height:.4f}")
