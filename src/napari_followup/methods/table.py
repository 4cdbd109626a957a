"""The table of methods: one row a method, known before its network is built.

A bundle names its method; only that one is imported. Rows hold plain values without torch, so that
forms and the command line read them at once. ``docs/benchmarks.md`` has the figures of
the default recipes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from napari_followup.methods.options import (
    ANDiOptions,
    AnoDDPMOptions,
    AnoFPDMOptions,
    CDDPMOptions,
    DISYREOptions,
    PDDPMOptions,
    SADMOptions,
    SDMOptions,
    TDMOptions,
    VAE3DOptions,
)
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Ssim,
    Support,
    Temporal,
    Yen,
)

__all__ = [
    "LACKS",
    "NEEDS",
    "TABLE",
    "Row",
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of a method.

    Attributes
    ----------
    path
        Module of this package and class, ``"andi:ANDi"``.
    title, text
        For the person who chooses it, in a form.
    summary
        The same in one line, for the command line.
    presets
        Names of its configurations, the usual one first.
    options
        How it is used.
    gives
        What its evidence holds: ``"healthy"``, ``"score"``, ``"features"``; see `given_by`.
    recipes
        ``"default"``, the one that measures best, and ``"published"`` if there is one.
    labels
        What it can learn from beside healthy images, if anything.
    is_single
        Whether it makes one healthy image, never several.
    needs_change
        Whether it learns from subjects that were seen at least twice.
    """

    path: str
    title: str
    text: str
    summary: str
    presets: tuple[str, ...]
    options: type
    gives: frozenset[str]
    recipes: dict[str, Recipe]
    labels: TakenLabels | None = None
    is_single: bool = False
    needs_change: bool = False


OWN = Recipe(score=Own(), fusion=Support(), threshold=HealthyHysteresis())
PIXEL = replace(OWN, score=Pixel(tolerance=2.0))
# What Behrendt's (2026) methods share, but for the threshold, which he searches among labels.
RESIDUAL = Recipe(
    score=Pixel(),
    median=5,
    volume_median=True,
    threshold=HealthyQuantile(),
    erosion=3,
    smallest=7,
)

