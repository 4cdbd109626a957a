from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.plugin.align.gathered import gather, holds_one_visit, may_be_visit


def visit(age: float | None = 60.0, **said: Any) -> Image:
    """A layer of one visit, as the reader makes it."""
    about = {"axes": "vzyx", "subject": "p", "modality": "FLAIR", "ages_known": age is not None}
    metadata = {"followup": {**about, "ages": [age or 0.0], **said}}
    data = np.random.default_rng(0).random((1, 3, 4, 5)).astype(np.float32)
    return Image(data, name=f"p {age}", scale=(1, 3, 1, 1), metadata=metadata)


def of(*layers: Image) -> Any:
    return gather(layers)


def test_layers_of_one_visit_come_by_age() -> None:
    found = of(visit(62.0), visit(60.0))

    assert found.places == [(1, 0, 60.0), (0, 0, 62.0)]
    assert found.names == ["FLAIR"]
    assert found.subjects == ["p"]
    assert [stack.ages.tolist() for stack in found.stacks()] == [[62.0], [60.0]]
    assert found.stacks()[0].spacing == (3.0, 1.0, 1.0)


def test_layers_of_one_age_are_the_modalities_of_one_visit() -> None:
    found = of(visit(60.0), visit(60.0, modality="T1"), visit(61.0), visit(61.0, modality="T1"))

    assert [len(group) for group in found.groups] == [2, 2]
    assert found.stacks()[1].modalities == ("FLAIR", "T1")
    assert found.stacks()[1].shape == (1, 2, 3, 4, 5)


def test_visits_without_ages_keep_the_order_of_the_layers() -> None:
    found = of(visit(None), visit(None))

    assert found.places == [(0, 0, None), (1, 0, None)]
    assert [stack.ages.tolist() for stack in found.stacks()] == [[0.0], [1.0]]


def test_a_bare_image_can_be_a_visit() -> None:
    bare = Image(np.ones((3, 4, 5)), scale=(3, 1, 1), name="bare")

    [[source], _] = of(bare, visit()).groups

    assert (source.axes, source.data.shape) == ("vzyx", (1, 3, 4, 5))
    assert source.geometry["axis_labels"] == ("visit", "z", "y", "x")
    assert not holds_one_visit(bare)
    assert holds_one_visit(visit())
    assert may_be_visit(bare)


def test_bare_planes_are_visits() -> None:
    planes = [Image(np.ones((4, 5)), name=f"plane {n}") for n in range(2)]

    found = of(*planes)

    assert [stack.shape for stack in found.stacks()] == [(1, 1, 1, 4, 5)] * 2


def test_a_layer_of_several_visits_is_no_visit() -> None:
    series = Image(
        np.ones((2, 4, 5)), name="series", metadata={"followup": {"axes": "vyx", "ages": [1, 2]}}
    )

    with pytest.raises(ValueError, match="'series' is not one visit"):
        gather([series], one_stack=False)


def test_typed_ages_are_given_to_the_layers_in_their_order() -> None:
    layers = [visit(None), visit(None)]

    found = gather(layers, ages=np.array([71.0, 70.0]))

    assert found.places == [(1, 0, 70.0), (0, 0, 71.0)]
    with pytest.raises(ValueError, match="ages: got 1 for 2 checked layers"):
        gather(layers, ages=np.array([71.0]))


def test_the_modalities_of_one_stack_go_together_in_the_order_of_the_layer() -> None:
    about = {"axes": "vyx", "ages": [61.0, 60.0], "subject": "p"}
    layers = [
        Image(np.ones((2, 4, 5)) * n, metadata={"followup": {**about, "modality": name}})
        for n, name in ((1.0, "T1"), (2.0, "T2"))
    ]

    found = gather(layers)

    [stack] = found.stacks()
    assert stack.shape == (2, 2, 1, 4, 5)
    assert stack.modalities == ("T1", "T2")
    assert found.order.tolist() == [1, 0]


def test_what_does_not_fit_together_is_refused() -> None:
    other = visit(60.0, modality="T1")
    other.data = other.data[:, :2]
    cohort = Image(np.ones((2, 3, 4, 5)), name="all", metadata={"followup": {"axes": "svyx"}})

    with pytest.raises(ValueError, match="no layer is chosen"):
        gather([])
    with pytest.raises(ValueError, match="modalities of one visit must lie on one grid"):
        of(visit(60.0), other)
    with pytest.raises(ValueError, match="are of the same age and modality"):
        of(visit(60.0), visit(60.0))
    with pytest.raises(ValueError, match="'all' holds 2 subjects; align one at a time"):
        gather([cohort])
