from __future__ import annotations

import pytest
import torch

from napari_followup.networks.unet import UNet


def tiny(**settings: object) -> UNet:
    unet = UNet(1, 1, (8, 16), features=16, code_features=12, dropout=0.0, **settings)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return unet.eval()


@pytest.mark.parametrize(("unshuffle", "size"), [(1, (6, 10)), (2, (8, 16)), (4, (8, 24))])
def test_images_come_back_in_their_own_shape(unshuffle: int, size: tuple[int, int]) -> None:
    unet = tiny(unshuffle=unshuffle)
    x = torch.randn(2, 1, *size)

    found = unet(x, unet.project_steps(torch.tensor([3])), unet.project_code(torch.randn(2, 12)))

    assert unet.multiple == 2 * unshuffle
    assert found.shape == x.shape


def test_conditions_projected_once_serve_every_image_and_step_as_their_own_would() -> None:
    unet = tiny()
    x, code = torch.randn(2, 1, 8, 8), torch.randn(2, 12)
    together = unet(x, unet.project_steps(torch.tensor([7])), unet.project_code(code))

    for index in range(2):
        alone = unet(
            x[index : index + 1],
            unet.project_steps(torch.tensor([7])),
            unet.project_code(code[index : index + 1]),
        )
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-5, rtol=1e-4)


def test_step_and_code_both_matter() -> None:
    unet = tiny()
    x, code = torch.randn(1, 1, 8, 8), torch.randn(1, 12)
    early, late = unet.project_steps(torch.tensor([1])), unet.project_steps(torch.tensor([9]))

    found = unet(x, early, unet.project_code(code))

    assert not torch.allclose(found, unet(x, late, unet.project_code(code)))
    assert not torch.allclose(found, unet(x, early, unet.project_code(-code)))


def test_a_fresh_network_predicts_zero() -> None:
    unet = UNet(1, 1, (8,), features=16, code_features=0)

    found = unet(
        torch.randn(1, 1, 4, 4), unet.project_steps(torch.tensor([1])), unet.project_code(None)
    )

    assert not found.any()


def test_a_network_without_a_code_takes_the_projection_of_zeros() -> None:
    unet = tiny()

    without = unet.project_code(None, count=2)

    zeros = [norm.from_code(torch.zeros(2, 16)) for norm in unet._norms()]
    for mine, theirs in zip(without, zeros, strict=True):
        torch.testing.assert_close(mine, theirs)
