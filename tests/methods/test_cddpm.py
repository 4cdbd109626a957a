from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.diffusion.erasing import random_tiles
from napari_followup.diffusion.noise import simplex
from napari_followup.diffusion.schedule import linear_schedule
from napari_followup.methods.cddpm import (
    CDDPM,
    COMPACT,
    PRETRAINED,
    THESIS,
    CDDPMConfig,
    CDDPMOptions,
)
from napari_followup.methods.method import main_stage
from napari_followup.networks.blocks import sinusoids
from napari_followup.series.stack import VisitStack
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.train import train

TINY = CDDPMConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
    code_features=12,
    encoder_depth=18,
    encoder_width=8,
    encoder_stem_norm="group",
    encoder_pool=False,
    tile=4,
    steps=20,
)
OPTIONS = CDDPMOptions(noise_levels=(4, 10), draws=2, sampling_steps=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> CDDPM:
    found = CDDPM(TINY).eval().requires_grad_(False)
    for parameter in found.unet.parameters():
        if not parameter.any():  # what starts at zero would hide what lies before it
            parameter.normal_(std=0.2)
    return found


def test_presets_say_what_the_source_says_and_the_compact_one_is_small() -> None:
    assert (THESIS.noise, THESIS.prediction, THESIS.loss) == ("simplex", "clean", "l1")
    assert (THESIS.code_features, THESIS.masked) == (128, 0.65)
    assert replace(THESIS, pretraining=True) == PRETRAINED
    assert CDDPMOptions().noise_levels == (THESIS.steps // 2,)
    assert sum(parameter.numel() for parameter in CDDPM(COMPACT).parameters()) < 3e6


def test_step_and_code_are_joined_and_scale_and_shift_every_block(model: CDDPM) -> None:
    """f' = f · (γ + 1) + β, with γ and β from the concatenation of step and code."""
    planes, h = torch.rand(2, 1, 16, 16), torch.randn(2, 8, 8, 8)
    block = model.unet.down[0].block
    norm = block.adaptive

    code = model.encoder(planes)
    step = model.unet.step_embedding.layers(sinusoids(torch.tensor([7]), 16)).expand(2, -1)
    found = norm(
        h,
        model.unet.project_steps(torch.tensor([7]))[0],
        model.unet.project_code(code)[0],
    )

    joined = torch.cat([step, code], dim=1)
    assert joined.shape == (2, 28)
    gamma, beta = F.linear(F.silu(joined), norm.project.weight, norm.project.bias).chunk(2, dim=1)
    f = F.group_norm(h, 8, norm.norm.weight, norm.norm.bias)
    expected = f * (gamma[..., None, None] + 1) + beta[..., None, None]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_ensemble_is_the_mean_of_single_levels(model: CDDPM) -> None:
    planes = torch.rand(3, 1, 16, 16)
    source, single = generator(7), []
    for level in (5, 10, 15):
        abar = linear_schedule(20)[level].float()
        noised = abar.sqrt() * planes + (1 - abar).sqrt() * simplex((3, 1, 16, 16), source, planes)
        steps = model.unet.project_steps(torch.tensor([level]))
        code = model.unet.project_code(model.encoder(planes))
        single.append(model.unet(noised, steps, code).clamp(0, 1))

    found = model.reconstruct(planes, CDDPMOptions(noise_levels=(5, 10, 15)), generator(7))

    torch.testing.assert_close(found.mean(dim=0), sum(single) / 3, atol=1e-5, rtol=1e-4)


def test_every_network_call_is_counted_once_and_the_code_is_made_once(
    model: CDDPM, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    encoded: list[Tensor] = []
    encode = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x: (encoded.append(x), encode(x))[1])

    model.reconstruct(
        torch.rand(1, 1, 16, 16), OPTIONS, generator(), lambda done, all_: seen.append((done, all_))
    )

    assert seen == [(n, 12) for n in range(1, 13)]
    assert len(encoded) == 1


def test_pre_training_comes_first_takes_a_tenth_and_leaves_no_decoder_behind() -> None:
    model = CDDPM(replace(TINY, pretraining=True))
    weights = set(model.state_dict())

    assert CDDPM(TINY).stages == ("denoise",)
    assert model.stages == ("pretrain", "denoise")
    assert main_stage(model) == "denoise"
    model.begin("pretrain")
    assert model.parts_of("pretrain") == (model.encoder, model.decoder)
    assert set(model.state_dict()) > weights
    model.begin("denoise")
    assert model.parts_of("denoise") == (model.unet, model.encoder)
    assert set(model.state_dict()) == weights


def test_training_runs_both_stages_and_the_bundle_holds_no_decoder(tmp_path: Path) -> None:
    stacks = [
        VisitStack.from_array(np.random.default_rng(seed).random((2, 16, 16)), subject=f"{seed}")
        for seed in range(3)
    ]
    settings = {
        name: value
        for name, value in asdict(replace(TINY, pretraining=True, steps=300)).items()
        if name not in ("modalities", "value_range", "beta_range")
    }

    plan = TrainingPlan(steps=20, batch=2)
    bundle = train("cddpm", stacks, tmp_path, plan, settings=settings, device="cpu")

    assert [stage for stage in ("pretrain", "denoise") if (tmp_path / stage).is_dir()] == [
        "pretrain",
        "denoise",
    ]
    assert set(bundle.weights) == set(CDDPM(TINY).state_dict())
    assert bundle.build("cpu").stages == ("pretrain", "denoise")


def test_pre_training_is_judged_by_what_was_masked() -> None:
    model = CDDPM(replace(TINY, pretraining=True)).eval()
    images = torch.rand(4, 1, 16, 16)
    model.begin("pretrain")

    loss = model.loss("pretrain", images, generator())

    cover = random_tiles(images, 4, 0.65, generator()).bool()
    stages = model.encoder.features(images.masked_fill(cover, 0.0), (1, 2, 3, 4))
    wrong = (model.decoder(stages, images) - images)[cover]
    torch.testing.assert_close(loss, wrong.square().mean())


def test_pre_training_has_to_begin() -> None:
    with pytest.raises(ValueError, match='call begin\\("pretrain"\\) first'):
        CDDPM(TINY).loss("pretrain", torch.rand(1, 1, 16, 16), generator())


@pytest.mark.parametrize("stage", ["pretrain", "denoise"])
def test_loss_of_every_stage_falls_when_the_network_learns(stage: str) -> None:
    fresh, images = CDDPM(TINY), torch.rand(1, 1, 16, 16).expand(8, -1, -1, -1)
    fresh.begin(stage)
    trained = [each for part in fresh.parts_of(stage) for each in part.parameters()]
    optimizer = torch.optim.Adam(trained, lr=3e-3)
    losses = []
    for _ in range(40):
        loss = fresh.loss(stage, images, generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.6 * losses[0]


def test_settings_and_options_are_checked_where_they_are_made() -> None:
    with pytest.raises(ValueError, match=r"masked must lie in \(0, 1\)"):
        CDDPMConfig(masked=1.0)
    with pytest.raises(ValueError, match="noise: got 'pink'"):
        CDDPMConfig(noise="pink")
    with pytest.raises(ValueError, match="noise_levels must name steps"):
        CDDPMOptions(noise_levels=(0,))
