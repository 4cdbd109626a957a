"""Settings of the plugin: what a run uses, and what napari keeps for the next session."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from napari_followup.plugin.forms.fields import Hint

__all__ = ["MODES", "Preferences", "RunSettings"]

PLUGIN = "napari-followup"
MODES = {"update existing results": True, "add new layers": False}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a run computes, from which seed, and what becomes of its results."""

    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Hint(tip="Where the model runs; auto takes a GPU if there is one"),
    ] = "auto"
    seed: Annotated[
        int, Hint(tip="The same seed gives the same result", between=(0, 2**31 - 1))
    ] = 0
    layers: tuple[Literal["healthy", "score", "mask"], ...] = ("healthy", "score", "mask")
    update_existing: Annotated[
        bool,
        Hint(
            label="then",
            tip="Whether results replace the layers of an earlier run",
            choices=tuple(MODES.items()),
        ),
    ] = True


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

    @property
    def run(self) -> RunSettings:
        """What of it concerns a run."""
        layers: Any = tuple(self.layers.replace(",", " ").split())
        device: Any = self.device
        update = self.update_existing
        return RunSettings(device=device, seed=self.seed, layers=layers, update_existing=update)

    def with_run(self, run: RunSettings) -> Preferences:
        """Take over the settings of a run."""
        return replace(self, **asdict(run) | {"layers": ", ".join(run.layers)})

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
