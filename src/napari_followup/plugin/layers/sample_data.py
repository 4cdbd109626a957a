"""Sample data of the File menu: starmen and phantoms, healthy and ill, made up on the spot.

The starman raises its left hand as it grows older, the phantom's ventricles widen; whatever else
changes is the anomaly. Ages of starmen are their own, years before and after 0, as the embedded
model knows them.
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
    """Show ten visits of a healthy subject."""
    return stack_layers(_subject("starman"))


def growing_circle() -> list[LayerTuple]:
    """Show a bright disc at the hand, larger every year, and its truth."""
    return _ill("growing_circle")


def darker_circle() -> list[LayerTuple]:
    """Show a disc at the hand, darker every year, and its truth."""
    return _ill("darker_circle")


def darker_line() -> list[LayerTuple]:
    """Show a line across the hand, darker every year, and its truth."""
    return _ill("darker_line")


def transient_circle() -> list[LayerTuple]:
    """Show a bright disc at a single visit, as an artefact would be, and its truth."""
    return _ill("transient_circle")


def missing_visits() -> list[LayerTuple]:
    """Show a growing disc, and two visits at which no image was taken."""
    from napari_followup.synthetic import add_anomaly

    sick, truth = add_anomaly(_subject("starman with missing visits"), "growing_circle")
    images = np.array(sick.images)
    images[list(MISSING)] = np.nan
    truth[list(MISSING)] = False
    gaps = sick.with_images(images)
    return [*stack_layers(gaps), truth_layer(gaps, truth, f"{gaps.subject} truth")]


def cohort() -> list[LayerTuple]:
    """Show six subjects, ``(subject, visit, y, x)``; the last three have a growing disc."""
    from napari_followup.synthetic import add_anomaly, starmen

    stacks = starmen(6, seed=SEED)
    stacks[3:] = [add_anomaly(stack, "growing_circle")[0] for stack in stacks[3:]]
    return cohort_layers(stacks, "starmen")


def phantom_healthy() -> list[LayerTuple]:
    """Show ten visits of a healthy head."""
    return stack_layers(_head("phantom"))


def phantom_lesion() -> list[LayerTuple]:
    """Show a bright blob in a head, larger at every visit, and its truth."""
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
