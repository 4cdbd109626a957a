from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_followup.io import write_stack
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_reading import list_source, open_all, read_origins
from napari_followup.plugin.stack.stack_sources import FileOrigin
from napari_followup.series.stack import VisitStack


def written(path: Path) -> FileOrigin:
    stack = VisitStack.from_array(np.ones((1, 8, 8)), ages=[61], subject="anna")
    return FileOrigin(write_stack(path, stack))


def test_what_is_wrong_with_one_file_is_its_own(tmp_path: Path) -> None:
    good, cut = written(tmp_path / "a.nii.gz"), written(tmp_path / "b.nii.gz")
    cut.path.write_bytes(cut.path.read_bytes()[:-20])
    absent = FileOrigin(tmp_path / "c.nii")
    found = dict(read_origins(open_all([good, cut, absent]), Report()))

    (part,) = found[good].parts
    assert (part.subject, part.age, part.facts.shape) == ("anna", 61, (1, 8, 8))
    assert "cut short" in found[cut].error
    assert not found[cut].error.startswith("'b.nii.gz'")  # it stands in its row
    assert "there is no such file" in found[absent].error


def test_a_stop_keeps_what_was_read(tmp_path: Path) -> None:
    origins = [written(tmp_path / f"{name}.nii") for name in "abc"]
    asked: list[int] = []

    def is_stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    found = read_origins(open_all(origins), Report(is_stopped=is_stopped))

    assert [origin for origin, _ in found] == origins[:2]


def test_what_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("")

    with pytest.raises(ValueError, match=r"'v.csv': has no rows"):
        list_source(tmp_path / "v.csv", None, Report())
