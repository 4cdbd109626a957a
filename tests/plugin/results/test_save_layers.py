from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import napari_builtins
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Layer
from npe2 import PluginManager, PluginManifest

import napari_followup
from napari_followup.io import read_stack, write_stack
from napari_followup.io.save_results import write_parts
from napari_followup.plugin.layers.layers import KEY, Source, about, series_of, source_of
from napari_followup.plugin.layers.reader import read_layers
from napari_followup.plugin.layers.result_layers import (
    MASK_COLORS,
    Found,
    detection_layers,
    mask_of,
)
from napari_followup.plugin.layers.stack_layers import cohort_layers, stack_layers
from napari_followup.plugin.results.save_layers import (
    detection_parts,
    layer_parts,
    plain_layer,
    saved_axes,
    stack_of,
    subjects_of,
    with_mask,
    write_image,
    write_labels,
)
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

AFFINE = np.array([[0, 0.02, -0.8, 90], [0, 0.9, 0.01, -70], [3.3, 0, 0, 12], [0, 0, 0, 1.0]])


def plain(layer: Any) -> SimpleNamespace:
    data, attributes, _ = layer.as_layer_data_tuple()
    return plain_layer(data, attributes)


def series(z: int = 2, **changes: Any) -> VisitStack:
    images = np.random.default_rng(0).random((3, 1, z, 4, 5), np.float32)
    images[1] = np.nan
    given = {"ages": [61, 62, 64], "affine": AFFINE, "subject": "anna", "modalities": ["T1"]}
    return VisitStack.from_array(images, **(given | changes))


def layer_of(stack: VisitStack) -> Image:
    ((data, attributes, _),) = stack_layers(stack)
    return Image(data, **attributes)


@pytest.mark.parametrize("z", [1, 2])
def test_a_layer_of_ours_is_the_series_it_came_from(z: int) -> None:
    stack = series(z)

    back = stack_of(plain(layer_of(stack)))

    np.testing.assert_array_equal(back.images, stack.images)
    np.testing.assert_array_equal(back.affine, stack.affine)
    np.testing.assert_array_equal(back.is_observed, stack.is_observed)
    for name in ("unit", "subject", "modalities", "ages_known"):
        assert getattr(back, name) == getattr(stack, name)
    assert back.ages.tolist() == [61, 62, 64]


def test_a_moved_layer_is_moved_along_its_own_axes() -> None:
    layer = layer_of(series())
    z, _, x = np.linalg.norm(AFFINE[:3, :3], axis=0)
    layer.translate = (0, 2 * z, 0, -3 * x)

    moved = stack_of(plain(layer)).affine

    np.testing.assert_allclose(moved[:3, :3], AFFINE[:3, :3])
    np.testing.assert_allclose(moved @ [0, 0, 0, 1], AFFINE @ [2, 0, -3, 1])


def test_a_rescaled_layer_keeps_its_directions() -> None:
    layer = layer_of(series())
    layer.scale = np.array(layer.scale) * [1, 1, 2, 1]

    stack = stack_of(plain(layer))

    np.testing.assert_allclose(stack.affine, AFFINE @ np.diag([1, 2, 1, 1]))
    np.testing.assert_allclose(stack.spacing, np.linalg.norm(stack.affine[:3, :3], axis=0))


