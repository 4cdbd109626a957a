"""Find what is abnormal in a series of images of one subject, with models of healthy subjects.

Public names load on first use, so that importing the package is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_followup import synthetic
    from napari_followup.alignment.align import align
    from napari_followup.alignment.preprocess import bias_corrected, brain_mask, masked, scaled
    from napari_followup.alignment.resample import cropped, regridded
    from napari_followup.comparison.change_map import change
    from napari_followup.detection.cohort import detect_cohort
    from napari_followup.detection.detect import detect
    from napari_followup.detection.steps import fuse_scores, reconstruct, score_pair
    from napari_followup.io import ReadError, read_stack, read_stacks, read_visits, write_stack
    from napari_followup.io.save_results import save_results
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.models.files import load_bundle, save_bundle
    from napari_followup.prediction.impute import expected_visits, forecast, imputation, impute
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.plane_selection import Slicing
    from napari_followup.series.results import Cancelled, Detection, Imputation, Reconstruction
    from napari_followup.series.stack import VisitStack
    from napari_followup.training.train import train

_MODULES = {
    "Cancelled": "series.results",
    "Detection": "series.results",
    "Imputation": "series.results",
    "ModelBundle": "models.bundle",
    "ReadError": "io",
    "Recipe": "recipe.recipe",
    "Reconstruction": "series.results",
    "Slicing": "series.plane_selection",
    "VisitStack": "series.stack",
    "align": "alignment.align",
    "bias_corrected": "alignment.preprocess",
    "brain_mask": "alignment.preprocess",
    "change": "comparison.change_map",
    "cropped": "alignment.resample",
    "detect": "detection.detect",
    "detect_cohort": "detection.cohort",
    "expected_visits": "prediction.impute",
    "forecast": "prediction.impute",
    "fuse_scores": "detection.steps",
    "imputation": "prediction.impute",
    "impute": "prediction.impute",
    "load_bundle": "models.files",
    "masked": "alignment.preprocess",
    "read_stack": "io",
    "read_stacks": "io",
    "read_visits": "io",
    "reconstruct": "detection.steps",
    "regridded": "alignment.resample",
    "save_bundle": "models.files",
    "save_results": "io.save_results",
    "scaled": "alignment.preprocess",
    "score_pair": "detection.steps",
    "train": "training.train",
    "write_stack": "io",
}

__all__ = [
    "Cancelled",
    "Detection",
    "Imputation",
    "ModelBundle",
    "ReadError",
    "Recipe",
    "Reconstruction",
    "Slicing",
    "VisitStack",
    "align",
    "bias_corrected",
    "brain_mask",
    "change",
    "cropped",
    "detect",
    "detect_cohort",
    "expected_visits",
    "forecast",
    "fuse_scores",
    "imputation",
    "impute",
    "load_bundle",
    "masked",
    "read_stack",
    "read_stacks",
    "read_visits",
    "reconstruct",
    "regridded",
    "save_bundle",
    "save_results",
    "scaled",
    "score_pair",
    "synthetic",
    "train",
    "write_stack",
]


def __getattr__(name: str) -> Any:
    if name == "synthetic":
        return import_module("napari_followup.synthetic")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
