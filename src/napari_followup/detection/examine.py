"""Run a method on the planes of a series: what detection, evaluation and training begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_followup.device import fast_networks, halving
from napari_followup.methods.method import Evidence, Features, Visits
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.results import Cancelled

if TYPE_CHECKING:
    from napari_followup.detection.planewise import Part

__all__ = ["OnStep", "counting", "examined_planes", "lent_features"]

OnStep = Callable[[int, int], "bool | None"]


def examined_planes(
    slab: Callable[[slice], Visits],
    planes: Sequence[int],
    bundle: ModelBundle,
    options: Any,
    device: torch.device,
    seed: int,
    on_step: OnStep | None = None,
) -> Iterator[Part]:
    """Find the evidence of one plane after another.

    Methods lay out planes and draw noise each in its own way: one plane at a time is what keeps a
    plane's noise, and its result, the same whichever others are examined.

    Parameters
    ----------
    slab
        Gives the visits of some of the planes, by their place among them.
    planes
        Their positions in the volume.
    bundle
        The model.
    options
        Of the method's ``options_type``, see `recipe_checks.options_of`.
    device
        Where to compute.
    seed
        Source of all noise: a plane's depends on it and on the plane's position in the volume.
    on_step
        Called with the network calls done and to do; return False to stop.

    Yields
    ------
    Part
        Of one plane, or of all where the method looks at volumes.

    Raises
    ------
    Cancelled
        If `on_step` returned False.
    """
    method = bundle.build(device)
    count = len(planes) if method.samples == "volumes" else 1  # which are one sample each
    starts = range(0, len(planes), count)
    for index, place in enumerate(starts):
        here = slice(place, place + count)
        visits = slab(here)
        generator = torch.Generator().manual_seed(seed + planes[place])
        counted = counting(on_step, index, len(starts))
        examined = partial(method.examine, visits, options, generator, counted)
        with fast_networks(device):  # left before the scores are made, which stay in float32
            evidence = _or_too_large(examined)
        if evidence.features is None:
            evidence = replace(evidence, features=lent_features(bundle))
        yield here, visits, evidence


def lent_features(bundle: ModelBundle) -> Features | None:
    """Features of the SDM beside a model, by which FAM can compare any method's healthy images.

    Parameters
    ----------
    bundle
        The model and its parts.

    Returns
    -------
    callable or None
        Takes planes in the range of `bundle`; none where there is no SDM among the parts.
    """
    if "sdm" not in bundle.parts:
        return None
    sdm = bundle.part("sdm")
    (low, high), (first, last) = bundle.value_range, sdm.value_range

    def features(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        found: list[Tensor] = sdm.build(planes.device).examine_features(
            first + (planes - low) * ((last - first) / (high - low)), levels
        )
        return found

    return features


def counting(on_step: OnStep | None, index: int, parts: int) -> Callable[[int, int], None]:
    """Make an `on_step` for one of several parts that counts over all and raises to stop.

    Parameters
    ----------
    on_step
        Called with the calls done and to do over all parts; return False to stop.
    index, parts
        Which of how many parts of equal length.

    Returns
    -------
    callable
        Takes the calls done and to do in this part; raises `Cancelled`.
    """

    def step(done: int, total: int) -> None:
        if on_step is not None and on_step(index * total + done, parts * total) is False:
            raise Cancelled("stopped before the end")

    return step


def _or_too_large(examined: Callable[[], Evidence]) -> Evidence:
    return halving(lambda _: examined(), 1)
