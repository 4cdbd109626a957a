from __future__ import annotations

import re
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_followup.alignment.align import single_visits
from napari_followup.comparison.change_map import change
from napari_followup.series.stack import VisitStack, add_step, refuse_partly_missing

SERIES = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)  # (visit, y, x)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 4, 5), (3, 1, 1, 4, 5)),
        ((3, 2, 4, 5), (3, 1, 2, 4, 5)),
        ((3, 6, 2, 4, 5), (3, 6, 2, 4, 5)),
    ],
)
def test_bare_arrays_get_five_axes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    stack = VisitStack.from_array(np.zeros(shape))

    assert stack.shape == expected
    assert stack.n_visits == 3


def test_axes_say_which_is_which() -> None:
    images = np.arange(24).reshape(2, 3, 4)  # (y, visit, x)

    stack = VisitStack.from_array(images, axes="yvx")

    np.testing.assert_array_equal(stack.images[1, 0, 0], images[:, 1])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float32", "float64"])
def test_pixel_type_and_values_are_kept(dtype: str) -> None:
    images = (SERIES - (0 if dtype.startswith(("u", "b")) else 30)).astype(dtype)

    stack = VisitStack.from_array(images)

    assert stack.images.dtype == dtype
    np.testing.assert_array_equal(stack.images[:, 0, 0], images)


def test_visits_are_sorted_by_age_and_equal_ages_keep_their_order() -> None:
    stack = VisitStack.from_array(SERIES, ages=[62.0, 60.0, 60.0], is_observed=[False, True, True])

    assert stack.ages.tolist() == [60.0, 60.0, 62.0]
    assert stack.is_observed.tolist() == [True, True, False]
    np.testing.assert_array_equal(stack.images[:, 0, 0], SERIES[[1, 2, 0]])


def test_without_ages_visits_are_counted() -> None:
    stack = VisitStack.from_array(SERIES)

    assert stack.ages.tolist() == [0.0, 1.0, 2.0]
    assert not stack.ages_known
    assert VisitStack.from_array(SERIES, ages=[1, 2, 3]).ages_known


def test_visit_of_nan_is_a_missing_one() -> None:
    images = SERIES.copy()
    images[1] = np.nan

    assert VisitStack.from_array(images).is_observed.tolist() == [True, False, True]


def test_unobserved_visit_may_hold_an_imputed_image() -> None:
    stack = VisitStack.from_array(SERIES, is_observed=[True, True, False])

    assert stack.is_observed.tolist() == [True, True, False]
    np.testing.assert_array_equal(stack.images[2, 0, 0], SERIES[2])


def test_plain_series_lies_on_the_pixel_grid() -> None:
    stack = VisitStack.from_array(SERIES)

    assert (stack.spacing, stack.unit) == ((1.0, 1.0, 1.0), "pixel")
    assert (stack.affine @ [7, 6, 5, 1]).tolist() == [5, 6, 7, 1]  # (z, y, x) -> (x, y, z)


def test_spacing_makes_the_affine() -> None:
    stack = VisitStack.from_array(SERIES, spacing=(0.5, 0.25))

    assert (stack.spacing, stack.unit) == ((1.0, 0.5, 0.25), "mm")
    assert (stack.affine @ [1, 2, 4, 1]).tolist() == [1, 1, 1, 1]


def test_affine_makes_the_spacing() -> None:
    affine = np.array([[0, 0, -2.0, 90], [0, 3, 0, 5], [4, 0, 0, 0], [0, 0, 0, 1]])

    stack = VisitStack.from_array(SERIES, affine=affine)

    assert (stack.spacing, stack.unit) == ((4.0, 3.0, 2.0), "mm")
    np.testing.assert_array_equal(stack.affine, affine)


def test_micrometre_voxels_are_no_singular_affine() -> None:
    stack = VisitStack.from_array(SERIES, spacing=(1e-4, 1e-4, 1e-4))

    assert stack.spacing == (1e-4, 1e-4, 1e-4)


