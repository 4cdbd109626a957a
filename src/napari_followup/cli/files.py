"""Series in and result files out: ``.npz``, TIFF and CSV, each with its provenance."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import FORMATS, Subcommands, add_split, check_out

if TYPE_CHECKING:
    from napari_followup.series.results import Detection
    from napari_followup.series.stack import VisitStack

__all__ = [
    "FAILURES",
    "add_series",
    "check_file",
    "detection_rows",
    "files_there",
    "is_nifti",
    "modality_of",
    "read_series",
    "replaced_line",
    "report_failure",
    "subject_of",
    "write_csv",
    "write_detection",
    "write_maps",
    "write_series",
    "write_tiff",
]

SUFFIXES = (".npz", ".nii", ".nii.gz")
# Errors of one damaged file or one series too large; they do not end the run of the others.
FAILURES = (OSError, ValueError, TypeError, MemoryError, ArithmeticError, RuntimeError)


def is_nifti(source: Path) -> bool:
    """Whether a series comes from NIfTI: a file, a table that names some, or a folder of them."""
    from napari_followup.io.kinds import TABLES, suffix_of

    if source.is_dir():
        return any(source.rglob("*.nii")) or any(source.rglob("*.nii.gz"))
    if suffix_of(source) in TABLES:
        return ".nii" in source.read_text(encoding="latin-1")
    return suffix_of(source) in (".nii", ".nii.gz")


def files_there(folder: Path) -> dict[str, tuple[int, int]]:
    """Files of a folder, each with inode and time, which change when a file is replaced."""
    if not folder.is_dir():
        return {}
    return {each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in folder.iterdir()}


def replaced_line(folder: Path, before: Mapping[str, tuple[int, int]]) -> str:
    """Line that lists the files replaced since `before` (from `files_there`); "" if none."""
    from napari_followup.cli.options import counted

    now = files_there(folder)
    names = sorted(name for name in before if name in now and now[name] != before[name])
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"Replaced {counted(len(names), 'file')} of an earlier run: {shown}" if names else ""


def write_maps(path: Path, maps: Mapping[str, Any], provenance: Mapping[str, Any]) -> Path:
    """Write arrays by name, and the provenance as JSON under ``provenance``."""
    import numpy as np

    from napari_followup.evaluation.report import replacing

    text = np.asarray(json.dumps(provenance))
    with replacing(path) as draft, draft.open("xb") as file:
        np.savez_compressed(file, **maps, provenance=text)
    return path


def write_tiff(
    path: Path,
    images: Any,
    stack: VisitStack,
    provenance: Mapping[str, Any],
    axes: str = "TZYX",
    ages: Any = None,
) -> Path:
    """Write an array as TIFF that `read_stack` reads; its description holds the provenance.

    `axes` are tifffile's letters. `ages` replace those of `stack`, from which come the spacing and
    which visits were observed.
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
    """Write images, mask, score, healthy images and every stage of the score of one patient.

    `read_stack` reads the images from the ``.npz``.

    Parameters
    ----------
    folder, stem
        Folder, and start of the file names.
    found
        Result of the patient.
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
    about = found.provenance | {"threshold": found.threshold, "floor": found.floor}
    written = [write_maps(folder / f"{stem}.npz", maps, about)]
    for name in ("mask", "score", "healthy") if tiff else ():
        if name in maps:
            axes = "TCZYX" if name == "healthy" else "TZYX"
            layer = {"kind": "labels" if name == "mask" else "image", "result": name}
            path = folder / f"{stem}_{name}.tif"
            written.append(write_tiff(path, maps[name], stack, about | {"layer": layer}, axes))
    return written


def detection_rows(found: Detection, source: str) -> list[dict[str, Any]]:
    """Rows of the CSV, one per visit."""
    from napari_followup.io.save_results import lesion_rows, lesion_size

    stack, about = found.stack, found.provenance
    lesions = lesion_rows(found)
    flagged = [int(row["voxels"]) for row in lesions]
    return [
        {
            "source": source,
            "subject": stack.subject,
            "visit": visit + 1,
            "age": _short(stack.ages[visit]),
            "observed": bool(stack.is_observed[visit]),
            "image_score": _short(found.image_score[visit]),
            "flagged_pixels": flagged[visit],
            "flagged_size": _short(lesion_size(stack, flagged[visit])[0]),
            "unit": lesion_size(stack, flagged[visit])[1],
            "components": lesions[visit]["components"],
            "threshold": _short(found.threshold),
            "model": about["model"],
            "model_version": about["model_version"],
            "model_fingerprint": about["model_fingerprint"],
            "recipe": about["recipe_name"] or _hash_of(about["recipe"]),
            "seed": about["seed"],
            "version": about["version"],
        }
        for visit in range(stack.n_visits)
    ]


def _short(value: Any) -> float:
    """Round to six digits: more than the measurement has."""
    return float(f"{value:.6g}")


def _hash_of(settings: Mapping[str, Any]) -> str:
    """Short hash of a recipe without a name; the ``.npz`` holds its settings in full."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV; an empty list gives no file."""
    from napari_followup.evaluation.report import replacing

    if rows:
        with replacing(path) as draft, draft.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=_columns(rows))
            writer.writeheader()
            writer.writerows(rows)
    return path


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def check_file(path: Path) -> None:
    """Check before any computing that a file can be written.

    Raises
    ------
    ValueError
        If its name has none of the endings.
    OSError
        If it is a folder, or its folder cannot be created or written to.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"out: got {path.name!r}; end the name in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise IsADirectoryError(f"out: {str(path)!r} is a folder; give a file")
    check_out(path.parent)


def subject_of(stacks: Sequence[VisitStack], subject: str | None) -> list[VisitStack]:
    """Stacks of one subject.

    Raises
    ------
    ValueError
        If there are several subjects and none is named, or the named one is missing.
    """
    names = list(dict.fromkeys(stack.subject for stack in stacks))
    if subject is None and len(names) > 1:
        raise ValueError(f"subject: there are several; give --subject, one of {', '.join(names)}")
    if subject is not None and subject not in names:
        raise ValueError(f"subject: got {subject!r}; the file holds {', '.join(names)}")
    return [stack for stack in stacks if subject in (None, stack.subject)]


def modality_of(stack: VisitStack, name: str | None) -> int:
    """Index of a modality by its name; 0 if no name is given.

    Raises
    ------
    ValueError
        If the stack has no such modality.
    """
    if name is None:
        return 0
    if name not in stack.modalities:
        known = ", ".join(stack.modalities)
        raise ValueError(f"modality: got {name!r}; the visits have {known}")
    return stack.modalities.index(name)


def write_series(path: Path, stack: VisitStack, command: str) -> None:
    """Write a series in the format of the ending of `path`, with the command that made it."""
    from napari_followup.io.nifti import write_nifti
    from napari_followup.io.npz import write_npz

    path.parent.mkdir(parents=True, exist_ok=True)
    made = {**stack.provenance, "command": command}
    stack = stack.with_images(stack.images, provenance=made)
    (write_npz if path.suffix.lower() == ".npz" else write_nifti)(path, stack)


def add_series(parser: Subcommands) -> None:
    """SERIES, --out, --split and --axes."""
    parser.add_argument("series", nargs="+", metavar="SERIES", help=f"series: {FORMATS}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    add_split(parser)
    parser.add_argument(
        "--axes",
        help="axes of the array, a letter each: s(ubject) v(isit) m(odality) z y x, such as svyx",
    )


def read_series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series with its file, or the error if the file could not be read."""
    from napari_followup.io import files_in, read_stacks

    for given in map(Path, args.series):
        try:
            files = files_in(given) if given.is_dir() else [given]
        except FAILURES as error:
            yield given, error
            continue
        for file in files:
            try:
                stacks = read_stacks(file, split=args.split, axes=args.axes)
                if len(stacks) > 1:
                    print(f"{file}: read as a cohort of {len(stacks)} subjects", flush=True)
                for stack in stacks:
                    yield file, stack
            except FAILURES as error:
                yield file, error


def report_failure(source: Path, error: Exception) -> None:
    """Print on stderr which series failed, and why."""
    text = str(error).removeprefix(f"{source.name!r}: ")  # as the reader names it
    print(f"napari-followup: error: {source}: {text}", file=sys.stderr)
