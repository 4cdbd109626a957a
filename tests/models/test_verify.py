from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_followup.models import verify
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.models.header import DIGEST, KEY
from napari_followup.models.verify import verify_model


@pytest.fixture
def both(tiny_both: ModelBundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_both, tmp_path / "both.safetensors")


def about_of(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as file:
        about: dict[str, object] = json.loads(file.metadata()[KEY])
    return about


def test_a_sound_model_and_its_parts_run(both: Path) -> None:
    own, part = verify_model(both)

    assert (own.name, own.method, own.is_as_stored) == ("tiny", "sdm", True)
    assert (part.name, part.method, part.is_as_stored) == ("tiny-tdm", "tdm", True)
    assert own.fingerprint == load_bundle(both).fingerprint
    assert own.seconds > 0


@pytest.mark.parametrize("of", ["unet.", "tdm/"])
def test_changed_weights_are_found(both: Path, of: str) -> None:
    weights = load_file(both)
    name = next(name for name in weights if name.startswith(of) and weights[name].ndim > 1)
    weights[name] = weights[name] + 1
    save_file(weights, both, metadata={KEY: json.dumps(about_of(both))})

    with pytest.raises(
        ValueError, match=r"fingerprint of its weights is .*, the file says .*again"
    ):
        verify_model(both)


def test_a_file_without_fingerprint_is_said_to_have_none(both: Path) -> None:
    missing = ("fingerprint", DIGEST)
    about = {name: value for name, value in about_of(both).items() if name not in missing}
    save_file(load_file(both), both, metadata={KEY: json.dumps(about)})

    own, part = verify_model(both)

    assert not own.is_as_stored
    assert part.is_as_stored


def test_weights_that_do_not_fit_are_found(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_bundle(replace(tiny_bundle, weights={"w": torch.zeros(1)}), path)

    with pytest.raises(ValueError, match="its weights do not fit its configuration"):
        verify_model(path)


def test_values_that_are_not_finite_are_found(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    extreme = {
        name: torch.full_like(values, 3e38) if values.is_floating_point() else values
        for name, values in tiny_bundle.weights.items()
    }
    bundle = replace(tiny_bundle, weights=extreme)
    path = save_bundle(bundle, tmp_path / "nan.safetensors", half=False)

    with pytest.raises(
        ValueError, match=r"'tiny' \(sdm\): its network gives values that are not fi"
    ):
        verify_model(path)


def test_a_method_of_many_calls_is_stopped(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    stop = verify._stop_in_time
    monkeypatch.setattr(verify, "CALLS", 1)
    monkeypatch.setattr(
        verify, "_stop_in_time", lambda done, total: calls.append(done) or stop(done, total)
    )

    assert len(verify_model(both)) == 2
    assert calls == [1, 1]


def test_a_missing_model_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no model 'nowhere'"):
        verify_model("nowhere")
