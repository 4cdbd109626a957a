"""Models are found by name, without loading torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_followup.models import catalogue
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle


@pytest.fixture
def folders(
    tiny_both: ModelBundle, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Embedded "both", and "both" and "mine" in the model folder."""
    embedded = tmp_path / "embedded"
    monkeypatch.setattr(catalogue, "FOLDER", embedded)
    save_bundle(tiny_both, embedded / "both.safetensors")
    model_folder.mkdir()
    for name in ("both", "mine", ".half-written"):
        shutil.copyfile(embedded / "both.safetensors", model_folder / f"{name}.safetensors")
    return embedded, model_folder


def test_embedded_models_are_named_after_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.safetensors").touch()
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)

    assert catalogue.embedded() == ["a", "b"]
    assert catalogue.embedded_path("a") == tmp_path / "a.safetensors"
    assert catalogue.embedded_path("../a") is None
    assert catalogue.embedded_path("c") is None


def test_the_starmen_model_is_there() -> None:
    assert "starmen" in catalogue.embedded()


def test_the_model_folder_is_that_of_the_environment_or_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, "~/models")
    assert catalogue.model_folder() == Path.home() / "models"
    monkeypatch.delenv(catalogue.VARIABLE)
    folder = catalogue.model_folder()
    assert folder.is_absolute()
    assert (folder.parent.name, folder.name) == ("napari-followup", "models")


def test_a_folder_that_is_not_there_holds_no_models(model_folder: Path) -> None:
    assert not model_folder.exists()
    assert catalogue.installed() == []


def test_names_are_looked_up_among_embedded_ones_first(folders: tuple[Path, Path]) -> None:
    embedded, folder = folders

    assert catalogue.installed() == ["mine"]
    assert catalogue.find("both") == embedded / "both.safetensors"
    assert catalogue.find("mine") == folder / "mine.safetensors"
    assert catalogue.find(folder / "both.safetensors") == folder / "both.safetensors"


def test_a_name_that_is_nowhere_is_answered_with_those_there_are(
    folders: tuple[Path, Path],
) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"no model '../mine': give a .* one of both, mine \(embedded, or in",
    ):
        catalogue.find("../mine")


def test_entries_say_what_each_file_is(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "broken.safetensors").write_bytes(b"12345678")

    found = catalogue.entries(tmp_path / "more", folders[1])

    assert [entry.name for entry in found] == ["both", "both", "mine", "broken"]
    assert [entry.is_embedded for entry in found] == [True, False, False, False]
    assert found[2].methods == ("sdm", "tdm")
    assert found[2].image_size == "16 x 16"
    assert found[2].summary.splitlines() == [
        "sdm + tdm, planes of 16 x 16 pixels",
        "trained on: not stated",
        "licence: not stated",
    ]
    assert (found[3].methods, found[3].image_size) == ((), "?")
    assert "broken.safetensors: not a readable model file" in found[3].problem


def test_listing_models_loads_no_torch() -> None:
    script = (
        "import sys; from napari_followup.models.catalogue import entries; "
        "assert entries()[0].methods; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "False", done.stderr
