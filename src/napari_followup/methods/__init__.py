"""Methods of the literature, one a module: found by name in the table, imported when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_followup.methods.table import Row
    from napari_followup.recipe.recipe import Recipe

__all__ = [
    "method_class",
    "method_config",
    "method_presets",
    "method_recipe",
    "method_recipes",
    "tupled",
]


def method_class(name: str) -> Any:
    """Class of a method, imported now.

    Parameters
    ----------
    name
        One of `table.TABLE`.

    Returns
    -------
    type
        A `torch.nn.Module` with the members of `methods.method.Method`.

    Raises
    ------
    ValueError
        If the table has no such method.
    """
    module, _, attribute = _row(name).path.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def method_presets(name: str) -> dict[str, Any]:
    """List the configurations that stand in a method's module.

    Parameters
    ----------
    name
        One of `table.TABLE`.

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


def method_recipe(name: str) -> Recipe:
    """Recipe that a method detects with when none is given.

    Parameters
    ----------
    name
        One of `table.TABLE`.

    Returns
    -------
    Recipe
        The one that measures best.

    Raises
    ------
    ValueError
        If the table has no such method.
    """
    return method_recipes(name)["default"]


def method_recipes(name: str) -> dict[str, Recipe]:
    """Recipes of a method: ``"default"``, and ``"published"`` if there is one.

    Parameters
    ----------
    name
        One of `table.TABLE`.

    Returns
    -------
    dict
        By name.

    Raises
    ------
    ValueError
        If the table has no such method.
    """
    return dict(_row(name).recipes)


def method_config(name: str, values: Mapping[str, Any]) -> Any:
    """Read what JSON made of a method's configuration.

    Parameters
    ----------
    name
        One of `table.TABLE`.
    values
        Fields by name; lists are read as the tuples that they were.

    Returns
    -------
    dataclass
        Of the method's ``config_type``.

    Raises
    ------
    ValueError
        If the table has no such method, or a value makes no sense.
    TypeError
        If the configuration has no such field.
    """
    return method_class(name).config_type(**tupled(values))


def tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn lists back into the tuples that they were before a file was written."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _row(name: str) -> Row:
    from napari_followup.methods.table import TABLE

    if name not in TABLE:
        raise ValueError(f"no method {name!r}; this version knows {', '.join(sorted(TABLE))}")
    return TABLE[name]