TABLE: dict[str, Row] = {
    "andi": Row(
        path="andi:ANDi",
        title="ANDi",
        text="Adds up the errors of single denoising steps; gives a score map, but no "
        "healthy image.",
        summary="errors of single denoising steps (ANDi)",
        presets=("compact", "published"),
        options=ANDiOptions,
        gives=frozenset({"score"}),
        recipes={
            "default": replace(OWN, options={"stride": 5}),
            "published": Recipe(  # Sec. 4.5
                score=Own(),
                median=5,
                volume_median=True,
                threshold=Yen(pixel_too=False),
                dilation=1,
            ),
        },
    ),
    "anoddpm": Row(
        path="anoddpm:AnoDDPM",
        title="AnoDDPM",
        text="Diffusion from simplex noise, which also hides large anomalies.",
        summary="diffusion with simplex noise (AnoDDPM)",
        presets=("compact", "thesis", "gaussian"),
        options=AnoDDPMOptions,
        gives=frozenset({"healthy"}),
        recipes={
            "default": Recipe.default(),
            "published": replace(
                RESIDUAL, options={"noise_levels": (500,), "draws": 1, "sampling_steps": 1}
            ),
        },
    ),
    "anofpdm": Row(
        path="anofpdm:AnoFPDM",
        title="AnoFPDM",
        text="Forward process guided towards healthy images; stops where guidance no longer "
        "helps. Learns from synthetic anomalies, or from yours where you have labels.",
        summary="guided forward process, with labels or synthetic anomalies (AnoFPDM)",
        presets=("compact", "published"),
        options=AnoFPDMOptions,
        gives=frozenset({"healthy", "score"}),
        recipes={
            # Fresh noise, since on the DDIM path an image carries its anomaly along.
            "default": replace(
                OWN,
                options={
                    "first_step": 50,
                    "last_step": 300,
                    "stride": 50,
                    "guidance": 5.0,
                    "forward": "ddpm",
                },
            ),
            "published": Recipe(
                options={"cut": (0.90, 0.98)},
                score=Own(),
                median=5,
                threshold=Fixed(value=1.0),
                smallest=7,  # small parts are dropped, says the paper, but not how small
            ),
        },
        labels=TakenLabels(per="plane", made_by="synthetic_labels"),
        is_single=True,
    ),
    "cddpm": Row(
        path="cddpm:CDDPM",
        title="cDDPM",
        text="Diffusion under a code of the image, which holds its contrast.",
        summary="diffusion conditioned on a code of the image (cDDPM)",
        presets=("compact", "thesis", "pretrained"),
        options=CDDPMOptions,
        gives=frozenset({"healthy"}),
        recipes={
            # Ten draws, as the source measures them by (Sec. 3.4.5), from low levels.
            "default": replace(
                OWN,
                options={"noise_levels": (50, 100), "draws": 5, "sampling_steps": 1},
                score=Mahalanobis(blur=0.0),
            ),
            # Levels whose reconstructions are averaged, Sec. 3.4.3.
            "published": replace(RESIDUAL, options={"noise_levels": (250, 500, 750)}),
        },
    ),
    "disyre": Row(
        path="disyre:DISYRE",
        title="DISYRE",
        text="Learns to remove synthetic anomalies from healthy images.",
        summary="restoration learned from synthetic anomalies (DISYRE)",
        presets=("compact", "published"),
        options=DISYREOptions,
        gives=frozenset({"healthy", "score"}),
        recipes={
            "default": OWN,
            "published": Recipe(  # the paper names no threshold
                score=Own(), threshold=HealthyQuantile()
            ),
        },
        is_single=True,
    ),
    "pddpm": Row(
        path="pddpm:PDDPM",
        title="pDDPM",
        text="Diffusion patch by patch: each patch is generated from its surroundings.",
        summary="diffusion patch by patch (pDDPM)",
        presets=("compact", "thesis"),
        options=PDDPMOptions,
        gives=frozenset({"healthy"}),
        recipes={
            "default": replace(
                OWN,
                options={"noise_levels": (25, 50)},
                score=Mahalanobis(blur=0.0),
            ),
            "published": replace(RESIDUAL, options={"noise_levels": (500,)}),
        },
    ),
    "sadm": Row(
        path="sadm:SADM",
        title="SADM",
        text="Reconstructs, and learns which residuals matter, from synthetic anomalies and "
        "from yours where you have labels.",
        summary="a reconstruction method, and a network that segments its residuals (SADM)",
        presets=("compact", "published"),
        options=SADMOptions,
        gives=frozenset({"healthy", "score"}),
        recipes={
            "default": replace(OWN, options={"structure": 0.25}),
            # The median is that of one of its two branches alone.
            "published": replace(
                RESIDUAL, options={"median": 5}, score=Own(), median=1, volume_median=False
            ),
        },
        labels=TakenLabels(per="pixel", made_by="synthetic_anomalies"),
    ),
    "sdm": Row(
        path="sdm:SDM",
        title="SDM, spatial diffusion",
        text="Makes each image healthy and compares it with the original; finds anomalies of "
        "any kind. Start with this one.",
        summary="spatial diffusion model, for healthy images and features (SDM)",
        presets=("compact", "thesis"),
        options=SDMOptions,
        gives=frozenset({"features", "healthy"}),
        recipes={"default": Recipe.default(), "published": Recipe.published()},
    ),
    "tdm": Row(
        path="tdm:TDM",
        title="TDM, temporal diffusion",
        text="Learns how subjects change with age, and imputes missing or future visits. "
        "Needs subjects with two visits or more.",
        summary="temporal diffusion model, for missing and future visits (TDM)",
        presets=("compact", "thesis"),
        options=TDMOptions,
        gives=frozenset({"healthy"}),
        recipes={"default": Recipe.temporal()},
        needs_change=True,
    ),
    "vae3d": Row(
        path="vae3d:VAE3D",
        title="VAE, of planes or volumes",
        text="Variational autoencoder: quick to train, coarse, and can look at whole volumes.",
        summary="variational autoencoder of planes or volumes (VAE)",
        presets=("compact", "published", "published 2d"),
        options=VAE3DOptions,
        gives=frozenset({"healthy"}),
        recipes={"default": PIXEL, "published": RESIDUAL},
    ),
}

NEEDS: dict[type, tuple[str, ...]] = {  # what a score goes by
    Pixel: ("healthy",),
    Fam: ("healthy", "features"),
    Temporal: ("temporal",),
    Ssim: ("healthy",),
    Mahalanobis: ("healthy", "draws"),
    Own: ("score",),
}
LACKS = {  # of a model that does not give it
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
    row, others = TABLE[method], (config.get("base", ""), *parts)
    lent = {"features"} if "healthy" in row.gives and "sdm" in others else set()
    temporal = {"temporal"} if "tdm" in (method, *parts) else set()
    makes_several = "healthy" in row.gives and not TABLE[config.get("base", method)].is_single
    return row.gives | lent | temporal | ({"draws"} if makes_several else set())


def lack_of(score: type, gives: Collection[str]) -> str:
    """Say what a score goes by that a model does not give; empty where it gives all."""
    return next((LACKS[need] for need in NEEDS[score] if need not in gives), "")


def possible_scores(gives: Collection[str]) -> list[type]:
    """List the scores of a model that gives this."""
    return [score for score in NEEDS if not lack_of(score, gives)]
