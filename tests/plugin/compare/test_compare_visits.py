from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_followup.comparison.regions import THRESHOLD
from napari_followup.plugin.compare.compare_visits import (
    compare_visits,
    full_scale,
    is_of_change,
)
from napari_followup.plugin.layers.layers import GivenMask
from napari_followup.plugin.run.report import Report
from napari_followup.series.results import Cancelled

SHAPE = (12, 56, 56)
SPACING = (2.0, 1.0, 1.0)


def volumes(*, shift: int = 0) -> np.ndarray:
    """(visit, z, y, x): three visits of a block with a brighter part.

    At the last one 4 x 6 x 6 voxels are brighter, and as many at another place darker.
    """
    rng = np.random.default_rng(0)
    body = np.zeros(SHAPE)
    body[1:-1, 4:-4, 4:-4] = 100
    body[1:-1, 8:20, 9:15] += 50
    images = np.stack([body + rng.normal(size=SHAPE) for _ in range(3)]).astype(np.float32)
    images[2, 3:7, 24:30, 24:30] += 40
    images[2, 3:7, 24:30, 10:16] -= 40
    images[1] = np.roll(images[1], shift, axis=-1)
    return images


def scan(images: np.ndarray | None = None, **said: Any) -> Image:
    about = {"axes": "vzyx", "ages": [60.0, 61.0, 62.5], "subject": "p", **said}
    return Image(
        volumes() if images is None else images,
        name="scan",
        scale=(1, *SPACING),
        translate=(0, 5, 0, 0),
        units=("pixel", "mm", "mm", "mm"),
        axis_labels=("visit", "z", "y", "x"),
        metadata={"followup": about},
    )


def run(layer: Image, first: int = 0, second: int = 2, **settings: Any) -> Any:
    return compare_visits(layer, first, second, **{"smoothing": 0.8, **settings})


def notes(layers: Any) -> list[str]:
    return list(layers[0][1]["metadata"]["followup"]["provenance"]["notes"])


def test_a_change_made_by_hand_is_found() -> None:
    change, regions = run(scan())

    labels = regions[0]
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[3:7, 24:30, 24:30], wanted[3:7, 24:30, 10:16] = 1, 2
    assert change[0].dtype == np.float32
    assert change[0][wanted == 1].min() > 4
    assert change[0][wanted == 2].max() < -4
    for label in (1, 2):
        both = (labels == label) & (wanted == label)
        assert both.sum() == (wanted == label).sum()
        # Smoothing makes it larger, by three of its standard deviations at most.
        assert 4 * 6 * 6 <= (labels == label).sum() <= 8 * 12 * 12


def test_the_summary_counts_a_change_made_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    made = np.zeros(SHAPE, np.float32)
    made[3:7, 24:30, 24:30], made[3:7, 24:30, 10:16], made[8, 40, 10:40] = 5.0, -9.0, 4.5
    made[1, 50, 50] = 8.0  # 2 mm³, too small
    monkeypatch.setattr("napari_followup.comparison.change_map.change", lambda *_, **__: made)
    mask = np.ones(SHAPE, np.uint8)

    layers = run(scan(), mask=GivenMask(name="all", data=mask))

    assert notes(layers)[0] == (
        "visit 1 to 3, changes of 4 units of noise or more, 10 mm³ or more: "
        "brighter: 2 regions, 348 mm³, the largest 288 mm³; darker: 1 region, 288 mm³"
    )
    share = (2 * 144 + 30 + 1) / made.size
    assert notes(layers)[1].startswith(
        f"{share:.2%} of the voxels reach the threshold; by Gaussian noise alone 0.01%"
    )


def test_both_layers_lie_on_the_source_at_all_visits() -> None:
    source = scan()

    for layer in run(source):
        made = Layer.create(*layer)
        assert made.data.shape == SHAPE
        assert made.name.startswith("scan ")
        np.testing.assert_allclose(
            made.data_to_world((3, 4, 5)), source.data_to_world((2, 3, 4, 5))[1:]
        )


def test_the_colours_are_centred_on_no_change() -> None:
    [(_, attributes, _), _] = run(scan())
    colormap = attributes["colormap"]

    assert attributes["contrast_limits"] == (-full_scale(4.0), full_scale(4.0)) == (-8.0, 8.0)
    alpha = colormap.map([0.0, 0.25, 0.45, 0.5, 0.55, 0.75, 1.0])[:, 3]
    np.testing.assert_allclose(alpha, [1, 1, 0, 0, 0, 1, 1], atol=0.02)
    red_minus_blue = np.subtract(*colormap.map([0.25, 0.75])[:, [0, 2]].T)
    assert red_minus_blue[0] < 0 < red_minus_blue[1]


