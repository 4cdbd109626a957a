"""Layers to stacks and back, as plain values.

``metadata["followup"]`` of a layer holds its axes and the subject's ages. `Source` keeps what a run
needs of a layer, which may be removed during the run. Results are ``(data, attributes, kind)``
tuples that lie exactly on the source layer, with its visits in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = [
    "KEY",
    "NAMES",
    "GivenMask",
    "LayerTuple",
    "Series",
    "Source",
    "about",
    "axes_choices",
    "check_ages",
    "given_mask",
    "on_voxels",
    "parse_ages",
    "result_layer",
    "series_of",
    "source_of",
    "to_layer_axes",
    "voxel_of",
    "with_visits",
    "without_axis",
]

LayerTuple = tuple[Any, dict[str, Any], str]

KEY = "followup"
GEOMETRY = ("scale", "translate", "rotate", "shear", "units", "axis_labels")
AXES = "svmzyx"
BARE_AXES = {3: ("vyx",), 4: ("vzyx", "svyx"), 5: ("svzyx", "vmzyx")}
NAMES = {"s": "subject", "v": "visit", "m": "modality", "z": "z", "y": "y", "x": "x"}
WORDS = {name: letter for letter, name in NAMES.items()}
WORDS |= {"time": "v", "t": "v", "channel": "m", "c": "m"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What a run needs of an image layer; it stays valid if the layer is removed."""

    name: str
    data: Any  # as the layer holds it, perhaps lazy
    axes: str  # one letter an axis of `data`: s(ubject) v(isit) m(odality) z y x
    ages: NDArray[np.float64] | None = None  # (visit,) or (subject, visit), in the layer's order
    geometry: dict[str, Any] = field(default_factory=dict)  # scale to axis labels, for the results
    display: dict[str, Any] = field(default_factory=dict)  # colormap and contrast of the images
    about: dict[str, Any] = field(default_factory=dict)  # the layer's metadata["followup"]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)  # (z, y, x), in `unit`
    unit: str = "pixel"

    @property
    def n_subjects(self) -> int:
        """Number of subjects; 1 where there is no such axis."""
        return int(self.data.shape[self.axes.index("s")]) if "s" in self.axes else 1

    @property
    def subjects(self) -> list[str]:
        """One name a subject."""
        names = self.about.get("subject", self.name)
        if "s" not in self.axes:
            return [str(names)]
        if isinstance(names, str) or len(names) != self.n_subjects:
            return [f"subject-{number:04d}" for number in range(self.n_subjects)]
        return [str(name) for name in names]


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """One subject of a source: its stack, and the position in the layer of each visit."""

    stack: VisitStack
    order: NDArray[np.intp]  # (visit,)


def about(layer: Any) -> dict[str, Any]:
    """Give a layer's metadata about its visits; empty if it has none."""
    meta = layer.metadata.get(KEY)
    return dict(meta) if isinstance(meta, dict) else {}


def axes_choices(layer: Any) -> tuple[str, ...]:
    """List the possible axes of a layer, one letter each; a single entry if they are known.

    Raises
    ------
    ValueError
        If the layer is in colour, or has too few or too many axes.
    """
    _check_grey(layer)
    labels = [WORDS.get(str(label).lower(), "") for label in layer.axis_labels]
    for axes in (about(layer).get("axes", ""), "".join(labels)):
        if (
            len(axes) == layer.ndim
            and set("vyx") <= set(axes) <= set(AXES)
            and len(set(axes)) == len(axes)
        ):
            return (axes,)
    if layer.ndim not in BARE_AXES:
        raise ValueError(
            f"{layer.name!r} has {layer.ndim} axes; give (visit, y, x), (visit, z, y, x) or "
            "(subject, visit, y, x), several visits in one layer"
        )
    return BARE_AXES[layer.ndim]


def _check_grey(layer: Any) -> None:
    if getattr(layer, "rgb", False):
        raise ValueError(
            f"{layer.name!r} is in colour; convert it to one grey channel (right click, Split RGB) "
            "and choose that one"
        )


def parse_ages(text: str) -> NDArray[np.float64] | None:
    """Read typed ages: ``"61, 62.5"``, a semicolon between subjects; None for an empty text."""
    rows = [row.replace(",", " ").split() for row in text.split(";") if row.strip()]
    if not rows:
        return None
    try:
        ages = np.array([[float(word) for word in row] for row in rows])
    except ValueError as error:
        raise ValueError(
            f"ages: cannot read {text!r}; write years as in '61, 62.5, 64', "
            "as many for every subject"
        ) from error
    return ages[0] if len(ages) == 1 else ages


