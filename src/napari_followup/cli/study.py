"""``napari-followup study``: compare all models on the same patients."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.options import (
    FORMATS,
    Subcommands,
    add_device,
    add_seed,
    check_out,
    countdown,
    counted,
    read_data,
)

if TYPE_CHECKING:
    from napari_followup.evaluation.study import Entry, Job, Store, StudyRow, Subjects
    from napari_followup.evaluation.verdicts import ClaimFigures
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]

MADE_SEED = 20_000  # of generated subjects: far from seeds that models were trained with
MADE_TRAINING = 200  # generated subjects that the principal components learn from


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "study",
        parents=[shared],
        help="compare models on the same patients",
        description="Draws anomalies into healthy subjects and measures every model on them: with "
        "its default recipe, without fusion, and with LAFM. Principal components are the baseline. "
        "Finished rows are kept in --out; a study that was stopped resumes there.",
    )
    parser.add_argument("name", choices=("starmen",), help="anomalies of the Starmen benchmark")
    parser.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help=f"healthy series, such as the published cohort: {FORMATS} (default: generated "
        "subjects)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    _add_models(parser)
    _add_subjects(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="names in `bundle list`, or .safetensors files (default: all whose names begin "
        "with that of the study)",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="also measure published recipes, some of which make hundreds of network calls",
    )
    parser.add_argument(
        "--claims", action="store_true", help="also check claims of the sources (takes longer)"
    )
    parser.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="CLAIM=FIRST,SECOND",
        help="compare two models that were trained differently, FIRST the one claimed to be "
        "better; CLAIM is pyramid, erasing or grid",
    )


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--patients": (20, "patients per anomaly"),
        "--healthy": (60, "healthy patients"),
        "--held-out": (30, "other healthy subjects, for thresholds that a model lacks"),
    }
    for name, (usual, what) in counts.items():
        parser.add_argument(
            name, type=int, default=usual, metavar="N", help=f"{what} (default: {usual})"
        )
    parser.add_argument(
        "--split",
        help="split of a cohort file to measure on (default: val; without splits, half of the "
        "subjects, drawn with the seed)",
    )
    parser.add_argument(
        "--training-split",
        metavar="SPLIT",
        help="split of a cohort file that the principal components learn from (default: train; "
        "without splits, the other half)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure the rows that are missing, then write the tables."""
    from napari_followup.evaluation.study_claims import answers

    check_out(args.out)
    models = _models(args)
    subjects, training = _subjects(args)
    entries, notes = _entries(models, training, published=args.published)
    claims = args.claims or args.pair
    asked, unanswered = _questions(args, models) if claims else ([], [])
    store = _store(args, subjects)
    jobs = [job for entry in entries for job in store.jobs(entry)]
    jobs += [job for each in asked for entry in each.entries for job in store.jobs(entry)]
    _measure(jobs, subjects, store, args)
    about, who = _about(args, entries, subjects), _who(subjects)
    files = _write_table(args.out, store.rows(entries), notes, who, about)
    if claims:
        files += _write_claims(args.out, answers(asked, store), unanswered, who, about)
    for path in files:
        print(path)
    return 0


def _models(args: argparse.Namespace) -> dict[str, ModelBundle]:
    """Models by name; the parts of a file are models of their own."""
    from napari_followup.models.catalogue import embedded, installed
    from napari_followup.models.files import load_bundle

    found: dict[str, ModelBundle] = {}
    known = [name for name in (*embedded(), *installed()) if name.startswith(args.name)]
    for source in args.models or dict.fromkeys(known):
        bundle = load_bundle(source)
        if bundle.name in found:
            raise ValueError(
                f"models: {str(source)!r} has the name of another, {bundle.name!r}; give each "
                "once, or rename one"
            )
        found[bundle.name] = bundle
        found |= {f"{bundle.name} ({part})": other for part, other in bundle.parts.items()}
    if not found:
        raise ValueError(f"models: no name begins with {args.name!r}; give --models")
    return found


