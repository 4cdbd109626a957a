from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_followup.detection.recipe_checks import model_and_options
from napari_followup.detection.score import fuse
from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import (
    Fam,
    Fusion,
    Lafm,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Score,
    Ssim,
    Support,
    Temporal,
)
from napari_followup.scores.distance import (
    combine,
    feature_distance,
    mahalanobis,
    pixel_distance,
    ssim_distance,
)
from napari_followup.scores.filters import blur, median_filter
from napari_followup.scores.temporal import fuse_over_time, support_over_time

Scorer = Callable[..., dict[str, Tensor]]


def features(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
    return [torch.cat([planes, 1 - planes], dim=1)[..., :: 2**n, :: 2**n] for n in levels]


@pytest.fixture
def visits() -> Visits:
    return Visits(images=torch.rand(3, 2, 2, 12, 10), ages=torch.tensor([60.0, 61.0, 63.0]))


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(healthy=torch.rand(4, 3, 2, 2, 12, 10), features=features)


def test_the_published_chain_is_each_of_its_functions_in_turn(
    visits: Visits, evidence: Evidence, score_series: Scorer
) -> None:
    found = score_series(visits, evidence, Recipe(score=Fam(blur=1.0), fusion=Lafm(), median=3))

    healthy = evidence.healthy.mean(dim=0)
    pixel = pixel_distance(visits.images, healthy)
    planes = [images.transpose(1, 2).flatten(0, 1) for images in (visits.images, healthy)]
    feature = feature_distance(*planes, features, (2, 3)).view(3, 2, 12, 10)
    fam = blur(combine(pixel, feature), 1.0)
    lafm = fuse_over_time(fam, visits.ages)
    assert list(found) == ["pixel", "feature", "fam", "lafm", "final"]
    torch.testing.assert_close(found["feature"], feature)
    torch.testing.assert_close(found["fam"], fam)
    torch.testing.assert_close(found["final"], median_filter(lafm, 3))


def test_the_shortest_chain_is_the_pixel_distance(
    visits: Visits, evidence: Evidence, score_series: Scorer
) -> None:
    found = score_series(visits, evidence, Recipe(score=Pixel(), fusion=None))

    assert list(found) == ["pixel", "final"]
    assert torch.equal(found["final"], found["pixel"])


@pytest.mark.parametrize(
    ("fusion", "function"), [(Lafm(), fuse_over_time), (Support(), support_over_time)]
)
def test_fusions_stand_for_their_functions(fusion: Fusion, function: object) -> None:
    scores, ages = torch.rand(3, 1, 5, 5), torch.arange(3.0)

    assert torch.equal(fuse(scores, ages, fusion), function(scores, ages))
    assert fuse(scores, ages, None) is scores


def test_fam_needs_a_method_with_features(visits: Visits, score_stages: Scorer) -> None:
    with pytest.raises(ValueError, match="FAM needs a method with features"):
        score_stages(visits, Evidence(healthy=visits.images[None]), Fam())


def test_a_score_of_differences_needs_a_healthy_image(visits: Visits, score_series: Scorer) -> None:
    with pytest.raises(ValueError, match="gives no healthy image to compare with"):
        score_series(visits, Evidence(score=torch.rand(3, 2, 12, 10)), Recipe())


def test_a_method_s_own_score_is_fused_and_filtered_like_any_other(
    visits: Visits, score_series: Scorer
) -> None:
    own = torch.rand(3, 2, 12, 10)

    recipe = Recipe(score=Own(), fusion=Lafm(), median=3, blur=1.0)
    found = score_series(visits, Evidence(score=own), recipe)

    assert list(found) == ["own", "lafm", "final"]
    assert torch.equal(found["own"], own)
    filtered = median_filter(fuse_over_time(own, visits.ages), 3)
    torch.testing.assert_close(found["final"], blur(filtered, 1.0))


def test_a_method_s_own_score_stands_beside_the_pixel_distance_where_it_reconstructs(
    visits: Visits, evidence: Evidence, score_stages: Scorer
) -> None:
    own = torch.rand(3, 2, 12, 10)

    found = score_stages(visits, Evidence(healthy=evidence.healthy, score=own), Own())

    assert list(found) == ["pixel", "own"]
    assert torch.equal(found["pixel"], pixel_distance(visits.images, evidence.healthy.mean(dim=0)))


def test_a_method_without_a_score_of_its_own_says_so(
    visits: Visits, evidence: Evidence, score_stages: Scorer
) -> None:
    with pytest.raises(ValueError, match="brings no score of its own"):
        score_stages(visits, evidence, Own())


def test_the_temporal_residual_is_the_pixel_distance_with_its_tolerance(
    visits: Visits, evidence: Evidence, score_series: Scorer
) -> None:
    found = score_series(visits, evidence, Recipe(score=Temporal(tolerance=1.5)))

    healthy = evidence.healthy.mean(dim=0)
    assert list(found) == ["pixel", "temporal", "final"]
    assert torch.equal(found["pixel"], pixel_distance(visits.images, healthy))
    assert torch.equal(found["temporal"], pixel_distance(visits.images, healthy, tolerance=1.5))
    assert torch.equal(found["final"], found["temporal"])


def test_the_temporal_residual_asks_the_temporal_model(
    tiny_both: ModelBundle, tiny_bundle: ModelBundle
) -> None:
    options = {"noise_levels": (10,)}
    usual = Recipe(options=options)
    temporal = Recipe(options=options, score=Temporal(draws=2))

    assert model_and_options(tiny_both, usual) == (tiny_both, options)
    assert model_and_options(tiny_both, temporal) == (tiny_both.part("tdm"), {"draws": 2})
    with pytest.raises(ValueError, match="has no tdm"):
        model_and_options(tiny_bundle, temporal)


def test_the_structural_distance_is_that_of_the_mean_draw(
    visits: Visits, evidence: Evidence, score_stages: Scorer
) -> None:
    found = score_stages(visits, evidence, Ssim(sigmas=(0.5, 1.5)))

    healthy = evidence.healthy.mean(dim=0)
    assert list(found) == ["pixel", "ssim"]
    torch.testing.assert_close(
        found["ssim"], ssim_distance(visits.images, healthy, sigmas=(0.5, 1.5))
    )


@pytest.mark.parametrize("full", [True, False])
def test_the_mahalanobis_distance_is_blurred_and_then_multiplied(
    visits: Visits, evidence: Evidence, full: bool, score_stages: Scorer
) -> None:
    found = score_stages(visits, evidence, Mahalanobis(full=full, ridge=0.01))
    alone = score_stages(
        visits, evidence, Mahalanobis(full=full, ridge=0.01, blur=0.0, with_ssim=False)
    )

    distance = mahalanobis(visits.images, evidence.healthy, full=full, ridge=0.01)
    structure = ssim_distance(visits.images, evidence.healthy.mean(dim=0), sigmas=(1.0,))
    assert list(found) == ["pixel", "mahalanobis", "ssim", "mahalanobis_ssim"]
    torch.testing.assert_close(found["mahalanobis_ssim"], blur(distance, 1.0) * structure)
    assert list(alone) == ["pixel", "mahalanobis"]
    torch.testing.assert_close(alone["mahalanobis"], distance)


def test_the_mahalanobis_distance_needs_draws_that_differ(
    visits: Visits, score_stages: Scorer
) -> None:
    one = Evidence(healthy=visits.images[None])

    with pytest.raises(ValueError, match="needs two or more, ten as published: set draws"):
        score_stages(visits, one, Mahalanobis())


@pytest.mark.parametrize(
    "score", [Pixel(tolerance=2.0), Temporal(), Ssim(), Mahalanobis(), Mahalanobis(full=False)]
)
def test_a_score_does_not_depend_on_the_range_the_model_takes_grey_values_in(
    score: Score, visits: Visits, evidence: Evidence, score_stages: Scorer
) -> None:
    signed = Visits(images=2 * visits.images - 1, ages=visits.ages, value_range=(-1.0, 1.0))
    assert evidence.healthy is not None

    found = score_stages(signed, Evidence(healthy=2 * evidence.healthy - 1), score)

    expected = score_stages(visits, evidence, score)
    assert list(found) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-4)


def test_the_pixel_stage_beside_a_score_of_its_own_is_in_the_same_unit(
    visits: Visits, score_stages: Scorer
) -> None:
    signed = Visits(images=2 * visits.images - 1, ages=visits.ages, value_range=(-1.0, 1.0))
    own = torch.rand(3, 2, 12, 10)

    found = score_stages(
        signed, Evidence(healthy=-torch.ones(1, 3, 2, 2, 12, 10), score=own), Own()
    )

    torch.testing.assert_close(found["pixel"], visits.images.mean(dim=1), atol=1e-6, rtol=1e-5)
    assert torch.equal(found["own"], own)
