from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_followup.plugin.detect.actions import (
    detect_layers,
    fam_layers,
    lafm_layers,
    reconstruct_layers,
)
from napari_followup.plugin.layers.layers import source_of
from napari_followup.plugin.layers.result_layers import detection_layers
from napari_followup.plugin.run.report import Report
from napari_followup.recipe.recipe import Fam, Lafm, Quantile, Recipe
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled


def test_a_series_gives_healthy_images_score_and_mask(doors: Any, series: np.ndarray) -> None:
    source = source_of(Image(series, name="scan"))
    layers = detection_layers(detect_layers(source, "fake", Recipe.default(), seed=5))

    assert [layer[1]["name"] for layer in layers] == ["scan healthy", "scan score", "scan mask"]
    assert [layer[2] for layer in layers] == ["image", "image", "labels"]
    assert all(layer[0].shape == series.shape for layer in layers)
    np.testing.assert_array_equal(np.unique(np.nonzero(layers[2][0])[0]), [3])
    provenance = layers[2][1]["metadata"]["followup"]["provenance"]
    assert (provenance["model"], provenance["model_version"]) == ("fake", "7")
    assert provenance["seed"] == 5
    assert provenance["recipe"] == Recipe.default().as_dict()


def test_only_the_layers_that_are_wanted_come_back(doors: Any, series: np.ndarray) -> None:
    found = detect_layers(source_of(Image(series)), "fake", Recipe.default())

    assert [layer[2] for layer in detection_layers(found, ("mask",))] == ["labels"]


def test_visits_in_any_order_come_back_in_that_order(doors: Any, series: np.ndarray) -> None:
    source = source_of(Image(series), ages=np.array([64.0, 61, 63, 62]))
    mask = detection_layers(detect_layers(source, "fake", Recipe.default()), ("mask",))[0][0]

    assert doors.calls[0]["stack"].ages.tolist() == [61, 62, 63, 64]
    np.testing.assert_array_equal(np.unique(np.nonzero(mask)[0]), [3])


def test_a_cohort_is_run_subject_by_subject(doors: Any, series: np.ndarray) -> None:
    seen: list[tuple[str, int, int]] = []
    source = source_of(Image(np.stack([series, series[::-1], series])), axes="svyx")
    report = Report(lambda *line: seen.append(line), interval=0)
    found = detect_layers(source, "fake", Recipe.default(), report=report)
    mask = detection_layers(found, ("mask",))[0][0]

    assert len(doors.calls) == 3
    assert mask.shape == (3, *series.shape)
    assert [np.flatnonzero(each.any(axis=(1, 2))).tolist() for each in mask] == [[3], [0], [3]]
    assert ("Detecting, subject 2 of 3", 4, 9) in seen
    assert set(found.provenance["subjects"]) == {"subject-0000", "subject-0001", "subject-0002"}
    assert found.provenance["model"] == "fake"


def test_a_subject_that_cannot_be_examined_does_not_stop_the_others(
    doors: Any, series: np.ndarray
) -> None:
    cohort = np.stack([series, np.full_like(series, np.nan), series])
    found = detect_layers(source_of(Image(cohort), axes="svyx"), "fake", Recipe.default())
    score, mask = (layer[0] for layer in detection_layers(found, ("score", "mask")))

    assert found.detections[1] is None
    assert "subject-0001 was left out" in found.notes[0]
    assert "no visit is observed" in found.notes[0]
    assert np.isnan(score[1]).all()
    assert not mask[1].any()
    assert mask[2].any()


def test_a_cohort_of_nothing_is_an_error(doors: Any) -> None:
    source = source_of(Image(np.full((2, 3, 8, 8), np.nan)), axes="svyx")

    with pytest.raises(ValueError, match="no visit is observed"):
        detect_layers(source, "fake", Recipe.default())


def test_a_missing_visit_has_no_score_and_no_mask(doors: Any, series: np.ndarray) -> None:
    series[1] = np.nan
    found = detect_layers(source_of(Image(series)), "fake", Recipe.default())
    score, mask = (layer[0] for layer in detection_layers(found, ("score", "mask")))

    assert np.isnan(score[1]).all()
    assert not mask[1].any()


