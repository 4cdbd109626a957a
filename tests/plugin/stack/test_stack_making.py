from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.io import lazy, write_stack
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_checks import check
from napari_followup.plugin.stack.stack_making import make_layers, make_stack, plan_of
from napari_followup.plugin.stack.stack_model import StackModel
from napari_followup.plugin.stack.stack_reading import open_all, read_origins
from napari_followup.plugin.stack.stack_rows import Options, Row
from napari_followup.plugin.stack.stack_sources import FileOrigin
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

NAMED = Options(name="anna")


def blocks(value: float, shape: tuple[int, ...] = (4, 8, 8)) -> np.ndarray:
    images = np.zeros((1, *shape), np.float32)
    images[:, shape[0] // 4 : -shape[0] // 4, 2:6, 2:6] = value
    return images


def row(path: Path, images: np.ndarray, when: str = "", *, modality: str = "", **said: Any) -> Row:
    said.setdefault("spacing", (1, 1, 1))
    write_stack(path, VisitStack.from_array(images, **said))
    return Row(name=path.name, origin=FileOrigin(path), when=when, modality=modality)


def model_of(*rows: Row) -> StackModel:
    model = StackModel()
    model.add(rows)
    for origin, found in read_origins(open_all(model.pending), Report()):
        model.take(origin, found)
    return model


def made(*rows: Row, options: Options = NAMED) -> VisitStack:
    shown = model_of(*rows).shown
    return make_stack(plan_of(shown, check(shown, options), options), Report())


def test_files_make_one_stack_by_age(tmp_path: Path) -> None:
    stack = made(
        row(tmp_path / "b.nii.gz", blocks(2), "62"), row(tmp_path / "a.nii.gz", blocks(1), "61")
    )

    assert (stack.subject, stack.modalities, stack.unit) == ("anna", ("image",), "mm")
    assert stack.ages.tolist() == [61, 62]
    np.testing.assert_array_equal(stack.images[:, 0], np.concatenate([blocks(1), blocks(2)]))


def test_without_ages_the_order_counts(tmp_path: Path) -> None:
    stack = made(row(tmp_path / "b.npz", blocks(2)), row(tmp_path / "a.npz", blocks(1)))

    assert not stack.ages_known
    assert stack.images.max(axis=(1, 2, 3, 4)).tolist() == [2, 1]


def test_a_missing_visit_is_nan(tmp_path: Path) -> None:
    missing = Row(name="no image", when="61.5", is_missing=True)
    stack = made(row(tmp_path / "a.nii", blocks(1).astype(np.uint16), "61"), missing)

    assert stack.is_missing.tolist() == [False, True]
    assert stack.ages.tolist() == [61, 61.5]
    assert np.isnan(stack.images[1]).all()


def test_modalities_keep_their_order_at_every_visit(tmp_path: Path) -> None:
    stack = made(
        row(tmp_path / "1.nii", blocks(1), "61", modality="T1"),
        row(tmp_path / "2.nii", blocks(2), "61", modality="T2"),
        row(tmp_path / "4.nii", blocks(4), "62", modality="T2"),
        row(tmp_path / "3.nii", blocks(3), "62", modality="T1"),
    )

    assert stack.modalities == ("T1", "T2")
    assert stack.images.max(axis=(2, 3, 4)).tolist() == [[1, 2], [3, 4]]


def test_a_file_of_several_visits_and_one_of_a_single_go_together(tmp_path: Path) -> None:
    many = np.concatenate([blocks(1), blocks(3)])
    stack = made(
        row(tmp_path / "many.nii", many, ages=[61, 63]), row(tmp_path / "one.nii", blocks(2), "62")
    )

    assert stack.images.max(axis=(1, 2, 3, 4)).tolist() == [1, 2, 3]


def test_other_grids_are_brought_onto_the_first_by_their_place(tmp_path: Path) -> None:
    images = blocks(1)
    padded = np.pad(images, ((0, 0), (1, 1), (0, 0), (0, 0)))
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, -1], [0, 0, 0, 1.0]])
    stack = made(
        row(tmp_path / "a.nii", images, "61"),
        row(tmp_path / "b.nii", padded, "62", affine=affine, spacing=None),
        options=Options(name="anna", onto_first=True),
    )
    said = stack.provenance["steps"][0]["visits"]

    assert stack.shape == (2, 1, 4, 8, 8)
    np.testing.assert_allclose(stack.images[1], stack.images[0], atol=1e-6)
    assert said[0]["images"][0]["from"] == str(tmp_path / "a.nii")
    assert said[1]["images"][0]["provenance"]["steps"][0]["step"] == "regridded"


def test_spacing_and_unit_of_the_form_reach_the_stack(tmp_path: Path) -> None:
    bare = row(tmp_path / "a.npz", blocks(1), spacing=None)
    stack = made(bare, options=Options(name="a", spacing=(3.0, 0.5, 0.5), unit="mm"))

    assert (stack.spacing, stack.unit) == ((3.0, 0.5, 0.5), "mm")


def test_imputed_visits_stay_imputed(tmp_path: Path) -> None:
    images = np.concatenate([blocks(1), blocks(2)])
    stack = made(row(tmp_path / "a.npz", images, ages=[61, 62], is_observed=[True, False]))

    assert stack.is_observed.tolist() == [True, False]
    assert not stack.is_missing.any()


def test_large_files_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "LAZY_ABOVE", 10)
    stack = made(row(tmp_path / "a.nii", blocks(1), "61"), row(tmp_path / "b.nii", blocks(2), "62"))

    assert hasattr(stack.images, "chunks")
    assert np.asarray(stack.images).max() == 2


def test_layers_say_how_they_were_made(tmp_path: Path) -> None:
    shown = model_of(row(tmp_path / "a.nii", blocks(1), "61")).shown
    ((data, attributes, kind),) = make_layers(plan_of(shown, check(shown, NAMED), NAMED), Report())
    about = attributes["metadata"]["followup"]

    assert (kind, data.shape, attributes["name"]) == ("image", (1, 4, 8, 8), "anna")
    assert about["provenance"]["steps"][0]["step"] == "stacked"
    assert about["ages"] == [61]


def test_what_is_wrong_is_said_before_anything_is_read(tmp_path: Path) -> None:
    shown = model_of(Row(name="absent.nii", origin=FileOrigin(tmp_path / "absent.nii"))).shown

    with pytest.raises(ValueError, match="Row 1: there is no such file"):
        plan_of(shown, check(shown, NAMED), NAMED)


def test_a_file_that_changed_or_went_since_is_named(tmp_path: Path) -> None:
    shown = model_of(row(tmp_path / "a.nii", blocks(1), "61")).shown
    plan = plan_of(shown, check(shown, NAMED), NAMED)
    row(tmp_path / "a.nii", blocks(1, (5, 8, 8)))
    with pytest.raises(ValueError, match=r"'a.nii': has changed since it was read"):
        make_stack(plan, Report())
    (tmp_path / "a.nii").unlink()
    with pytest.raises(ValueError, match=r"'a.nii': there is no such file"):
        make_stack(plan, Report())


def test_a_stop_ends_it(tmp_path: Path) -> None:
    shown = model_of(row(tmp_path / "a.nii", blocks(1), "61")).shown
    plan = plan_of(shown, check(shown, NAMED), NAMED)

    with pytest.raises(Cancelled):
        make_stack(plan, Report(is_stopped=lambda: True))
