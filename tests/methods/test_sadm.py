from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from napari_followup.diffusion.anomalies import perlin_anomalies
from napari_followup.methods import sadm as sadm_module
from napari_followup.methods.method import Evidence, Visits, main_stage
from napari_followup.methods.sadm import COMPACT, PUBLISHED, SADM, SADMConfig, SADMOptions
from napari_followup.scores.distance import structural_distance
from napari_followup.scores.filters import median_filter

BASE = {
    "dimensions": 2,
    "channels": (8, 16),
    "code_features": 6,
}
TINY = SADMConfig(
    image_size=(16, 16), base="vae3d", base_config=BASE, channels=(8, 16), anomalies="shapes"
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def silent(done: int, total: int) -> None:
    """Nobody listens."""


@pytest.fixture
def sadm() -> SADM:
    return SADM(TINY).eval().requires_grad_(False)


def series(depth: int = 2, modalities: int = 1) -> Visits:
    images = torch.rand(3, modalities, depth, 16, 16, generator=generator(5))
    return Visits(images=images, ages=torch.arange(3.0))


def test_score_is_structure_plus_segmentation_of_each_plane(sadm: SADM) -> None:
    visits = series()

    found = sadm.examine(visits, SADMOptions(), generator(), silent)

    healthy = sadm.base.examine(visits, sadm.base_options, generator(), silent).healthy[0]
    assert torch.equal(found.healthy[0], healthy)
    for visit in range(3):
        for z in range(2):
            x, rec = visits.images[visit, :, z][None], healthy[visit, :, z][None]
            structure = structural_distance(x, rec, sigma=1.0, data_range=1.0)[0, 0]
            segmentation = torch.sigmoid(sadm.segmenter(x - rec, x))[0, 0]
            torch.testing.assert_close(
                found.score[visit, z], structure + segmentation, atol=1e-4, rtol=1e-4
            )


def test_weights_and_median_touch_one_branch_each(sadm: SADM) -> None:
    visits = series()

    def score(**settings: float) -> torch.Tensor:
        found = sadm.examine(visits, SADMOptions(**settings), generator(), silent).score
        assert found is not None
        return found

    structure, segmentation = score(segmentation=0.0), score(structure=0.0)

    torch.testing.assert_close(
        score(structure=0.5, segmentation=2.0), 0.5 * structure + 2 * segmentation
    )
    torch.testing.assert_close(score(median=3), median_filter(structure, 3) + segmentation)


def test_stages_are_those_of_the_base_and_one_more(sadm: SADM) -> None:
    assert SADM.stages == ("segment",)
    assert sadm.stages == ("reconstruct", "segment")
    assert main_stage(sadm) == "reconstruct"
    assert sadm.parts_of("reconstruct") == sadm.base.parts_of("reconstruct")
    assert sadm.parts_of("segment") == (sadm.segmenter,)


def test_each_stage_trains_its_own_parts() -> None:
    sadm, images = SADM(TINY), torch.rand(4, 1, 16, 16)

    sadm.begin("reconstruct")
    sadm.loss("reconstruct", images, generator()).backward()
    assert all(p.grad is None for p in sadm.segmenter.parameters())
    sadm.zero_grad()
    sadm.begin("segment")
    sadm.loss("segment", images, generator()).backward()

    assert all(p.grad is None for p in sadm.base.parameters())
    assert all(p.grad is not None for p in sadm.segmenter.parameters())


def test_loss_of_the_base_is_its_own(sadm: SADM) -> None:
    images = torch.rand(4, 1, 16, 16)

    found = sadm.loss("reconstruct", images, generator(2))

    assert torch.equal(found, sadm.base.loss("reconstruct", images, generator(2)))


@pytest.mark.parametrize("own_masks", [True, False])
def test_segmentation_loss_is_the_cross_entropy_of_the_mask(own_masks: bool) -> None:
    config = replace(TINY, anomalies="perlin", value_range=(-1.0, 1.0))
    sadm = SADM(replace(config, synthetic_anomalies=not own_masks)).eval()
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    shown, masks = perlin_anomalies((images + 1) / 2, generator(3))
    shown = 2 * shown - 1

    batch = (shown, masks.bool()) if own_masks else images
    loss = sadm.loss("segment", batch, generator(3))

    healthy = sadm.base.reconstruct(shown, sadm.base_options, generator())[0]
    chance = torch.sigmoid(sadm.segmenter(shown - healthy, shown))
    expected = -(masks * chance.log() + (1 - masks) * (1 - chance).log()).mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-4)


def shown_to(
    model: SADM, batch: object, seed: int, monkeypatch: pytest.MonkeyPatch
) -> list[torch.Tensor]:
    """Planes that the segmenting network is shown, and the masks it is held to."""
    seen: list[torch.Tensor] = []
    healthy = model._healthy
    monkeypatch.setattr(
        model, "_healthy", lambda planes, draws: seen.append(planes) or healthy(planes, draws)
    )
    monkeypatch.setattr(
        sadm_module.F,
        "binary_cross_entropy_with_logits",
        lambda logits, masks: seen.append(masks) or logits.mean(),
    )
    model.loss("segment", batch, generator(seed))
    return seen


