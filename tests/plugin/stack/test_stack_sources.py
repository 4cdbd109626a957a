from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import LayerList
from napari.layers import Image

from napari_followup.io import ReadError, write_stack
from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_rows import AxesUnknown
from napari_followup.plugin.stack.stack_sources import (
    FileOrigin,
    LayerOrigin,
    file_rows,
    is_file,
    layer_rows,
    list_source,
    listed,
    meanings_of,
    open_all,
    read_file,
    read_origins,
    series_layers,
)
from napari_followup.series.stack import VisitStack

IMAGES = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)


def write(path: Path, images: np.ndarray = IMAGES[:1], **said: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_stack(path, VisitStack.from_array(images, **said))


def shapes(path: Path, axes: str | None = None) -> list[tuple[int, ...]]:
    return [stack.images[index].shape for stack, index in read_file(path, axes)]


def test_files_are_ordered_by_their_numbers_and_dated_by_their_names() -> None:
    rows = file_rows([Path("v10.nii"), Path("v2.nii")])
    assert [(row.name, row.when) for row in rows] == [("v2.nii", ""), ("v10.nii", "")]
    rows = file_rows([Path("a_2021-02-01.nii"), Path("a_20200131.nii")])
    assert [row.when for row in rows] == ["2020-01-31", "2021-02-01"]


@pytest.mark.parametrize("name", ["a.nii.gz", "a.npz", "a.tif", "a.zarr"])
def test_one_visit_or_several_are_read(tmp_path: Path, name: str) -> None:
    assert shapes(write(tmp_path / "one" / name)) == [(1, 1, 8, 8)]
    assert shapes(write(tmp_path / "many" / name, IMAGES)) == [(1, 1, 8, 8)] * 3


@pytest.mark.parametrize(
    ("shape", "axes", "found"),
    [
        ((3, 8, 8), "zyx", [(1, 3, 8, 8)]),
        ((3, 8, 8), "vyx", [(1, 1, 8, 8)] * 3),
        ((2, 3, 8, 8), "vzyx", [(1, 3, 8, 8)] * 2),
        ((2, 3, 8, 8), "svyx", [(1, 1, 8, 8)] * 6),
        ((2, 2, 3, 8, 8), "vmzyx", [(2, 3, 8, 8)] * 2),
    ],
)
def test_a_bare_tiff_is_asked_about(
    tmp_path: Path, shape: tuple[int, ...], axes: str, found: list[tuple[int, ...]]
) -> None:
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, np.zeros(shape, np.float32), photometric="minisblack")

    with pytest.raises(AxesUnknown, match="choose them under 'axes'") as doubt:
        read_file(path)
    assert axes in doubt.value.choices
    assert shapes(path, axes) == found


def test_a_tiff_that_names_its_axes_is_not_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, IMAGES, photometric="minisblack", metadata={"axes": "ZYX"})

    assert shapes(path) == [(1, 3, 8, 8)]


