from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.diffusion.process import add_noise
from napari_followup.diffusion.sampling import decode
from napari_followup.diffusion.visits import draw_visits, moved
from napari_followup.methods.method import Visits
from napari_followup.methods.tdm import COMPACT, TDM, THESIS, TDMConfig, TDMOptions
from napari_followup.models.bundle import ModelBundle

TINY = TDMConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    unshuffle=2,
    condition_features=16,
    dropout=0.0,
    encoder_blocks=1,
    encoder_features=8,
    encoder_growth=8,
    references=3,
    backward=True,
    motion=True,
    prediction="clean",
    steps=20,
    age_mean=62.0,
    age_sd=2.0,
    gap_sd=2.0,
)
FORWARD = replace(TINY, references=1, backward=False, motion=False, prediction="noise")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: TDMConfig) -> TDM:
    """Untrained network whose layers that start at zero have values."""
    torch.manual_seed(0)
    tdm = TDM(config).eval()
    with torch.no_grad():
        for parameter in tdm.unet.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return tdm.requires_grad_(False)


@pytest.fixture
def tdm(tiny_tdm: ModelBundle) -> TDM:
    return tiny_tdm.build("cpu")


def known(visits: int = 3, series: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Images, ages, and a wanted age to which the first visit is nearest."""
    images = torch.rand(series, visits, 1, 16, 16, generator=generator(7))
    ages = torch.tensor([62.0, 60.0, 65.0, 58.0, 67.0], dtype=torch.float64)[:visits]
    return images, ages.expand(series, -1), torch.tensor([63.0, 62.5], dtype=torch.float64)[:series]


def noise(draws: int = 1, series: int = 2) -> Tensor:
    return torch.randn(draws, series, 1, 16, 16, generator=generator(11))


def test_thesis_preset_is_table_6_1() -> None:
    tdm = TDM(THESIS)

    assert len(tdm.encoder.blocks) == 8
    assert tdm.encoder.stem.weight.shape == (64, 1, 3, 3)
    assert tdm.encoder.outputs == 8 * 64
    assert THESIS.image_size == (64, 64)
    assert THESIS.modalities == 1
    assert THESIS.channels == (32, 64, 128, 256)
    assert tdm.unet.blocks == 2
    assert len(tdm.unet.down) == 8
    assert THESIS.dropout == 0.1
    assert THESIS.condition_features == 32
    assert (tdm.from_age.out_features, tdm.from_gap.out_features) == (32, 32)
    assert THESIS.steps == 1000
    assert THESIS.beta_range == (1e-4, 2e-2)
    assert len(tdm.abars) == 1001
    assert (THESIS.prediction, THESIS.references, THESIS.backward) == ("noise", 1, False)
    assert (THESIS.motion, THESIS.unshuffle) == (False, 1)
    assert tdm.unet.stem.in_channels == 1
    names = [type(module).__name__ for module in tdm.unet.modules()]
    assert "SelfAttention" not in names
    assert names.count("SummedCondition") == 8 + 2 + 12


def test_compact_preset_is_small_and_takes_several_visits_and_both_directions() -> None:
    tdm = TDM(COMPACT)

    assert sum(parameter.numel() for parameter in tdm.parameters()) < 3e6
    assert COMPACT.references > 1
    assert COMPACT.backward


def test_a_fresh_network_leaves_everything_as_it_is() -> None:
    images, ages, wanted = known()

    found = TDM(TINY).predict(images, ages, wanted, noise(2))

    assert found.shape == (2, 2, 1, 16, 16)
    torch.testing.assert_close(found, images[:, 0].expand(2, -1, -1, -1, -1))


def test_without_time_nothing_moves() -> None:
    tdm = awake(TINY)
    rest = [channel for channel in range(3 * 4) if channel < 4]  # folded: 1 modality, 2 motion
    tdm.unet.head[2].weight[rest] = 0.0
    tdm.unet.head[2].bias[rest] = 0.0
    images, ages, wanted = known()

    still = tdm.predict(images, ages, ages[:, 0], noise())
    later = tdm.predict(images, ages, wanted, noise())

    torch.testing.assert_close(still[0], images[:, 0])
    assert (later[0] - images[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 0), (0, -2), (-1, 4)])
def test_an_image_moves_by_whole_pixels_exactly_and_its_edges_are_repeated(
    down: int, right: int
) -> None:
    images = torch.rand(2, 3, 9, 12)
    motion = torch.tensor([-down, -right]).float()[None, :, None, None].expand(2, 2, 9, 12)

    found = moved(images, motion)  # the motion says from where a pixel is read

    rows = (torch.arange(9) - down).clamp(0, 8)
    columns = (torch.arange(12) - right).clamp(0, 11)
    torch.testing.assert_close(found, images[..., rows, :][..., columns], atol=2e-5, rtol=0)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    images = torch.rand(1, 1, 6, 6)
    motion = torch.zeros(1, 2, 6, 6)
    motion[:, 0] = 0.5

    found = moved(images, motion)

    torch.testing.assert_close(found[..., :5, :], (images[..., 1:, :] + images[..., :-1, :]) / 2)


def test_the_change_is_a_speed_times_a_time_and_a_rest() -> None:
    tdm = awake(TINY)
    images, ages, wanted = known()
    conditions = tdm.conditions(images, wanted[:, None] - ages, wanted)
    steps, noised = torch.tensor([5]), noise()[0]
    base = images[:, 0]
    gap = torch.tensor([[1.5], [-0.5]])

    found = tdm.change(noised, steps, conditions, base, gap)

    out = tdm.unet(noised, tdm.unet.project_steps(steps), conditions)
    coarse = out[:, 1:].unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean(dim=(3, 5))
    speed = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    expected = moved(base, speed * gap[..., None, None]) - base + out[:, :1]
    torch.testing.assert_close(found, expected)


def test_one_network_call_is_the_base_and_the_clean_change_clamped() -> None:
    tdm = awake(TINY)
    images, ages, wanted = known()
    gaps = wanted[:, None] - ages
    conditions = tdm.conditions(images, gaps, wanted)
    base = images[:, 0]

    found = tdm.predict(images, ages, wanted, noise())

    gap = (gaps[:, :1] / 2.0).float()
    change = tdm.change(noise()[0], torch.tensor([20]), conditions, base, gap)
    torch.testing.assert_close(found[0], (base + change).clamp(0, 1))


def test_predictions_stay_in_the_value_range_or_in_that_of_the_base() -> None:
    tdm = awake(TINY)
    tdm.unet.head[2].bias += torch.randn(12, generator=generator()) * 5  # far beyond any range
    images, ages, wanted = known()
    images[0, 0, 0, 3, 4] = 1.75
    images[0, 0, 0, 5, 6] = -0.5
    images[1, 1] += 9.0  # no base

    found = tdm.predict(images, ages, wanted, noise(), sampling_steps=5)[0]

    assert found[0].max() == pytest.approx(1.75)
    assert found[0].min() == pytest.approx(-0.5)
    assert found[1].max() == pytest.approx(1.0)
    assert found[1].min() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 7])
def test_visits_that_a_series_does_not_have_do_not_matter(tdm: TDM, steps: int) -> None:
    images, ages, wanted = known()
    padded = torch.cat([images, torch.full_like(images[:, :2], 1e4)], dim=1)
    years = torch.cat([ages, torch.full_like(ages[:, :2], torch.nan)], dim=1)

    found = tdm.predict(padded, years, wanted, noise(), steps)

    torch.testing.assert_close(found, tdm.predict(images, ages, wanted, noise(), steps))


def test_visits_beside_the_base_may_stand_in_any_order(tdm: TDM) -> None:
    images, ages, wanted = known(5)
    order = [0, 3, 1, 4, 2]

    found = tdm.predict(images[:, order], ages[:, order], wanted, noise())

    torch.testing.assert_close(found, tdm.predict(images, ages, wanted, noise()))


def test_every_known_visit_counts_and_its_age_too(tdm: TDM) -> None:
    images, ages, wanted = known()
    found = tdm.predict(images, ages, wanted, noise())

    for visit in (1, 2):
        other, moment = images.clone(), ages.clone()
        other[:, visit] = 1 - other[:, visit]
        moment[:, visit] += 0.7
        assert not torch.allclose(found, tdm.predict(other, ages, wanted, noise()))
        assert not torch.allclose(found, tdm.predict(images, moment, wanted, noise()))


def test_series_of_one_batch_do_not_see_each_other(tdm: TDM) -> None:
    images, ages, wanted = known()
    together = tdm.predict(images, ages, wanted, noise(), 3)

    for index in range(2):
        one = slice(index, index + 1)
        alone = tdm.predict(images[one], ages[one], wanted[one], noise()[:, one], 3)
        torch.testing.assert_close(together[:, one], alone, atol=1e-5, rtol=1e-4)


def test_draws_differ_with_several_network_calls_and_follow_their_noise(tdm: TDM) -> None:
    images, ages, wanted = known()

    found = tdm.predict(images, ages, wanted, noise(3), 10)

    assert found.std(dim=0).amax() > 1e-3
    torch.testing.assert_close(found, tdm.predict(images, ages, wanted, noise(3), 10))
    alone = tdm.predict(images, ages, wanted, noise(3)[1:2], 10)
    torch.testing.assert_close(found[1:2], alone)


def test_network_calls_are_counted(tdm: TDM) -> None:
    seen: list[tuple[int, int]] = []

    tdm.predict(*known(), noise(2), 3, lambda done, total: seen.append((done, total)))

    assert seen == [(n, 6) for n in range(1, 7)]


def test_a_model_that_goes_forward_sees_no_later_visit() -> None:
    tdm = awake(replace(TINY, backward=False))
    images, ages, wanted = known()
    other = images.clone()
    other[:, 2] = 1 - other[:, 2]  # at 65, after the wanted 63 and 62.5

    found = tdm.predict(images, ages, wanted, noise())

    torch.testing.assert_close(found, tdm.predict(other, ages, wanted, noise()))
    other[:, 1] = 1 - other[:, 1]
    assert not torch.allclose(found, tdm.predict(other, ages, wanted, noise()))
    with pytest.raises(ValueError, match="goes forward in time only and needs an earlier"):
        tdm.predict(images, ages, ages[:, 0] - 3.0, noise())


def test_the_thesis_model_sees_the_base_alone_and_walks_the_noise_back() -> None:
    tdm = awake(FORWARD)
    images, ages, wanted = known()

    found = tdm.predict(images, ages, wanted, noise(), 4)

    torch.testing.assert_close(found, tdm.predict(images[:, :1], ages[:, :1], wanted, noise(), 4))
    base, gap = images[:, 0], wanted - ages[:, 0]
    numbers = tdm.from_age((ages[:, :1].float() - 62) / 2) + tdm.from_gap(gap[:, None].float() / 2)
    maps = torch.cat([tdm.encoder(base), numbers[..., None, None].expand(-1, -1, 8, 8)], dim=1)

    def denoise(noised: Tensor, step: int) -> Tensor:
        steps = torch.tensor([step])
        eps = tdm.unet(noised, tdm.unet.project_steps(steps), tdm.unet.project_maps(maps))
        abar = tdm.abars[step].float()
        return (base + (noised - (1 - abar).sqrt() * eps) / abar.sqrt()).clamp(0, 1) - base

    expected = base + decode(noise()[0], 20, 4, tdm.abars, denoise)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)


def test_the_thesis_loss_is_equation_6_1() -> None:
    tdm = awake(replace(FORWARD, steps=1))  # one step, so that it is known
    images = torch.rand(1, 2, 1, 16, 16)
    ages = torch.tensor([[61.0, 64.0]], dtype=torch.float64)

    found = tdm.loss("change", (images, ages), generator(3))

    base, target = images[:, 0], images[:, 1]  # l_a < l_b, whichever is drawn first
    conditions = tdm.conditions(images[:, :1], torch.tensor([[3.0]]).double(), ages[:, 1])
    errors = []
    drawn = generator(3)
    for _ in range(8):  # the noise is one of the next numbers of the generator
        state = drawn.get_state()
        eps = torch.randn(base.shape, generator=drawn)
        noised = add_noise(target - base, eps, tdm.abars[1].float())
        predicted = tdm.unet(noised, tdm.unet.project_steps(torch.tensor([1])), conditions)
        errors.append((predicted - eps).square().mean().item())
        drawn.set_state(state)
        torch.rand(1, generator=drawn)
    assert min(abs(error - found.item()) for error in errors) < 1e-5


def test_errors_are_measured_by_the_gap() -> None:
    images = torch.rand(2, 2, 1, 16, 16)
    ages = torch.tensor([[61.0, 64.0], [60.0, 60.5]], dtype=torch.float64)

    found = TDM(TINY).loss("change", (images, ages), generator())  # fresh: it predicts no change

    squares = (images[:, 1] - images[:, 0]).square().mean(dim=(1, 2, 3))
    expected = (squares / torch.tensor([0.02 + 1.5**2, 0.02 + 0.25**2])).mean()
    torch.testing.assert_close(found, expected)


def test_the_loss_follows_its_generator_alone() -> None:
    tdm = awake(TINY)
    batch = (torch.rand(3, 4, 1, 16, 16), torch.arange(4.0).double().expand(3, 4) + 60)

    first, again, other = (tdm.loss("change", batch, generator(seed)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize("visits", [2, 3, 6])
@pytest.mark.parametrize("config", [TINY, replace(TINY, references=1), FORWARD])
def test_series_of_any_length_teach(config: TDMConfig, visits: int) -> None:
    tdm = awake(config)
    ages = torch.arange(float(visits)).double().expand(4, visits).clone() + 60
    ages[1, 2:] = torch.nan
    batch = (torch.rand(4, visits, 1, 16, 16), ages)

    losses = [tdm.loss("change", batch, generator(seed)).item() for seed in range(20)]

    assert torch.tensor(losses).isfinite().all()


@pytest.mark.parametrize("backward", [True, False])
def test_tasks_are_drawn_from_the_visits_there_are(backward: bool) -> None:
    tdm = awake(replace(TINY, backward=backward))
    ages = torch.tensor([[60.0, 61.0, 63.0, 66.0, 70.0], [60.0, 61.0, 63.0, *[torch.nan] * 2]])
    wants, bases = set(), set()

    for seed in range(200):
        picks, years = draw_visits(
            ages.double(), tdm.config.references, generator(seed), backward=backward
        )
        there = years.isfinite()
        torch.testing.assert_close(ages.gather(1, picks)[there], years[there].float())
        assert picks.shape == (2, 1 + 3)
        assert there[:, :2].all()
        for row, seen in zip(picks[:, 1:], there[:, 1:], strict=True):
            assert len(set(row[seen].tolist())) == int(seen.sum())  # each known visit once
        assert (picks[:, 0] != picks[:, 1]).all()  # the base is never what is asked for
        if not backward:
            assert (years[:, 0, None] > years[:, 1:])[there[:, 1:]].all()
            assert (years[:, 1, None] >= years[:, 1:])[there[:, 1:]].all()
        wants.update(picks[0, :1].tolist())
        bases.update(picks[0, 1:2].tolist())

    assert wants == ({0, 1, 2, 3, 4} if backward else {1, 2, 3, 4})
    assert bases == ({0, 1, 2, 3, 4} if backward else {0, 1, 2, 3})


def test_a_square_that_moves_is_learnt() -> None:
    torch.manual_seed(0)
    images = torch.zeros(8, 5, 1, 16, 16)
    for series in range(8):
        for visit in range(5):
            images[series, visit, 0, 4:9, 2 + visit + series % 3 : 7 + visit + series % 3] = 1.0
    ages = torch.arange(60.0, 65.0).double().expand(8, 5)
    tdm = TDM(TDM.fitted(replace(TINY, references=2), (images, ages)))
    optimizer = torch.optim.Adam(tdm.parameters(), lr=3e-3)
    with torch.no_grad():
        before = torch.stack(
            [tdm.loss("change", (images, ages), generator(900 + seed)) for seed in range(5)]
        ).mean()

    for step in range(100):
        optimizer.zero_grad()
        tdm.loss("change", (images, ages), generator(step)).backward()
        optimizer.step()

    with torch.no_grad():
        after = torch.stack(
            [tdm.loss("change", (images, ages), generator(900 + seed)) for seed in range(5)]
        ).mean()
        predicted = tdm.eval().predict(
            images[:, [2, 1]], ages[:, [2, 1]], ages[:, 3], torch.randn(1, 8, 1, 16, 16)
        )[0]
    assert after < 0.35 * before
    error = (predicted - images[:, 3]).square().mean()
    assert error < 0.5 * (images[:, 2] - images[:, 3]).square().mean()  # better than a copy


def test_ages_and_gaps_of_the_cohort_are_kept() -> None:
    ages = torch.tensor([[60.0, 61.0, 65.0], [70.0, 72.0, torch.nan]], dtype=torch.float64)

    config = TDM.fitted(TINY, (torch.zeros(2, 3, 1, 16, 16), ages))

    known_ages = torch.tensor([60.0, 61.0, 65.0, 70.0, 72.0])
    gaps = torch.tensor([1.0, 5.0, 4.0, 2.0])
    assert config.age_mean == pytest.approx(known_ages.mean().item())
    assert config.age_sd == pytest.approx(known_ages.std().item())
    assert config.gap_sd == pytest.approx(gaps.square().mean().sqrt().item())
    assert config.age_range == (60.0, 72.0)
    with pytest.raises(ValueError, match="every visit has the same age"):
        TDM.fitted(TINY, (torch.zeros(1, 2, 1, 16, 16), torch.full((1, 2), 60.0)))


def test_every_visit_is_predicted_from_the_others(tdm: TDM) -> None:
    visits = Visits(
        images=torch.rand(3, 1, 2, 16, 16), ages=torch.tensor([60.0, 61.5, 65.0]).double()
    )
    calls: list[tuple[int, int]] = []
    options = TDMOptions(draws=2, sampling_steps=3)

    found = tdm.examine(visits, options, generator(), lambda done, all_: calls.append((done, all_)))

    assert found.healthy is not None
    assert found.healthy.shape == (2, 3, 1, 2, 16, 16)
    assert calls[-1] == (6, 6)
    one = TDMOptions()
    whole = tdm.examine(visits, one, generator(), lambda done, all_: None).healthy
    drawn = torch.randn(1, 8, 1, 16, 16, generator=generator())  # z, task
    tasks = [(0, [1, 2], 1.0), (1, [0, 2], 0.7), (1, [2, 0], 0.3), (2, [1, 0], 1.0)]
    for z in range(2):
        expected = torch.zeros(3, 1, 16, 16)
        for number, (visit, others, weight) in enumerate(tasks):
            predicted = tdm.predict(
                visits.images[None, others, :, z],
                visits.ages[None, others],
                visits.ages[visit : visit + 1],
                drawn[:, z * 4 + number][:, None],
            )
            expected[visit] += weight * predicted[0, 0]
        torch.testing.assert_close(whole[0, :, :, z], expected, atol=1e-5, rtol=1e-4)


def test_a_visit_does_not_see_itself(tdm: TDM) -> None:
    images, ages = torch.rand(3, 1, 1, 16, 16), torch.tensor([60.0, 61.5, 65.0]).double()
    other = images.clone()
    other[1] = 1 - other[1]

    first, second = (
        tdm.examine(Visits(images=x, ages=ages), TDMOptions(), generator(), lambda *n: None).healthy
        for x in (images, other)
    )

    torch.testing.assert_close(first[:, 1], second[:, 1])
    assert not torch.allclose(first[:, 0], second[:, 0])


def test_a_single_visit_has_nothing_to_be_predicted_from(tdm: TDM) -> None:
    visits = Visits(images=torch.rand(1, 1, 1, 16, 16), ages=torch.tensor([60.0]))

    with pytest.raises(ValueError, match="a single visit: there is no other one"):
        tdm.examine(visits, TDMOptions(), generator(), lambda done, total: None)


@pytest.mark.parametrize("config", [TINY, FORWARD])
def test_half_precision_of_networks_is_no_obstacle(config: TDMConfig) -> None:
    tdm = awake(config)
    images, ages, wanted = known()

    with torch.autocast("cpu", torch.bfloat16):
        found = tdm.predict(images, ages, wanted, noise(), 2)

    assert found.dtype == torch.float32
    assert (found - tdm.predict(images, ages, wanted, noise(), 2)).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"beta_range": (0.5, 0.1)}, r"beta_range must rise inside \(0, 1\)"),
        ({"prediction": "noise"}, "motion needs prediction='clean'"),
        ({"references": 0}, "references must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(TINY, **changes)


def test_a_size_that_cannot_be_folded_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(16, 18\); this network takes multiples of 4"):
        TDM(replace(TINY, image_size=(16, 18)))


def test_several_modalities_move_together() -> None:
    tdm = awake(replace(TINY, modalities=2))
    images = torch.rand(1, 2, 2, 16, 16)

    found = tdm.predict(
        images,
        torch.tensor([[61.0, 60.0]]),
        torch.tensor([62.0]),
        torch.randn(1, 1, 2, 16, 16),
    )

    assert found.shape == (1, 1, 2, 16, 16)
    assert asdict(tdm.config)["modalities"] == 2


@pytest.mark.parametrize("config", [FORWARD, replace(TINY, backward=False)])
def test_a_model_that_goes_forward_takes_first_visits_as_they_are(config: TDMConfig) -> None:
    tdm = awake(config)
    visits = Visits(
        images=torch.rand(4, 1, 2, 16, 16), ages=torch.tensor([60.0, 60.0, 61.5, 65.0]).double()
    )

    found = tdm.examine(visits, TDMOptions(draws=2), generator(), lambda done, total: None)

    assert found.healthy is not None
    assert found.healthy.shape == (2, 4, 1, 2, 16, 16)
    torch.testing.assert_close(
        found.healthy[:, :2], visits.images[:2].expand(2, -1, -1, -1, -1, -1)
    )
    assert (found.healthy[:, 2:] - visits.images[2:]).abs().mean() > 0.01
    changed = Visits(images=visits.images.clone(), ages=visits.ages)
    changed.images[3] = 1 - changed.images[3]  # a later visit tells nothing of an earlier one
    again = tdm.examine(changed, TDMOptions(draws=2), generator(), lambda done, total: None)
    torch.testing.assert_close(again.healthy[:, 2], found.healthy[:, 2])


def test_models_of_noise_take_many_steps_and_models_of_images_one_unless_drawn_from() -> None:
    by_noise, by_image = TDM(replace(FORWARD, steps=1000)), TDM(TINY)

    assert by_noise.config.usual_steps(1) == by_noise.config.usual_steps(5) == 100
    assert (by_image.config.usual_steps(1), by_image.config.usual_steps(2)) == (1, 4)
    images, ages, wanted = known()
    by_image.eval()
    with torch.no_grad():
        found = by_image.predict(images, ages, wanted, noise(3), None)
        expected = by_image.predict(images, ages, wanted, noise(3), 10)
    torch.testing.assert_close(found, expected)
