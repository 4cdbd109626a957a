from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from types import ModuleType

import dask.array
import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.methods.tdm import TDM, TDMConfig
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.gaps import STRATEGIES
from napari_followup.prediction.impute import expected_visits, forecast, imputation
from napari_followup.series import disk_arrays
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

BY_TDM = ("joint", "both sides", "direct", "chain")
BY_CODES = ("lerp-slerp", "lerp-lerp")


@pytest.fixture
def home() -> ModuleType:
    """The module `impute`, which the package hides behind the function."""
    return importlib.import_module("napari_followup.prediction.impute")


@pytest.fixture(autouse=True)
def the_series_stays_as_it_is(tiny_series: VisitStack) -> Iterator[None]:
    before = {name: np.array(getattr(tiny_series, name)) for name in ("images", "ages")}
    observed = tiny_series.is_observed.copy()
    yield
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(tiny_series, name), values)
    np.testing.assert_array_equal(tiny_series.is_observed, observed)


def gapped(series: VisitStack, *visits: int) -> VisitStack:
    images = np.asarray(series.images).copy()
    images[list(visits)] = np.nan
    return series.with_images(images)


def untrained(bundle: ModelBundle, **changes: object) -> ModelBundle:
    """TDM that predicts no change at all."""
    config = replace(TDMConfig(**bundle.config), **changes)
    weights = TDM(config).state_dict()
    return ModelBundle(name="still", method="tdm", config=asdict(config), weights=weights)


def at(stack: VisitStack, age: float) -> np.ndarray:
    """Image at an age, and that there is just one."""
    (place,) = np.flatnonzero(stack.ages == age)
    return np.asarray(stack.images[place])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_visits_are_filled_in_by_age(
    tiny_series: VisitStack, tiny_both: ModelBundle, strategy: str
) -> None:
    found = imputation(
        tiny_series, tiny_both, [63.0, 60.5], strategy=strategy, draws=1, sampling_steps=2, seed=3
    )

    stack = found.stack
    assert stack.ages.tolist() == [60.0, 60.5, 61.0, 62.5, 63.0, 64.0]
    assert found.imputed.tolist() == [False, True, False, False, True, False]
    np.testing.assert_array_equal(stack.is_observed, ~found.imputed)
    assert stack.subject == "tiny"
    np.testing.assert_array_equal(stack.images[stack.is_observed], tiny_series.images)
    assert np.isfinite(stack.images).all()
    for age in (60.5, 63.0):
        assert at(stack, age).min() > -1e-3
        assert at(stack, age).max() < 80 + 1e-3
        assert np.abs(at(stack, age) - tiny_series.images).max(axis=(1, 2, 3, 4)).min() > 0.1
    assert found.spread is None
    said = found.provenance
    assert json.loads(json.dumps(said)) == said
    assert (said["strategy"], said["seed"], said["sampling_steps"]) == (strategy, 3, 2)
    assert said["imputed_ages"] == [60.5, 63.0]
    assert said["method"] == ("tdm" if strategy in BY_TDM else "sdm")
    assert stack.provenance == said
    assert repr(found) == f"Imputation('tiny', 2 of 6 visits imputed, {strategy})"


@pytest.mark.parametrize("strategy", BY_TDM)
def test_visits_before_and_after_the_series_are_filled_in_too(
    tiny_series: VisitStack, tiny_tdm: ModelBundle, strategy: str
) -> None:
    stack = nf.impute(tiny_series, tiny_tdm, [58.0, 59.0, 66.0], strategy=strategy)

    assert stack.ages.tolist() == [58.0, 59.0, 60.0, 61.0, 62.5, 64.0, 66.0]
    assert stack.is_observed.tolist() == [False, False, True, True, True, True, False]
    assert np.isfinite(stack.images).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_missing_visit_is_filled_in_where_it_stands(
    tiny_series: VisitStack, tiny_both: ModelBundle, strategy: str
) -> None:
    series = gapped(tiny_series, 1, 2)

    found = imputation(series, tiny_both, strategy=strategy, sampling_steps=1)

    assert found.stack.ages.tolist() == tiny_series.ages.tolist()
    assert found.imputed.tolist() == [False, True, True, False]
    assert not found.stack.is_missing.any()
    assert np.isnan(series.images[1]).all()


