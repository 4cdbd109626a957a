from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from napari_followup.methods.anoddpm import AnoDDPMConfig
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


def summed(**settings: object) -> UNet:
    unet = UNet(
        *(2, 1, (8, 16)),
        attention=(),
        features=16,
        code_features=5,
        dropout=0.0,
        summed=True,
        **settings,
    )
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return unet.eval()


def test_levels_of_two_blocks_are_those_of_the_source() -> None:
    unet = UNet(1, 1, (32, 64, 128, 256), attention=(), features=32, code_features=0, blocks=2)

    down = [(s.block.convolution.in_channels, s.block.convolution.out_channels) for s in unet.down]
    up = [(s.block.convolution.in_channels, s.block.convolution.out_channels) for s in unet.up]

    wide = [(32, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    assert down == wide
    assert up == [
        *[(256 + 256, 256), (256 + 256, 256), (256 + 128, 256)],
        *[(256 + 128, 128), (128 + 128, 128), (128 + 64, 128)],
        *[(128 + 64, 64), (64 + 64, 64), (64 + 32, 64)],
        *[(64 + 32, 32), (32 + 32, 32), (32 + 32, 32)],
    ]
    assert unet.multiple == 8


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("resampling", [False, True])
def test_any_number_of_blocks_a_level_runs(blocks: int, resampling: bool) -> None:
    unet = tiny(blocks=blocks, unshuffle=2, residual_resampling=resampling)
    x = torch.randn(2, 1, 8, 12)

    found = unet(x, unet.project_steps(torch.tensor([3])), unet.project_code(torch.randn(2, 12)))

    assert unet.multiple == 4
    assert found.shape == x.shape
    assert len(unet._norms()) == 2 * blocks + 2 + 2 * (blocks + 1) + 2 * resampling


def test_conditions_are_added_to_the_hidden_state() -> None:
    """h := h + psi1(t) + psi2(age) + psi3(gap) + z (Dang 2025, Sec. 6.2), then norm."""
    unet = summed()
    block = unet.down[0].block
    x, steps, maps = torch.randn(2, 8, 6, 6), torch.tensor([7]), torch.randn(2, 3, 6, 6)
    age, gap = torch.randn(2, 2), torch.randn(2, 2)
    code = torch.cat([maps, (age + gap)[..., None, None].expand(-1, -1, 6, 6)], dim=1)

    found = block(x, unet.project_steps(steps)[0], unet.project_maps(code)[0])

    condition = block.adaptive
    weight, bias = condition.from_code.weight[..., 0, 0], condition.from_code.bias
    z = torch.einsum("oc,bcyx->boyx", weight[:, :3], maps)
    psi_t = condition.from_step(unet.step_embedding(steps))
    psi_age, psi_gap = (numbers @ weight[:, 3:].T for numbers in (age, gap))
    h = block.convolution(F.silu(block.norm(x)))
    h = h + (psi_t + psi_age + psi_gap + bias)[..., None, None] + z
    expected = x + block.last(F.silu(condition.norm(h)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("blocks", [1, 2])
def test_every_block_gets_the_map_of_its_own_level(blocks: int) -> None:
    unet = summed(blocks=blocks, unshuffle=2)
    maps = torch.randn(1, 5, 8, 8)

    projected = unet.project_maps(maps)

    coarse = maps.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5))
    levels = [0] * blocks + [1] * (blocks + 2 + blocks + 1) + [0] * (blocks + 1)
    for norm, found, level in zip(unet._norms(), projected, levels, strict=True):
        torch.testing.assert_close(found, norm.from_code(coarse if level else maps))
    x = torch.randn(1, 2, 16, 16)
    assert unet(x, unet.project_steps(torch.tensor([1])), projected).shape == (1, 1, 16, 16)


def test_a_map_speaks_of_its_own_place() -> None:
    unet = UNet(1, 1, (8,), attention=(), features=16, code_features=1, summed=True, dropout=0.0)
    torch.nn.init.normal_(unet.down[0].block.last.weight)
    here = torch.zeros(1, 1, 16, 16)
    here[..., 2, 3] = 3.0
    h = torch.randn(1, 8, 16, 16)
    steps = unet.project_steps(torch.tensor([1]))[0]
    block = unet.down[0].block
    block.adaptive.norm = torch.nn.Identity()  # which looks at the whole plane

    change = block(h, steps, unet.project_maps(here)[0]) - block(
        h, steps, unet.project_maps(torch.zeros_like(here))[0]
    )

    changed = change.detach().abs().sum(dim=1)[0].nonzero()
    assert changed.amin(dim=0).tolist() == [1, 2]
    assert changed.amax(dim=0).tolist() == [3, 4]


def test_a_joined_code_enters_every_block_as_it_is() -> None:
    unet = tiny(joined=True)
    x, code = torch.randn(2, 1, 8, 8), torch.randn(2, 12)
    steps = unet.project_steps(torch.tensor([1]))

    projected = unet.project_code(code)

    assert unet.code_embedding is None
    for mine, norm in zip(projected, unet._norms(), strict=True):
        torch.testing.assert_close(mine, norm.from_code(code))
    assert not torch.allclose(unet(x, steps, projected), unet(x, steps, unet.project_code(-code)))


def test_a_network_is_as_a_configuration_says_or_refuses_its_image_size() -> None:
    config = AnoDDPMConfig(
        image_size=(16, 24), channels=(8, 16), blocks=2, attention=(1,), unshuffle=4
    )

    unet = UNet.of(config)

    assert unet.multiple == 8
    assert len(unet.down) == 4
    with pytest.raises(ValueError, match="got \\(16, 20\\); this network takes multiples of 8"):
        UNet.of(replace(config, image_size=(16, 20)))
