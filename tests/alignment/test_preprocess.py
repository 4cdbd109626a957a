from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from napari_followup.alignment.preprocess import bias_corrected, brain_mask, masked, scaled
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

SHAPE = (8, 32, 32)
BODY = np.zeros(SHAPE, dtype=bool)
BODY[1:-1, 4:-4, 4:-4] = True


def series(gap: bool = False) -> VisitStack:
    """Two visits of a body of two tissues; if asked for, a missing visit between them."""
    image = np.where(BODY, 100.0, 0.0)
    image[:, 12:20, 12:20] *= 1.5
    image += np.random.default_rng(0).normal(scale=0.5, size=SHAPE)
    images = [image, image * np.nan, 2 * image] if gap else [image, 2 * image]
    return VisitStack.from_array(np.stack(images), spacing=(3.0, 2.0, 2.0))


def last_step(stack: VisitStack) -> dict[str, object]:
    step: dict[str, object] = json.loads(json.dumps(stack.provenance))["steps"][-1]
    return step


@pytest.fixture
def _simpleitk() -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install 'napari-followup[mri]'")


@pytest.mark.usefixtures("_simpleitk")
def test_shading_is_taken_out_and_the_mean_stays() -> None:
    flat = series()
    shading = np.exp(0.4 * np.linspace(-1, 1, SHAPE[2]))
    shaded = flat.with_images(flat.images * shading)

    even = bias_corrected(shaded)

    tissue = BODY.copy()
    tissue[:, 10:22, 10:22] = False  # one tissue, far from its edge to the other
    spreads = [
        stack.images[0, 0][tissue].std() / stack.images[0, 0][tissue].mean()
        for stack in (shaded, even)
    ]
    assert spreads[1] < 0.25 * spreads[0]
    before, after = (stack.images[1, 0][BODY].mean() for stack in (shaded, even))
    assert after == pytest.approx(before, rel=0.01)
    assert last_step(even) == {
        "step": "bias_corrected",
        "mask": "foreground",
        "block": 4.0,
        "iterations": [40, 40, 30],
    }


@pytest.mark.usefixtures("_simpleitk")
def test_shading_of_planes_with_a_given_mask() -> None:
    stack = series().with_images(series().images[:, :, 4:5])

    even = bias_corrected(stack, mask=BODY[4:5])

    assert even.shape == stack.shape
    assert last_step(even)["mask"] == "given"


@pytest.mark.usefixtures("_simpleitk")
def test_correction_tells_its_progress_and_can_be_stopped() -> None:
    told: list[tuple[int, int]] = []

    bias_corrected(series(), on_step=lambda done, total: told.append((done, total)))

    assert told == [(1, 2), (2, 2)]
    with pytest.raises(Cancelled):
        bias_corrected(series(), on_step=lambda done, total: False)


@pytest.mark.usefixtures("_simpleitk")
def test_an_image_with_nothing_to_correct_is_named() -> None:
    stack = series()

    with pytest.raises(ValueError, match="visit 1 of 'subject' has no voxel above 0"):
        bias_corrected(stack, mask=np.zeros(SHAPE))


def test_without_simpleitk_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)

    with pytest.raises(ImportError, match=r"pip install 'napari-followup\[mri\]'"):
        bias_corrected(series())


def test_scaling_brings_visits_of_other_gain_to_the_same_intensities() -> None:
    both = scaled(series(), percentile=90.0)

    np.testing.assert_allclose(both.images[0], both.images[1], atol=1e-5)
    assert np.percentile(both.images[0, 0][BODY], 90.0) == pytest.approx(1.0, abs=0.02)
    assert last_step(both) == {"step": "scaled", "percentile": 90.0}


def test_scaling_refuses_what_it_cannot_scale() -> None:
    with pytest.raises(ValueError, match="percentile: got 0; give one above 0"):
        scaled(series(), percentile=0)
    with pytest.raises(ValueError, match="visit 1 of 'subject' has no foreground above 0"):
        scaled(VisitStack.from_array(np.ones((1, 4, 4))))


def test_brain_mask_finds_the_body_of_every_visit_that_is_there() -> None:
    masks = brain_mask(series(gap=True))

    assert masks.shape == (3, *SHAPE)
    assert not masks[1].any()
    overlap = 2 * (masks[0] & BODY).sum() / (masks[0].sum() + BODY.sum())
    assert overlap > 0.85


def test_outside_a_mask_everything_becomes_zero() -> None:
    stack = series()

    inside, simple = masked(stack, BODY), masked(stack)

    assert not inside.images[:, 0, ~BODY].any()
    np.testing.assert_array_equal(inside.images[1, 0][BODY], stack.images[1, 0][BODY].astype("f4"))
    assert last_step(inside) == {"step": "masked", "mask": "given"}
    assert last_step(simple) == {"step": "masked", "mask": "brain_mask"}


@pytest.mark.parametrize("step", [scaled, masked, bias_corrected])
def test_missing_visits_stay_missing_and_the_input_stays_as_it_was(
    step: Callable[[VisitStack], VisitStack],
) -> None:
    if step is bias_corrected:
        pytest.importorskip("SimpleITK", reason="pip install 'napari-followup[mri]'")
    stack = replace(series(gap=True), provenance={"steps": [{"step": "align"}]})
    before = stack.images.copy()

    done = step(stack)

    assert done.is_missing.tolist() == [False, True, False]
    assert done.images.dtype == np.float32
    np.testing.assert_array_equal(stack.images, before)
    assert [each["step"] for each in done.provenance["steps"]] == ["align", step.__name__]
