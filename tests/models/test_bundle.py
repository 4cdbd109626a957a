from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from napari_followup.models.bundle import HealthyScores, ModelBundle, configured
from napari_followup.recipe.recipe import Recipe, Temporal

SCORES = HealthyScores(shares=(1.0, 0.1, 0.01), heights=(0.0, 0.2, 0.5), maxima=(0.3, 0.4, 0.6))


@pytest.mark.parametrize(
    ("q", "height"),
    [(0.0, 0.0), (0.9, 0.2), (0.99, 0.5), (0.999999, 0.5), (1.0, 0.5), (1 - 10**-1.5, 0.35)],
)
def test_healthy_heights_are_read_on_a_logarithmic_scale(q: float, height: float) -> None:
    assert SCORES.pixel_quantile(q) == pytest.approx(height)


def test_a_single_healthy_height_is_the_answer_to_everything() -> None:
    single = HealthyScores(shares=(1.0,), heights=(0.3,), maxima=(0.3,))

    assert single.pixel_quantile(0.5) == single.pixel_quantile(1.0) == 0.3
    assert math.isfinite(single.pixel_quantile(0.0))


def test_healthy_scores_are_the_upper_tail_of_all_subjects_together() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.float32))
    scores[0] = np.nan

    found = HealthyScores.of([scores[:4000], scores[4000:]])

    assert found.pixel_quantile(0.0) == np.nanmin(scores)
    assert found.pixel_quantile(0.9) == pytest.approx(9000, abs=60)
    assert found.pixel_quantile(0.999) == pytest.approx(9989, abs=3)
    assert found.shares[-1] * 10_000 >= 1  # no height that no pixel was seen above


def test_one_unusual_subject_does_not_move_the_line_of_the_others() -> None:
    usual = [np.full(100, 0.1, np.float32)] * 20
    unusual = np.full(100, 5.0, np.float32)

    found = HealthyScores.of([*usual, unusual])

    assert found.subject_quantile(0.9) == pytest.approx(0.1)
    assert found.subject_quantile(1.0) == pytest.approx(5.0)


def test_subjects_without_a_score_draw_no_line() -> None:
    nothing, some = np.full(4, np.nan, np.float32), np.array([1.0, 2.0], np.float32)

    assert HealthyScores.of([nothing, some]) == HealthyScores.of([some])
    with pytest.raises(ValueError, match="no pixel of the healthy subjects was examined"):
        HealthyScores.of([nothing, np.empty(0, np.float32)])


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


def test_weights_that_do_not_fit_are_refused(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(
        ValueError, match=r"'tiny': its weights do not fit its conf[^\n]{10,400}; download it again"
    ):
        replace(tiny_bundle, weights={}).build()


def test_a_configuration_of_another_version_is_refused(tiny_bundle: ModelBundle) -> None:
    newer = replace(tiny_bundle, config={**tiny_bundle.config, "wormholes": 3})

    with pytest.raises(
        ValueError, match=r"'tiny': this version cannot read its configuration: .*wormholes"
    ):
        newer.build()


def test_a_part_does_not_change_the_fingerprint_of_the_model(
    tiny_bundle: ModelBundle, tiny_both: ModelBundle
) -> None:
    assert tiny_both.fingerprint == tiny_bundle.fingerprint
    assert tiny_both.part("tdm").fingerprint != tiny_bundle.fingerprint
    assert tiny_bundle.parts == {}


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


def test_a_part_brings_its_own_parts_along(
    tiny_bundle: ModelBundle, tiny_both: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    other = replace(tiny_bundle, method="cddpm")

    joined, turned = other.with_part(tiny_both), tiny_tdm.with_part(tiny_both)

    assert list(joined.parts) == ["tdm", "sdm"]
    assert joined.part("tdm") is tiny_tdm
    assert not joined.part("sdm").parts
    assert list(turned.parts) == ["sdm"]


def test_models_of_one_method_cannot_be_parts(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(ValueError, match=r"'tiny' \(sdm\) cannot join 'tiny' \(sdm\)"):
        tiny_bundle.with_part(tiny_bundle)


def test_healthy_scores_of_other_draws_are_near_enough(tiny_tdm: ModelBundle) -> None:
    known = tiny_tdm.with_healthy(Recipe.temporal().score_key, SCORES)

    assert known.healthy_for(Recipe.temporal().score_key) == (SCORES, True)
    more = replace(Recipe.temporal(), score=Temporal(draws=4))
    assert known.healthy_for(more.score_key) == (SCORES, False)
    other = replace(Recipe.temporal(), score=Temporal(tolerance=0.0))
    assert known.healthy_for(other.score_key) == (None, False)


def test_healthy_scores_of_a_narrower_rim_are_near_enough_and_of_a_wider_one_not(
    tiny_bundle: ModelBundle,
) -> None:
    keys = [replace(Recipe(), erosion=rim).score_key for rim in range(5)]
    wide = replace(SCORES, maxima=(0.1,))
    known = tiny_bundle.with_healthy(keys[1], SCORES).with_healthy(keys[3], wide)

    assert known.healthy_for(keys[0]) == (None, False)
    assert known.healthy_for(keys[1]) == (SCORES, True)
    assert known.healthy_for(keys[2]) == (SCORES, False)
    assert known.healthy_for(keys[3]) == (wide, True)
    assert known.healthy_for(keys[4]) == (wide, False)


def test_a_method_of_a_newer_version_is_named_with_what_to_do(tiny_bundle: ModelBundle) -> None:
    foreign = replace(tiny_bundle, method="crystal")

    with pytest.raises(
        ValueError, match=r"'tiny' uses the method 'crystal', .* has .*sdm.*; update napari-foll"
    ):
        foreign.build()


def test_provenance_names_the_model_and_its_weights(tiny_bundle: ModelBundle) -> None:
    said = tiny_bundle.provenance(7, draws=2)

    assert (said["model"], said["method"], said["seed"], said["draws"]) == ("tiny", "sdm", 7, 2)
    assert said["model_fingerprint"] == tiny_bundle.fingerprint


def test_class_and_configuration_are_known_without_a_network(tiny_bundle: ModelBundle) -> None:
    kind, config = configured(replace(tiny_bundle, weights={}))

    assert (kind.__name__, config.image_size) == ("SDM", (16, 16))
    assert asdict(config) == tiny_bundle.config
    assert tiny_bundle.build().config == config


def test_the_temporal_recipe_is_named_where_a_part_can_follow_it(tiny_bundle: ModelBundle) -> None:
    part = replace(tiny_bundle, method="tdm")

    assert list(tiny_bundle.recipes) == ["default", "published"]
    assert tiny_bundle.with_part(part).recipes["temporal"] == Recipe.temporal()
    assert part.recipes["temporal"] == Recipe.temporal()
