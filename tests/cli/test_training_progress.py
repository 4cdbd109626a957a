from __future__ import annotations

import pytest

from napari_followup.cli.training_progress import STAGES, progress
from napari_followup.methods import method_class
from napari_followup.training.state import TrainingState


def test_lines_come_every_few_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress(lambda: False, every=1000.0)

    for batch in (1, 2, 3):
        state = TrainingState(
            stage="denoise",
            batch=batch,
            progress=batch / 3,
            loss=1 / batch,
            validation_loss=0.25 if batch == 3 else None,
            seconds_left=90.0 - 30 * batch,
            memory=1_500_000_000,
        )
        assert tell(state) is True

    assert capsys.readouterr().out.splitlines() == [
        f"denoise: {STAGES['denoise']}",
        "denoise batch 1   33%  loss 1.0000  1:00 left  1.5 GB",
        "denoise batch 3  100%  loss 0.3333  validation 0.2500  0:00 left  1.5 GB",
    ]


def test_notes_are_printed_before_anything_was_learned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = progress(lambda: False)

    tell(TrainingState(stage="data", batch=0, progress=0.0, notes=("few", "mixed")))

    assert capsys.readouterr().out.splitlines() == ["note: few", "note: mixed"]


def test_measuring_the_finished_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress(lambda: False)

    for part in (0.0, 0.25):
        assert tell(TrainingState(stage="measure", batch=0, progress=part))

    assert capsys.readouterr().out.splitlines() == [f"measure: {STAGES['measure']}", "measure 25%"]


def test_a_wish_to_stop_is_handed_on() -> None:
    tell = progress(lambda: True)

    assert tell(TrainingState(stage="denoise", batch=1, progress=0.1, loss=1.0)) is False


@pytest.mark.parametrize("method", ["sdm", "tdm", "vae3d", "disyre"])
def test_stages_are_told_in_words(method: str) -> None:
    assert set(method_class(method).stages) <= set(STAGES)


def test_a_stage_nobody_described_is_named_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress(lambda: False)(TrainingState(stage="new", batch=1, progress=0.5, loss=1.0))

    assert capsys.readouterr().out.splitlines()[0] == "new: the next phase"
