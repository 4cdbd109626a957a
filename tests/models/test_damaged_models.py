"""Models whose file was damaged, by accident or not: a clear error, or the model as it was."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from napari_followup.cli import main
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.models.catalogue import entries
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.models.folder import install_model
from napari_followup.models.header import DIGEST, KEY, read_about

NAN = float("nan")
SCORES = HealthyScores(shares=(1.0, 0.1, 0.01), heights=(0.0, 0.2, 0.5), maxima=(0.3, 0.4, 0.6))


@pytest.fixture
def saved(tiny_bundle: ModelBundle, tmp_path: Path) -> Path:
    bundle = tiny_bundle.with_healthy("{}", SCORES)
    return save_bundle(bundle, tmp_path / "tiny.safetensors")


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same weights under a changed description."""
    about = read_about(path)
    del about[DIGEST]  # as in files of earlier versions, and in those that someone made up
    change(about)
    save_file(load_file(path), path, metadata={KEY: json.dumps(about)})
    return path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda a: a.update(card=None), "card is not a table"),
        (lambda a: a.update(name=7), "name is not text"),
        (lambda a: a.update(method=["sdm"]), "method is not text"),
        (lambda a: a.update(healthy=[1]), "healthy is not a table"),
        (lambda a: a["config"].update(steps=10**9), "steps is 1000000000, beyond 100000"),
        (lambda a: a["config"].update(dropout=NAN), "dropout is nan"),
        (lambda a: a["config"].update(image_size=[16, 10**5]), "image_size is"),
        (lambda a: a["config"].update(image_size=16), "image_size is 16"),
        (lambda a: a["config"].update(value_range=[1.0, 0.0]), "value_range is"),
        (lambda a: a["config"].update(modalities=True), "modalities is True"),
        (lambda a: a["config"].update(channels=[8] * 200_000), "channels has 200000 values"),
        (lambda a: a["config"].update(blocks=5000), "blocks is 5000, for"),
        (lambda a: a["healthy"].update(x={"shares": [1.0]}), "healthy scores without"),
        (lambda a: a["healthy"]["{}"].update(maxima="high"), "not lists of numbers"),
    ],
)
def test_a_description_beyond_reason_is_refused_before_any_weight_is_read(
    saved: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"tiny.safetensors: .*damaged .*{problem}.*again"):
        read_about(changed(saved, change))


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ({"maxima": [NAN]}, "maxima hold values that are no scores"),
        ({"heights": [0.0, 0.2, 1e308]}, "heights hold values that are no scores"),
        ({"heights": [0.5, 0.2, 0.0]}, "rising while"),
        ({"shares": [1.0, 1.0, 0.5]}, "rising while"),
        ({"shares": [1.0, 0.1]}, "rising while"),
        ({"maxima": [0.4, 0.3]}, "rising while"),
        ({"maxima": []}, "no maxima"),
    ],
)
def test_healthy_scores_that_can_be_none_are_refused(
    saved: Path, scores: dict[str, list[float]], problem: str
) -> None:
    path = changed(saved, lambda about: about["healthy"]["{}"].update(scores))

    with pytest.raises(ValueError, match=f"tiny.safetensors: healthy scores: .*{problem}"):
        load_bundle(path)


def test_weights_are_compared_with_their_fingerprint_when_a_model_is_loaded_and_installed(
    saved: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(saved.read_bytes())
    content[-40] ^= 0x10
    saved.write_bytes(content)

    with pytest.raises(ValueError, match=r"fingerprint of its weights .* changed or damaged"):
        load_bundle(saved)
    assert main(["bundle", "install", str(saved)]) != 0
    assert "changed or damaged" in capsys.readouterr().err
    assert not list(model_folder.glob("*"))


def test_weights_that_are_not_finite_are_refused(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    weights = {name: values * NAN for name, values in tiny_bundle.weights.items()}
    bundle = ModelBundle(
        name="odd", method="sdm", config=tiny_bundle.config, weights=weights, card={}
    )
    path = save_bundle(bundle, tmp_path / "odd.safetensors")

    with pytest.raises(ValueError, match=r"odd.safetensors \(sdm\): weights that are not finite"):
        load_bundle(path)


def test_a_configuration_takes_no_memory_before_the_weights_were_found_to_fit(saved: Path) -> None:
    path = changed(saved, lambda about: about["config"].update(channels=[65536, 65536]))
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(ValueError, match="its weights do not fit its configuration"):
        load_bundle(path).build()

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


@pytest.mark.parametrize("kind", ["pipe", "damaged"])
def test_one_bad_file_keeps_nobody_from_the_other_models(
    saved: Path, model_folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install_model(saved, name="good")
    bad = model_folder / "bad.safetensors"
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no pipes with a name")
        os.mkfifo(bad)
    else:
        bad.write_bytes(changed(saved, lambda about: about.update(card=None)).read_bytes())

    found = {entry.name: entry.problem for entry in entries()}

    assert found["good"] == ""
    assert found["bad"]
    assert main(["bundle", "list"]) == 0
    assert "good" in capsys.readouterr().out


def loaded(path: Path) -> str | None:
    """Fingerprint of a model that loads and builds, nothing where it is refused."""
    try:
        bundle = load_bundle(path)
        bundle.build()
    except ValueError:
        return None
    return bundle.fingerprint


def test_a_description_that_was_changed_is_refused(saved: Path) -> None:
    about, weights = read_about(saved), load_file(saved)
    about["config"]["steps"] = 19
    save_file(weights, saved, metadata={KEY: json.dumps(about)})

    with pytest.raises(ValueError, match="description was changed or damaged"):
        load_bundle(saved)


def mutations(about: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The description with one value, anywhere in it, replaced by something else."""
    about = copy.deepcopy(about)
    place: Any = about
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        if isinstance(place[key], dict | list) and len(place[key]) and chance.random() < 0.8:
            place = place[key]
            continue
        odd = [None, -1, 0, 1, 3, 10**6, 10**12, 1e300, NAN, "", "x" * 50, [], {}, [[[]]], True]
        place[key] = chance.choice(odd)
        return about


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_description_is_refused_or_builds_what_was_saved(saved: Path, seed: int) -> None:
    chance = random.Random(seed)
    about, weights = read_about(saved), load_file(saved)
    del about[DIGEST]
    sound = load_bundle(saved).fingerprint
    for number in range(40):
        path = saved.with_name(f"mutant-{number}.safetensors")
        save_file(weights, path, metadata={KEY: json.dumps(mutations(about, chance))})
        assert loaded(path) in (None, sound)
        path.unlink()


@pytest.mark.parametrize("seed", range(10))
def test_a_file_with_changed_bytes_is_refused_or_is_what_was_saved(saved: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = saved.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    sound = load_bundle(saved).fingerprint
    for number in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 3, 20])):
            most = header if chance.random() < 0.6 else len(content)
            damaged[chance.randrange(most)] ^= 1 << chance.randrange(8)
        path = saved.with_name(f"mutant-{number}.safetensors")
        path.write_bytes(damaged if chance.random() < 0.8 else damaged[: chance.randrange(header)])
        assert loaded(path) in (None, sound)
        path.unlink()
