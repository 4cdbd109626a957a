"""Scale and resample a series for a model, and run the model's method on its planes.

`Prepared` gives the planes of a series as tensors in the model's range and size, and takes results
back: intensities are scaled per modality and series, planes are resampled, missing visits are left
out. `Examiner` runs the model's method on such planes. Pure functions of slabs; `stream.prepare`
makes a `Prepared` from a series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.device import fast_networks, halving
from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.bundle import ModelBundle
from napari_followup.scores.distance import Features
from napari_followup.scores.filters import resize_planes
from napari_followup.series.intensity import Scaling
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.stack import VisitStack

__all__ = [
    "Examiner",
    "Prepared",
    "check_contrast",
    "check_series",
    "check_types",
    "fit_notes",
    "visit_notes",
    "visits_of",
]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A series in a model's range and size, and the way back.

    Volumes are turned so that the planes which the model sees come first: (plane, row, column).
    """

    stack: VisitStack
    images: NDArray[Any]  # those of the stack; lazy ones have been read
    slicing: Slicing
    image_size: tuple[int, int]
    device: torch.device
    scalings: tuple[Scaling, ...]  # one a modality
    fit_notes: tuple[str, ...]  # what was done to make it fit
    visit_notes: tuple[str, ...]  # which visits could not be used
    in_use: NDArray[np.bool_]  # (visit,): observed, and where asked for imputed ones

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the series was read."""
        return (*self.fit_notes, *self.visit_notes)

    @property
    def observed(self) -> NDArray[np.intp]:
        """Positions of the observed visits in the stack."""
        return np.flatnonzero(self.stack.is_observed)

    @property
    def taken(self) -> slice:
        """Positions of the planes that are examined, along the slicing's axis."""
        return self.slicing.of(self.stack)

    @cached_property
    def planes(self) -> range:
        """Positions as `taken`, one by one."""
        return range(self.grid[0])[self.taken]

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """Size of a visit, turned: all planes, rows and columns."""
        depth, height, width = self._turned.shape[2:]
        return depth, height, width

    @cached_property
    def ages(self) -> Tensor:
        """``(visit in use,)`` years."""
        return torch.from_numpy(self.stack.ages[self.in_use]).to(self.device)

    @cached_property
    def visits(self) -> Visits:
        """All planes that are examined, of the visits in use; for series that fit into memory."""
        return self.slab(slice(None))

    @property
    def voxel(self) -> float:
        """Size of a pixel in mm² of a planar series, of a voxel in mm³ of others; 1 without mm."""
        if self.stack.unit != "mm":
            return 1.0
        z, y, x = self.stack.spacing
        return y * x if self.stack.shape[2] == 1 else z * y * x * self.slicing.step

    @property
    def about_planes(self) -> dict[str, Any]:
        """Which planes were examined, for a provenance; nothing where all of them were."""
        return {} if self.slicing.is_whole else {"planes": self.slicing.as_dict(self.stack)}

    def slab(self, places: slice) -> Visits:
        """Read some planes of the visits in use.

        Parameters
        ----------
        places
            Which of `planes`.

        Returns
        -------
        Visits
            In the model's range and size, on the device.
        """
        own = self.own(places)[self.in_use]
        images = _tensor(own, self.scalings, self.image_size, self.device)
        return Visits(images=images, ages=self.ages, value_range=self.scalings[0].range)

    def own(self, places: slice) -> NDArray[Any]:
        """(visit, modality, plane, row, column): some of `planes` as the stack has them, a view."""
        return self._turned[:, :, self.taken][:, :, places]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """``(visit in use,)``: those that get maps, for imputed ones are references only."""
        return np.asarray(self.stack.is_observed[self.in_use])

    def where(self, places: slice) -> tuple[Any, ...]:
        """Index of some of `planes` of the observed visits in maps (visit, …, plane, y, x)."""
        planes = self.planes[places]
        taken = slice(planes.start, planes.stop, planes.step)
        return self.observed, ..., taken, slice(None), slice(None)

    def turned_back(self, maps: NDArray[Any]) -> NDArray[Any]:
        """(…, plane, row, column) -> (…, z, y, x), a view."""
        found: NDArray[Any] = self.slicing.turned_back(maps)
        return found

    def grid_back(self, scores: Tensor) -> NDArray[np.float32]:
        """(any, plane, row, column) at the model's size -> the same at the stack's."""
        return resize_planes(scores.float(), self.grid[1:]).cpu().numpy()

    def units_back(self, images: Tensor) -> NDArray[np.float32]:
        """(any, modality, z, y, x) -> the stack's plane size and intensity units.

        Parameters
        ----------
        images
            In the model's range and size, of any visits.

        Returns
        -------
        NDArray
            As many images as came.
        """
        flat = resize_planes(images.float().flatten(1, 2), self.grid[1:])
        found = flat.unflatten(1, images.shape[1:3]).cpu().numpy()
        own = [scaling.invert(found[:, m]) for m, scaling in enumerate(self.scalings)]
        return np.stack(own, axis=1)

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(visit in use, ...) -> (visit, ...), NaN where one was not observed."""
        if self.stack.is_observed.all():
            return values
        whole = np.full((self.stack.n_visits, *values.shape[1:]), np.nan, np.float32)
        whole[self.in_use] = values
        whole[~self.stack.is_observed] = np.nan
        return whole

    @property
    def _turned(self) -> NDArray[Any]:
        turned: NDArray[Any] = self.slicing.turned(self.images)
        return turned


@dataclass(frozen=True, eq=False, kw_only=True)
class Examiner:
    """A method on its device, with the options that it is used with.

    Attributes
    ----------
    method
        The network.
    options
        Of the method's ``options_type``.
    device
        Where it computes.
    lent
        Features of an SDM beside the model, for a method without features.
    """

    method: Any
    options: Any
    device: torch.device
    lent: Features | None = None

    @property
    def takes_volumes(self) -> bool:
        """Whether the method looks at all planes of a volume together."""
        return bool(self.method.samples == "volumes")

    def find(
        self, visits: Visits, generator: torch.Generator, on_step: Callable[[int, int], None]
    ) -> Evidence:
        """Find the evidence in some planes of a series; a GPU that has bf16 computes in it."""

        def examined(_: int) -> Evidence:
            found: Evidence = self.method.examine(visits, self.options, generator, on_step)
            return found

        with fast_networks(self.device):  # left before the scores are made, which stay in float32
            evidence = halving(examined, 1)  # which only words the error: it is one part already
        return replace(evidence, features=evidence.features or self.lent)


def visits_of(
    stack: VisitStack,
    images: NDArray[np.generic],
    scalings: tuple[Scaling, ...],
    image_size: tuple[int, int],
    device: torch.device,
    in_use: NDArray[np.bool_] | None = None,
) -> Visits:
    """Visits as tensors in a model's range and size.

    Parameters
    ----------
    stack
        The series, for its ages and observed visits.
    images
        Shape and units of ``stack.images``.
    scalings
        One a modality.
    image_size
        ``(y, x)`` in pixels.
    device
        Where the tensors go.
    in_use
        ``(visit,)`` which ones; the observed ones when none are given.

    Returns
    -------
    Visits
        In the order of the stack.
    """
    in_use = stack.is_observed if in_use is None else in_use
    taken = np.asarray(images[np.flatnonzero(in_use)])
    ages = torch.from_numpy(stack.ages[in_use]).to(device)
    tensor = _tensor(taken, scalings, image_size, device)
    return Visits(images=tensor, ages=ages, value_range=scalings[0].range)


def _tensor(
    images: NDArray[Any],
    scalings: tuple[Scaling, ...],
    image_size: tuple[int, int],
    device: torch.device,
) -> Tensor:
    """(visit, modality, z, y, x) in the model's range and size."""
    scaled = np.stack([scaling.apply(images[:, m]) for m, scaling in enumerate(scalings)], axis=1)
    tensor = torch.from_numpy(scaled).to(device)
    planes: Tensor = resize_planes(tensor.flatten(1, 2), image_size)
    found: Tensor = planes.unflatten(1, tensor.shape[1:3])
    return found


