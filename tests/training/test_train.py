from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_followup as nf
from napari_followup.bundle import ModelBundle, load_bundle
from napari_followup.methods.sdm import PRESETS, SDMConfig
from napari_followup.recipe import Recipe
from napari_followup.stack import VisitStack
from napari_followup.training.plan import TrainingPlan

PLAN = TrainingPlan(steps=4, batch=2, checkpoint_every=2)


@pytest.fixture(autouse=True)
def tiny_preset(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in tiny_bundle.config.items()}
    monkeypatch.setitem(PRESETS, "tiny", replace(SDMConfig(**values), steps=1000))


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
