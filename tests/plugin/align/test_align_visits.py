"""Planes, which register fast: a made-up section without symmetry, moved in known ways."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_followup.plugin.align.align_visits import align_visits
from napari_followup.plugin.layers.layers import GivenMask
from napari_followup.plugin.run.report import Report
from napari_followup.series.results import Cancelled

RESTING: Any = {"register": False}


@pytest.fixture
def itk() -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install 'napari-followup[mri]'")


def section(
    shape: tuple[int, int] = (48, 56), size: float = 1.0, shift: float = 0.0
) -> NDArray[np.float32]:
    """A head in section, `shift` mm along x; its middle is that of the grid."""
    y, x = (
        (np.arange(count) - (count - 1) / 2)[tuple(axes)] * size
        for count, axes in zip(shape, ([slice(None), None], [None, slice(None)]), strict=True)
    )
    value = np.zeros(shape)
    for (cy, cx), (ry, rx), grey in (
        ((0, 0), (20, 17), 100),
        ((8, 6), (6, 4), 60),
        ((-5, -7), (4, 5), -50),
        ((-9, 5), (3, 6), 80),
    ):
        far = np.hypot((y - cy) / ry, (x - shift - cx) / rx)
        value += grey / (1 + np.exp((far - 1) * 12))
    return (value + np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def visit(
    image: NDArray[np.float32], age: float, size: float = 1.0, modality: str = "FLAIR"
) -> Image:
    affine = np.array([[0, 0, size, 0], [0, size, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    about = {"axes": "vyx", "subject": "p", "modality": modality, "ages": [age]}
    return Image(
        image[None],
        name=f"p, age {age:g}",
        scale=(1, size, size),
        units=("pixel", "mm", "mm"),
        axis_labels=("visit", "y", "x"),
        metadata={"followup": {**about, "affine": affine.tolist()}},
    )


def series(*images: NDArray[np.float32], ages: list[float] | None = None) -> Image:
    about = {"axes": "vyx", "ages": ages or [60.0 + number for number in range(len(images))]}
    return Image(np.stack(images), name="scan", metadata={"followup": about})


def said(layer: Any) -> dict[str, Any]:
    return dict(layer[1]["metadata"]["followup"])


def likeness(data: NDArray[Any]) -> float:
    return float(np.corrcoef(data[0].ravel(), data[1].ravel())[0, 1])


@pytest.mark.usefixtures("itk")
def test_layers_on_different_grids_become_one_series_on_the_first_visit_s() -> None:
    layers = visit(section((40, 48), 1.2, 5.0), 62.0, 1.2), visit(section(), 60.0)
    before = [layer.data.copy() for layer in layers]

    [layer] = align_visits(layers)

    data, attributes, kind = layer
    assert (kind, attributes["name"], data.shape) == ("image", "p aligned", (2, 48, 56))
    assert attributes["scale"] == (1.0, 1.0, 1.0)
    assert likeness(data) > 0.98
    assert said(layer)["ages"] == [60.0, 62.0]
    for each, kept in zip(layers, before, strict=True):
        np.testing.assert_array_equal(each.data, kept)
    # The middles of the two grids lie 0.7 mm apart.
    provenance = json.loads(json.dumps(said(layer)["provenance"]))
    assert provenance["software"] == "napari-followup"
    assert provenance["layers"] == ["p, age 62", "p, age 60"]
    assert provenance["steps"][0]["visits"][1]["mean_displacement"] == pytest.approx(5.7, abs=0.3)
    assert any("visit 2 (age 62)" in note and "moved by 5" in note for note in provenance["notes"])


def test_a_reference_that_lay_further_on_the_visit_slider_gives_a_series_from_its_start() -> None:
    layers = visit(section(), 60.0), visit(section(), 61.0)
    layers[1].translate = (1.0, 0.0, 0.0)

    [(_, attributes, _)] = align_visits(layers, reference=1, **RESTING)

    assert attributes["translate"] == (0.0, 0.0, 0.0)


@pytest.mark.usefixtures("itk")
def test_one_layer_keeps_the_order_of_its_visits() -> None:
    layer = series(section(shift=4.0), section(), ages=[63.0, 60.0])

    [found] = align_visits([layer], reference=1)

    np.testing.assert_array_equal(found[0][0], layer.data[0])  # the second by age stays
    assert found[1]["name"] == "scan aligned"
    assert said(found)["ages"] == [63.0, 60.0]
    assert likeness(found[0]) > 0.98


@pytest.mark.usefixtures("itk")
def test_a_missing_visit_stays_missing_and_is_said() -> None:
    gap = np.full((48, 56), np.nan, np.float32)
    layer = series(section(), section(shift=4.0), gap)
    settings: Any = {"mask": "brain", "percentile": 99.0, "margin": 1.0, "spacing": 2.0}

    for found in (align_visits([layer])[0], align_visits([layer], **settings)[0]):
        assert np.isnan(found[0][2]).all()
        assert np.isfinite(found[0][:2]).all()
        assert said(found)["is_observed"] == [True, True, False]
        assert said(found)["is_imputed"] == [False, False, False]
        assert said(found)["provenance"]["notes"][2].endswith(": missing")
        assert np.isfinite(found[1]["contrast_limits"]).all()


@pytest.mark.usefixtures("itk")
def test_the_modalities_of_a_visit_move_together() -> None:
    layers = [
        visit(np.abs(section(shift=shift)) ** power, age, modality=name)
        for age, shift in ((60.0, 0.0), (61.0, 4.0))
        for name, power in (("FLAIR", 1.0), ("T1", 0.7))
    ]

    found = align_visits(layers)

    assert [layer[1]["name"] for layer in found] == ["p FLAIR aligned", "p T1 aligned"]
    assert min(likeness(data) for data, *_ in found) > 0.97


def test_a_cut_lies_on_its_source() -> None:
    layer = series(section(), section())
    layer.scale, layer.translate = (1.0, 2.0, 2.0), (0.0, 10.0, 20.0)
    bright = np.unravel_index(layer.data[0].argmax(), layer.data[0].shape)

    [found] = align_visits([layer], **RESTING, margin=2.0)

    cut = Layer.create(*found)
    there = np.unravel_index(cut.data[0].argmax(), cut.data[0].shape)
    assert cut.data.shape < layer.data.shape
    np.testing.assert_allclose(cut.data_to_world((0, *there)), layer.data_to_world((0, *bright)))
    np.testing.assert_allclose(said(found)["affine"][0][3], 2.0 * (bright[1] - there[1]))


def test_every_step_leaves_its_mark() -> None:
    image = section()
    mask = np.zeros((48, 56), np.uint8)
    mask[14:34, 18:38] = 1

    image_layer, labels = align_visits(
        [series(image, 2 * image)],
        **RESTING,
        spacing=0.5,
        mask=GivenMask(name="m", data=mask),
        percentile=90.0,
        margin=1.0,
    )

    steps = [step["step"] for step in said(image_layer)["provenance"]["steps"]]
    assert steps == ["regridded", "masked", "scaled", "cropped"]
    assert image_layer[1]["scale"][1:] == (0.5, 0.5)
    assert image_layer[0].shape == (2, 44, 44)  # 20 mm and a margin of 1 mm, in voxels of 0.5 mm
    np.testing.assert_allclose(image_layer[0][0], image_layer[0][1], atol=1e-5)
    data, attributes, kind = labels
    assert (kind, attributes["name"], data.sum()) == ("labels", "scan brain mask", 40 * 40)
    assert not image_layer[0][:, data == 0].any()
    assert said(image_layer)["provenance"]["settings"]["percentile"] == 90.0


@pytest.mark.usefixtures("itk")
def test_shading_is_evened_out() -> None:
    shade = np.linspace(0.6, 1.4, 56, dtype=np.float32)
    image = section()

    [found] = align_visits([series(image * shade)], **RESTING, even_shading=True)

    inside = image > 90
    spread = [np.std(each[inside] / image[inside]) for each in (image * shade, found[0][0])]
    assert spread[1] < 0.5 * spread[0]


def test_without_registration_visits_are_resampled_where_they_lie() -> None:
    found = align_visits(
        [visit(section(), 60.0), visit(section((20, 20), 2.0), 61.0, 2.0)], **RESTING
    )

    assert found[0][0].shape == (2, 48, 56)
    assert said(found[0])["provenance"]["steps"][0]["step"] == "regridded"


def test_one_visit_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="there is one visit only; check the layers of two"):
        align_visits([visit(section(), 60.0)])


@pytest.mark.usefixtures("itk")
def test_visits_of_different_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"modalities: the visits have .*FLAIR.* and .*T1"):
        align_visits([visit(section(), 60.0), visit(section(), 61.0, modality="T1")])


def test_a_mask_whose_layer_has_gone_is_missed() -> None:
    with pytest.raises(ValueError, match="mask: the labels layer was removed"):
        align_visits([series(section())], **RESTING, mask=None)


@pytest.mark.usefixtures("itk")
def test_layers_of_two_subjects_are_taken_for_one_and_said_so() -> None:
    first, second = visit(section(), 60.0), visit(section(), 61.0)
    second.metadata["followup"]["subject"] = "q"

    [found] = align_visits([first, second])

    assert said(found)["provenance"]["notes"][0] == "taken as one subject: p and q"


@pytest.mark.usefixtures("itk")
def test_progress_tells_the_visit_and_a_stop_acts_at_once() -> None:
    told: list[str] = []
    report = Report(
        lambda phase, done, total: told.append(phase),
        lambda: "Registering, visit 1 of 1 that are moved" in told,
        interval=0.0,
    )

    with pytest.raises(Cancelled):
        align_visits([series(section(), section(shift=4.0))], report=report)

    assert told[-1] == "Registering, visit 1 of 1 that are moved"
    assert told.count(told[-1]) == 1


def test_without_simpleitk_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)

    with pytest.raises(ImportError, match=r"pip install 'napari-followup\[mri\]'"):
        align_visits([series(section(), section())])
