from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.denoising import denoiser
from napari_followup.diffusion.sampling import Denoise, decode, encode
from napari_followup.methods.method import Visits
from napari_followup.methods.sdm import COMPACT, SDM, THESIS, SDMConfig, SDMOptions, adaptation_loss
from napari_followup.models.bundle import ModelBundle

OPTIONS = SDMOptions(noise_levels=(4, 10), draws=2, sampling_steps=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sdm(tiny_bundle: ModelBundle) -> SDM:
    return tiny_bundle.build("cpu")


def count(module: torch.nn.Module) -> float:
    """Parameters in millions."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_thesis_preset_is_about_as_large_as_published_and_runs() -> None:
    sdm = SDM(replace(THESIS, image_size=(16, 16))).eval()
    options = SDMOptions(noise_levels=(1000,), sampling_steps=1)

    with torch.no_grad():
        healthy = sdm.reconstruct(torch.rand(1, 1, 16, 16), options, generator())

    # 2.5 M are published, 0.47 M of them in the four residual blocks that resample
    assert count(sdm.unet) == pytest.approx(2.53, abs=0.01)
    assert count(sdm.encoder) == pytest.approx(24.5, abs=0.1)
    assert healthy.shape == (1, 1, 1, 16, 16)
    assert 0 <= healthy.min() <= healthy.max() <= 1


def test_compact_preset_is_small() -> None:
    assert count(SDM(COMPACT)) < 8


def test_reconstruction_follows_its_generator(sdm: SDM) -> None:
    planes = torch.rand(2, 1, 16, 16)

    found = sdm.reconstruct(planes, OPTIONS, generator(1))

    assert torch.equal(found, sdm.reconstruct(planes, OPTIONS, generator(1)))
    assert not torch.allclose(found, sdm.reconstruct(planes, OPTIONS, generator(2)))


def test_a_plane_does_not_depend_on_its_neighbours_in_the_batch(sdm: SDM) -> None:
    planes, options = torch.rand(3, 1, 16, 16), replace(OPTIONS, start="infer")  # no noise drawn

    together = sdm.reconstruct(planes, options, generator())

    alone = sdm.reconstruct(planes[1:2], options, generator())
    torch.testing.assert_close(together[:, 1:2], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("start", "calls"), [("semantic", 12), ("infer", 24)])
def test_every_network_call_is_counted_once(sdm: SDM, start: str, calls: int) -> None:
    seen: list[tuple[int, int]] = []

    sdm.reconstruct(
        torch.rand(1, 1, 16, 16),
        replace(OPTIONS, start=start),
        generator(),
        lambda done, total: seen.append((done, total)),
    )

    assert seen == [(n, calls) for n in range(1, calls + 1)]


def test_evidence_has_the_axes_of_the_visits_and_features_of_the_extractor(sdm: SDM) -> None:
    visits = Visits(images=torch.rand(2, 1, 3, 16, 16), ages=torch.arange(2.0))

    found = sdm.examine(visits, OPTIONS, generator(), lambda done, total: None)

    assert found.healthy is not None
    assert found.healthy.shape == (4, 2, 1, 3, 16, 16)
    assert found.features is not None
    features = found.features(visits.planes, (2,))[0]
    assert torch.equal(features, sdm.extractor.features(visits.planes, (2,))[0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"prediction": "noise"}, "noise"),
        ({"prediction": "clean"}, "clean"),
        ({"prediction": "clean", "corruption": 1.0}, "clean"),
    ],
)
def test_loss_of_a_network_that_answers_zero_is_the_mean_square_of_its_target(
    sdm: SDM, settings: dict[str, object], expected: str
) -> None:
    fresh = SDM(replace(sdm.config, **settings))  # its last layer starts at zero
    images = torch.rand(64, 1, 16, 16)

    loss = fresh.loss("denoise", images, generator())

    target = 1.0 if expected == "noise" else images.square().mean().item()
    assert loss.item() == pytest.approx(target, abs=0.03)


def test_each_stage_trains_its_own_parts(sdm: SDM) -> None:
    fresh = SDM(sdm.config)
    images = torch.rand(2, 1, 16, 16)

    fresh.loss("features", images, generator()).backward()

    assert fresh.parts_of("features") == (fresh.extractor,)
    assert any(p.grad is not None for p in fresh.extractor.parameters())
    for part in fresh.parts_of("denoise"):
        assert all(p.grad is None for p in part.parameters())


def test_feature_extractor_starts_as_a_copy_of_the_trained_encoder(sdm: SDM) -> None:
    fresh = SDM(sdm.config)
    torch.nn.init.normal_(fresh.encoder.to_code.weight)

    fresh.begin("features")

    assert torch.equal(fresh.extractor.to_code.weight, fresh.encoder.to_code.weight)
    assert fresh.extractor.to_code.weight is not fresh.encoder.to_code.weight


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta_range": (0.02, 0.01)}, "beta_range must rise inside"),
        ({"corruption": 0.5}, "corruption needs prediction='clean'"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        SDMConfig(**settings)


def test_an_image_size_the_network_cannot_halve_is_refused(sdm: SDM) -> None:
    with pytest.raises(ValueError, match="got \\(16, 18\\); this network takes multiples of 4"):
        SDM(replace(sdm.config, image_size=(16, 18)))


@pytest.mark.parametrize("arc", [True, False])
def test_between_two_visits_codes_and_subcodes_are_mixed_and_decoded(sdm: SDM, arc: bool) -> None:
    earlier, later = torch.rand(2, 3, 1, 16, 16)
    part = torch.tensor([0.0, 0.3, 1.0])
    calls: list[tuple[int, int]] = []

    found = sdm.between(
        *(earlier, later, part),
        arc=arc,
        sampling_steps=4,
        on_step=lambda done, total: calls.append((done, total)),
    )

    def under(code: Tensor) -> Denoise:
        projected = sdm.unet.project_code(code)
        return denoiser(sdm.unet, projected, sdm.abars, sdm.config, lambda: None)

    codes = sdm.encoder(earlier), sdm.encoder(later)
    one, other = (
        encode(planes, 20, 4, sdm.abars, under(code))
        for planes, code in zip((earlier, later), codes, strict=True)
    )
    share = part[:, None, None, None]
    mixed = (1 - share) * one + share * other
    if arc:
        angle = torch.stack(
            [
                torch.acos(a.flatten() @ b.flatten() / a.norm() / b.norm())
                for a, b in zip(one, other, strict=True)
            ]
        )[:, None, None, None]
        mixed = (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
    code = (1 - part)[:, None] * codes[0] + part[:, None] * codes[1]
    expected = decode(mixed, 20, 4, sdm.abars, under(code))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert calls == [(n, 12) for n in range(1, 13)]


def pairs(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
    """Features of two channels at the planes' own size: grey and its complement."""
    return [torch.cat([planes, 1 - planes], dim=1) for _ in levels]


def test_an_untrained_copy_loses_nothing_on_equal_images() -> None:
    images = torch.rand(2, 1, 8, 8)

    loss = adaptation_loss(pairs, pairs, images, images)

    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_adaptation_loss_worked_by_hand() -> None:
    images, healthy = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.6)

    def turned(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        return [f.flip(1) for f in pairs(planes, levels)]

    loss = adaptation_loss(pairs, turned, images, healthy, levels=(2,), distillation=0.1)

    apart = 1 - 0.6 / 0.52**0.5  # between image and reconstruction
    image_moved = 1 - 0.0  # (1, 0) against (0, 1)
    healthy_moved = 1 - 0.48 / 0.52  # (0.6, 0.4) against (0.4, 0.6)
    assert loss.item() == pytest.approx(apart + 0.1 * (image_moved + healthy_moved), rel=1e-5)