@settings(max_examples=15, deadline=None)
@given(
    angle=st.floats(-170, 170),
    scale=st.tuples(*[st.floats(0.3, 5)] * 3),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_voxels_of_a_foreign_layer_lie_where_napari_shows_them(
    angle: float, scale: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    layer = Image(
        np.zeros((2, 3, 4, 5)),
        scale=(1, *scale),
        translate=(0, *shift),
        rotate=_turned(angle),
        units=("pixel", "um", "um", "um"),
    )

    stack = stack_of(plain(layer))

    for voxel in ([0, 0, 0], [1, 2, 3]):
        shown = np.array(layer.data_to_world([0, *voxel]))[:0:-1] / 1000  # (x, y, z) in mm
        np.testing.assert_allclose((stack.affine @ [*voxel, 1])[:3], shown, atol=1e-9)
    assert stack.unit == "mm"


def _turned(angle: float) -> np.ndarray:
    turn = np.eye(4)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn[2:, 2:] = [[cos, -sin], [sin, cos]]
    return turn


@pytest.mark.parametrize(
    ("shape", "attributes", "axes"),
    [
        ((4, 5), {}, "yx"),
        ((2, 4, 5), {"axis_labels": ("z", "y", "x")}, "zyx"),
        ((2, 4, 5), {"axis_labels": ("t", "y", "x")}, "vyx"),
        ((2, 4, 5), {"units": ("mm", "um", "um")}, "zyx"),
        ((2, 4, 5), {"units": ("second", "mm", "mm")}, "vyx"),
        ((2, 3, 4, 5), {"units": ("pixel", "mm", "mm", "mm")}, "vzyx"),
        ((2, 4, 5), {"metadata": {KEY: {"axes": "vyx"}}}, "vyx"),
    ],
)
def test_axes_come_from_labels_or_units(
    shape: tuple[int, ...], attributes: dict[str, Any], axes: str
) -> None:
    layer = plain(Image(np.zeros(shape), **attributes))

    assert saved_axes(layer) == axes
    sizes = dict(zip(axes, shape, strict=True))
    assert stack_of(layer).shape == tuple(sizes.get(letter, 1) for letter in "vmzyx")


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 4, 5), {}),
        ((2, 3, 4, 5), {"units": ("mm",) * 4}),
        ((2, 2, 3, 4, 5), {"units": ("pixel", "pixel", "mm", "mm", "mm")}),
        ((2, 4, 5), {"axis_labels": ("q", "y", "x")}),
    ],
)
def test_axes_that_are_not_clear_are_asked_for(
    shape: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    layer = plain(Image(np.zeros(shape), name="mine", **attributes))

    with pytest.raises(ValueError, match=rf"the {len(shape)} axes of 'mine' are; name them, as in"):
        stack_of(layer)


def test_colours_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'mine' is in colour; split it"):
        subjects_of(plain(Image(np.zeros((4, 5, 3)), name="mine", rgb=True)))


def test_the_finest_level_of_a_pyramid_is_taken() -> None:
    levels = [np.ones((2, 8, 8)), np.ones((2, 4, 4))]
    layer = Image(levels, multiscale=True, axis_labels=("visit", "y", "x"))

    assert stack_of(plain(layer)).shape == (2, 1, 1, 8, 8)


def test_subjects_of_a_cohort_are_taken_one_by_one() -> None:
    stacks = [series(subject=name, ages=[60 + n, 62, 64]) for n, name in enumerate("ab")]
    ((data, attributes, _),) = cohort_layers(stacks)
    layer = plain(Image(data, **attributes))

    assert subjects_of(layer) == ["a", "b"]
    np.testing.assert_array_equal(stack_of(layer, 1).images, stacks[1].images)
    assert stack_of(layer, 1).ages.tolist() == [61, 62, 64]


def test_what_a_series_has_no_place_for_goes_into_the_provenance() -> None:
    said = {"axes": "vyx", "result": "mask", "source": "anna", "is_imputed": [False, True]}
    said |= {"is_observed": [True, False], "provenance": {"seed": 4}}
    layer = Labels(np.zeros((2, 4, 4), np.uint8), metadata={KEY: said})

    stack = stack_of(plain(layer), kind="labels")

    assert stack.provenance["seed"] == 4
    assert stack.provenance["layer"] == {
        "kind": "labels",
        "result": "mask",
        "source": "anna",
        "is_observed": [True, False],
        "is_imputed": [False, True],
    }


def test_a_spread_is_one_of_the_visits_that_were_imputed() -> None:
    values = np.full((3, 4, 4), np.nan, np.float32)
    values[1] = 0.5
    said = {"axes": "vyx", "result": "spread", "is_observed": [True, False, True]}

    stack = stack_of(plain(Image(values, metadata={KEY: said}, contrast_limits=(0, 1))))

    assert stack.is_observed.tolist() == [False, True, False]
    assert stack.provenance["layer"]["is_observed"] == [True, False, True]


@pytest.mark.parametrize("axes", ["vzyx", "svzyx", "zvyx"])
def test_planes_of_a_result_that_were_not_examined_stay_nan(axes: str) -> None:
    sizes = {"s": 2, "v": 3, "z": 4, "y": 5, "x": 6}
    values = np.ones([sizes[letter] for letter in axes], np.float32)
    by_visit = np.moveaxis(values, (axes.index("v"), axes.index("z")), (0, 1))
    by_visit[:, 0] = np.nan
    by_visit[1] = np.nan
    said = {"axes": axes, "result": "score"}
    layer = plain(Image(values, metadata={KEY: said}, contrast_limits=(0, 1)))

    for subject in range(2 if "s" in axes else 1):
        stack = stack_of(layer, subject)
        assert stack.is_observed.tolist() == [True, False, True]
        assert np.isnan(stack.images[0, 0, 0]).all()
        assert (stack.images[0, 0, 1:] == 1).all()
    del layer.metadata[KEY]["result"]
    with pytest.raises(ValueError, match="is partly NaN; fill the missing pixels"):
        stack_of(layer)


OBLIQUE = [[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1.0]]


def stack_named(name: str, **changes: Any) -> VisitStack:
    images = np.random.default_rng(len(name)).random((3, 4, 5)).astype(np.float32)
    given = {"ages": [61, 62, 64], "affine": OBLIQUE, "subject": name}
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
    np.testing.assert_array_equal(mask.affine, OBLIQUE)
    assert json.loads((tmp_path / "anna_provenance.json").read_text())["source"] == "anna"


def test_a_series_that_was_moved_is_saved_where_it_lies(tmp_path: Path) -> None:
    source = source_from(stack_layers(stack_named("anna")), translate=(0, 6, 0))

    write_parts(tmp_path, detection_parts(found_in(source), "nifti"))

    affine = read_stack(tmp_path / "anna_score.nii.gz").affine
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], np.array(OBLIQUE) @ [0, 2, 0, 1])


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

    write_parts(
        tmp_path, layer_parts(as_tuples(detection_layers(found, ["score", "mask"])), "nifti")
    )

    assert {path.name for path in tmp_path.iterdir() if "nii" in path.name} == {
        "anna_score.nii.gz",
        "anna_mask.nii.gz",
    }
    stack = read_stack(tmp_path / "anna_score.nii.gz")
    np.testing.assert_array_equal(stack.images[:, 0], found.detections[0].score)
    np.testing.assert_array_equal(stack.affine, OBLIQUE)
    said = json.loads((tmp_path / "anna_score_provenance.json").read_text())
    assert (said["source"], said["model"]) == ("anna", "m")