def check_types(stack: object, bundle: object) -> None:
    """Catch what is easily mistaken for a series and for a model.

    Raises
    ------
    TypeError
        If they are no series and no model.
    """
    if not isinstance(stack, VisitStack):
        raise TypeError(
            f"stack: got {type(stack).__name__}; give one VisitStack, for an array "
            "VisitStack.from_array(images, ages=ages), for a cohort one series at a time"
        )
    if not isinstance(bundle, ModelBundle):
        raise TypeError(
            f"bundle: got {type(bundle).__name__}; give what load_bundle({bundle!r:.40}) returns"
        )


def check_series(stack: VisitStack, bundle: ModelBundle, slicing: Slicing) -> None:
    """Check that a series fits a model.

    Raises
    ------
    TypeError
        If they are no series and no model.
    ValueError
        If the series has another number of modalities than the model, or lacks its planes.
    """
    check_types(stack, bundle)
    if (known := bundle.modalities) != stack.shape[1]:
        taken = f"(stack.images[:, :{known}], modalities=stack.modalities[:{known}])"
        first = f", in Python stack.with_images{taken}" if known < stack.shape[1] else ""
        raise ValueError(
            f"{stack.subject!r} has {stack.shape[1]} modalities, model {bundle.name!r} was "
            f"trained on {known}; give a file of as many{first}, or choose another model"
        )
    slicing.of(stack)


