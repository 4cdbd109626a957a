"""Evaluation of imputation: next visits, gaps, visits ahead and in the middle.

References
----------
Dang (2025), Table 6.2. Its data lack an individual pace, and its test split is another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_followup.detection.prepare import Prepared, visits_of
from napari_followup.detection.stream import prepare
from napari_followup.device import choose_device
from napari_followup.evaluation.prediction import (
    ImputationFigures,
    OnStep,
    Series,
    Tally,
    Task,
    copies,
    linear,
    predict_tasks,
    series_of,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.impute import imputation
from napari_followup.series.stack import VisitStack

__all__ = [
    "BINS",
    "DIRECTIONS",
    "FIRST",
    "KNOWN",
    "evaluate_ahead",
    "evaluate_anomalies",
    "evaluate_gaps",
    "evaluate_middle",
    "evaluate_next",
    "gap_bin",
]

BINS = tuple(f"{k}-{k + 1}" for k in range(12))  # years; the upper end belongs to the bin
KNOWN = ("one", "two", "all")
MODEL = "model, from the previous visit"
COPY = "copy of the previous visit"
FIRST = 4  # visits known, and as many predicted
AHEAD = ("joint", "direct", "chain")
MIDDLE = ("joint", "both sides", "direct")
CODES = ("lerp-slerp", "lerp-lerp")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pair:
    """A wanted visit and the known ones, the base first and then the second."""

    gap: float  # years between wanted visit and base
    series: Series
    wanted: int
    known: tuple[int, ...]

    def task(self, count: str) -> Task | None:
        """Task with "one", "two" or "all" of the known visits; none where there are too few."""
        if count != "one" and len(self.known) < 2:
            return None
        kept = {"one": self.known[:1], "two": self.known[:2], "all": self.known}[count]
        return Task(series=self.series, known=kept, wanted=self.wanted)


def gap_bin(gap: float) -> str | None:
    """Bin of a gap in years, or none for a longer one: 1 lies in 0-1, 1.01 in 1-2."""
    place = math.ceil(gap - 1e-9) - 1
    return BINS[place] if 0 <= place < len(BINS) else None


def evaluate_gaps(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    pairs: int | None = 200,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Figures by direction, known visits and gap.

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on.
    bundle
        A model with a TDM; one that goes forward only is measured forward only.
    pairs
        Of each bin and direction, drawn at random; all when none is given.
    device, seed
        As for `imputation`.
    on_step
        Called with the bins done and to do.

    Returns
    -------
    list of ImputationFigures
        Named by bin, in groups such as "forward, two known"; "forward, copy" is the base itself.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network, series = model.build(where), series_of(stacks, model, where)
    tally, rng = Tally(model.value_range), np.random.default_rng(seed)
    directions = DIRECTIONS if network.config.backward else {"forward": DIRECTIONS["forward"]}
    chosen = {
        (direction, name): part
        for direction, pairs_of in directions.items()
        for name, part in _drawn([p for each in series for p in pairs_of(each)], pairs, rng).items()
    }
    for done, ((direction, name), part) in enumerate(chosen.items(), start=1):
        for count in KNOWN:
            tasks = [task for pair in part if (task := pair.task(count))]
            if tasks:
                images = predict_tasks(network, tasks, seed=seed)
                tally.add_tasks(f"{direction}, {count} known", name, tasks, images)
        bases = [task for pair in part if (task := pair.task("one"))]
        tally.add_tasks(f"{direction}, copy", name, bases, copies(bases))
        if on_step is not None and on_step(done, len(chosen)) is False:
            break
    return sorted(tally.figures(), key=_order)


def _order(row: ImputationFigures) -> tuple[int, int, int]:
    direction, known = row.group.split(", ")
    places = [*KNOWN, "copy"]
    return list(DIRECTIONS).index(direction), places.index(known.split()[0]), BINS.index(row.name)


def _drawn(
    found: Sequence[_Pair], most: int | None, rng: np.random.Generator
) -> dict[str, list[_Pair]]:
    """Pairs by bin, `most` of each at random."""
    bins: dict[str, list[_Pair]] = {name: [] for name in BINS}
    for pair in found:
        if name := gap_bin(pair.gap):
            bins[name].append(pair)
    return {
        name: [part[i] for i in sorted(rng.permutation(len(part))[:most])]
        for name, part in bins.items()
        if part
    }


def _forward(series: Series) -> Iterator[_Pair]:
    ages = series.ages.tolist()
    for wanted in range(len(ages)):
        for base in range(wanted):
            known = tuple(range(base, -1, -1))
            yield _Pair(gap=ages[wanted] - ages[base], series=series, wanted=wanted, known=known)


def _backward(series: Series) -> Iterator[_Pair]:
    ages = series.ages.tolist()
    for wanted in range(len(ages)):
        for base in range(wanted + 1, len(ages)):
            known = tuple(range(base, len(ages)))
            yield _Pair(gap=ages[base] - ages[wanted], series=series, wanted=wanted, known=known)


def _between(series: Series) -> Iterator[_Pair]:
    ages = series.ages.tolist()
    for wanted in range(1, len(ages) - 1):
        for low in range(wanted):
            for high in range(wanted + 1, len(ages)):
                gaps = ages[wanted] - ages[low], ages[high] - ages[wanted]
                ends = (low, high) if gaps[0] <= gaps[1] else (high, low)
                known = (*ends, *range(low - 1, -1, -1), *range(high + 1, len(ages)))
                yield _Pair(gap=min(gaps), series=series, wanted=wanted, known=known)


DIRECTIONS: dict[str, Callable[[Series], Iterator[_Pair]]] = {
    "forward": _forward,
    "backward": _backward,
    "two-sided": _between,
}


def evaluate_next(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Every visit but the first, predicted from the one before it (Dang 2025, Table 6.2).

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on.
    bundle
        A model with a TDM.
    device, seed
        As for `imputation`.
    on_step
        Called with the visits done and to do.

    Returns
    -------
    list of ImputationFigures
        The model from the previous visit and from all earlier ones, copying, and the line through
        the two previous visits; all of them a second time for the visits that have two previous
        ones, which the line needs.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network, series = model.build(where), series_of(stacks, model, where)
    tally = Tally(model.value_range)
    ends = [(each, visit) for each in series for visit in range(1, len(each.ages))]
    tasks = [Task(series=each, known=(visit - 1,), wanted=visit) for each, visit in ends]
    whole = [
        Task(series=each, known=tuple(range(visit)[::-1]), wanted=visit) for each, visit in ends
    ]
    if not tasks:
        raise ValueError("next visit: no series has two observed visits; give longer ones")
    predicted = {
        MODEL: predict_tasks(network, tasks, seed=seed),
        "model, from all earlier visits": predict_tasks(network, whole, seed=seed, on_step=on_step),
        COPY: copies(tasks),
    }
    _add(tally, "next visit", tasks, predicted)
    late = [index for index, task in enumerate(tasks) if task.wanted > 1]
    if late:
        of_late = {name: images[late] for name, images in predicted.items()}
        of_late["line through two visits"] = torch.stack(
            [_line(tasks[index], model.value_range) for index in late]
        )
        _add(tally, "next visit, from the third on", [tasks[index] for index in late], of_late)
    return tally.figures()


def evaluate_anomalies(
    kinds: Mapping[str, Sequence[VisitStack]],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Every visit of sick series, predicted from the one before it (Dang 2025, Table 6.2).

    Parameters
    ----------
    kinds
        Series by kind of anomaly; their missing visits are passed over.
    bundle, device, seed, on_step
        As for `evaluate_next`.

    Returns
    -------
    list of ImputationFigures
        The model and copying, a group a kind.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network = model.build(where)
    tally = Tally(model.value_range)
    for kind, stacks in kinds.items():
        tasks = [
            Task(series=each, known=(visit - 1,), wanted=visit)
            for each in series_of(stacks, model, where)
            for visit in range(1, len(each.ages))
        ]
        if tasks:
            images = predict_tasks(network, tasks, seed=seed, on_step=on_step)
            predicted = {MODEL: images, COPY: copies(tasks)}
            _add(tally, kind, tasks, predicted)
    return tally.figures()


def _add(tally: Tally, group: str, tasks: list[Task], predicted: Mapping[str, Tensor]) -> None:
    for name, images in predicted.items():
        tally.add_tasks(group, name, tasks, images)


def _line(task: Task, value_range: tuple[float, float]) -> Tensor:
    """Carry the change between the two visits before the wanted one on to it."""
    known = (task.wanted - 2, task.wanted - 1)
    return linear(Task(series=task.series, known=known, wanted=task.wanted), value_range)


def evaluate_ahead(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Predict visits 5 to 8 from the first four.

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on; those with fewer than five observed visits
        are passed over.
    bundle
        A model with a TDM.
    device, seed
        As for `imputation`.
    on_step
        Called with the subjects done and to do.

    Returns
    -------
    list of ImputationFigures
        A group a visit; by strategy, copying the fourth, and the line through third and fourth.
    """
    model = bundle.part("tdm")
    tally = Tally(model.value_range)
    for number, stack in enumerate(map(_observed, stacks)):
        wanted = list(range(FIRST, min(2 * FIRST, stack.n_visits)))
        if wanted:
            whole = prepare(stack, model, choose_device(device))
            known = list(range(FIRST))
            images = {
                strategy: _imputed(whole, known, wanted, bundle, strategy, device, seed)
                for strategy in AHEAD
            }
            images["copy of the last known visit"] = _taken(whole, [FIRST - 1] * len(wanted))
            images["line through the last two"] = _lines(whole, (FIRST - 2, FIRST - 1), wanted)
            for place, visit in enumerate(wanted):
                group = f"visit {visit + 1}, {visit + 1 - FIRST} ahead of the first {FIRST}"
                for name, predicted in images.items():
                    true = _taken(whole, [visit])
                    tally.add(group, name, number, _planes(true), _planes(predicted[[place]]))
        if on_step is not None and on_step(number + 1, len(stacks)) is False:
            break
    return tally.figures()


