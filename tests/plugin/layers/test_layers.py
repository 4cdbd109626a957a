from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.plugin.layers.layers import (
    GivenMask,
    Source,
    axes_choices,
    on_voxels,
    parse_ages,
    result_layer,
    series_of,
    source_of,
    to_layer_axes,
    with_visits,
    without_axis,
)


def test_a_bare_layer_of_three_axes_is_a_planar_series() -> None:
    assert axes_choices(Image(np.zeros((3, 8, 8)))) == ("vyx",)


def test_a_bare_layer_of_four_axes_must_be_asked_about() -> None:
    layer = Image(np.zeros((3, 2, 8, 8)), name="scan")

    assert axes_choices(layer) == ("vzyx", "svyx")
    with pytest.raises(ValueError, match="'scan' does not say what its 4 axes are"):
        source_of(layer)


@pytest.mark.parametrize(
    "said",
    [
        {"metadata": {"followup": {"axes": "svyx"}}},
        {"axis_labels": ("subject", "visit", "y", "x")},
        {"axis_labels": ("Subject", "T", "Y", "X")},
    ],
)
def test_a_layer_that_says_its_axes_is_not_asked_about(said: dict) -> None:
    assert axes_choices(Image(np.zeros((3, 2, 8, 8)), **said)) == ("svyx",)


def test_axes_that_do_not_fit_the_layer_are_not_believed() -> None:
    layer = Image(np.zeros((3, 2, 8, 8)), metadata={"followup": {"axes": "vyx"}})

    assert axes_choices(layer) == ("vzyx", "svyx")


def test_colour_is_refused_with_what_to_do() -> None:
    layer = Image(np.zeros((3, 8, 8, 3), np.uint8), rgb=True, name="photo")

    with pytest.raises(ValueError, match="'photo' is in colour; convert it to one grey channel"):
        axes_choices(layer)


@pytest.mark.parametrize("shape", [(8, 8), (2, 2, 2, 2, 8, 8)])
def test_too_few_or_too_many_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"has {len(shape)} axes; give \\(visit, y, x\\)"):
        axes_choices(Image(np.zeros(shape)))


def test_ages_are_read_as_typed() -> None:
    assert parse_ages(" ") is None
    np.testing.assert_array_equal(parse_ages("61, 62.5 63"), [61, 62.5, 63])
    np.testing.assert_array_equal(parse_ages("61, 62; 50, 51"), [[61, 62], [50, 51]])


@pytest.mark.parametrize("text", ["61, old", "61, 62; 63"])
def test_ages_that_cannot_be_read_are_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=f"cannot read {text!r}"):
        parse_ages(text)


def test_typed_ages_stand_above_those_of_the_metadata() -> None:
    layer = Image(np.zeros((2, 8, 8)), metadata={"followup": {"axes": "vyx", "ages": [1, 2]}})

    assert source_of(layer).ages.tolist() == [1, 2]
    assert source_of(layer, ages=np.array([5.0, 6.0])).ages.tolist() == [5, 6]


def test_ages_that_were_made_up_stay_unknown() -> None:
    about = {"axes": "vyx", "ages": [0, 1], "ages_known": False}
    stack = series_of(source_of(Image(np.zeros((2, 8, 8)), metadata={"followup": about}))).stack

    assert not stack.ages_known


def test_the_spacing_of_a_layer_becomes_millimetres() -> None:
    layer = Image(
        np.zeros((2, 3, 8, 8)),
        scale=(1, 2000, 500, 500),
        units=("pixel", "um", "um", "um"),
    )
    stack = series_of(source_of(layer, axes="vzyx")).stack

    assert stack.unit == "mm"
    assert stack.spacing == pytest.approx((2.0, 0.5, 0.5))


def test_a_layer_in_pixels_stays_in_pixels() -> None:
    stack = series_of(source_of(Image(np.zeros((2, 8, 8)), scale=(1, 2, 3)))).stack

    assert (stack.unit, stack.spacing) == ("pixel", (1.0, 2.0, 3.0))


def test_the_affine_of_the_file_comes_back_unless_the_layer_was_rescaled() -> None:
    affine = np.array([[0, 0, -2, 5], [0, 2, 0, 6], [2, 0, 0, 7], [0, 0, 0, 1.0]])
    about = {"axes": "vzyx", "affine": affine.tolist()}
    given = {"units": ("pixel", "mm", "mm", "mm"), "metadata": {"followup": about}}
    kept = Image(np.zeros((2, 3, 8, 8)), scale=(1, 2, 2, 2), **given)
    rescaled = Image(np.zeros((2, 3, 8, 8)), scale=(1, 4, 4, 4), **given)

    np.testing.assert_array_equal(series_of(source_of(kept)).stack.affine, affine)
    assert series_of(source_of(rescaled)).stack.spacing == (4.0, 4.0, 4.0)


