"""What readers say when a file is not what it should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ReadError", "needing"]


class ReadError(ValueError):
    """A file, or a row of a table, cannot be read; the message names it and what to do."""


@contextmanager
def needing(name: str, extra: str = "formats") -> Iterator[None]:
    """Say how to install a library whose import inside fails.

    Parameters
    ----------
    name
        The library, as pip calls it.
    extra
        The extra of this package that brings it.

    Raises
    ------
    ReadError
        If it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ReadError(
            f"needs {name}, which is not installed ({error}); install it with "
            f'pip install "napari-followup[{extra}]"'
        ) from error
