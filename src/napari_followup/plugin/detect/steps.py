"""The steps of *Detect anomalies* as widgets: the functions of `actions`, with their controls.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Reconstruct (SDM)")
    widget.model.value = "starmen"
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

from functools import partial
from typing import Any

from magicgui.widgets import FunctionGui

from napari_followup.plugin.detect.actions import fam_layers, lafm_layers, reconstruct_layers
from napari_followup.plugin.detect.recipe_form import OptionsForm
from napari_followup.plugin.forms.fields import ChoiceForm, FieldsForm, Hint, kinds_of
from napari_followup.plugin.forms.layer_choices import LayerCombo
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import source_of
from napari_followup.plugin.models.model_choice import ModelCombo, ModelFacts, facts_of
from napari_followup.plugin.results.step_panel import FormEdit, step_factory
from napari_followup.recipe.recipe import Fam, Fusion

__all__ = ["fam_widget", "lafm_widget", "reconstruct_widget"]

SCORES = ("fam", "score", "feature", "pixel")  # kinds of layers that can be fused


def _model_combo() -> ModelCombo:
    kept = Preferences.load()
    return ModelCombo(kept.model_folder, kept.model)


def _begin_reconstruct(gui: FunctionGui[..., Any]) -> None:
    """Show the options of the chosen model's method, set as in its default recipe."""
    combo, options, image = (gui[name].native for name in ("model", "options", "image"))
    shown = ModelFacts()
    options.value = shown.recipes["default"].options

    def follow() -> None:
        nonlocal shown
        facts = facts_of(combo.chosen)
        if facts != shown:
            shown = facts
            options.ask(facts.option_type)
            options.value = facts.recipes["default"].options

    combo.model_changed.connect(follow)
    gui.planes.bind(lambda _: image.slicing)
    follow()


def _check_reconstruct(gui: FunctionGui[..., Any], arguments: dict[str, Any]) -> None:
    """Refuse a model that gives no healthy images, or images that it cannot take."""
    facts = facts_of(arguments["model"])
    if "healthy" not in facts.gives:
        raise ValueError(
            f"model: {facts.title} gives no healthy images, but a score of its own; use it in "
            "Detect anomalies, or choose another model"
        )
    if problem := facts.mismatch(arguments["image"]):
        raise ValueError(problem)


def _check_fam(gui: FunctionGui[..., Any], arguments: dict[str, Any]) -> None:
    """Take the healthy images, on the axes of the image."""
    if arguments["healthy"] is None:
        raise ValueError("there are no healthy images; make them with Reconstruct (SDM) first")
    arguments["healthy"] = source_of(arguments["healthy"], axes=arguments["image"].axes)


MODEL = {
    "widget_type": FormEdit,
    "form": _model_combo,
    "attribute": "chosen",
    "signal": "model_changed",
    "has_rows": False,
}
HEALTHY = {
    "widget_type": FormEdit,
    "form": partial(LayerCombo, results=("healthy",)),
    "attribute": "layer",
    "signal": "layer_changed",
    "has_rows": False,
}

reconstruct_widget = step_factory(
    reconstruct_layers,
    "Reconstruct",
    begin=_begin_reconstruct,
    check=_check_reconstruct,
    image={"widget_type": FormEdit, "form": partial(SeriesInput, sliced=True)},
    model=MODEL,
    options={"widget_type": FormEdit, "form": partial(OptionsForm, ModelFacts().option_type)},
    seed={"hint": Hint(between=(0, 2**31 - 1))},
)
fam_widget = step_factory(
    fam_layers,
    "Score",
    check=_check_fam,
    image={"widget_type": FormEdit, "form": SeriesInput},
    healthy=HEALTHY,
    model=MODEL,
    score={"widget_type": FormEdit, "form": partial(FieldsForm, Fam())},
)
lafm_widget = step_factory(
    lafm_layers,
    "Fuse",
    image={"widget_type": FormEdit, "form": partial(SeriesInput, label="scores", results=SCORES)},
    fusion={
        "widget_type": FormEdit,
        "form": partial(ChoiceForm, "fusion", [kind for kind in kinds_of(Fusion) if kind]),
    },
)
