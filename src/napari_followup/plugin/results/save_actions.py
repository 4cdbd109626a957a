"""Which files *Save results* writes, and how: of a detection, or of layers that a step made.

Nothing here touches a viewer or Qt, and nothing is written before the thread asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.file_sets import Parts, file_stem, write_json
from napari_followup.io.lesion_table import lesion_rows
from napari_followup.io.save_results import FORMATS, MAPS, result_parts
from napari_followup.io.table import write_table
from napari_followup.io.writing import write_stack
from napari_followup.plugin.layers.layers import AXES, LayerTuple, Series, Source, about
from napari_followup.plugin.layers.result_layers import Found, mask_of
from napari_followup.plugin.results.save_layers import place_of, plain_layer, stack_of, subjects_of
from napari_followup.series.results import Detection

__all__ = ["detection_parts", "layer_parts", "with_mask"]

Writer = Callable[[Path], Any]


def detection_parts(found: Found, form: str, *, stages: bool = False) -> Parts:
    """Say what is written of a detection; of several subjects a folder each, and a common table.

    Parameters
    ----------
    found
        As segmented now.
    form
        One of `FORMATS`.
    stages
        Whether every stage of the score is written.

    Returns
    -------
    Parts
        How each file is written, by its path in the folder.
    """
    seen = [_told(each, found.source) for each in found.detections if each is not None]
    taken: set[str] = set()
    parts: dict[str, Writer] = {}
    for each in seen:
        maps = (*MAPS, *each.scores) if stages else MAPS
        stem = file_stem(each.stack.subject, taken)
        place = f"{stem}/" if len(found.detections) > 1 else ""
        own = result_parts(each, format=form, maps=maps, name=stem)
        parts |= {f"{place}{name}": write for name, write in own.items()}
    if len(found.detections) > 1:
        parts["visits.csv"] = lambda path: write_table(
            path, [row for each in seen for row in lesion_rows(each)]
        )
    return parts


def layer_parts(layers: Sequence[LayerTuple], form: str) -> Parts:
    """Say what is written of results that are layers: each one, and how it was made.

    Parameters
    ----------
    layers
        As ``layer.as_layer_data_tuple()`` gives them.
    form
        One of `FORMATS`.

    Returns
    -------
    Parts
        As from `detection_parts`.

    Raises
    ------
    ValueError
        If the axes of a layer are not clear.
    """
    parts: dict[str, Writer] = {}
    for data, attributes, kind in layers:
        layer = plain_layer(data, attributes)
        subjects, taken, said = subjects_of(layer), set[str](), about(layer)
        result = file_stem(str(said.get("result", "image")))
        for number, subject in enumerate(subjects):
            stem = file_stem(subject, taken)
            place = f"{stem}/{stem}" if len(subjects) > 1 else stem
            write = partial(_write_layer, layer, number, kind)
            parts[f"{place}_{result}{FORMATS[form]}"] = write
        start = "" if len(subjects) > 1 else f"{stem}_"
        made = {"source": said.get("source"), **said.get("provenance", {})}
        parts[f"{start}{result}_provenance.json"] = partial(write_json, values=made)
    return parts


def with_mask(found: Found, labels: NDArray[Any]) -> Found:
    """Give the detections the mask that is shown, if it was painted on since.

    Parameters
    ----------
    found
        As segmented now.
    labels
        The mask layer's data; of another shape, it is none of this detection.

    Returns
    -------
    Found
        The same, or with other masks and ``"mask_edited"`` in their provenance.
    """
    mask = mask_of(found)
    if labels.shape != mask.shape or np.array_equal(labels != 0, mask != 0):
        return found
    detections = tuple(
        None if each is None or series is None else _painted(each, series, found.source, labels, n)
        for n, (each, series) in enumerate(zip(found.detections, found.series, strict=True))
    )
    return replace(found, detections=detections)


def _told(detection: Detection, source: Source) -> Detection:
    """Say in the provenance which layer was examined, and put the maps where it lies."""
    stack = detection.stack
    affine, spacing = place_of(source)
    if not np.allclose(affine, stack.affine, rtol=0, atol=1e-9):
        stack = stack.with_images(stack.images, affine=affine, spacing=spacing)
    provenance = {**detection.provenance, "source": source.name}
    return replace(detection, stack=stack, provenance=provenance)


def _painted(
    detection: Detection, series: Series, source: Source, labels: NDArray[Any], subject: int
) -> Detection:
    letters = [letter for letter in AXES if letter in source.axes]
    moved = labels.transpose([source.axes.index(letter) for letter in letters])
    whole = moved[tuple(slice(None) if letter in letters else None for letter in AXES)]
    mask = (whole[subject, series.order] != 0).any(axis=1)
    provenance = {**detection.provenance, "mask_edited": True}
    return replace(detection, mask=mask, provenance=provenance)


def _write_layer(layer: Any, subject: int, kind: str, path: Path) -> None:
    write_stack(path, stack_of(layer, subject, kind))
