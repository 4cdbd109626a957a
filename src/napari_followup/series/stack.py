"""VisitStack: the images of one subject at several visits, checked once.

Everything else in the package takes or returns this noun. The five axes are always
``(visit, modality, z, y, x)``; visits are sorted by age; planar series keep ``z = 1``. A missing
visit is a plane of NaN with ``is_observed`` False. A map of ours, which says so in its provenance,
may be NaN where nothing was examined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["VisitStack", "add_step", "refuse_partly_missing"]

AXES = "vmzyx"
DEFAULT_AXES = {3: "vyx", 4: "vzyx", 5: "vmzyx"}
COHORT_AXES = {4: "svyx", 5: "svzyx", 6: "svmzyx"}
UNITS = ("pixel", "mm")


@dataclass(frozen=True, eq=False, kw_only=True)
class VisitStack:
    """Images of one subject over time, with ages and geometry.

    Never changed in place: `select` and `with_images` return new stacks.

    Raises
    ------
    ValueError, TypeError
        If a field does not fit the images; the message names the field and the remedy.
    """

    images: Any  # (visit, modality, z, y, x), real; a numpy array, or a lazy one such as dask's
    ages: NDArray[np.float64]  # (visit,), years, rising
    affine: NDArray[np.float64]  # (4, 4), voxel (z, y, x) -> world (x, y, z), RAS
    spacing: tuple[float, float, float]  # (z, y, x), in `unit`
    unit: str = "pixel"  # of `spacing` and `affine`: "pixel" or "mm"
    is_observed: NDArray[np.bool_]  # (visit,); False: missing (NaN) or imputed
    subject: str = "subject"
    modalities: tuple[str, ...] = ("image",)
    ages_known: bool = True  # False when the ages were made up as 0, 1, 2, ...
    provenance: Mapping[str, Any] = field(default_factory=dict)  # what made the images, if we did

    def __post_init__(self) -> None:
        images = _check_images(self.images, self.subject)
        visits = len(images)
        ages = _check_ages(self.ages, visits, self.subject)
        observed = _check_observed(self.is_observed, visits, self.subject)
        observed = _observed_visits(
            images, observed, self.subject, may_lack_planes=_is_map(self.provenance)
        )
        order = np.argsort(ages, kind="stable")
        if (order != np.arange(visits)).any():
            images, ages, observed = images[order], ages[order], observed[order]
        if self.unit not in UNITS:
            raise ValueError(f"unit: got {self.unit!r}; give lengths in 'mm', or leave it 'pixel'")
        checked = {
            "images": images,
            "ages": ages,
            "is_observed": observed,
            "spacing": _check_spacing(self.spacing),
            "affine": _check_affine(self.affine),
            "modalities": _check_modalities(self.modalities, images.shape[1]),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        visits, modalities, z, y, x = self.shape
        ages = f"ages {self.ages[0]:.4g} to {self.ages[-1]:.4g}" if self.ages_known else "no ages"
        missing = visits - int(self.is_observed.sum())
        counts = [
            f"{visits} visit{'s' * (visits != 1)}" + (f" ({missing} missing)" if missing else ""),
            f"{modalities} modalit{'y' if modalities == 1 else 'ies'}",
            f"{z} x {y} x {x}",
        ]
        return f"VisitStack({self.subject!r}, {', '.join(counts)}, {ages})"

    @classmethod
    def from_array(
        cls,
        images: Any,
        *,
        ages: ArrayLike | None = None,
        axes: str | None = None,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        unit: str | None = None,
        is_observed: ArrayLike | None = None,
        subject: str = "subject",
        modalities: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> VisitStack:
        """Make a stack of one subject's images.

        Parameters
        ----------
        images
            ``(visit, y, x)``, ``(visit, z, y, x)``, ``(visit, modality, z, y, x)``, or as `axes`
            says; any real type, kept as it is. A visit of NaN is a missing one.
        ages
            ``(visit,)`` in years, in the order of `images`, any order; without them 0, 1, 2, ....
        axes
            One letter an axis: v(isit) m(odality) z y x; v, y and x must be there.
        spacing
            Size of a voxel, ``(z, y, x)`` or ``(y, x)``, in `unit`; taken from `affine` if absent.
        affine
            ``(4, 4)``, voxel (z, y, x) to world (x, y, z) in RAS; a diagonal one if absent.
        unit
            "pixel" or "mm"; without it "mm" if `spacing` or `affine` is given.
        is_observed
            ``(visit,)`` booleans; without them every visit that is not NaN.
        subject
            The subject's name.
        modalities
            One name a modality.
        provenance
            What made the images; with a ``layer.result`` they are a map, which may be partly NaN.

        Returns
        -------
        VisitStack
            Sorted by age; equal ages keep their order.

        Raises
        ------
        ValueError, TypeError
            If anything does not fit; the message says what to do.
        """
        images = _with_five_axes(_as_array(images, subject), axes, subject)
        spacing, affine, found_unit = _geometry(spacing, affine)
        names = ["image", *(f"image-{n}" for n in range(2, images.shape[1] + 1))]
        return cls(
            images=images,
            ages=np.arange(len(images), dtype=np.float64) if ages is None else np.asarray(ages),
            affine=affine,
            spacing=spacing,
            unit=unit or found_unit,
            is_observed=np.asarray(
                np.ones(len(images), dtype=bool) if is_observed is None else is_observed
            ),
            subject=subject,
            modalities=tuple(names if modalities is None else modalities),
            ages_known=ages is not None,
            provenance=dict(provenance or {}),
        )

    @classmethod
    def from_cohort(
        cls,
        images: Any,
        *,
        ages: ArrayLike | None = None,
        axes: str | None = None,
        subjects: Sequence[str] | None = None,
        is_observed: ArrayLike | None = None,
        **shared: Any,
    ) -> list[VisitStack]:
        """Make one stack a subject from an array that holds many.

        Parameters
        ----------
        images
            ``(subject, visit, y, x)``, ``(subject, visit, z, y, x)``, six axes, or as `axes` says.
        ages
            ``(subject, visit)`` in years, or ``(visit,)`` if all subjects have the same.
        axes
            As for `from_array`, with an s for the subject.
        subjects
            One name a subject; without them "subject-0000", ....
        is_observed
            ``(subject, visit)`` or ``(visit,)``.
        **shared
            What all subjects share: `spacing`, `affine`, `unit`, `modalities`, `provenance` of
            `from_array`.

        Returns
        -------
        list of VisitStack
            In the order of the array.

        Raises
        ------
        ValueError, TypeError
            As `from_array`; the message names the subject.
        """
        images = _as_array(images, "cohort")
        axes = axes or COHORT_AXES.get(images.ndim, "")
        if axes.count("s") != 1 or len(axes) != images.ndim:
            raise ValueError(
                f"axes: got {axes!r} for an array of shape {images.shape}; name each axis once, "
                "s for the subject, as in 'svyx'"
            )
        images = _moved_first(images, axes.index("s"))
        count = len(images)
        if subjects is None:
            subjects = [f"subject-{number:04d}" for number in range(count)]
        if len(subjects) != count:
            raise ValueError(
                f"subjects: got {len(subjects)} names for {count} subjects; give each one"
            )
        rest = axes.replace("s", "")
        all_ages = _one_row_each(ages, count, "ages")
        all_observed = _one_row_each(is_observed, count, "is_observed")
        return [
            cls.from_array(
                subject_images, axes=rest, ages=row, is_observed=seen, subject=name, **shared
            )
            for subject_images, row, seen, name in zip(
                images, all_ages, all_observed, subjects, strict=True
            )
        ]

    @property
    def n_visits(self) -> int:
        """Number of visits, observed or not."""
        return int(self.images.shape[0])

    @cached_property
    def is_missing(self) -> NDArray[np.bool_]:
        """``(visit,)``: neither observed nor imputed: NaN, or the same value, everywhere."""
        missing = ~self.is_observed
        for index in np.flatnonzero(missing):
            visit = np.asarray(self.images[index])
            missing[index] = bool(np.isnan(visit).all() or visit.min() == visit.max())
        return missing

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the images, ``(visit, modality, z, y, x)``."""
        return tuple(self.images.shape)

    def select(self, indices: int | slice | ArrayLike) -> VisitStack:
        """Keep some visits.

        Parameters
        ----------
        indices
            One index, several, a slice or one boolean a visit.

        Returns
        -------
        VisitStack
            These visits, still sorted by age; the images are a view where they can be.
        """
        index = indices if isinstance(indices, slice) else np.atleast_1d(np.asarray(indices))
        if not isinstance(index, slice) and index.size == 0:
            raise ValueError("select: got no visit; keep at least one")
        return replace(
            self,
            images=self.images[index],
            ages=self.ages[index],
            is_observed=self.is_observed[index],
        )

    def with_images(self, images: Any, **changes: Any) -> VisitStack:
        """Return the same subject and geometry with other images.

        Parameters
        ----------
        images
            ``(visit, modality, z, y, x)``.
        **changes
            Other fields to replace, such as `ages` when the visits are others.

        Returns
        -------
        VisitStack
            Checked like any other.
        """
        return replace(self, images=images, **changes)


