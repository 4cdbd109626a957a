"""Optional preprocessing of intensities: bias field, brain mask, scaling; stack in, stack out.

No step changes its input. Missing visits stay missing, images become float32, and each step adds an
entry to ``provenance["steps"]``. Which steps help depends on the images. Steps that change the grid
are in `resample`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_followup.alignment.brain_mask import brain, foreground, mask_of
from napari_followup.alignment.rigid import need_simpleitk, working_threads
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack, add_step

__all__ = ["bias_corrected", "brain_mask", "masked", "scaled"]


def bias_corrected(
    stack: VisitStack,
    *,
    mask: ArrayLike | None = None,
    block: float = 4.0,
    iterations: Sequence[int] = (40, 40, 30),
    threads: int = 1,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> VisitStack:
    """Divide each image by the smooth bias field of its scanner.

    Parameters
    ----------
    stack
        Intensities above 0 in the subject, as in MR.
    mask
        ``(z, y, x)`` or ``(visit, z, y, x)``: where the bias field is measured; by default the
        foreground of each image. All voxels are corrected.
    block
        The bias field is measured on means over blocks of this length, in the stack's unit; larger
        is faster.
    iterations
        At most, for each level from smooth to less smooth.
    threads
        One gives the same result every time.
    on_step
        Called with the images done and to do; returns False to stop.

    Returns
    -------
    VisitStack
        The images keep their mean over the mask.

    Raises
    ------
    ImportError
        If SimpleITK is not installed.
    ValueError
        If an image has no voxel to measure; the error names it.
    Cancelled
        If `on_step` returned False.

    References
    ----------
    N4: Tustison et al. (2010), IEEE Transactions on Medical Imaging 29:1310.
    """
    need_simpleitk()
    total = int((~stack.is_missing).sum()) * len(stack.modalities)
    done = 0

    def correct(image: NDArray[np.float32], visit: int) -> NDArray[np.float32]:
        nonlocal done
        inside = foreground(image) if mask is None else mask_of(mask, stack)[visit]
        inside = inside & (image > 0)
        if not inside.any():
            raise ValueError(
                f"bias_corrected: visit {visit + 1} of {stack.subject!r} has no voxel above 0 in "
                "the mask"
            )
        field = np.exp(_log_bias(image, inside, stack, block, iterations, threads))
        done += 1
        if on_step is not None and on_step(done, total) is False:
            raise Cancelled("stopped before all images were corrected")
        even = image / field
        return np.asarray(even * (image[inside].mean() / even[inside].mean()))

    return _each(
        stack,
        correct,
        "bias_corrected",
        mask="foreground" if mask is None else "given",
        block=block,
        iterations=list(iterations),
    )


def brain_mask(stack: VisitStack, *, modality: int = 0, opening: float = 4.0) -> NDArray[np.bool_]:
    """Find the brain at every visit, in a simple way; see `alignment.brain_mask.brain`.

    Parameters
    ----------
    stack
        Heads with a bright brain. A mask from a trained brain extraction is better.
    modality
        Index of the modality to use.
    opening
        Half the width of the bridges to remove, in the stack's unit.

    Returns
    -------
    NDArray
        ``(visit, z, y, x)`` bool; empty at a missing visit.
    """
    masks = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    for visit in np.flatnonzero(~stack.is_missing):
        masks[visit] = brain(stack.images[visit, modality], stack.spacing, opening=opening)
    return masks


def masked(stack: VisitStack, mask: ArrayLike | None = None) -> VisitStack:
    """Set all voxels outside a mask to 0.

    Parameters
    ----------
    stack
        The series.
    mask
        ``(z, y, x)`` or ``(visit, z, y, x)``; by default the union of all visits' `brain_mask`.

    Returns
    -------
    VisitStack
        On the same grid.

    Raises
    ------
    ValueError
        If the mask does not fit.
    """
    how = "brain_mask" if mask is None else "given"
    inside = brain_mask(stack).any(axis=0) if mask is None else mask
    inside = mask_of(inside, stack)
    return _each(
        stack, lambda image, visit: np.where(inside[visit], image, 0.0), "masked", mask=how
    )


def scaled(stack: VisitStack, *, percentile: float = 99.0) -> VisitStack:
    """Scale each image so that a percentile of its foreground becomes 1 and 0 stays 0.

    Parameters
    ----------
    stack
        The series; background near 0.
    percentile
        Above 0 and up to 100.

    Returns
    -------
    VisitStack
        Nothing is clipped.

    Raises
    ------
    ValueError
        If `percentile` is out of range, or an image has no foreground above 0; the error names it.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile: got {percentile}; give one above 0 and up to 100")

    def scale(image: NDArray[np.float32], visit: int) -> NDArray[np.float32]:
        inside = foreground(image)
        high = float(np.percentile(image[inside], percentile)) if inside.any() else 0.0
        if high <= 0:
            raise ValueError(
                f"scaled: visit {visit + 1} of {stack.subject!r} has no foreground above 0"
            )
        return image / np.float32(high)

    return _each(stack, scale, "scaled", percentile=percentile)


def _each(
    stack: VisitStack,
    work: Callable[[NDArray[np.float32], int], NDArray[Any]],
    step: str,
    **settings: Any,
) -> VisitStack:
    """Change every image (z, y, x) that is not missing, and add the step to the provenance."""
    images = np.full(stack.shape, np.nan, dtype=np.float32)
    for visit in np.flatnonzero(~stack.is_missing):
        for number in range(len(stack.modalities)):
            image = np.asarray(stack.images[visit, number], dtype=np.float32)
            images[visit, number] = work(image, int(visit))
    provenance = add_step(stack.provenance, step, **settings)
    return stack.with_images(images, provenance=provenance)


def _log_bias(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    stack: VisitStack,
    block: float,
    iterations: Sequence[int],
    threads: int,
) -> NDArray[np.float32]:
    """Logarithm of the bias field, on the grid of the image."""
    itk = need_simpleitk()
    flat = image.shape[0] == 1
    spacing = stack.spacing[:0:-1] if flat else stack.spacing[::-1]  # ITK's order is (x, y, z)
    whole, marks = (
        itk.GetImageFromArray(values[0] if flat else values)
        for values in (image, inside.astype(np.uint8))
    )
    for each in (whole, marks):
        each.SetSpacing(spacing)
    factors = np.clip(block // np.array(spacing), 1, whole.GetSize()).astype(int).tolist()
    n4 = itk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(number) for number in iterations])
    with working_threads(threads):
        n4.Execute(itk.Shrink(whole, factors), itk.Shrink(marks, factors))
        field = itk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole))
    return np.asarray(field[None] if flat else field, dtype=np.float32)
