"""``napari-followup detect``: series in; masks, scores, healthy images and a table out."""

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
    file_stem,
    files_there,
    is_nifti,
    read_series,
    replaced_line,
    tell_failure,
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
    counted,
    planes_chosen,
    recipe_named,
)

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.results import Detection
    from napari_followup.series.stack import VisitStack

    Result = tuple[Path, Callable[[], Detection]]
    """The file of a series, and what makes its detection or raises what went wrong."""

__all__ = ["add_parser", "run"]

FORMATS = ("nifti", "ome-tiff", "ome-zarr", "npz")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "detect",
        parents=[shared],
        help="find what is abnormal in series",
        description="Writes SUBJECT.npz a subject and visits.csv; for a TIFF TIFFs beside it, for "
        "NIfTI files, or with --format, SUBJECT_mask, _score and _healthy on the grid of the "
        "series, with SUBJECT_visits.csv and SUBJECT_provenance.json. Planes that were not looked "
        "at are NaN, and 0 in the mask. Files of these names in --out are replaced; the last line "
        "says which. Results come once all series were examined if the recipe's threshold is one "
        "for all. A series that fails is named on stderr and stops no other; exit code 1.",
    )
    output = parser.add_mutually_exclusive_group()
    for form, text in ((True, "TIFFs beside the .npz"), (False, "the .npz alone")):
        output.add_argument(
            "--tiff" if form else "--npz",
            dest="tiff",
            action="store_const",
            const=form,
            help=f"write {text} (default: as the input)",
        )
    output.add_argument(
        "--format", choices=FORMATS, help="format of mask, score and healthy images"
    )
    add_series(parser)
    parser.add_argument(
        "--ages", type=_ages, metavar="61,62.5,...", help="ages of a single series that has none"
    )
    parser.add_argument(
        "--imputed-references",
        action="store_true",
        help="let imputed visits of the series (see impute) count when scores are fused over "
        "visits; they serve as references only and are not flagged",
    )
    add_model(parser)
    add_planes(parser)
    add_recipe(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Detect in every series, one after another."""
    from napari_followup.device import choose_device
    from napari_followup.models.files import load_bundle

    planes, bundle = planes_chosen(args), load_bundle(args.model)
    recipe = _recipe(args, bundle)
    choose_device(args.device)  # a wrong one is the user's error, not each file's
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
            args.out.mkdir(parents=True, exist_ok=True)  # once there is something to put into it
            _write(args, source, file_stem(found.stack.subject, taken), found)
        except FAILURES as error:
            if args.debug:
                raise
            failed += 1
            tell_failure(source, error)
            continue
        rows += detection_rows(found, str(source))
        # Each time anew: what is done is kept if the run dies.
        write_csv(args.out / "visits.csv", rows)
        print(f"{_finding(found)} ({time.monotonic() - start:.1f} s)", flush=True)
        for note in _notes(found, source):
            print(f"  {note}", flush=True)
    if not rows:
        raise ValueError("nothing could be examined")
    print(f"Written to {args.out}: {len(taken)} series, one row a visit in visits.csv")
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
    """All series, cut at one threshold once the last of them was examined."""
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
        print(f"One threshold for {len(sources)} series; results are written now", flush=True)
    for source in sources:
        yield source, cohort.segment


def _fail(error: Any) -> NoReturn:
    raise error


def _write(args: argparse.Namespace, source: Path, stem: str, found: Detection) -> None:
    """Write the ``.npz``, and what the input or the options ask for beside it."""
    from napari_followup.io.save_results import save_results

    chosen = args.tiff is not None or args.format is not None
    is_tiff = source.suffix.lower() in (".tif", ".tiff") and not chosen
    write_detection(args.out, stem, found, tiff=is_tiff or bool(args.tiff))
    form = args.format or ("nifti" if is_nifti(source) and not chosen else None)
    if form:
        made = {**found.provenance, "source": str(source), "command": args.command_line}
        told = replace(found, provenance=made)
        save_results(told, args.out, format=form, name=stem, overwrite=True)


def _recipe(args: argparse.Namespace, bundle: ModelBundle) -> Recipe:
    recipe = recipe_named(args.recipe, bundle)
    return replace(recipe, imputed_references=True) if args.imputed_references else recipe


def _ages(text: str) -> list[float]:
    """Ages from one word."""
    try:
        return [float(age) for age in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; give years with commas between, such as 61,62.5"
        ) from error


def _series(args: argparse.Namespace) -> Iterator[tuple[Path, VisitStack | Exception]]:
    """Every series, with the ages given for it if there is one alone."""
    if args.ages is None:
        yield from read_series(args)
        return
    found = list(read_series(args))
    if len(found) > 1:
        raise ValueError(f"ages: given for one series, got {len(found)}; examine them one by one")
    for source, stack in found:
        if isinstance(stack, Exception):
            yield source, stack
        elif stack.ages_known:
            raise ValueError(f"ages: {source.name!r} has ages of its own; leave --ages out")
        else:
            yield source, stack.with_images(stack.images, ages=args.ages, ages_known=True)


def _notes(found: Detection, source: Path) -> list[str]:
    """List what the user should know: how the series was taken, and what the result says."""
    stack, notes = found.stack, []
    if stack.shape[2] > 1:
        doubt = source.suffix.lower() in (".npz", ".tif", ".tiff")  # others name their axes
        notes.append(
            f"taken as volumes of {stack.shape[2]} planes, examined plane by plane"
            + ("; if it is a cohort (subject, visit, y, x), say --axes svyx" if doubt else "")
        )
    notes.append(f"highest score {_highest(found):.3g}, {_flagged_from(found)}")
    first = [found.out_of_distribution] if found.is_out_of_distribution else []
    said = [note for note in found.provenance["notes"] if note not in first]
    return [*notes, *_dropped(found), *said]


def _finding(found: Detection) -> str:
    """First line of a result: the finding, or why there is none."""
    if found.is_out_of_distribution:
        return f"{found.stack.subject}: {found.out_of_distribution}"
    flagged = int(found.mask.any(axis=(1, 2, 3)).sum())
    observed = int(found.stack.is_observed.sum())
    return f"{found.stack.subject}: anomalies flagged at {flagged} of {counted(observed, 'visit')}"


def _highest(found: Detection) -> float:
    import numpy as np

    observed = np.flatnonzero(found.stack.is_observed)
    return max(float(np.nanmax(found.score[visit])) for visit in observed)


def _flagged_from(found: Detection) -> str:
    high, low = found.flagging_thresholds
    if high == float("inf"):
        return "the threshold is beyond every score"
    return f"flagged from {high:.3g} on" + (f", followed down to {low:.3g}" if low < high else "")


def _dropped(found: Detection) -> list[str]:
    """Say why nothing is flagged although a score reached the threshold."""
    from napari_followup.io.save_results import lesion_size

    recipe, unit = found.provenance["recipe"], lesion_size(found.stack, 0)[1]
    causes = [
        *(["at the border of the subject or outside it"] if recipe["erosion"] else []),
        *([f"in parts below {recipe['smallest']:g} {unit}"] if recipe["smallest"] else []),
    ]
    if not causes or found.mask.any() or _highest(found) < found.flagging_thresholds[0]:
        return []
    return [f"all regions that reached the threshold were dropped: {' or '.join(causes)}"]