def test_of_several_missing_visits_the_others_stay_missing(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    stack = nf.impute(gapped(tiny_series, 1, 2), tiny_tdm, [62.5, 63.0])

    assert stack.ages.tolist() == [60.0, 61.0, 62.5, 63.0, 64.0]
    assert stack.is_missing.tolist() == [False, True, False, False, False]


def test_an_imputed_visit_is_imputed_anew_from_the_observed_ones(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    once = nf.impute(gapped(tiny_series, 1), tiny_tdm)

    again = nf.impute(once, tiny_tdm, [61.0])

    assert again.ages.tolist() == once.ages.tolist()
    np.testing.assert_allclose(again.images, once.images, atol=1e-4)
    further = nf.impute(once, tiny_tdm, [66.0])
    np.testing.assert_array_equal(further.images[:4], once.images)
    np.testing.assert_allclose(
        at(further, 66.0), at(nf.impute(gapped(tiny_series, 1), tiny_tdm, [66.0]), 66.0), atol=1e-4
    )


@pytest.mark.parametrize("strategy", ["joint", "both sides", "direct"])
def test_an_age_looks_the_same_whatever_else_is_imputed(
    tiny_series: VisitStack, tiny_tdm: ModelBundle, strategy: str
) -> None:
    options = {"strategy": strategy, "draws": 2, "sampling_steps": 3}
    together = nf.impute(tiny_series, tiny_tdm, [59.0, 60.5, 63.0, 66.0], **options)

    for age in (59.0, 60.5, 63.0, 66.0):
        alone = nf.impute(tiny_series, tiny_tdm, [age], **options)
        np.testing.assert_allclose(at(alone, age), at(together, age), atol=1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("planes", [1, 3])
def test_how_many_planes_fit_at_once_does_not_matter(
    tiny_both: ModelBundle,
    home: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    planes: int,
) -> None:
    images = np.random.default_rng(0).random((3, 4, 16, 16))
    stack = VisitStack.from_array(images, axes="vzyx", ages=[60.0, 61.0, 63.0])
    options = {"strategy": strategy, "sampling_steps": 2}
    whole = nf.impute(stack, tiny_both, [60.5, 62.0], **options)

    monkeypatch.setattr(home, "planes_at_once", lambda device, size: planes)
    parts = nf.impute(stack, tiny_both, [60.5, 62.0], **options)

    np.testing.assert_allclose(parts.images, whole.images, atol=1e-4)


def test_a_run_that_does_not_fit_into_memory_begins_anew_with_less(
    tiny_series: VisitStack, tiny_tdm: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = nf.impute(tiny_series, tiny_tdm, [60.5, 63.0, 66.0], strategy="chain")
    predict, sizes = TDM.predict, []

    def scarce(self: TDM, images: torch.Tensor, *rest: object) -> torch.Tensor:
        sizes.append(len(images))
        if len(sizes) == 2:  # after a first visit was finished
            raise MemoryError
        return predict(self, images, *rest)

    monkeypatch.setattr(TDM, "predict", scarce)
    found = nf.impute(tiny_series, tiny_tdm, [60.5, 63.0, 66.0], strategy="chain")

    assert len(sizes) == 5
    assert found.ages.tolist() == whole.ages.tolist()
    np.testing.assert_array_equal(found.images, whole.images)


@pytest.mark.parametrize("strategy", BY_TDM)
def test_planes_of_a_volume_are_imputed_each_for_itself(
    tiny_tdm: ModelBundle, strategy: str
) -> None:
    images = np.random.default_rng(0).random((3, 3, 16, 16))
    images = (images * 1.5 - 0.25).clip(0, 1)  # one scale for any choice of planes
    ages = [60.0, 61.0, 63.0]
    wanted = [60.5, 62.0, 64.0]

    def imputed(planes: np.ndarray) -> np.ndarray:
        stack = VisitStack.from_array(planes, axes="vzyx", ages=ages)
        return np.asarray(nf.impute(stack, tiny_tdm, wanted, strategy=strategy).images)

    whole = imputed(images)

    np.testing.assert_allclose(imputed(images[:, :1]), whole[:, :, :1], atol=1e-4)
    other = images.copy()
    other[:, [0, 2]] = images[:, [2, 0]]
    np.testing.assert_allclose(imputed(other)[:, :, 1], whole[:, :, 1], atol=1e-4)
    assert not np.allclose(imputed(other)[:, :, 0], whole[:, :, 0], atol=0.1)


def test_an_age_between_follows_the_equation(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    """Both sides, by hand: two predictions of the network, weighted by distance."""
    model = tiny_tdm.build("cpu")
    images = torch.from_numpy(np.asarray(tiny_series.images)[:, :, 0]) / 80.0
    noise = torch.from_numpy(
        np.random.default_rng((5, int(np.float64(61.5).view(np.uint64)), 0)).standard_normal(
            (1, 1, 16, 16), dtype=np.float32
        )
    )
    wanted = torch.tensor([61.5], dtype=torch.float64)

    found = nf.impute(tiny_series, tiny_tdm, [61.5], strategy="both sides", draws=1, seed=5)

    with torch.no_grad():
        one, other = (
            model.predict(
                images[None, [visit]], torch.tensor([[age]]).double(), wanted, noise[:, None]
            )[0, 0, 0]
            for visit, age in ((1, 61.0), (2, 62.5))
        )
    expected = 80 * (one * 2 / 3 + other / 3)
    np.testing.assert_allclose(at(found, 61.5)[0, 0], expected, atol=1e-3)


def test_detail_that_the_model_cannot_see_is_that_of_the_base(tiny_tdm: ModelBundle) -> None:
    images = np.random.default_rng(0).random((3, 40, 28)).astype(np.float32) * 200 - 50
    stack = VisitStack.from_array(images, ages=[60.0, 61.0, 63.0])
    still = untrained(tiny_tdm, motion=False)

    direct = nf.impute(stack, still, [60.9, 70.0], strategy="direct")
    chain = nf.impute(stack, still, [61.2, 61.9, 70.0], strategy="chain")
    between = nf.impute(stack, still, [61.5], strategy="both sides")
    joint = nf.impute(stack, still, [70.0])

    assert direct.shape == (5, 1, 1, 40, 28)
    np.testing.assert_allclose(at(direct, 60.9)[0, 0], images[1], atol=0.05)
    np.testing.assert_allclose(at(direct, 70.0)[0, 0], images[2], atol=0.05)
    np.testing.assert_allclose(at(chain, 61.9)[0, 0], images[1], atol=0.05)
    np.testing.assert_allclose(
        at(between, 61.5)[0, 0], 0.75 * images[1] + 0.25 * images[2], atol=0.1
    )
    np.testing.assert_allclose(at(joint, 70.0)[0, 0], images[2], atol=0.05)
    assert "40 x 28 pixels were resampled" in " ".join(direct.provenance["notes"])


def test_a_model_of_no_change_returns_the_base(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    still = untrained(tiny_tdm)

    for strategy in BY_TDM:
        found = nf.impute(tiny_series, still, [58.0, 70.0], strategy=strategy)
        np.testing.assert_allclose(at(found, 58.0), tiny_series.images[0], atol=1e-3)
        np.testing.assert_allclose(at(found, 70.0), tiny_series.images[3], atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "merged"),
    [(np.uint8, np.float32), (np.uint16, np.float32), (np.float32, np.float32), (float, float)],
)
def test_images_of_any_kind_of_number_are_imputed(
    tiny_tdm: ModelBundle, kind: type, merged: type
) -> None:
    images = (np.random.default_rng(0).random((3, 16, 16)) * 200).astype(kind)
    stack = VisitStack.from_array(images, ages=[60.0, 61.0, 63.0])
    still = untrained(tiny_tdm)

    found = nf.impute(stack, still, [62.9])

    assert found.images.dtype == merged
    np.testing.assert_array_equal(found.images[found.is_observed][:, 0, 0], images)
    np.testing.assert_allclose(
        at(nf.impute(stack, still, [62.9], strategy="direct"), 62.9)[0, 0], images[2], atol=0.01
    )
    assert images.dtype == kind


def test_each_modality_comes_back_in_its_own_units(tiny_tdm: ModelBundle) -> None:
    rng = np.random.default_rng(0)
    images = np.stack([rng.random((3, 16, 16)), 1000 * rng.random((3, 16, 16)) - 500], axis=1)
    stack = VisitStack.from_array(
        images, axes="vmyx", ages=[60.0, 61.0, 63.0], modalities=("t1", "t2")
    )

    found = imputation(stack, untrained(tiny_tdm, modalities=2), [64.0], draws=2)

    assert found.stack.modalities == ("t1", "t2")
    np.testing.assert_allclose(at(found.stack, 64.0), stack.images[2], rtol=1e-3, atol=0.05)


def test_lazy_images_are_imputed_and_not_changed(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    lazy = VisitStack.from_array(
        dask.array.from_array(tiny_series.images, chunks=(1, 1, 1, 16, 16)),
        axes="vmzyx",
        ages=tiny_series.ages,
    )

    found = nf.impute(lazy, tiny_tdm, [61.5])

    np.testing.assert_array_equal(
        np.asarray(found.images), nf.impute(tiny_series, tiny_tdm, [61.5]).images
    )


def test_geometry_is_that_of_the_series(tiny_tdm: ModelBundle) -> None:
    stack = VisitStack.from_array(
        np.random.rand(2, 16, 16), ages=[60, 61], spacing=(2, 0.5, 0.5), unit="mm"
    )

    found = nf.impute(stack, tiny_tdm, [62])

    assert (found.spacing, found.unit) == (stack.spacing, "mm")
    np.testing.assert_array_equal(found.affine, stack.affine)


@pytest.mark.parametrize("strategy", ["joint", "chain"])
def test_spread_is_that_of_the_draws_and_observed_visits_have_none(
    tiny_series: VisitStack, tiny_tdm: ModelBundle, home: ModuleType, strategy: str
) -> None:
    options = {"strategy": strategy, "draws": 4, "seed": 2}
    found = imputation(tiny_series, tiny_tdm, [66.0, 60.5, 58.0, 59.0], **options)

    assert found.provenance["sampling_steps"] == 4
    assert found.spread is not None
    assert found.spread.shape == found.stack.shape
    assert found.spread.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found.spread).all(axis=(1, 2, 3, 4)), ~found.imputed)
    assert np.isfinite(found.spread[found.imputed]).all()
    drawn = {}
    kept = home.find
    with pytest.MonkeyPatch.context() as patch:

        def spy(*args: object) -> Iterator[object]:
            for each in kept(*args):
                drawn[each.age] = each.drawn
                yield each

        patch.setattr(home, "find", spy)
        imputation(tiny_series, tiny_tdm, [66.0, 60.5, 58.0, 59.0], **options)
    for age in (58.0, 59.0, 60.5, 66.0):
        (place,) = np.flatnonzero(found.stack.ages == age)
        values = 80 * drawn[age].numpy()
        np.testing.assert_allclose(found.spread[place], values.std(axis=0, ddof=1), atol=1e-3)
        np.testing.assert_allclose(found.stack.images[place], values.mean(axis=0), atol=1e-3)


def test_the_seed_decides(tiny_series: VisitStack, tiny_tdm: ModelBundle) -> None:
    first, again, other = (
        nf.impute(tiny_series, tiny_tdm, [61.5], seed=seed, sampling_steps=3).images
        for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_progress_reaches_its_end(tiny_series: VisitStack, tiny_both: ModelBundle) -> None:
    for strategy in STRATEGIES:
        seen: list[tuple[int, int]] = []

        imputation(
            tiny_series,
            tiny_both,
            [60.5, 61.5, 63.0],
            strategy=strategy,
            sampling_steps=2,
            on_step=lambda done, total, seen=seen: seen.append((done, total)),
        )

        assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
        assert {total for _, total in seen} == {len(seen)}


def test_a_chain_that_is_stopped_keeps_the_visits_it_finished(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    wanted = [65.0, 66.0, 67.0]
    whole = nf.impute(tiny_series, tiny_tdm, wanted, strategy="chain", draws=1)

    with pytest.raises(Cancelled) as stopped:
        imputation(
            tiny_series,
            tiny_tdm,
            wanted,
            strategy="chain",
            draws=1,
            on_step=lambda done, total: done < 3,
        )

    partial = stopped.value.partial
    assert partial is not None
    assert partial.stack.ages.tolist() == [60.0, 61.0, 62.5, 64.0, 65.0, 66.0]
    np.testing.assert_allclose(partial.stack.images, whole.images[:6], atol=1e-4)
    assert partial.provenance["imputed_ages"] == [65.0, 66.0]


def test_missing_visits_that_were_not_reached_stay_missing(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    with pytest.raises(Cancelled) as stopped:
        imputation(
            gapped(tiny_series, 1, 2),
            tiny_tdm,
            strategy="chain",
            draws=1,
            on_step=lambda done, total: done < 2,
        )

    assert stopped.value.partial is not None
    assert stopped.value.partial.stack.is_missing.tolist() == [False, False, True, False]


def test_nothing_finished_is_nothing_kept(tiny_series: VisitStack, tiny_tdm: ModelBundle) -> None:
    with pytest.raises(Cancelled) as stopped:
        nf.impute(tiny_series, tiny_tdm, [61.5], on_step=lambda done, total: False)

    assert stopped.value.partial is None


def test_forecast_goes_on_past_the_last_visit(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    usual = forecast(tiny_series, tiny_tdm)
    fine = nf.forecast(tiny_series, tiny_tdm, 2, interval=0.5, strategy="chain")

    assert usual.ages.tolist() == [*tiny_series.ages, 65.5, 67.0, 68.5]  # median interval 1.5
    assert fine.ages.tolist() == [*tiny_series.ages, 64.5, 65.0]
    assert fine.is_observed.tolist() == [True] * 4 + [False] * 2
    assert fine.provenance["strategy"] == "chain"


def test_observed_visits_are_predicted_from_the_others(
    tiny_series: VisitStack, tiny_both: ModelBundle
) -> None:
    found = expected_visits(gapped(tiny_series, 2), tiny_both, draws=2, sampling_steps=3, seed=4)

    assert found.healthy.shape == tiny_series.shape
    assert np.isnan(found.healthy[2]).all()
    assert np.isfinite(found.healthy[[0, 1, 3]]).all()
    assert found.provenance["method"] == "tdm"
    assert found.provenance["options"] == {"draws": 2, "sampling_steps": 3}
    still = expected_visits(tiny_series, untrained(tiny_both.part("tdm")))
    first, second, third, last = tiny_series.images  # at 60, 61, 62.5 and 64
    between = [second, first * 0.6 + third * 0.4, (second + last) / 2, third]
    np.testing.assert_allclose(still.healthy, between, atol=1e-3)


def test_ages_that_were_made_up_are_said_to_be(tiny_tdm: ModelBundle) -> None:
    stack = VisitStack.from_array(np.random.rand(3, 16, 16))

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 0, 1, 2 are no ages that could be out of range
        found = nf.impute(stack, tiny_tdm, [0.5])

    assert found.ages.tolist() == [0.0, 0.5, 1.0, 2.0]
    assert not found.ages_known
    assert "no ages given: visits were taken as one year apart" in found.provenance["notes"]


def test_a_single_visit_is_worth_a_note(tiny_series: VisitStack, tiny_tdm: ModelBundle) -> None:
    found = nf.impute(tiny_series.select([1]), tiny_tdm, [60.0, 63.0])

    notes = found.provenance["notes"]
    assert any("a single observed visit does not show how fast" in note for note in notes)
    assert not any("nothing to fuse" in note for note in notes)
    assert found.ages.tolist() == [60.0, 61.0, 63.0]


def test_a_filled_visit_is_not_said_to_be_left_out(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    found = nf.impute(gapped(tiny_series, 1), tiny_tdm)

    assert not any("missing visits were left out" in note for note in found.provenance["notes"])


def test_ages_beyond_those_trained_on_are_noted_and_very_far_ones_warned_of(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside = nf.impute(tiny_series, tiny_tdm, [69.0])
        beyond = nf.impute(tiny_series, tiny_tdm, [72.0])
    months = replace(tiny_series, ages=tiny_series.ages * 12)
    with pytest.warns(UserWarning, match=r"720 to 800 years .* 55 to 70; are they in years"):
        far = nf.impute(months, tiny_tdm, [800.0])

    assert inside.provenance["notes"] == []
    (note,) = beyond.provenance["notes"]
    assert note == ("ages from 60 to 72 years go beyond those the model was trained on, 55 to 70")
    assert "are they in years" in far.provenance["notes"][0]


def test_a_model_that_knows_no_range_of_ages_is_no_reason_to_warn(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nf.impute(tiny_series, untrained(tiny_tdm, age_range=None), [900.0])


@pytest.mark.parametrize(
    ("ages", "options", "problem"),
    [
        ([61.0], {}, "ages: 61 is already observed, visit 2 of 4 of 'tiny'"),
        (None, {}, "'tiny' misses no visit; say at which ages to impute"),
        ([61.5], {"strategy": "magic"}, "strategy: got 'magic'; give one of joint, both sides"),
        ([61.5], {"draws": 0}, "draws and sampling_steps must be at least 1, got 0 and None"),
        ([61.5], {"sampling_steps": 0}, "must be at least 1, got 4 and 0"),
        ([61.5], {"strategy": "lerp-lerp", "draws": 2}, "draws nothing at random: draws must be 1"),
        ([59.0], {"strategy": "lerp-slerp"}, "here from 60 to 64 years, and 59 lies outside"),
        ([63.0, 66.0], {"strategy": "lerp-lerp"}, "and 66 lies outside; take 'joint'"),
    ],
)
def test_what_cannot_be_imputed_is_refused(
    tiny_series: VisitStack,
    tiny_both: ModelBundle,
    ages: list[float] | None,
    options: dict[str, object],
    problem: str,
) -> None:
    with pytest.raises(ValueError, match=problem):
        imputation(tiny_series, tiny_both, ages, **options)


def test_a_bundle_without_the_model_asked_for_is_named(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    with pytest.raises(ValueError, match=r"model 'tiny' \(sdm\) has no tdm"):
        imputation(tiny_series, tiny_bundle, [61.5])
    with pytest.raises(ValueError, match=r"model 'tiny-tdm' \(tdm\) has no sdm"):
        imputation(tiny_series, tiny_tdm, [61.5], strategy="lerp-slerp")


def test_arrays_and_names_are_no_series_and_models(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    for door in (nf.impute, nf.forecast, expected_visits):
        with pytest.raises(TypeError, match="got ndarray; give one VisitStack"):
            door(tiny_series.images, tiny_tdm)
        with pytest.raises(TypeError, match=r"load_bundle\('starmen'\)"):
            door(tiny_series, "starmen")


@pytest.mark.parametrize("strategy", BY_TDM)
def test_a_model_that_goes_forward_imputes_what_lies_after_a_visit(
    tiny_series: VisitStack, tiny_tdm: ModelBundle, strategy: str
) -> None:
    forward = untrained(tiny_tdm, backward=False)

    found = nf.impute(tiny_series, forward, [62.4, 66.0], strategy=strategy)

    np.testing.assert_allclose(at(found, 62.4), tiny_series.images[1], atol=1e-3)
    np.testing.assert_allclose(at(found, 66.0), tiny_series.images[3], atol=1e-3)
    with pytest.raises(ValueError, match="goes forward in time only, and 59 lies before the first"):
        nf.impute(tiny_series, forward, [59.0, 61.5], strategy=strategy)


def test_codes_of_a_model_that_goes_forward_are_interpolated_all_the_same(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    both = tiny_bundle.with_part(untrained(tiny_tdm, backward=False))

    found = nf.impute(tiny_series, both, [60.5], strategy="lerp-slerp", sampling_steps=2)

    assert found.n_visits == 5


def test_a_model_that_predicts_noise_takes_many_steps_by_default(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    noisy = untrained(tiny_tdm, motion=False, prediction="noise", backward=False, steps=1000)

    found = imputation(tiny_series, noisy, [64.5])

    assert found.provenance["sampling_steps"] >= 50  # one would be clamped noise
    assert (
        imputation(tiny_series, noisy, [64.5], sampling_steps=2).provenance["sampling_steps"] == 2
    )


def test_visits_of_one_day_are_no_obstacle(tiny_series: VisitStack, tiny_both: ModelBundle) -> None:
    series = replace(tiny_series, ages=np.array([60.0, 61.0, 61.0, 64.0]))

    for strategy in STRATEGIES:
        found = nf.impute(series, tiny_both, [60.5, 62.0], strategy=strategy, sampling_steps=1)
        assert found.ages.tolist() == [60.0, 60.5, 61.0, 61.0, 62.0, 64.0]
        assert np.isfinite(found.images).all()


def test_a_model_that_goes_forward_expects_of_a_first_visit_what_it_shows(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    found = expected_visits(tiny_series, untrained(tiny_tdm, backward=False))

    before = tiny_series.images[[0, 0, 1, 2]]
    np.testing.assert_allclose(found.healthy, before, atol=1e-3)


def volumes(depth: int = 4, size: tuple[int, int] = (16, 16)) -> VisitStack:
    images = np.random.default_rng(0).random((3, depth, *size)).astype(np.float32)
    images = images.clip(0.2, 0.8)
    return VisitStack.from_array(
        images, ages=[60.0, 61.0, 63.0], spacing=(2.0, 1.0, 1.0), subject="p7"
    )


@pytest.mark.parametrize("strategy", BY_TDM)
@pytest.mark.parametrize("size", [(16, 16), (20, 12)])
def test_some_planes_are_filled_in_as_among_all(
    tiny_tdm: ModelBundle, strategy: str, size: tuple[int, int]
) -> None:
    stack = volumes(5, size)
    options = {"strategy": strategy, "draws": 2, "sampling_steps": 2}
    whole = imputation(stack, tiny_tdm, [60.5, 64.0], **options)

    some = imputation(stack, tiny_tdm, [60.5, 64.0], planes=Slicing(first=1, step=2), **options)

    taken = slice(1, None, 2)
    assert some.stack.shape == (5, 1, 2, *size)
    np.testing.assert_allclose(some.stack.images, whole.stack.images[:, :, taken], atol=1e-4)
    np.testing.assert_allclose(some.spread, whole.spread[:, :, taken], atol=1e-4)
    assert some.stack.spacing == (4.0, 1.0, 1.0)
    np.testing.assert_allclose(some.stack.affine @ [1, 0, 0, 1], stack.affine @ [3, 0, 0, 1])
    assert some.provenance["planes"] == {"axis": "z", "first": 1, "last": 5, "step": 2}
    assert "planes" not in whole.provenance


def test_volumes_are_filled_in_across_another_axis(tiny_tdm: ModelBundle) -> None:
    stack, planes = volumes(), Slicing("x", 3, 12, 4)

    found = nf.impute(stack, tiny_tdm, [62.0], planes=planes)

    turned = VisitStack.from_array(planes.turned(stack.images), axes="vmzyx", ages=stack.ages)
    expected = nf.impute(turned, tiny_tdm, [62.0], planes=Slicing("z", 3, 12, 4))
    assert found.shape == (4, 1, 4, 16, 3)
    np.testing.assert_array_equal(planes.turned(found.images), expected.images)
    np.testing.assert_array_equal(found.images[0], stack.images[0][..., 3:12:4])


@pytest.mark.parametrize("strategy", ["joint", "chain"])
def test_series_in_files_are_filled_in_as_those_in_memory(
    tiny_tdm: ModelBundle, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    options = {"strategy": strategy, "draws": 2}
    inside = imputation(volumes(size=(20, 12)), tiny_tdm, [60.5, 64.0], **options)

    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)
    outside = imputation(volumes(size=(20, 12)), tiny_tdm, [60.5, 64.0], **options)

    np.testing.assert_array_equal(outside.stack.images, inside.stack.images)
    np.testing.assert_array_equal(outside.spread, inside.spread)


def test_of_volumes_that_do_not_fit_a_stop_keeps_the_visits_whose_planes_are_all_there(
    tiny_tdm: ModelBundle, home: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "planes_at_once", lambda device, size: 12)  # two planes at a time
    whole = imputation(volumes(), tiny_tdm, [60.5, 64.0], draws=1)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> bool:
        seen.append((done, total))
        return done < 3

    with pytest.raises(Cancelled) as stopped:
        imputation(volumes(), tiny_tdm, [60.5, 64.0], draws=1, on_step=stop)

    assert seen == [(1, 4), (2, 4), (3, 4)]
    partial = stopped.value.partial
    assert partial is not None
    assert partial.stack.ages.tolist() == [60.0, 60.5, 61.0, 63.0]
    np.testing.assert_allclose(partial.stack.images, whole.stack.images[:4], atol=1e-4)
    assert partial.provenance["imputed_ages"] == [60.5]


def test_planes_outside_the_stack_are_not_filled_in(tiny_tdm: ModelBundle) -> None:
    with pytest.raises(ValueError, match="2 to 9 across z, and 'p7' has 4"):
        nf.impute(volumes(), tiny_tdm, [62.0], planes=Slicing("z", 2, 9))
