from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels

from napari_followup.plugin.layers.layers import KEY
from napari_followup.plugin.layers.stack_layers import cohort_layers, stack_layers
from napari_followup.plugin.results.save_layers import (
    plain_layer,
    saved_axes,
    stack_of,
    subjects_of,
)
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
    with pytest.raises(ValueError, match="is partly NaN; fill the holes"):
        stack_of(layer)
