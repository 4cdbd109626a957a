from __future__ import annotations

import numpy as np
import pytest

from napari_followup.alignment.rigid import LEVELS, Rigid, rigid, working_threads
from napari_followup.series.results import Cancelled

SimpleITK = pytest.importorskip(
    "SimpleITK", reason="needs SimpleITK: pip install 'napari-followup[mri]'"
)


def test_turn_is_the_angle_of_the_rotation() -> None:
    quarter = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])

    assert Rigid(np.eye(4), (0.0,)).turn == 0.0
    assert Rigid(quarter, (0.0,)).turn == pytest.approx(90.0)


def test_a_plane_that_was_shifted_is_found_level_by_level() -> None:
    y, x = np.indices((48, 48))
    fixed, moving = (
        np.exp(-(((y - 20) / 6) ** 2) - ((x - 22 - shift) / 9) ** 2)[None].astype(np.float32)
        for shift in (0, 3)
    )
    frame = np.array([[0, 0, 2.0, 0], [0, 2.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    levels: list[int] = []

    found = rigid(fixed, moving, frame, frame, on_level=lambda: levels.append(1))

    assert found.matrix[:2, 3] == pytest.approx([6.0, 0.0], abs=0.5)  # 3 voxels of 2 mm along x
    assert found.turn < 2.0
    assert found.metric < 0.0
    assert len(levels) == len(found.metrics) == len(LEVELS)


def test_what_is_raised_after_a_step_ends_the_search() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((1, 32, 32)).astype(np.float32)
    frame = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    steps: list[int] = []

    def look() -> None:
        steps.append(1)
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        rigid(image, image[:, ::-1], frame, frame, on_iteration=look)

    assert len(steps) == 1


def test_the_number_of_threads_of_the_process_stays_as_it_was() -> None:
    default = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads
    before = default()

    with working_threads(before + 1):
        assert default() == before + 1

    assert default() == before
