from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_followup
from napari_followup.plugin.forms.preferences import Preferences

PATH = Path(napari_followup.__file__).with_name("napari.yaml")
SETTINGS = PluginManifest.from_file(PATH).contributions
WIDGETS = [
    "Detect anomalies",
    "Reconstruct (SDM)",
    "Feature attention (FAM)",
    "Longitudinal fusion (LAFM)",
    "Impute visits",
    "Align visits",
    "Compare visits",
    "Timeline",
    "Longitudinal stack",
    "Train a model",
]


def test_detect_anomalies_stands_first() -> None:
    assert [widget.display_name for widget in SETTINGS.widgets] == WIDGETS


@pytest.mark.parametrize(
    "menu",
    [
        "napari/layers/segment",
        "napari/layers/filter",
        "napari/layers/transform",
        "napari/layers/data",
        "napari/layers/register",
        "napari/layers/measure",
        "napari/layers/visualize",
    ],
)
def test_the_menus_of_layers_lead_to_the_widgets(menu: str) -> None:
    from napari._app_model.constants._menus import is_menu_contributable

    widgets = {widget.command for widget in SETTINGS.widgets}

    assert is_menu_contributable(menu)
    assert {item.command for item in SETTINGS.menus[menu]} <= widgets


@pytest.mark.viewer
def test_every_command_can_be_imported() -> None:
    for command in SETTINGS.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_preferences_of_the_manifest_are_those_of_the_code() -> None:
    properties = SETTINGS.configurations["detection"].properties

    assert {name: each.default for name, each in properties.items()} == asdict(Preferences())


def test_preferences_are_kept_by_napari(plugin_settings: None, npe2pm: object) -> None:
    npe2pm.register(PluginManifest.from_file(PATH))
    Preferences(seed=7, model="m", sampling_steps=9).save()

    from napari.settings import get_plugin_settings

    assert Preferences.load() == Preferences(seed=7, model="m", sampling_steps=9)
    file = get_plugin_settings("napari-followup").config_path
    assert "seed: 7" in file.read_text("utf-8")


def test_preferences_have_defaults_where_napari_does_not_know_the_plugin(
    plugin_settings: None,
) -> None:
    Preferences(seed=7).save()

    assert Preferences.load() == Preferences()
