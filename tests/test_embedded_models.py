"""The models in the package: each is whole, says where it is from, and does what it is for."""

from __future__ import annotations

import numpy as np
import pytest

import napari_followup as nf
from napari_followup.methods.table import TABLE
from napari_followup.models.catalogue import embedded, embedded_path
from napari_followup.models.verify import verify_model

MODELS = embedded()
MOST_BYTES = 60e6


def test_every_method_has_a_model_and_all_are_small_together() -> None:
    methods = {part.method for name in MODELS for part in verify_model(name)}
    sizes = [path.stat().st_size for name in MODELS if (path := embedded_path(name))]

    assert methods == set(TABLE)
    assert sum(sizes) < MOST_BYTES


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_learned_from_and_how_healthy_subjects_score(name: str) -> None:
    bundle = nf.load_bundle(name)

    assert bundle.name == name
    assert "700 training subjects" in bundle.card["about"]
    assert bundle.card["licence"].startswith("BSD-3-Clause")
    assert bundle.healthy_for(bundle.recipe.score_key)[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_finds_an_anomaly_and_leaves_the_healthy_alone(name: str) -> None:
    (subject,) = nf.synthetic.starmen(subjects=1, visits=4, seed=41_000)
    sick, truth = nf.synthetic.add_anomaly(subject, "growing_circle", seed=1)
    bundle = nf.load_bundle(name)

    found, healthy = nf.detect(sick, bundle), nf.detect(subject, bundle)

    shared = np.logical_and(found.mask, truth).sum()
    assert 2 * shared / (found.mask.sum() + truth.sum()) > 0.4
    assert healthy.mask.mean() < 0.005
    assert found.provenance["model"] == name