def test_lazy_images_stay_lazy() -> None:
    images = da.from_array(SERIES, chunks=(1, 4, 5))

    stack = VisitStack.from_array(images, ages=[3, 2, 1])

    assert isinstance(stack.images, da.Array)
    np.testing.assert_array_equal(np.asarray(stack.images)[:, 0, 0], SERIES[::-1])


def test_array_on_disk_becomes_a_lazy_one() -> None:
    class OnDisk:  # what zarr and h5py arrays have
        chunks, shape, dtype, ndim = (1, 4, 5), SERIES.shape, SERIES.dtype, 3

        def __getitem__(self, index: Any) -> Any:
            return SERIES[index]

    stack = VisitStack.from_array(OnDisk())

    assert isinstance(stack.images, da.Array)
    np.testing.assert_array_equal(np.asarray(stack.images)[:, 0, 0], SERIES)


def test_caller_can_change_his_ages_without_changing_the_stack() -> None:
    ages = np.array([1.0, 2.0, 3.0])
    stack = VisitStack.from_array(SERIES, ages=ages)

    ages[0] = 99

    assert stack.ages[0] == 1.0


@pytest.mark.parametrize(
    ("indices", "kept"),
    [
        (1, [1]),
        ([0, 2], [0, 2]),
        (slice(1, None), [1, 2]),
        ([True, False, True], [0, 2]),
        (-1, [2]),
    ],
)
def test_select_keeps_visits_with_all_that_belongs_to_them(indices: Any, kept: list[int]) -> None:
    stack = VisitStack.from_array(SERIES, ages=[60, 61, 62], subject="ann", spacing=(1, 2, 3))

    part = stack.select(indices)

    assert part.ages.tolist() == [60 + visit for visit in kept]
    np.testing.assert_array_equal(part.images[:, 0, 0], SERIES[kept])
    assert (part.subject, part.spacing, part.ages_known) == ("ann", (1.0, 2.0, 3.0), True)


def test_select_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep at least one"):
        VisitStack.from_array(SERIES).select([])


def test_with_images_keeps_the_rest_and_leaves_the_original() -> None:
    stack = VisitStack.from_array(SERIES, ages=[60, 61, 62], subject="ann")

    other = stack.with_images(stack.images * 2)
    longer = stack.with_images(
        np.zeros((4, 1, 1, 4, 5)), ages=np.arange(4), is_observed=np.ones(4, dtype=bool)
    )

    np.testing.assert_array_equal(other.images, stack.images * 2)
    assert (other.subject, other.ages.tolist()) == ("ann", [60.0, 61.0, 62.0])
    assert longer.n_visits == 4
    np.testing.assert_array_equal(stack.images[:, 0, 0], SERIES)


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        (np.zeros((4, 5)), ValueError, "got 2 axes, shape (4, 5)"),
        (np.zeros((0, 4, 5)), ValueError, "without an empty axis"),
        (np.zeros((3, 4, 5, 3), np.uint8), ValueError, "looks like colour"),
        (np.zeros((3, 4, 5), complex), TypeError, "complex; take their magnitude"),
        (np.full((3, 4, 5), "a"), TypeError, "one array of numbers"),
        (np.full((3, 4, 5), None), TypeError, "one array of numbers"),
        ([np.zeros((4, 5)), np.zeros((4, 6))], ValueError, "the visits differ in shape"),
        (np.full((3, 4, 5), np.nan), ValueError, "no visit is observed"),
    ],
)
def test_unfit_images_are_refused(images: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        VisitStack.from_array(images, subject="ann")


@pytest.mark.parametrize(("value", "text"), [(np.nan, "partly NaN"), (np.inf, "infinite values")])
def test_unfit_visit_is_named(value: float, text: str) -> None:
    images = SERIES.copy()
    images[1, 0, 0] = value

    with pytest.raises(ValueError, match=f"visit 2 of 3 of 'ann'.*{text}"):
        VisitStack.from_array(images, subject="ann")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("ages", [1, 2], "ages: got 2 for the 3 visits of 'ann'; give one age in years per visit"),
        ("ages", [1, np.nan, 3], "needs a finite age"),
        ("ages", ["young", "old", "older"], "give numbers, in years"),
        ("axes", "vy", "use v, y, x and perhaps m and z"),
        ("axes", "vvyx", "each once"),
        ("axes", "vzyx", "names 4 axes, the images of 'ann' have 3"),
        ("axes", "syx", "VisitStack.from_cohort"),
        ("spacing", (1, 0, 1), "three finite sizes above 0"),
        ("spacing", (1, 1, 1, 1), "three finite sizes above 0"),
        ("affine", np.eye(3), "give a (4, 4) array"),
        ("affine", np.full((4, 4), np.nan), "finite numbers"),
        ("affine", np.ones((4, 4)), "singular"),
        ("unit", "furlong", "give lengths in 'mm'"),
        ("is_observed", [True], "one True or False per visit"),
        ("is_observed", [False] * 3, "no visit is observed"),
        ("modalities", ["t1", "t2"], "got 2 names for 1 modalities"),
    ],
)
def test_unfit_fields_are_refused(field: str, value: Any, text: str) -> None:
    settings = {field: value}

    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        VisitStack.from_array(SERIES, subject="ann", **settings)


