from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch.nn import functional as F

import napari_followup as nf
from napari_followup.diffusion.erasing import erase
from napari_followup.methods.method import Visits
from napari_followup.methods.vae3d import (
    COMPACT,
    PLANES,
    PUBLISHED,
    VAE3D,
    VAE3DConfig,
    VAE3DOptions,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Fixed, Recipe

FLAT = VAE3DConfig(dimensions=2, image_size=(16, 16), channels=(8, 16), code_features=6)
SOLID = replace(FLAT, dimensions=3, depth=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def silent(done: int, total: int) -> None:
    """Nobody listens."""


def visits(depth: int, modalities: int = 1) -> Visits:
    images = torch.rand(3, modalities, depth, 16, 16, generator=generator(5))
    return Visits(images=images, ages=torch.arange(3.0))


@pytest.mark.parametrize(("config", "depth"), [(FLAT, 1), (FLAT, 4), (SOLID, 8), (SOLID, 5)])
@pytest.mark.parametrize("draws", [0, 3])
def test_evidence_has_the_axes_of_the_visits_and_one_entry_a_draw(
    config: VAE3DConfig, depth: int, draws: int
) -> None:
    model, seen = VAE3D(replace(config, modalities=2)).eval(), []

    with torch.no_grad():
        found = model.examine(
            visits(depth, 2),
            VAE3DOptions(draws=draws),
            generator(),
            lambda done, total: seen.append((done, total)),
        )

    calls = max(1, draws)
    assert found.healthy is not None
    assert found.healthy.shape == (calls, 3, 2, depth, 16, 16)
    assert 0 <= found.healthy.min() <= found.healthy.max() <= 1
    assert seen == [(n, calls) for n in range(1, calls + 1)]


def test_volumes_are_reconstructed_as_a_whole_and_planes_one_by_one() -> None:
    series = visits(8)
    changed = series.images.clone()
    changed[:, :, 0] = 0.0  # one plane
    other = replace(series, images=changed)
    effects = []
    for config in (FLAT, SOLID):
        torch.manual_seed(0)
        model = VAE3D(config).eval().requires_grad_(False)
        one, two = (
            model.examine(each, VAE3DOptions(), generator(), silent).healthy
            for each in (series, other)
        )
        effects.append((one - two).abs()[:, :, :, 1:].max().item())

    assert effects[0] == 0
    assert effects[1] > 1e-4


def test_a_volume_of_the_models_depth_is_not_resampled() -> None:
    model, series = VAE3D(SOLID).eval().requires_grad_(False), visits(8)

    found = model.examine(series, VAE3DOptions(), generator(), silent)

    mean, _ = model.network.encode(series.images)
    torch.testing.assert_close(found.healthy[0], model.network.decode(mean).clamp(0, 1))


@pytest.mark.parametrize("config", [FLAT, SOLID])
def test_loss_is_the_absolute_error_plus_the_weighted_divergence(config: VAE3DConfig) -> None:
    model, images = VAE3D(config).eval(), torch.rand(4, 1, *config.sides)

    loss = model.loss("reconstruct", images, generator(3))

    source = generator(3)
    mean, log_variance = model.network.encode(erase(images, source))
    codes = mean + log_variance.div(2).exp() * torch.randn(4, 6, generator=source)
    error = F.l1_loss(model.network.decode(codes), images)  # of the whole image, erased or not
    nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    torch.testing.assert_close(loss, error + 1e-3 * nats.mean())


@pytest.mark.parametrize(("config", "kind"), [(FLAT, "planes"), (SOLID, "volumes")])
def test_a_model_says_what_it_learns_from_and_refuses_the_other(
    config: VAE3DConfig, kind: str
) -> None:
    model = VAE3D(config)
    other = SOLID if config is FLAT else FLAT

    assert model.samples == kind
    with pytest.raises(ValueError, match=f"a model of {config.dimensions} dimensions takes"):
        model.loss("reconstruct", torch.rand(2, 1, *other.sides), generator())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"dimensions": 4}, "dimensions must be 2 or 3, got 4"),
        ({"erased": (0.25, 0.01)}, "erased must be two rising shares"),
        ({"boxes": 0}, "boxes must be at least 1"),
        ({"erasing_chance": 1.5}, "erasing_chance must lie in"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        VAE3DConfig(**settings)


def test_presets_are_the_papers_codes_and_a_small_network() -> None:
    assert (PUBLISHED.sides, PUBLISHED.code_features) == ((64, 64, 64), 512)
    assert (PLANES.sides, PLANES.code_features) == ((64, 64), 128)
    assert PUBLISHED.divergence_weight == 1e-3
    assert sum(parameter.numel() for parameter in VAE3D(COMPACT).parameters()) < 2.5e6


def test_detection_hands_a_model_of_volumes_all_planes_at_once() -> None:
    model = VAE3D(SOLID)
    bundle = ModelBundle(
        name="tiny", method="vae3d", config=asdict(SOLID), weights=model.state_dict()
    )
    images = torch.rand(2, 5, 16, 16, generator=generator(9)).numpy()
    images[:, 0, :2], images[:, 0, 2:4] = 0.0, 1.0  # the percentiles stay when a plane changes
    changed = images.copy()
    changed[:, 4] = changed[:, 4, ::-1]
    recipe, calls = Recipe(threshold=Fixed(value=0.9)), []

    one, other = (
        nf.detect(
            nf.VisitStack.from_array(each),
            bundle,
            recipe,
            device="cpu",
            on_step=lambda done, total: calls.append((done, total)),
        )
        for each in (images, changed)
    )

    assert calls == [(1, 1)] * 2
    assert one.healthy is not None
    assert other.healthy is not None
    assert one.healthy.shape == (2, 1, 5, 16, 16)
    assert abs(one.healthy - other.healthy)[:, :, 0].max() > 1e-4
