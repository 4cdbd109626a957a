from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from napari_followup.io import read_stack
from napari_followup.io.save_results import write_parts
from napari_followup.plugin.layers.layers import Source, series_of, source_of
from napari_followup.plugin.layers.result_layers import Found, detection_layers, mask_of
from napari_followup.plugin.layers.stack_layers import cohort_layers, stack_layers
from napari_followup.plugin.results.save_actions import detection_parts, layer_parts, with_mask
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

AFFINE = [[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1.0]]


def stack_named(name: str, **changes: Any) -> VisitStack:
    images = np.random.default_rng(len(name)).random((3, 4, 5)).astype(np.float32)
    given = {"ages": [61, 62, 64], "affine": AFFINE, "subject": name}
    return VisitStack.from_array(images, **(given | changes))


def source_from(layers: list[Any], **moved: Any) -> Source:
    data, attributes, _ = layers[0]
    return source_of(Image(data, **(attributes | moved)))


def found_in(source: Source, *, left_out: int | None = None) -> Found:
    """Mark the brightest half of every visit."""
    series = [series_of(source, n) if n != left_out else None for n in range(source.n_subjects)]
    detections = []
    for each in series:
        if each is None:
            detections.append(None)
            continue
        score = np.asarray(each.stack.images)[:, 0]
        found = Detection(
            stack=each.stack,
            mask=score > 0.5,
            score=score,
            scores={"pixel": score},
            healthy=np.asarray(each.stack.images),
            image_score=score.max(axis=(1, 2, 3)),
            threshold=0.5,
            provenance={"model": "m", "notes": []},
        )
        detections.append(found)
    return Found(source=source, series=tuple(series), detections=tuple(detections))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_series_is_saved_flat_on_the_grid_of_its_file(tmp_path: Path) -> None:
    found = found_in(source_from(stack_layers(stack_named("anna"))))

    write_parts(tmp_path, detection_parts(found, "nifti", stages=True))

    names = {"mask", "score", "healthy", "score-pixel"}
    images = {path.name for path in tmp_path.glob("*.nii.gz")}
    assert images == {f"anna_{name}.nii.gz" for name in names}
    mask = read_stack(tmp_path / "anna_mask.nii.gz")
    np.testing.assert_array_equal(mask.images[:, 0], found.detections[0].mask)
    np.testing.assert_array_equal(mask.affine, AFFINE)
    assert json.loads((tmp_path / "anna_provenance.json").read_text())["source"] == "anna"


def test_a_series_that_was_moved_is_saved_where_it_lies(tmp_path: Path) -> None:
    source = source_from(stack_layers(stack_named("anna")), translate=(0, 6, 0))

    write_parts(tmp_path, detection_parts(found_in(source), "nifti"))

    affine = read_stack(tmp_path / "anna_score.nii.gz").affine
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], np.array(AFFINE) @ [0, 2, 0, 1])


def test_a_cohort_gets_a_folder_a_subject_and_a_common_table(tmp_path: Path) -> None:
    stacks = [stack_named(name) for name in ("anna", "Anna", "bo")]
    found = found_in(source_from(cohort_layers(stacks)), left_out=1)

    write_parts(tmp_path, detection_parts(found, "npz"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna", "bo", "visits.csv"]
    assert sorted(path.name for path in (tmp_path / "bo").iterdir()) == [
        "bo_healthy.npz",
        "bo_mask.npz",
        "bo_provenance.json",
        "bo_score.npz",
        "bo_visits.csv",
    ]
    rows = rows_of(tmp_path / "visits.csv")
    assert [row["subject"] for row in rows] == ["anna"] * 3 + ["bo"] * 3
    assert [int(row["voxels"]) for row in rows[3:]] == [
        int(visit.sum()) for visit in found.detections[2].mask
    ]


def test_the_mask_that_was_painted_on_is_the_one_that_counts(tmp_path: Path) -> None:
    stacks = [stack_named(name, ages=[64, 62, 61]) for name in ("anna", "bo")]
    found = found_in(source_from(cohort_layers(stacks)))
    labels = mask_of(found)
    labels[1, 0] = 0
    labels[1, 0, 2, 3] = 7  # the layer's first visit

    painted = with_mask(found, labels)

    np.testing.assert_array_equal(mask_of(painted) != 0, labels != 0)
    assert painted.detections[1].provenance["mask_edited"]
    write_parts(tmp_path, detection_parts(painted, "npz"))
    by_age = {row["age"]: row["voxels"] for row in rows_of(tmp_path / "bo" / "bo_visits.csv")}
    first = float(found.series[1].stack.ages[list(found.series[1].order).index(0)])
    assert by_age[str(first)] == "1"


def test_a_mask_that_was_not_painted_on_changes_nothing() -> None:
    found = found_in(source_from(stack_layers(stack_named("anna"))))

    assert with_mask(found, mask_of(found) * 3) is found
    assert with_mask(found, np.zeros((2, 2), int)) is found


def test_layers_of_a_step_are_saved_each_with_its_provenance(tmp_path: Path) -> None:
    found = found_in(source_from(stack_layers(stack_named("anna"))))

    write_parts(tmp_path, layer_parts(plain(detection_layers(found, ["score", "mask"])), "nifti"))

    assert {path.name for path in tmp_path.iterdir() if "nii" in path.name} == {
        "anna_score.nii.gz",
        "anna_mask.nii.gz",
    }
    stack = read_stack(tmp_path / "anna_score.nii.gz")
    np.testing.assert_array_equal(stack.images[:, 0], found.detections[0].score)
    np.testing.assert_array_equal(stack.affine, AFFINE)
    said = json.loads((tmp_path / "anna_score_provenance.json").read_text())
    assert (said["source"], said["model"]) == ("anna", "m")


def test_layers_of_a_cohort_get_a_folder_a_subject(tmp_path: Path) -> None:
    stacks = [stack_named(name) for name in ("anna", "bo")]
    found = found_in(source_from(cohort_layers(stacks)))

    write_parts(tmp_path, layer_parts(plain(detection_layers(found, ["score"])), "ome-tiff"))

    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"anna/anna_score.ome.tif", "bo/bo_score.ome.tif", "score_provenance.json"}
    stack = read_stack(tmp_path / "bo" / "bo_score.ome.tif")
    np.testing.assert_array_equal(stack.images, stacks[1].images)


def plain(layers: list[Any]) -> list[Any]:
    return [Image(data, **_images_only(given)).as_layer_data_tuple() for data, given, _ in layers]


def _images_only(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "colormap"}
