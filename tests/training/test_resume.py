from __future__ import annotations

from pathlib import Path

import pytest

from napari_followup.training.resume import RUN, check_out, go_on


def settings(**changes: object) -> dict[str, object]:
    return {
        "method": "sdm",
        "config": {"channels": (8, 16), "dropout": 0.1},
        "plan": {"batch": 4, "augmentation": {"flip": ()}},
        "data": "abc",
        **changes,
    }


def test_a_training_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    assert go_on(tmp_path, settings()) is False
    assert go_on(tmp_path, settings()) is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": "xyz"}, "data was 'abc' and is now 'xyz'"),
        ({"config": {"channels": (8, 32), "dropout": 0.1}}, r"config channels was \[8, 16\] and"),
        (
            {"plan": {"batch": 4, "augmentation": {"flip": ("x",)}}},
            r"plan augmentation flip was \[\] and is now \['x'\]; give the same",
        ),
        ({"config": {"channels": (8, 16)}}, "config dropout was 0.1 and is now None"),
    ],
)
def test_it_does_not_go_on_with_others_and_says_which(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    go_on(tmp_path, settings())

    with pytest.raises(ValueError, match=told):
        go_on(tmp_path, settings(**change))


def test_a_broken_note_is_named(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{")

    with pytest.raises(ValueError, match=f"{RUN}: cannot be read; delete the folder"):
        go_on(tmp_path, settings())


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b")

    assert not list((tmp_path / "a" / "b").iterdir())


def test_a_folder_that_cannot_be_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match=r"out: nothing can be written into .*give another folder"):
        check_out(tmp_path / "file" / "run")
