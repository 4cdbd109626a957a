from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.corruption import half_corrupted
from napari_followup.methods.anofpdm import (
    COMPACT,
    PUBLISHED,
    AnoFPDM,
    AnoFPDMConfig,
    AnoFPDMOptions,
)
from napari_followup.methods.method import Visits
from napari_followup.scores.filters import median_filter
from napari_followup.scores.steps import healthy_boundary

TINY = AnoFPDMConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
    dropout=0.0,
    steps=20,
    trained_steps=(1, 20),
)
OPTIONS = AnoFPDMOptions(first_step=1, last_step=16, stride=5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: AnoFPDMConfig) -> AnoFPDM:
    """Untrained network whose layers that start at zero have values."""
    torch.manual_seed(0)
    model = AnoFPDM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return model.requires_grad_(False)


def series(visits: int = 2, modalities: int = 1, depth: int = 1) -> Visits:
    images = torch.rand(visits, modalities, depth, 16, 16, generator=generator(5)) * 2 - 1
    return Visits(images=images, ages=torch.arange(float(visits)))


def silent(done: int, total: int) -> None:
    """Nobody listens."""


def noise_in(model: AnoFPDM, noised: Tensor, step: int, label: int) -> Tensor:
    """Predicted noise under a label, by a call of its own."""
    code = model.unet.project_code(model.labels(torch.tensor([label] * len(noised))))
    return model.unet(noised, model.unet.project_steps(torch.tensor([step])), code)


@pytest.mark.parametrize("forward", ["ddim", "ddpm"])
def test_score_is_worked_step_by_step_from_the_equations(forward: str) -> None:
    model, visits = awake(replace(TINY, modalities=2)), series(3, modalities=2)
    x, w, source = visits.planes, 2.0, generator(4)
    abars = np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-4, 2e-2, 20))])
    steps, noised, kept = [1, 6, 11, 16], x, []
    for t, following in zip(steps, [6, 11, 16, None], strict=True):
        if forward == "ddpm":
            noise = torch.randn(x.shape, generator=source)
            noised = math.sqrt(abars[t]) * x + math.sqrt(1 - abars[t]) * noise
        healthy, none = noise_in(model, noised, t, 0), noise_in(model, noised, t, 2)
        spread, share = math.sqrt(1 - abars[t]), math.sqrt(abars[t])
        guided = (noised - spread * ((1 + w) * healthy - w * none)) / share  # eq. 4
        unguided = (noised - spread * none) / share  # eq. 5
        kept.append(((guided - x) ** 2, (unguided - x) ** 2))
        if forward == "ddim" and following is not None:
            after = abars[following]
            noised = math.sqrt(after) * unguided + math.sqrt(1 - after) * none
    expected = []
    for b in range(3):
        means = [(h[b] - n[b]).abs().mean().item() for h, n in kept]
        end = max(1, int(np.argmax(means)))
        expected.append(torch.stack([h[b].mean(dim=0) for h, _ in kept[:end]]).mean(dim=0))

    options = replace(OPTIONS, forward=forward)
    found = model.examine(visits, options, generator(4), silent)

    assert found.score is not None
    torch.testing.assert_close(found.score[:, 0], torch.stack(expected), rtol=1e-3, atol=1e-5)


def test_guidance_on_clean_images_is_guidance_on_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    model, visits = awake(TINY), series(1)
    by_noise = model.gather(visits.planes, OPTIONS, generator())
    predict = model.clean
    clean = AnoFPDM(replace(TINY, prediction="clean"))
    monkeypatch.setattr(clean, "labelled", model.labelled)
    monkeypatch.setattr(clean, "clean", predict)

    by_image = clean.gather(visits.planes, OPTIONS, generator())

    torch.testing.assert_close(by_image.score(), by_noise.score())


def test_without_guidance_nothing_parts_the_errors_beyond_the_label() -> None:
    model = awake(TINY)
    model.labels.weight[0] = model.labels.weight[2]  # healthy reads as no label at all

    errors = model.gather(series().planes, OPTIONS, generator())

    assert errors.largest.max() < 1e-6


