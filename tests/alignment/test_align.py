"""A made-up head, given by a formula, is looked at on any grid and turned by any known matrix."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_followup.alignment.align import align, check_alike, reference_of, single_visits
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack


def stack(*ages: float, z: int = 3, missing: int | None = None) -> VisitStack:
    images = np.random.default_rng(0).random((len(ages), z, 4, 5)).astype(np.float32)
    if missing is not None:
        images[missing] = np.nan
    return VisitStack.from_array(images, ages=ages, spacing=(3.0, 2.0, 1.0), subject="p")


def test_visits_of_several_stacks_come_by_age_with_their_names() -> None:
    parts = single_visits([stack(62.0, 60.0), stack(61.25)])

    assert [part.age for part in parts] == [60.0, 61.25, 62.0]
    assert parts[1].name == "visit 2 (age 61.25) of 'p'"
    assert parts[0].images.shape == (1, 3, 4, 5)


def test_without_ages_visits_keep_the_order_of_the_stacks() -> None:
    one = replace(stack(0.0), ages_known=False)

    parts = single_visits([one, one])

    assert [part.age for part in parts] == [0.0, 1.0]
    assert parts[1].name == "visit 2 of 'p'"


def test_a_volume_is_registered_in_the_world_and_a_plane_within_itself() -> None:
    volume, plane = single_visits([stack(60.0)])[0], single_visits([stack(60.0, z=1)])[0]

    assert volume.frame is volume.affine
    np.testing.assert_array_equal(plane.frame @ [0, 2, 3, 1], [3.0, 4.0, 0.0, 1.0])


def test_an_image_without_any_contrast_is_refused() -> None:
    flat = stack(60.0)
    flat = flat.with_images(np.ones_like(flat.images))

    with pytest.raises(
        ValueError, match=r"visit 1 \(age 60\) of 'p' has the same value everywhere"
    ):
        single_visits([flat])[0].image(0)


def test_the_reference_is_the_first_visit_with_an_image_or_the_chosen_one() -> None:
    parts = single_visits([stack(60.0, 61.0, 62.0, missing=0)])

    assert reference_of(parts, None) is parts[1]
    assert reference_of(parts, 2) is parts[2]
    with pytest.raises(ValueError, match=r"reference: visit 1 .* is missing; choose another"):
        reference_of(parts, 0)
    with pytest.raises(ValueError, match="reference: got 3; there are 3 visits"):
        reference_of(parts, 3)


def test_visits_of_different_kinds_are_refused() -> None:
    check_alike([stack(60.0), stack(61.0)])

    with pytest.raises(ValueError, match="got no visit"):
        check_alike([])
    with pytest.raises(ValueError, match="unit: the visits have mm and pixel"):
        check_alike([stack(60.0), replace(stack(61.0), unit="pixel")])
    with pytest.raises(ValueError, match="planes and others volumes"):
        check_alike([stack(60.0), stack(61.0, z=1)])


pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install 'napari-followup[mri]'")

Array = NDArray[np.float64]
GRID = ((24, 40, 40), (3.0, 2.0, 2.0))
OTHER = ((30, 36, 44), (2.5, 2.2, 1.9))


def head(points: Array) -> Array:
    """Intensity at world points (..., 3): an ellipsoid with parts in it, without symmetry."""
    value = np.zeros(points.shape[:-1])
    for centre, radii, grey in [
        ((0, 0, 0), (26, 32, 28), 100),
        ((10, 8, 6), (7, 11, 8), 60),
        ((-12, 6, -4), (6, 6, 12), -50),
        ((4, -18, 2), (10, 5, 7), 80),
        ((-6, -4, 14), (5, 9, 4), -70),
    ]:
        far = np.sqrt((((points - centre) / radii) ** 2).sum(axis=-1))
        value += grey / (1 + np.exp((far - 1) * 12))
    return value


def centred(shape: tuple[int, ...], spacing: tuple[float, ...], offset: float = 0.0) -> Array:
    """Affine whose grid has its middle at the origin, or `offset` mm beside it."""
    z, y, x = spacing
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    affine[:3, 3] = offset - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def turned(degrees: float, shift: tuple[float, float, float]) -> Array:
    """Turn about z, then shift."""
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


def tilted(degrees: float) -> Array:
    """Turn about x."""
    return turned(degrees, (0, 0, 0))[[2, 0, 1, 3]][:, [2, 0, 1, 3]]


def visit(
    matrix: Array,
    grid: tuple[tuple[int, ...], tuple[float, ...]] = GRID,
    *,
    age: float = 60.0,
    offset: float = 0.0,
    gain: float = 1.0,
) -> VisitStack:
    """One visit at which the head lies where `matrix` takes it."""
    shape, spacing = grid
    affine = centred(shape, spacing, offset)
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    back = np.linalg.inv(matrix)
    image = gain * head(world @ back[:3, :3].T + back[:3, 3])
    image += np.random.default_rng(int(age)).normal(size=shape)
    return VisitStack.from_array(image[None].astype(np.float32), affine=affine, ages=[age])


def error_of(found: list[list[float]], matrix: Array) -> float:
    """Mean distance between where two matrices take points of the head, in mm."""
    points = np.random.default_rng(0).uniform(-25, 25, (200, 3))
    points = np.c_[points, np.ones(200)]
    return float(np.linalg.norm(points @ (np.array(found) - matrix).T, axis=1).mean())


def said_of(stack: VisitStack) -> list[dict[str, object]]:
    visits: list[dict[str, object]] = stack.provenance["steps"][-1]["visits"]
    return visits


@pytest.mark.parametrize(
    ("matrix", "grid", "offset"),
    [
        (turned(0.0, (5.0, -4.0, 3.0)), GRID, 0.0),
        (turned(12.0, (3.0, 2.0, -2.0)), OTHER, 0.0),
        (tilted(8.0), OTHER, 6.0),
    ],
)
def test_a_known_displacement_comes_back_within_a_fraction_of_a_voxel(
    matrix: Array, grid: tuple[tuple[int, ...], tuple[float, ...]], offset: float
) -> None:
    first, second = visit(np.eye(4)), visit(matrix, grid, age=61.0, offset=offset, gain=3.0)

    aligned = align([first, second])

    assert error_of(said_of(aligned)[1]["matrix"], matrix) < 0.3  # type: ignore[arg-type]
    np.testing.assert_array_equal(aligned.affine, first.affine)
    np.testing.assert_array_equal(aligned.images[0], first.images[0])
    likeness = np.corrcoef(aligned.images[0].ravel(), aligned.images[1].ravel())[0, 1]
    assert likeness > 0.99


def test_a_stack_on_one_grid_is_aligned_to_its_first_visit() -> None:
    matrix = turned(6.0, (4.0, 0.0, 2.0))
    first, second = visit(np.eye(4)), visit(matrix, age=61.0)
    stack = replace(
        first,
        images=np.concatenate([second.images, first.images]),
        ages=np.array([61.0, 60.0]),
        is_observed=np.array([True, True]),
    )

    aligned = align(stack)

    assert aligned.ages.tolist() == [60.0, 61.0]
    assert error_of(said_of(aligned)[1]["matrix"], matrix) < 0.3  # type: ignore[arg-type]


def test_planes_turn_and_shift_within_their_plane() -> None:
    matrix = turned(10.0, (4.0, -3.0, 0.0))
    grid = ((1, 64, 72), (1.0, 1.2, 1.1))

    aligned = align([visit(np.eye(4), grid), visit(matrix, grid, age=61.0)])

    assert aligned.shape == (2, 1, 1, 64, 72)
    assert error_of(said_of(aligned)[1]["matrix"], matrix) < 0.3  # type: ignore[arg-type]
    likeness = np.corrcoef(aligned.images[0].ravel(), aligned.images[1].ravel())[0, 1]
    assert likeness > 0.98


def test_missing_visits_stay_missing_and_the_first_observed_one_leads() -> None:
    first, second = visit(np.eye(4)), visit(turned(0.0, (4.0, 0, 0)), age=61.0)
    gap = np.full_like(first.images, np.nan)
    stack = replace(
        first,
        images=np.concatenate([gap, first.images, gap, second.images]),
        ages=np.arange(4.0),
        is_observed=np.array([False, True, False, True]),
    )

    aligned = align(stack)

    assert aligned.is_missing.tolist() == [True, False, True, False]
    assert [said["matrix"] is None for said in said_of(aligned)] == [True, False, True, False]
    np.testing.assert_array_equal(aligned.images[1], first.images[0])


def test_the_same_seed_gives_the_same_result_bit_by_bit() -> None:
    visits = [visit(np.eye(4)), visit(turned(5.0, (2.0, 0, 0)), OTHER, age=61.0)]

    one, two = align(visits), align(visits)

    np.testing.assert_array_equal(one.images, two.images)
    assert one.provenance == two.provenance


def test_provenance_says_what_was_done_in_plain_values() -> None:
    second = replace(visit(turned(0.0, (12.0, 0, 0)), age=61.0), provenance={"scanner": "other"})

    aligned = align([visit(np.eye(4)), second], seed=3)

    step = json.loads(json.dumps(aligned.provenance))["steps"][0]
    assert (step["step"], step["seed"], step["interpolation"]) == ("align", 3, "linear")
    assert step["onto"] == "visit 1 (age 60) of 'subject'"
    first, said = step["visits"]
    assert first["matrix"] == np.eye(4).tolist()
    assert said["mean_displacement"] == pytest.approx(12.0, abs=0.4)
    assert said["outside"] == pytest.approx(12 / 80, abs=0.02)  # of the grid's 40 x 2 mm
    assert "outside its field of view" in said["notes"][0]
    assert said["provenance"] == {"scanner": "other"}
    edge = aligned.images[1, 0, :, :, -4:]  # moved in from outside
    assert np.unique(edge).size == 1


def test_visits_without_ages_keep_their_order() -> None:
    parts = [replace(visit(np.eye(4)), ages_known=False, ages=np.zeros(1)) for _ in range(2)]

    aligned = align(parts)

    assert aligned.ages.tolist() == [0.0, 1.0]
    assert not aligned.ages_known


def test_progress_is_told_and_can_stop_the_work() -> None:
    visits = [visit(np.eye(4)), visit(turned(0.0, (3.0, 0, 0)), age=61.0)]
    told: list[tuple[int, int]] = []

    align(visits, on_step=lambda done, total: told.append((done, total)))

    assert told == sorted(told)
    assert set(told) == {(0, 3), (1, 3), (2, 3), (3, 3)}
    with pytest.raises(Cancelled):
        align(visits, on_step=lambda done, total: False)


def test_a_stop_acts_within_a_level() -> None:
    visits = [visit(np.eye(4)), visit(turned(0.0, (3.0, 0, 0)), age=61.0)]
    told: list[int] = []

    def step(done: int, total: int) -> bool:
        told.append(done)
        return told.count(1) < 2

    with pytest.raises(Cancelled, match="stopped before all visits were aligned"):
        align(visits, on_step=step)

    assert told[-2:] == [1, 1]  # a level was done, and the next one had made one step


def test_any_visit_can_be_the_one_that_stays() -> None:
    matrix = turned(5.0, (3.0, 0, 0))
    first, second = visit(np.eye(4)), visit(matrix, OTHER, age=61.0)

    aligned = align([first, second], reference=1)

    np.testing.assert_array_equal(aligned.affine, second.affine)
    np.testing.assert_array_equal(aligned.images[1], second.images[0])
    assert error_of(said_of(aligned)[0]["matrix"], np.linalg.inv(matrix)) < 0.3  # type: ignore[arg-type]
    assert aligned.provenance["steps"][0]["onto"] == "visit 2 (age 61) of 'subject'"


@pytest.mark.parametrize("grid", [GRID, ((1, 64, 72), (1.0, 1.2, 1.1))])
def test_a_mirrored_visit_is_said(grid: tuple[tuple[int, ...], tuple[float, ...]]) -> None:
    first, second = visit(np.eye(4), grid), visit(turned(4.0, (2.0, 0, 0)), grid, age=61.0)
    mirrored = second.with_images(second.images[..., ::-1])

    straight, crossed = (said_of(align([first, each]))[1] for each in (second, mirrored))

    assert not any("mirrored" in note for note in straight["notes"])  # type: ignore[attr-defined]
    assert any("clearly better when mirrored" in note for note in crossed["notes"])  # type: ignore[attr-defined]
    assert straight["correlation"] > max(0.98, crossed["correlation"])  # type: ignore[call-overload]


def test_a_visit_that_shows_something_else_is_said_to_agree_badly() -> None:
    first = visit(np.eye(4))
    noise = np.random.default_rng(0).normal(size=first.shape)
    other = replace(first.with_images(first.images.max() - first.images + noise), ages=[61.0])

    said = said_of(align([first, other]))[1]

    assert said["correlation"] < 0  # type: ignore[operator]
    assert any("agrees badly with visit 1" in note for note in said["notes"])  # type: ignore[attr-defined]


def test_a_single_visit_is_given_back() -> None:
    stack = visit(np.eye(4))

    np.testing.assert_array_equal(align(stack).images, stack.images)


def test_a_visit_that_cannot_be_registered_is_named() -> None:
    first, second = visit(np.eye(4)), visit(np.eye(4), age=61.5)
    flat = second.with_images(np.ones_like(second.images))
    upside_down = visit(turned(120.0, (0, 0, 0)), age=61.5)

    with pytest.raises(ValueError, match=r"visit 2 \(age 61.5\) of 'subject' has the same value"):
        align([first, flat])
    with pytest.raises(
        ValueError, match=r"visit 2 \(age 61.5\).* could not be registered to visit 1"
    ):
        align([first, upside_down])


def test_visits_that_do_not_belong_together_are_refused() -> None:
    first = visit(np.eye(4))

    with pytest.raises(ValueError, match="got no visit"):
        align([])
    with pytest.raises(ValueError, match="some visits have ages and others not"):
        align([first, replace(first, ages_known=False)])
    with pytest.raises(ValueError, match="modalities: the visits have"):
        align([first, replace(first, modalities=("T1",))])
    with pytest.raises(ValueError, match="planes and others volumes"):
        align([first, visit(np.eye(4), ((1, 40, 40), (3.0, 2.0, 2.0)))])
    with pytest.raises(ValueError, match="modality: got 1; the visits have 1"):
        align(first, modality=1)
    with pytest.raises(ValueError, match="threads: got 0"):
        align(first, threads=0)
    with pytest.raises(ValueError, match="reference: got 3; there are 1 visits"):
        align(first, reference=3)


def test_without_simpleitk_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)

    with pytest.raises(ImportError, match=r"pip install 'napari-followup\[mri\]'"):
        align(visit(np.eye(4)))