def test_provenance_says_what_was_compared() -> None:
    before = {"provenance": {"steps": [{"step": "align"}]}}

    [(_, attributes, _), _] = run(scan(**before))

    said = json.loads(json.dumps(attributes["metadata"]["followup"]))["provenance"]
    assert (said["software"], said["visits"], said["ages"]) == (
        "napari-followup",
        [1, 3],
        [60, 62.5],
    )
    assert said["steps"] == [{"step": "align"}]
    assert said["settings"]["smoothing"] == 0.8
    assert said["meaning"] == "above 0: brighter at the later visit"


def test_the_later_visit_is_the_older_one_in_whatever_order_they_are_chosen() -> None:
    there, back = (run(scan(), *visits) for visits in ((0, 2), (2, 0)))

    np.testing.assert_array_equal(there[0][0], back[0][0])
    backwards = scan(volumes()[::-1], ages=[62.5, 61.0, 60.0])
    layers = run(backwards)
    np.testing.assert_array_equal(layers[0][0], there[0][0])
    assert layers[0][1]["name"] == "scan change 3 to 1"


def test_visits_that_are_not_aligned_are_said_to_be() -> None:
    moved = run(scan(volumes(shift=4)), 0, 1, smoothing=1.5)

    assert any(note.startswith("not aligned: shifted by 4.0 mm") for note in notes(moved))
    assert notes(run(scan(), 0, 1, smoothing=1.5))[-1].startswith("aligned: the correlation")


def test_a_given_mask_says_where_to_look() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:8, 20:34, 20:34] = 1

    layers = run(scan(), mask=Labels(mask, name="m"))

    assert not layers[0][0][mask == 0].any()
    assert set(np.unique(layers[1][0])) == {0, 1}
    assert layers[0][1]["metadata"]["followup"]["provenance"]["mask_layer"] == "m"


def test_the_brain_can_be_the_mask() -> None:
    layers = run(scan(), 0, 1, mask="brain", regions=False, smoothing=1.5)

    assert len(layers) == 1
    assert layers[0][0][5, 20, 20] != 0
    assert not layers[0][0][:, :2].any()


def test_planes_are_compared_too() -> None:
    images = volumes()[:, 5]
    layer = Image(images, name="scan", metadata={"followup": {"axes": "vyx", "ages": [1, 2, 3]}})

    change, regions = run(layer)

    assert change[0].shape == regions[0].shape == SHAPE[1:]
    assert change[0][24:30, 24:30].min() > 4
    assert "voxels" in notes([change])[0]


def test_what_cannot_be_compared_is_refused() -> None:
    gap = volumes()
    gap[2] = np.nan
    cohort = Image(volumes(), name="all", metadata={"followup": {"axes": "svyx"}})
    cohort.data = np.ones((2, 3, 8, 8))

    with pytest.raises(ValueError, match="visit 1 was chosen twice"):
        run(scan(), 0, 0)
    with pytest.raises(ValueError, match="visit 3 is missing; choose another one"):
        run(scan(gap))
    with pytest.raises(ValueError, match="visit 4: 'scan' has 3 visits only"):
        run(scan(), 0, 3)
    with pytest.raises(ValueError, match="'all' holds 2 subjects"):
        run(cohort)
    with pytest.raises(ValueError, match="mask: the labels layer was removed"):
        run(scan(), mask=None)


def test_a_stop_ends_it() -> None:
    with pytest.raises(Cancelled):
        compare_visits(scan(), report=Report(is_stopped=lambda: True))


def test_the_threshold_is_that_of_the_command_line() -> None:
    assert inspect.signature(compare_visits).parameters["threshold"].default == THRESHOLD


def test_results_of_change_are_told_from_other_layers() -> None:
    made = [Layer.create(*layer) for layer in run(scan())]
    from_command = scan(modality="change")

    assert [is_of_change(layer) for layer in (*made, from_command)] == [True, True, True]
    assert not any(map(is_of_change, (scan(), scan(result="aligned"), Image(np.ones((4, 4))))))
