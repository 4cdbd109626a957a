"""Which recipes a method has, and what it gives a score to go by.

Both stand in the methods' modules, which load torch; here they stand as plain text, so that a form
opens at once. Tests keep the two alike.
"""

from __future__ import annotations

from dataclasses import replace

from napari_followup.recipe import (
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

__all__ = ["GIVES", "RECIPES"]

GIVES = {  # what a method's evidence holds
    "andi": frozenset({"score"}),
    "anoddpm": frozenset({"healthy"}),
    "anofpdm": frozenset({"healthy", "score"}),
    "cddpm": frozenset({"healthy"}),
    "disyre": frozenset({"healthy", "score"}),
    "pddpm": frozenset({"healthy"}),
    "sadm": frozenset({"healthy", "score"}),  # and what the method underneath gives
    "sdm": frozenset({"healthy", "features"}),
    "tdm": frozenset({"healthy"}),
    "vae3d": frozenset({"healthy"}),
}

OWN = Recipe(score=Own(), fusion=Support(), threshold=HealthyHysteresis())
PIXEL = replace(OWN, score=Pixel(tolerance=2.0))
FILTERED = Recipe(score=Pixel(), median=5)

RECIPES: dict[str, dict[str, Recipe]] = {
    "andi": {
        "default": replace(OWN, options={"stride": 5}),
        "published": Recipe(
            score=Own(), median=5, volume_median=True, threshold=Yen(pixel_too=False)
        ),
    },
    "anoddpm": {
        "default": Recipe.default(),
        "published": replace(
            FILTERED, options={"noise_levels": (500,), "draws": 1, "sampling_steps": 1}
        ),
    },
    "anofpdm": {
        "default": replace(OWN, options={"last_step": 400, "stride": 25}),
        "published": Recipe(
            options={"cut": (0.90, 0.98)},
            score=Own(),
            median=5,
            threshold=Fixed(value=1.0),
            smallest=7,
        ),
    },
    "cddpm": {
        "default": replace(
            OWN,
            options={"noise_levels": (50, 100), "draws": 5, "sampling_steps": 1},
            score=Mahalanobis(blur=0.0),
        ),
        "published": replace(FILTERED, options={"noise_levels": (250, 500, 750)}),
    },
    "disyre": {
        "default": OWN,
        "published": Recipe(score=Own(), threshold=HealthyQuantile()),
    },
    "pddpm": {
        "default": replace(PIXEL, options={"noise_levels": (100, 250), "overlap": 8}),
        "published": replace(FILTERED, options={"noise_levels": (500,)}),
    },
    "sadm": {
        "default": OWN,
        "published": Recipe(options={"median": 5}, score=Own(), threshold=HealthyQuantile()),
    },
    "sdm": {"default": Recipe.default(), "published": Recipe.published()},
    "tdm": {"default": Recipe.temporal()},
    "vae3d": {
        "default": PIXEL,
        "published": replace(FILTERED, volume_median=True, smallest=7),
    },
}