def test_layers_of_a_cohort_get_a_folder_a_subject(tmp_path: Path) -> None:
    stacks = [stack_named(name) for name in ("anna", "bo")]
    found = found_in(source_from(cohort_layers(stacks)))

    write_parts(tmp_path, layer_parts(as_tuples(detection_layers(found, ["score"])), "ome-tiff"))

    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"anna/anna_score.ome.tif", "bo/bo_score.ome.tif", "score_provenance.json"}
    stack = read_stack(tmp_path / "bo" / "bo_score.ome.tif")
    np.testing.assert_array_equal(stack.images, stacks[1].images)


def as_tuples(layers: list[Any]) -> list[Any]:
    return [Image(data, **_images_only(given)).as_layer_data_tuple() for data, given, _ in layers]


def _images_only(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "colormap"}


PATH = Path(napari_followup.__file__).with_name("napari.yaml")
NAMES = ["a.nii", "a.nii.gz", "a.ome.tif", "a.ome.tiff", "a.ome.zarr", "a.zarr", "a.npz"]
TILTED = np.array([[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1.0]])
OURS = "napari-followup"


@pytest.fixture
def plugins(npe2pm: Any) -> PluginManager:
    """Only napari's own writers and ours, in napari's order."""
    builtins = Path(napari_builtins.__file__).with_name("builtins.yaml")
    for path in (builtins, PATH):
        npe2pm.register(PluginManifest.from_file(path))
    return npe2pm


