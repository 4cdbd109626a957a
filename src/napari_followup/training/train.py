"""Train a model from healthy series to a finished bundle: for scripts, command line and widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_followup.device import choose_device, placed_well
from napari_followup.io.replacing import replacing
from napari_followup.methods import method_class
from napari_followup.methods.method import main_stage
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.series.results import Cancelled
from napari_followup.training.batches import Samples, healthy_of, samples_for
from napari_followup.training.card import About, data_summary, loss_curves, model_card
from napari_followup.training.checkpoint import check_out, go_on, read_checkpoint, refresh_norms
from napari_followup.training.cohort import (
    Cohort,
    Given,
    Learner,
    check_series,
    cohort_of,
    given_series,
)
from napari_followup.training.devices import check_devices, companions
from napari_followup.training.examining import example_maker
from napari_followup.training.fit import duration_note, fit_stage, seconds_a_batch
from napari_followup.training.labels import Entry
from napari_followup.training.measuring import measured
from napari_followup.training.plan import FREE, TrainingPlan
from napari_followup.training.samples import drop_files, samples_of
from napari_followup.training.settings import chosen_config, form_of
from napari_followup.training.state import OnState, TrainingState

__all__ = ["train"]

FINISHED = "finished.safetensors"
NO_CHECKPOINT = "the training that was started there left no checkpoint, so it starts again"
WORTH_TIMING = 50  # batches; a shorter stage is over before its length is estimated


@dataclass(frozen=True, eq=False, kw_only=True)
class _Run:
    """One training: what all its parts need."""

    method: str
    plan: TrainingPlan
    out: Path
    device: torch.device
    on_state: OnState | None

    def report(self, stage: str, *notes: str) -> None:
        """Report notes that are not about a batch."""
        if not (notes and self.on_state):
            return
        state = TrainingState(stage=stage, batch=0, progress=0.0, notes=notes)
        if self.on_state(state) is False:
            raise Cancelled(f"training was stopped before {stage!r}")

    def measure(self, progress: float) -> None:
        """Report how far the finished model is measured."""
        state = TrainingState(stage="measure", batch=0, progress=progress)
        if self.on_state is not None and self.on_state(state) is False:
            raise Cancelled(
                "training was stopped while the finished model was measured; training again goes "
                "on from there"
            )

    def finished(self, stage: str) -> Path:
        """Where the weights of a finished stage lie."""
        return self.out / stage / FINISHED


def train(
    method: str,
    stacks: Given,
    out: str | Path,
    plan: TrainingPlan | None = None,
    *,
    preset: str = "compact",
    settings: Mapping[str, Any] | None = None,
    about: About | None = None,
    labels: Sequence[Entry] | None = None,
    device: str = "auto",
    on_state: OnState | None = None,
) -> ModelBundle:
    """Train `method` on healthy series, stage by stage, and write the bundle.

    Parameters
    ----------
    method
        A name of the methods table, such as ``"sdm"``.
    stacks
        Healthy series, one a subject, or a table, folder or file of them; with `labels` others,
        too. Some subjects are held out for validation, and healthy ones for the healthy scores.
    out
        Folder for checkpoints, loss tables and the finished ``<name>.safetensors``. Where it holds
        a checkpoint, training goes on from there.
    plan
        Length, batch, learning rate, devices, augmentation, seed; an hour if not given.
    preset
        One of the method's presets; the number of modalities follows the series.
    settings
        Fields of the preset to change, such as ``{"image_size": (96, 96)}``; without it planes keep
        the size of the series, brought to a multiple of 16 (or 32) and to at most 128 pixels.
    about
        Name of the model, author, licences, and a sentence on where the data come from.
    labels
        One entry a series, 0 for healthy, for methods that learn from labels: AnoFPDM from any that
        `labels.marks_of` reads, SADM from masks ``(visit, z, y, x)``, nonzero where abnormal.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``; ``plan.devices`` is their number.
    on_state
        Called with the state after every batch; returns False to stop.

    Returns
    -------
    ModelBundle
        Also on disk in `out`.

    Raises
    ------
    ValueError
        If something is not known, the series do not go together, labels are missing or do not
        suit them or the method, or `out` holds a training with other settings.
    FloatingPointError
        If the loss is no number any more.
    OSError
        If nothing can be written into `out`; the last checkpoint stays there.
    Cancelled
        If `on_state` returned False; the last checkpoint stays in `out`.
    """
    run = _Run(
        method=method,
        plan=plan or TrainingPlan(minutes=60),
        out=Path(out),
        device=choose_device(device),
        on_state=on_state,
    )
    check_devices(run.plan.devices, run.device)
    check_out(run.out)
    given = given_series(stacks, are_healthy=labels is None)
    notes = check_series(given)
    config = chosen_config(method, preset, settings or {}, given[0].shape)
    plain = method_class(method)(config)
    cohort = cohort_of(given, Learner.of(plain), run.plan, labels)
    _begin(run, plain, _settings(run, preset, config, cohort), notes)
    model = _learned(run, plain, cohort)
    bundle = ModelBundle(
        name=(about or About()).name or method,
        method=method,
        config=asdict(model.config),
        weights=model.state_dict(),
    )
    losses = loss_curves(run.out, model.stages)
    return _measured_bundle(
        run, bundle, cohort, about or About(), {"preset": preset, "losses": losses, "notes": notes}
    )


def _begin(run: _Run, model: Any, settings: Mapping[str, Any], notes: Sequence[str]) -> None:
    """Start, or go on with the same settings, and report what the user should know."""
    is_lost = go_on(run.out, settings) and not _has_begun(run, model)
    run.report("data", *([NO_CHECKPOINT] if is_lost else []), *notes)


def _has_begun(run: _Run, model: Any) -> bool:
    """Whether there is a checkpoint, or a finished stage, to go on from."""
    return any(
        run.finished(stage).exists() or read_checkpoint(run.out / stage) is not None
        for stage in model.stages
    )


def _settings(run: _Run, preset: str, config: Any, cohort: Cohort) -> dict[str, Any]:
    """All that decides what is learned."""
    plan = {name: value for name, value in asdict(run.plan).items() if name not in FREE}
    return {
        "method": run.method,
        "preset": preset,
        "config": asdict(config),
        "plan": plan,
        "data": cohort.fingerprint,
    }


def _learned(run: _Run, plain: Any, cohort: Cohort) -> Any:
    """Model on the CPU, fitted to its samples, all its stages trained."""
    plan = run.plan
    form = form_of(plain, labelled=cohort.labels is not None)
    samples, files = samples_of(cohort, form, run.out, shared=plan.devices > 1)
    config = plain.fitted(plain.config, healthy_of(samples[0]))
    torch.manual_seed(plan.seed)
    model: Any = placed_well(method_class(run.method)(config))
    missing = [stage for stage in model.stages if not run.finished(stage).exists()]
    task = {
        "method": run.method,
        "config": asdict(config),
        "plan": asdict(plan),
        "stages": missing,
        "out": str(run.out),
        "device": str(run.device),
        "training": files[0],
        "validation": files[1],
    }
    with companions(plan.devices if missing else 1, task):
        for stage in model.stages:
            _run_stage(run, model, stage, samples, cohort)
    drop_files(run.out)
    return model.to("cpu").eval()


def _run_stage(
    run: _Run, model: Any, stage: str, samples: tuple[Samples, Samples], cohort: Cohort
) -> None:
    """Train one stage, or take its weights where it is finished already."""
    finished, first = run.finished(stage), stage == main_stage(model)
    model.begin(stage)
    if finished.exists():
        model.load_state_dict(load_file(finished))
        return
    theirs = samples_for(stage, model, samples[0]), samples_for(stage, model, samples[1])
    _report_duration(run, model, stage, theirs[0])
    ended = fit_stage(
        model,
        stage,
        theirs,
        run.plan,
        finished.parent,
        first=first,
        device=str(run.device),
        on_state=run.on_state,
        example=example_maker(run.method, model, cohort.healthy[0]),
    )
    if not ended:
        raise Cancelled(
            f"training was stopped; {finished.parent} holds the last checkpoint, from which "
            "training again goes on"
        )
    if model.samples != "series":
        healthy = healthy_of(samples[0])
        refresh_norms(model, healthy if isinstance(healthy, Tensor) else healthy[0])
    with replacing(finished) as draft:
        weights = model.state_dict().items()
        save_file({name: value.contiguous().cpu() for name, value in weights}, draft)


def _report_duration(run: _Run, model: Any, stage: str, samples: Samples) -> None:
    """Report how long a stage takes, where there is no GPU."""
    first = stage == main_stage(model)
    length = run.plan.length(first=first)
    is_short = (run.plan.minutes or 60) < 1 or (length or WORTH_TIMING) < WORTH_TIMING
    if run.device.type != "cpu" or run.on_state is None or is_short:
        return
    saved = read_checkpoint(run.out / stage)
    taken = seconds_a_batch(model, stage, samples, run.plan, run.device)
    done = saved.step if saved else 0
    run.report(stage, duration_note(stage, taken, run.plan, first=first, done=done))


def _measured_bundle(
    run: _Run, bundle: ModelBundle, cohort: Cohort, about: About, known: dict[str, Any]
) -> ModelBundle:
    """Bundle with healthy scores and a card with its figures; also written to disk."""
    bundle, found = measured(
        bundle, cohort, run.measure, device=str(run.device), seed=run.plan.seed
    )
    run.report("check", *found["notes"])
    data = data_summary(cohort.training, cohort.validation)
    data |= {} if cohort.labels is None else {"series_with_labels": cohort.sick}
    card = model_card(
        about, run.plan, data, {**known, **found, "notes": [*known["notes"], *found["notes"]]}
    )
    file = run.out / f"{bundle.name}.safetensors"
    return load_bundle(save_bundle(replace(bundle, card=card), file))
