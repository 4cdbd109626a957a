"""Fill in visits with the Temporal Diffusion Model: the public functions.

`impute` gives the series with its gaps filled, `imputation` also says how and how surely,
`forecast` goes on past the last visit, `expected_visits` predicts each observed visit from the
others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.prepare import Prepared, check_types
from napari_followup.detection.steps import reconstruct
from napari_followup.detection.stream import prepare, read_planes
from napari_followup.device import (
    choose_device,
    fast_networks,
    halving,
    inference,
    planes_at_once,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.gaps import DRAWS, STRATEGIES, check_new_ages, coming_ages
from napari_followup.prediction.merge import Merging
from napari_followup.prediction.strategies import BY_CODES, Plan, find, planes_that_fit
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled, Imputation, OnStep, Reconstruction, counting
from napari_followup.series.stack import VisitStack

__all__ = ["expected_visits", "forecast", "imputation", "impute"]

Ages = Sequence[float] | NDArray[np.floating] | None
FAR = 0.5  # of the range of ages trained on: how far beyond it an age is taken for a wrong unit


def impute(stack: VisitStack, bundle: ModelBundle, ages: Ages = None, **how: Any) -> VisitStack:
    """Fill in the visits of a series that are missing, or those at given ages.

    Parameters
    ----------
    stack, bundle, ages, **how
        As for `imputation`, and so are the errors.

    Returns
    -------
    VisitStack
        Observed and imputed visits by age; ``is_observed`` is False where one was imputed.
    """
    return imputation(stack, bundle, ages, **how).stack


def forecast(
    stack: VisitStack,
    bundle: ModelBundle,
    visits: int = 3,
    *,
    interval: float | None = None,
    **how: Any,
) -> VisitStack:
    """Go on past the last observed visit (the oversampling of Dang 2025, Sec. 6.3.3).

    Parameters
    ----------
    stack, bundle, **how
        As for `imputation`, and so are the errors.
    visits
        How many.
    interval
        Years between them; the series' typical interval when none is given.

    Returns
    -------
    VisitStack
        The series and what may follow.
    """
    check_types(stack, bundle)
    return impute(stack, bundle, coming_ages(stack, visits, interval), **how)


def imputation(
    stack: VisitStack,
    bundle: ModelBundle,
    ages: Ages = None,
    *,
    strategy: str = "joint",
    draws: int | None = None,
    sampling_steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> Imputation:
    """Fill in visits, and say how and how surely.

    Volumes are filled in a few planes at a time; results that are large lie in temporary files, see
    `stream`.

    Parameters
    ----------
    stack
        The series. Only its observed visits are looked at.
    bundle
        A model with a TDM, or with an SDM for the strategies that interpolate its codes.
    ages
        Years, inside, before or after the observed ones; the series' own missing visits when none
        are given.
    strategy
        ``"joint"``: from all observed visits at once, going out from the nearest one on each side,
        weighted by distance. ``"both sides"``: from the same two, each for itself. ``"direct"``:
        from the nearest one. ``"chain"``: visit by visit from the nearest earlier one, observed or
        imputed (Dang 2025, Sec. 6.1). ``"lerp-slerp"`` (or ``"subcode"``) and ``"lerp-lerp"``:
        between two observed visits, by their codes and subcodes in the SDM (appendix C).
    draws
        Images drawn for each age; their mean is taken, and with two or more their spread is given.
        When none are given, 4, or 1 for the strategies that interpolate codes.
    sampling_steps
        Network calls a draw: one gives the model's mean image, more give images that differ from
        draw to draw. When none is given, 1 for a single draw and 4 for several; 100 for models
        that predict noise, and for strategies that interpolate codes.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    seed
        Source of all noise; the same seed gives the same image at the same age.
    on_step
        Called with the network calls done and to do; return False to stop.
    planes
        Which planes of a volume are filled in, and across which axis the model sees them; all
        across z when none are given.

    Returns
    -------
    Imputation
        In the plane size and intensity units of the series. Its stack holds the chosen planes
        alone, with spacing and affine to match: a visit is there as a whole or not at all.

    Raises
    ------
    ValueError
        If the strategy is not known or cannot reach an age, a visit is observed at one of `ages`,
        `planes` do not lie in the stack, or model and series do not go together.
    Cancelled
        If `on_step` returned False; `partial` holds the visits of which all planes were finished by
        then, if any. (Those of a chain of volumes are finished together, at the end.)
    """
    check_types(stack, bundle)
    strategy = "lerp-slerp" if strategy == "subcode" else strategy.replace("_", " ")
    draws = (1 if strategy in BY_CODES else DRAWS) if draws is None else draws
    _check_how(strategy, draws, sampling_steps)
    wanted = check_new_ages(stack, ages)
    model = bundle.part("sdm" if strategy in BY_CODES else "tdm")
    where = choose_device(device)
    config = model.build(where).config
    steps = sampling_steps or (100 if strategy in BY_CODES else config.usual_steps(draws))
    plan = Plan(strategy=strategy, draws=draws, sampling_steps=steps, seed=seed)
    prepared = prepare(stack, model, where, slicing=planes)
    _check_reach(prepared, wanted, plan, model)
    notes = _notes(prepared, model, wanted)
    how = {"strategy": strategy, "draws": draws, "sampling_steps": steps}
    provenance = model.provenance(seed, **how, **prepared.about_planes, notes=notes)
    merging = Merging(prepared, wanted, with_spread=draws > 1)
    try:
        _fill(merging, prepared, wanted, plan, model, on_step)
    except Cancelled as stop:
        stop.partial = merging.result(provenance) if merging.finished else None
        raise
    return merging.result(provenance)


def _fill(
    merging: Merging,
    prepared: Prepared,
    wanted: NDArray[np.float64],
    plan: Plan,
    model: ModelBundle,
    on_step: OnStep | None,
) -> None:
    """Impute into `merging`; begin anew with less at once when memory runs out."""
    network, device = model.build(prepared.device), prepared.device

    def in_blocks(images: int) -> None:
        merging.begin()
        rounds = list(_rounds(prepared, wanted, plan, images))
        for number, (places, ages, is_last) in enumerate(rounds):
            visits, planes = read_planes(prepared, places), prepared.planes[places]
            counted = _counted(on_step, number, len(rounds))
            with fast_networks(device):
                for found in find(network, visits, ages, plan, images, counted, planes):
                    merging.put(found, places)
                    if is_last:
                        merging.finish(found.age)

    with inference(device):
        halving(in_blocks, planes_at_once(device, model.image_size))


def _rounds(
    prepared: Prepared, wanted: NDArray[np.float64], plan: Plan, images: int
) -> Iterator[tuple[slice, NDArray[np.float64], bool]]:
    """Which planes and ages are imputed together, and whether these ages are finished with it.

    Where not all planes fit, one age after the other, so that a stop keeps those that are finished;
    but in a chain every visit is made from the one before it.
    """
    depth = len(prepared.planes)
    thick = min(depth, planes_that_fit(images, len(prepared.ages), plan.strategy))
    together = thick == depth or plan.strategy == "chain"
    for ages in [wanted] if together else [wanted[n : n + 1] for n in range(len(wanted))]:
        for start in range(0, depth, thick):
            yield slice(start, start + thick), ages, start + thick >= depth


def _counted(
    on_step: OnStep | None, number: int, rounds: int
) -> Callable[[int, int], Callable[[int, int], None]]:
    """Make what `find` counts its parts with, over all rounds."""
    return lambda index, parts: counting(on_step, number * parts + index, rounds * parts)


def expected_visits(
    stack: VisitStack,
    bundle: ModelBundle,
    *,
    draws: int = 1,
    sampling_steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> Reconstruction:
    """Predict each observed visit from all others: where they differ, something came or went.

    Parameters
    ----------
    stack, bundle, draws, sampling_steps, device, seed, on_step
        As for `imputation`.
    planes
        As for `reconstruct`.

    Returns
    -------
    Reconstruction
        The predictions, in the shape and intensity units of ``stack.images``.

    Raises
    ------
    ValueError
        If fewer than two visits are observed, or model and series do not go together.
    Cancelled
        If `on_step` returned False.
    """
    check_types(stack, bundle)
    model = bundle.part("tdm")
    steps = sampling_steps or model.build(choose_device(device)).config.usual_steps(draws)
    options = {"draws": draws, "sampling_steps": steps}
    how: dict[str, Any] = {"device": device, "seed": seed, "on_step": on_step, "planes": planes}
    return reconstruct(stack, model, options=options, **how)


def _check_how(strategy: str, draws: int, sampling_steps: int | None) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: got {strategy!r}; give one of {', '.join(STRATEGIES)}")
    if draws < 1 or (sampling_steps is not None and sampling_steps < 1):
        raise ValueError(
            f"draws and sampling_steps must be at least 1, got {draws} and {sampling_steps}"
        )
    if strategy in BY_CODES and draws > 1:
        raise ValueError(f"strategy {strategy!r} draws nothing at random: draws must be 1")


def _check_reach(
    prepared: Prepared, wanted: NDArray[np.float64], plan: Plan, model: ModelBundle
) -> None:
    """Say which ages a strategy or a model cannot reach, before anything is computed."""
    first, last = float(prepared.ages.min()), float(prepared.ages.max())
    beyond = wanted[(wanted < first) | (wanted > last)]
    if plan.strategy in BY_CODES and beyond.size:
        raise ValueError(
            f"strategy {plan.strategy!r} goes between two observed visits, here from {first:.4g} "
            f"to {last:.4g} years, and {beyond[0]:.4g} lies outside; take 'joint'"
        )
    before = wanted[wanted < first]
    if plan.strategy not in BY_CODES and before.size and not model.config["backward"]:
        raise ValueError(
            f"model {model.name!r} goes forward in time only, and {before[0]:.4g} lies before the "
            f"first observed visit at {first:.4g}; leave that age out, or take another model"
        )


def _notes(prepared: Prepared, model: ModelBundle, wanted: NDArray[np.float64]) -> list[str]:
    """List what the user should know; warn of an age far from all the model has seen."""
    stack = prepared.stack
    notes = list(prepared.fit_notes)
    if stack.is_observed.sum() == 1:
        notes.append(
            "a single observed visit does not show how fast this subject changes: the farther an "
            "age is from it, the more the image shows the pace of the average subject"
        )
    known = model.config.get("age_range")
    if not known or not stack.ages_known:
        return notes
    low, high = known
    ages = np.concatenate([stack.ages[stack.is_observed], wanted])
    beyond = max(low - ages.min(), ages.max() - high)
    if beyond <= 0:
        return notes
    found = (
        f"ages from {ages.min():.4g} to {ages.max():.4g} years go beyond those the model was "
        f"trained on, {low:.4g} to {high:.4g}"
    )
    if beyond > FAR * (high - low):
        found += "; are they in years, and of the same kind of subjects?"
        warnings.warn(found, stacklevel=3)
    return [*notes, found]
