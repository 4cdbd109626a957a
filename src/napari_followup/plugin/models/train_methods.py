"""The methods that can be trained, in words; plain text, so that a widget opens without torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_followup.methods.given import LABELS

__all__ = ["METHODS", "NEEDS_CHANGE", "STAGES", "Described", "makes_anomalies"]


@dataclass(frozen=True, kw_only=True)
class Described:
    """A method for the person who chooses it."""

    title: str
    text: str
    presets: tuple[str, ...]


METHODS = {
    "sdm": Described(
        title="SDM, spatial diffusion",
        text="Makes each image healthy and compares it with the original; finds anomalies of any "
        "kind. The one to begin with.",
        presets=("compact", "thesis"),
    ),
    "tdm": Described(
        title="TDM, temporal diffusion",
        text="Learns how subjects change with age, and imputes missing or future visits. Needs "
        "subjects with two visits or more.",
        presets=("compact", "thesis"),
    ),
    "anoddpm": Described(
        title="AnoDDPM",
        text="Diffusion from simplex noise, which also hides large anomalies.",
        presets=("compact", "thesis", "gaussian"),
    ),
    "pddpm": Described(
        title="pDDPM",
        text="Diffusion patch by patch: each patch is made anew from what surrounds it.",
        presets=("compact", "thesis"),
    ),
    "cddpm": Described(
        title="cDDPM",
        text="Diffusion that is told the image's contrast by a code of it.",
        presets=("compact", "thesis", "pretrained"),
    ),
    "andi": Described(
        title="ANDi",
        text="Adds up the errors of single denoising steps; gives a score map, but no healthy "
        "image.",
        presets=("compact", "published"),
    ),
    "anofpdm": Described(
        title="AnoFPDM",
        text="Forward process guided by what is healthy; stops where guidance no longer helps. "
        "Learns from made-up anomalies, or from yours where you have labels.",
        presets=("compact", "published"),
    ),
    "disyre": Described(
        title="DISYRE",
        text="Learns to take made-up anomalies out of healthy images again.",
        presets=("compact", "published"),
    ),
    "sadm": Described(
        title="SADM",
        text="Reconstructs, and learns which residuals matter, from made-up anomalies and from "
        "yours where you have labels.",
        presets=("compact", "published"),
    ),
    "vae3d": Described(
        title="VAE, of planes or volumes",
        text="Variational autoencoder: quick to train, coarse, and can look at whole volumes.",
        presets=("compact", "published", "published 2d"),
    ),
}
NEEDS_CHANGE = ("tdm",)  # learn from subjects that were seen at least twice

STAGES = {
    "change": "Learning how images change with age",
    "denoise": "Learning to give back healthy images",
    "features": "Learning the features that images are compared by",
    "measure": "Trying the finished model on subjects that were held back",
    "pretrain": "Learning to tell images apart",
    "reconstruct": "Learning to give back healthy images",
    "restore": "Learning to take made-up anomalies out",
    "segment": "Learning to find anomalies",
}


def makes_anomalies(method: str, fields: str) -> bool:
    """Whether a method may make anomalies where there are no labels, by the form's other fields."""
    taken = LABELS.get(method)
    given = [text.partition("=") for text in fields.split(";")]
    return taken is None or not any(
        name.strip() == taken.made_by and value.strip().lower() == "false"
        for name, _, value in given
    )
