from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_followup.device import (
    choose_device,
    fast_networks,
    halving,
    inference,
    placed_well,
    planes_at_once,
)

CPU_IS_FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
)


def test_auto_takes_a_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["toaster", "meta", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"got '{name}'; give 'auto', 'cpu' or 'cuda'"):
        choose_device(name)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU; take 'auto' or 'cpu'"):
        choose_device("cuda")


def test_inference_has_no_gradients_and_leaves_none_behind() -> None:
    weight = torch.ones(1, requires_grad=True)

    with inference(torch.device("cpu")):
        assert not (weight * 2).requires_grad

    assert torch.is_grad_enabled()


def test_networks_on_the_cpu_stay_in_float32() -> None:
    with fast_networks(torch.device("cpu")):
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.float32


def test_larger_planes_are_fewer_at_once() -> None:
    cpu = torch.device("cpu")

    assert planes_at_once(cpu, (64, 64)) == 4 * planes_at_once(cpu, (128, 128))
    assert planes_at_once(cpu, (16, 16)) == planes_at_once(cpu, (64, 64))
    assert planes_at_once(cpu, (10_000, 10_000)) == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), CPU_IS_FULL]
)
def test_half_as_many_are_tried_each_time_memory_runs_out(error: Exception) -> None:
    tried = []

    def compute(count: int) -> str:
        tried.append(count)
        if count > 3:
            raise error
        return "done"

    assert halving(compute, 25) == "done"
    assert tried == [25, 12, 6, 3]


def test_when_not_even_one_fits_it_says_so() -> None:
    def compute(count: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError, match="not even one plane fits into memory"):
        halving(compute, 4)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def compute(count: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        halving(compute, 4)


def test_planar_networks_are_laid_out_with_channels_last_and_others_left_alone() -> None:
    flat, deep = placed_well(nn.Conv2d(4, 4, 3)), placed_well(nn.Conv3d(4, 4, 3))

    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert deep.weight.is_contiguous()
