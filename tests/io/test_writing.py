from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_followup.io.writing import WRITERS, listed, write_stack
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_ending_chooses_the_format_whatever_its_case(tmp_path: Path, suffix: str) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4), np.float32))
    name = f"A{suffix.upper() if suffix.startswith('.t') else suffix}"

    assert write_stack(str(tmp_path / name), stack) == tmp_path / name
    assert (tmp_path / name).exists()


def test_endings_are_named_in_a_sentence() -> None:
    assert listed([".npz", ".csv", ".nii"]) == ".csv, .nii or .npz"