def test_planes_with_a_mask_keep_it_and_healthy_ones_may_get_an_anomaly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planes = torch.rand(4000, 1, 16, 16, generator=generator(1))
    own = torch.zeros(4000, 1, 16, 16)
    own[:1000, :, 3:6, 3:6] = 1.0
    model = SADM(replace(TINY, anomalies="perlin", anomalous_share=0.8)).eval()

    shown, masks = shown_to(model, (planes, own.bool()), 4, monkeypatch)

    assert torch.equal(shown[:1000], planes[:1000])
    assert torch.equal(masks[:1000], own[:1000])
    made = masks[1000:].flatten(1).any(dim=1)
    # 0.8 of a batch are anomalous, half of these by masks: 0.4 of the 0.6 that are healthy
    assert model.masked_stages == {"segment": 0.4}
    assert made.float().mean().item() == pytest.approx(0.4 / 0.6, abs=0.06)
    assert torch.equal(shown[1000:][~made], planes[1000:][~made])
    changed = (shown - planes)[1000:].abs() > 1e-6
    assert (changed <= (masks[1000:] > 0)).all()


def test_masks_alone_are_learned_from_where_nothing_may_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = SADM(replace(TINY, synthetic_anomalies=False)).eval()
    planes, masks = torch.rand(6, 1, 16, 16), torch.zeros(6, 1, 16, 16)
    masks[0, :, 2:4, 2:4] = 1.0

    with pytest.raises(ValueError, match="learns from planes with masks, got planes alone"):
        model.loss("segment", planes, generator())
    found = shown_to(model, (planes, masks), 0, monkeypatch)

    assert torch.equal(found[0], planes)
    assert torch.equal(found[1], masks)
    assert model.masked_stages == {"segment": 0.5}


def test_segmentation_loss_falls_in_training() -> None:
    torch.manual_seed(0)
    sadm = SADM(TINY)
    images = torch.zeros(16, 1, 16, 16)
    images[..., 4:12, 4:12] = 0.8
    trained = [p for part in sadm.parts_of("segment") for p in part.parameters()]
    optimizer, losses = torch.optim.Adam(trained, lr=3e-3), []
    for _ in range(60):
        loss = sadm.loss("segment", images, generator(len(losses)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_a_base_without_healthy_images_is_refused() -> None:
    with pytest.raises(ValueError, match="'andi' gives no healthy images"):
        SADM(replace(TINY, base="andi", base_config=None, base_preset="compact"))


def test_the_configuration_of_the_base_follows_and_is_kept_whole() -> None:
    sadm = SADM(replace(TINY, modalities=2, image_size=(16, 32)))

    assert sadm.base.config.modalities == 2
    assert sadm.base.config.image_size == (16, 32)
    assert sadm.config.base_config == asdict(sadm.base.config)
    fitted = SADM.fitted(replace(TINY, modalities=2), torch.rand(4, 2, 16, 16))
    assert fitted.base_config["modalities"] == 2
    assert fitted.base_config["code_features"] == 6


def test_a_preset_of_the_base_is_taken_where_no_configuration_is_given() -> None:
    sadm = SADM(SADMConfig(image_size=(32, 32), base="vae3d", base_preset="compact"))

    assert sadm.config.base_config["dimensions"] == 2
    read = json.loads(json.dumps(sadm.config.base_config))
    assert SADM(replace(sadm.config, base_config=read)).config == sadm.config


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"anomalous_share": 0.0}, "anomalous_share must lie in"),
        ({"anomalies": "stripes"}, "anomalies must be 'perlin' or 'shapes', got 'stripes'"),
        ({"base": "sadm"}, "base must be another method"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        SADMConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"base_config": {"dimensions": 3}}, "'vae3d' learns from volumes"),
        (
            {"base": "anofpdm", "base_config": {"synthetic_labels": False}},
            "'anofpdm' learns from planes with labels of the user's; SADM needs",
        ),
        ({"image_size": (16, 20), "channels": (8, 16, 24, 32)}, "multiples of 8 pixels"),
    ],
)
def test_a_base_or_an_image_size_that_does_not_fit_is_refused(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        SADM(replace(TINY, **settings))


def test_presets_stand_on_a_cddpm_and_the_compact_one_is_small() -> None:
    assert PUBLISHED.base == "cddpm"
    assert PUBLISHED.base_options == {"noise_levels": (250, 500, 750)}
    assert sum(parameter.numel() for parameter in SADM(COMPACT).parameters()) < 3.5e6


def test_structure_is_measured_between_zero_and_one_whatever_the_value_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SSIM compares means, which it takes to be positive."""
    signed = SADM(replace(TINY, value_range=(-1.0, 1.0))).eval().requires_grad_(False)
    plain, visits = SADM(TINY).eval().requires_grad_(False), series()
    healthy = torch.rand(1, *visits.images.shape)
    options = SADMOptions(segmentation=0.0)

    def score(model: SADM, shown: Visits, drawn: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(model.base, "examine", lambda *given: Evidence(healthy=drawn))
        found = model.examine(shown, options, generator(), silent).score
        assert found is not None
        return found

    found = score(signed, replace(visits, images=2 * visits.images - 1), 2 * healthy - 1)

    torch.testing.assert_close(found, score(plain, visits, healthy), atol=1e-4, rtol=1e-4)