def test_colour_damage_and_absence_are_errors(tmp_path: Path) -> None:
    colour, cut = tmp_path / "colour.tif", write(tmp_path / "cut.nii.gz")
    tifffile.imwrite(colour, np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    cut.write_bytes(cut.read_bytes()[:-20])

    for path, said in ((colour, "is in colour"), (cut, "may be cut short")):
        with pytest.raises(ReadError, match=said):
            read_file(path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_file(tmp_path / "absent.nii")


def test_a_table_keeps_ages_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(
        "subject,visit,path,age,modality\nanna,1,a.nii,61.5,T1\nanna,2,,soon,\nbob,1,b.nii,70,T1\n"
    )
    found = listed(path)

    assert not found.is_unclear
    assert [(r.subject, r.visit, r.when, r.modality) for r in found.rows] == [
        ("anna", "1", "61.5", "T1"),
        ("anna", "2", "soon", ""),
        ("bob", "1", "70", "T1"),
    ]
    assert [row.is_missing for row in found.rows] == [False, True, False]
    assert found.rows[0].origin is not None
    assert found.rows[0].origin.description() == str(tmp_path / "a.nii")


def test_a_row_without_a_subject_is_an_error_where_others_have_one(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("subject,path\nanna,a.nii\n,b.nii\n")
    assert ["no subject" in row.error for row in listed(path).rows] == [False, True]
    path.write_text("path,age\na.nii,61\n")

    assert [(row.subject, row.error) for row in listed(path).rows] == [("", "")]


def test_columns_of_other_names_are_unclear_until_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("wo,wann\na.nii,2020-01-31\n")
    found = listed(path)
    assert found.is_unclear
    assert found.rows == ()
    assert found.names == ("wo", "wann")
    found = listed(path, {"path": "wo", "date": "wann"})

    assert not found.is_unclear
    assert found.rows[0].when == "2020-01-31"


def test_folders_list_their_visits(tmp_path: Path) -> None:
    for day in ("2020-01-31", "2021-01-31"):
        write(tmp_path / "plain" / f"anna_{day}.nii.gz")
    for session in ("ses-1", "ses-2"):
        write(tmp_path / "bids" / "sub-a" / session / "anat" / f"sub-a_{session}_T1w.nii.gz")
    write(tmp_path / "table" / "a.nii")
    (tmp_path / "table" / "v.csv").write_text("path,age\na.nii,61\n")

    assert [r.when for r in listed(tmp_path / "plain").rows] == ["2020-01-31", "2021-01-31"]
    assert [r.visit for r in listed(tmp_path / "bids").rows] == ["ses-1", "ses-2"]
    assert [r.modality for r in listed(tmp_path / "bids").rows] == ["T1w", "T1w"]
    assert [r.when for r in listed(tmp_path / "table").rows] == ["61"]
    assert len(listed(write(tmp_path / "a.zarr")).rows) == 1


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no series"):
        listed(tmp_path)


def test_tables_and_folders_are_listed_and_files_are_not(tmp_path: Path) -> None:
    assert is_file(tmp_path / "a.nii")
    assert not is_file(tmp_path)
    assert not is_file(tmp_path / "a.csv")


def test_a_file_is_no_subject_unless_it_names_one(tmp_path: Path) -> None:
    bare = FileOrigin(tmp_path / "visit1.nii.gz")

    assert bare.subject_of(VisitStack.from_array(IMAGES, subject="visit1")) == ""
    assert bare.subject_of(VisitStack.from_array(IMAGES, subject="anna")) == "anna"


def image(shape: tuple[int, ...], **settings: Any) -> Image:
    return Image(np.random.default_rng(0).random(shape).astype(np.float32), **settings)


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (image((4, 4)), ("yx",)),
        (image((3, 4, 4)), ("zyx", "vyx")),
        (image((3, 4, 4), axis_labels=("z", "y", "x")), ("zyx",)),
        (image((3, 4, 4), axis_labels=("visit", "y", "x")), ("vyx",)),
        (image((3, 4, 4), metadata={"followup": {"axes": "vyx"}}), ("vyx",)),
        (image((2, 3, 4, 4)), ("vzyx", "svyx")),
        (image((2, 2, 3, 4, 4)), ("svzyx", "vmzyx")),
    ],
)
def test_what_the_axes_can_mean(layer: Image, axes: tuple[str, ...]) -> None:
    assert meanings_of(layer) == axes


def test_a_layer_in_doubt_is_asked_about() -> None:
    layer = image((3, 4, 4))
    origin = LayerOrigin(layer)
    with pytest.raises(AxesUnknown) as doubt:
        origin.opener()
    assert doubt.value.choices == ("zyx", "vyx")
    origin.axes = "zyx"
    ((stack, index),) = origin.opener()()

    assert (stack.shape, index) == ((1, 1, 3, 4, 4), 0)


def test_a_layer_with_visits_keeps_ages_and_subjects() -> None:
    about = {"axes": "svyx", "ages": [[1, 2], [3, 4]], "subject": ["anna", "bob"]}
    layer = image((2, 2, 4, 4), metadata={"followup": about})
    origin = LayerOrigin(layer)
    visits = origin.opener()()

    assert [origin.subject_of(stack) for stack, _ in visits] == ["anna", "anna", "bob", "bob"]
    assert [stack.ages[index] for stack, index in visits] == [1, 2, 3, 4]


def test_a_layer_that_names_no_subject_has_none() -> None:
    layer = image((2, 4, 4), name="scan", axis_labels=("visit", "y", "x"))
    origin = LayerOrigin(layer)

    assert origin.subject_of(origin.opener()()[0][0]) == ""
    assert origin.description() == "layer 'scan'"


def test_the_place_in_the_viewer_counts_where_the_layer_has_no_affine() -> None:
    layer = image(
        (3, 4, 4), scale=(3, 0.5, 0.5), translate=(9, 1, 2), units="mm", axis_labels=("z", "y", "x")
    )
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_allclose(stack.affine @ [1, 2, 3, 1], [2 + 1.5, 1 + 1.0, 9 + 3.0, 1])
    assert stack.unit == "mm"


def test_a_plane_of_a_viewer_in_mm_has_its_place_too() -> None:
    layer = image((4, 4), scale=(0.5, 0.5), translate=(1, 2), units="mm")
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_allclose(stack.affine @ [0, 2, 4, 1], [4, 2, 0, 1])


def test_the_affine_of_the_file_counts_where_there_is_one() -> None:
    made = VisitStack.from_array(np.ones((1, 2, 4, 4)), ages=[61], affine=np.diag([2, 2, 2, 1.0]))
    ((data, attributes, _),) = stack_layers(made)
    layer = Image(data, **attributes)
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_array_equal(stack.affine, made.affine)
    assert stack.ages.tolist() == [61]


def test_a_layer_in_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="is in colour"):
        LayerOrigin(Image(np.zeros((4, 4, 3), np.uint8), rgb=True)).opener()


