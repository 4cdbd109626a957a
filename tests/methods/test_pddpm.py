from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_followup.bundle import ModelBundle, load_bundle, save_bundle
from napari_followup.diffusion.noise import simplex
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.method import Visits
from napari_followup.methods.pddpm import (
    COMPACT,
    PDDPM,
    PUBLISHED_RECIPE,
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


@pytest.fixture
def model() -> PDDPM:
    found = PDDPM(TINY).eval().requires_grad_(False)
    for parameter in found.parameters():
        if not parameter.any():  # what starts at zero would hide what lies before it
            parameter.normal_(std=0.2)
    return found


def test_presets_say_what_the_source_says_and_the_compact_one_is_small() -> None:
    assert THESIS.patch == (48, 48)
    assert (THESIS.positions, THESIS.loss_on) == ("grid", "patch")
    assert (THESIS.noise, THESIS.prediction, THESIS.loss) == ("simplex", "clean", "l1")
    assert PDDPMOptions() == PDDPMOptions(**PUBLISHED_RECIPE.options)
    assert sum(parameter.numel() for parameter in PDDPM(COMPACT).parameters()) < 2.8e6


@pytest.mark.parametrize(
    ("patch", "starts"),
    [
        (None, [(0, 0), (0, 8), (8, 0), (8, 8)]),
        ((16, 7), [(0, 0), (0, 4), (0, 9)]),  # 4.5 is rounded to even
    ],
)
def test_each_patch_is_read_from_its_clean_surroundings_and_overlaps_are_averaged(
    model: PDDPM, patch: tuple[int, int] | None, starts: list[tuple[int, int]]
) -> None:
    """Slow: one image and one patch at a time, with slices and no masks."""
    planes = torch.rand(2, 1, 16, 16)
    height, width = patch or (8, 8)

    options = PDDPMOptions(noise_levels=(10,), patch=patch)
    found = model.reconstruct(planes, options, generator(5))

    source, abar = generator(5), linear_schedule(20)[10].float()
    total, count = torch.zeros_like(planes), torch.zeros_like(planes)
    for row, column in starts:
        noise = simplex((2, 1, 16, 16), source, planes)
        for index in range(2):
            here = (..., slice(row, row + height), slice(column, column + width))
            shown = planes[index].clone()
            shown[here] = abar.sqrt() * shown[here] + (1 - abar).sqrt() * noise[index][here]
            steps = model.unet.project_steps(torch.tensor([10]))
            made = model.unet(shown[None], steps, model.unet.project_code(None))[0].clamp(0, 1)
            total[index][here] += made[here]
            count[index][here] += 1
    torch.testing.assert_close(found[0], total / count, atol=1e-5, rtol=1e-4)


def test_every_network_call_is_counted_once(model: PDDPM) -> None:
    seen: list[tuple[int, int]] = []

    options = replace(OPTIONS, overlap=4)  # three by three patches
    model.reconstruct(
        torch.rand(1, 1, 16, 16), options, generator(), lambda done, all_: seen.append((done, all_))
    )

    assert seen == [(n, 12 * 9) for n in range(1, 12 * 9 + 1)]


def test_draws_stand_side_by_side_levels_first(model: PDDPM) -> None:
    planes = torch.rand(3, 1, 16, 16)

    healthy = model.reconstruct(planes, OPTIONS, generator())

    assert healthy.shape == (4, 3, 1, 16, 16)
    first = model.reconstruct(planes, replace(OPTIONS, noise_levels=(4,)), generator())
    torch.testing.assert_close(healthy[:2], first)
    assert not torch.allclose(healthy[0], healthy[1])


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


def test_loss_falls_when_the_network_learns() -> None:
    fresh, images = PDDPM(TINY), torch.rand(1, 1, 16, 16).expand(8, -1, -1, -1)
    optimizer = torch.optim.Adam(fresh.parts_of("denoise")[0].parameters(), lr=3e-3)
    fresh.begin("denoise")
    losses = []
    for _ in range(40):
        loss = fresh.loss("denoise", images, generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.7 * losses[0]


def test_a_model_comes_back_from_its_bundle_as_it_was(model: PDDPM, tmp_path: Path) -> None:
    bundle = ModelBundle(
        name="tiny", method="pddpm", config=asdict(TINY), weights=model.state_dict()
    )
    planes = torch.rand(1, 1, 16, 16)

    back = load_bundle(save_bundle(bundle, tmp_path / "tiny.safetensors", half=False)).build("cpu")

    assert back.config == TINY
    torch.testing.assert_close(
        back.reconstruct(planes, OPTIONS, generator()),
        model.reconstruct(planes, OPTIONS, generator()),
        atol=1e-3,
        rtol=1e-3,
    )


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
