from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.onefile import check_file, subject_of, write_series
from napari_followup.io import read_stack
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("name", ["a.npz", "a.nii", "a.nii.gz"])
def test_the_name_says_the_format(name: str, tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.random.default_rng(0).random((2, 3, 4, 5)), spacing=(3, 1, 1))

    check_file(tmp_path / "new" / name)
    write_series(tmp_path / "new" / name, stack, "napari-followup align")

    back = read_stack(tmp_path / "new" / name)
    np.testing.assert_array_equal(back.images, stack.images)
    assert back.spacing == stack.spacing


def test_files_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.npz"
    folder.mkdir()
    (tmp_path / "file").write_text("")

    with pytest.raises(ValueError, match=r"end the name in \.npz, \.nii, \.nii\.gz"):
        check_file(tmp_path / "a.tif")
    with pytest.raises(IsADirectoryError, match="is a folder; give a file"):
        check_file(folder)
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        check_file(tmp_path / "file" / "a.npz")


def test_one_subject_is_kept() -> None:
    a, b = (VisitStack.from_array(np.ones((1, 2, 2)), subject=name) for name in "ab")

    assert subject_of([a, a], None) == [a, a]
    assert subject_of([a, b], "b") == [b]
    with pytest.raises(ValueError, match="several; give --subject, one of a, b"):
        subject_of([a, b], None)