def evaluate_middle(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    code_subjects: int = 10,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Predict the middle visit of every series from its two neighbours alone.

    Parameters
    ----------
    stacks, bundle, device, seed, on_step
        As for `evaluate_ahead`; series with fewer than three observed visits are passed over.
    code_subjects
        How many subjects the strategies that interpolate codes are measured on, for they are slow;
        all others stand beside them for the same subjects.

    Returns
    -------
    list of ImputationFigures
        By strategy, and the line between the neighbours.
    """
    model = bundle.part("tdm")
    tally = Tally(model.value_range)
    has_codes = "sdm" in (bundle.method, *bundle.parts)
    for number, stack in enumerate(map(_observed, stacks)):
        if stack.n_visits >= 3:
            middle = stack.n_visits // 2
            known = [middle - 1, middle + 1]
            whole = prepare(stack, model, choose_device(device))
            coded = has_codes and number < code_subjects
            images = {
                strategy: _imputed(whole, known, [middle], bundle, strategy, device, seed)
                for strategy in (*MIDDLE, *(CODES if coded else ()))
            }
            images["line between the neighbours"] = _lines(whole, (known[0], known[1]), [middle])
            true = _planes(_taken(whole, [middle]))
            for name, predicted in images.items():
                if name not in CODES:
                    tally.add("middle visit", name, number, true, _planes(predicted))
            for name, predicted in images.items() if coded else ():
                tally.add(
                    "middle visit, subjects with codes",
                    name,
                    number,
                    true,
                    _planes(predicted),
                )
        if on_step is not None and on_step(number + 1, len(stacks)) is False:
            break
    return tally.figures()


def _observed(stack: VisitStack) -> VisitStack:
    return stack.select(stack.is_observed)


def _imputed(
    whole: Prepared,
    known: list[int],
    wanted: list[int],
    bundle: ModelBundle,
    strategy: str,
    device: str,
    seed: int,
) -> Tensor:
    """Wanted visits (visit, modality, z, y, x) in the model's range, from the known ones alone."""
    stack, like = whole.stack, whole.visits.images
    found = imputation(
        stack.select(known), bundle, stack.ages[wanted], strategy=strategy, device=device, seed=seed
    )
    return visits_of(
        found.stack,
        np.asarray(found.stack.images),
        whole.scalings,
        (like.shape[-2], like.shape[-1]),
        like.device,
        found.imputed,
    ).images


def _taken(whole: Prepared, visits: list[int]) -> Tensor:
    return whole.visits.images[visits]


def _lines(whole: Prepared, known: tuple[int, int], wanted: list[int]) -> Tensor:
    series = Series(images=whole.visits.images, ages=whole.visits.ages, subject=0)
    tasks = [Task(series=series, known=known, wanted=visit) for visit in wanted]
    return torch.stack([linear(task, whole.scalings[0].range) for task in tasks])


def _planes(images: Tensor) -> Tensor:
    """(visit, modality, z, y, x) -> (visit · z, modality, y, x)."""
    return images.transpose(1, 2).flatten(0, 1)
