from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from napari_followup.methods import method_class
from napari_followup.methods.options import (
    ANDiOptions,
    AnoDDPMOptions,
    AnoFPDMOptions,
    CDDPMOptions,
    DISYREOptions,
    LevelOptions,
    PDDPMOptions,
    SADMOptions,
    SDMOptions,
    TDMOptions,
    VAE3DOptions,
)
from napari_followup.methods.table import TABLE


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_options_are_those_that_the_method_takes(name: str) -> None:
    assert method_class(name).options_type is TABLE[name].options


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        (ANDiOptions, {"first_step": 0}, "must rise from 1 up, got first_step 0 and last_step 200"),
        (ANDiOptions, {"first_step": 200}, "got first_step 200 and last_step 200"),
        (ANDiOptions, {"stride": 0}, r"stride must lie in \[1, 125\].*got 0"),
        (ANDiOptions, {"stride": 126}, r"stride must lie in \[1, 125\].*got 126"),
        (ANDiOptions, {"floor": 0.0}, "floor must be positive, the geometric mean has logs"),
        (ANDiOptions, {"noise": "white"}, "noise must be one of gaussian, pyramid; got 'white'"),
        (ANDiOptions, {"mean": "median"}, "mean must be one of geometric, arithmetic; got"),
        (AnoFPDMOptions, {"first_step": 0}, "steps must rise from 1 up"),
        (AnoFPDMOptions, {"stride": 1000}, r"stride must lie in \[1, 599\].*got 1000"),
        (AnoFPDMOptions, {"guidance": -3}, "guidance must not be negative, .* got -3"),
        (AnoFPDMOptions, {"cut": (0.98, 0.9)}, "cut must be two rising quantiles"),
        (AnoFPDMOptions, {"median": 4}, "median must be an odd number of pixels, got 4"),
        (AnoFPDMOptions, {"forward": "euler"}, "forward must be one of ddim, ddpm; got 'euler'"),
        (DISYREOptions, {"step_size": 0}, "step_size must be at least 1, got 0"),
        (DISYREOptions, {"single_step": 0}, "single_step must be at least 1, got 0"),
        (SADMOptions, {"structure": -1.0}, "must not be negative nor both 0"),
        (SADMOptions, {"structure": 0.0, "segmentation": 0.0}, "got 0.0 and 0.0"),
        (SADMOptions, {"median": 2}, "median must be an odd number of pixels, got 2"),
        (SADMOptions, {"sigma": 0.0}, "sigma must be positive"),
        (TDMOptions, {"draws": 0}, "draws and sampling_steps must be at least 1, got 0 and None"),
        (TDMOptions, {"sampling_steps": 0}, "at least 1, got 1 and 0"),
        (VAE3DOptions, {"draws": -1}, "draws must not be negative, got -1"),
        (VAE3DOptions, {"draws": float("nan")}, "draws must be a whole number; got nan"),
        (VAE3DOptions, {"draws": True}, "draws must be a whole number; got True"),
        (AnoFPDMOptions, {"guidance": float("nan")}, "guidance must be a finite number; got nan"),
        (AnoFPDMOptions, {"cut": (0.9,)}, "a finite number, a finite number"),
        (SADMOptions, {"sigma": float("inf")}, "sigma must be a finite number; got inf"),
    ],
)
def test_options_are_checked_where_they_are_made(
    kind: type, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        kind(**settings)


def test_steps_are_counted_to_the_last_which_only_anofpdm_takes() -> None:
    assert list(ANDiOptions(first_step=2, last_step=8, stride=3).steps) == [2, 5]
    assert list(AnoFPDMOptions(first_step=2, last_step=8, stride=3).steps) == [2, 5, 8]


def test_published_steps_of_andi_are_125() -> None:
    assert list(ANDiOptions().steps) == list(range(75, 200))
    assert len(ANDiOptions(stride=5).steps) == 25


@pytest.mark.parametrize(
    ("options", "chain"),
    [
        (DISYREOptions(), [100, 75, 50, 25]),
        (DISYREOptions(step_size=33), [100, 67, 34, 1]),
        (DISYREOptions(step_size=100), [100]),
        (DISYREOptions(single_step=7), [7]),
    ],
)
def test_a_chain_stops_before_step_zero(options: DISYREOptions, chain: list[int]) -> None:
    assert options.chain(100) == chain


@pytest.mark.parametrize("name", ["single_step", "step_size"])
def test_a_step_beyond_those_of_the_model_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: got 101, this model knows steps 1 to 100"):
        DISYREOptions(**{name: 101}).chain(100)
    assert DISYREOptions().chain(20) == [20]


@pytest.mark.parametrize("table", ["options", "table"])
def test_the_tables_are_read_without_torch(table: str) -> None:
    script = f"import sys, napari_followup.methods.{table}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize(
    "kind", [LevelOptions, AnoDDPMOptions, CDDPMOptions, PDDPMOptions, SDMOptions]
)
@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"noise_levels": ()}, "noise_levels must name steps from 1 up"),
        ({"noise_levels": (250, 0)}, "noise_levels must name steps from 1 up"),
        ({"noise_levels": 100}, r"in brackets, \(a whole number, \.\.\.\); got 100"),
        ({"noise_levels": (50.5,)}, r"a whole number, \.\.\.\); got \(50.5,\)"),
        ({"draws": 2.5}, "draws must be a whole number; got 2.5"),
        ({"draws": 0}, "at least 1, got 0 and 1(00)?$"),
        ({"sampling_steps": 0}, "at least 1, got 1 and 0"),
    ],
)
def test_uses_that_make_no_sense_are_refused(
    kind: type[LevelOptions], settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        kind(**settings)


def test_words_that_are_no_choice_are_refused() -> None:
    with pytest.raises(ValueError, match="sampler must be one of ddim, ddpm; got 'euler'"):
        AnoDDPMOptions(sampler="euler")
    with pytest.raises(ValueError, match="start must be one of semantic, infer; got 'noise'"):
        SDMOptions(start="noise")


def test_calls_are_those_of_every_draw_and_a_low_level_has_few_steps() -> None:
    assert LevelOptions().calls == 1
    assert LevelOptions(noise_levels=(2, 10), draws=3, sampling_steps=4).calls == 3 * (2 + 4)


def test_sdm_is_used_as_its_thesis_does() -> None:
    assert SDMOptions() == SDMOptions(noise_levels=(250,), draws=1, sampling_steps=100)
