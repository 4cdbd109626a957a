from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.layers import Source
from napari_followup.plugin.report import Report
from napari_followup.plugin.train_subjects import examined, layer_stacks
from napari_followup.results import Cancelled
from napari_followup.stack import VisitStack

PLAN: dict[str, Any] = {"method": "sdm", "held_out": 0.1, "seed": 0}


def source(name: str = "scan", axes: str = "vyx", value: float = 0.0, **said: Any) -> Source:
    shape = [{"s": 3, "v": 2}.get(letter, 16) for letter in axes]
    images = value + np.random.default_rng(0).random(shape, dtype=np.float32)
    return Source(name=name, data=images, axes=axes, about=said)


def series(subjects: int, size: int = 16, visits: int = 2) -> list[VisitStack]:
    images = np.random.default_rng(0).random((subjects, visits, size, size))
    stacks = VisitStack.from_cohort(images)
    return [s.with_images(s.images, subject=f"{size}-{n}") for n, s in enumerate(stacks)]


def test_a_layer_is_a_subject_and_a_cohort_is_many() -> None:
    stacks = layer_stacks([source("one"), source("many", "svyx")])

    assert [stack.subject for stack in stacks] == [
        "one",
        "subject-0000",
        "subject-0001",
        "subject-0002",
    ]


def test_modalities_of_one_subject_go_together() -> None:
    t1 = source("p T1", subject="p", modality="T1")
    flair = source("p FLAIR", value=5.0, subject="p", modality="FLAIR")
    (stack,) = layer_stacks([t1, flair])

    assert stack.modalities == ("T1", "FLAIR")
    assert stack.shape == (2, 2, 1, 16, 16)
    np.testing.assert_array_equal(stack.images[:, 1, 0], flair.data)


def test_two_layers_of_one_modality_stay_two_series() -> None:
    layers = [source(name, subject="p", modality="T1") for name in ("a", "b")]

    assert [stack.shape[1] for stack in layer_stacks(layers)] == [1, 1]


def test_a_layer_that_is_no_series_is_named() -> None:
    bad = Source(name="odd", data=np.full((2, 16, 16), np.inf, np.float32), axes="vyx")

    with pytest.raises(ValueError, match=r"^'odd': "):
        layer_stacks([bad])


def test_subjects_visits_and_planes_are_counted_and_few_are_warned_of() -> None:
    facts = examined(lambda: series(4), **PLAN)

    assert facts.text == "4 subjects (1 held out), 8 visits, 8 planes of 16 x 16 pixels"
    assert not facts.problem
    assert "4 series are few" in facts.notes[0]


def test_mixed_sizes_are_warned_of() -> None:
    facts = examined(lambda: [*series(3), *series(2, 32)], **PLAN)

    assert "16 x 16 and other sizes" in facts.text
    assert any(note.startswith("planes differ in size") for note in facts.notes)


def test_one_subject_is_too_few() -> None:
    facts = examined(lambda: series(1), **PLAN)

    assert facts.text.startswith("1 subject, 2 visits")
    assert "at least 2 subjects" in facts.problem


def test_a_method_of_change_leaves_single_visits_out() -> None:
    given = [*series(3), *series(1, 32, visits=1)]
    facts = examined(lambda: given, **{**PLAN, "method": "tdm"})

    assert facts.text.startswith("3 subjects")
    assert "1 series with a single visit are left out" in facts.notes


def test_what_cannot_be_read_is_said() -> None:
    def read() -> list[VisitStack]:
        raise FileNotFoundError("there is no file or folder 'x'")

    assert examined(read, **PLAN).problem == "there is no file or folder 'x'"
    assert examined(list, **PLAN).problem == "there is no series in it"


def test_it_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        examined(lambda: series(2), **PLAN, report=Report(is_stopped=lambda: True))
