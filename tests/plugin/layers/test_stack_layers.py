from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager

from napari_followup.io import write_stack
from napari_followup.plugin.layers.layers import series_of, source_of
from napari_followup.plugin.layers.result_layers import MASK_COLORS
from napari_followup.plugin.layers.stack_layers import (
    apart_layers,
    cohort_layers,
    stack_layers,
    truth_layer,
    visit_layers,
)
from napari_followup.plugin.stack.stack_sources import LayerOrigin
from napari_followup.series.stack import VisitStack


def made(layers: list) -> list[Image]:
    return [Image(data, **attributes) for data, attributes, _ in layers]


def test_a_planar_series_becomes_a_layer_that_counts_visits() -> None:
    stack = VisitStack.from_array(np.zeros((3, 8, 8)), ages=[61, 62, 64], spacing=(0.5, 0.5))
    (layer,) = made(stack_layers(stack))

    assert layer.data.shape == (3, 8, 8)
    assert layer.scale.tolist() == [1, 0.5, 0.5]
    assert [str(unit) for unit in layer.units] == ["pixel", "millimeter", "millimeter"]
    assert layer.axis_labels == ("visit", "y", "x")
    assert layer.metadata["followup"]["ages"] == [61, 62, 64]


def test_a_stack_survives_the_way_to_a_layer_and_back() -> None:
    rng = np.random.default_rng(0)
    stack = VisitStack.from_array(
        rng.random((3, 2, 8, 8)),
        ages=[61, 62, 64],
        affine=[[0, 0, -2, 5], [0, 2, 0, 6], [3, 0, 0, 7], [0, 0, 0, 1]],
        is_observed=[True, False, True],
        subject="anna",
    )
    back = series_of(source_of(made(stack_layers(stack))[0])).stack

    np.testing.assert_array_equal(back.images, stack.images)
    np.testing.assert_array_equal(back.affine, stack.affine)
    assert back.is_observed.tolist() == [True, False, True]
    assert (back.ages.tolist(), back.subject, back.unit) == ([61, 62, 64], "anna", "mm")


def test_every_modality_gets_its_layer() -> None:
    stack = VisitStack.from_array(
        np.zeros((3, 2, 1, 8, 8)), subject="anna", modalities=["t1", "t2"]
    )

    assert [layer.name for layer in made(stack_layers(stack))] == ["anna t1", "anna t2"]


def test_a_few_very_bright_voxels_do_not_darken_a_volume() -> None:
    images = np.random.default_rng(0).random((2, 10, 100, 100), np.float32)
    images[:, 0, 0, :10] = 50.0

    low, high = stack_layers(VisitStack.from_array(images))[0][1]["contrast_limits"]

    assert 0 <= low < 0.02
    assert 0.95 < high < 1.01


def test_a_series_that_begins_with_a_missing_visit_gets_contrast() -> None:
    images = np.tile(np.linspace(0, 5, 8), (3, 8, 1))
    images[0] = np.nan
    (layer,) = made(stack_layers(VisitStack.from_array(images)))

    assert layer.contrast_limits == [0, 5]


def test_a_constant_series_can_be_shown() -> None:
    (layer,) = made(stack_layers(VisitStack.from_array(np.full((3, 8, 8), 7.0))))

    assert layer.contrast_limits == [7, 8]


def test_a_cohort_becomes_one_layer() -> None:
    stacks = VisitStack.from_cohort(np.zeros((4, 3, 8, 8)), ages=[1, 2, 3])
    (layer,) = made(cohort_layers(stacks, "many"))

    assert (layer.name, layer.data.shape) == ("many", (4, 3, 8, 8))
    assert layer.axis_labels == ("subject", "visit", "y", "x")
    assert source_of(layer).subjects[3] == "subject-0003"


def test_subjects_of_different_shape_get_a_layer_each() -> None:
    stacks = [VisitStack.from_array(np.zeros((n, 8, 8)), subject=f"s{n}") for n in (2, 3)]

    assert [layer.name for layer in made(cohort_layers(stacks))] == ["s2", "s3"]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_truth_lies_on_the_images(depth: int) -> None:
    stack = VisitStack.from_array(np.zeros((2, depth, 8, 8)), spacing=(3, 1, 1))
    data, attributes, kind = truth_layer(stack, np.ones((2, depth, 8, 8), bool), "truth")
    labels, (image,) = Labels(data, **attributes), made(stack_layers(stack))

    assert kind == "labels"
    assert labels.data.shape == image.data.shape
    assert labels.scale.tolist() == image.scale.tolist()
    mask = Labels(labels.data, colormap=MASK_COLORS)
    assert not np.allclose(labels.get_color(1), mask.get_color(1))


def saved(kind: str, images: np.ndarray, **said: object) -> tuple:
    stack = VisitStack.from_array(images, subject="anna")
    layer = {"kind": kind, "result": "mask", "source": "scan", **said}
    stack = stack.with_images(stack.images, provenance={"seed": 3, "layer": layer})
    return stack_layers(stack)[0]


def test_labels_that_were_saved_are_labels_again() -> None:
    data, attributes, kind = saved("labels", np.zeros((3, 4, 4), np.uint8), is_imputed=[0, 1, 0])

    assert (kind, attributes["name"], attributes["colormap"]) == (
        "labels",
        "anna mask",
        MASK_COLORS,
    )
    said = attributes["metadata"]["followup"]
    assert (said["result"], said["source"], said["is_imputed"]) == ("mask", "scan", [0, 1, 0])
    assert said["provenance"] == {"seed": 3}
    assert Labels(data, **attributes).data.shape == (3, 4, 4)


