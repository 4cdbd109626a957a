from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import napari.layers
import numpy as np
import pytest
from napari.layers import Image

from napari_followup.plugin.impute.impute_actions import ImputePlan, cropped, impute_layers
from napari_followup.plugin.layers.layers import KEY, Source, series_of, source_of
from napari_followup.plugin.run.report import Report
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled

pytestmark = pytest.mark.viewer


def volumes() -> napari.layers.Image:
    affine = [[0, 0, 0.5, 7], [0, 1, 0, 8], [2, 0, 0, 9], [0, 0, 0, 1]]
    turn = np.deg2rad(30)
    rotate = np.eye(4)
    rotate[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return napari.layers.Image(
        np.random.rand(2, 6, 5, 4),
        scale=(1, 2, 1, 0.5),
        translate=(0, 10, 20, 30),
        rotate=rotate,
        metadata={KEY: {"axes": "vzyx", "affine": affine}},
    )


@pytest.mark.parametrize(
    "slicing", [Slicing("z", 1, 6, 2), Slicing("y", 2), Slicing("x", 0, 4, 3)], ids=repr
)
def test_planes_that_are_kept_lie_where_they_were(slicing: Slicing) -> None:
    layer = volumes()
    source = source_of(layer)

    small = cropped(source, slicing)

    kept = napari.layers.Image(small.data, **small.geometry)
    voxel, there = np.array([1, 1, 1, 1]), np.array([1, 1, 1, 1])
    place = "zyx".index(slicing.axis)
    there[1 + place] = slicing.first + slicing.step
    np.testing.assert_allclose(kept.data_to_world(voxel), layer.data_to_world(there))
    assert small.data[tuple(voxel)] == layer.data[tuple(there)]
    assert small.spacing[place] == source.spacing[place] * slicing.step
    np.testing.assert_allclose(
        np.array(small.about["affine"]) @ [1, 1, 1, 1],
        np.array(source.about["affine"]) @ [*there[1:], 1],
    )
    assert source.about["affine"][0][3] == 7


def test_a_source_of_all_planes_stays_as_it_is() -> None:
    source = source_of(volumes())

    assert cropped(source, None) is source


AGES = [60.0, 61.0, 62.0, 63.0, 65.0]
BOTH = ImputePlan(draws=2, spread=True, residual=True)


def source(images: np.ndarray, **said: Any) -> Source:
    about = {"axes": "vyx" if images.ndim == 3 else "svyx", "ages": AGES, "subject": "anna", **said}
    scale = (1,) * (images.ndim - 2) + (0.5, 0.5)
    layer = Image(
        images, name="scan", scale=scale, translate=(0,) * images.ndim, metadata={"followup": about}
    )
    return source_of(layer)


def said_of(layer: Any) -> dict[str, Any]:
    return dict(layer[1]["metadata"]["followup"])


def test_missing_and_new_visits_stand_in_order_of_age(doors: Any, gappy: np.ndarray) -> None:
    (layer,) = impute_layers(source(gappy), "fake", [62.0, 64.0])
    data, attributes, kind = layer
    said = said_of(layer)

    assert (kind, attributes["name"], data.shape) == ("image", "scan imputed", (6, 16, 16))
    assert said["ages"] == [60, 61, 62, 63, 64, 65]
    assert said["is_observed"] == [True, True, False, True, False, True]
    assert said["is_imputed"] == [False, False, True, False, True, False]
    assert said["provenance"]["imputed_ages"] == [62, 64]
    assert (said["provenance"]["strategy"], said["subject"]) == ("joint", "anna")
    np.testing.assert_array_equal(data[[0, 1, 3, 5]], gappy[[0, 1, 3, 4]])
    assert Image(data, **attributes).scale.tolist() == [1, 0.5, 0.5]


def test_without_ages_the_missing_visits_are_imputed(doors: Any, gappy: np.ndarray) -> None:
    (layer,) = impute_layers(source(gappy), "fake")

    assert said_of(layer)["is_imputed"] == [False, False, True, False, False]


def test_a_layer_whose_visits_are_not_by_age_comes_back_by_age(
    doors: Any, gappy: np.ndarray
) -> None:
    shuffled = [4, 2, 0, 1, 3]
    ages = [AGES[visit] for visit in shuffled]
    (layer,) = impute_layers(source(gappy[shuffled], ages=ages), "fake")

    assert said_of(layer)["ages"] == AGES
    np.testing.assert_array_equal(layer[0][[0, 1, 3, 4]], gappy[[0, 1, 3, 4]])


def test_made_up_ages_stay_made_up(doors: Any, gappy: np.ndarray) -> None:
    (layer,) = impute_layers(source_of(Image(gappy)), "fake", [1.5])
    said = said_of(layer)

    assert said["ages"] == [0, 1, 1.5, 2, 3, 4]
    assert not said["ages_known"]
    assert said["is_imputed"] == [False, False, True, False, False, False]
    assert np.isnan(layer[0][3]).all()


def test_imputed_visits_go_on_with_their_pixels(doors: Any, gappy: np.ndarray) -> None:
    data, attributes, _ = impute_layers(source(gappy), "fake")[0]
    stack = series_of(source_of(Image(data, **attributes))).stack

    assert stack.is_observed.tolist() == [True, True, False, True, True]
    assert not stack.is_missing.any()
    assert stack.subject == "anna"


def test_maps_lie_on_the_visits_of_the_images(doors: Any, gappy: np.ndarray) -> None:
    images, residual, spread = impute_layers(source(gappy), "fake", [62.0, 64.0], BOTH)

    assert [layer[1]["name"] for layer in (residual, spread)] == [
        "scan temporal residual",
        "scan spread",
    ]
    assert residual[0].shape == spread[0].shape == images[0].shape
    empty = [bool(np.isnan(visit).all()) for visit in residual[0]]
    assert empty == said_of(images)["is_imputed"] == said_of(residual)["is_imputed"]
    assert [bool(np.isnan(visit).all()) for visit in spread[0]] == said_of(images)["is_observed"]
    assert spread[1]["colormap"] == "inferno"
    assert doors.calls[-1]["recipe"].score.__class__.__name__ == "Temporal"


@pytest.mark.parametrize("axes", ["vzyx", "vmzyx"])
def test_volumes_and_modalities_keep_their_axes(doors: Any, axes: str) -> None:
    shape = (4, *(2,) * (len(axes) - 3), 16, 16)
    about = {"axes": axes, "ages": [1, 2, 3, 5]}
    layer = Image(np.random.rand(*shape), metadata={"followup": about})
    made = impute_layers(source_of(layer), "fake", [4.0], BOTH)

    assert all(data.shape == (5, *shape[1:]) for data, _, _ in made)


def test_a_cohort_is_filled_in_its_places(doors: Any, gappy: np.ndarray) -> None:
    cohort = np.stack([gappy, gappy, np.nan_to_num(gappy)])
    cohort[1, 0] = np.nan
    subjects = ["anna", "bert", "carl"]
    shown = source(cohort, subject=subjects, ages=[AGES, AGES[::-1], AGES])
    data, attributes, _ = impute_layers(shown, "fake")[0]
    said = attributes["metadata"]["followup"]

    assert data.shape == cohort.shape
    assert not np.isnan(data).any()
    np.testing.assert_array_equal(data[2], cohort[2])
    assert said["is_imputed"] == [
        [False, False, True, False, False],
        [True, False, True, False, False],
        [False] * 5,
    ]
    assert said["is_observed"][2] == [True] * 5
    assert said["ages"][1] == AGES[::-1]


def test_a_cohort_without_gaps_is_refused(doors: Any, gappy: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no subject of 'scan' misses a visit"):
        impute_layers(source(np.zeros((2, 5, 16, 16)), subject=["a", "b"]), "fake")


def test_a_subject_that_fails_stays_unchanged(
    doors: Any, gappy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imputation(stack: Any, *args: Any, **settings: Any) -> Any:
        if stack.subject == "anna":
            raise ValueError("too young")
        return doors.imputation(stack, *args, **settings)

    monkeypatch.setattr(sys.modules["napari_followup.prediction.impute"], "imputation", imputation)
    cohort = source(np.stack([gappy, gappy]), subject=["anna", "bert"])
    data, attributes, _ = impute_layers(cohort, "fake")[0]
    notes = attributes["metadata"]["followup"]["provenance"]["notes"]

    assert np.isnan(data[0, 2]).all()
    assert not np.isnan(data[1]).any()
    assert notes == ["anna was left unchanged: too young"]


def test_what_was_finished_at_a_stop_comes_back(doors: Any, gappy: np.ndarray) -> None:
    doors.partial = True
    stops = iter([False] * 4 + [True] * 9)
    report = Report(is_stopped=lambda: next(stops))
    (layer,) = impute_layers(source(gappy), "fake", [62.0, 64.0], BOTH, report=report)[:1]
    said = said_of(layer)

    assert said["provenance"]["notes"] == ["stopped: 1 of 2 visits imputed"]
    assert said["provenance"]["imputed_ages"] == [62]
    assert said["is_imputed"] == [False, False, True, False, False]


def test_a_stop_before_the_first_visit_gives_nothing(doors: Any, gappy: np.ndarray) -> None:
    stops = iter([False] * 4 + [True] * 9)

    with pytest.raises(Cancelled):
        impute_layers(source(gappy), "fake", report=Report(is_stopped=lambda: next(stops)))


def test_a_stop_in_the_residual_keeps_the_images(doors: Any, gappy: np.ndarray) -> None:
    report = Report()
    report.phase = lambda text: _stop_at(text)  # type: ignore[method-assign]
    layers = impute_layers(source(gappy), "fake", plan=BOTH, report=report)

    assert [layer[1]["name"] for layer in layers] == ["scan imputed", "scan spread"]
    assert "stopped before the temporal residual" in said_of(layers[0])["provenance"]["notes"][0]


def _stop_at(text: str) -> None:
    if text == "Temporal residual":
        raise Cancelled


def test_without_a_residual_it_is_said_why(doors: Any, gappy: np.ndarray) -> None:
    def detect(*args: Any, **settings: Any) -> Any:
        raise ValueError("one visit has no others")

    sys.modules["napari_followup.detection.detect"].detect = detect  # type: ignore[attr-defined]
    layers = impute_layers(source(gappy), "fake", plan=BOTH)

    assert len(layers) == 2
    assert said_of(layers[0])["provenance"]["notes"] == [
        "no temporal residual of anna: one visit has no others"
    ]


def test_the_real_door_fills_a_series(tiny_tdm_model: Path, gappy: np.ndarray) -> None:
    made = impute_layers(source(gappy), str(tiny_tdm_model), [62.0, 66.0], BOTH)

    assert [layer[1]["name"] for layer in made] == [
        "scan imputed",
        "scan temporal residual",
        "scan spread",
    ]
    assert np.isfinite(made[0][0]).all()
    assert said_of(made[0])["is_imputed"] == [False, False, True, False, False, True]


def test_a_model_without_a_tdm_is_refused(tiny_model: Path, gappy: np.ndarray) -> None:
    with pytest.raises(ValueError, match="has no tdm; choose a model with one"):
        impute_layers(source(gappy), str(tiny_model))


def test_planes_that_are_chosen_come_back_alone_and_in_their_place(tiny_tdm_model: Path) -> None:
    images = np.random.default_rng(0).random((3, 6, 16, 16)).astype(np.float32)
    about = {"axes": "vzyx", "ages": [60.0, 61.0, 63.0], "subject": "anna"}
    layer = Image(
        images,
        name="scan",
        scale=(1, 2, 1, 1),
        translate=(0, 5, 0, 0),
        metadata={"followup": about},
    )
    plan = ImputePlan(
        draws=2, spread=True, residual=True, planes=Slicing("z", 1, 6, 2), device="cpu"
    )
    seen: list[str] = []
    report = Report(lambda phase, done, total: seen.append(phase), interval=0)

    layers = impute_layers(source_of(layer), str(tiny_tdm_model), [62.0], plan, report=report)

    assert [made[1]["name"] for made in layers] == [
        "scan imputed",
        "scan temporal residual",
        "scan spread",
    ]
    for data, attributes, _ in layers:
        assert data.shape == (4, 3, 16, 16)
        made = Image(data, **attributes)
        assert made.scale.tolist() == [1, 4, 1, 1]
        assert made.translate.tolist() == [0, 7, 0, 0]
    data = layers[0][0]
    np.testing.assert_array_equal(data[[0, 1, 3]], images[:, 1:6:2])
    assert np.isfinite(layers[1][0][[0, 1, 3]]).all()
    assert series_of(source_of(Image(data, **layers[0][1]))).stack.spacing[0] == 4
    assert "Temporal residual, plane 3 of 3" in seen
