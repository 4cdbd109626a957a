from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.layers.layers import GivenMask, Source
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_subjects import Reader, Subjects, examined, layer_subjects
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

PLAN: dict[str, Any] = {"method": "sdm", "held_out": 0.1, "seed": 0}


def source(name: str = "scan", axes: str = "vyx", value: float = 0.0, **said: Any) -> Source:
    shape = [{"s": 3, "v": 2}.get(letter, 16) for letter in axes]
    images = value + np.random.default_rng(0).random(shape, dtype=np.float32)
    return Source(name=name, data=images, axes=axes, about=said)


def series(subjects: int, size: int = 16, visits: int = 2) -> list[VisitStack]:
    images = np.random.default_rng(0).random((subjects, visits, size, size))
    stacks = VisitStack.from_cohort(images)
    return [s.with_images(s.images, subject=f"{size}-{n}") for n, s in enumerate(stacks)]


def given(stacks: list[VisitStack], labels: list[Any] | None = None) -> Reader:
    return lambda: Subjects(stacks=stacks, labels=labels)


def test_a_layer_is_a_subject_and_a_cohort_is_many() -> None:
    stacks = layer_subjects([source("one"), source("many", "svyx")]).stacks

    assert [stack.subject for stack in stacks] == [
        "one",
        "subject-0000",
        "subject-0001",
        "subject-0002",
    ]


def test_modalities_of_one_subject_go_together() -> None:
    t1 = source("p T1", subject="p", modality="T1")
    flair = source("p FLAIR", value=5.0, subject="p", modality="FLAIR")
    (stack,) = layer_subjects([t1, flair]).stacks

    assert stack.modalities == ("T1", "FLAIR")
    assert stack.shape == (2, 2, 1, 16, 16)
    np.testing.assert_array_equal(stack.images[:, 1, 0], flair.data)


def test_two_layers_of_one_modality_stay_two_series() -> None:
    layers = [source(name, subject="p", modality="T1") for name in ("a", "b")]

    assert [stack.shape[1] for stack in layer_subjects(layers).stacks] == [1, 1]


def test_a_layer_that_is_no_series_is_named() -> None:
    bad = Source(name="odd", data=np.full((2, 16, 16), np.inf, np.float32), axes="vyx")

    with pytest.raises(ValueError, match=r"^'odd': "):
        layer_subjects([bad])


def test_subjects_visits_and_planes_are_counted_and_few_are_warned_of() -> None:
    facts = examined(given(series(4)), **PLAN)

    assert facts.text == "4 subjects (1 held out), 8 visits, 8 planes of 16 x 16 pixels"
    assert not facts.problem
    assert "4 series are few" in facts.notes[0]


def test_mixed_sizes_are_warned_of() -> None:
    facts = examined(given([*series(3), *series(2, 32)]), **PLAN)

    assert "16 x 16 and other sizes" in facts.text
    assert any(note.startswith("planes differ in size") for note in facts.notes)


def test_one_subject_is_too_few() -> None:
    facts = examined(given(series(1)), **PLAN)

    assert facts.text.startswith("1 subject, 2 visits")
    assert "at least 2 subjects" in facts.problem


def test_a_method_of_change_leaves_single_visits_out() -> None:
    facts = examined(given([*series(3), *series(1, 32, visits=1)]), **{**PLAN, "method": "tdm"})

    assert facts.text.startswith("3 subjects")
    assert "1 series with a single visit are left out" in facts.notes


def test_what_cannot_be_read_is_said() -> None:
    def read() -> Subjects:
        raise FileNotFoundError("there is no file or folder 'x'")

    assert examined(read, **PLAN).problem == "there is no file or folder 'x'"
    assert examined(Subjects, **PLAN).problem == "there is no series in it"


def test_it_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        examined(given(series(2)), **PLAN, report=Report(is_stopped=lambda: True))


def mask(shape: tuple[int, ...], *place: int) -> GivenMask:
    data = np.zeros(shape, np.uint16)
    data[place] = 9
    return GivenMask(name="painted", data=data)


