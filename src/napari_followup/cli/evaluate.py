"""``napari-followup evaluate``: detection, reconstruction and imputation in figures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.evaluate_imputation import Report, add_imputation, measure_imputation
from napari_followup.cli.files import write_csv
from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_model,
    add_recipe,
    add_seed,
    check_out,
    countdown,
    counted,
    read_data,
    recipe_named,
)

if TYPE_CHECKING:
    from napari_followup.evaluation.rows import Components, Row
    from napari_followup.models.files import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "components_of", "run"]

SHORT = {  # rows of the model
    "default recipe": "default",
    "published recipe": "published",
    "pixel distance + Yen": "yen",
    "FAM + Yen, no fusion": "fam",
}
ROWS = (*SHORT.values(), "pca", "ceiling", "thesis")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand and its three questions."""
    parser = subcommands.add_parser("evaluate", help="measure a model and its recipes")
    questions = parser.add_subparsers(title="questions", required=True, metavar="QUESTION")
    _add_detection(questions, shared)
    reconstruction = questions.add_parser(
        "reconstruction", parents=[shared], help="healthy images, met or not"
    )
    _add_common(reconstruction, _reconstruction)
    reconstruction.add_argument("--level", type=int, default=250, help="noise level (default: 250)")
    imputation = questions.add_parser(
        "imputation",
        parents=[shared],
        help="visits hidden and predicted",
        description="Hides visits of healthy series and predicts them from others; draws anomalies "
        "for the parts anomalies and references. Each part is a report of its own.",
    )
    _add_common(imputation, measure_imputation)
    add_imputation(imputation)


def _add_detection(questions: Subcommands, shared: argparse.ArgumentParser) -> None:
    detection = questions.add_parser(
        "detection",
        parents=[shared],
        help="drawn anomalies, found or not",
        description="Draws anomalies into the last healthy subjects of DATA; the others tell false "
        "positives. No subject plays two parts.",
    )
    _add_common(detection, _detection)
    detection.add_argument("--patients", type=int, default=20, help="of each anomaly (default: 20)")
    detection.add_argument(
        "--healthy", type=int, help="healthy patients (default: all that remain)"
    )
    drawn = detection.add_mutually_exclusive_group()
    drawn.add_argument(
        "--extra", action="store_true", help="other anomalies, which nothing was chosen for"
    )
    drawn.add_argument(
        "--generic",
        action="store_true",
        help="blobs and patches for images that are no starmen, your own cohort for one",
    )
    detection.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), help="to compare (default: all)"
    )
    detection.add_argument(
        "--training-split",
        default="train",
        metavar="SPLIT",
        help="healthy subjects of DATA that the principal components and the ceilings learn from "
        "(default: train)",
    )


def _add_common(parser: argparse.ArgumentParser, action: Any) -> None:
    parser.add_argument("data", nargs="+", metavar="DATA", help=f"healthy series: {FORMATS}")
    parser.add_argument("--split", help="take the subjects a cohort file marks with this word")
    parser.add_argument(
        "--out", type=Path, help="folder for the table (.md) and the figures (.json)"
    )
    add_model(parser)
    add_recipe(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run, action=action)


def run(args: argparse.Namespace) -> int:
    """Measure and report."""
    from napari_followup.models.files import load_bundle

    if args.out:
        check_out(args.out)
    bundle = load_bundle(args.model)
    for report in args.action(args, bundle):
        print(report.text, flush=True)
        if args.out:
            _write(args, report, _provenance(args, bundle) | report.about)
    return 0


def _write(args: argparse.Namespace, report: Report, said: dict[str, Any]) -> None:
    """Write a report and name its files."""
    from napari_followup.evaluation.report import write_report

    out, name = args.out, report.name
    files = write_report(out, name, report.title, report.text, report.figures, said)
    if report.csv:
        files.append(write_csv(out / f"{name}.csv", report.rows()))
    if report.plot:
        files.append(report.plot(out / f"{name}.png"))
    for path in files:
        print(path)


def _provenance(args: argparse.Namespace, bundle: ModelBundle) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "command": args.command_line,
        "seed": args.seed,
        "software": f"napari-followup {version('napari-followup')}",
        "model": f"{bundle.name} {bundle.version}, {bundle.fingerprint}",
    }


