from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_followup.methods.anofpdm import AnoFPDM
from napari_followup.models.files import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Own, Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.training.refining import PLANES, refined
from napari_followup.training.samples import healthy_samples
from napari_followup.training.settings import form_of

KNOWN = HealthyScores(shares=(1.0,), heights=(0.0,), maxima=(1.0,))


@pytest.fixture
def stacks() -> list[VisitStack]:
    rng = np.random.default_rng(0)
    return [VisitStack.from_array(rng.random((4, 16, 16)), subject=f"{n}") for n in range(3)]


def test_a_model_learns_its_largest_difference_and_its_healthy_similarity(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack]
) -> None:
    found = refined(tiny_anofpdm, stacks, seed=1)

    assert found.config["largest_difference"] > 0
    assert found.fingerprint == tiny_anofpdm.fingerprint
    before = tiny_anofpdm.config
    changed = {name for name in before if found.config[name] != before[name]}
    assert "largest_difference" in changed
    assert changed <= {"largest_difference", "healthy_similarity"}
    assert refined(tiny_anofpdm, stacks, seed=1).config == found.config


def test_labels_of_the_users_own_are_taken_where_there_are_any(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    measure = AnoFPDM.refined

    def record(self: AnoFPDM, planes: torch.Tensor, labels: torch.Tensor, *rest: object) -> object:
        seen.append((planes, labels))
        return measure(self, planes, labels, *rest)

    monkeypatch.setattr(AnoFPDM, "refined", record)
    refined(tiny_anofpdm, stacks, labels=[0, [0, 1, 1, 0], 0])
    all_healthy = refined(tiny_anofpdm, stacks, labels=[0, 0, 0])

    planes, labels = seen[0]
    assert labels.tolist() == [1] * 2 + [0] * 10
    form = form_of(tiny_anofpdm.build())
    known = healthy_samples(form, stacks)
    assert torch.equal(planes, known[[5, 6, 0, 1, 2, 3, 4, 7, 8, 9, 10, 11]])
    assert all_healthy.config["healthy_similarity"] is None


def test_healthy_scores_that_the_new_numbers_change_are_left_out(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack]
) -> None:
    plain, cut = Recipe(score=Own()), Recipe(score=Own(), options={"cut": (0.9, 0.98)})
    known = tiny_anofpdm.with_healthy(plain.score_key, KNOWN).with_healthy(cut.score_key, KNOWN)

    assert list(refined(known, stacks).healthy) == [plain.score_key]


def test_no_more_planes_are_looked_at_than_are_needed(
    tiny_anofpdm: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, seen = np.random.default_rng(0), []
    many = [VisitStack.from_array(rng.random((4, 16, 16)), subject=f"{n}") for n in range(40)]
    monkeypatch.setattr(
        AnoFPDM, "refined", lambda self, planes, *_: seen.append(planes) or self.config
    )

    refined(tiny_anofpdm, many)

    assert seen[0].shape == (PLANES, 1, 16, 16)


def test_other_methods_stay_as_they_are(tiny_bundle: ModelBundle, tiny_series: VisitStack) -> None:
    assert refined(tiny_bundle, [tiny_series]) is tiny_bundle
