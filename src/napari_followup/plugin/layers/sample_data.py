"""Sample data of the File menu: synthetic starmen and phantoms, healthy or with an anomaly.

With age the starman raises its left hand, and the phantom's ventricles widen. Every other change is
an anomaly. Ages of starmen are years before and after 0, as in the training of the embedded model.
"""

from __future__ import annotations

import numpy as np

from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.layers.stack_layers import cohort_layers, stack_layers, truth_layer
from napari_followup.series.stack import VisitStack

__all__ = [
    "cohort",
    "darker_circle",
    "darker_line",
    "growing_circle",
    "healthy_series",
    "missing_visits",
    "phantom_healthy",
    "phantom_lesion",
    "transient_circle",
]

SEED = 2025
MISSING = (3, 6)
LESION_SEED = 10  # in the brain, away from the skull


def healthy_series() -> list[LayerTuple]:
    """Make ten visits of a healthy subject."""
    return stack_layers(_subject("starman"))


def growing_circle() -> list[LayerTuple]:
    """Make a bright disc at the hand that grows every year, and its ground truth."""
    return _ill("growing_circle")


def darker_circle() -> list[LayerTuple]:
    """Make a disc at the hand that becomes darker every year, and its ground truth."""
    return _ill("darker_circle")


def darker_line() -> list[LayerTuple]:
    """Make a line across the hand that becomes darker every year, and its ground truth."""
    return _ill("darker_line")


def transient_circle() -> list[LayerTuple]:
    """Make a bright disc at a single visit, such as an artefact, and its ground truth."""
    return _ill("transient_circle")


def missing_visits() -> list[LayerTuple]:
    """Make a growing disc, and two visits without an image."""
    from napari_followup.synthetic import add_anomaly

    sick, truth = add_anomaly(_subject("starman with missing visits"), "growing_circle")
    images = np.array(sick.images)
    images[list(MISSING)] = np.nan
    truth[list(MISSING)] = False
    gaps = sick.with_images(images)
    return [*stack_layers(gaps), truth_layer(gaps, truth, f"{gaps.subject} truth")]


def cohort() -> list[LayerTuple]:
    """Make six subjects, ``(subject, visit, y, x)``; the last three have a growing disc."""
    from napari_followup.synthetic import add_anomaly, starmen

    stacks = starmen(6, seed=SEED)
    stacks[3:] = [add_anomaly(stack, "growing_circle")[0] for stack in stacks[3:]]
    return cohort_layers(stacks, "starmen")


def phantom_healthy() -> list[LayerTuple]:
    """Make ten visits of a healthy head."""
    return stack_layers(_head("phantom"))


def phantom_lesion() -> list[LayerTuple]:
    """Make a head with a bright blob that grows at every visit, and its ground truth."""
    from napari_followup.synthetic.generic import draw

    healthy = _head("phantom with a bright lesion")
    sick, truth = draw(healthy, "brighter_blob", seed=LESION_SEED)
    return [*stack_layers(sick), truth_layer(sick, truth, f"{sick.subject} truth")]


def _head(name: str) -> VisitStack:
    from napari_followup.synthetic import phantoms

    stack = phantoms(1, seed=SEED)[0]
    return stack.with_images(stack.images, subject=name)


def _ill(kind: str) -> list[LayerTuple]:
    from napari_followup.synthetic import add_anomaly

    sick, truth = add_anomaly(_subject(f"starman with {kind.replace('_', ' ')}"), kind, seed=SEED)
    return [*stack_layers(sick), truth_layer(sick, truth, f"{sick.subject} truth")]


def _subject(name: str) -> VisitStack:
    from napari_followup.synthetic import starmen

    stack = starmen(1, seed=SEED)[0]
    return stack.with_images(stack.images, subject=name)
