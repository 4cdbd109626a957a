from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from napari_followup.io import read_stack, read_stacks, read_visits, write_npz
from napari_followup.io.errors import ReadError
from napari_followup.io.manifest import is_manifest, manifest_files
from napari_followup.series.stack import VisitStack

A, B, MOVED = (f"images/{name}.nii.gz" for name in ("a", "b", "moved"))


def save(path: Path, value: int = 0, shape: tuple[int, ...] = (3, 4, 5), move: float = 0.0) -> Path:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 3] = move
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.arange(np.prod(shape)).reshape(shape) + value
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), affine), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a, b and c on one grid, moved on another, 4d with two visits."""
    for value, name in enumerate("abc"):
        save(tmp_path / "images" / f"{name}.nii.gz", value)
    save(tmp_path / "images" / "moved.nii.gz", move=1.0)
    save(tmp_path / "images" / "4d.nii.gz", shape=(3, 4, 5, 2))
    return tmp_path


def table(folder: Path, *lines: str, encoding: str = "utf-8", name: str = "visits.csv") -> Path:
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return folder / name


def test_rows_become_the_visits_of_a_subject(folder: Path) -> None:
    path = table(
        folder,
        "subject,visit,path,age",
        "anna,2,images/b.nii.gz,62.5",
        "anna,1,images/a.nii.gz,61",
    )

    stack = read_stack(path)

    assert (stack.subject, stack.ages.tolist()) == ("anna", [61.0, 62.5])
    assert stack.images[:, 0, 0, 0, 0].tolist() == [0, 1]
    assert (stack.spacing, stack.unit) == ((4.0, 3.0, 2.0), "mm")


def test_only_the_path_must_be_there(folder: Path) -> None:
    stack = read_stack(table(folder, "path", "images/b.nii.gz", "images/a.nii.gz"))

    assert (stack.subject, stack.ages_known, stack.ages.tolist()) == ("visits", False, [0, 1])
    assert stack.images[:, 0, 0, 0, 0].tolist() == [1, 0]  # as in the table


def test_visits_on_grids_of_their_own_are_read_one_by_one(folder: Path) -> None:
    path = table(folder, "path,age", "images/moved.nii.gz,62", "images/a.nii.gz,61")

    one, other = read_visits(path)

    assert (one.ages.tolist(), other.ages.tolist()) == ([61.0], [62.0])
    assert other.affine[0, 3] - one.affine[0, 3] == 1.0
    with pytest.raises(ReadError, match=r"'visits.csv': row 2: 5 x 4 x 3 voxels.*row 3.*align"):
        read_stack(path)


def test_a_list_of_files_has_ages_of_its_own(folder: Path) -> None:
    paths = [folder / "images" / name for name in ("b.nii.gz", "a.nii.gz")]

    stack = read_stack(paths, ages=[62, 61])

    assert (stack.subject, stack.ages.tolist()) == ("images", [61.0, 62.0])
    assert [visit.ages_known for visit in read_visits(paths)] == [False, False]
    assert read_stack(paths).ages.tolist() == [0, 1]


def test_ages_must_fit_the_files(folder: Path) -> None:
    with pytest.raises(ReadError, match="got 1 for 2 files"):
        read_visits([folder / "images/a.nii.gz", folder / "images/b.nii.gz"], ages=[1])
    with pytest.raises(ReadError, match="got no file"):
        read_visits([])
    with pytest.raises(ReadError, match="go with a list of files"):
        read_visits(table(folder, "path", "images/a.nii.gz"), ages=[1])
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_visits(folder / "absent.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_encodings_and_delimiters_are_found_out(folder: Path, encoding: str, mark: str) -> None:
    line = (
        mark.join(["Patient ID", "File Name", "Age (years)"]),
        mark.join(["Zoë", r"images\a.nii.gz", '"61,5"']),
    )

    stack = read_stack(table(folder, *line, encoding=encoding))

    assert (stack.subject, stack.ages.tolist()) == ("Zoë", [61.5])


def test_columns_of_other_names_are_given(folder: Path) -> None:
    path = table(folder, "Wer,Bild,Alter", "anna,images/a.nii.gz,61")

    (visit,) = read_visits(path, columns={"subject": "Wer", "path": "Bild", "age": "Alter"})

    assert (visit.subject, visit.ages.tolist()) == ("anna", [61.0])
    with pytest.raises(ReadError, match=r"no column of paths \(it has: Wer, Bild, Alter\)"):
        read_visits(path)
    with pytest.raises(ReadError, match="columns: got 'path': 'Foto'"):
        read_visits(path, columns={"path": "Foto"})


def test_modalities_of_a_visit_belong_together(folder: Path) -> None:
    lines = [f"{v},{f},{a},{m}" for v, f, a, m in [(1, "a", 61, "T1"), (1, "b", 61, "FLAIR")]]
    path = table(
        folder,
        "visit,path,age,modality",
        *(
            line.replace(",a,", ",images/a.nii.gz,").replace(",b,", ",images/b.nii.gz,")
            for line in lines
        ),
    )

    stack = read_stack(path)

    assert (stack.shape[:2], stack.modalities) == ((1, 2), ("T1", "FLAIR"))
    assert stack.images[0, :, 0, 0, 0].tolist() == [0, 1]


def test_a_row_without_a_path_is_a_missing_visit(folder: Path) -> None:
    path = table(folder, "path,age", "images/a.nii.gz,61", ",62", "images/b.nii.gz,63")

    stack = read_stack(path)

    assert stack.is_observed.tolist() == [True, False, True]
    assert np.isnan(stack.images[1]).all()
    assert len(read_visits(path)) == 2


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (["path,age", f"{A},61", ",62", f"{MOVED},63", ",64"], [[False, True], [False, True]]),
        (["path,age", ",60", f"{A},61", f"{MOVED},63"], [[True, False], [False]]),
        (["visit,path", "1,", f"2,{MOVED}", f"3,{A}", "4,"], [[True, False], [False, True]]),
    ],
)
def test_missing_visits_can_be_kept_on_the_grid_of_a_neighbour(
    folder: Path, lines: list[str], missing: list[list[bool]]
) -> None:
    stacks = read_visits(table(folder, *lines), keep_missing=True)

    assert [stack.is_missing.tolist() for stack in stacks] == missing
    assert stacks[1].affine[0, 3] != stacks[0].affine[0, 3]
    if stacks[0].ages_known:
        ages = np.concatenate([stack.ages for stack in stacks]).tolist()
        assert ages == sorted(float(line.split(",")[1]) for line in lines[1:])


def test_a_subject_without_any_image_has_no_grid_for_missing_visits(folder: Path) -> None:
    with pytest.raises(ReadError, match="row 2: no visit has an image; give at least one"):
        read_visits(table(folder, "path,age", ",61"), keep_missing=True)


def test_advice_is_for_the_command_line_and_for_python(folder: Path) -> None:
    with pytest.raises(ReadError, match=r"name it 'path' \(in Python: columns=\{'path': "):
        read_visits(table(folder, "picture", A))
    with pytest.raises(ReadError, match=r"onto one grid with align \(in Python: nf\.align\("):
        read_stack(table(folder, "path", A, MOVED))


@pytest.mark.parametrize(
    ("more", "ages"),
    [
        (["2020-01-31", "2021-01-31"], [0, 1]),
        (["31.01.2020", "31.01.2021"], [0, 1]),
        (["31/01/2020", "01/02/2021"], [0, 1]),
        (["01/31/2020", "02/01/2021"], [0, 1]),
        (["20200131", "2021-01-31T10:20:30"], [0, 1]),
        (["31 Jan 2020", "Jan 31, 2021"], [0, 1]),
        (["2020/01/31", "31.01.2021 10:20"], [0, 1]),
    ],
)
def test_dates_become_years_since_the_first_visit(
    folder: Path, more: list[str], ages: list[float]
) -> None:
    path = table(
        folder,
        "path;scan date",
        *(f"images/{n}.nii.gz;{day}" for n, day in zip("ab", more, strict=True)),
    )

    stack = read_stack(path)

    np.testing.assert_allclose(stack.ages, ages, atol=0.01)
    assert stack.ages_known


def test_dates_with_a_birth_become_ages(folder: Path) -> None:
    path = table(folder, "path,date,birth", "images/a.nii.gz,2020-01-31,1960-01-31")

    np.testing.assert_allclose(read_stack(path).ages, [60], atol=0.01)


def test_subjects_of_a_table_become_a_stack_each(folder: Path) -> None:
    path = table(folder, "subject,path", "anna,images/a.nii.gz", "bob,images/b.nii.gz")

    assert [stack.subject for stack in read_stacks(path)] == ["anna", "bob"]
    with pytest.raises(ReadError, match=r"2 subjects; read_stacks reads them all \(anna, bob\)"):
        read_stack(path)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["path", A, "images/x.nii.gz"], "row 3: there is no file .*x.nii.gz'; correct its path"),
        (["visit,path", f"1,{A}", f"1,{B}"], "row 3: the same visit of 'visits' as row 2"),
        (["visit,path", f"1,{A}", f"2,{A}"], "row 3: the same file of 'visits' as row 2"),
        (["path,age", f"{A},61", f"{B},old"], "row 3: the age 'old' is no number of years"),
        (["path,age", f"{A},61", f"{B},-1"], "row 3: the age '-1' is no number"),
        (["path,age", f"{A},61", f"{B},"], "row 3: has no age, other visits"),
        (["path,date", f"{A},2020-01-31", f"{B},"], "row 3: has no date, other visits"),
        (["path,date", f"{A},2020-13-31"], "row 2: '2020-13-31' is no date; write it as"),
        (["path,date", f"{A},01/02/2020"], "row 2: .*may be day or month first"),
        (["path,date,birth", f"{A},2020-01-31,2021-01-31"], "row 2: dated .* before the birth"),
        (["visit,path,age", f"1,{A},61", f"1,{B},62"], "same visit"),
        (["subject,path", f",{A}"], "row 2: has no subject"),
        (["visit,path,modality", f"1,{A},T1", f"2,{B},T2"], "row 2: this visit .* no T2"),
        (["path", "images/4d.nii.gz"], "row 2: '4d.nii.gz' holds 2 visits; give a file a visit"),
        (["path,age", f"{A},61,62"], "row 2: has 3 cells for 2 columns"),
        (["path"], "has no rows"),
        ([""], "has no rows"),
        (["path,age", ",61"], "row 2: no visit has an image"),
        (["path", "visits.csv"], "row 2: 'visits.csv': is of the unknown kind '.csv'"),
        (["path", '"images/a.nii.gz'], "is no table"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(folder: Path, lines: list[str], text: str) -> None:
    with pytest.raises(ReadError, match=f"^'visits.csv': .*{text}"):
        read_stacks(table(folder, *lines))


def test_contradicting_ages_of_one_visit_are_told(folder: Path) -> None:
    path = table(folder, "visit,path,modality,age", f"1,{A},T1,61", f"1,{B},T2,62")

    with pytest.raises(ReadError, match=r"row 3: says 62\.0 of the visit that is 61\.0 in row 2"):
        read_stack(path)


def test_a_damaged_image_is_told_with_its_row(folder: Path) -> None:
    damaged = folder / "images" / "b.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])

    with pytest.raises(ReadError, match=r"row 3: 'b.nii.gz': is no readable NIfTI.*copy it again"):
        read_visits(table(folder, "path", A, B))


def test_binary_files_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(bytes(range(256)))

    with pytest.raises(ReadError, match=r"'a\.csv': is no text"):
        read_stacks(tmp_path / "a.csv")
    assert not is_manifest(tmp_path / "a.csv")


def test_a_table_of_results_is_no_manifest(tmp_path: Path) -> None:
    results = table(tmp_path, "source,subject,visit,age", "a.npz,anna,1,61")

    assert not is_manifest(results)


def test_ages_of_the_files_themselves_count_where_the_table_has_none(tmp_path: Path) -> None:
    for age in (62, 61):
        stack = VisitStack.from_array(np.ones((1, 4, 4)), ages=[age])
        write_npz(tmp_path / f"{age}.npz", stack)

    stack = read_stack(table(tmp_path, "path", "62.npz", "61.npz"))

    assert (stack.ages.tolist(), stack.ages_known) == ([61, 62], True)


@pytest.mark.parametrize("settings", [{"axes": "vyx"}, {"split": "train"}])
def test_axes_and_splits_are_refused(folder: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ReadError, match="leave axes and split out"):
        read_stacks(table(folder, "path", A), **settings)


def test_listing_a_table_opens_no_image(tmp_path: Path) -> None:
    (file,) = manifest_files(table(tmp_path, "path", "absent.nii"))

    assert file.path == tmp_path / "absent.nii"


def test_a_folder_with_a_table_is_what_the_table_names(folder: Path) -> None:
    path = table(folder / "images", "path", "a.nii.gz", "b.nii.gz")

    assert read_stack(path.parent).n_visits == 2
