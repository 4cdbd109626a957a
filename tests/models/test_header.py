from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.models.header import FORMAT, KEY, read_about


@pytest.fixture
def saved(tiny_both: ModelBundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_both, tmp_path / "both.safetensors")


def rewritten(path: Path, text: str) -> Path:
    """The same weights, with other words about them."""
    save_file(load_file(path), path, metadata={KEY: text})
    return path


def test_a_file_says_what_it_is_and_what_its_parts_are(saved: Path, tiny_both: ModelBundle) -> None:
    about = read_about(saved)

    assert (about["name"], about["method"], about["format"]) == ("tiny", "sdm", FORMAT)
    assert about["config"]["image_size"] == [16, 16]
    assert about["parts"]["tdm"]["name"] == "tiny-tdm"
    assert len(about["fingerprint"]) == len(about["parts"]["tdm"]["fingerprint"]) == 12


def test_the_fingerprint_is_that_of_the_weights_in_the_file(
    tiny_bundle: ModelBundle, tmp_path: Path
) -> None:
    whole = save_bundle(tiny_bundle, tmp_path / "whole.safetensors", half=False)
    half = save_bundle(tiny_bundle, tmp_path / "half.safetensors")

    assert read_about(whole)["fingerprint"] == tiny_bundle.fingerprint
    assert read_about(half)["fingerprint"] != tiny_bundle.fingerprint


@pytest.mark.parametrize("size", [0, 7, 8, 300, -1])
def test_a_file_that_is_cut_off_is_named(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])

    with pytest.raises(ValueError, match=r"both.safetensors: not a readable model file .* again"):
        read_about(saved)


@pytest.mark.parametrize(
    "content", [b"\xff" * 64, b"PK\x03\x04" + b"0" * 64, b"\x02" + b"\0" * 7 + b"[]"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.safetensors"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"picture.safetensors: not a readable model file"):
        read_about(path)


def test_weights_of_something_else_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, path)

    with pytest.raises(ValueError, match="but not a model of napari-followup"):
        read_about(path)


@pytest.mark.parametrize(
    "text", ["{", "[1]", "null", '{"format": "two"}', '{"format": 1, "parts": 3}']
)
def test_words_that_are_none_are_refused(saved: Path, text: str) -> None:
    with pytest.raises(ValueError, match="the description of the model cannot be read"):
        read_about(rewritten(saved, text))


def test_a_newer_format_says_what_to_do(saved: Path) -> None:
    newer = json.dumps({"format": FORMAT + 1})

    with pytest.raises(
        ValueError, match=rf"in format {FORMAT + 1}, this version reads up to 2; upd"
    ):
        read_about(rewritten(saved, newer))


def test_a_part_that_is_incomplete_is_refused(saved: Path) -> None:
    about = read_about(saved)
    del about["parts"]["tdm"]["config"], about["parts"]["tdm"]["card"]

    with pytest.raises(ValueError, match="lacks config, card"):
        read_about(rewritten(saved, json.dumps(about)))
