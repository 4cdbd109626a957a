from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.noise import simplex
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.anoddpm import (
    COMPACT,
    GAUSSIAN,
    THESIS,
    AnoDDPM,
    AnoDDPMConfig,
    AnoDDPMOptions,
)

TINY = AnoDDPMConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
    steps=20,
)
OPTIONS = AnoDDPMOptions(noise_levels=(4, 10), draws=2, sampling_steps=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> AnoDDPM:
    found = AnoDDPM(TINY).eval().requires_grad_(False)
    for parameter in found.parameters():
        if not parameter.any():  # what starts at zero would hide what lies before it
            parameter.normal_(std=0.2)
    return found


def count(module: torch.nn.Module) -> float:
    """Parameters in millions."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_presets_say_what_the_source_says_and_the_compact_one_is_small() -> None:
    assert (THESIS.noise, THESIS.prediction, THESIS.loss) == ("simplex", "clean", "l1")
    assert replace(THESIS, noise="gaussian") == GAUSSIAN
    assert AnoDDPMOptions().noise_levels == (THESIS.steps // 2,)
    assert count(AnoDDPM(COMPACT)) < 2.8
    assert count(AnoDDPM(replace(THESIS, image_size=(16, 16)))) == pytest.approx(24, abs=2)


def test_one_network_call_from_a_level_is_the_published_reconstruction(model: AnoDDPM) -> None:
    planes = torch.rand(3, 1, 16, 16)

    found = model.reconstruct(planes, AnoDDPMOptions(noise_levels=(10,)), generator(7))

    abar = linear_schedule(20)[10].float()
    noised = abar.sqrt() * planes + (1 - abar).sqrt() * simplex(
        (3, 1, 16, 16), generator(7), planes
    )
    steps, code = model.unet.project_steps(torch.tensor([10])), model.unet.project_code(None)
    torch.testing.assert_close(found, model.unet(noised, steps, code).clamp(0, 1)[None])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_every_network_call_is_counted_once(model: AnoDDPM, sampler: str) -> None:
    seen: list[tuple[int, int]] = []

    model.reconstruct(
        torch.rand(1, 1, 16, 16),
        replace(OPTIONS, sampler=sampler),
        generator(),
        lambda done, total: seen.append((done, total)),
    )

    assert seen == [(n, 12) for n in range(1, 13)]


def test_the_original_sampler_adds_fresh_noise_on_its_way(model: AnoDDPM) -> None:
    planes, options = (
        torch.rand(2, 1, 16, 16),
        AnoDDPMOptions(noise_levels=(10,), sampling_steps=10),
    )

    straight = model.reconstruct(planes, options, generator())
    winding = model.reconstruct(planes, replace(options, sampler="ddpm"), generator())

    assert winding.shape == straight.shape
    assert not torch.allclose(straight, winding)


@pytest.mark.parametrize("prediction", ["noise", "clean"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_perfect_network_gives_the_image_back_whatever_it_predicts(
    model: AnoDDPM, prediction: str, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = torch.rand(2, 1, 16, 16)
    current: list[int] = []

    def steps(asked: Tensor) -> list[Tensor]:
        current[:] = asked.tolist()
        return []

    def perfect(noised: Tensor, step: list[Tensor], code: list[Tensor]) -> Tensor:
        abar = model.abars[current[0]].float()
        noise = (noised - abar.sqrt() * planes) / (1 - abar).sqrt()
        return planes if prediction == "clean" else noise

    monkeypatch.setattr(model, "config", replace(TINY, prediction=prediction))
    monkeypatch.setattr(model.unet, "project_steps", steps)
    monkeypatch.setattr(model.unet, "forward", perfect)
    options = replace(OPTIONS, sampler=sampler, draws=1)

    healthy = model.reconstruct(planes, options, generator())

    torch.testing.assert_close(healthy, planes.expand(2, -1, -1, -1, -1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0.5),  # mean of |x| over [0, 1]
        ({"loss": "l2"}, 1 / 3),
        ({"prediction": "noise", "loss": "l2", "noise": "gaussian"}, 1.0),
        ({"corruption": 1.0}, 0.5),
    ],
)
def test_loss_of_a_network_that_answers_zero_is_the_mean_of_its_target(
    settings: dict[str, object], expected: float
) -> None:
    fresh = AnoDDPM(replace(TINY, **settings))  # its last layer starts at zero

    loss = fresh.loss("denoise", torch.rand(64, 1, 16, 16), generator())

    assert loss.item() == pytest.approx(expected, abs=0.03)


def test_settings_are_checked_where_they_are_made() -> None:
    with pytest.raises(ValueError, match="noise: got 'pink'"):
        AnoDDPMConfig(noise="pink")
