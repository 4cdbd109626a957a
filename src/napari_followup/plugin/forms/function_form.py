"""Controls for the settings of a function: magicgui makes them from its annotations.

Defaults are those of the signature, tips those of the docstring.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from magicgui.widgets import CheckBox, Container, FloatSpinBox, create_widget

__all__ = ["OptionalNumber", "controls_of"]


def controls_of(
    function: Callable[..., Any], options: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Make one control a parameter.

    Parameters
    ----------
    function
        With annotations, and a numpy docstring.
    options
        The parameters that get a control, in their order; for each, options of `create_widget`.

    Returns
    -------
    dict
        Widgets of magicgui by the names of the parameters; each has a `value`, and is `native` Qt.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    tips = _tips(function)
    return {
        name: create_widget(
            name=name,
            value=parameters[name].default,
            annotation=hints[name],
            options={"tooltip": tips.get(name, ""), **own},
        )
        for name, own in options.items()
    }


class OptionalNumber(Container[Any]):
    """A number with a check box; none where the box is not checked."""

    def __init__(
        self,
        value: float | None = None,
        *,
        text: str,
        start: float,
        min: float = 0.0,
        max: float = 1000.0,
        nullable: bool = True,
        **about: Any,
    ) -> None:
        tip = about.get("tooltip", "")
        self.check = CheckBox(text=text, value=value is not None, tooltip=tip)
        self.number = FloatSpinBox(
            value=start if value is None else value, min=min, max=max, step=None, tooltip=tip
        )
        super().__init__(
            widgets=[self.check, self.number], layout="horizontal", labels=False, **about
        )
        self.margins = (0, 0, 0, 0)
        self.check.changed.connect(self._enable)
        self._enable(self.check.value)

    @property
    def value(self) -> float | None:
        """The number, or none."""
        return float(self.number.value) if self.check.value else None

    @value.setter
    def value(self, value: float | None) -> None:
        self.check.value = value is not None
        if value is not None:
            self.number.value = value

    def _enable(self, is_on: bool) -> None:
        self.number.enabled = is_on


def _tips(function: Callable[..., Any]) -> dict[str, str]:
    """Texts of the parameters in a numpy docstring."""
    doc = inspect.getdoc(function) or ""
    section = doc.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    found = re.findall(r"^(\w+)\n((?:    .*\n?)+)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
