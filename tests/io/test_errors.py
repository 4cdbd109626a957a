from __future__ import annotations

import pytest

from napari_followup.io.errors import ReadError, needing


def test_a_library_that_is_not_there_is_named_with_its_extra() -> None:
    with (
        pytest.raises(ReadError, match=r'needs pydicom.*pip install "napari-followup\[formats\]"'),
        needing("pydicom"),
    ):
        import not_installed_anywhere  # noqa: F401


def test_a_read_error_is_a_value_error_that_the_package_names() -> None:
    import napari_followup as nf

    assert nf.ReadError is ReadError
    assert issubclass(ReadError, ValueError)