def source_of(
    layer: Any, *, axes: str | None = None, ages: NDArray[np.float64] | None = None
) -> Source:
    """Take from an image layer what a run needs; given `axes` and `ages` override its metadata.

    What was taken already is given back as it is.

    Raises
    ------
    ValueError
        If the axes do not fit, or are unknown and not given.
    """
    if isinstance(layer, Source):
        return layer
    _check_grey(layer)
    if axes is None:
        axes, *others = axes_choices(layer)
        if others:
            raise ValueError(
                f"{layer.name!r} does not say what its {layer.ndim} axes are; choose them under "
                "'axes'"
            )
    if len(axes) != layer.ndim:
        raise ValueError(f"axes: {axes!r} names {len(axes)} axes, {layer.name!r} has {layer.ndim}")
    meta = about(layer)
    if ages is None and meta.get("ages_known", True) and meta.get("ages") is not None:
        ages = np.asarray(meta["ages"], dtype=np.float64)
    spacing, unit = voxel_of(layer, axes)
    return Source(
        name=layer.name,
        data=layer.data[0] if getattr(layer, "multiscale", False) else layer.data,
        axes=axes,
        ages=ages,
        geometry=_geometry(layer, axes),
        display={
            name: getattr(layer, name)
            for name in ("colormap", "contrast_limits")
            if hasattr(layer, name)
        },
        about=meta,
        spacing=spacing,
        unit=unit,
    )


def visit_source(layer: Any, axes: str) -> Source:
    """Take a single image (y, x) or (z, y, x) as a source of one visit: with an axis of visits."""
    one = source_of(layer, axes=axes)
    labels = {"axis_labels": tuple(NAMES[letter] for letter in axes)}
    return replace(
        one, data=one.data[None], axes=f"v{axes}", geometry=with_visits(one.geometry | labels)
    )


def check_ages(source: Source) -> None:
    """Check the number of ages before anything is loaded.

    Raises
    ------
    ValueError
        If there is not one age a visit, or not one row of ages a subject.
    """
    if source.ages is None:
        return
    _row(source.ages, 0, source.n_subjects, "ages")
    visits, given = source.data.shape[source.axes.index("v")], np.shape(source.ages)[-1]
    if given != visits:
        raise ValueError(
            f"ages: got {given} for the {visits} visits of {source.name!r}; give one age in years "
            "per visit or none at all"
        )


def series_of(
    source: Source, subject: int = 0, *, provenance: Mapping[str, Any] | None = None
) -> Series:
    """Make the stack of one subject, sorted by age.

    Raises
    ------
    ValueError, TypeError
        As `VisitStack.from_array`.
    """
    name, rest = source.subjects[subject], source.axes.replace("s", "")
    images = source.data
    if "s" in source.axes:
        images = images[(slice(None),) * source.axes.index("s") + (subject,)]
    ages = _row(source.ages, subject, source.n_subjects, "ages")
    observed = _row(source.about.get("is_observed"), subject, source.n_subjects, "is_observed")
    stack = VisitStack.from_array(
        images,
        axes=rest,
        ages=ages,
        is_observed=observed,
        spacing=source.spacing,
        affine=_affine(source),
        unit=source.unit,
        subject=name,
        provenance=provenance,
    )
    order = np.arange(stack.n_visits) if ages is None else np.argsort(ages, kind="stable")
    return Series(stack=stack, order=order)


def to_layer_axes(
    source: Source, series: Sequence[Series | None], values: Sequence[NDArray[Any] | None]
) -> NDArray[Any]:
    """Put the subjects' results into one array of the layer's shape.

    Parameters
    ----------
    source
        The layer of the series.
    series
        One a subject; None for a subject that was left out.
    values
        One a subject, ``(visit, z, y, x)`` or ``(visit, modality, z, y, x)`` in the order of its
        stack.

    Returns
    -------
    ndarray
        Shape of ``source.data``; NaN, or False, for subjects that were left out. A view (volumes
        are large) for one subject whose visits are already in the order of age.
    """
    sizes = dict(zip(source.axes, source.data.shape, strict=True))
    shape = [sizes.get(letter, 1) for letter in AXES]
    both = list(zip(series, values, strict=True))
    whole = _as_they_are(*both[0]) if len(both) == 1 else None
    whole = _in_layer_order(shape, both) if whole is None else np.broadcast_to(whole, shape)
    kept = whole[tuple(slice(None) if letter in sizes else 0 for letter in AXES)]
    letters = [letter for letter in AXES if letter in sizes]
    return kept.transpose([letters.index(letter) for letter in source.axes])


