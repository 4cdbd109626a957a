"""What is remembered from one session to the next: the plugin's page of napari's preferences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Preferences"]

PLUGIN = "napari-followup"


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Settings of the plugin; the defaults are those of the manifest."""

    device: str = "auto"
    model_folder: str = ""
    sampling_steps: int = 0  # 0: as the recipe says
    model: str = ""
    recipe: str = ""  # JSON of `Recipe.as_dict`; empty: the default one
    seed: int = 0
    layers: str = "healthy, score, mask"
    update_existing: bool = True

    @classmethod
    def load(cls) -> Preferences:
        """Read what napari keeps; the defaults where it keeps nothing."""
        section = _section()
        known = {name: getattr(section, name, value) for name, value in asdict(cls()).items()}
        return cls(**known)

    def save(self) -> None:
        """Give it to napari, which writes it to disk."""
        section = _section()
        for name, value in asdict(self).items():
            if section is not None and getattr(section, name) != value:
                setattr(section, name, value)


def _section() -> Any:
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings(PLUGIN).detection
    except KeyError:  # the plugin is not registered, as in a script that imports the widget
        return None
