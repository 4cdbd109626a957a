"""Find what is abnormal in a series of images of one subject, having learned from healthy ones.

Public names load on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_followup import synthetic
    from napari_followup.alignment.align import align
    from napari_followup.alignment.preprocess import bias_corrected, brain_mask, masked, scaled
    from napari_followup.alignment.resample import cropped, regridded
    from napari_followup.comparison.change_map import change
    from napari_followup.detection.cohort import detect_cohort
    from napari_followup.detection.detect import detect, fuse_scores, reconstruct, score_pair
    from napari_followup.io import ReadError, read_stack, read_stacks, read_visits, write_stack
    from napari_followup.io.save_results import save_results
    from napari_followup.models.files import ModelBundle, load_bundle, save_bundle
    from napari_followup.prediction.impute import expected_visits, forecast, imputation, impute
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.plane_selection import Slicing
    from napari_followup.series.results import Cancelled, Detection, Imputation, Reconstruction
    from napari_followup.series.stack import VisitStack
    from napari_followup.training.train import train

_HOMES = {
    "Cancelled": "results",
    "Detection": "results",
    "Imputation": "results",
    "ModelBundle": "bundle",
    "ReadError": "reading",
    "Recipe": "recipe",
    "Reconstruction": "results",
    "Slicing": "slicing",
    "VisitStack": "stack",
    "align": "registration",
    "bias_corrected": "preprocessing",
    "brain_mask": "preprocessing",
    "change": "change",
    "cropped": "regridding",
    "detect": "detect",
    "detect_cohort": "cohorts",
    "expected_visits": "impute",
    "forecast": "impute",
    "fuse_scores": "detect",
    "imputation": "impute",
    "impute": "impute",
    "load_bundle": "bundle",
    "masked": "preprocessing",
    "read_stack": "reading",
    "read_stacks": "reading",
    "read_visits": "reading",
    "reconstruct": "detect",
    "regridded": "regridding",
    "save_bundle": "bundle",
    "save_results": "saving",
    "scaled": "preprocessing",
    "score_pair": "detect",
    "synthetic": "",
    "train": "training.train",
    "write_stack": "reading",
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


class _Package(ModuleType):
    """The package, in which a function may carry the name of the module it lives in.

    Importing ``napari_followup.detection.detect`` makes Python bind that module here; ``nf.detect`` stays the
    function.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = _HOMES[name]
        if not home:
            return import_module(f"{self.__name__}.{name}")
        found = getattr(import_module(f"{self.__name__}.{home}"), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == name:
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted(__all__)


sys.modules[__name__].__class__ = _Package
