from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.io import lazy, write_stack
from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_making import (
    check,
    lies_on,
    make_stack,
    placed,
    plan_of,
)
from napari_followup.plugin.stack.stack_rows import Facts, Options, Row, StackModel, facts_of
from napari_followup.plugin.stack.stack_sources import FileOrigin, open_all, read_origins
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack


def facts(shape: tuple[int, int, int] = (2, 4, 4), **geometry: Any) -> Facts:
    stack = VisitStack.from_array(np.zeros((1, *shape), np.float32), **geometry)
    return facts_of(stack, 0)


MM = facts(spacing=(3, 1, 1))


def row(name: str, when: str = "", *, of: Facts | None = MM, **said: Any) -> Row:
    return Row(name=name, origin=FileOrigin(Path(name)), when=when, facts=of, **said)


def said(rows: list[Row], options: Options | None = None) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in check(rows, options or Options()).verdicts]


def test_rows_with_ages_are_visits_by_age() -> None:
    checked = check([row("b", "62"), row("a", "61")], Options())

    assert checked.complaint == ""
    assert [visit.age for visit in checked.visits] == [61, 62]
    assert checked.numbers == {1: 1, 0: 2}
    assert [each.level for each in checked.verdicts] == ["good", "good"]


def test_rows_without_ages_are_visits_in_their_order() -> None:
    checked = check([row("b"), row("a")], Options())

    assert checked.numbers == {0: 1, 1: 2}
    assert [visit.age for visit in checked.visits] == [None, None]


@pytest.mark.parametrize("ages", [("", "", "", ""), ("61", "62", "61", "62")])
def test_modalities_of_one_visit_go_together(ages: tuple[str, ...]) -> None:
    kinds = ("FLAIR", "FLAIR", "T1", "T1")
    rows = [row(f"{n}", age, modality=kinds[n]) for n, age in enumerate(ages)]
    checked = check(rows, Options())

    assert checked.complaint == ""
    assert [visit.places for visit in checked.visits] == [(0, 2), (1, 3)]
    assert checked.modalities == ("FLAIR", "T1")


def test_rows_of_one_named_visit_share_its_age() -> None:
    rows = [row("a", "61", visit="1", modality="T1"), row("b", visit="1", modality="T2")]
    assert check(rows, Options()).complaint == ""
    rows[1].when = "62"

    assert "age 62, but 61 in another row" in check(rows, Options()).complaint


def test_what_stands_in_the_way_is_said_at_its_row() -> None:
    rows = [row("a", "61"), row("b", "soon"), row("c", "62", error="is cut short")]
    checked = check(rows, Options())

    assert [each.level for each in checked.verdicts] == ["good", "error", "error"]
    assert checked.verdicts[2].text == "Is cut short"
    assert checked.complaint.startswith("Row 2: 'soon' is no age")


def test_a_row_that_has_yet_to_be_read_is_waited_for() -> None:
    checked = check([row("a", "61"), row("b", of=None)], Options())

    assert checked.verdicts[1].level == "busy"
    assert checked.complaint == "Row 2: reading …"


def test_the_same_age_twice_is_a_warning() -> None:
    checked = check([row("a", "61"), row("b", "61")], Options())

    assert checked.verdicts[1].level == "warning"
    assert "the same age as visit 1" in checked.verdicts[1].text.lower()
    assert checked.complaint == ""


def test_an_age_in_months_is_a_warning() -> None:
    assert said([row("a", "738")])[0][0] == "warning"


def test_the_same_image_twice_is_an_error() -> None:
    assert "the same image as row 1" in check([row("a", "61"), row("a", "62")], Options()).complaint


def test_two_subjects_are_an_error() -> None:
    rows = [row("a", "61", subject="anna"), row("b", "62", subject="bob"), row("c", "63")]

    assert [level for level, _ in said(rows)] == ["good", "error", "good"]
    assert said(rows)[1][1].startswith("Of 'bob', but row 1 is of 'anna'")


def test_a_visit_that_lacks_a_modality_is_named() -> None:
    rows = [row("a", "61", modality="T1"), row("b", "61", modality="T2")]
    rows.append(row("c", "62", modality="T1"))

    assert "Row 3: this visit has no T2" in check(rows, Options()).complaint


def test_rows_without_a_modality_take_the_only_one_there_is() -> None:
    rows = [row("a", "61", modality="T1"), row("b", "62")]
    assert check(rows, Options()).modalities == ("T1",)
    assert check([row("a")], Options(modality="FLAIR")).modalities == ("FLAIR",)
    assert check([row("a")], Options()).modalities == ("image",)


def test_missing_visits_are_visits() -> None:
    rows = [row("a", "61"), Row(name="no image", when="62", is_missing=True)]
    rows.append(row("c", "63", is_missing=True))
    checked = check(rows, Options())

    assert [visit.is_missing for visit in checked.visits] == [False, True, True]
    assert checked.complaint == ""
    assert "All visits are missing" in check(rows[1:], Options()).complaint