def add_step(provenance: Mapping[str, Any], step: str, **settings: Any) -> dict[str, Any]:
    """Append a step to ``provenance["steps"]``, which lists them in the order they were done.

    Parameters
    ----------
    provenance
        Of the stack that the step was done to.
    step
        Name of the function.
    **settings
        What it was done with, and what came of it.

    Returns
    -------
    dict
        A new provenance.
    """
    steps = [*provenance.get("steps", []), {"step": step, **settings}]
    return {**provenance, "steps": steps}


def refuse_partly_missing(image: NDArray[Any], name: str) -> None:
    """Refuse an image of an observed visit that lacks planes: nothing can be computed of it.

    Raises
    ------
    ValueError
        If it is partly NaN.
    """
    missing = np.isnan(image)
    if missing.any() and not missing.all():
        raise ValueError(f"{name} is a saved map, partly NaN; give the series that it was made of")


def _is_map(provenance: Mapping[str, Any]) -> bool:
    """Whether images say that they are a result of ours, which may lack planes of a visit."""
    layer = provenance.get("layer")
    return isinstance(layer, Mapping) and "result" in layer


def _observed_visits(
    images: Any, observed: NDArray[np.bool_], subject: str, *, may_lack_planes: bool
) -> NDArray[np.bool_]:
    """Find which visits are observed: those that are NaN everywhere are not.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``.
    observed
        ``(visit,)``, as far as is known.
    subject
        For the messages.
    may_lack_planes
        Whether an observed visit may be partly NaN, see `_is_map`.

    Returns
    -------
    ndarray of bool
        ``(visit,)``.

    Raises
    ------
    ValueError
        If a visit holds infinite values, or NaN where it must not, or none is observed.
    """
    if images.dtype.kind == "f":
        from napari_followup.series.disk_arrays import each_visit

        of, parts = f"of {len(images)} of {subject!r}", enumerate(each_visit(images), start=1)
        seen = [
            not _is_missing(np.asarray(part), f"visit {n} {of}", may_lack_planes)
            for n, (part,) in parts
        ]
        observed = observed & seen
    if not observed.any():
        raise ValueError(f"images of {subject!r}: no visit is observed; give at least one image")
    return observed


