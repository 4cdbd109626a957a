from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_followup.io import read_stack, read_stacks, read_visits
from napari_followup.io.errors import ReadError


def save(folder: Path, name: str) -> None:
    path = folder.joinpath(*name.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two subjects, the first with two sessions of two modalities."""
    for session in ("01", "02"):
        for kind in ("FLAIR", "T1w", "label-lesion_mask"):
            save(tmp_path, f"sub-a/ses-{session}/anat/sub-a_ses-{session}_{kind}.nii.gz")
    save(tmp_path, "sub-b/anat/sub-b_T1w.nii.gz")
    return tmp_path


def sessions(data: Path, *lines: str) -> None:
    (data / "sub-a" / "sub-a_sessions.tsv").write_text("\n".join(lines).replace(" ", "\t"))


def test_sessions_are_visits_and_suffixes_modalities(data: Path) -> None:
    one, other = read_stacks(data)

    assert (one.subject, one.shape[:2], one.modalities) == ("sub-a", (2, 2), ("FLAIR", "T1w"))
    assert (other.subject, other.n_visits, one.ages_known) == ("sub-b", 1, False)
    assert len(read_visits(data)) == 3


@pytest.mark.parametrize(
    ("lines", "ages"),
    [
        (["session_id age", "ses-01 61.5", "ses-02 60"], [60, 61.5]),
        (["session_id acq_time", "ses-01 2020-01-31T10:00:00", "ses-02 2021-01-31"], [0, 1.002]),
        (["session_id age acq_time", "01 61 n/a", "02 62 n/a"], [61, 62]),
    ],
)
def test_ages_come_from_the_table_of_sessions(
    data: Path, lines: list[str], ages: list[float]
) -> None:
    sessions(data, *lines)

    stack = read_stack(data / "sub-a")

    np.testing.assert_allclose(stack.ages, ages, atol=1e-3)
    assert stack.ages_known


def test_ages_are_counted_from_the_participant_s_age_at_the_first_visit(data: Path) -> None:
    sessions(data, "session_id acq_time", "ses-01 2020-01-31", "ses-02 2021-01-30")
    table = "participant_id\tage\nsub-a\t61.5\nsub-b\t33\n"
    (data / "participants.tsv").write_text(table)

    one, other = read_stacks(data)

    np.testing.assert_allclose(one.ages, [61.5, 62.5], atol=1e-2)
    assert other.ages.tolist() == [33.0]
    assert other.ages_known


@pytest.mark.parametrize("age", ["n/a", "61"])
def test_a_participant_s_age_does_not_tell_sessions_without_days_apart(
    data: Path, age: str
) -> None:
    (data / "participants.tsv").write_text(f"participant_id\tage\nsub-a\t{age}\n")

    assert not read_stack(data / "sub-a").ages_known


def test_the_ages_of_sessions_stand_above_the_participant_s(data: Path) -> None:
    sessions(data, "session_id age", "ses-01 61.5", "ses-02 60")
    (data / "participants.tsv").write_text("participant_id\tage\nsub-a\t20\n")

    np.testing.assert_allclose(read_stack(data / "sub-a").ages, [60, 61.5])


def test_days_come_from_the_tables_of_scans_too(data: Path) -> None:
    for session, year in (("01", 2020), ("02", 2021)):
        path = data / "sub-a" / f"ses-{session}" / f"sub-a_ses-{session}_scans.tsv"
        path.write_text(f"filename\tacq_time\nanat/x.nii.gz\t{year}-01-31T10:00:00\n")

    np.testing.assert_allclose(read_stack(data / "sub-a").ages, [0, 1], atol=0.01)


def test_a_wrong_age_is_told_with_its_row(data: Path) -> None:
    sessions(data, "session_id age", "ses-01 old")

    with pytest.raises(ReadError, match=r"'sub-a_sessions.tsv', row 2: the age 'old'"):
        read_stacks(data)


def test_two_images_of_one_modality_are_told(data: Path) -> None:
    save(data, "sub-a/ses-02/anat/sub-a_ses-02_run-2_FLAIR.nii.gz")

    with pytest.raises(ReadError, match=r"sub-a/ses-02/anat/.*: the same visit of 'sub-a'"):
        read_stacks(data)


def test_a_folder_without_images_is_refused(data: Path) -> None:
    for path in data.rglob("*.nii.gz"):
        path.unlink()

    with pytest.raises(ReadError, match=r"holds no sub-\*/ses-\*/anat"):
        read_stacks(data)
