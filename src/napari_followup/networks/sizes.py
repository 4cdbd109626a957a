"""Sides of images that a network can take."""

from __future__ import annotations

__all__ = ["check_sides"]


def check_sides(sides: tuple[int, ...], multiple: int) -> None:
    """Raise a ValueError if one of the sides is no multiple of what the network takes."""
    if any(side % multiple for side in sides):
        raise ValueError(
            f"image_size: got {sides}; this network takes multiples of {multiple} pixels"
        )
