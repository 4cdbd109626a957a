from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_followup as nf
from napari_followup.bundle import ModelBundle, load_bundle
from napari_followup.methods import tdm
from napari_followup.methods.sdm import PRESETS, SDMConfig
from napari_followup.methods.tdm import TDMConfig
from napari_followup.recipe import Recipe
from napari_followup.stack import VisitStack
from napari_followup.training.plan import TrainingPlan

PLAN = TrainingPlan(steps=4, batch=2, checkpoint_every=2)


@pytest.fixture(autouse=True)
def tiny_preset(
    tiny_bundle: ModelBundle, tiny_tdm: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(SDMConfig(**tiny_bundle.config), steps=1000))
    temporal = replace(TDMConfig(**tiny_tdm.config), steps=1000, age_range=None)
    monkeypatch.setitem(tdm.PRESETS, "tiny", temporal)
    forward = {"motion": False, "prediction": "noise", "backward": False, "references": 1}
    monkeypatch.setitem(tdm.PRESETS, "tiny forward", replace(temporal, **forward))


@pytest.fixture
def cohort() -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(0).random((3, 2, 16, 16)))


def test_training_goes_from_series_to_a_bundle_on_disk(
    cohort: list[VisitStack], tmp_path: Path
) -> None:
    seen: list[str] = []

    bundle = nf.train(
        "sdm",
        cohort,
        tmp_path,
        PLAN,
        preset="tiny",
        name="mine",
        on_loss=lambda stage, n, progress, loss: seen.append(stage),
    )

    assert seen == ["denoise"] * 4 + ["features"]
    assert Recipe.default().score_key in bundle.healthy
    assert bundle.card["subjects"] == 2
    assert nf.detect(cohort[0], load_bundle(tmp_path / "mine.safetensors")).mask.shape == (
        *(2, 1, 16, 16),
    )


def test_a_stopped_training_is_resumed_and_ends_as_if_it_had_not_been_stopped(
    cohort: list[VisitStack], tmp_path: Path
) -> None:
    whole = nf.train("sdm", cohort, tmp_path / "whole", PLAN, preset="tiny")

    with pytest.raises(nf.Cancelled, match="training again goes on"):
        nf.train(
            "sdm",
            cohort,
            tmp_path / "cut",
            PLAN,
            preset="tiny",
            on_loss=lambda s, n, p, loss: n < 3,
        )
    assert not list((tmp_path / "cut").glob("*.safetensors"))
    seen: list[tuple[str, int]] = []
    resumed = nf.train(
        "sdm",
        cohort,
        tmp_path / "cut",
        PLAN,
        preset="tiny",
        on_loss=lambda stage, n, p, loss: seen.append((stage, n)),
    )

    assert seen == [("denoise", 4), ("features", 1)]
    assert resumed.fingerprint == whole.fingerprint


def test_what_is_finished_is_not_trained_again(cohort: list[VisitStack], tmp_path: Path) -> None:
    first = nf.train("sdm", cohort, tmp_path, PLAN, preset="tiny")

    again = nf.train("sdm", cohort, tmp_path, PLAN, preset="tiny", on_loss=lambda *loss: False)

    assert again.fingerprint == first.fingerprint


def test_an_unknown_preset_is_refused_with_the_known_ones(
    cohort: list[VisitStack], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has no preset 'huge'; it has thesis, compact"):
        nf.train("sdm", cohort, tmp_path, PLAN, preset="huge")


@pytest.fixture
def followed() -> list[VisitStack]:
    """Subjects of three visits."""
    images = np.random.default_rng(0).random((4, 3, 16, 16))
    return VisitStack.from_cohort(images, ages=[[60.0, 61.0, 63.0]] * 3 + [[70.0, 72.0, 73.0]])


@pytest.mark.parametrize("preset", ["tiny", "tiny forward"])
def test_a_temporal_model_is_trained_on_series_and_knows_their_ages(
    followed: list[VisitStack], tmp_path: Path, preset: str
) -> None:
    seen: list[str] = []

    bundle = nf.train(
        "tdm",
        followed,
        tmp_path,
        PLAN,
        preset=preset,
        name="mine",
        on_loss=lambda stage, n, progress, loss: seen.append(stage),
    )

    assert seen == ["change"] * 4
    assert bundle.method == "tdm"
    assert Recipe.temporal().score_key in bundle.healthy
    low, high = bundle.config["age_range"]
    assert 60.0 == low < high <= 73.0
    assert 60.0 < bundle.config["age_mean"] < 73.0
    assert bundle.config["gap_sd"] > 1.0
    loaded = load_bundle(tmp_path / "mine.safetensors")
    assert loaded.build().config == bundle.build().config
    assert nf.impute(followed[0], loaded, [62.0, 65.0]).n_visits == 5
    assert nf.detect(followed[0], loaded).mask.shape == (3, 1, 16, 16)


@pytest.mark.parametrize("visits", [2, 3])
def test_a_stopped_training_on_series_is_resumed_as_if_it_had_not_been_stopped(
    followed: list[VisitStack], tmp_path: Path, visits: int
) -> None:
    cohort = [stack.select(range(visits)) for stack in followed]
    whole = nf.train("tdm", cohort, tmp_path / "whole", PLAN, preset="tiny")

    with pytest.raises(nf.Cancelled, match="training again goes on"):
        nf.train(
            "tdm",
            cohort,
            tmp_path / "cut",
            PLAN,
            preset="tiny",
            on_loss=lambda s, n, p, loss: n < 3,
        )
    seen: list[int] = []
    resumed = nf.train(
        "tdm",
        cohort,
        tmp_path / "cut",
        PLAN,
        preset="tiny",
        on_loss=lambda stage, n, p, loss: seen.append(n),
    )

    assert seen == [4]
    assert resumed.fingerprint == whole.fingerprint
    assert resumed.healthy == whole.healthy


def test_a_subject_seen_once_does_not_end_a_training_on_series(
    followed: list[VisitStack], tmp_path: Path
) -> None:
    """Held out or not: it teaches no change, and there is nothing to predict it from."""
    for once in range(4):
        cohort = [s.select([0]) if n == once else s for n, s in enumerate(followed)]
        half = replace(PLAN, held_out=0.5)

        bundle = nf.train("tdm", cohort, tmp_path / str(once), half, preset="tiny")

        (scores,) = bundle.healthy.values()
        assert 1 <= len(scores.maxima) <= 2


def test_subjects_that_are_all_seen_once_teach_no_change(
    cohort: list[VisitStack], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="series has two observed visits"):
        nf.train("tdm", [s.select([0]) for s in cohort], tmp_path, PLAN, preset="tiny")
