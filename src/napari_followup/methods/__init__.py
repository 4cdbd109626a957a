"""The table of methods, as text: a bundle names its method, and only that one is imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["METHODS", "method_class", "method_presets"]

METHODS = {"sdm": "napari_followup.methods.sdm:SDM"}


def method_class(name: str) -> Any:
    """Class of a method, imported now.

    Parameters
    ----------
    name
        One of `METHODS`.

    Returns
    -------
    type
        A `torch.nn.Module` with the members of `methods.method.Method`.

    Raises
    ------
    ValueError
        If the table has no such method.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; this version knows {', '.join(sorted(METHODS))}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)


def method_presets(name: str) -> dict[str, Any]:
    """List the configurations that stand in a method's module.

    Parameters
    ----------
    name
        One of `METHODS`.

    Returns
    -------
    dict
        Configurations by preset name.

    Raises
    ------
    ValueError
        If the table has no such method.
    """
    presets: dict[str, Any] = import_module(method_class(name).__module__).PRESETS
    return presets
