from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.training.checkpoint import LAST, read_checkpoint, refresh_norms


class Toy(nn.Module):
    """Something with one encoder that has batch norm, and a head that takes no planes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.head = nn.Linear(7, 7)


def test_norms_are_measured_anew_with_the_weights_of_now() -> None:
    toy, planes = Toy().eval(), torch.rand(256, 1, 4, 4)
    toy.encoder[1].running_mean.fill_(9.0)

    refresh_norms(toy, planes, batch=64)

    seen = toy.encoder[0](planes).transpose(0, 1).flatten(1)
    norm = toy.encoder[1]
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, seen.var(dim=1), atol=1e-3, rtol=1e-2)
    assert norm.momentum == 0.1


def test_nothing_else_is_changed() -> None:
    toy = Toy().train()
    toy.encoder[2].eval()
    before = [parameter.clone() for parameter in toy.parameters()]

    refresh_norms(toy, torch.rand(8, 1, 4, 4))

    assert all(torch.equal(a, b) for a, b in zip(before, toy.parameters(), strict=True))
    assert toy.encoder[1].training
    assert not toy.encoder[2].training


def test_measuring_twice_is_measuring_once() -> None:
    encoder = nn.ModuleDict({"encoder": SemanticEncoder(1, 4, depth=18, width=8)})
    planes = torch.rand(130, 1, 32, 32)

    refresh_norms(encoder, planes)
    first = {name: value.clone() for name, value in encoder.state_dict().items()}
    refresh_norms(encoder, planes)

    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, first[name])


def test_read_in_evaluation_the_network_answers_as_in_training_on_the_same_planes() -> None:
    toy, planes = Toy(), torch.rand(64, 1, 4, 4)
    refresh_norms(toy, planes, batch=64)

    found: Tensor = toy.encoder.eval()(planes)

    toy.encoder[1].train()
    torch.testing.assert_close(found, toy.encoder(planes), atol=1e-3, rtol=1e-2)


def test_no_more_planes_are_read_than_needed() -> None:
    toy, seen = Toy(), []
    toy.encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))

    refresh_norms(toy, torch.rand(1000, 1, 2, 2), batch=30, most=100)

    assert sum(seen) == 100
    assert min(seen) >= 30


def test_where_there_is_no_checkpoint_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)

    with pytest.raises(ValueError, match=r"last.ckpt: .* delete it to begin anew"):
        read_checkpoint(tmp_path)


def test_a_file_of_other_things_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / LAST)

    with pytest.raises(ValueError, match="not a checkpoint that training can go on from"):
        read_checkpoint(tmp_path)
