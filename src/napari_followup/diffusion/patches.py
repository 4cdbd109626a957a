"""Rectangles that tile a plane: where they lie, what they cover, how they are joined again.

For patched diffusion, Behrendt (2026), Sec. 3.4.2. Pure tensor functions, any device.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor

__all__ = ["check_patch", "patch_cover", "patch_grid", "random_corners", "stitched"]

Size = tuple[int, int]


def check_patch(patch: Size, size: Size, overlap: int = 0) -> None:
    """Check that patches fit into a plane and get on in it.

    Raises
    ------
    ValueError
        If a patch is larger than the plane, empty, or overlaps the next one wholly.
    """
    if any(side > whole for side, whole in zip(patch, size, strict=True)):
        raise ValueError(
            f"patch: got {patch[0]} x {patch[1]} pixels, larger than the image of "
            f"{size[0]} x {size[1]}; give a smaller one"
        )
    if min(patch) < 1 or not 0 <= overlap < min(patch):
        raise ValueError(
            f"patch and overlap: got {patch[0]} x {patch[1]} and {overlap} pixels; the overlap "
            "must be smaller than the patch, and not negative"
        )


def patch_grid(size: Size, patch: Size, overlap: int = 0) -> Tensor:
    """Evenly spaced patches that cover a plane, with as few of them as can be.

    Parameters
    ----------
    size, patch
        ``(y, x)`` in pixels, of the plane and of a patch.
    overlap
        Pixels that neighbours share at least; they share more where the patch does not divide the
        plane.

    Returns
    -------
    Tensor
        ``(patch, 2)`` int64: first row and column of each, row by row.

    Raises
    ------
    ValueError
        See `check_patch`.

    References
    ----------
    Behrendt (2026), Sec. 3.4.2. There are as many as the product of both axes' counts; the sum that
    is printed holds for two by two alone.
    """
    check_patch(patch, size, overlap)
    rows, columns = (_starts(whole, side, overlap) for whole, side in zip(size, patch, strict=True))
    return torch.cartesian_prod(rows, columns)


def _starts(whole: int, side: int, overlap: int) -> Tensor:
    count = ceil((whole - side) / (side - overlap)) + 1
    return torch.linspace(0, whole - side, count, dtype=torch.float64).round().long()


def random_corners(count: int, size: Size, patch: Size, generator: torch.Generator) -> Tensor:
    """Patches anywhere in a plane: first row and column of each, (count, 2) int64.

    Raises
    ------
    ValueError
        See `check_patch`.
    """
    check_patch(patch, size)
    drawn = [
        torch.randint(whole - side + 1, (count,), generator=generator, device=generator.device)
        for whole, side in zip(size, patch, strict=True)
    ]
    return torch.stack(drawn, dim=1)


def patch_cover(corners: Tensor, patch: Size, like: Tensor) -> Tensor:
    """Mask of each patch.

    Parameters
    ----------
    corners
        ``(b, 2)`` first rows and columns.
    patch
        ``(y, x)`` in pixels.
    like
        ``(..., y, x)`` gives size, dtype and device.

    Returns
    -------
    Tensor
        ``(b, 1, y, x)``, 1 inside the patch and 0 outside.
    """
    inside = []
    for axis, (side, whole) in enumerate(zip(patch, like.shape[-2:], strict=True)):
        place = torch.arange(whole, device=like.device) - corners[:, axis, None].to(like.device)
        inside.append((place >= 0) & (place < side))
    return (inside[0][:, None, :, None] & inside[1][:, None, None]).to(like)


def stitched(patches: Iterable[Tensor], corners: Tensor, patch: Size) -> Tensor:
    """Join what was made of each patch, with the mean where patches overlap.

    Parameters
    ----------
    patches
        Whole planes ``(b, c, y, x)``, one set a patch; only what lies inside the patch is taken.
    corners
        ``(patch, 2)`` first rows and columns, which cover the plane.
    patch
        ``(y, x)`` in pixels.

    Returns
    -------
    Tensor
        ``(b, c, y, x)``.
    """
    total, count = torch.zeros(()), torch.zeros(())
    for corner, planes in zip(corners, patches, strict=True):
        cover = patch_cover(corner[None], patch, planes)
        total, count = total.to(planes) + cover * planes, count.to(planes) + cover
    return total / count