def _detection(args: argparse.Namespace, bundle: ModelBundle) -> Iterator[Report]:
    from napari_followup.evaluation.cases import EXTRA_KINDS, GENERIC_KINDS, KINDS, make_cases
    from napari_followup.evaluation.detection import THESIS, evaluate_detection
    from napari_followup.evaluation.report import detection_table

    kinds = EXTRA_KINDS if args.extra else GENERIC_KINDS if args.generic else KINDS
    stacks = read_data(args.data, args.split)
    cases = make_cases(stacks, kinds, patients=args.patients, healthy=args.healthy, seed=args.seed)
    rows, notes = _rows(args, bundle)
    figures = evaluate_detection(
        cases, bundle, rows, device=args.device, seed=args.seed, on_step=countdown("patient")
    )
    counts = ", ".join(f"{number} {kind}" for kind, number in figures[0].patients.items())
    if "thesis" in args.rows and kinds is KINDS:
        figures.append(THESIS)
    name = f"detection{'_extra' * args.extra}{'_generic' * args.generic}"
    text = f"{detection_table(figures)}\n\nPatients: {counts}. All but the l1-ratio in per cent."
    notes += [f"{row.name}: {note}" for row in figures for note in row.notes]
    text = "\n".join([text, *notes])
    yield Report(
        name=name, title="Detection", text=text, figures=figures, about={"patients": counts}
    )


def _rows(args: argparse.Namespace, bundle: ModelBundle) -> tuple[list[Row], list[str]]:
    """Make the rows asked for, and say which of them this model or these data cannot give."""
    from napari_followup.evaluation.row_judging import usable
    from napari_followup.evaluation.rows import model_rows

    default = recipe_named(args.recipe, bundle)
    names = {short: name for name, short in SHORT.items() if short in args.rows}
    wanted = [row for row in model_rows(bundle, default) if row.name in names.values()]
    trial = [row for row in wanted if row.name == names.get("default")]  # an error, if it is one
    kept, notes = usable([row for row in wanted if row not in trial], bundle)
    if "published" in names and "published" not in bundle.recipes:
        notes.insert(0, f"{names['published']}: left out, method {bundle.method!r} has none")
    more, others = _learned_rows(args, bundle, default)
    notes += others
    if not (rows := [*trial, *kept, *more]):
        why = "; ".join(notes) or "the thesis' figures stand beside others"
        raise ValueError(f"rows: nothing to measure; {why}")
    return rows, notes


def _learned_rows(
    args: argparse.Namespace, bundle: ModelBundle, default: Recipe
) -> tuple[list[Row], list[str]]:
    """Rows that need healthy subjects to learn from, where the data have them."""
    from napari_followup.evaluation.cases import healthy_cases
    from napari_followup.evaluation.row_judging import ceiling_rows
    from napari_followup.evaluation.rows import baseline_rows

    wanted = [name for name in ("pca", "ceiling") if name in args.rows]
    if not wanted:
        return [], []
    try:
        training = read_data(args.data, args.training_split)
    except ValueError as error:
        return [], [f"{' and '.join(wanted)}: left out, {error}"]
    rows: list[Row] = []
    notes: list[str] = []
    if "pca" in wanted:
        rows += baseline_rows(components_of(training, bundle))
    if "ceiling" in wanted:
        named = {"default recipe": default, "published recipe": bundle.recipes.get("published")}
        recipes = {name: recipe for name, recipe in named.items() if recipe is not None}
        found, notes = ceiling_rows(bundle, recipes, healthy_cases(training[:50]))
        rows += found
    return rows, notes


def components_of(training: list[VisitStack], bundle: ModelBundle) -> Components:
    """Principal components of healthy series, as a model would see them."""
    import torch

    from napari_followup.detection.prepare import prepare
    from napari_followup.evaluation.rows import fit_components

    device = torch.device("cpu")
    planes = [prepare(stack, bundle, device).visits.planes for stack in training]
    return fit_components(torch.cat(planes))


def _reconstruction(args: argparse.Namespace, bundle: ModelBundle) -> Iterator[Report]:
    from napari_followup.evaluation.reconstruction import (
        THESIS,
        evaluate_reconstruction,
        usual_options,
    )
    from napari_followup.evaluation.report import reconstruction_table

    stacks = read_data(args.data, args.split)
    options = usual_options(recipe_named(args.recipe, bundle), args.level)
    figures = evaluate_reconstruction(
        stacks, bundle, options, device=args.device, seed=args.seed, on_step=countdown("subject")
    )
    settings = "\n".join(f"{name}: {values}" for name, values in options.items())
    who = counted(len(stacks), "healthy subject")
    text = f"{reconstruction_table([*figures, THESIS])}\n\n{who}.\n{settings}"
    yield Report(
        name="reconstruction",
        title="Reconstruction of healthy images",
        text=text,
        figures=[*figures, THESIS],
        about={"subjects": len(stacks)},
    )
