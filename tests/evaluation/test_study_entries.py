from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from napari_followup.evaluation.baselines import fit_components
from napari_followup.evaluation.study import BASELINE
from napari_followup.evaluation.study_entries import (
    baseline_entry,
    images_seen,
    model_entry,
    variants,
)
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Lafm, Recipe, Support


def test_every_recipe_is_tried_without_and_with_lafm() -> None:
    rows = variants(Recipe.default())

    assert [row.name for row in rows] == [
        "default recipe",
        "its score, without LAFM",
        "its score, with LAFM",
    ]
    assert [row.recipe.fusion for row in rows] == [Support(), None, Lafm()]


@pytest.mark.parametrize(
    ("fusion", "names"),
    [
        (None, ["default recipe, without LAFM", "its score, with LAFM"]),
        (Lafm(), ["default recipe, with LAFM", "its score, without LAFM"]),
    ],
)
def test_no_recipe_is_measured_twice(fusion: Lafm | None, names: list[str]) -> None:
    assert [row.name for row in variants(Recipe(fusion=fusion))] == names


def test_a_model_has_its_variants_and_its_published_recipe(
    tiny_of: Callable[[str], ModelBundle],
) -> None:
    bundle = tiny_of("vae3d")

    entry, notes = model_entry("VAE", bundle)

    assert [row.name for row in entry.rows][-1] == "published recipe"
    assert (entry.name, entry.method, entry.fingerprint) == ("VAE", "vae3d", bundle.fingerprint)
    assert entry.parameters == sum(p.numel() for p in bundle.build().parameters())
    assert (entry.images_seen, notes) == (None, [])


@pytest.mark.parametrize("method", ["cddpm", "disyre"])
def test_parameters_are_counted_without_buffers_and_without_a_network(
    method: str, tiny_of: Callable[[str], ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_of(method)
    expected = sum(each.numel() for each in bundle.build().parameters())

    def build(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(ModelBundle, "build", build)
    entry, _ = model_entry("one", bundle)

    assert entry.parameters == expected
    running = [values for name, values in bundle.weights.items() if "running" in name]
    assert bool(running) == (method == "cddpm")


def test_a_published_recipe_beyond_what_was_trained_is_left_out(
    tiny_of: Callable[..., ModelBundle],
) -> None:
    entry, notes = model_entry("ANDi", tiny_of("andi", trained_steps=(1, 100)))

    assert [row.name for row in entry.rows] == [
        "default recipe, without LAFM",
        "its score, with LAFM",
    ]
    assert notes[0].startswith("ANDi, published recipe: left out, ")


@pytest.mark.parametrize(
    ("card", "images"),
    [
        ({"plan": {"batch": 32}, "losses": {"a": {"batches": 100}, "b": {"batches": 10}}}, 3520),
        ({"images_seen": 5, "plan": {"batch": 32}, "losses": {"a": {"batches": 100}}}, 5),
        ({"plan": {"batch": 32}}, None),
        ({"plan": {"batch": 32}, "losses": {"a": {}}}, None),
        ({"losses": {"a": {"batches": 100}}}, None),
    ],
)
def test_training_images_are_counted_from_the_card(
    card: dict[str, object], images: int | None
) -> None:
    assert images_seen(card) == images


def test_the_baseline_is_measured_as_models_are_and_as_published(
    tiny_bundle: ModelBundle,
) -> None:
    planes = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    components = fit_components(planes, 4)

    entry = baseline_entry(components, tiny_bundle, 8)
    other = baseline_entry(replace(components, mean=components.mean + 1), tiny_bundle, 8)

    assert [row.name for row in entry.rows] == [
        "default recipe",
        "its score, without LAFM",
        "its score, with LAFM",
        "residual + Yen",
        "residual + LAFM",
    ]
    assert len({row.key for row in entry.rows}) == 1
    assert (entry.name, entry.method, entry.images_seen) == ("PCA(4)", BASELINE, 8)
    assert entry.parameters == 5 * 256
    assert entry.fingerprint != other.fingerprint