def imputed(z: int = 2) -> Layer:
    """Five visits: the second missing, the fourth imputed."""
    images = np.random.default_rng(0).random((5, 1, z, 6, 7), np.float32)
    images[1] = np.nan
    stack = VisitStack.from_array(
        images,
        ages=[61, 62, 63.5, 64, 65],
        is_observed=[True, False, True, False, True],
        affine=TILTED,
        subject="anna",
        modalities=["FLAIR"],
    )
    stack = stack.with_images(stack.images, provenance={"model": "m", "seed": 3})
    return Layer.create(*stack_layers(stack)[0])


def mask_layer(layer: Layer) -> Labels:
    values = np.zeros(layer.data.shape, np.uint8)
    values[2, ..., 2:4, 3] = 1
    said = about(layer) | {"result": "mask", "source": layer.name}
    placed = {name: getattr(layer, name) for name in ("scale", "units", "axis_labels")}
    return Labels(values, name="anna mask", metadata={"followup": said}, **placed)


def reopened(path: Path) -> Layer:
    (made,) = read_layers(path)
    return Layer.create(*made)


def assert_same(back: Layer, layer: Layer) -> None:
    assert type(back) is type(layer)
    np.testing.assert_array_equal(back.data, layer.data)
    assert back.data.dtype == layer.data.dtype
    np.testing.assert_allclose(back.scale, layer.scale, rtol=1e-6)
    assert (back.units, back.axis_labels) == (layer.units, layer.axis_labels)
    said, before = about(back), about(layer)
    np.testing.assert_allclose(said.pop("affine"), before.pop("affine"), rtol=1e-6)
    assert said == before


@pytest.mark.parametrize("z", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_that_was_saved_is_the_same_layer_when_it_is_opened(
    plugins: PluginManager, tmp_path: Path, name: str, z: int
) -> None:
    layer = imputed(z)

    assert layer.save(str(tmp_path / name), plugin=OURS) == [str(tmp_path / name)]

    back = reopened(tmp_path / name)
    assert_same(back, layer)
    assert about(back)["is_imputed"] == [False, False, False, True, False]
    assert about(back)["provenance"] == {"model": "m", "seed": 3}


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_that_was_saved_is_a_mask_when_it_is_opened(
    plugins: PluginManager, tmp_path: Path, name: str
) -> None:
    layer = mask_layer(imputed())

    layer.save(str(tmp_path / name), plugin=OURS)

    back = reopened(tmp_path / name)
    assert_same(back, layer)
    assert back.name == "anna mask"
    np.testing.assert_array_equal(
        back.colormap.map(np.array([1])), Labels(np.eye(2, dtype=int), colormap=MASK_COLORS)
        .colormap.map(np.array([1]))
    )  # fmt: skip


def test_the_grid_of_a_nifti_file_survives_napari_to_the_bit(
    plugins: PluginManager, tmp_path: Path
) -> None:
    turned = TILTED[:, [2, 1, 0, 3]].copy()  # NIfTI's order
    turned[0, 1], turned[2, 0] = 0.0123, -0.4567
    voxels = np.random.default_rng(0).integers(0, 900, (7, 6, 2, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, turned)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "source.nii.gz")

    reopened(tmp_path / "source.nii.gz").save(str(tmp_path / "saved.nii.gz"))

    before, after = (
        nibabel.load(tmp_path / "source.nii.gz"),
        nibabel.load(tmp_path / "saved.nii.gz"),
    )
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.dataobj, voxels)
    assert after.get_data_dtype() == np.int16
    for field in ("srow_x", "srow_y", "srow_z", "xyzt_units"):
        np.testing.assert_array_equal(after.header[field], before.header[field])


