"""A model and a recipe in files, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from napari_followup.cli import main
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.series.stack import VisitStack

RECIPE = """
threshold = {kind = "Yen", pixel_too = false}
[options]
noise_levels = [10]
draws = 1
sampling_steps = 3
"""


@pytest.fixture
def model(tiny_bundle: ModelBundle, tmp_path: Path) -> Path:
    about = replace(tiny_bundle, card={"about": "untrained"})
    return save_bundle(about, tmp_path / "models" / "tiny.safetensors")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def series(tiny_series: VisitStack, tmp_path: Path) -> Path:
    from napari_followup.io import write_npz

    path = tmp_path / "patient.npz"
    write_npz(path, tiny_series)
    return path


@pytest.fixture
def run() -> Callable[..., int]:
    """Run a command given as words; argparse's own exits count as its exit code."""

    def command(*words: object) -> int:
        try:
            return main([str(word) for word in words])
        except SystemExit as end:
            return int(end.code or 0)

    return command
