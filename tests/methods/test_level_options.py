from __future__ import annotations

import pytest

from napari_followup.methods.level_options import (
    AnoDDPMOptions,
    CDDPMOptions,
    LevelOptions,
    PDDPMOptions,
    SDMOptions,
)


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
