from __future__ import annotations

from napari_followup.series.provenance import add_step


def test_steps_are_listed_in_order_and_the_old_provenance_stays_as_it_was() -> None:
    old = {"model": "x", "steps": [{"step": "cropped", "margin": 5.0}]}

    new = add_step(old, "scaled", percentile=99.0)

    assert [step["step"] for step in new["steps"]] == ["cropped", "scaled"]
    assert new["steps"][1] == {"step": "scaled", "percentile": 99.0}
    assert new["model"] == "x"
    assert len(old["steps"]) == 1