def test_masks_go_with_the_visits_of_their_subjects() -> None:
    one, many = source("one", ages=[62.0, 60.0]), source("many", "svzyx")
    one = Source(name="one", data=one.data, axes="vyx", ages=np.array([62.0, 60.0]))
    painted = mask((2, 16, 16), 0, 3, 4), mask((3, 2, 16, 16, 16), 1, 1, 5, 6, 7)

    found = layer_subjects([one, many, source("healthy")], [*painted, None])

    assert found.labels is not None
    assert [np.shape(entry) for entry in found.labels] == [
        (2, 1, 16, 16),
        *[(2, 16, 16, 16)] * 3,
        (),
    ]
    assert np.argwhere(found.labels[0]).tolist() == [[1, 0, 3, 4]]  # the older visit comes last
    assert [np.argwhere(entry).tolist() for entry in found.labels[1:4]] == [[], [[1, 5, 6, 7]], []]
    assert found.labels[4] == 0
    painted[0].data[:] = 1
    assert found.labels[0].sum() == 1  # the user may go on painting
    assert layer_subjects([one]).labels is None


def test_the_masks_of_all_modalities_are_one_mask() -> None:
    layers = [source(f"p {name}", subject="p", modality=name) for name in ("T1", "FLAIR", "T2")]
    masks = [mask((2, 16, 16), 0, 1, 1), None, mask((2, 16, 16), 1, 2, 2)]

    found = layer_subjects(layers, masks)

    assert len(found.stacks) == 1
    assert np.argwhere(found.labels[0]).tolist() == [[0, 0, 1, 1], [1, 0, 2, 2]]


def test_a_mask_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"'painted' has the shape \(16, 16\), 'scan' has \(2, 16"):
        layer_subjects([source()], [mask((16, 16), 1, 1)])


def labels(*sick: int, of: int = 4) -> list[Any]:
    whole = np.zeros((2, 1, 16, 16), bool)
    whole[1, 0, 2:5, 3] = True
    return [whole if number in sick else 0 for number in range(of)]


def test_what_is_abnormal_is_counted() -> None:
    facts = examined(given(series(4), labels(1)), **{**PLAN, "method": "sadm"})

    assert facts.text == (
        "4 subjects (1 held out), 8 visits, 8 planes of 16 x 16 pixels; 1 of them with something "
        "abnormal"
    )
    assert not facts.problem


@pytest.mark.parametrize(
    ("method", "entries", "makes", "problem"),
    [
        ("sadm", labels(), True, "they mark nothing in any observed visit"),
        ("sadm", labels(0, 1, 2, 3), True, "none of the 4 subjects is healthy at all visits"),
        ("anofpdm", labels(0, 1, 2, 3), True, "none of the 4 subjects is healthy"),
        ("sadm", None, False, "SADM learns from labels alone where synthetic_anomalies is off"),
        ("anofpdm", None, False, "AnoFPDM learns from labels alone where synthetic_labels is off"),
        ("sadm", labels(1), False, "no held-out series shows anything abnormal"),
        ("sdm", labels(1), True, "SDM learns from healthy images alone"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_told(
    method: str, entries: list[Any] | None, makes: bool, problem: str
) -> None:
    facts = examined(given(series(4), entries), **{**PLAN, "method": method}, makes=makes)

    assert problem in facts.problem
    assert facts.text.startswith("4 subjects, 8 visits")


def test_labels_of_two_subjects_and_empty_ones_are_doubted() -> None:
    layers = [source(name) for name in ("one", "two", "three")]
    shape = (2, 16, 16)
    twice, empty = mask(shape, 0, 3, 4), GivenMask(name="blank", data=np.zeros(shape, np.uint8))

    found = layer_subjects(layers, [twice, twice, empty])

    assert found.notes == (
        "'painted' is chosen for 'one' and 'two': is it of both?",
        "'blank' is empty: 'three' counts as healthy",
    )
    assert layer_subjects(layers, [twice, None, None]).notes == ()
    assert layer_subjects(layers).notes == ()


def test_labels_of_one_subject_s_modalities_are_not_doubted() -> None:
    layers = [source(f"p {name}", subject="p", modality=name) for name in ("T1", "FLAIR")]

    assert layer_subjects(layers, [mask((2, 16, 16), 0, 1, 1)] * 2).notes == ()


def test_what_is_doubted_is_among_the_facts() -> None:
    found = Subjects(stacks=series(4), labels=labels(1), notes=("is it of both?",))

    assert examined(lambda: found, **{**PLAN, "method": "sadm"}).notes[0] == "is it of both?"
