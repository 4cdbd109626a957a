"""What methods give, and what a score goes by: whether the two fit is known before a network is.

Plain text without torch, so that a form tells it as it opens and a run before it begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from napari_followup.choices import Fam, Mahalanobis, Own, Pixel, Ssim, Temporal

__all__ = ["GIVES", "LACKS", "NEEDS", "given_by", "lack_of", "possible_scores"]

GIVES: dict[str, frozenset[str]] = {  # what the evidence of a method holds
    "andi": frozenset({"score"}),
    "anoddpm": frozenset({"healthy"}),
    "anofpdm": frozenset({"healthy", "score"}),
    "cddpm": frozenset({"healthy"}),
    "disyre": frozenset({"healthy", "score"}),
    "pddpm": frozenset({"healthy"}),
    "sadm": frozenset({"healthy", "score"}),  # and what `given_by` adds
    "sdm": frozenset({"healthy", "features"}),
    "tdm": frozenset({"healthy"}),
    "vae3d": frozenset({"healthy"}),
}
NEEDS: dict[type, tuple[str, ...]] = {  # what a score goes by
    Pixel: ("healthy",),
    Fam: ("healthy", "features"),
    Temporal: ("temporal",),
    Ssim: ("healthy",),
    Mahalanobis: ("healthy",),
    Own: ("score",),
}
LACKS = {  # what is said of a model that does not give it
    "healthy": "gives no healthy image to compare with",
    "features": "gives no features to compare images by (SDM does)",
    "score": "brings no score of its own",
    "temporal": "has no TDM beside it, which would predict a visit from the others",
}


def given_by(method: str, config: Mapping[str, Any], parts: Collection[str]) -> frozenset[str]:
    """Gather what the scores of a model can go by.

    Parameters
    ----------
    method, config
        Of the model, as its file says. A method that stands on another one, its ``base``, hands on
        the features of that one.
    parts
        Methods of the models beside it.

    Returns
    -------
    frozenset of str
        Keys of `LACKS`.
    """
    beneath = GIVES.get(config.get("base", ""), frozenset()) & {"features"}
    temporal = {"temporal"} if "tdm" in (method, *parts) else set()
    return GIVES[method] | beneath | temporal


def lack_of(score: type, gives: Collection[str]) -> str:
    """Say what a score goes by that a model does not give; empty where it gives all."""
    return next((LACKS[need] for need in NEEDS[score] if need not in gives), "")


def possible_scores(gives: Collection[str]) -> list[type]:
    """List the scores of a model that gives this."""
    return [score for score in NEEDS if not lack_of(score, gives)]