def test_a_plane_keeps_its_place_and_thickness(plugins: PluginManager, tmp_path: Path) -> None:
    voxels = np.zeros((7, 6, 1, 3), np.float32)
    image = nibabel.Nifti1Image(voxels, TILTED[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "source.nii")

    reopened(tmp_path / "source.nii").save(str(tmp_path / "saved.nii"))

    np.testing.assert_array_equal(nibabel.load(tmp_path / "saved.nii").affine, image.affine)


def test_a_layer_that_is_not_ours_is_saved_by_its_scale_and_units(
    plugins: PluginManager, tmp_path: Path
) -> None:
    layer = Image(
        np.ones((2, 3, 4), np.float32),
        scale=(3000, 500, 500),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )

    layer.save(str(tmp_path / "a.nii.gz"))

    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (4, 3, 2)
    np.testing.assert_allclose(image.affine, np.diag([0.5, 0.5, 3, 1]))
    assert image.header.get_xyzt_units()[0] == "mm"


def test_unclear_axes_are_said_and_nothing_is_written(
    plugins: PluginManager, tmp_path: Path
) -> None:
    layer = Image(np.ones((2, 3, 4)), name="mine")

    with pytest.raises(RuntimeError, match=r"'a\.nii\.gz' was not written: .*axis_labels = \('vis"):
        layer.save(str(tmp_path / "a.nii.gz"))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_nothing_is_left(
    plugins: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nibabel.nifti1.Nifti1Header.write_to", full)

    with pytest.raises(OSError, match=r"cannot write .*a\.nii\.gz.*has room"):
        imputed().save(str(tmp_path / "a.nii.gz"))
    assert not list(tmp_path.iterdir())


def test_a_cohort_goes_into_one_npz_and_nowhere_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stacks = [
        VisitStack.from_array(rng.random((3, 4, 5)), ages=[60 + n, 62, 64], subject=name)
        for n, name in enumerate(["a", "b"])
    ]
    layer = Layer.create(*cohort_layers(stacks)[0])
    data, attributes, _ = layer.as_layer_data_tuple()

    write_image(str(tmp_path / "cohort.npz"), data, attributes)

    assert_same(reopened(tmp_path / "cohort.npz"), layer)
    with pytest.raises(RuntimeError, match=r"holds 2 subjects, this format one; save as \.npz"):
        write_labels(str(tmp_path / "a.nii"), data.astype(int), attributes)


def test_lazy_layers_are_saved(plugins: PluginManager, tmp_path: Path) -> None:
    import dask.array

    values = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    layer = Image(dask.array.from_array(values, chunks=(1, 4, 5)), axis_labels=("visit", "y", "x"))

    layer.save(str(tmp_path / "a.nii"))

    np.testing.assert_array_equal(reopened(tmp_path / "a.nii").data, values)


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("a.nii", True),
        ("a.nii.gz", True),
        ("a.ome.tif", True),
        ("a.ome.zarr", True),
        ("a.tif", False),
        ("a.tiff", False),
        ("a.npz", False),  # ours by plugin=, or by the choice in napari's dialog
        ("a", False),
    ],
)
def test_napari_keeps_its_own_formats(
    plugins: PluginManager, kind: str, name: str, is_ours: bool
) -> None:
    writer, _ = plugins.get_writer(name, [kind])

    assert writer is not None
    assert writer.command.startswith(OURS) == is_ours


def test_a_file_of_someone_else_with_a_provenance_is_opened_all_the_same(tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4)))
    stack = stack.with_images(stack.images, provenance={"layer": "of paint"})
    write_stack(tmp_path / "a.npz", stack)

    assert type(reopened(tmp_path / "a.npz")) is Image