def test_evidence_has_the_axes_of_the_visits_and_a_healthy_image() -> None:
    model, visits = awake(replace(TINY, modalities=2)), series(3, modalities=2, depth=4)
    seen: list[tuple[int, int]] = []

    found = model.examine(visits, OPTIONS, generator(), lambda *call: seen.append(call))

    assert found.healthy is not None
    assert found.healthy.shape == (1, 3, 2, 4, 16, 16)
    assert -1 <= found.healthy.min() <= found.healthy.max() <= 1
    assert found.score is not None
    assert found.score.shape == (3, 4, 16, 16)
    assert seen == [(n, 4) for n in range(1, 5)]
    alone = model.gather(visits.images[1, :, 2][None], OPTIONS, generator()).score()
    torch.testing.assert_close(found.score[1, 2], alone[0], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("known", [None, 1e6])
def test_a_threshold_of_one_cuts_each_image_at_its_quantile_of_algorithm_1(
    known: float | None,
) -> None:
    model, visits = awake(replace(TINY, largest_difference=known)), series(2, depth=2)
    plain = model.examine(visits, OPTIONS, generator(), silent).score
    errors = model.gather(visits.planes, OPTIONS, generator())

    options = replace(OPTIONS, cut=(0.6, 0.9), median=3)
    scaled = model.examine(visits, options, generator(), silent).score

    assert plain is not None
    assert scaled is not None
    most = known or errors.largest.max().item()
    smooth, cut = median_filter(plain, 3), median_filter(scaled, 3) >= 1
    for n, largest in enumerate(errors.largest.tolist()):
        q = 0.9 - 0.3 * round(min(largest / most, 1), 2)
        one = smooth.flatten(0, 1)[n]
        height = np.quantile(one.numpy(), q)
        off = (one - height).abs() > 1e-5 * height  # but for rounding
        assert torch.equal(cut.flatten(0, 1)[n][off], (one >= height)[off])


def test_an_image_whose_errors_are_alike_is_healthy_and_flagged_nowhere() -> None:
    visits, options = series(3), replace(OPTIONS, cut=(0.6, 0.9), median=1)
    likeness = awake(TINY).gather(visits.planes, OPTIONS, generator()).similarity()
    between = likeness.sort().values[1:].mean().item()  # two images below, one above

    model = awake(replace(TINY, healthy_similarity=between))
    found = model.examine(visits, options, generator(), silent).score

    assert found is not None
    assert torch.equal((found >= 1).flatten(1).any(dim=1), likeness < between)
    assert not found[likeness.argmax()].any()


def test_labels_of_a_batch_are_used_and_a_tenth_of_them_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, seen = AnoFPDM(TINY), []
    monkeypatch.setattr(
        model, "labelled", lambda labels: seen.append(labels) or model.unet.project_code(None)
    )
    labels = torch.arange(2).repeat(1000)

    model.loss("denoise", (torch.rand(2000, 1, 16, 16), labels), generator())

    dropped = seen[0] == 2
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(seen[0][~dropped], labels[~dropped])


def test_plain_planes_get_labels_unless_that_is_switched_off() -> None:
    images = torch.rand(4, 1, 16, 16) * 2 - 1

    assert AnoFPDM(TINY).loss("denoise", images, generator()).isfinite()
    strict = AnoFPDM(replace(TINY, synthetic_labels=False))
    assert (AnoFPDM.samples, strict.samples) == ("planes", "labelled")
    with pytest.raises(ValueError, match="learns from images with labels"):
        strict.loss("denoise", images, generator())


def test_steps_that_were_not_trained_are_refused() -> None:
    with pytest.raises(ValueError, match="got steps 1 to 21; this model knows steps 1 to 20"):
        awake(TINY).gather(series().planes, replace(OPTIONS, last_step=21), generator())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta_range": (0.02, 0.01)}, "beta_range must rise"),
        ({"trained_steps": (0, 5)}, "trained_steps: got steps 0 to 5"),
        ({"label_dropout": 0.0}, "label_dropout must lie in"),
        ({"largest_difference": 0.0}, "largest_difference must be positive"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(TINY, **settings)


def test_an_image_size_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4 pixels"):
        AnoFPDM(replace(TINY, image_size=(16, 18)))


def test_presets_are_table_2_and_a_small_network() -> None:
    assert (PUBLISHED.dropout, PUBLISHED.label_dropout, PUBLISHED.steps) == (0.1, 0.1, 1000)
    assert AnoFPDMOptions().guidance == 2.0
    assert sum(parameter.numel() for parameter in AnoFPDM(COMPACT).parameters()) < 2.6e6


@pytest.mark.parametrize("can_tell", [True, False])
def test_largest_difference_and_boundary_are_those_of_the_planes_that_were_held_back(
    can_tell: bool,
) -> None:
    model, planes = awake(TINY), series(3, depth=4).planes
    options = AnoFPDMOptions(first_step=1, last_step=20, stride=2)
    errors = model.gather(planes, options, generator())
    ranks = errors.similarity().argsort().argsort()
    labels = (ranks < 6).long() if can_tell else ranks % 2

    found = model.refined(planes, labels, generator())

    sick = errors.largest[labels > 0].max().item()
    assert found.largest_difference == pytest.approx(sick, rel=1e-3)
    between, _ = healthy_boundary(errors.similarity(), labels == 0)
    expected = pytest.approx(between, abs=1e-4) if can_tell else None
    assert found.healthy_similarity == expected
    assert replace(found, largest_difference=None, healthy_similarity=None) == TINY


def test_half_of_the_planes_are_corrupted_where_no_labels_are_given() -> None:
    model, planes = awake(TINY), series(3, depth=4).planes

    found = model.refined(planes, None, generator(4))

    shown = half_corrupted(planes, generator(4), TINY.value_range)
    assert found == model.refined(*shown, generator())
    alike = model.refined(planes, torch.zeros(12), generator())
    assert alike.healthy_similarity is None
