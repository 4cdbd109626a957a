from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from napari_followup.networks.blocks import (
    AdaGroupNorm,
    JoinedCondition,
    NumberEmbedding,
    ResidualBlock,
    SelfAttention,
    check_sides,
    sinusoids,
    zeroed,
)


def test_sinusoids_worked_by_hand() -> None:
    found = sinusoids(torch.tensor([0, 2]), 4, longest_period=100.0)

    rates = [1.0, 0.1]  # 100 ** (-0 / 2), 100 ** (-1 / 2)
    second = [math.cos(2 * r) for r in rates] + [math.sin(2 * r) for r in rates]
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0, 0.0], second]))


def test_embedding_tells_neighbouring_steps_apart() -> None:
    embedded = NumberEmbedding(16)(torch.arange(1, 1001))

    assert embedded.shape == (1000, 16)
    assert (embedded.diff(dim=0).abs().amax(dim=1) > 1e-4).all()


def test_multiples_pass() -> None:
    check_sides((16, 32), 8)


def test_other_sides_are_refused_with_the_multiple_there_is() -> None:
    with pytest.raises(ValueError, match=r"got \(16, 20\); this network takes multiples of 8"):
        check_sides((16, 20), 8)


def test_adaptive_norm_follows_equation_3_1_in_its_order() -> None:
    norm = AdaGroupNorm(8, 4, groups=2)
    h, step, code = torch.randn(3, 8, 4, 5), torch.randn(3, 16), torch.randn(3, 16)

    found = norm(h, step, code)

    t_s, t_b = step[:, :8, None, None], step[:, 8:, None, None]
    z_s, z_b = code[:, :8, None, None], code[:, 8:, None, None]
    expected = (1 + z_s) * ((1 + t_s) * F.group_norm(h, 2) + t_b) + z_b
    torch.testing.assert_close(found, expected)


def test_one_step_serves_all_images_of_a_batch() -> None:
    norm = AdaGroupNorm(8, 4, groups=2)
    h, step, code = torch.randn(3, 8, 4, 4), torch.randn(1, 16), torch.randn(3, 16)

    torch.testing.assert_close(norm(h, step, code), norm(h, step.expand(3, -1), code))


def test_a_fresh_block_is_the_way_around_it() -> None:
    x, condition = torch.randn(2, 8, 4, 6), torch.randn(2, 16)

    assert torch.equal(ResidualBlock(8, 8, 4)(x, condition, condition), x)


def test_a_block_may_change_the_width() -> None:
    condition = torch.randn(2, 32)

    assert ResidualBlock(8, 16, 4)(torch.randn(2, 8, 4, 6), condition, condition).shape == (
        2,
        16,
        4,
        6,
    )


def test_fresh_attention_changes_nothing() -> None:
    x = torch.randn(2, 8, 3, 5)

    assert torch.equal(SelfAttention(8)(x), x)


def test_attention_is_a_softmax_over_all_pixels() -> None:
    attention = SelfAttention(8)
    torch.nn.init.normal_(attention.project.weight)
    x = torch.randn(1, 8, 2, 3)

    found = attention(x)

    qkv = F.conv2d(attention.norm(x), attention.to_qkv.weight, attention.to_qkv.bias)
    query, key, value = qkv[0].flatten(1).split(8)  # (c, pixel)
    weights = torch.softmax(query.T @ key / 8**0.5, dim=1)
    mixed = (value @ weights.T).unflatten(1, (2, 3))[None]
    torch.testing.assert_close(found, x + attention.project(mixed))


def test_zeroed_layer_answers_zero() -> None:
    assert not zeroed(torch.nn.Linear(3, 2))(torch.randn(4, 3)).any()


def test_joined_condition_scales_and_shifts_by_one_map_of_step_and_code_side_by_side() -> None:
    norm = JoinedCondition(8, 4, groups=2, code_features=6)
    h, step, code = torch.randn(3, 8, 4, 5), torch.randn(3, 4), torch.randn(3, 6)

    found = norm(h, norm.from_step(step), norm.from_code(code))

    joined = norm.project(F.silu(torch.cat([step, code], dim=1)))
    gamma, beta = joined[:, :8, None, None], joined[:, 8:, None, None]
    torch.testing.assert_close(found, F.group_norm(h, 2) * (gamma + 1) + beta)


def test_joined_condition_without_a_code_goes_by_the_step_alone() -> None:
    norm = JoinedCondition(8, 4, groups=2, code_features=0)
    h, step = torch.randn(3, 8, 4, 5), torch.randn(1, 4)

    found = norm(h, norm.from_step(step), norm.from_code(torch.zeros(1, 4)))

    gamma, beta = norm.project(F.silu(step))[..., None, None].chunk(2, dim=1)
    torch.testing.assert_close(found, F.group_norm(h, 2) * (gamma + 1) + beta)
