"""A series as a model wants it, and maps back as the series has them.

Intensities are scaled per modality and series, planes are resampled to the model's size, missing
visits are left out; `Prepared` remembers all three for the way back. It reads a few planes at a
time, of all visits, so that a series of volumes is never in memory as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.methods.method import Visits
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.disk_arrays import near, new_array, release
from napari_followup.series.intensity import Scaling, fit_scaling
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.resizing import resize_planes
from napari_followup.series.stack import VisitStack

__all__ = ["Prepared", "check_types", "prepare", "visits_of"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A series in a model's range and size, and the way back.

    Volumes are turned so that the planes which the model sees come first: (plane, row, column).
    """

    stack: VisitStack
    images: NDArray[Any]  # those of the stack, see `spilling.near`
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
        """Positions of the planes that are looked at, along the slicing's axis."""
        return self.slicing.of(self.stack)

    @cached_property
    def planes(self) -> range:
        """Positions as `taken`, one by one."""
        return range(len(self.turned_images[0, 0]))[self.taken]

    @property
    def turned_images(self) -> NDArray[Any]:
        """``(visit, modality, plane, row, column)``, all planes."""
        turned: NDArray[Any] = self.slicing.turned(self.images)
        return turned

    @cached_property
    def ages(self) -> Tensor:
        """``(visit in use,)`` years."""
        return torch.from_numpy(self.stack.ages[self.in_use]).to(self.device)

    @cached_property
    def visits(self) -> Visits:
        """All planes that are looked at, of the visits in use; for series that fit into memory."""
        return self.slab(slice(None))

    @property
    def voxel(self) -> float:
        """Size of a pixel in mm² of a planar series, of a voxel in mm³ of others; 1 without mm."""
        if self.stack.unit != "mm":
            return 1.0
        z, y, x = self.stack.spacing
        return y * x if self.stack.shape[2] == 1 else z * y * x * self.slicing.step

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
        """(visit, modality, plane, row, column): some of `planes` as the stack has them."""
        return self.turned_images[:, :, self.taken][:, :, places]

    def new_maps(self, *, modalities: bool = False) -> NDArray[np.float32]:
        """Make maps ``(visit, [modality,] plane, row, column)`` on the stack's grid, NaN all over.

        `turned_back` gives them the axes of the stack.
        """
        visits, channels, *grid = self.turned_images.shape
        shape = (visits, channels, *grid) if modalities else (visits, *grid)
        return new_array(shape, np.float32, np.nan)

    def put(self, maps: NDArray[np.float32], places: slice, values: NDArray[np.float32]) -> None:
        """Write some of `planes` of the visits in use into `maps`; imputed visits get nothing."""
        rows = self.stack.is_observed[self.in_use]
        shown = maps[..., self.taken, :, :][..., places, :, :]
        shown[self.observed] = values[rows]
        release(maps, self.images)

    def turned_back(self, maps: NDArray[Any]) -> NDArray[Any]:
        """(…, plane, row, column) -> (…, z, y, x)."""
        found: NDArray[Any] = self.slicing.turned_back(maps)
        return found

    def map_back(self, scores: Tensor) -> NDArray[np.float32]:
        """(visit in use, z, y, x) at the model's size -> (visit, z, y, x) at the stack's.

        Parameters
        ----------
        scores
            Maps of the visits in use.

        Returns
        -------
        NDArray
            Maps of all visits, NaN where one was not observed.
        """
        return self.spread(self.grid_back(scores))

    def grid_back(self, scores: Tensor) -> NDArray[np.float32]:
        """(any, plane, row, column) at the model's size -> the same at the stack's."""
        return resize_planes(scores.float(), self._size).cpu().numpy()

    def images_back(self, images: Tensor) -> NDArray[np.float32]:
        """(visit in use, modality, z, y, x) -> shape and intensity units of ``stack.images``.

        Parameters
        ----------
        images
            Images of the visits in use, in the model's range and size.

        Returns
        -------
        NDArray
            Images of all visits, NaN where one was not observed.
        """
        return self.spread(self.units_back(images))

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
        flat = resize_planes(images.float().flatten(1, 2), self._size)
        found = flat.unflatten(1, images.shape[1:3]).cpu().numpy()
        own = [scaling.invert(found[:, m]) for m, scaling in enumerate(self.scalings)]
        return np.stack(own, axis=1)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.turned_images.shape[-2:]
        return height, width

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(visit in use, ...) -> (visit, ...), NaN where one was not observed."""
        if self.stack.is_observed.all():
            return values
        whole = np.full((self.stack.n_visits, *values.shape[1:]), np.nan, np.float32)
        whole[self.in_use] = values
        whole[~self.stack.is_observed] = np.nan
        return whole


def prepare(
    stack: VisitStack,
    bundle: ModelBundle,
    device: torch.device,
    *,
    with_imputed: bool = False,
    slicing: Slicing | None = None,
) -> Prepared:
    """Find out how to scale and resample a series for a model.

    Parameters
    ----------
    stack
        The series; missing visits are left out.
    bundle
        The model, with its value range and image size.
    device
        Where the tensors go.
    with_imputed
        Whether imputed visits are used beside the observed ones, which alone set the scale.
    slicing
        Which planes are looked at; all of them set the scale.

    Returns
    -------
    Prepared
        Gives the visits as tensors, and the way back.

    Raises
    ------
    TypeError
        If they are no series and no model.
    ValueError
        If the series has another number of modalities than the model, no contrast at all, or is a
        map that is partly NaN.
    """
    check_types(stack, bundle)
    if (known := bundle.modalities) != stack.shape[1]:
        taken = f"(stack.images[:, :{known}], modalities=stack.modalities[:{known}])"
        first = f", in Python stack.with_images{taken}" if known < stack.shape[1] else ""
        raise ValueError(
            f"{stack.subject!r} has {stack.shape[1]} modalities, model {bundle.name!r} was "
            f"trained on {known}; give a file of as many{first}, or choose another model"
        )
    chosen = slicing or Slicing()
    chosen.of(stack)
    images = near(stack.images)
    _check_contrast(stack, images)
    scalings = tuple(
        fit_scaling(stack, bundle.value_range, modality=m, pixels=images)
        for m in range(bundle.modalities)
    )
    in_use = ~stack.is_missing if with_imputed else stack.is_observed
    return Prepared(
        stack=stack,
        images=images,
        slicing=chosen,
        image_size=bundle.image_size,
        device=device,
        scalings=scalings,
        fit_notes=tuple(_fit_notes(stack, bundle, slicing)),
        visit_notes=tuple(_visit_notes(stack, with_imputed)),
        in_use=in_use,
    )


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


def _check_contrast(stack: VisitStack, images: NDArray[Any]) -> None:
    for modality, name in enumerate(stack.modalities):
        extremes = []
        for index in np.flatnonzero(stack.is_observed):
            extremes.append((np.min(images[index, modality]), np.max(images[index, modality])))
            release(images)
        if np.isnan(extremes).any():
            raise ValueError(
                f"{stack.subject!r} is a saved map, partly NaN; give the series that it was made of"
            )
        if min(low for low, _ in extremes) == max(high for _, high in extremes):
            raise ValueError(
                f"{stack.subject!r}: modality {name!r} has the same value everywhere, so there is "
                "nothing to examine; check what was loaded"
            )


def _fit_notes(stack: VisitStack, bundle: ModelBundle, slicing: Slicing | None) -> list[str]:
    notes = []
    chosen = slicing or Slicing()
    if not chosen.is_whole:
        notes.append(chosen.note(stack))
    height, width = chosen.turned(np.broadcast_to(0, stack.shape)).shape[-2:]
    if (height, width) != bundle.image_size:
        notes.append(
            f"planes of {height} x {width} pixels were resampled to the model's "
            f"{bundle.image_size[0]} x {bundle.image_size[1]} and the results back"
        )
    if not stack.ages_known:
        notes.append("no ages given: visits were taken as one year apart")
    return notes


def _visit_notes(stack: VisitStack, with_imputed: bool) -> list[str]:
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
    return notes


def _numbers(visits: NDArray[np.bool_]) -> str:
    return ", ".join(str(index + 1) for index in np.flatnonzero(visits))
