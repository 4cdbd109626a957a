from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_followup.io import read_stack, read_stacks, read_visits
from napari_followup.io.dicom import read_dicom
from napari_followup.io.errors import ReadError

Write = Callable[..., list[Path]]


def test_slices_are_ordered_by_place_and_lie_in_ras(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path)

    (visit,) = read_dicom(tmp_path)

    np.testing.assert_array_equal(visit.images[0, 0].ravel(), np.arange(60))
    assert visit.spacing == (4.0, 2.0, 0.5)
    np.testing.assert_allclose(visit.affine @ [2, 1, 3, 1], [-11.5, -22, 38, 1])
    assert (visit.subject, visit.modalities) == ("anna", ("FLAIR",))


def test_values_are_rescaled(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path, RescaleSlope=2, RescaleIntercept=-10)

    (visit,) = read_dicom(tmp_path)

    assert visit.images.dtype == np.float32
    np.testing.assert_array_equal(visit.images[0, 0].ravel(), np.arange(60) * 2 - 10)


@pytest.mark.parametrize(
    ("tags", "ages"),
    [
        ({"PatientBirthDate": "19600131"}, [60.0, 61.0]),
        ({"PatientAge": "061Y"}, [61.0, 62.0]),
        ({}, [0.0, 1.0]),
    ],
)
def test_each_study_is_a_visit_with_its_age(
    tmp_path: Path, write_study: Write, tags: dict[str, str], ages: list[float]
) -> None:
    write_study(tmp_path / "b", StudyInstanceUID="1.2.4", StudyDate="20210131", **tags)
    write_study(tmp_path / "a", **tags)

    stack = read_stack(tmp_path)

    np.testing.assert_allclose(stack.ages, ages, atol=0.01)
    assert (stack.n_visits, stack.ages_known) == (2, True)
    assert len(read_visits(tmp_path)) == 2


def test_patients_are_subjects(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path / "b", PatientID="bob", StudyInstanceUID="1.2.4")
    write_study(tmp_path / "a")

    assert [stack.subject for stack in read_stacks(tmp_path)] == ["anna", "bob"]
    with pytest.raises(ReadError, match=r"2 subjects.*\(anna, bob\)"):
        read_stack(tmp_path)


def test_a_missing_slice_is_named(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path, slices=5)[2].unlink()

    with pytest.raises(ReadError, match=r"'1-04.dcm' and '1-02.dcm' lie 8 mm apart.*missing"):
        read_dicom(tmp_path)


def test_mixed_series_are_named(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path)
    write_study(tmp_path, series="2", SeriesDescription="T1")

    with pytest.raises(ReadError, match=r"2 series of one study: FLAIR.*T1.*leave one"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"NumberOfFrames": 7}, "many frames"),
        ({"SamplesPerPixel": 3}, "in colour"),
        ({"PixelSpacing": None}, "says no PixelSpacing"),
        ({"ImagePositionPatient": [0, 0, 0]}, "lie in the same place"),
    ],
)
def test_what_is_no_plain_series_is_refused(
    tmp_path: Path, write_study: Write, tags: dict[str, object], text: str
) -> None:
    write_study(tmp_path, **tags)

    with pytest.raises(ReadError, match=text):
        read_dicom(tmp_path)


def test_slices_of_different_orientation_are_refused(tmp_path: Path, write_study: Write) -> None:
    write_study(tmp_path)
    write_study(tmp_path / "b", slices=1, ImageOrientationPatient=[0, 1, 0, 0, 0, 1])

    with pytest.raises(ReadError, match="differs from"):
        read_dicom(tmp_path)


def test_other_files_are_passed_over_and_broken_ones_named(
    tmp_path: Path, write_study: Write
) -> None:
    paths = write_study(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert len(read_dicom(tmp_path)) == 1

    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    with pytest.raises(ReadError, match=r"'1-03.dcm' is no readable DICOM image"):
        read_dicom(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no DICOM images"):
        read_dicom(tmp_path)