def test_visits_in_any_order_come_back_in_the_order_of_the_layer() -> None:
    images = np.arange(3.0)[:, None, None] * np.ones((3, 8, 8))
    source = source_of(Image(images), ages=np.array([63.0, 61.0, 62.0]))
    each = series_of(source)

    assert each.stack.ages.tolist() == [61, 62, 63]
    back = to_layer_axes(source, [each], [np.asarray(each.stack.images[:, 0])])
    np.testing.assert_array_equal(back, images)


@pytest.mark.parametrize("axes", ["vzyx", "svyx", "zvyx", "yxvz"])
def test_results_take_the_shape_of_the_layer_whatever_its_axes(axes: str) -> None:
    rng = np.random.default_rng(0)
    layer = Image(rng.random((3, 4, 5, 6)), metadata={"followup": {"axes": axes}})
    source = source_of(layer)

    series = [series_of(source, number) for number in range(source.n_subjects)]
    back = to_layer_axes(source, series, [np.asarray(s.stack.images) for s in series])

    np.testing.assert_array_equal(back, layer.data)


def test_maps_of_a_series_with_modalities_lie_under_each_of_them() -> None:
    source = source_of(Image(np.zeros((2, 3, 4, 8, 8))), axes="vmzyx")
    each = series_of(source)
    score = np.random.default_rng(0).random((2, 4, 8, 8), dtype=np.float32)

    back = to_layer_axes(source, [each], [score])

    assert back.shape == (2, 3, 4, 8, 8)
    np.testing.assert_array_equal(back[:, 2], score)


def test_results_of_a_series_in_order_of_age_are_not_copied() -> None:
    source = source_of(Image(np.zeros((2, 3, 8, 8))), axes="vzyx")
    score = np.ones((2, 3, 8, 8), np.float32)

    assert np.shares_memory(to_layer_axes(source, [series_of(source)], [score]), score)


def test_a_subject_that_was_left_out_is_nan_or_nothing() -> None:
    source = source_of(Image(np.zeros((2, 3, 8, 8))), axes="svyx")
    first = series_of(source, 0)
    score = np.ones((3, 1, 8, 8), np.float32)

    assert np.isnan(to_layer_axes(source, [first, None], [score, None])[1]).all()
    assert not to_layer_axes(source, [first, None], [score > 0, None])[1].any()


def test_a_cohort_takes_ages_per_subject_or_for_all() -> None:
    layer = Image(np.zeros((2, 3, 8, 8)))
    own = source_of(layer, axes="svyx", ages=np.array([[1.0, 2, 3], [4, 5, 6]]))
    shared = source_of(layer, axes="svyx", ages=np.array([1.0, 2, 3]))
    wrong = source_of(layer, axes="svyx", ages=np.array([[1.0, 2, 3]] * 3))

    assert series_of(own, 1).stack.ages.tolist() == [4, 5, 6]
    assert series_of(shared, 1).stack.ages.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="ages: got 3 rows for 2 subjects"):
        series_of(wrong, 0)


def test_too_few_ages_are_refused_by_name() -> None:
    source = source_of(Image(np.zeros((3, 8, 8)), name="scan"), ages=np.array([61.0, 62.0]))

    with pytest.raises(ValueError, match="got 2 for the 3 visits of 'scan'"):
        series_of(source)


def test_a_result_lies_exactly_on_its_source() -> None:
    rotation = [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]
    layer = Image(
        np.zeros((3, 8, 8)),
        name="scan",
        scale=(1, 0.5, 0.5),
        translate=(0, 7, 8),
        rotate=rotation,
        shear=(0, 0, 0.1),
        affine=np.diag([1, 2, 2, 1]),
        units=("pixel", "mm", "mm"),
        axis_labels=("visit", "y", "x"),
    )
    source = source_of(layer)
    data, attributes, kind = result_layer(source, layer.data, "score", "image", {"model": "m"})
    made = Image(data, **attributes)

    assert kind == "image"
    assert made.name == "scan score"
    assert (made.units, made.axis_labels) == (layer.units, layer.axis_labels)
    corner = (2, 3, 4)
    np.testing.assert_allclose(made.data_to_world(corner), layer.data_to_world(corner))
    about = made.metadata["followup"]
    assert about["provenance"] == {"model": "m"}
    assert (about["source"], about["result"], about["axes"]) == ("scan", "score", "vyx")


def test_a_lazy_layer_is_not_loaded_as_a_whole() -> None:
    dask = pytest.importorskip("dask.array")
    source = source_of(Image(dask.zeros((2, 3, 8, 8), chunks=(1, 1, 8, 8))), axes="svyx")

    assert hasattr(series_of(source, 0).stack.images, "chunks")


def test_one_visit_is_a_series() -> None:
    assert series_of(source_of(Image(np.ones((1, 8, 8))))).stack.n_visits == 1


