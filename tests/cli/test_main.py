from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from napari_followup import cli

Run = Callable[..., int]
COMMANDS = (
    "demo",
    "align",
    "change",
    "detect",
    "train",
    "synthesize",
    "evaluate",
    "study",
    "bundle",
)


def test_version_is_that_of_the_package(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"napari-followup {version('napari-followup')}\n"


def test_help_names_every_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, run: Run) -> None:
    assert run(command, "--help") == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "required: COMMAND"),
        (["heal"], "invalid choice: 'heal'"),
        (["detect"], "required: SERIES, --out"),
        (["synthesize", "--out", "x.npz", "--subjects", "many"], "invalid int value: 'many'"),
    ],
)
def test_wrong_words_are_one_line_and_code_two(
    words: list[str], text: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1


def test_an_error_is_one_line_without_traceback(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundle", "show", "nothing-like-it") == 2
    said = capsys.readouterr().err
    assert said.startswith("napari-followup: error: no model 'nothing-like-it'")
    assert said.count("\n") == 1


def test_debug_shows_where_an_error_arose(run: Run) -> None:
    with pytest.raises(FileNotFoundError, match="nothing-like-it"):
        run("bundle", "show", "nothing-like-it", "--debug")


def test_what_nobody_foresaw_is_named_and_is_code_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.bundle, "_list", lambda args: 1 / 0)

    assert run("bundle", "list") == 1
    assert "ZeroDivisionError: division by zero; run again with --debug" in capsys.readouterr().err


def test_ctrl_c_ends_without_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.bundle, "_list", interrupted)

    assert run("bundle", "list") == 130
    assert capsys.readouterr().err == "napari-followup: interrupted\n"


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys; from napari_followup.cli import parser; parser(); "
        "print(sorted({'torch', 'numpy', 'napari', 'matplotlib', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("napari-followup")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run([command, "--version"], capture_output=True, text=True)

    assert done.returncode == 0
    assert done.stdout.startswith("napari-followup ")


def test_the_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "napari_followup", "--version"]

    found = subprocess.run(words, capture_output=True, text=True, check=True)

    assert found.stdout.startswith("napari-followup ")
