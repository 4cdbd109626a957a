"""The rows of a study: each model without and with LAFM, and the baseline that all must beat."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from napari_followup.evaluation.baselines import Components
from napari_followup.evaluation.row_judging import usable
from napari_followup.evaluation.rows import Row, baseline_rows, components_healer
from napari_followup.evaluation.study import BASELINE, DEFAULT, Entry
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Lafm, Recipe

__all__ = [
    "baseline_entry",
    "entry_of",
    "images_seen",
    "model_entry",
    "variants",
]


def variants(default: Recipe) -> list[Row]:
    """Recipe on trial, and the same without any fusion over visits and with LAFM.

    Where one of them is the recipe itself, that row's name says so.
    """
    others = {
        "without LAFM": replace(default, fusion=None),
        "with LAFM": replace(default, fusion=Lafm()),
    }
    same = [name for name, recipe in others.items() if recipe == default]
    rows = [Row(name=f"{DEFAULT}, {same[0]}" if same else DEFAULT, recipe=default)]
    return rows + [
        Row(name=f"its score, {name}", recipe=recipe)
        for name, recipe in others.items()
        if name not in same
    ]


def model_entry(
    name: str, bundle: ModelBundle, *, published: bool = True
) -> tuple[Entry, list[str]]:
    """One model and its rows.

    Parameters
    ----------
    name
        What the table calls it.
    bundle
        The model.
    published
        Whether the published recipe of its method has a row.

    Returns
    -------
    Entry, notes
        The notes say which rows were left out, and why.
    """
    recipe = bundle.recipes.get("published") if published else None
    rows = [] if recipe is None else [Row(name="published recipe", recipe=recipe)]
    kept, notes = usable(rows, bundle)
    entry = entry_of(name, bundle, [*variants(bundle.recipe), *kept])
    return entry, [f"{name}, {note}" for note in notes]


def entry_of(name: str, bundle: ModelBundle, rows: Sequence[Row]) -> Entry:
    """Model with rows of one's choice; parameters as for `model_entry`."""
    return Entry(
        name=name,
        method=bundle.method,
        bundle=bundle,
        rows=tuple(rows),
        fingerprint=bundle.fingerprint,
        parameters=_parameters(bundle),
        images_seen=images_seen(bundle.card),
    )


def _parameters(bundle: ModelBundle) -> int:
    """Count parameters, which the weights hold with running means among them.

    On the meta device a network has shapes and no values, so it costs neither memory nor time.
    """
    kind, config = configured(bundle)
    with torch.device("meta"):
        return sum(each.numel() for each in kind(config).parameters())


def images_seen(card: Mapping[str, Any]) -> int | None:
    """Training images that went through a model, as its card says; none where it does not say.

    Images that went through twice count twice.
    """
    if "images_seen" in card:
        return int(card["images_seen"])
    batches = [curve.get("batches") for curve in card.get("losses", {}).values()]
    batch = card.get("plan", {}).get("batch")
    if batch is None or not batches or None in batches:
        return None
    return int(batch * sum(batches))


def baseline_entry(components: Components, carrier: ModelBundle, images: int) -> Entry:
    """Principal components in the place of a model.

    They are measured as published methods are (Yen, without and with LAFM) and, as the models are,
    by the default recipe of SDM and what it becomes without fusion and with LAFM.

    Parameters
    ----------
    components
        Fitted to planes as `carrier` takes them.
    carrier
        A model, for its intensity range and image size.
    images
        How many planes they were fitted to.

    Returns
    -------
    Entry
        Of the method `BASELINE`.
    """
    name, healer = f"PCA({len(components.axes)})", components_healer(components)
    mean, axes = components.mean, components.axes
    digest = hashlib.sha256(mean.numpy().tobytes() + axes.numpy().tobytes()).hexdigest()[:12]
    default = replace(Recipe.default(), options={})
    likened = [replace(row, healer=healer, source=name) for row in variants(default)]
    published = [
        replace(row, name=row.name.removeprefix(f"{name} ")) for row in baseline_rows(components)
    ]
    return Entry(
        name=name,
        method=BASELINE,
        bundle=replace(carrier, healthy={}),
        rows=(*likened, *published),
        fingerprint=digest,
        parameters=mean.numel() + math.prod(axes.shape),
        images_seen=images,
    )