def test_the_source_is_never_touched(doors: Any, series: np.ndarray) -> None:
    before = series.copy()
    layer = Image(series)
    detection_layers(detect_layers(source_of(layer), "fake", Recipe.default()))

    assert layer.data is series
    np.testing.assert_array_equal(series, before)


def test_a_model_is_kept_until_its_file_changes(
    doors: Any, series: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    source = source_of(Image(series))
    for content in (b"a", b"a", b"b"):
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        detect_layers(source, str(path), Recipe.default())

    assert len(doors.loaded) == 2


def test_no_model_and_a_broken_one_are_said(doors: Any, series: np.ndarray) -> None:
    source = source_of(Image(series))

    with pytest.raises(ValueError, match="no model is chosen"):
        detect_layers(source, "", Recipe.default())
    with pytest.raises(ValueError, match="not a readable model file"):
        detect_layers(source, "broken.safetensors", Recipe.default())


def test_a_stopped_run_makes_nothing(doors: Any, series: np.ndarray) -> None:
    steps = iter([False, False, False, False, True, True])
    report = Report(is_stopped=lambda: next(steps))

    with pytest.raises(Cancelled):
        detect_layers(source_of(Image(series)), "fake", Recipe.default(), report=report)


def test_the_steps_can_be_chained_by_hand(doors: Any, series: np.ndarray) -> None:
    image = Image(series, name="scan", metadata={"followup": {"axes": "vyx", "ages": [4, 3, 2, 1]}})
    (healthy,) = reconstruct_layers(image, "fake", {"draws": 2})
    scores = fam_layers(image, Layer.create(*healthy), "fake", Fam())
    (fused,) = lafm_layers(Layer.create(*scores[-1]), Lafm())

    names = [layer[1]["name"] for layer in (healthy, *scores, fused)]
    assert names == ["scan healthy", "scan pixel", "scan fam", "scan fam fused"]
    expected = np.abs(series - np.median(series, axis=0))
    assert [layer[1]["visible"] for layer in (*scores, fused)] == [False, True, True]
    np.testing.assert_allclose(scores[0][0], expected, atol=1e-6)
    np.testing.assert_allclose(
        fused[0], 2 * expected + np.array([4, 3, 2, 1])[:, None, None], atol=1e-5
    )
    assert doors.calls[0]["options"] == {"draws": 2}


def test_healthy_images_of_another_series_are_refused(doors: Any, series: np.ndarray) -> None:
    source, other = source_of(Image(series)), source_of(Image(series[:3], name="other"))

    with pytest.raises(ValueError, match="'other' has the shape"):
        fam_layers(source, other, "fake")


def test_a_subject_that_is_left_out_does_not_shift_the_healthy_images(
    doors: Any, series: np.ndarray
) -> None:
    cohort = np.stack([np.full_like(series, np.nan), series, 3 * series])
    healthy = np.stack([series, series, 2 * series])
    source, other = (source_of(Image(each), axes="svyx") for each in (cohort, healthy))

    pixel = fam_layers(source, other, "fake")[0][0]

    assert np.isnan(pixel[0]).all()
    np.testing.assert_allclose(pixel[1], 0)
    np.testing.assert_allclose(pixel[2], series, rtol=1e-5)


def test_no_door_is_imported_before_it_is_needed() -> None:
    import subprocess

    script = (
        "import sys, napari_followup.plugin.detect.actions;"
        "print(sorted({'torch', 'monai', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
def test_the_real_doors_take_the_layers_of_a_user(
    tiny_model: Path, series: np.ndarray, dtype: type
) -> None:
    recipe = Recipe(options={"noise_levels": (250,), "draws": 1, "sampling_steps": 2})
    source = source_of(Image((series * 40).astype(dtype), name="scan"))
    found = detect_layers(source, str(tiny_model), recipe, device="cpu")
    layers = detection_layers(found)

    assert all(layer[0].shape == series.shape for layer in layers)
    assert np.isfinite(layers[1][0]).all()
    assert found.provenance["model"] == "tiny"


def test_the_real_steps_can_be_chained_by_hand(tiny_model: Path, series: np.ndarray) -> None:
    image = source_of(Image(series, name="scan"))
    options = {"noise_levels": (250,), "draws": 1, "sampling_steps": 2}
    (healthy,) = reconstruct_layers(image, str(tiny_model), options, device="cpu")
    pair = source_of(Layer.create(*healthy))
    scores = fam_layers(image, pair, str(tiny_model), Fam(levels=(1, 2)), device="cpu")
    (fused,) = lafm_layers(source_of(Layer.create(*scores[-1])), Lafm())

    assert [layer[1]["name"] for layer in scores] == ["scan pixel", "scan feature", "scan fam"]
    assert fused[0].shape == series.shape
    assert np.isfinite(fused[0]).all()


def test_planes_of_volumes_are_handed_on_and_progress_names_them(doors: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    report = Report(lambda *line: seen.append(line), interval=0)
    source = source_of(Image(np.random.rand(2, 9, 8, 8)), axes="vzyx")
    planes = Slicing("z", 1, 7, 2)

    detect_layers(source, "fake", Recipe.default(), planes=planes, report=report)
    reconstruct_layers(source, "fake", {}, planes=planes)

    assert [call["planes"] for call in doors.calls] == [planes, planes]
    assert [phase for phase, _, total in seen if total] == [
        "Detecting, plane 2 of 3",
        "Detecting, plane 3 of 3",
        "Detecting, plane 3 of 3",
    ]


def test_progress_names_subject_and_plane(doors: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    report = Report(lambda *line: seen.append(line), interval=0)
    source = source_of(Image(np.random.rand(2, 3, 3, 8, 8)), axes="svzyx")

    detect_layers(source, "fake", Recipe.default(), report=report)

    assert ("Detecting, subject 2 of 2, plane 2 of 3", 4, 6) in seen


def test_planes_outside_the_layer_are_refused(doors: Any) -> None:
    source = source_of(Image(np.random.rand(2, 3, 8, 8)), axes="vzyx")

    with pytest.raises(ValueError, match="0 to 9 across z"):
        detect_layers(source, "fake", Recipe.default(), planes=Slicing(last=9))


def test_planes_that_were_not_examined_are_empty_in_the_layers(tiny_model: Path) -> None:
    source = source_of(Image(np.random.rand(2, 4, 16, 16), name="scan"), axes="vzyx")
    recipe = Recipe(options={"noise_levels": (10,), "sampling_steps": 1})

    found = detect_layers(source, str(tiny_model), recipe, device="cpu", planes=Slicing("y", 4, 6))

    score, mask = (layer[0] for layer in detection_layers(found, ("score", "mask")))
    assert score.shape == mask.shape == (2, 4, 16, 16)
    assert np.isfinite(score).all(axis=(0, 1, 3)).nonzero()[0].tolist() == [4, 5]
    assert np.isnan(score[:, :, 6:]).all()
    assert found.notes[0].startswith("planes 4 to 5 across y were examined")


POOLED = Recipe(
    options={"noise_levels": (250,), "draws": 1, "sampling_steps": 2},
    threshold=Quantile(q=0.6, per="dataset"),
)


def test_a_threshold_of_the_data_set_is_drawn_by_all_subjects_of_a_layer(
    tiny_model: Path, series: np.ndarray
) -> None:
    cohort = np.stack([series, np.full_like(series, np.nan), series[:, ::-1] * 3, series**2])
    seen: list[tuple[str, int, int]] = []
    source = source_of(Image(cohort), axes="svyx")
    report = Report(lambda *line: seen.append(line), interval=0)

    found = detect_layers(source, str(tiny_model), POOLED, device="cpu", report=report)

    there = [each for each in found.detections if each is not None]
    height = np.quantile(np.concatenate([each.score for each in there]), 0.6)
    assert 0 < height < 1
    assert found.detections[1] is None
    assert "subject-0001 was left out" in found.notes[0]
    assert found.provenance["pooled_series"] == 3
    assert found.provenance["threshold"] == pytest.approx(height)
    for each in there:
        np.testing.assert_array_equal(each.mask, each.score >= np.float32(height))
    assert ("Segmenting all subjects with one threshold", 0, 0) in seen
    assert any(phase == "Detecting, subject 3 of 4" for phase, *_ in seen)


def test_a_single_subject_is_said_to_be_alone_with_its_threshold(
    tiny_model: Path, series: np.ndarray
) -> None:
    found = detect_layers(source_of(Image(series)), str(tiny_model), POOLED, device="cpu")

    assert any("computed from this one alone" in note for note in found.notes)
