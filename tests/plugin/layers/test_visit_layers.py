from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager

from napari_followup.io import write_stack
from napari_followup.plugin.layers.visit_layers import apart_layers, visit_layers
from napari_followup.plugin.stack.stack_layer_sources import LayerOrigin
from napari_followup.series.stack import VisitStack


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
    assert "the visit at age 63.5 has no image and no layer" in said[0]
    assert "napari-followup align" in said[0]


def test_missing_visits_of_subjects_that_fit_are_kept(tmp_path: Path) -> None:
    visits = [visit(61, affine()), visit(62, affine(0.5)), visit(70, affine(), subject="bob")]
    path = with_gap(table(tmp_path, *visits), "bob", 71)

    *_, (data, attributes, _) = apart_layers(path)

    assert data.shape[0] == 2
    assert attributes["metadata"]["followup"]["is_observed"] == [True, False]
