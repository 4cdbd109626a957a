"""What holds for every method of the table, with a tiny untrained model of each."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_followup.methods import method_class
from napari_followup.methods.method import Evidence, Method, Visits
from napari_followup.methods.table import TABLE
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle, save_bundle

SMALL = {
    "image_size": (16, 16),
    "channels": (8, 16),
    "unshuffle": 2,
    "condition_features": 16,
    "steps": 20,
}
PLANAR = SMALL | {"attention": (1,), "dropout": 0.0}
ENCODER = {
    "code_features": 12,
    "encoder_depth": 18,
    "encoder_width": 8,
    "encoder_stem_norm": "group",
    "encoder_pool": False,
}
CODED = {"image_size": (16, 16), "channels": (8, 16), "code_features": 6}
SETTINGS: dict[str, dict[str, Any]] = {
    "andi": PLANAR | {"blocks": 1, "trained_steps": (1, 20), "prediction": "clean"},
    "anoddpm": PLANAR | {"blocks": 1},
    "anofpdm": PLANAR | {"blocks": 1, "trained_steps": (1, 20), "prediction": "clean"},
    "cddpm": PLANAR | ENCODER | {"blocks": 1},
    "disyre": PLANAR | {"blocks": 1, "filling": "any"},
    "pddpm": PLANAR | {"blocks": 1},
    "sadm": {
        "image_size": (16, 16),
        "base": "vae3d",
        "base_config": CODED | {"dimensions": 2},
        "channels": (8, 16),
        "anomalies": "shapes",
    },
    "sdm": PLANAR | ENCODER | {"prediction": "clean", "adaptation_levels": (5, 10)},
    "tdm": SMALL
    | {
        "blocks": 1,
        "encoder_blocks": 1,
        "encoder_features": 8,
        "encoder_growth": 8,
        "prediction": "clean",
        "age_mean": 61.0,
    },
    "vae3d": CODED | {"dimensions": 2},
    "vae3d of volumes": CODED | {"dimensions": 3, "depth": 8},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "andi": {"first_step": 4, "last_step": 15, "stride": 2},
    "anofpdm": {"last_step": 16, "stride": 5},
    "tdm": {"sampling_steps": 1},
    "vae3d": {"draws": 2},
}
LEVELS = ("anoddpm", "cddpm", "pddpm", "sdm")
FROM_LEVELS = {"noise_levels": (4, 10), "draws": 2, "sampling_steps": 3}
LEARNING = ("andi", "anoddpm", "anofpdm", "cddpm", "disyre", "pddpm", "vae3d", "vae3d of volumes")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(name: str) -> Any:
    kind = method_class(name.split()[0])
    torch.manual_seed(0)
    return kind(kind.config_type(**SETTINGS[name]))


def awake(name: str) -> Any:
    """Untrained model whose layers that start at zero have values."""
    model = fresh(name).eval().requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.2)
    return model


def options(name: str) -> Any:
    given = FROM_LEVELS if name in LEVELS else OPTIONS.get(name, {})
    return method_class(name.split()[0]).options_type(**given)


def visits(model: Any, count: int = 3) -> Visits:
    low, high = model.config.value_range
    images = low + (high - low) * torch.rand(count, 1, 2, 16, 16, generator=generator(5))
    return Visits(images=images, ages=torch.arange(60.0, 60.0 + count))


def examined(model: Any, name: str, seen: list[tuple[int, int]] | None = None) -> Evidence:
    def tell(done: int, total: int) -> None:
        if seen is not None:
            seen.append((done, total))

    return model.examine(visits(model), options(name), generator(), tell)


def square(model: Any) -> Tensor:
    """Healthy training samples that are all the same: a bright square."""
    low, high = model.config.value_range
    depth = (8,) if model.samples == "volumes" else ()
    images = torch.full((16, 1, *depth, 16, 16), low)
    images[..., 4:12, 4:12] = low + 0.8 * (high - low)
    return images


def test_every_method_is_tried() -> None:
    assert {name.split()[0] for name in SETTINGS} == set(TABLE)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_evidence_holds_what_the_method_says_it_gives(name: str) -> None:
    model = awake(name)

    found = examined(model, name)

    there = {each for each in ("healthy", "score", "features") if getattr(found, each) is not None}
    assert there == model.gives
    if found.healthy is not None:
        assert found.healthy.shape[1:] == (3, 1, 2, 16, 16)
    if found.score is not None:
        assert found.score.shape == (3, 2, 16, 16)
        assert found.score.min() >= 0


@pytest.mark.parametrize("name", SETTINGS)
def test_every_network_call_is_counted_once(name: str) -> None:
    seen: list[tuple[int, int]] = []

    examined(awake(name), name, seen)

    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]
    assert seen


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_comes_back_from_its_bundle_as_it_was(name: str, tmp_path: Path) -> None:
    model = awake(name)
    bundle = ModelBundle(
        name="tiny",
        method=name.split()[0],
        config=asdict(model.config),
        weights=model.state_dict(),
    )

    back = load_bundle(save_bundle(bundle, tmp_path / "tiny.safetensors", half=False)).build("cpu")

    assert back.config == model.config
    found, expected = examined(back, name), examined(model, name)
    for one, other in ((found.healthy, expected.healthy), (found.score, expected.score)):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", LEARNING)
def test_loss_falls_when_the_network_learns(name: str) -> None:
    model = fresh(name)
    (stage,), images = model.stages, square(model)
    model.begin(stage)
    trained = [each for part in model.parts_of(stage) for each in part.parameters()]
    optimizer, losses = torch.optim.Adam(trained, lr=3e-3), []
    for _ in range(25):
        loss = model.loss(stage, images, generator(len(losses)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert len(trained) == len(list(model.parameters()))
    assert all(each.grad is not None for each in trained)


@pytest.mark.parametrize("name", LEVELS)
def test_draws_stand_side_by_side_levels_first(name: str) -> None:
    model, planes, chosen = awake(name), torch.rand(3, 1, 16, 16), options(name)

    healthy = model.reconstruct(planes, chosen, generator())

    assert healthy.shape == (4, 3, 1, 16, 16)
    first = model.reconstruct(planes, replace(chosen, noise_levels=(4,)), generator())
    torch.testing.assert_close(healthy[:2], first)
    assert not torch.allclose(healthy[0], healthy[1])


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_beyond_the_schedule_is_refused(name: str) -> None:
    model = awake(name)

    with pytest.raises(ValueError, match=r"got \(21,\), this model knows steps 1 to 20"):
        model.reconstruct(
            torch.rand(1, 1, 16, 16), replace(options(name), noise_levels=(21,)), generator()
        )


def test_nothing_is_fitted_or_prepared_unless_a_method_says_so() -> None:
    model = fresh("anoddpm")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    assert model.fitted(model.config, torch.rand(2, 1, 16, 16)) is model.config
    model.begin("denoise")
    assert all(torch.equal(tensor, weights[n]) for n, tensor in model.state_dict().items())


def test_planes_come_back_to_their_visit_modality_and_depth() -> None:
    series = Visits(images=torch.rand(3, 2, 4, 5, 6), ages=torch.arange(3.0))

    planes = series.planes

    assert planes.shape == (12, 2, 5, 6)
    assert torch.equal(planes[1 * 4 + 3], series.images[1, :, 3])
    assert torch.equal(series.unplane(torch.stack([planes, -planes]))[1], -series.images)


class Unfinished(torch.nn.Module, Method):
    """A method of which nothing is written yet."""


@pytest.mark.parametrize("member", ["examine", "loss", "parts_of"])
def test_a_method_that_lacks_a_member_says_so_when_it_is_called(member: str) -> None:
    arguments = {"examine": (None,) * 4, "loss": (None,) * 3, "parts_of": ("denoise",)}[member]

    with pytest.raises(NotImplementedError, match=rf"method Unfinished has no {member}\(\)"):
        getattr(Unfinished(), member)(*arguments)
