"""``napari-followup impute``: impute visits of series; write the series and a table."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.cli.files import (
    FAILURES,
    add_series,
    files_there,
    is_nifti,
    read_series,
    replaced_line,
    report_failure,
    write_csv,
    write_tiff,
)
from napari_followup.cli.options import (
    Subcommands,
    add_device,
    add_model,
    add_planes,
    add_seed,
    check_out,
    countdown,
    counted,
    planes_chosen,
    stop_at_interrupt,
)

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.series.results import Imputation
    from napari_followup.series.stack import VisitStack

__all__ = ["add_parser", "run"]

FORMATS = ("nifti", "ome-tiff", "ome-zarr", "npz")


def add_parser(subcommands: Subcommands, shared: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser = subcommands.add_parser(
        "impute",
        parents=[shared],
        help="impute visits: missing ones, at given ages, or after the last visit",
        description="Writes SUBJECT.npz, the series with imputed visits, and SUBJECT.csv, which "
        "says of each visit whether it is observed, imputed or missing. NIfTI input, or --format, "
        "also gives SUBJECT_imputed on the grid of the series. Imputed images are predictions, "
        "not observations. Files with these names in --out are replaced; the last line lists "
        "them. If a series fails, its error is printed on stderr, the others are still imputed, "
        "and the exit code is 1. Ctrl-C keeps finished results.",
    )
    add_series(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ages",
        type=float,
        nargs="+",
        metavar="YEARS",
        help="ages to impute, the same for every series (default: the missing visits of each)",
    )
    which.add_argument(
        "--forecast", type=int, metavar="N", help="impute N visits after the last observed one"
    )
    parser.add_argument(
        "--interval",
        type=float,
        metavar="YEARS",
        help="time between the visits of --forecast (default: as in the series)",
    )
    _add_how(parser)
    add_model(parser)
    add_planes(parser)
    add_device(parser)
    add_seed(parser)
    parser.set_defaults(run=run)


def _add_how(parser: argparse.ArgumentParser) -> None:
    """Strategy, draws and further files."""
    parser.add_argument(
        "--strategy",
        default="joint",
        help="visits to predict from: 'joint' (all), 'both sides' (the nearest before and after), "
        "'direct' (the nearest), 'chain' (one visit after another), 'lerp-slerp' or 'lerp-lerp' "
        "(interpolated codes of an SDM; slow) (default: joint)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        help="images to draw and average (default: 4; 1 for the lerp strategies)",
    )
    parser.add_argument(
        "--sampling-steps",
        type=int,
        metavar="N",
        help="network calls per draw (default: as the model needs)",
    )
    parser.add_argument(
        "--spread", action="store_true", help="also write the standard deviation over the draws"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--tiff", action="store_true", help="also write TIFF files")
    output.add_argument(
        "--format",
        choices=FORMATS,
        help="also write series and spread in this format (default: nifti for NIfTI input)",
    )


def run(args: argparse.Namespace) -> int:
    """Impute the series and write the results."""
    from napari_followup.device import choose_device
    from napari_followup.models.files import load_bundle
    from napari_followup.series.results import Cancelled

    _check(args)
    bundle = load_bundle(args.model)
    bundle.part("sdm" if args.strategy.startswith("lerp") else "tdm")
    choose_device(args.device)  # a wrong device is one error, not one per file
    check_out(args.out)
    before = files_there(args.out)
    taken: set[str] = set()
    failed = 0
    with stop_at_interrupt("step") as stopped:
        for source, stack in read_series(args):
            try:
                if stopped():
                    raise Cancelled("stopped before this series")
                if isinstance(stack, Exception):
                    raise stack
                _fill(args, source, stack, bundle, taken, stopped)
            except Cancelled as stop:
                return _stopped(args, source, stop, taken)
            except FAILURES as error:
                if args.debug:
                    raise
                failed += 1
                report_failure(source, error)
    if not taken:
        raise ValueError("nothing was imputed")
    print(f"Written to {args.out}: {len(taken)} series, a table for each")
    if replaced := replaced_line(args.out, before):
        print(replaced)
    return int(failed > 0)


def _check(args: argparse.Namespace) -> None:
    """Refuse settings that no series can be imputed with."""
    from napari_followup.prediction.gaps import STRATEGIES

    planes_chosen(args)
    if args.strategy not in STRATEGIES:
        raise ValueError(f"strategy: got {args.strategy!r}; give one of {', '.join(STRATEGIES)}")
    if args.spread and (args.draws == 1 or args.strategy.startswith("lerp")):
        raise ValueError("spread: needs 2 draws or more, and no lerp strategy")
    if args.interval is not None and args.forecast is None:
        raise ValueError("interval: works with --forecast only; for other visits give --ages")


def _fill(
    args: argparse.Namespace,
    source: Path,
    stack: VisitStack,
    bundle: ModelBundle,
    taken: set[str],
    stopped: Callable[[], bool],
) -> None:
    """Impute one series, write and report it; skip a series without missing visits."""
    from napari_followup.io.replacing import file_stem

    if args.ages is None and args.forecast is None and not stack.is_missing.any():
        print(f"{stack.subject}: no visit is missing; give --ages or --forecast to impute others")
        return
    start = time.monotonic()
    found = _imputed(args, stack, bundle, stopped)
    _write(args, source, found, file_stem(stack.subject, taken))
    print(f"{_line(found)} ({time.monotonic() - start:.1f} s)", flush=True)
    for note in found.provenance["notes"]:
        print(f"  {note}", flush=True)


def _imputed(
    args: argparse.Namespace, stack: VisitStack, bundle: ModelBundle, stopped: Callable[[], bool]
) -> Imputation:
    from napari_followup.prediction.gaps import coming_ages
    from napari_followup.prediction.impute import imputation

    report = countdown(f"{stack.subject}: step")

    def step(done: int, total: int) -> bool:
        if done < total:  # the line of the series reports the end
            report(done, total)
        return not stopped()

    ages = args.ages
    if args.forecast is not None:
        ages = coming_ages(stack, args.forecast, args.interval)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the notes hold the same
        return imputation(
            stack,
            bundle,
            ages,
            strategy=args.strategy,
            draws=args.draws,
            sampling_steps=args.sampling_steps,
            device=args.device,
            seed=args.seed,
            on_step=step,
            planes=planes_chosen(args),
        )


def _stopped(args: argparse.Namespace, source: Path, stop: Any, taken: set[str]) -> int:
    """Write the finished visits of the current series, if any, and report it."""
    from napari_followup.io.replacing import file_stem

    done = f"{len(taken)} series written before" if taken else "nothing was written before"
    partial: Imputation | None = stop.partial
    if partial is None:
        print(f"stopped; no visit of this series was finished; {done}")
        return 130
    partial = replace(partial, provenance=partial.provenance | {"stopped_early": True})
    stem = file_stem(f"{partial.stack.subject}_partial", taken)
    _write(args, source, partial, stem)
    print(f"stopped; the finished visits of this series are in {args.out / stem}.npz; {done}")
    print(_line(partial))
    return 130


def _write(args: argparse.Namespace, source: Path, found: Imputation, stem: str) -> None:
    """Write the series, its table, and the spread if asked for."""
    from napari_followup.io import write_npz

    stack, about = found.stack, found.provenance | {"command": args.command_line}
    maps = {"images": stack.images}
    if args.spread and found.spread is not None:
        maps["spread"] = found.spread
    args.out.mkdir(parents=True, exist_ok=True)  # only once there is a result
    more = {name: values for name, values in maps.items() if name != "images"}
    write_npz(args.out / f"{stem}.npz", stack.with_images(stack.images, provenance=about), more)
    write_csv(args.out / f"{stem}.csv", _rows(found))
    for name, values in maps.items() if args.tiff else ():
        path: Path = args.out / f"{stem}_{name}.tif"
        shown = stack if name == "images" else stack.with_images(values, is_observed=found.imputed)
        write_tiff(path, values, shown, about | {"imputed": found.imputed.tolist()}, "TCZYX")
    form = args.format or ("nifti" if is_nifti(source) and not args.tiff else "npz")
    if form != "npz":
        _write_as(form, args.out / stem, found, maps, about)


def _write_as(
    form: str,
    start: Path,
    found: Imputation,
    maps: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write the series, and the spread if there is one, in a format of other programs."""
    from napari_followup.io import write_stack
    from napari_followup.io.save_results import FORMATS

    series = found.stack.with_images(maps["images"], provenance=about)
    write_stack(start.with_name(f"{start.name}_imputed{FORMATS[form]}"), series)
    if "spread" in maps:
        layer = {"kind": "image", "result": "spread"}
        spread = found.stack.with_images(
            maps["spread"], is_observed=found.imputed, provenance={**about, "layer": layer}
        )
        write_stack(start.with_name(f"{start.name}_spread{FORMATS[form]}"), spread)


def _rows(found: Imputation) -> list[dict[str, Any]]:
    """One row per visit: position in the file, age, and whether it was observed."""
    stack, about = found.stack, found.provenance
    states = _states(stack)
    return [
        {
            "image": visit + 1,
            "age": float(f"{stack.ages[visit]:.6g}"),
            "state": state,
            "strategy": about["strategy"] if found.imputed[visit] else "",
            "subject": stack.subject,
            "model": about["model"],
            "model_fingerprint": about["model_fingerprint"],
            "seed": about["seed"],
            "version": about["version"],
        }
        for visit, state in enumerate(states)
    ]


def _states(stack: VisitStack) -> list[str]:
    return [
        "observed" if observed else "missing" if missing else "imputed"
        for observed, missing in zip(stack.is_observed, stack.is_missing, strict=True)
    ]


def _line(found: Imputation) -> str:
    ages = found.stack.ages[found.imputed]
    shown = ", ".join(f"{age:.4g}" for age in ages[:6]) + (", ..." if len(ages) > 6 else "")
    return (
        f"{found.stack.subject}: {len(ages)} of {counted(found.stack.n_visits, 'visit')} imputed "
        f"({found.provenance['strategy']}), at {shown}"
    )
