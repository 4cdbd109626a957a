"""Files from the network: downloaded once, checked by their hash, never half there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["OnBytes", "checked_hash", "fetch", "file_hash"]

OnBytes = Callable[[int, int], object]
"""Called with the bytes that have come and those to come."""

DIGITS = 64  # of a SHA-256 hash, hexadecimal
PIECE = 2**18  # bytes that are written at once


def checked_hash(sha256: str) -> str:
    """Plain lower-case SHA-256 hash; ``sha256:`` may stand before it.

    Raises
    ------
    ValueError
        If it is none.
    """
    plain = sha256.strip().lower().removeprefix("sha256:")
    if len(plain) != DIGITS or set(plain) - set("0123456789abcdef"):
        raise ValueError(
            f"sha256: got {sha256!r}; give the {DIGITS} hexadecimal digits of the hash"
        )
    return plain


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    import pooch

    return str(pooch.file_hash(str(path), alg="sha256"))


def fetch(address: str, sha256: str, path: Path, on_bytes: OnBytes | None = None) -> Path:
    """Download a file, unless it is there already.

    Parameters
    ----------
    address
        Beginning with ``http://`` or ``https://``.
    sha256
        Hash that the file must have.
    path
        Where it is put, once it is whole and its hash is right.
    on_bytes
        Told how far it is.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConnectionError
        If nothing, or not all of it, could be fetched.
    ValueError
        If the hash is another one, or the address is of an unknown kind.
    """
    wanted = checked_hash(sha256)
    if path.is_file() and file_hash(path) == wanted:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as place:
        draft = Path(place) / path.name
        _download(address, draft, on_bytes)
        if (found := file_hash(draft)) != wanted:
            raise ValueError(
                f"{address}: its SHA-256 is {found}, not {wanted} as given; it was damaged on the "
                "way or is another file: try again, or ask its publisher for the hash"
            )
        draft.replace(path)
    return path


def _download(address: str, path: Path, on_bytes: OnBytes | None) -> None:
    import pooch

    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address}: give an address that begins with https:// or http://")
    meter = _Meter(on_bytes) if on_bytes else False
    try:
        pooch.HTTPDownloader(progressbar=meter, chunk_size=PIECE)(address, str(path), None)
    except OSError as error:  # those of the network among them
        raise ConnectionError(
            f"{address}: could not be fetched ({_reason(error)}); check the address, the network "
            "and its proxy, or fetch the file on another machine and give the file instead"
        ) from error


def _reason(error: OSError) -> object:
    """Leave out how often the same was tried."""
    return getattr(error.args[0], "reason", error) if error.args else type(error).__name__


class _Meter:
    """What pooch takes for a progress bar."""

    def __init__(self, on_bytes: OnBytes) -> None:
        self.on_bytes, self.done, self.total = on_bytes, 0, 0

    def update(self, count: int) -> None:
        """Count bytes that have come; pooch counts the last piece as a whole one."""
        self.done = min(self.done + count, self.total) if self.total else self.done + count
        self.on_bytes(self.done, max(self.done, self.total))

    def reset(self) -> None:
        """Begin again; pooch then counts all of it at once."""
        self.done = 0

    def close(self) -> Any:
        """Nothing is left to do."""
