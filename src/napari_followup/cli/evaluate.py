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
    from napari_followup.bundle import ModelBundle
    from napari_followup.evaluation.cases import Case
    from napari_followup.evaluation.detection import Row

__all__ = ["add_parser", "run"]

ROWS = ("default", "published", "yen", "fam", "pca", "ceiling", "thesis")


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
    detection.add_argument(
        "--extra", action="store_true", help="other anomalies, which nothing was chosen for"
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
    from napari_followup.bundle import load_bundle

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
    from napari_followup.evaluation.cases import EXTRA_KINDS, KINDS, make_cases
    from napari_followup.evaluation.detection import THESIS, evaluate_detection
    from napari_followup.evaluation.report import detection_table

    kinds = EXTRA_KINDS if args.extra else KINDS
    stacks = read_data(args.data, args.split)
    cases = make_cases(stacks, kinds, patients=args.patients, healthy=args.healthy, seed=args.seed)
    rows = _rows(args, bundle)
    figures = evaluate_detection(
        cases, bundle, rows, device=args.device, seed=args.seed, on_step=countdown("patient")
    )
    counts = ", ".join(f"{number} {kind}" for kind, number in figures[0].patients.items())
    if "thesis" in args.rows and not args.extra:
        figures.append(THESIS)
    name = "detection_extra" if args.extra else "detection"
    text = f"{detection_table(figures)}\n\nPatients: {counts}. All but the l1-ratio in per cent."
    notes = [f"{row.name}: {note}" for row in figures for note in row.notes]
    text = "\n".join([text, *notes])
    yield Report(
        name=name, title="Detection", text=text, figures=figures, about={"patients": counts}
    )


def _rows(args: argparse.Namespace, bundle: ModelBundle) -> list[Row]:
    """Make the rows asked for."""
    from napari_followup.evaluation.detection import baseline_rows, ceiling_rows, model_rows
    from napari_followup.recipe import Recipe

    default = recipe_named(args.recipe, bundle)
    chosen = dict(zip(("default", "published", "yen", "fam"), model_rows(default), strict=True))
    rows = [row for name, row in chosen.items() if name in args.rows]
    if {"pca", "ceiling"} & set(args.rows):
        training = read_data(args.data, args.training_split)
        if "pca" in args.rows:
            rows += baseline_rows(_components(training, bundle))
        if "ceiling" in args.rows:
            recipes = {"default recipe": default, "published recipe": Recipe.published()}
            rows += ceiling_rows(bundle, recipes, _healthy_cases(training[:50]))
    if not rows:
        raise ValueError("rows: nothing to measure; the thesis' figures stand beside others")
    return rows


def _components(training: list[Any], bundle: ModelBundle) -> Any:
    import torch

    from napari_followup.evaluation.baselines import fit_components
    from napari_followup.preparation import prepare

    device = torch.device("cpu")
    planes = [prepare(stack, bundle, device).visits.planes for stack in training]
    return fit_components(torch.cat(planes))


def _healthy_cases(stacks: list[Any]) -> list[Case]:
    from napari_followup.evaluation.cases import make_cases

    return make_cases(stacks, (), patients=1)


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
