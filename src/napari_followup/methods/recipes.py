"""The recipes of every method: the one it detects with, and the one its source published.

Plain text without torch, so that a form opens at once. What the default recipes measure stands in
``docs/benchmarks.md``.
"""

from __future__ import annotations

from dataclasses import replace

from napari_followup.recipe.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Support,
    Yen,
)

__all__ = ["RECIPES"]

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

RECIPES: dict[str, dict[str, Recipe]] = {
    "andi": {
        "default": replace(OWN, options={"stride": 5}),
        "published": Recipe(  # Sec. 4.5
            score=Own(), median=5, volume_median=True, threshold=Yen(pixel_too=False), dilation=1
        ),
    },
    "anoddpm": {
        "default": Recipe.default(),
        "published": replace(
            RESIDUAL, options={"noise_levels": (500,), "draws": 1, "sampling_steps": 1}
        ),
    },
    "anofpdm": {
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
    "cddpm": {
        # Ten draws, as the source measures them by (Sec. 3.4.5), from low levels.
        "default": replace(
            OWN,
            options={"noise_levels": (50, 100), "draws": 5, "sampling_steps": 1},
            score=Mahalanobis(blur=0.0),
        ),
        # Levels whose reconstructions are averaged, Sec. 3.4.3.
        "published": replace(RESIDUAL, options={"noise_levels": (250, 500, 750)}),
    },
    "disyre": {
        "default": OWN,
        "published": Recipe(  # the paper names no threshold
            score=Own(), threshold=HealthyQuantile()
        ),
    },
    "pddpm": {
        "default": replace(
            OWN,
            options={"noise_levels": (25, 50)},
            score=Mahalanobis(blur=0.0),
        ),
        "published": replace(RESIDUAL, options={"noise_levels": (500,)}),
    },
    "sadm": {
        "default": replace(OWN, options={"structure": 0.25}),
        # The median is that of one of its two branches alone.
        "published": replace(
            RESIDUAL, options={"median": 5}, score=Own(), median=1, volume_median=False
        ),
    },
    "sdm": {"default": Recipe.default(), "published": Recipe.published()},
    "tdm": {"default": Recipe.temporal()},
    "vae3d": {"default": PIXEL, "published": RESIDUAL},
}
