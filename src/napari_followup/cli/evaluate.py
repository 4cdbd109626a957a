"""``napari-followup evaluate``: measure detection, reconstruction and imputation."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import write_csv
from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_model,
    add_recipe,
    add_seed,
    add_split,
    check_out,
    countdown,
    counted,
    read_data,
    recipe_named,
)

if TYPE_CHECKING:
    from napari_followup.evaluation.rows import Components, Row
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.stack import VisitStack

__all__ = [
    "PARTS",
    "Report",
    "add_imputation",
    "add_parser",
    "components_of",
    "measure_imputation",
    "run",
]

SHORT = {  # rows of the model
    "default recipe": "default",
    "published recipe": "published",
    "pixel distance + Yen": "yen",
    "FAM + Yen, no fusion": "fam",
}
ROWS = (*SHORT.values(), "pca", "ceiling", "thesis")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand and its three parts."""
    parser = subcommands.add_parser("evaluate", help="measure a model and its recipes")
    questions = parser.add_subparsers(title="questions", required=True, metavar="QUESTION")
    _add_detection(questions, shared)
    reconstruction = questions.add_parser(
        "reconstruction", parents=[shared], help="how well healthy images are reconstructed"
    )
    _add_common(reconstruction, _reconstruction)
    reconstruction.add_argument("--level", type=int, default=250, help="noise level (default: 250)")
    imputation = questions.add_parser(
        "imputation",
        parents=[shared],
        help="how well hidden visits are predicted",
        description="Hides visits of healthy series and predicts them from the others. The parts "
        "anomalies and references draw anomalies. Each part gives a report of its own.",
    )
    _add_common(imputation, measure_imputation)
    add_imputation(imputation)


def _add_detection(questions: Subcommands, shared: argparse.ArgumentParser) -> None:
    detection = questions.add_parser(
        "detection",
        parents=[shared],
        help="how well drawn anomalies are found",
        description="Draws anomalies into the last healthy subjects of DATA; the other subjects "
        "measure false positives. No subject is used for both.",
    )
    _add_common(detection, _detection)
    detection.add_argument(
        "--patients", type=int, default=20, help="patients per anomaly (default: 20)"
    )
    detection.add_argument(
        "--healthy", type=int, help="number of healthy patients (default: all that remain)"
    )
    drawn = detection.add_mutually_exclusive_group()
    drawn.add_argument(
        "--extra", action="store_true", help="draw other anomalies than those of the thesis"
    )
    drawn.add_argument(
        "--generic",
        action="store_true",
        help="draw blobs and patches, for other images than starmen, such as your own cohort",
    )
    detection.add_argument(
        "--rows",
        nargs="+",
        choices=ROWS,
        default=list(ROWS),
        help="rows of the table (default: all)",
    )
    detection.add_argument(
        "--training-split",
        default="train",
        metavar="SPLIT",
        help="split of DATA that the principal components and the ceilings learn from "
        "(default: train)",
    )


def _add_common(parser: argparse.ArgumentParser, action: Any) -> None:
    parser.add_argument("data", nargs="+", metavar="DATA", help=f"healthy series: {FORMATS}")
    add_split(parser)
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


def _write(args: argparse.Namespace, report: Report, about: dict[str, Any]) -> None:
    """Write a report and print the names of its files."""
    from napari_followup.evaluation.report import write_report

    out, name = args.out, report.name
    files = write_report(out, name, report.title, report.text, report.figures, about)
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
    from napari_followup.evaluation.detection import evaluate_detection
    from napari_followup.evaluation.report import detection_table
    from napari_followup.evaluation.rows import THESIS

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
    """Rows asked for, and notes on those that this model or these data cannot give."""
    from napari_followup.evaluation.detection import usable
    from napari_followup.evaluation.rows import model_rows

    default = recipe_named(args.recipe, bundle)
    names = {short: name for name, short in SHORT.items() if short in args.rows}
    wanted = [row for row in model_rows(bundle, default) if row.name in names.values()]
    trial = [row for row in wanted if row.name == names.get("default")]  # this one may raise
    kept, notes = usable([row for row in wanted if row not in trial], bundle)
    if "published" in names and "published" not in bundle.recipes:
        notes.insert(0, f"{names['published']}: left out, method {bundle.method!r} has none")
    more, others = _learned_rows(args, bundle, default)
    notes += others
    if not (rows := [*trial, *kept, *more]):
        why = "; ".join(notes) or "the thesis' figures need other rows beside them"
        raise ValueError(f"rows: nothing to measure; {why}")
    return rows, notes