def test_spacing_that_contradicts_the_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="the affine's voxels measure"):
        VisitStack.from_array(SERIES, spacing=(2, 2, 2), affine=np.eye(4))


def test_colour_like_volume_is_taken_when_axes_are_given() -> None:
    images = np.zeros((3, 4, 5, 3), np.uint8)

    assert VisitStack.from_array(images, axes="vzyx").shape == (3, 1, 4, 5, 3)


def test_cohort_gives_one_stack_a_subject() -> None:
    images = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    ages = [[60, 61, 62], [70, 72, 74]]

    stacks = VisitStack.from_cohort(images, ages=ages, subjects=["ann", "bob"], spacing=(1, 2, 2))

    assert [stack.subject for stack in stacks] == ["ann", "bob"]
    assert stacks[1].ages.tolist() == [70.0, 72.0, 74.0]
    assert stacks[1].spacing == (1.0, 2.0, 2.0)
    np.testing.assert_array_equal(stacks[1].images[:, 0, 0], images[1])


def test_cohort_axes_may_stand_in_any_order() -> None:
    images = np.arange(2 * 3 * 4 * 5).reshape(3, 4, 5, 2)

    stacks = VisitStack.from_cohort(images, axes="vyxs", ages=[1, 2, 3])

    assert [stack.subject for stack in stacks] == ["subject-0000", "subject-0001"]
    assert stacks[1].ages.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(stacks[1].images[:, 0, 0], images[..., 1])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"axes": "vzyx"}, "s for the subject"),
        ({"subjects": ["ann"]}, "got 1 names for 2 subjects"),
        ({"ages": np.zeros((3, 3))}, "ages: got shape (3, 3) for 2 subjects"),
        ({"ages": [1, 2], "subjects": ["ann", "bob"]}, "2 for the 3 visits of 'ann'"),
    ],
)
def test_unfit_cohort_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        VisitStack.from_cohort(np.zeros((2, 3, 4, 5)), **settings)


def test_a_stack_introduces_itself_in_a_line() -> None:
    images = np.zeros((3, 2, 4, 5), np.float32)
    images[1] = np.nan

    known = VisitStack.from_array(images, ages=[57.2, 60, 65.4], subject="patient-07")
    bare = VisitStack.from_array(images[:1, :1])

    assert repr(known) == (
        "VisitStack('patient-07', 3 visits (1 missing), 1 modality, 2 x 4 x 5, ages 57.2 to 65.4)"
    )
    assert repr(bare) == "VisitStack('subject', 1 visit, 1 modality, 1 x 4 x 5, no ages)"


