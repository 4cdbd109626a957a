from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_followup.models import catalogue
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.models.folder import file_hash
from napari_followup.models.header import FORMAT, KEY
from napari_followup.recipe.recipe import Recipe

SCORES = HealthyScores(shares=(1.0, 0.1, 0.01), heights=(0.0, 0.2, 0.5), maxima=(0.3, 0.4, 0.6))


def about_of(path: Path, **changes: object) -> dict[str, str]:
    """Metadata of a bundle file with some of what it says changed."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()[KEY]) | changes
    return {KEY: json.dumps({name: value for name, value in about.items() if value is not None})}


@pytest.fixture
def saved(tiny_bundle: ModelBundle, tmp_path: Path) -> Path:
    known = replace(tiny_bundle.with_healthy("key", SCORES), card={"licence": "BSD-3-Clause"})
    return save_bundle(known, tmp_path / "new" / "tiny.safetensors", half=False)


def test_a_bundle_comes_back_as_it_was_saved(tiny_bundle: ModelBundle, saved: Path) -> None:
    loaded = load_bundle(saved)

    assert (loaded.name, loaded.method, loaded.version) == ("tiny", "sdm", "1")
    assert loaded.healthy == {"key": SCORES}
    assert loaded.card == {"licence": "BSD-3-Clause"}
    assert loaded.image_size == (16, 16)
    assert loaded.value_range == (0.0, 1.0)
    assert loaded.modalities == 1
    assert loaded.fingerprint == tiny_bundle.fingerprint
    assert repr(loaded) == f"ModelBundle('tiny', sdm, version 1, 16 x 16, {loaded.fingerprint})"
    assert loaded.build().config == tiny_bundle.build().config
    assert [path.name for path in saved.parent.iterdir()] == ["tiny.safetensors"]


def test_half_precision_halves_the_file_and_hardly_moves_the_weights(
    tiny_bundle: ModelBundle, saved: Path
) -> None:
    half = save_bundle(tiny_bundle, saved.parent / "half.safetensors")

    assert half.stat().st_size < 0.6 * saved.stat().st_size
    for name, weights in load_bundle(half).build().state_dict().items():
        assert weights.dtype == tiny_bundle.weights[name].dtype
        torch.testing.assert_close(weights, tiny_bundle.weights[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [0, 6, 500, 20_000])
def test_a_truncated_file_is_named(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])

    with pytest.raises(ValueError, match=r"tiny.safetensors: not a readable model file .* again"):
        load_bundle(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_foreign_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata=metadata)

    with pytest.raises(ValueError, match="but not a model of napari-followup"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": FORMAT + 1}, f"written in format {FORMAT + 1}, .* update napari-followup"),
        ({"format": None}, "cannot be read"),
        ({"config": None}, "lacks config"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(
    saved: Path, changes: dict[str, object], problem: str
) -> None:
    save_file(load_file(saved), saved, metadata=about_of(saved, **changes))

    with pytest.raises(ValueError, match=problem):
        load_bundle(saved)


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_unreadable_metadata_is_refused(tmp_path: Path, text: str) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata={KEY: text})

    with pytest.raises(ValueError, match=r"odd.safetensors: the description of the model"):
        load_bundle(tmp_path / "odd.safetensors")


def test_a_missing_model_is_named_with_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'nowhere': give a .safetensors file"):
        load_bundle("nowhere")
    with pytest.raises(FileNotFoundError, match="no model"):
        load_bundle(tmp_path)


def test_an_address_without_a_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="add '#sha256:<hash>'"):
        load_bundle("https://example.org/model.safetensors")


def test_embedded_models_are_found_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", saved.parent)

    assert catalogue.embedded() == ["tiny"]
    assert catalogue.embedded_path("../tiny") is None
    assert load_bundle("tiny").name == "tiny"


@pytest.fixture
def joined(tiny_both: ModelBundle, tmp_path: Path) -> Path:
    part = tiny_both.part("tdm").with_healthy("its key", SCORES)
    both = replace(tiny_both.with_healthy("key", SCORES), card={"about": "both"})
    return save_bundle(both.with_part(part), tmp_path / "both.safetensors", half=False)


def test_a_bundle_comes_back_with_its_parts(tiny_both: ModelBundle, joined: Path) -> None:
    loaded = load_bundle(joined)

    part, own = loaded.part("tdm"), tiny_both.part("tdm")
    assert loaded.part("sdm") is loaded
    assert list(loaded.parts) == ["tdm"]
    assert (part.name, part.method, part.version) == ("tiny-tdm", "tdm", "1")
    assert part.healthy == {"its key": SCORES}
    assert loaded.healthy == {"key": SCORES}
    assert (loaded.card, part.card) == ({"about": "both"}, {})
    assert loaded.fingerprint == tiny_both.fingerprint
    assert part.fingerprint == own.fingerprint
    assert set(loaded.weights) == set(tiny_both.weights)
    assert part.build().config == own.build().config
    for name, values in own.build().state_dict().items():
        assert torch.equal(values, part.build().state_dict()[name])
    assert repr(loaded).endswith(f"{loaded.fingerprint}, with tdm)")


def test_only_files_with_parts_need_a_version_that_knows_parts(saved: Path, joined: Path) -> None:
    def format_of(path: Path) -> int:
        return json.loads(about_of(path)[KEY])["format"]

    assert format_of(saved) == 1
    assert format_of(joined) == FORMAT == 2


def test_a_file_written_before_there_were_parts_is_read(
    tiny_bundle: ModelBundle, saved: Path
) -> None:
    save_file(
        load_file(saved), saved, metadata=about_of(saved, parts=None, description_digest=None)
    )

    loaded = load_bundle(saved)

    assert loaded.parts == {}
    assert loaded.fingerprint == tiny_bundle.fingerprint


def test_a_part_that_does_not_say_what_it_is_is_refused(joined: Path) -> None:
    parts = json.loads(about_of(joined)[KEY])["parts"]
    del parts["tdm"]["config"]
    save_file(load_file(joined), joined, metadata=about_of(joined, parts=parts))

    with pytest.raises(ValueError, match=r"both.safetensors: the model's description lacks config"):
        load_bundle(joined)


def test_parts_are_stored_in_half_precision_too(tiny_both: ModelBundle, joined: Path) -> None:
    half = save_bundle(tiny_both, joined.parent / "half.safetensors")

    assert half.stat().st_size < 0.6 * joined.stat().st_size


def test_installed_models_are_found_by_name_after_embedded_ones(
    saved: Path, tiny_tdm: ModelBundle, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", saved.parent)
    save_bundle(tiny_tdm, model_folder / "mine.safetensors")
    save_bundle(tiny_tdm, model_folder / "tiny.safetensors")

    assert load_bundle("mine").method == "tdm"
    assert load_bundle("tiny").method == "sdm"
    with pytest.raises(FileNotFoundError, match=r"one of tiny, mine \(embedded, or in .*folder\)"):
        load_bundle("yours")


def test_an_address_with_its_hash_is_fetched_once(
    tiny_bundle: ModelBundle, web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    file = save_bundle(tiny_bundle, web.folder / "far.safetensors")
    source = f"{web.address}/far.safetensors#sha256:{file_hash(file)}"

    first, second = load_bundle(source), load_bundle(source)

    assert first.fingerprint == second.fingerprint == load_bundle(file).fingerprint
    assert web.asked == ["/far.safetensors"]


def test_a_recipe_of_its_own_goes_into_the_file(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    own = Recipe(options={"noise_levels": (10, 20)}, median=3)

    path = save_bundle(replace(tiny_bundle, own_recipe=own), tmp_path / "own.safetensors")

    assert load_bundle(path).recipe == own
    assert load_bundle(path).name_of(own) == "default"
    assert load_bundle(path).name_of(replace(own, median=5)) == ""
    assert tiny_bundle.recipe == Recipe.default()
