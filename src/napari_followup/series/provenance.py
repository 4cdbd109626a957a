"""What was done to a stack's images, step by step, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["add_step"]


def add_step(provenance: Mapping[str, Any], step: str, **settings: Any) -> dict[str, Any]:
    """Append a step to ``provenance["steps"]``, which lists them in the order they were done.

    Parameters
    ----------
    provenance
        Of the stack that the step was done to.
    step
        Name of the function.
    **settings
        What it was done with, and what came of it.

    Returns
    -------
    dict
        A new provenance.
    """
    steps = [*provenance.get("steps", []), {"step": step, **settings}]
    return {**provenance, "steps": steps}
