from __future__ import annotations

import pytest

from napari_followup.networks.sizes import check_sides


def test_multiples_pass() -> None:
    check_sides((16, 32), 8)


def test_other_sides_are_refused_with_the_multiple_there_is() -> None:
    with pytest.raises(ValueError, match=r"got \(16, 20\); this network takes multiples of 8"):
        check_sides((16, 20), 8)
