"""What methods take and give, and what a score goes by: known before there is a network.

Plain text without torch, so that a form tells it as it opens and a run before it begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from napari_followup.recipe.choices import Fam, Mahalanobis, Own, Pixel, Ssim, Temporal

__all__ = [
    "GIVES",
    "LABELS",
    "LACKS",
    "NEEDS",
    "TakenLabels",
    "given_by",
    "lack_of",
    "possible_scores",
]


@dataclass(frozen=True, kw_only=True)
class TakenLabels:
    """What a method can learn from beside images: what is abnormal in them, by plane or pixel.

    `made_by` is the field of its configuration that says whether it may make anomalies of its own
    in healthy images.
    """

    per: Literal["plane", "pixel"]
    made_by: str


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
SINGLE = frozenset({"anofpdm", "disyre"})  # methods that make one healthy image, never several
LABELS = {  # of the methods that take any; the others learn from healthy images alone
    "anofpdm": TakenLabels(per="plane", made_by="synthetic_labels"),
    "sadm": TakenLabels(per="pixel", made_by="synthetic_anomalies"),
}
NEEDS: dict[type, tuple[str, ...]] = {  # what a score goes by
    Pixel: ("healthy",),
    Fam: ("healthy", "features"),
    Temporal: ("temporal",),
    Ssim: ("healthy",),
    Mahalanobis: ("healthy", "draws"),
    Own: ("score",),
}
LACKS = {  # what is said of a model that does not give it
    "healthy": "gives no healthy image to compare with",
    "features": "gives no features to compare images by (SDM does; bundle join puts one beside it)",
    "draws": "makes a single healthy image, and this score goes by several",
    "score": "brings no score of its own",
    "temporal": "has no TDM beside it, which would predict a visit from the others",
}


def given_by(method: str, config: Mapping[str, Any], parts: Collection[str]) -> frozenset[str]:
    """Gather what the scores of a model can go by.

    Parameters
    ----------
    method, config
        Of the model, as its file says.
    parts
        Methods of the models beside it. An SDM among them, or as the ``base`` that the method
        stands on, lends its features to a method that gives healthy images.

    Returns
    -------
    frozenset of str
        Keys of `LACKS`.
    """
    others = (config.get("base", ""), *parts)
    lent = {"features"} if "healthy" in GIVES[method] and "sdm" in others else set()
    temporal = {"temporal"} if "tdm" in (method, *parts) else set()
    is_drawn = "healthy" in GIVES[method] and config.get("base", method) not in SINGLE
    return GIVES[method] | lent | temporal | ({"draws"} if is_drawn else set())


def lack_of(score: type, gives: Collection[str]) -> str:
    """Say what a score goes by that a model does not give; empty where it gives all."""
    return next((LACKS[need] for need in NEEDS[score] if need not in gives), "")


def possible_scores(gives: Collection[str]) -> list[type]:
    """List the scores of a model that gives this."""
    return [score for score in NEEDS if not lack_of(score, gives)]