def test_a_file_that_cannot_be_read_may_be_marked_as_missing() -> None:
    rows = [row("a", "61"), row("b", "62", of=None, error="is cut short", is_missing=True)]
    checked = check(rows, Options())

    assert checked.complaint == ""
    assert [visit.is_missing for visit in checked.visits] == [False, True]


def test_a_missing_visit_is_no_other_modality_of_the_first() -> None:
    rows = [row("a", modality="T1"), row("b", modality="T2"), Row(name="-", is_missing=True)]

    assert [v.is_missing for v in check(rows, Options()).visits] == [False, True]


def test_half_a_visit_cannot_be_missing() -> None:
    rows = [row("a", "61", modality="T1"), row("b", "61", modality="T2", is_missing=True)]

    assert "has an image of another modality" in check(rows, Options()).complaint


def test_other_grids_are_said_and_can_be_left() -> None:
    rows = [row("a", "61"), row("b", "62", of=facts((3, 4, 4), spacing=(2, 1, 1)))]

    assert said(rows)[1][0] == "error"
    assert "Align visits" in said(rows)[1][1]
    assert said(rows, Options(onto_first=True))[1] == (
        "note",
        "Will be resampled onto the grid of visit 1",
    )


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (facts((2, 5, 4)), "no place in space is known"),
        (facts((2, 4, 4), spacing=(3, 1, 1)), "voxels in mm, those of visit 1 in pixel"),
    ],
)
def test_images_without_a_common_space_are_refused(other: Facts, text: str) -> None:
    rows = [row("a", "61", of=facts()), row("b", "62", of=other)]
    level, found = said(rows, Options(onto_first=True))[1]

    assert level == "error"
    assert text in found.lower()


def test_planes_and_volumes_do_not_mix() -> None:
    rows = [row("a", "61"), row("b", "62", of=facts((1, 4, 4), spacing=(3, 1, 1)))]

    assert "a plane and a volume" in check(rows, Options(onto_first=True)).complaint


def test_the_first_grid_is_that_of_the_first_visit_by_age() -> None:
    other = facts((3, 4, 4), spacing=(2, 1, 1))

    assert said([row("a", "62"), row("b", "61", of=other)])[0][0] == "error"


def test_spacing_and_unit_go_to_images_without_their_own() -> None:
    options = Options(spacing=(3.0, 1.0, 1.0), unit="mm")

    assert placed(MM, options) is MM
    bare = placed(facts(), options)
    assert (bare.spacing, bare.unit) == ((3.0, 1.0, 1.0), "mm")
    assert lies_on(bare, MM)
    assert placed(facts(), Options(unit="mm")).spacing == (1.0, 1.0, 1.0)


def test_a_grid_that_is_shifted_is_another() -> None:
    affine = MM.affine.copy()
    affine[0, 3] += 0.5

    assert not lies_on(replace(MM, affine=affine), MM)
    assert not lies_on(MM, facts())


def test_an_empty_table_asks_for_files() -> None:
    assert "Add the files or layers" in check([], Options()).complaint


NAMED = Options(name="anna")


def blocks(value: float, shape: tuple[int, ...] = (4, 8, 8)) -> np.ndarray:
    images = np.zeros((1, *shape), np.float32)
    images[:, shape[0] // 4 : -shape[0] // 4, 2:6, 2:6] = value
    return images


def file_row(
    path: Path, images: np.ndarray, when: str = "", *, modality: str = "", **said: Any
) -> Row:
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
        file_row(tmp_path / "b.nii.gz", blocks(2), "62"),
        file_row(tmp_path / "a.nii.gz", blocks(1), "61"),
    )

    assert (stack.subject, stack.modalities, stack.unit) == ("anna", ("image",), "mm")
    assert stack.ages.tolist() == [61, 62]
    np.testing.assert_array_equal(stack.images[:, 0], np.concatenate([blocks(1), blocks(2)]))


def test_without_ages_the_order_counts(tmp_path: Path) -> None:
    stack = made(file_row(tmp_path / "b.npz", blocks(2)), file_row(tmp_path / "a.npz", blocks(1)))

    assert not stack.ages_known
    assert stack.images.max(axis=(1, 2, 3, 4)).tolist() == [2, 1]


def test_a_missing_visit_is_nan(tmp_path: Path) -> None:
    missing = Row(name="no image", when="61.5", is_missing=True)
    stack = made(file_row(tmp_path / "a.nii", blocks(1).astype(np.uint16), "61"), missing)

    assert stack.is_missing.tolist() == [False, True]
    assert stack.ages.tolist() == [61, 61.5]
    assert np.isnan(stack.images[1]).all()


