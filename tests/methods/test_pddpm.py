from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.noise import simplex
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Visits
from napari_followup.methods.pddpm import (
    COMPACT,
    PDDPM,
    THESIS,
    PDDPMConfig,
    PDDPMOptions,
)

TINY = PDDPMConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
    steps=20,
)
OPTIONS = PDDPMOptions(noise_levels=(4, 10), draws=2, sampling_steps=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: PDDPMConfig) -> PDDPM:
    """Untrained network whose layers that start at zero have values."""
    found = PDDPM(config).eval().requires_grad_(False)
    for parameter in found.parameters():
        if not parameter.any():  # what starts at zero would hide what lies before it
            parameter.normal_(std=0.2)
    return found


@pytest.fixture
def model() -> PDDPM:
    return awake(TINY)


def test_presets_say_what_the_source_says_and_the_compact_one_is_small() -> None:
    assert THESIS.patch == (48, 48)
    assert (THESIS.positions, THESIS.loss_on) == ("grid", "patch")
    assert (THESIS.noise, THESIS.prediction, THESIS.loss) == ("simplex", "clean", "l1")
    assert sum(parameter.numel() for parameter in PDDPM(COMPACT).parameters()) < 2.8e6


def placed(whole: int, side: int, overlap: int) -> list[int]:
    """Fewest evenly spaced places of a patch that share so many pixels; halves go to the even."""
    number = 1
    while number * side - (number - 1) * overlap < whole:
        number += 1
    return [round(n * (whole - side) / max(1, number - 1)) for n in range(number)]


@pytest.mark.parametrize(
    ("size", "patch", "overlap", "number"),
    [
        ((16, 16), None, 0, 4),
        ((16, 16), (16, 7), 0, 3),
        ((16, 16), (8, 8), 4, 9),
        ((16, 16), (8, 8), 7, 81),
        ((24, 16), (7, 10), 0, 4 * 2),  # neither side is a multiple of the patch
        ((24, 16), (7, 10), 3, 6 * 2),
        ((12, 20), (12, 20), 5, 1),
    ],
)
def test_each_patch_is_read_from_its_clean_surroundings_and_overlaps_are_averaged(
    size: tuple[int, int], patch: tuple[int, int] | None, overlap: int, number: int
) -> None:
    """Slow: one image and one patch at a time, with slices and no masks."""
    model = awake(replace(TINY, image_size=size))
    planes = torch.rand(2, 1, *size)
    height, width = patch or (8, 8)

    options = PDDPMOptions(noise_levels=(10,), patch=patch, overlap=overlap)
    found = model.reconstruct(planes, options, generator(5))

    source, abar = generator(5), linear_schedule(20)[10].float()
    total, seen = torch.zeros_like(planes), torch.zeros_like(planes)
    corners = list(product(placed(size[0], height, overlap), placed(size[1], width, overlap)))
    assert len(corners) == number
    for row, column in corners:
        noise = simplex((2, 1, *size), source, planes)
        for index in range(2):
            here = (..., slice(row, row + height), slice(column, column + width))
            shown = planes[index].clone()
            shown[here] = abar.sqrt() * shown[here] + (1 - abar).sqrt() * noise[index][here]
            steps = model.unet.project_steps(torch.tensor([10]))
            made = model.unet(shown[None], steps, model.unet.project_code(None))[0].clamp(0, 1)
            total[index][here] += made[here]
            seen[index][here] += 1
    torch.testing.assert_close(found[0], total / seen, atol=1e-5, rtol=1e-4)


def test_every_network_call_is_counted_once(model: PDDPM) -> None:
    seen: list[tuple[int, int]] = []

    options = replace(OPTIONS, overlap=4)  # three by three patches
    model.reconstruct(
        torch.rand(1, 1, 16, 16), options, generator(), lambda done, all_: seen.append((done, all_))
    )

    assert seen == [(n, 12 * 9) for n in range(1, 12 * 9 + 1)]


def test_surroundings_are_clean_at_every_step_of_a_longer_walk(
    model: PDDPM, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes, shown = torch.rand(1, 1, 16, 16), []

    def answer(x: Tensor, step: list[Tensor], code: list[Tensor]) -> Tensor:
        shown.append(x)
        return torch.zeros_like(x)

    monkeypatch.setattr(model.unet, "forward", answer)
    options = PDDPMOptions(noise_levels=(10,), sampling_steps=3)
    healthy = model.reconstruct(planes, options, generator())

    for index, x in enumerate(shown):
        row, column = [(0, 0), (0, 8), (8, 0), (8, 8)][index // 3]
        outside = torch.ones(16, 16, dtype=torch.bool)
        outside[row : row + 8, column : column + 8] = False
        assert torch.equal(x[..., outside], planes[..., outside])
        assert not torch.isclose(x[..., ~outside], planes[..., ~outside]).all()
    assert len(shown) == 12
    assert not healthy.any()


def test_evidence_has_the_axes_of_the_visits(model: PDDPM) -> None:
    visits = Visits(images=torch.rand(2, 1, 3, 16, 16), ages=torch.arange(2.0))

    found = model.examine(visits, OPTIONS, generator(), lambda done, total: None)

    assert found.healthy is not None
    assert found.healthy.shape == (4, 2, 1, 3, 16, 16)


@pytest.mark.parametrize("positions", ["grid", "anywhere"])
@pytest.mark.parametrize("loss_on", ["patch", "image"])
def test_loss_is_the_mean_error_inside_the_patch_or_everywhere(
    positions: str, loss_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = PDDPM(replace(TINY, positions=positions, loss_on=loss_on))
    images, shown = torch.rand(12, 1, 16, 16), []
    answer = torch.rand(12, 1, 16, 16)

    def record(x: Tensor, step: list[Tensor], code: list[Tensor]) -> Tensor:
        shown.append(x)
        return answer

    monkeypatch.setattr(fresh.unet, "forward", record)
    loss = fresh.loss("denoise", images, generator())

    errors, places = [], set()
    for x, image, predicted in zip(shown[0], images, answer, strict=True):
        rows, columns = (x[0] != image[0]).nonzero().T
        row, column = int(rows.min()), int(columns.min())
        assert (int(rows.max()) - row, int(columns.max()) - column) == (7, 7)
        places.add((row, column))
        here = (0, slice(row, row + 8), slice(column, column + 8))
        error = (predicted - image).abs()
        errors.append((error[here] if loss_on == "patch" else error).mean())
    assert (places <= {(0, 0), (0, 8), (8, 0), (8, 8)}) == (positions == "grid")
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_a_patch_larger_than_the_image_is_refused(model: PDDPM) -> None:
    options = PDDPMOptions(noise_levels=(10,), patch=(8, 17))

    with pytest.raises(ValueError, match="got 8 x 17 pixels, larger than the image of 16 x 16"):
        model.reconstruct(torch.rand(1, 1, 16, 16), options, generator())
    with pytest.raises(ValueError, match="larger than the image of 6 x 6"):
        model.loss("denoise", torch.rand(1, 1, 6, 6), generator())


def test_settings_and_options_are_checked_where_they_are_made() -> None:
    with pytest.raises(ValueError, match=r"patch_share must lie in \(0, 1\], got 1\.5"):
        PDDPMConfig(patch_share=1.5)
    with pytest.raises(ValueError, match="noise: got 'pink'"):
        PDDPMConfig(noise="pink")
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        PDDPMOptions(draws=0)