def _is_missing(visit: NDArray[Any], name: str, may_lack_planes: bool) -> bool:
    if np.isfinite(visit).all():
        return False
    if np.isnan(visit).all():
        return True
    if np.isinf(visit).any():
        raise ValueError(f"{name} holds infinite values; clip or replace them first")
    if may_lack_planes:
        return False
    raise ValueError(
        f"{name} is partly NaN; fill the missing pixels (numpy.nan_to_num), or make the "
        "whole visit NaN if it is missing"
    )


def _as_array(images: Any, subject: str) -> Any:
    """Numpy array, or a lazy array that can be indexed and transposed like one."""
    if hasattr(images, "chunks") and hasattr(images, "shape"):
        if hasattr(images, "__array_function__"):
            return images
        from dask.array import from_array  # zarr and h5py arrays cannot be transposed

        return from_array(images)
    try:
        return np.asarray(images)
    except ValueError as error:
        raise ValueError(
            f"images of {subject!r}: the visits differ in shape; bring them onto one grid first"
        ) from error


def _moved_first(images: Any, axis: int) -> Any:
    return images.transpose(axis, *(other for other in range(images.ndim) if other != axis))


def _with_five_axes(images: Any, axes: str | None, subject: str) -> Any:
    """Transpose to (visit, modality, z, y, x), adding axes of length 1."""
    if axes is None:
        axes = _default_axes(images, subject)
    if "s" in axes:
        raise ValueError(
            f"axes: {axes!r} has a subject axis; VisitStack.from_cohort makes one stack a subject"
        )
    if not set("vyx") <= set(axes) <= set(AXES) or len(set(axes)) != len(axes):
        raise ValueError(f"axes: got {axes!r}; use v, y, x and perhaps m and z, each once")
    if len(axes) != images.ndim:
        raise ValueError(
            f"axes: {axes!r} names {len(axes)} axes, the images of {subject!r} have {images.ndim}, "
            f"shape {tuple(images.shape)}; give one letter an axis"
        )
    images = images.transpose([axes.index(letter) for letter in AXES if letter in axes])
    return images[tuple(slice(None) if letter in axes else None for letter in AXES)]


def _default_axes(images: Any, subject: str) -> str:
    shape = tuple(images.shape)
    if images.ndim == 4 and images.dtype == np.uint8 and shape[-1] in (3, 4):
        raise ValueError(
            f"images of {subject!r}: shape {shape} looks like colour (visit, y, x, RGB); "
            "convert it to one grey channel, or pass axes= if the last axis is really x"
        )
    if images.ndim not in DEFAULT_AXES:
        raise ValueError(
            f"images of {subject!r}: got {images.ndim} axes, shape {shape}; give (visit, y, x), "
            "(visit, z, y, x) or (visit, modality, z, y, x), one visit as images[None]"
        )
    return DEFAULT_AXES[images.ndim]


