from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_followup.io.kinds import is_bids, is_dicom, is_zarr, suffix_of, truth_beside


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.NII.GZ", ".nii.gz"), ("a.ome.TIF", ".tif"), ("a.gz", ".gz"), ("a", "")]
)
def test_suffixes_are_in_lower_case(name: str, suffix: str) -> None:
    assert suffix_of(Path(name)) == suffix


@pytest.mark.parametrize(
    ("name", "beside"),
    [("p.tif", "p_truth.tif"), ("p.NII.GZ", "p_truth.NII.GZ"), ("p.ome.tif", "p.ome_truth.tif")],
)
def test_a_truth_lies_beside_its_file(name: str, beside: str) -> None:
    assert truth_beside(Path("in") / name) == Path("in") / beside


def test_folders_are_told_by_what_lies_in_them(
    tmp_path: Path, write_study: Callable[..., list[Path]]
) -> None:
    write_study(tmp_path / "dicom" / "inside")
    (tmp_path / "bids" / "sub-a" / "ses-1" / "anat").mkdir(parents=True)
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / ".zgroup").write_text("{}")

    folders = [tmp_path / name for name in ("dicom", "bids", "zarr")]
    assert [is_dicom(folder) for folder in folders] == [True, False, False]
    assert [is_bids(folder) for folder in folders] == [False, True, False]
    assert [is_zarr(folder) for folder in folders] == [False, False, True]
    assert is_bids(tmp_path / "bids" / "sub-a")
