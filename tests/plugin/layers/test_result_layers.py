from __future__ import annotations

from napari_followup.plugin.layers.result_layers import shared_provenance


def test_what_subjects_share_is_said_once() -> None:
    said = [{"model": "m", "threshold": 0.5}, None, {"model": "m", "threshold": 0.7}]

    assert shared_provenance(["a", "b", "c"], said) == {
        "model": "m",
        "subjects": {"a": {"threshold": 0.5}, "b": {}, "c": {"threshold": 0.7}},
    }


def test_one_subject_keeps_its_provenance_as_it_is() -> None:
    assert shared_provenance(["a"], [{"model": "m"}]) == {"model": "m"}
