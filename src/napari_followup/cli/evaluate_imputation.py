"""``napari-followup evaluate imputation``: how well, how far and how fast visits are imputed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import countdown, counted, read_data, recipe_named

if TYPE_CHECKING:
    from napari_followup.models.files import ModelBundle
    from napari_followup.series.stack import VisitStack

__all__ = ["PARTS", "Report", "add_imputation", "measure_imputation"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One answer: a text with tables, its figures, and what draws them, if anything does."""

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
    """Row with a column for each end of an interval and each kind."""
    low, high = values.pop("interval", (None, None))
    ends = {} if low is None else {"interval_low": low, "interval_high": high}
    kinds = {f"mdice_{kind}": value for kind, value in values.pop("mdice", {}).items()}
    return values | kinds | ends


def add_imputation(parser: argparse.ArgumentParser) -> None:
    """--part and the sizes of its samples."""
    parser.add_argument(
        "--part",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        help="what to measure (default: all)",
    )
    parser.add_argument("--subjects", type=int, metavar="N", help="first N of DATA (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=200, metavar="N", help="of each gap, 0 for all (default: 200)"
    )
    parser.add_argument(
        "--patients",
        type=int,
        default=20,
        metavar="N",
        help="of each anomaly, for references (default: 20)",
    )
    parser.add_argument(
        "--subcode-subjects",
        type=int,
        default=10,
        metavar="N",
        help="for the slow strategies that interpolate codes (default: 10)",
    )


def measure_imputation(args: argparse.Namespace, bundle: ModelBundle) -> Iterator[Report]:
    """Answer part by part."""
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
    from napari_followup.evaluation.imputation_report import group_tables
    from napari_followup.evaluation.imputation_strategies import evaluate_ahead, evaluate_middle

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
    from napari_followup.evaluation.cases import HEALTHY, KINDS, make_cases
    from napari_followup.evaluation.imputation_report import plot_references, reference_table
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