def _learned_rows(
    args: argparse.Namespace, bundle: ModelBundle, default: Recipe
) -> tuple[list[Row], list[str]]:
    """Rows that learn from healthy subjects, if the data have them."""
    from napari_followup.evaluation.cases import healthy_cases
    from napari_followup.evaluation.detection import ceiling_rows
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
    """Principal components of healthy series, prepared as for a model."""
    import torch

    from napari_followup.detection.stream import prepare
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


@dataclass(frozen=True, kw_only=True)
class Report:
    """One report: a text with tables, its figures, and a function that plots them, if any."""

    name: str
    title: str
    text: str
    figures: list[Any]
    about: dict[str, Any] = field(default_factory=dict)
    plot: Callable[[Path], Path] | None = None
    csv: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """Figures as rows of a table."""
        return [_flat(asdict(row)) for row in self.figures]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Flatten a row: one column for each end of an interval and for each kind."""
    low, high = values.pop("interval", (None, None))
    ends = {} if low is None else {"interval_low": low, "interval_high": high}
    kinds = {f"mdice_{kind}": value for kind, value in values.pop("mdice", {}).items()}
    return values | kinds | ends


def add_imputation(parser: argparse.ArgumentParser) -> None:
    """--part, and how many subjects each part uses."""
    parser.add_argument(
        "--part",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        help="what to measure (default: all)",
    )
    parser.add_argument(
        "--subjects", type=int, metavar="N", help="use the first N subjects of DATA (default: all)"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=200,
        metavar="N",
        help="pairs of visits per gap, 0 for all (default: 200)",
    )
    parser.add_argument(
        "--patients",
        type=int,
        default=20,
        metavar="N",
        help="patients per anomaly, for references (default: 20)",
    )
    parser.add_argument(
        "--subcode-subjects",
        type=int,
        default=10,
        metavar="N",
        help="subjects for the slow strategies that interpolate codes (default: 10)",
    )


def measure_imputation(args: argparse.Namespace, bundle: ModelBundle) -> Iterator[Report]:
    """Yield the report of each part."""
    bundle.part("tdm")
    stacks = read_data(args.data, args.split)[: args.subjects]
    for part in args.part:
        yield PARTS[part](args, bundle, stacks)


def _how(args: argparse.Namespace, what: str) -> dict[str, Any]:
    return {"device": args.device, "seed": args.seed, "on_step": countdown(what)}


def _next(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    from napari_followup.evaluation.imputation import evaluate_next
    from napari_followup.evaluation.imputation_report import THESIS_NEXT, group_tables

    figures = evaluate_next(stacks, bundle, **_how(args, "visit"))
    thesis = {"next visit": THESIS_NEXT["healthy"]}
    who = counted(len(stacks), "healthy subject")
    return Report(
        name="imputation_next",
        title="Next visit from the previous one",
        text=f"{group_tables(figures, thesis)}\n\n{who}.",
        figures=figures,
        csv=True,
    )


def _ahead(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    from napari_followup.evaluation.imputation import evaluate_ahead, evaluate_middle
    from napari_followup.evaluation.imputation_report import group_tables

    figures = evaluate_ahead(stacks, bundle, **_how(args, "ahead: subject"))
    figures += evaluate_middle(
        stacks, bundle, code_subjects=args.subcode_subjects, **_how(args, "middle: subject")
    )
    who = counted(len(stacks), "healthy subject")
    return Report(
        name="imputation_ahead",
        title="Visits ahead of the first four, and the middle one from its neighbours",
        text=f"{group_tables(figures)}\n\n{who}.",
        figures=figures,
        csv=True,
    )


def _pairs(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    from napari_followup.evaluation import imputation
    from napari_followup.evaluation.imputation_report import gap_tables, plot_gaps

    figures = imputation.evaluate_gaps(
        stacks, bundle, pairs=args.pairs or None, **_how(args, "gap")
    )
    _, _, meaning = (imputation.__doc__ or "").partition("\n\n")
    return Report(
        name="imputation_pairs",
        title="Imputation by the size of the gap",
        text=f"{gap_tables(figures)}\n\n{meaning.strip()}",
        figures=figures,
        plot=lambda path: plot_gaps(figures, path),
        csv=True,
    )


def _anomalies(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    from napari_followup.evaluation.cases import KINDS, make_cases
    from napari_followup.evaluation.imputation import evaluate_anomalies
    from napari_followup.evaluation.imputation_report import THESIS_NEXT, group_tables

    share = max(1, (len(stacks) - 1) // len(KINDS))
    cases = make_cases(stacks, KINDS, patients=share, seed=args.seed)
    kinds = {"healthy": stacks}
    kinds |= {kind: [case.stack for case in cases if case.kind == kind] for kind in KINDS}
    figures = evaluate_anomalies(kinds, bundle, **_how(args, "visit"))
    who = f"{counted(len(stacks), 'healthy subject')}; {share} others with each anomaly drawn in"
    return Report(
        name="imputation_anomalies",
        title="Next visit from the previous one, in sick series",
        text=f"{group_tables(figures, THESIS_NEXT)}\n\n{who}.",
        figures=figures,
        csv=True,
    )


def _references(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    from napari_followup.evaluation.cases import KINDS, make_cases
    from napari_followup.evaluation.imputation_report import plot_references, reference_table
    from napari_followup.evaluation.patients import HEALTHY
    from napari_followup.evaluation.references import evaluate_references, fusion_recipes

    cases = make_cases(stacks, KINDS, patients=args.patients, healthy=0, seed=args.seed)
    figures = evaluate_references(
        [case for case in cases if case.kind != HEALTHY],
        bundle,
        fusion_recipes(recipe_named(args.recipe, bundle)),
        **_how(args, "patient"),
    )
    who = f"{counted(args.patients, 'patient')} of each kind; Dice of observed visits, in per cent"
    return Report(
        name="imputation_references",
        title="Imputed visits as references of the fusion",
        text=f"{reference_table(figures)}\n\n{who}.",
        figures=figures,
        plot=lambda path: plot_references(figures, path),
        csv=True,
    )


def _speed(args: argparse.Namespace, bundle: ModelBundle, stacks: list[VisitStack]) -> Report:
    import torch

    from napari_followup.device import choose_device
    from napari_followup.evaluation.imputation_report import speed_table
    from napari_followup.evaluation.speed import evaluate_speed
    from napari_followup.methods import method_class, method_presets

    torch.manual_seed(args.seed)
    untrained = method_class("tdm")(method_presets("tdm")["thesis"])
    fits = bundle.part("tdm").image_size == untrained.config.image_size
    others = {"preset thesis, untrained, as published": untrained} if fits else {}
    figures = evaluate_speed(stacks[0], bundle, others, device=args.device)
    where = choose_device(args.device)
    threads = counted(torch.get_num_threads(), "thread")
    on = torch.cuda.get_device_name(where) if where.type == "cuda" else f"cpu, {threads}"
    return Report(
        name="imputation_speed",
        title="Seconds an imputed visit",
        text=f"{speed_table(figures)}\n\nOn {on}.",
        figures=figures,
        about={"device": on},
        csv=True,
    )


PARTS: dict[str, Callable[..., Report]] = {
    "next": _next,
    "ahead": _ahead,
    "pairs": _pairs,
    "anomalies": _anomalies,
    "references": _references,
    "speed": _speed,
}
