from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.training.checkpoint import (
    LAST,
    RUN,
    Best,
    Checkpoint,
    check_out,
    go_on,
    read_checkpoint,
    refresh_norms,
    write_checkpoint,
)


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


def test_norms_of_a_method_inside_a_method_are_measured_too() -> None:
    outer, planes = nn.Module(), torch.rand(64, 1, 4, 4)
    outer.base, outer.head = Toy().eval(), nn.Linear(7, 7)
    outer.base.stages = ("encode",)

    refresh_norms(outer, planes)

    seen = outer.base.encoder[0](planes).transpose(0, 1).flatten(1)
    found = outer.base.encoder[1].running_mean
    torch.testing.assert_close(found, seen.mean(dim=1), atol=1e-5, rtol=1e-4)


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


def some(step: int = 7, best: Best | None = None) -> Checkpoint:
    return Checkpoint(
        step=step,
        seconds=1.5,
        at_once=4,
        current={"w": torch.ones(2)},
        averaged={"w": torch.zeros(2)},
        optimizer={"state": {}, "param_groups": []},
        curve={"losses": [(1, 0.5)], "validations": [], "stride": 1},
        best=best,
    )


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    best = Best(batch=5, loss=0.25, weights={"w": torch.full((2,), 0.5)})

    write_checkpoint(tmp_path / "new", some(best=best))
    found = read_checkpoint(tmp_path / "new")

    assert found is not None
    assert (found.step, found.seconds, found.at_once) == (7, 1.5, 4)
    assert found.curve == some().curve
    assert torch.equal(found.current["w"], torch.ones(2))
    assert torch.equal(found.chosen["w"], torch.full((2,), 0.5))
    assert [each.name for each in (tmp_path / "new").iterdir()] == [LAST]


def test_without_a_validation_the_last_averages_are_chosen(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, some())

    found = read_checkpoint(tmp_path)

    assert found is not None
    assert torch.equal(found.chosen["w"], torch.zeros(2))


def test_where_writing_fails_the_one_before_is_kept(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write_checkpoint(tmp_path, some())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = replace(some(8), current={"w": torch.rand(2**20)})

    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write a checkpoint .*the one before is kept"):
            write_checkpoint(tmp_path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 7
    assert [each.name for each in tmp_path.iterdir()] == [LAST]


def test_where_there_is_no_checkpoint_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)

    with pytest.raises(ValueError, match=r"last.ckpt: .* delete it to start again"):
        read_checkpoint(tmp_path)


def test_a_file_of_other_things_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / LAST)

    with pytest.raises(ValueError, match="not a checkpoint that training can go on from"):
        read_checkpoint(tmp_path)


def settings(**changes: object) -> dict[str, object]:
    return {
        "method": "sdm",
        "config": {"channels": (8, 16), "dropout": 0.1},
        "plan": {"batch": 4, "augmentation": {"flip": ()}},
        "data": "abc",
        **changes,
    }


def test_a_training_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    assert go_on(tmp_path, settings()) is False
    assert go_on(tmp_path, settings()) is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": "xyz"}, "data was 'abc' and is now 'xyz'"),
        ({"config": {"channels": (8, 32), "dropout": 0.1}}, r"config channels was \[8, 16\] and"),
        (
            {"plan": {"batch": 4, "augmentation": {"flip": ("x",)}}},
            r"plan augmentation flip was \[\] and is now \['x'\]; give the same",
        ),
        ({"config": {"channels": (8, 16)}}, "config dropout was 0.1 and is now None"),
    ],
)
def test_it_does_not_go_on_with_others_and_says_which(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    go_on(tmp_path, settings())

    with pytest.raises(ValueError, match=told):
        go_on(tmp_path, settings(**change))


def test_a_broken_note_is_named(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{")

    with pytest.raises(ValueError, match=f"{RUN}: cannot be read; delete the folder"):
        go_on(tmp_path, settings())


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b")

    assert not list((tmp_path / "a" / "b").iterdir())


def test_a_folder_that_cannot_be_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match=r"out: nothing can be written into .*give another folder"):
        check_out(tmp_path / "file" / "run")
