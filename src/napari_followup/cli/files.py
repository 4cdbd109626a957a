"""Result files: maps as ``.npz`` or TIFF, one CSV row a visit; each says how it came about."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import FORMATS, Subcommands, check_out

if TYPE_CHECKING:
    from napari_followup.series.results import Detection
    from napari_followup.series.stack import VisitStack

__all__ = [
    "FAILURES",
    "add_series",
    "check_file",
    "detection_rows",
    "file_stem",
    "files_there",
    "is_nifti",
    "modality_of",
    "read_series",
    "replaced_line",
    "subject_of",
    "tell_failure",
    "write_csv",
    "write_detection",
    "write_maps",
    "write_series",
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
    from napari_followup.io.save_results import lesion_rows, lesion_size

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


SUFFIXES = (".npz", ".nii", ".nii.gz")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, before any computing.

    Raises
    ------
    ValueError
        If its name ends in none of the formats.
    OSError
        If it is a folder, or its folder cannot be made or written into.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"out: got {path.name!r}; end the name in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise IsADirectoryError(f"out: {str(path)!r} is a folder; give a file")
    check_out(path.parent)


def subject_of(stacks: Sequence[VisitStack], subject: str | None) -> list[VisitStack]:
    """Keep the stacks of one subject.

    Raises
    ------
    ValueError
        If there are several subjects and none is named, or the named one is not there.
    """
    names = list(dict.fromkeys(stack.subject for stack in stacks))
    if subject is None and len(names) > 1:
        raise ValueError(f"subject: there are several; give --subject, one of {', '.join(names)}")
    if subject is not None and subject not in names:
        raise ValueError(f"subject: got {subject!r}; there is {', '.join(names)}")
    return [stack for stack in stacks if subject in (None, stack.subject)]


def modality_of(stack: VisitStack, name: str | None) -> int:
    """Position of a modality by its name; the first one without a name.

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
    """Write a series in the format that `path` names, with the command that made it."""
    from napari_followup.io.nifti import write_nifti
    from napari_followup.io.npz import write_npz

    path.parent.mkdir(parents=True, exist_ok=True)
    said = {**stack.provenance, "command": command}
    stack = stack.with_images(stack.images, provenance=said)
    (write_npz if path.suffix.lower() == ".npz" else write_nifti)(path, stack)


# What one bad file or one series too large may raise without ending the others' run.
FAILURES = (OSError, ValueError, TypeError, MemoryError, ArithmeticError, RuntimeError)


def add_series(parser: Subcommands) -> None:
    """SERIES, --out, --split and --axes."""
    parser.add_argument("series", nargs="+", metavar="SERIES", help=f"series: {FORMATS}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    parser.add_argument(
        "--axes", help="one letter an axis, s(ubject) v(isit) m(odality) z y x, such as svyx"
    )


def read_series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series with the file it comes from, or what went wrong when the file was read."""
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
                    print(f"{file}: taken as a cohort of {len(stacks)} subjects", flush=True)
                for stack in stacks:
                    yield file, stack
            except FAILURES as error:
                yield file, error


def tell_failure(source: Path, error: Exception) -> None:
    """Name on stderr the series that failed."""
    text = str(error).removeprefix(f"{source.name!r}: ")  # as reading names it
    print(f"napari-followup: error: {source}: {text}", file=sys.stderr)
