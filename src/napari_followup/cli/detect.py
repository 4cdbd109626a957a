"""``napari-followup detect``: find anomalies in series; write masks, scores and a table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from napari_followup.cli.files import (
    FAILURES,
    add_series,
    detection_rows,
    files_there,
    is_nifti,
    read_series,
    replaced_line,
    report_failure,
    write_csv,
    write_detection,
)
from napari_followup.cli.options import (
    Subcommands,
    add_device,
    add_model,
    add_planes,
    add_recipe,
    add_seed,
    check_out,
    planes_chosen,
    recipe_named,
)

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.results import Detection
    from napari_followup.series.stack import VisitStack

    Result = tuple[Path, Callable[[], Detection]]
    """File of a series, and a function that makes its detection or raises the error."""

__all__ = ["add_parser", "first_line", "notes_on", "run"]

FORMATS = ("nifti", "ome-tiff", "ome-zarr", "npz")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "detect",
        parents=[shared],
        help="find anomalies in series",
        description="Writes SUBJECT.npz for each subject, and visits.csv. TIFF input also gives "
        "TIFF files. NIfTI input, or --format, also gives SUBJECT_mask, SUBJECT_score and "
        "SUBJECT_healthy on the grid of the series, SUBJECT_visits.csv and "
        "SUBJECT_provenance.json. Planes that were not examined are NaN, and 0 in the mask. Files "
        "with these names in --out are replaced; the last line lists them. If the recipe has one "
        "threshold for all series, results are written after the last series was examined. If a "
        "series fails, its error is printed on stderr, the others are still examined, and the "
        "exit code is 1.",
    )
    output = parser.add_mutually_exclusive_group()
    for form, text in ((True, "TIFF files beside the .npz"), (False, "the .npz only")):
        output.add_argument(
            "--tiff" if form else "--npz",
            dest="tiff",
            action="store_const",
            const=form,
            help=f"write {text} (default: depends on the input)",
        )
    output.add_argument(
        "--format", choices=FORMATS, help="also write mask, score and healthy images in this format"
    )
    add_series(parser)
    parser.add_argument(
        "--ages",
        type=_ages,
        metavar="61,62.5,...",
        help="ages in years, for a single series without ages",
    )
    parser.add_argument(
        "--imputed-references",
        action="store_true",
        help="use imputed visits of the series (see impute) as references when scores are fused "
        "over visits; imputed visits are never flagged themselves",
    )
    add_model(parser)
    add_planes(parser)
    add_recipe(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the series and write the results."""
    from napari_followup.device import choose_device
    from napari_followup.io.replacing import file_stem
    from napari_followup.models.files import load_bundle

    planes, bundle = planes_chosen(args), load_bundle(args.model)
    recipe = _recipe(args, bundle)
    choose_device(args.device)  # a wrong device is one error, not one per file
    check_out(args.out)
    rows: list[dict[str, Any]] = []
    before = files_there(args.out)
    taken: set[str] = set()
    failed = 0
    settings = {"device": args.device, "seed": args.seed, "planes": planes}
    results = _together if recipe.is_pooled else _one_by_one
    for source, make in results(args, bundle, recipe, settings):
        start = time.monotonic()
        try:
            found = make()
            args.out.mkdir(parents=True, exist_ok=True)  # only once there is a result
            _write(args, source, file_stem(found.stack.subject, taken), found)
        except FAILURES as error:
            if args.debug:
                raise
            failed += 1
            report_failure(source, error)
            continue
        rows += detection_rows(found, str(source))
        # Rewritten for each series: finished results survive if the run dies.
        write_csv(args.out / "visits.csv", rows)
        print(f"{first_line(found)} ({time.monotonic() - start:.1f} s)", flush=True)
        for note in [*_volume_note(found, source), *notes_on(found)]:
            print(f"  {note}", flush=True)
    if not rows:
        raise ValueError("nothing could be examined")
    print(f"Written to {args.out}: {len(taken)} series, one row per visit in visits.csv")
    if replaced := replaced_line(args.out, before):
        print(replaced)
    return int(failed > 0)


def _one_by_one(
    args: argparse.Namespace, bundle: ModelBundle, recipe: Recipe, settings: dict[str, Any]
) -> Iterator[Result]:
    """Every series by itself."""
    from napari_followup.detection.detect import detect

    run = partial(detect, bundle=bundle, recipe=recipe, **settings)
    for source, stack in _series(args):
        make = _fail if isinstance(stack, Exception) else run
        yield source, partial(make, stack)


