"""Embedded models are found by name, without loading torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_followup import catalogue


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