def test_a_layer_that_has_gone_is_said() -> None:
    layer = image((4, 4), name="scan")
    origin = LayerOrigin(layer)
    del layer
    gc.collect()

    assert origin.name == "scan"
    with pytest.raises(ValueError, match="the layer was removed"):
        origin.opener()


def test_a_dropped_layer_counts_as_gone() -> None:
    layer = image((4, 4))
    origin = LayerOrigin(layer)
    origin.drop()

    with pytest.raises(ValueError, match="the layer was removed"):
        origin.opener()


def test_results_are_no_series() -> None:
    class Viewer:
        layers = LayerList([image((3, 4, 4), name="scan")])

    said = {"result": "score", "modality": "image"}
    Viewer.layers.append(image((3, 4, 4), metadata={"followup": said}))
    (found,) = series_layers(Viewer)

    assert found.name == "scan"
    assert [row.modality for row in layer_rows(Viewer.layers)] == ["", ""]
    found.metadata["followup"] = {"modality": "FLAIR"}
    assert layer_rows([found])[0].modality == "FLAIR"


def written(path: Path) -> FileOrigin:
    stack = VisitStack.from_array(np.ones((1, 8, 8)), ages=[61], subject="anna")
    return FileOrigin(write_stack(path, stack))


def test_what_is_wrong_with_one_file_is_its_own(tmp_path: Path) -> None:
    good, cut = written(tmp_path / "a.nii.gz"), written(tmp_path / "b.nii.gz")
    cut.path.write_bytes(cut.path.read_bytes()[:-20])
    absent = FileOrigin(tmp_path / "c.nii")
    found = dict(read_origins(open_all([good, cut, absent]), Report()))

    (part,) = found[good].parts
    assert (part.subject, part.age, part.facts.shape) == ("anna", 61, (1, 8, 8))
    assert "cut short" in found[cut].error
    assert not found[cut].error.startswith("'b.nii.gz'")  # it stands in its row
    assert "there is no such file" in found[absent].error


def test_a_stop_keeps_what_was_read(tmp_path: Path) -> None:
    origins = [written(tmp_path / f"{name}.nii") for name in "abc"]
    asked: list[int] = []

    def is_stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    found = read_origins(open_all(origins), Report(is_stopped=is_stopped))

    assert [origin for origin, _ in found] == origins[:2]


def test_what_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("")

    with pytest.raises(ValueError, match=r"'v.csv': has no rows"):
        list_source(tmp_path / "v.csv", None, Report())
