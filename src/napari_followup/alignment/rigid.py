"""Rigid registration of one image to another, from coarse to fine.

It maximises the mutual information of the two images (Mattes et al. 2003, IEEE Transactions on
Medical Imaging 22:120), which does not need similar intensities. It uses SimpleITK (extra `mri`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "Rigid", "need_simpleitk", "rigid", "working_threads"]

LEVELS = (32, 64, 128)  # voxels along the longest side, from coarse to fine
SAMPLES = (20_000, 40_000, 80_000)  # voxels that the metric uses, per level
BINS = 50  # of the joint histogram
# With less than 0.8 the steps become small too early: 0.9 mm off instead of 0.06.
SETTINGS = {"numberOfIterations": 100, "relaxationFactor": 0.8}


@dataclass(frozen=True, eq=False)
class Rigid:
    """A transform: a ``(4, 4)`` matrix from the fixed to the moving frame, and its metrics."""

    matrix: NDArray[np.float64]
    metrics: tuple[float, ...]  # negative mutual information, after each level

    @property
    def metric(self) -> float:
        """Negative mutual information after the last level."""
        return self.metrics[-1]

    @property
    def turn(self) -> float:
        """Angle of the rotation, in degrees."""
        cosine = (np.trace(self.matrix[:3, :3]) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def rigid(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    fixed_frame: NDArray[np.float64],
    moving_frame: NDArray[np.float64],
    *,
    seed: int = 0,
    threads: int = 1,
    levels: int = len(LEVELS),
    on_level: Callable[[], None] = lambda: None,
    on_iteration: Callable[[], None] = lambda: None,
) -> Rigid:
    """Optimise the metric level by level; each level starts from the result of the one before.

    Parameters
    ----------
    fixed, moving
        ``(z, y, x)``, each on its own grid; both planes, z = 1, or both volumes.
    fixed_frame, moving_frame
        ``(4, 4)``, voxel (z, y, x) to the coordinates (x, y, z) of the transform.
    seed
        Chooses the voxels that the metric uses.
    threads
        One gives the same result every time.
    levels
        How many of the `LEVELS`, from the coarsest.
    on_level, on_iteration
        Called after each level, and after each step within it; an exception ends the search.

    Returns
    -------
    Rigid
        From points of `fixed` to those of `moving`.

    Raises
    ------
    ImportError
        If SimpleITK is not installed.
    RuntimeError
        From SimpleITK, if the images do not overlap.
    """
    images = [_itk_image(fixed, fixed_frame), _itk_image(moving, moving_frame)]
    transform, metrics = None, []
    with working_threads(threads):
        for longest, samples in list(zip(LEVELS, SAMPLES, strict=True))[:levels]:
            coarse = [_shrunk(image, longest) for image in images]
            search = _search(coarse[0], samples, seed)
            start = _best_start(search, *coarse) if transform is None else transform
            search.SetInitialTransform(start, inPlace=False)
            transform = _found(search, coarse, on_iteration)
            metrics.append(float(search.GetMetricValue()))
            on_level()
    return Rigid(_matrix(transform), tuple(metrics))


@contextmanager
def working_threads(threads: int) -> Iterator[None]:
    """Let SimpleITK use `threads` threads; its metric obeys only the default of the process.

    Parameters
    ----------
    threads
        Number of threads; afterwards the old default is restored.
    """
    itk = need_simpleitk()
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _search(fixed: Any, samples: int, seed: int) -> Any:
    """Set up the search on images of one size."""
    search = need_simpleitk().ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(BINS)
    search.SetMetricSamplingStrategy(search.RANDOM)
    share = min(1.0, samples / fixed.GetNumberOfPixels())
    search.SetMetricSamplingPercentage(share, seed + 1)  # for ITK, 0 means a seed from the clock
    search.SetInterpolator(need_simpleitk().sitkLinear)
    size = max(fixed.GetSpacing())
    search.SetOptimizerAsRegularStepGradientDescent(0.5 * size, 1e-3 * size, **SETTINGS)
    search.SetOptimizerScalesFromPhysicalShift()
    return search


def _found(search: Any, images: Sequence[Any], on_iteration: Callable[[], None]) -> Any:
    """Run the search; an exception must not pass through ITK and is raised afterwards."""
    raised: list[BaseException] = []

    def look() -> None:
        try:
            on_iteration()
        except BaseException as reason:
            raised.append(reason)
            search.StopRegistration()

    search.AddCommand(need_simpleitk().sitkIterationEvent, look)
    transform = search.Execute(*images)
    if raised:
        raise raised[0]
    return transform


def need_simpleitk() -> Any:
    """Import SimpleITK; the error says how to install it.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise ImportError(
            "this needs SimpleITK: pip install 'napari-followup[mri]'", name="SimpleITK"
        ) from error
    return SimpleITK


def _itk_image(values: NDArray[np.float32], frame: NDArray[np.float64]) -> Any:
    """Make an image of SimpleITK in the coordinates of its frame; a plane has two axes."""
    axes = [2, 1, 0] if len(values) > 1 else [2, 1]  # ITK's index is (x, y, z)
    frame = frame[: len(axes)]
    image = need_simpleitk().GetImageFromArray(values if len(values) > 1 else values[0])
    spacing = np.linalg.norm(frame[:, axes], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((frame[:, axes] / spacing).ravel().tolist())
    image.SetOrigin(frame[:, 3].tolist())
    return image


def _shrunk(image: Any, longest: int) -> Any:
    """Means over nearly cubic blocks of voxels, at most `longest` blocks along a side."""
    itk = need_simpleitk()
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    wanted = (spacing * size).max() / longest
    factors = np.clip(np.round(wanted / spacing), 1, size).astype(int)
    blurred = itk.SmoothingRecursiveGaussian(image, wanted / 2) if min(size) >= 4 else image
    return itk.BinShrink(blurred, factors.tolist())


def _best_start(search: Any, fixed: Any, moving: Any) -> Any:
    """Best of three starts: world coordinates as they are, and two ways to match centres."""
    itk = need_simpleitk()
    rigid = itk.Euler3DTransform() if fixed.GetDimension() == 3 else itk.Euler2DTransform()
    ways = itk.CenteredTransformInitializerFilter
    centred = [
        itk.CenteredTransformInitializer(fixed, moving, rigid, way)
        for way in (ways.GEOMETRY, ways.MOMENTS)
    ]
    at_rest = type(rigid)(centred[0])
    at_rest.SetTranslation([0.0] * fixed.GetDimension())
    return min((at_rest, *centred), key=lambda start: _metric(search, start, fixed, moving))


def _metric(search: Any, start: Any, fixed: Any, moving: Any) -> float:
    """Metric at the start; infinite if the images do not overlap."""
    search.SetInitialTransform(start, inPlace=False)
    try:
        return float(search.MetricEvaluate(fixed, moving))
    except RuntimeError:
        return float("inf")


def _matrix(transform: Any) -> NDArray[np.float64]:
    """``(4, 4)`` matrix of a transform, from its values at the origin and on the axes."""
    size = transform.GetDimension()
    start = np.array(transform.TransformPoint([0.0] * size))
    ends = [np.array(transform.TransformPoint(end)) for end in np.eye(size).tolist()]
    matrix = np.eye(4)
    matrix[:size, :size] = np.stack(ends, axis=1) - start[:, None]
    matrix[:size, 3] = start
    return matrix