def test_labels_that_another_program_made_fractions_of_are_an_image() -> None:
    _, attributes, kind = saved("labels", np.linspace(0, 1, 48).reshape(3, 4, 4))

    assert (kind, attributes["contrast_limits"]) == ("image", (0, 1))


def test_what_was_said_of_other_visits_is_passed_over() -> None:
    _, attributes, _ = saved("image", np.ones((3, 4, 4)), is_imputed=[True, False])

    assert attributes["metadata"]["followup"]["is_imputed"] == [False] * 3


def affine(z: float = 1.0, start: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Voxel (z, y, x) to world (x, y, z), `start` as (x, y, z)."""
    return np.array([[0, 0, 1, start[0]], [0, 1, 0, start[1]], [z, 0, 0, start[2]], [0, 0, 0, 1.0]])


def visit(age: float, place: np.ndarray, planes: int = 4, subject: str = "anna") -> VisitStack:
    images = np.arange(planes * 16, dtype=np.float32).reshape(1, planes, 4, 4)
    return VisitStack.from_array(images, ages=[age], affine=place, subject=subject, axes="vzyx")


def test_visits_stand_behind_each_other_each_in_its_place() -> None:
    layers = visit_layers([visit(61, affine()), visit(62, affine(0.5, (2, 1, 3)), planes=8)])
    (_, first, _), (data, second, _) = layers

    assert [each["name"] for each in (first, second)] == [
        "anna, visit 1, age 61",
        "anna, visit 2, age 62",
    ]
    assert first["translate"] == (0, 0, 0, 0)
    assert second["translate"] == (1, 3, 1, 2)
    assert data.shape == (1, 8, 4, 4)
    assert second["metadata"]["followup"]["ages"] == [62]
    np.testing.assert_array_equal(
        second["metadata"]["followup"]["affine"], affine(0.5, (2, 1, 3)).tolist()
    )


def test_axes_that_run_otherwise_are_not_placed() -> None:
    turned = affine()
    turned[:3, :3] = turned[:3, [2, 1, 0]]
    mirrored = affine(start=(3, 0, 0)) * np.array([1, 1, -1, 1])

    for other in (turned, mirrored):
        (_, _), (_, second) = (
            each[:2] for each in visit_layers([visit(61, affine()), visit(62, other)])
        )
        assert second["translate"] == (1, 0, 0, 0)


def test_planes_are_placed_too() -> None:
    planes = [visit(61, affine(), planes=1), visit(62, affine(start=(2, 1, 0)), planes=1)]

    assert visit_layers(planes)[1][1]["translate"] == (1, 1, 2)


def test_the_stack_widget_understands_them() -> None:
    data, attributes, _ = visit_layers([visit(61, affine()), visit(62, affine(0.5))])[1]
    layer = Image(data, **attributes)
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_array_equal(stack.affine, affine(0.5))
    assert (stack.ages.tolist(), stack.subject) == ([62], "anna")


def table(folder: Path, *visits: VisitStack) -> Path:
    lines = ["path,subject,age"]
    for number, each in enumerate(visits):
        write_stack(folder / f"{number}.nii", each)
        lines.append(f"{number}.nii,{each.subject},{each.ages[0]}")
    (folder / "visits.csv").write_text("\n".join(lines))
    return folder / "visits.csv"


def test_only_the_subjects_that_need_it_are_taken_apart(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        visit(61, affine()),
        visit(62, affine(0.5)),
        visit(70, affine(), subject="bob"),
        visit(71, affine(), subject="bob"),
    )
    before = len(notification_manager.records)
    layers = apart_layers(path)

    assert [data.shape[0] for data, _, _ in layers] == [1, 1, 2]
    said = [str(each.message) for each in list(notification_manager.records)[before:]]
    assert len(said) == 1
    assert "anna: the visits lie on different grids" in said[0]
    assert "Align visits" in said[0]


def test_visits_that_fit_are_left_to_the_stack(tmp_path: Path) -> None:
    path = table(tmp_path, visit(61, affine()), visit(62, affine()))

    assert apart_layers(path) == []
    assert apart_layers(tmp_path) == []
    assert apart_layers(tmp_path / "0.nii") == []
    assert apart_layers([tmp_path / "0.nii", tmp_path / "1.nii"]) == []


def test_a_damaged_visit_is_an_error(tmp_path: Path) -> None:
    path = table(tmp_path, visit(61, affine()), visit(62, affine(0.5)))
    (tmp_path / "1.nii").write_bytes(b"")

    with pytest.raises(ValueError, match=r"row 3: '1.nii': is no readable NIfTI"):
        apart_layers(path)


def with_gap(path: Path, subject: str, age: float) -> Path:
    path.write_text(f"{path.read_text()}\n,{subject},{age}")
    return path


def test_a_visit_without_an_image_is_no_layer_and_said(tmp_path: Path) -> None:
    path = with_gap(table(tmp_path, visit(61, affine()), visit(62, affine(0.5))), "anna", 63.5)
    before = len(notification_manager.records)

    layers = apart_layers(path)

    assert [data.shape[0] for data, _, _ in layers] == [1, 1]
    said = [str(each.message) for each in list(notification_manager.records)[before:]]
    assert "the visit at age 63.5 has no image and so no layer" in said[0]
    assert "napari-followup align" in said[0]


def test_missing_visits_of_subjects_that_fit_are_kept(tmp_path: Path) -> None:
    visits = [visit(61, affine()), visit(62, affine(0.5)), visit(70, affine(), subject="bob")]
    path = with_gap(table(tmp_path, *visits), "bob", 71)

    *_, (data, attributes, _) = apart_layers(path)

    assert data.shape[0] == 2
    assert attributes["metadata"]["followup"]["is_observed"] == [True, False]
