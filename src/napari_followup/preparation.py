"""A series as a model wants it, and maps back as the series has them.

Intensities are scaled per modality and series, planes are resampled to the model's size, missing
visits are left out; `Prepared` remembers all three for the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.bundle import ModelBundle
from napari_followup.intensity import Scaling, fit_scaling
from napari_followup.methods.method import Visits
from napari_followup.planes import resize_planes
from napari_followup.stack import VisitStack

__all__ = ["Prepared", "check_types", "prepare", "visits_of"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A series in a model's range and size, and the way back."""

    stack: VisitStack
    visits: Visits  # those in use
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
        return self.spread(resize_planes(scores.float(), self._size).cpu().numpy())

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
        height, width = self.stack.shape[-2:]
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
    stack: VisitStack, bundle: ModelBundle, device: torch.device, *, with_imputed: bool = False
) -> Prepared:
    """Scale and resample a series for a model.

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

    Returns
    -------
    Prepared
        The visits as tensors, and the way back.

    Raises
    ------
    TypeError
        If they are no series and no model.
    ValueError
        If the series has another number of modalities than the model, or no contrast at all.
    """
    check_types(stack, bundle)
    if stack.shape[1] != bundle.modalities:
        raise ValueError(
            f"{stack.subject!r} has {stack.shape[1]} modalities, model {bundle.name!r} was "
            f"trained on {bundle.modalities}; choose the modalities, or another model"
        )
    _check_contrast(stack)
    scalings = tuple(
        fit_scaling(stack, bundle.value_range, modality=m) for m in range(bundle.modalities)
    )
    in_use = ~stack.is_missing if with_imputed else stack.is_observed
    visits = visits_of(stack, stack.images, scalings, bundle.image_size, device, in_use)
    return Prepared(
        stack=stack,
        visits=visits,
        scalings=scalings,
        fit_notes=tuple(_fit_notes(stack, bundle)),
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
    scaled = np.stack([scaling.apply(taken[:, m]) for m, scaling in enumerate(scalings)], axis=1)
    tensor = torch.from_numpy(scaled).to(device)
    planes = resize_planes(tensor.flatten(1, 2), image_size).unflatten(1, tensor.shape[1:3])
    return Visits(images=planes, ages=torch.from_numpy(stack.ages[in_use]).to(device))


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


def _check_contrast(stack: VisitStack) -> None:
    observed = np.flatnonzero(stack.is_observed)
    for modality, name in enumerate(stack.modalities):
        extremes = [
            (np.min(visit), np.max(visit))
            for visit in (np.asarray(stack.images[index, modality]) for index in observed)
        ]
        if min(low for low, _ in extremes) == max(high for _, high in extremes):
            raise ValueError(
                f"{stack.subject!r}: modality {name!r} has the same value everywhere, so there is "
                "nothing to examine; check what was loaded"
            )


def _fit_notes(stack: VisitStack, bundle: ModelBundle) -> list[str]:
    notes = []
    if tuple(stack.shape[-2:]) != bundle.image_size:
        notes.append(
            f"planes of {stack.shape[-2]} x {stack.shape[-1]} pixels were resampled to the model's "
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