def _subjects(args: argparse.Namespace) -> tuple[Subjects, list[VisitStack]]:
    """Patients, and the subjects that the principal components learn from."""
    from napari_followup.evaluation.cases import KINDS, healthy_cases, make_cases, unused
    from napari_followup.evaluation.study import Subjects

    stacks, training, about = _given(args) if args.data else _generated(args)
    cases = make_cases(stacks, KINDS, patients=args.patients, healthy=args.healthy, seed=args.seed)
    free = unused(stacks, cases)[: args.held_out]
    count = 0 if free else min(args.held_out, len(training) // 2)
    if count:
        free = healthy_cases(training[-count:], first=len(stacks))
        training = training[:-count]
        about += "; thresholds from subjects that models may have been trained on"
    print(f"{about}; {counted(len(free), 'subject')} for thresholds", file=sys.stderr)
    return Subjects(cases=tuple(cases), calibration=tuple(free), about=about), training


def _given(args: argparse.Namespace) -> tuple[list[VisitStack], list[VisitStack], str]:
    """Subjects to measure on and to learn from: by the splits of the files, or drawn at random."""
    from napari_followup.io.npz import holds
    from napari_followup.training.cohort import split_subjects

    names = ", ".join(Path(path).name for path in args.data)
    if args.split or args.training_split or any(holds(Path(path), "split") for path in args.data):
        split = args.split or "val"
        training = read_data(args.data, args.training_split or "train")
        return read_data(args.data, split), training, f"{names}, split {split}"
    every = read_data(args.data)
    training, stacks = split_subjects(every, 0.5, args.seed)
    return stacks, training, f"{names}, {len(stacks)} of {len(every)} series drawn to measure on"


def _generated(args: argparse.Namespace) -> tuple[list[VisitStack], list[VisitStack], str]:
    from napari_followup.evaluation.cases import KINDS
    from napari_followup.synthetic import starmen

    count = len(KINDS) * args.patients + args.healthy + args.held_out
    seed = MADE_SEED + args.seed
    made = starmen(MADE_TRAINING + count, seed=seed)
    about = f"generated by napari_followup.synthetic.starmen(subjects={len(made)}, seed={seed})"
    return made[MADE_TRAINING:], made[:MADE_TRAINING], about


def _entries(
    models: dict[str, ModelBundle], training: Sequence[VisitStack], *, published: bool
) -> tuple[list[Entry], list[str]]:
    from napari_followup.cli.evaluate import components_of
    from napari_followup.evaluation.study import baseline_entry, model_entry

    made = [model_entry(name, bundle, published=published) for name, bundle in models.items()]
    carrier = next(iter(models.values()))
    planes = sum(int(stack.is_observed.sum()) * stack.shape[2] for stack in training)
    baseline = baseline_entry(components_of(list(training), carrier), carrier, planes)
    return [*(entry for entry, _ in made), baseline], [note for _, own in made for note in own]


def _questions(
    args: argparse.Namespace, models: dict[str, ModelBundle]
) -> tuple[list[Any], list[str]]:
    """Questions of --claims, then those of --pair."""
    from napari_followup.evaluation.study_claims import pair_questions, questions
    from napari_followup.models.files import load_bundle

    pairs = {}
    for given in args.pair:
        name, _, files = given.partition("=")
        both = files.split(",")
        if len(both) != 2:
            raise ValueError(f"pair: got {given!r}; give CLAIM=FIRST,SECOND")
        pairs[name] = (load_bundle(both[0]), load_bundle(both[1]))
    of_one, of_two = questions(models if args.claims else {}), pair_questions(pairs)
    notes = [*(of_one[1] if args.claims else []), *of_two[1]]
    return [*of_one[0], *of_two[0]], notes


def _store(args: argparse.Namespace, subjects: Subjects) -> Store:
    from napari_followup.device import choose_device
    from napari_followup.evaluation.study import Store

    settings = {
        "seed": args.seed,
        "device": choose_device(args.device).type,
        "subjects": subjects.digest,
    }
    return Store(folder=args.out / "rows", settings=settings)


def _measure(
    jobs: Sequence[Job], subjects: Subjects, store: Store, args: argparse.Namespace
) -> None:
    """Run the jobs; print on stderr which one, and the time left."""
    from napari_followup.evaluation.study import run_job, steps_of

    report = _counter(sum(steps_of(job, subjects) for job in jobs))
    for place, job in enumerate(jobs, start=1):
        names = ", ".join(row.name for row in job.rows)
        print(f"{place} of {len(jobs)}: {job.entry.name}: {names}", file=sys.stderr, flush=True)
        run_job(job, subjects, store, device=args.device, seed=args.seed, on_step=report)


def _counter(total: int) -> Callable[[], None]:
    report, done = countdown("patient", roughly=True), 0  # models differ in speed

    def step() -> None:
        nonlocal done
        done += 1
        report(done, total)

    return step


def _write_table(
    out: Path, rows: Sequence[StudyRow], notes: Sequence[str], who: str, about: dict[str, Any]
) -> list[Path]:
    """Print the table of all models, and write it."""
    from napari_followup.cli.files import write_csv
    from napari_followup.evaluation.report import write_report
    from napari_followup.evaluation.study_report import csv_rows, json_rows, study_text

    text, title = study_text(rows, notes, who), "All models on the same patients"
    print(text, flush=True)
    files = write_report(out, "study", title, text, json_rows(rows), about)
    return [*files, write_csv(out / "study.csv", csv_rows(rows))]


def _write_claims(
    out: Path, claims: Sequence[ClaimFigures], notes: Sequence[str], who: str, about: dict[str, Any]
) -> list[Path]:
    """Print the table of claims, and write it."""
    from napari_followup.evaluation.report import write_report
    from napari_followup.evaluation.study_report import claims_text

    text = claims_text(claims, notes, who)
    print(f"\n{text}", flush=True)
    return write_report(out, "claims", "Published claims, checked", text, claims, about)


def _who(subjects: Subjects) -> str:
    kinds = [case.kind for case in subjects.cases]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    held_out = counted(len(subjects.calibration), "other healthy subject")
    return f"Subjects: {subjects.about}. Patients: {counts}; {held_out} for thresholds."


def _about(
    args: argparse.Namespace, entries: Sequence[Entry], subjects: Subjects
) -> dict[str, Any]:
    from importlib.metadata import version

    models = [f"{entry.name} {entry.method} {entry.fingerprint}" for entry in entries]
    return {
        "command": args.command_line,
        "seed": args.seed,
        "software": f"napari-followup {version('napari-followup')}",
        "models": ", ".join(models),
        "subjects": f"{subjects.about}, {subjects.digest}",
    }