def test_modalities_keep_their_order_at_every_visit(tmp_path: Path) -> None:
    stack = made(
        file_row(tmp_path / "1.nii", blocks(1), "61", modality="T1"),
        file_row(tmp_path / "2.nii", blocks(2), "61", modality="T2"),
        file_row(tmp_path / "4.nii", blocks(4), "62", modality="T2"),
        file_row(tmp_path / "3.nii", blocks(3), "62", modality="T1"),
    )

    assert stack.modalities == ("T1", "T2")
    assert stack.images.max(axis=(2, 3, 4)).tolist() == [[1, 2], [3, 4]]


def test_a_file_of_several_visits_and_one_of_a_single_go_together(tmp_path: Path) -> None:
    many = np.concatenate([blocks(1), blocks(3)])
    stack = made(
        file_row(tmp_path / "many.nii", many, ages=[61, 63]),
        file_row(tmp_path / "one.nii", blocks(2), "62"),
    )

    assert stack.images.max(axis=(1, 2, 3, 4)).tolist() == [1, 2, 3]


def test_other_grids_are_brought_onto_the_first_by_their_place(tmp_path: Path) -> None:
    images = blocks(1)
    padded = np.pad(images, ((0, 0), (1, 1), (0, 0), (0, 0)))
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, -1], [0, 0, 0, 1.0]])
    stack = made(
        file_row(tmp_path / "a.nii", images, "61"),
        file_row(tmp_path / "b.nii", padded, "62", affine=affine, spacing=None),
        options=Options(name="anna", onto_first=True),
    )
    said = stack.provenance["steps"][0]["visits"]

    assert stack.shape == (2, 1, 4, 8, 8)
    np.testing.assert_allclose(stack.images[1], stack.images[0], atol=1e-6)
    assert said[0]["images"][0]["from"] == str(tmp_path / "a.nii")
    assert said[1]["images"][0]["provenance"]["steps"][0]["step"] == "regridded"


def test_spacing_and_unit_of_the_form_reach_the_stack(tmp_path: Path) -> None:
    bare = file_row(tmp_path / "a.npz", blocks(1), spacing=None)
    stack = made(bare, options=Options(name="a", spacing=(3.0, 0.5, 0.5), unit="mm"))

    assert (stack.spacing, stack.unit) == ((3.0, 0.5, 0.5), "mm")


def test_imputed_visits_stay_imputed(tmp_path: Path) -> None:
    images = np.concatenate([blocks(1), blocks(2)])
    stack = made(file_row(tmp_path / "a.npz", images, ages=[61, 62], is_observed=[True, False]))

    assert stack.is_observed.tolist() == [True, False]
    assert not stack.is_missing.any()


def test_large_files_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "LAZY_ABOVE", 10)
    stack = made(
        file_row(tmp_path / "a.nii", blocks(1), "61"),
        file_row(tmp_path / "b.nii", blocks(2), "62"),
    )

    assert hasattr(stack.images, "chunks")
    assert np.asarray(stack.images).max() == 2


def test_layers_say_how_they_were_made(tmp_path: Path) -> None:
    shown = model_of(file_row(tmp_path / "a.nii", blocks(1), "61")).shown
    ((data, attributes, kind),) = stack_layers(
        make_stack(plan_of(shown, check(shown, NAMED), NAMED), Report())
    )
    about = attributes["metadata"]["followup"]

    assert (kind, data.shape, attributes["name"]) == ("image", (1, 4, 8, 8), "anna")
    assert about["provenance"]["steps"][0]["step"] == "stacked"
    assert about["ages"] == [61]


def test_what_is_wrong_is_said_before_anything_is_read(tmp_path: Path) -> None:
    shown = model_of(Row(name="absent.nii", origin=FileOrigin(tmp_path / "absent.nii"))).shown

    with pytest.raises(ValueError, match="Row 1: there is no such file"):
        plan_of(shown, check(shown, NAMED), NAMED)


def test_a_file_that_changed_or_went_since_is_named(tmp_path: Path) -> None:
    shown = model_of(file_row(tmp_path / "a.nii", blocks(1), "61")).shown
    plan = plan_of(shown, check(shown, NAMED), NAMED)
    file_row(tmp_path / "a.nii", blocks(1, (5, 8, 8)))
    with pytest.raises(ValueError, match=r"'a.nii': has changed since it was checked"):
        make_stack(plan, Report())
    (tmp_path / "a.nii").unlink()
    with pytest.raises(ValueError, match=r"'a.nii': there is no such file"):
        make_stack(plan, Report())


def test_a_stop_ends_it(tmp_path: Path) -> None:
    shown = model_of(file_row(tmp_path / "a.nii", blocks(1), "61")).shown
    plan = plan_of(shown, check(shown, NAMED), NAMED)

    with pytest.raises(Cancelled):
        make_stack(plan, Report(is_stopped=lambda: True))
