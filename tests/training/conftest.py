"""A method that learns in no time and has all that makes resuming hard, and small cohorts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_followup.series.stack import VisitStack

TINY = {
    "image_size": (16, 16),
    "channels": (8, 16),
    "attention": (1,),
    "unshuffle": 2,
    "condition_features": 16,
    "code_features": 16,
    "dropout": 0.1,
    "encoder_width": 8,
    "encoder_grid": 1,
    "adaptation_levels": (5, 10),
    "adaptation_steps": 2,
}


class Toy(nn.Module):
    """A method of two parts, with dropout and batch norm."""

    stages = ("first", "second")
    samples = "planes"

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(value_range=(0.0, 1.0))
        torch.manual_seed(3)
        self.trained = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)
        )
        self.kept = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5))
        self.modes: set[tuple[bool, bool]] = set()
        self.sizes: list[int] = []

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        return (self.trained,)

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        self.modes.add((self.trained.training, self.kept.training))
        self.sizes.append(len(images))
        noise = torch.randn(images.shape, generator=generator)
        return (self.trained(images + noise) - self.kept(images)).square().mean()


@pytest.fixture
def toy() -> type[Toy]:
    return Toy


@pytest.fixture
def tiny_settings() -> dict[str, Any]:
    """Fields that make the compact SDM tiny."""
    return dict(TINY)


@pytest.fixture
def planes() -> tuple[Tensor, Tensor]:
    return torch.rand(40, 1, 8, 8), torch.rand(6, 1, 8, 8)


@pytest.fixture
def cohort() -> list[VisitStack]:
    """Three subjects of two visits."""
    return VisitStack.from_cohort(np.random.default_rng(0).random((3, 2, 16, 16)))