def _as_they_are(series: Series | None, values: NDArray[Any] | None) -> NDArray[Any] | None:
    """Give one subject's values all axes; None if their order must change."""
    if series is None or values is None or (np.diff(series.order) != 1).any():
        return None
    return values[None, :, None] if values.ndim == 4 else values[None]


def _in_layer_order(
    shape: list[int], both: Sequence[tuple[Series | None, NDArray[Any] | None]]
) -> NDArray[Any]:
    given = next(values for _, values in both if values is not None)
    whole = np.full(shape, np.nan if given.dtype.kind == "f" else 0, dtype=given.dtype)
    for number, (series, values) in enumerate(both):
        if series is not None and values is not None:
            whole[number, series.order] = values[:, None] if values.ndim == 4 else values
    return whole


def result_layer(
    source: Source,
    data: NDArray[Any],
    result: str,
    kind: str,
    provenance: dict[str, Any],
    **attributes: Any,
) -> LayerTuple:
    """Make a layer tuple that lies on the source layer; its name ends with `result`."""
    kept = {
        name: source.about[name]
        for name in ("subject", "modality", "is_observed", "is_imputed", "affine")
        if name in source.about
    }
    metadata: dict[str, Any] = kept | {
        "axes": source.axes,
        "ages": None if source.ages is None else np.asarray(source.ages).tolist(),
        "ages_known": source.ages is not None,
        "source": source.name,
        "result": result,
        "provenance": provenance,
    }
    named = {"name": f"{source.name} {result}", "metadata": {KEY: metadata}}
    return data, {**source.geometry, **named, **attributes}, kind


def _geometry(layer: Any, axes: str) -> dict[str, Any]:
    geometry = {name: getattr(layer, name) for name in GEOMETRY}
    if all(re.fullmatch(r"(axis )?-?\d+", label) for label in layer.axis_labels):
        geometry["axis_labels"] = tuple(NAMES[letter] for letter in axes)
    return geometry | {"affine": np.array(layer.affine.affine_matrix)}


def voxel_of(layer: Any, axes: str) -> tuple[tuple[float, float, float], str]:
    """Give the voxel size (z, y, x) and its unit: mm if the layer's units are lengths.

    The thickness of a plane is taken from its file.
    """
    lengths = [unit.is_compatible_with("mm") for unit in layer.units]
    in_mm = all(lengths[axes.index(letter)] for letter in "zyx" if letter in axes)
    sizes = []
    for letter in "zyx":
        index = axes.find(letter)
        size = _thickness(layer) if index < 0 else abs(float(layer.scale[index]))
        sizes.append(
            float((size * layer.units[index]).to("mm").magnitude) if in_mm and index >= 0 else size
        )
    return (sizes[0], sizes[1], sizes[2]), "mm" if in_mm else "pixel"


def _thickness(layer: Any) -> float:
    affine = about(layer).get("affine")
    return 1.0 if affine is None else float(np.linalg.norm(np.asarray(affine)[:3, 0]))


def _affine(source: Source) -> Any:
    """Affine of the layer's file, unless the layer was rescaled since."""
    affine = source.about.get("affine")
    if affine is None:
        return None
    sizes = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
    return affine if np.allclose(sizes, source.spacing, rtol=1e-2) else None


def _row(values: Any, subject: int, count: int, name: str) -> Any:
    """Take the subject's row of ``(subject, visit)``, or the shared ``(visit,)``."""
    if values is None or np.ndim(values) < 2:
        return values
    if len(values) != count:
        raise ValueError(
            f"{name}: got {len(values)} rows for {count} subjects; give each one, or one for all"
        )
    return np.asarray(values)[subject]


Geometry = Mapping[str, Any]


def without_axis(geometry: Geometry, axis: int) -> dict[str, Any]:
    """Remove one axis from a layer's geometry (scale to axis labels, by name)."""
    return {name: _without(name, value, axis) for name, value in geometry.items()}


