from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.denoising import DenoisingConfig
from napari_followup.diffusion.levels import check_levels, denoiser, from_levels
from napari_followup.diffusion.schedule import linear_schedule

ABARS = linear_schedule(50)


def test_a_level_beyond_the_schedule_is_refused() -> None:
    check_levels((1, 50), 50)
    with pytest.raises(ValueError, match="got \\(51,\\), this model knows steps 1 to 50"):
        check_levels((51,), 50)


def test_reconstructions_stand_side_by_side_levels_first() -> None:
    made: list[int] = []

    def decoded(level: int) -> Tensor:
        made.append(level)
        return torch.full((2, 1, 3, 3), float(10 * level + len(made)))

    found = from_levels(decoded, (4, 7), 2)

    assert found.shape == (4, 2, 1, 3, 3)
    assert found[:, 0, 0, 0, 0].tolist() == [41.0, 42.0, 73.0, 74.0]


@pytest.mark.parametrize("prediction", ["clean", "noise"])
def test_a_bound_network_answers_with_clean_planes_in_the_value_range(prediction: str) -> None:
    planes, noise, told = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4), []
    abar = ABARS[9].float()
    noised = abar.sqrt() * planes + (1 - abar).sqrt() * noise
    asked: list[object] = []

    def network(x: Tensor, step: Tensor, code: list[Tensor]) -> Tensor:
        asked.append((x, step.tolist(), code))
        return 3 * planes if prediction == "clean" else noise

    network.project_steps = lambda steps: steps  # type: ignore[attr-defined]
    config = DenoisingConfig(prediction=prediction, steps=50)

    denoise = denoiser(network, [], ABARS, config, lambda: told.append(1), lambda x: 2 * x)
    found = denoise(noised, 9)

    expected = (3 * planes).clamp(0, 1) if prediction == "clean" else planes
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    (seen, step, code) = asked[0]
    assert torch.equal(seen, 2 * noised)
    assert (step, code, told) == ([9], [], [1])
