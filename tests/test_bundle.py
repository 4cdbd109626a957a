from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_followup import catalogue
from napari_followup.bundle import FORMAT, KEY, HealthyScores, ModelBundle, load_bundle, save_bundle
from napari_followup.recipe import Recipe, Temporal

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


def test_the_network_is_made_once_and_ready_to_use(tiny_bundle: ModelBundle) -> None:
    model = tiny_bundle.build("cpu")

    assert tiny_bundle.build(torch.device("cpu")) is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_fingerprint_tells_weights_apart_counters_of_norms_included(
    tiny_bundle: ModelBundle,
) -> None:
    one = replace(tiny_bundle, weights={"counter": torch.tensor(1)})
    two = replace(tiny_bundle, weights={"counter": torch.tensor(2)})

    assert len(one.fingerprint) == 12
    assert one.fingerprint != two.fingerprint


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
        ({"config": None}, "does not say its config"),
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

    with pytest.raises(ValueError, match=r"odd.safetensors: what the model says of itself"):
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


def test_weights_that_do_not_fit_are_refused(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(ValueError, match="'tiny': its weights do not fit its configuration"):
        replace(tiny_bundle, weights={}).build()


def test_a_configuration_of_another_version_is_refused(tiny_bundle: ModelBundle) -> None:
    newer = replace(tiny_bundle, config={**tiny_bundle.config, "wormholes": 3})

    with pytest.raises(ValueError, match=r"'tiny': this version does not know it: .*wormholes"):
        newer.build()


@pytest.mark.parametrize(
    ("q", "height"),
    [(0.0, 0.0), (0.9, 0.2), (0.99, 0.5), (0.999999, 0.5), (1.0, 0.5), (1 - 10**-1.5, 0.35)],
)
def test_healthy_heights_are_read_on_a_logarithmic_scale(q: float, height: float) -> None:
    assert SCORES.height(q) == pytest.approx(height)


def test_a_single_healthy_height_is_the_answer_to_everything() -> None:
    single = HealthyScores(shares=(1.0,), heights=(0.3,), maxima=(0.3,))

    assert single.height(0.5) == single.height(1.0) == 0.3
    assert math.isfinite(single.height(0.0))


def test_healthy_scores_are_the_upper_tail_of_all_subjects_together() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.float32))
    scores[0] = np.nan

    found = HealthyScores.of([scores[:4000], scores[4000:]])

    assert found.height(0.0) == np.nanmin(scores)
    assert found.height(0.9) == pytest.approx(9000, abs=60)
    assert found.height(0.999) == pytest.approx(9989, abs=3)
    assert found.shares[-1] * 10_000 >= 1  # no height that no pixel was seen above


def test_one_unusual_subject_does_not_move_the_line_of_the_others() -> None:
    usual = [np.full(100, 0.1, np.float32)] * 20
    unusual = np.full(100, 5.0, np.float32)

    found = HealthyScores.of([*usual, unusual])

    assert found.patient_height(0.9) == pytest.approx(0.1)
    assert found.patient_height(1.0) == pytest.approx(5.0)


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


def test_a_part_does_not_change_the_fingerprint_of_the_model(
    tiny_bundle: ModelBundle, tiny_both: ModelBundle
) -> None:
    assert tiny_both.fingerprint == tiny_bundle.fingerprint
    assert tiny_both.part("tdm").fingerprint != tiny_bundle.fingerprint
    assert tiny_bundle.parts == {}


def test_only_files_with_parts_need_a_version_that_knows_parts(saved: Path, joined: Path) -> None:
    def format_of(path: Path) -> int:
        return json.loads(about_of(path)[KEY])["format"]

    assert format_of(saved) == 1
    assert format_of(joined) == FORMAT == 2


def test_a_file_written_before_there_were_parts_is_read(
    tiny_bundle: ModelBundle, saved: Path
) -> None:
    save_file(load_file(saved), saved, metadata=about_of(saved, parts=None))

    loaded = load_bundle(saved)

    assert loaded.parts == {}
    assert loaded.fingerprint == tiny_bundle.fingerprint


def test_a_part_that_does_not_say_what_it_is_is_refused(joined: Path) -> None:
    parts = json.loads(about_of(joined)[KEY])["parts"]
    del parts["tdm"]["config"]
    save_file(load_file(joined), joined, metadata=about_of(joined, parts=parts))

    with pytest.raises(ValueError, match=r"both.safetensors: the model does not say its config"):
        load_bundle(joined)


def test_parts_are_stored_in_half_precision_too(tiny_both: ModelBundle, joined: Path) -> None:
    half = save_bundle(tiny_both, joined.parent / "half.safetensors")

    assert half.stat().st_size < 0.6 * joined.stat().st_size


def test_a_part_that_is_not_there_is_named_with_what_to_do(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(
        ValueError, match=r"model 'tiny' \(sdm\) has no tdm; choose a model with one"
    ):
        tiny_bundle.part("tdm")


def test_a_part_takes_the_place_of_one_of_its_method(
    tiny_both: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    newer = replace(tiny_tdm, name="newer")

    both = tiny_both.with_part(newer)

    assert both.part("tdm") is newer
    assert tiny_both.part("tdm") is tiny_tdm


def test_models_of_one_method_and_joined_ones_cannot_be_parts(
    tiny_bundle: ModelBundle, tiny_both: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    with pytest.raises(ValueError, match=r"'tiny' \(sdm\) cannot join 'tiny' \(sdm\)"):
        tiny_bundle.with_part(tiny_bundle)
    with pytest.raises(ValueError, match="give two single models of different methods"):
        tiny_tdm.with_part(tiny_both)


def test_healthy_scores_of_other_draws_are_near_enough(tiny_tdm: ModelBundle) -> None:
    known = tiny_tdm.with_healthy(Recipe.temporal().score_key, SCORES)

    assert known.healthy_for(Recipe.temporal().score_key) == (SCORES, True)
    more = replace(Recipe.temporal(), score=Temporal(draws=4))
    assert known.healthy_for(more.score_key) == (SCORES, False)
    other = replace(Recipe.temporal(), score=Temporal(tolerance=0.0))
    assert known.healthy_for(other.score_key) == (None, False)