def _together(
    args: argparse.Namespace, bundle: ModelBundle, recipe: Recipe, settings: dict[str, Any]
) -> Iterator[Result]:
    """All series, segmented with one threshold after the last one was examined."""
    from napari_followup.detection.cohort import Cohort

    cohort, sources = Cohort(bundle, recipe, **settings), []
    for source, stack in _series(args):
        start = time.monotonic()
        try:
            if isinstance(stack, Exception):
                raise stack
            cohort.add(stack)
        except FAILURES as error:
            yield source, partial(_fail, error)
            continue
        sources.append(source)
        print(f"{stack.subject}: examined ({time.monotonic() - start:.1f} s)", flush=True)
    if sources:
        print(f"One threshold for {len(sources)} series; writing the results", flush=True)
    for source in sources:
        yield source, cohort.segment


def _fail(error: Any) -> NoReturn:
    raise error


def _write(args: argparse.Namespace, source: Path, stem: str, found: Detection) -> None:
    """Write the ``.npz``, and the further files that the input or the options ask for."""
    from napari_followup.io.save_results import save_results

    chosen = args.tiff is not None or args.format is not None
    is_tiff = source.suffix.lower() in (".tif", ".tiff") and not chosen
    write_detection(args.out, stem, found, tiff=is_tiff or bool(args.tiff))
    form = args.format or ("nifti" if is_nifti(source) and not chosen else None)
    if form:
        made = {**found.provenance, "source": str(source), "command": args.command_line}
        found = replace(found, provenance=made)
        save_results(found, args.out, format=form, name=stem, overwrite=True)


def _recipe(args: argparse.Namespace, bundle: ModelBundle) -> Recipe:
    recipe = recipe_named(args.recipe, bundle)
    return replace(recipe, imputed_references=True) if args.imputed_references else recipe


def _ages(text: str) -> list[float]:
    """Ages from one word."""
    try:
        return [float(age) for age in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; give years separated by commas, such as 61,62.5"
        ) from error


def _series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series; --ages are set if there is a single series without ages."""
    if args.ages is None:
        yield from read_series(args)
        return
    found = list(read_series(args))
    if len(found) > 1:
        raise ValueError(
            f"ages: they are for one series, got {len(found)}; examine them one by one"
        )
    for source, stack in found:
        if isinstance(stack, Exception):
            yield source, stack
        elif stack.ages_known:
            raise ValueError(f"ages: {source.name!r} has ages of its own; leave --ages out")
        else:
            yield source, stack.with_images(stack.images, ages=args.ages, ages_known=True)


def _volume_note(found: Detection, source: Path) -> list[str]:
    """Say that the series was read as volumes, which a file without named axes can get wrong."""
    if found.stack.shape[2] == 1:
        return []
    has_unnamed_axes = source.suffix.lower() in (".npz", ".tif", ".tiff")
    return [
        f"read as volumes of {found.stack.shape[2]} planes, examined plane by plane"
        + (
            "; if it is a cohort (subject, visit, y, x), use --axes svyx"
            if has_unnamed_axes
            else ""
        )
    ]


def first_line(found: Detection) -> str:
    """Subject, finding, and how far to trust it."""
    from napari_followup.series.results import finding

    return f"{found.stack.subject}: {finding([found])}"


def notes_on(found: Detection) -> list[str]:
    """Lines below the first: score and threshold, dropped regions, notes of the provenance."""
    high, low = found.flagging_thresholds
    threshold = f"threshold {high:.3g}" if high < float("inf") else "threshold above every score"
    grown = f"; regions grown down to {low:.3g}" if low < high else ""
    first = f"highest score {_highest(found):.3g}, {threshold}{grown}"
    notes = [note for note in found.provenance["notes"] if note != found.out_of_distribution]
    return [first, *_dropped(found), *notes]


def _highest(found: Detection) -> float:
    import numpy as np

    observed = np.flatnonzero(found.stack.is_observed)
    return max(float(np.nanmax(found.score[visit])) for visit in observed)


def _dropped(found: Detection) -> list[str]:
    """Say why nothing is flagged although a score reached the threshold."""
    from napari_followup.io.save_results import lesion_size

    recipe, unit = found.provenance["recipe"], lesion_size(found.stack, 0)[1]
    causes = [
        *(["at the border of the subject or outside it"] if recipe["erosion"] else []),
        *([f"smaller than {recipe['smallest']:g} {unit}"] if recipe["smallest"] else []),
    ]
    if not causes or found.mask.any() or _highest(found) < found.flagging_thresholds[0]:
        return []
    return [f"all regions above the threshold were dropped: {', or '.join(causes)}"]
