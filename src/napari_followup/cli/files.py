"""Result files: maps as ``.npz`` or TIFF, one CSV row a visit; each says how it came about."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_followup.series.results import Detection
    from napari_followup.series.stack import VisitStack

__all__ = [
    "detection_rows",
    "file_stem",
    "files_there",
    "is_nifti",
    "replaced_line",
    "write_csv",
    "write_detection",
    "write_maps",
    "write_tiff",
]


def file_stem(subject: str, taken: set[str]) -> str:
    """File name for a subject that no other has in this run; `taken` remembers it."""
    from napari_followup.io import file_sets

    return file_sets.file_stem(subject, taken)


def is_nifti(source: Path) -> bool:
    """Whether a series comes from NIfTI files: one, a table that names some, or their folder."""
    from napari_followup.io.kinds import TABLES, suffix_of

    if source.is_dir():
        return any(source.rglob("*.nii")) or any(source.rglob("*.nii.gz"))
    if suffix_of(source) in TABLES:
        return ".nii" in source.read_text(encoding="latin-1")
    return suffix_of(source) in (".nii", ".nii.gz")


def files_there(folder: Path) -> dict[str, tuple[int, int]]:
    """List what lies in a folder, with marks that are others once a file was replaced."""
    if not folder.is_dir():
        return {}
    return {each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in folder.iterdir()}


def replaced_line(folder: Path, before: Mapping[str, tuple[int, int]]) -> str:
    """Say which files were replaced since `before`, which `files_there` gave; "" if none were."""
    from napari_followup.cli.options import counted

    now = files_there(folder)
    names = sorted(name for name in before if name in now and now[name] != before[name])
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"Replaced {counted(len(names), 'file')} of an earlier run: {shown}" if names else ""


def write_maps(path: Path, maps: Mapping[str, Any], provenance: Mapping[str, Any]) -> Path:
    """Write arrays by name, and the provenance as JSON under ``provenance``."""
    import numpy as np

    from napari_followup.evaluation.report import replacing

    said = np.asarray(json.dumps(provenance))
    with replacing(path) as draft, draft.open("xb") as file:
        np.savez_compressed(file, **maps, provenance=said)
    return path


def write_tiff(
    path: Path,
    images: Any,
    stack: VisitStack,
    provenance: Mapping[str, Any],
    axes: str = "TZYX",
    ages: Any = None,
) -> Path:
    """Write an array as TIFF that `read_stack` takes; provenance stands in its description.

    `axes` are tifffile's letters; `ages` stand in for those of `stack`, which gives the spacing and
    says which visits were observed.
    """
    import numpy as np
    import tifffile

    from napari_followup.evaluation.report import replacing

    about: dict[str, Any] = {
        "axes": axes,
        "spacing": list(stack.spacing),
        "is_observed": stack.is_observed.tolist(),
        "provenance": json.dumps(provenance),
    }
    if stack.ages_known:
        about["ages"] = np.asarray(stack.ages if ages is None else ages).tolist()
    values = np.asarray(images)
    values = values.astype(np.uint8) if values.dtype == bool else values
    with replacing(path) as draft:
        tifffile.imwrite(
            draft, values, metadata=about, compression="zlib", photometric="minisblack"
        )
    return path


def write_detection(folder: Path, stem: str, found: Detection, *, tiff: bool = False) -> list[Path]:
    """Images, mask, score, healthy images and every stage of the score of one patient.

    `read_stack` takes the images back from the ``.npz``.

    Parameters
    ----------
    folder, stem
        Where, and how the files begin.
    found
        What was found.
    tiff
        Write mask, score and healthy images as TIFF beside the ``.npz``.

    Returns
    -------
    list of Path
        The files.
    """
    import numpy as np

    stack = found.stack
    maps = {
        "mask": found.mask,
        "score": found.score,
        "image_score": found.image_score,
        "images": np.asarray(stack.images),
        "axes": "vmzyx",
        "is_observed": stack.is_observed,
        "spacing": stack.spacing,
        "affine": stack.affine,
        "unit": stack.unit,
        "subject": stack.subject,
        "modalities": stack.modalities,
        **{f"score_{name}": values for name, values in found.scores.items()},
    }
    maps |= {"ages": stack.ages} if stack.ages_known else {}
    maps |= {} if found.healthy is None else {"healthy": found.healthy}
    said = found.provenance | {"threshold": found.threshold, "floor": found.floor}
    written = [write_maps(folder / f"{stem}.npz", maps, said)]
    for name in ("mask", "score", "healthy") if tiff else ():
        if name in maps:
            axes = "TCZYX" if name == "healthy" else "TZYX"
            layer = {"kind": "labels" if name == "mask" else "image", "result": name}
            about = said | {"layer": layer}
            path = folder / f"{stem}_{name}.tif"
            written.append(write_tiff(path, maps[name], stack, about, axes))
    return written


def detection_rows(found: Detection, source: str) -> list[dict[str, Any]]:
    """One row a visit for the CSV."""
    from napari_followup.io.lesion_table import lesion_rows, lesion_size

    stack, said = found.stack, found.provenance
    lesions = lesion_rows(found)
    marked = [int(row["voxels"]) for row in lesions]
    return [
        {
            "source": source,
            "subject": stack.subject,
            "visit": visit + 1,
            "age": _short(stack.ages[visit]),
            "observed": bool(stack.is_observed[visit]),
            "image_score": _short(found.image_score[visit]),
            "flagged_pixels": marked[visit],
            "flagged_size": _short(lesion_size(stack, marked[visit])[0]),
            "unit": lesion_size(stack, marked[visit])[1],
            "components": lesions[visit]["components"],
            "threshold": _short(found.threshold),
            "model": said["model"],
            "model_version": said["model_version"],
            "model_fingerprint": said["model_fingerprint"],
            "recipe": said["recipe_name"] or _hash_of(said["recipe"]),
            "seed": said["seed"],
            "version": said["version"],
        }
        for visit in range(stack.n_visits)
    ]


def _short(value: Any) -> float:
    """Six digits: more than the measurement has, few enough to read."""
    return float(f"{value:.6g}")


def _hash_of(settings: Mapping[str, Any]) -> str:
    """Short hash of a recipe without a name; its settings stand in full in the ``.npz``."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows of one set of columns; an empty list gives no file."""
    from napari_followup.evaluation.report import replacing

    if rows:
        with replacing(path) as draft, draft.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=_columns(rows))
            writer.writeheader()
            writer.writerows(rows)
    return path


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
