from __future__ import annotations

import json

import numpy as np
import pytest

from napari_followup.io.tiff_settings import tiff_settings
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("is_ome", [True, False])
def test_everything_but_the_pixels_is_said(is_ome: bool) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4)), ages=[61, 62], spacing=(3, 2, 1))

    said = tiff_settings(stack, is_ome=is_ome)

    if is_ome:
        assert (said["PhysicalSizeZ"], said["PhysicalSizeYUnit"]) == (3.0, "mm")
        said = json.loads(said["Description"])
    assert (said["ages"], said["spacing"], said["unit"]) == ([61.0, 62.0], [3.0, 2.0, 1.0], "mm")


def test_ages_that_are_not_known_are_not_said() -> None:
    assert "ages" not in tiff_settings(VisitStack.from_array(np.ones((2, 4, 4))), is_ome=False)
