"""What README and docs show runs: Python blocks are executed, commands are known to the parser."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
RAW = ("https://github.com/", "https://raw.githubusercontent.com/")
COMMAND = re.compile(r"^(?:env/bin/)?napari-followup ([a-z].*)$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_one_after_another(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what they write goes there
    space: dict[str, Any] = {}
    for block in blocks(page, "python"):
        if "import napari\n" not in block:
            exec(compile(block, page.name, "exec"), space)


@pytest.mark.viewer
def test_script_of_the_readme_ends_with_a_detection(
    make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer()
    monkeypatch.setattr("napari.Viewer", lambda: viewer)
    script = next(b for b in blocks(PAGES[0], "python") if "import napari\n" in b)
    space: dict[str, Any] = {}

    exec(compile(script, "README.md", "exec"), space)

    with qtbot.waitSignal(space["widget"].finished, timeout=60_000):
        pass
    assert space["widget"].detection.mask.any()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_known(page: Path) -> None:
    from napari_followup.cli import parser

    for line in COMMAND.findall("\n".join(blocks(page, "bash"))):
        words = [word for word in shlex.split(line) if word not in {"&&"}]
        parser().parse_args(words)


def test_commands_of_the_readme_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_followup.cli import main

    monkeypatch.chdir(tmp_path)  # empty, as a reader's folder
    lines = re.findall(r"^napari-followup (.*)$", PAGES[0].read_text("utf-8"), re.MULTILINE)

    assert [main(shlex.split(line)) for line in lines] == [0, 0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_the_project_lead_somewhere(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    home = project["urls"]["Homepage"]
    ours = (f"{home}/blob/main/", f"{home}/tree/main/", f"{home.replace(*RAW)}/main/")
    for link in LINK.findall(page.read_text("utf-8")):
        target = link.partition("#")[0]
        start = next((each for each in ours if target.startswith(each)), "")
        if start or "://" not in target:
            place = ROOT / target.removeprefix(start) if start else page.parent / target
            assert place.exists(), f"{page.name} links to {link}"


def test_the_readme_is_short_and_its_links_work_on_any_page_that_shows_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    assert len(text.splitlines()) <= 120
    assert all(link.startswith(("https://", "#")) for link in LINK.findall(text))