def check_contrast(stack: VisitStack, extremes: list[list[tuple[Any, Any]]]) -> None:
    """Raise a ValueError if a modality of a series shows nothing, or the series is a map.

    Parameters
    ----------
    stack
        The series.
    extremes
        Lowest and highest value of each observed visit, of each modality.
    """
    for modality, ends in zip(stack.modalities, extremes, strict=True):
        if np.isnan(ends).any():
            raise ValueError(
                f"{stack.subject!r} is a saved map, partly NaN; give the series that it was made of"
            )
        if min(low for low, _ in ends) == max(high for _, high in ends):
            raise ValueError(
                f"{stack.subject!r}: modality {modality!r} has the same value everywhere, so there "
                "is nothing to examine; check what was loaded"
            )


def fit_notes(stack: VisitStack, bundle: ModelBundle, slicing: Slicing) -> tuple[str, ...]:
    """Say what is done to a series to make it fit a model."""
    notes = []
    if not slicing.is_whole:
        notes.append(slicing.note(stack))
    height, width = slicing.turned(np.broadcast_to(0, stack.shape)).shape[-2:]
    if (height, width) != bundle.image_size:
        notes.append(
            f"planes of {height} x {width} pixels were resampled to the model's "
            f"{bundle.image_size[0]} x {bundle.image_size[1]} and the results back"
        )
    if not stack.ages_known:
        notes.append("no ages given: visits were taken as one year apart")
    return tuple(notes)


def visit_notes(stack: VisitStack, with_imputed: bool) -> tuple[str, ...]:
    """Say which visits of a series are not used, or as references only."""
    notes = []
    missing = stack.is_missing
    if missing.any():
        notes.append(f"missing visits were left out: {_numbers(missing)}")
    imputed = ~stack.is_observed & ~missing
    if imputed.any():
        use = "served as references only" if with_imputed else "were left out"
        notes.append(f"imputed visits {use}: {_numbers(imputed)}")
    elif with_imputed:
        notes.append("no imputed visit to take as a reference: impute visits first")
    if stack.is_observed.sum() == 1:
        notes.append("a single visit: nothing to fuse over time")
    return tuple(notes)


def _numbers(visits: NDArray[np.bool_]) -> str:
    return ", ".join(str(index + 1) for index in np.flatnonzero(visits))
