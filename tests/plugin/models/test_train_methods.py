from __future__ import annotations

import pytest

from napari_followup.methods import method_class, method_presets
from napari_followup.methods.table import TABLE
from napari_followup.plugin.models.train_methods import STAGES, makes_anomalies


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_presets_are_those_of_the_method(name: str) -> None:
    presets = TABLE[name].presets

    assert set(presets) == set(method_presets(name))
    assert presets[0] == "compact"


def test_the_methods_that_need_change_are_those_that_learn_from_series() -> None:
    found = [name for name in TABLE if getattr(method_class(name), "samples", "") == "series"]

    assert [name for name, row in TABLE.items() if row.needs_change] == found


def test_the_stages_have_words() -> None:
    named = {stage for name in TABLE for stage in getattr(method_class(name), "stages", ())}

    assert named - set(STAGES) == set()


@pytest.mark.parametrize(
    ("method", "fields", "makes"),
    [
        ("sadm", "", True),
        ("sadm", "channels=8,16; synthetic_anomalies = False", False),
        ("sadm", "synthetic_labels=false", True),
        ("anofpdm", "synthetic_labels=false;dropout=0", False),
        ("anofpdm", "synthetic_labels=true", True),
        ("sdm", "synthetic_labels=false", True),
    ],
)
def test_a_field_says_that_nothing_is_to_be_made(method: str, fields: str, makes: bool) -> None:
    assert makes_anomalies(method, fields) == makes