def with_visits(geometry: Geometry) -> dict[str, Any]:
    """Put an axis of visits in front: scale 1, unit pixel, no rotation."""
    size = len(geometry["scale"])
    shear = np.eye(size + 1)
    shear[1:, 1:] = _shear_matrix(np.asarray(geometry["shear"]), size)
    return {
        "scale": (1.0, *geometry["scale"]),
        "translate": (0.0, *geometry["translate"]),
        "rotate": _framed(np.asarray(geometry["rotate"])),
        "shear": shear,
        "affine": _framed(np.asarray(geometry["affine"])),
        "units": ("pixel", *geometry["units"]),
        "axis_labels": ("visit", *geometry["axis_labels"]),
    }


def on_voxels(geometry: Geometry, axes: str, voxels: NDArray[np.float64]) -> dict[str, Any]:
    """Move a layer's geometry to a grid of other voxels at the same place in the world.

    `axes` has one letter an axis. `voxels` ``(4, 4)`` maps voxels (z, y, x) of the new grid to
    those of the old one, axis along axis.
    """
    ratio, start = np.ones(len(axes)), np.zeros(len(axes))
    for row, letter in enumerate("zyx"):
        if letter in axes:
            ratio[axes.index(letter)] = voxels[row, row]
            start[axes.index(letter)] = voxels[row, 3]
    parts = {name: geometry[name] for name in ("scale", "rotate", "shear")}
    linear = Affine(**parts, ndim=len(axes)).linear_matrix
    return {
        **geometry,
        "scale": tuple((np.asarray(geometry["scale"]) * ratio).tolist()),
        "translate": tuple((np.asarray(geometry["translate"]) + linear @ start).tolist()),
    }


def _without(name: str, value: Any, axis: int) -> Any:
    if name in ("units", "axis_labels"):
        return value[:axis] + value[axis + 1 :]
    value = np.asarray(value)
    if name == "shear" and value.ndim == 1:
        size = round((1 + np.sqrt(1 + 8 * len(value))) / 2)
        kept = np.delete(np.delete(_shear_matrix(value, size), axis, 0), axis, 1)
        return kept[np.triu_indices(size - 1, 1)]
    kept = np.delete(value, axis, 0)
    return np.delete(kept, axis, 1) if value.ndim == 2 else kept


def _shear_matrix(shear: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Full matrix: napari lists only the values above the diagonal."""
    if shear.ndim == 2:
        return shear
    whole = np.eye(size)
    whole[np.triu_indices(size, 1)] = shear
    return whole


def _framed(matrix: NDArray[Any]) -> NDArray[np.float64]:
    whole = np.eye(len(matrix) + 1)
    whole[1:, 1:] = matrix
    return whole


@dataclass(frozen=True, eq=False, kw_only=True)
class GivenMask:
    """Name and data of a Labels layer; the layer itself may be removed while they are used."""

    name: str
    data: Any

    def on(self, source: Source, visit: int | None = None) -> NDArray[np.bool_]:
        """Take the mask ``(z, y, x)`` bool on the grid of a source.

        If there is one mask a visit, it is that of `visit` (position in the layer), or without it
        the union of all.

        Raises
        ------
        ValueError
            If the mask has another shape, or is empty.
        """
        sizes = dict(zip(source.axes, source.data.shape, strict=True))
        space = tuple(sizes[letter] for letter in source.axes if letter in "zyx")
        marks: Any = np.asarray(self.data) > 0
        if marks.shape == (sizes["v"], *space):
            marks = marks.any(axis=0) if visit is None else marks[visit]
        if marks.shape == (1, *space):
            marks = marks[0]
        if marks.shape != space:
            raise ValueError(
                f"mask: {self.name!r} has the shape {np.shape(self.data)}, a visit of "
                f"{source.name!r} has {space}; choose labels that lie on its voxels"
            )
        if not marks.any():
            raise ValueError(f"mask: {self.name!r} is empty; paint where to look, or clear it")
        return np.asarray(marks if len(space) == 3 else marks[None])


def given_mask(mask: Any) -> GivenMask:
    """Take the mask of a Labels layer, as far as it is there.

    Raises
    ------
    ValueError
        If it is not.
    """
    if mask is None:
        raise ValueError("mask: the labels layer was removed; choose another mask")
    return mask if isinstance(mask, GivenMask) else GivenMask(name=mask.name, data=mask.data)