def _geometry(
    spacing: Sequence[float] | None, affine: ArrayLike | None
) -> tuple[tuple[float, float, float], NDArray[np.float64], str]:
    """Spacing, affine and unit from what was given of the first two."""
    unit = "pixel" if spacing is None and affine is None else "mm"
    if spacing is not None:
        spacing = _check_spacing(spacing)
    if affine is None:
        z, y, x = spacing = spacing or (1.0, 1.0, 1.0)
        return spacing, np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]]), unit
    affine = _check_affine(affine)
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    if spacing is not None and not np.allclose(spacing, (z, y, x), rtol=1e-2):
        raise ValueError(
            f"spacing: got {spacing}, but the affine's voxels measure {(z, y, x)}; give one of them"
        )
    return spacing or (z, y, x), affine, unit


def _one_row_each(values: ArrayLike | None, count: int, name: str) -> Sequence[Any]:
    """One entry a subject from ``(subject, visit)``, ``(visit,)`` or nothing."""
    if values is None:
        return [None] * count
    table = np.asarray(values)
    if table.ndim == 1:
        return [table] * count
    if table.ndim != 2 or len(table) != count:
        raise ValueError(
            f"{name}: got shape {table.shape} for {count} subjects; "
            "give (subject, visit) or (visit,)"
        )
    return list(table)


def _check_images(images: Any, subject: str) -> Any:
    images = _as_array(images, subject)
    if images.dtype.kind == "c":
        raise TypeError(
            f"images of {subject!r} are complex; take their magnitude, numpy.abs(images), first"
        )
    if images.dtype.kind not in "buif":
        raise TypeError(
            f"images of {subject!r} have type {images.dtype}; give one array of numbers, "
            "all visits in the same shape"
        )
    if images.ndim != len(AXES) or 0 in images.shape:
        raise ValueError(
            f"images of {subject!r}: got shape {tuple(images.shape)}; give "
            "(visit, modality, z, y, x) without an empty axis, or use VisitStack.from_array"
        )
    return images


def _check_ages(ages: ArrayLike, visits: int, subject: str) -> NDArray[np.float64]:
    try:
        checked = np.array(ages, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"ages of {subject!r}: got {ages!r}; give numbers, in years") from error
    if checked.shape != (visits,):
        raise ValueError(
            f"ages: got {checked.size} for the {visits} visits of {subject!r}; give one age "
            "in years per visit or none at all"
        )
    if not np.isfinite(checked).all():
        raise ValueError(
            f"ages of {subject!r}: got {checked.tolist()}; every visit needs a finite age "
            "in years, a missing image too, or leave the ages out"
        )
    return checked


def _check_observed(observed: ArrayLike, visits: int, subject: str) -> NDArray[np.bool_]:
    checked = np.array(observed)
    if checked.shape != (visits,) or checked.dtype.kind not in "bui":
        raise ValueError(
            f"is_observed: got {observed!r} for the {visits} visits of {subject!r}; give one "
            "True or False per visit"
        )
    return checked.astype(bool)


def _check_spacing(spacing: Sequence[float]) -> tuple[float, float, float]:
    sizes = tuple(float(size) for size in spacing)
    z, y, x = (1.0, *sizes) if len(sizes) == 2 else sizes if len(sizes) == 3 else (0.0,) * 3
    if not all(0 < size < np.inf for size in (z, y, x)):
        raise ValueError(f"spacing: got {spacing}; give three finite sizes above 0, (z, y, x)")
    return z, y, x


def _check_affine(affine: ArrayLike) -> NDArray[np.float64]:
    checked = np.array(affine, dtype=np.float64)
    if checked.shape != (4, 4) or not np.isfinite(checked).all():
        raise ValueError(f"affine: got {affine!r}; give a (4, 4) array of finite numbers")
    # Relative to the voxel's own size: micrometre voxels have a tiny determinant, and are fine.
    volume = np.prod(np.linalg.norm(checked[:3, :3], axis=0))
    if not abs(np.linalg.det(checked[:3, :3])) > 1e-6 * volume:
        raise ValueError(f"affine: {checked.tolist()} is singular; its three axes lie in a plane")
    return checked


def _check_modalities(modalities: Sequence[str], count: int) -> tuple[str, ...]:
    names = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if len(names) != count:
        raise ValueError(
            f"modalities: got {len(names)} names for {count} modalities; give each its name"
        )
    return names