def test_the_package_lists_what_is_public() -> None:
    import napari_followup

    assert dir(napari_followup) == sorted(napari_followup.__all__)


def test_missing_is_what_was_neither_observed_nor_imputed() -> None:
    images = np.random.default_rng(0).random((4, 2, 1, 4, 4))
    images[1] = np.nan

    stack = VisitStack.from_array(images, is_observed=[True, True, False, True])

    assert stack.is_observed.tolist() == [True, False, False, True]
    assert stack.is_missing.tolist() == [False, True, False, False]
    assert not stack.select([0, 2]).is_missing.any()


def test_missing_visits_of_lazy_images_are_found() -> None:
    images = np.zeros((3, 4, 4), np.float32)
    images[2] = np.nan

    stack = VisitStack.from_array(da.from_array(images, chunks=(1, 4, 4)))

    assert stack.is_missing.tolist() == [False, False, True]


def test_what_made_the_images_goes_with_them() -> None:
    stack = VisitStack.from_array(SERIES)
    made = stack.with_images(stack.images, provenance={"strategy": "joint"})

    assert stack.provenance == {}
    assert made.provenance == {"strategy": "joint"}
    assert made.select([0]).provenance == {"strategy": "joint"}


def test_a_map_that_says_it_is_a_result_may_lack_planes_of_a_visit() -> None:
    images = np.zeros((2, 3, 4, 4))
    images[:, 0] = np.nan
    said = {"layer": {"result": "score"}}

    stack = VisitStack.from_array(images, provenance=said)

    assert stack.is_observed.all()
    assert not stack.is_missing.any()
    assert stack.provenance == said
    with pytest.raises(ValueError, match="partly NaN; fill the missing"):
        VisitStack.from_array(images, provenance={"layer": {"kind": "image"}})


def visits_with_gaps() -> np.ndarray:
    """Three visits of two planes: whole, without its first plane, missing."""
    values = np.random.default_rng(0).random((3, 1, 2, 4, 4))
    values[1, :, 0] = values[2] = np.nan
    return values


def test_visits_that_are_nan_everywhere_are_missing_and_those_of_a_map_may_lack_planes() -> None:
    said = {"layer": {"result": "score"}}

    stack = VisitStack.from_array(visits_with_gaps(), subject="anna", provenance=said)

    assert stack.is_observed.tolist() == [True, True, False]
    for other in ({}, {"layer": {"kind": "image"}}, {"layer": "result"}):
        with pytest.raises(
            ValueError, match="visit 2 of 3 of 'anna' is partly NaN; fill the missing"
        ):
            VisitStack.from_array(visits_with_gaps(), subject="anna", provenance=other)


def test_nothing_is_computed_of_a_map_that_lacks_planes() -> None:
    said = {"layer": {"result": "score"}}
    stack = VisitStack.from_array(visits_with_gaps(), provenance=said)

    refuse_partly_missing(visits_with_gaps()[2], "a missing visit")
    with pytest.raises(ValueError, match="is a saved map, partly NaN; give the series"):
        change(stack, 0, 1)
    with pytest.raises(ValueError, match="is a saved map, partly NaN; give the series"):
        single_visits([stack])[1].image(0)


def test_steps_are_listed_in_order_and_the_old_provenance_stays_as_it_was() -> None:
    old = {"model": "x", "steps": [{"step": "cropped", "margin": 5.0}]}

    new = add_step(old, "scaled", percentile=99.0)

    assert [step["step"] for step in new["steps"]] == ["cropped", "scaled"]
    assert new["steps"][1] == {"step": "scaled", "percentile": 99.0}
    assert new["model"] == "x"
    assert len(old["steps"]) == 1