def test_labels_that_say_nothing_become_those_of_the_chosen_axes() -> None:
    bare = Image(np.zeros((2, 3, 8, 8)))
    named = Image(np.zeros((2, 3, 8, 8)), axis_labels=("who", "when", "row", "column"))

    labels = ("subject", "visit", "y", "x")
    assert source_of(bare, axes="svyx").geometry["axis_labels"] == labels
    assert source_of(named, axes="svyx").geometry["axis_labels"] == named.axis_labels


def test_a_plane_is_as_thick_as_its_file_says_and_its_results_know_the_file() -> None:
    affine = np.array([[0, 0, -2, 5], [0, 2, 0, 6], [4, 0, 0, 7], [0, 0, 0, 1.0]])
    said = {"axes": "vyx", "affine": affine.tolist()}
    units = ("pixel", "mm", "mm")
    layer = Image(np.zeros((3, 8, 8)), scale=(1, 2, 2), units=units, metadata={"followup": said})

    source = source_of(layer)

    stack = series_of(source).stack
    np.testing.assert_array_equal(stack.affine, affine)
    assert stack.spacing == (4.0, 2.0, 2.0)
    _, attributes, _ = result_layer(source, layer.data, "score", "image", {})
    assert attributes["metadata"]["followup"]["affine"] == affine.tolist()


def layer(ndim: int = 3) -> Image:
    """An image that is scaled, shifted, turned and sheared."""
    angle = np.radians(30)
    rotate = np.eye(ndim)
    rotate[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(ndim + 1)
    affine[-2, -1] = 7.0
    shear = np.zeros(ndim * (ndim - 1) // 2)
    shear[-1] = 0.2
    return Image(
        np.zeros((4,) * ndim),
        scale=np.arange(1.0, ndim + 1),
        translate=np.arange(2.0, ndim + 2),
        rotate=rotate,
        shear=shear,
        affine=affine,
    )


def placed(geometry: dict[str, object], ndim: int) -> Image:
    return Image(np.zeros((4,) * ndim), **geometry)


def test_a_layer_with_an_axis_of_visits_lies_where_it_lay() -> None:
    bare = layer()

    with_them = placed(with_visits(source_of(bare, axes="zyx").geometry), 4)

    assert with_them.axis_labels[0] == "visit"
    for point in ((0, 0, 0), (1, 2, 3)):
        np.testing.assert_allclose(
            with_them.data_to_world((5, *point)), (5, *bare.data_to_world(point))
        )


def test_the_axis_of_visits_can_be_taken_away_again() -> None:
    geometry = source_of(layer(), axes="zyx").geometry

    back = placed(without_axis(with_visits(geometry), 0), 3)

    np.testing.assert_allclose(back.data_to_world((1, 2, 3)), layer().data_to_world((1, 2, 3)))


@pytest.mark.parametrize("axes", ["vyx", "vzyx"])
def test_other_voxels_lie_in_the_same_place(axes: str) -> None:
    old = layer(len(axes))
    voxels = np.diag([0.5, 2.0, 0.25, 1.0])
    voxels[:3, 3] = 3.0, 1.0, -2.0
    point = np.array([1.0, 2.0, 3.0])
    before = voxels[:3, :3] @ point + voxels[:3, 3]
    count = len(axes) - 1

    new = placed(on_voxels(source_of(old, axes=axes).geometry, axes, voxels), len(axes))

    np.testing.assert_allclose(
        new.data_to_world((1, *point[-count:])), old.data_to_world((1, *before[-count:]))
    )


VOLUMES = Source(name="scan", data=np.zeros((2, 3, 4, 5)), axes="vzyx")
PLANES = Source(name="scan", data=np.zeros((2, 4, 5)), axes="vyx")


def marks(*shape: int) -> GivenMask:
    data = np.zeros(shape, np.uint8)
    data[..., 1, 2] = 3
    return GivenMask(name="labels", data=data)


def test_labels_on_the_voxels_of_a_visit_are_taken_as_they_are() -> None:
    found = marks(3, 4, 5).on(VOLUMES)

    assert found.dtype == bool
    np.testing.assert_array_equal(np.argwhere(found)[:, 1:], [[1, 2]] * 3)
    assert marks(4, 5).on(PLANES).shape == (1, 4, 5)


def test_labels_of_every_visit_count_together_or_one_by_one() -> None:
    mask = marks(2, 3, 4, 5)
    mask.data[0] = 0
    mask.data[0, 0, 0, 0] = 1

    assert mask.on(VOLUMES)[0, 0, 0]
    assert mask.on(VOLUMES)[2, 1, 2]
    assert not mask.on(VOLUMES, 1)[0, 0, 0]


def test_labels_on_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'labels' has the shape \(3, 4, 6\).* has \(3, 4, 5\)"):
        marks(3, 4, 6).on(VOLUMES)


def test_empty_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="mask: 'labels' is empty"):
        GivenMask(name="labels", data=np.zeros((3, 4, 5))).on(VOLUMES)
