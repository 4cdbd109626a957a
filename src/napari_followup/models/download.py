"""Files from the network: downloaded once, checked by their hash, never half there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

__all__ = ["OnBytes", "checked_hash", "fetch", "file_hash"]

OnBytes = Callable[[int, int], object]
"""Called with the bytes that have come and those to come."""

DIGITS = 64  # of a SHA-256 hash, hexadecimal
LARGEST = 2**30  # bytes of a model
PART_SECONDS = 30  # without a byte
WHOLE_SECONDS = 3600
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
    """Write what an address gives; it has a size limit and a deadline, and keeps its scheme."""
    import requests

    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address}: give an address that begins with https:// or http://")
    end = time.monotonic() + WHOLE_SECONDS
    try:
        with requests.get(
            address, stream=True, timeout=PART_SECONDS, hooks={"response": _keep_scheme}
        ) as answer:
            answer.raise_for_status()
            total, done = int(answer.headers.get("content-length", 0)), 0
            _check_size(total)
            with path.open("wb") as file:
                for piece in answer.iter_content(PIECE):
                    done += len(piece)
                    _check_size(done)
                    if time.monotonic() > end:
                        raise TimeoutError(f"not whole after {WHOLE_SECONDS} s")
                    file.write(piece)
                    if on_bytes is not None:
                        on_bytes(done, max(done, total))
            if done < total:
                raise ConnectionError(f"{done} of {total} bytes came")
    except (OSError, ValueError) as error:  # those of the network among them
        raise ConnectionError(
            f"{address}: could not be fetched ({_reason(error)}); check the address, the network "
            "and its proxy, or fetch the file on another machine and give the file instead"
        ) from error


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"more than {LARGEST // 2**20} MiB, which no model has")


def _keep_scheme(answer: Any, **_: Any) -> None:
    """Refuse a redirect to another scheme: from https to http, or to what is no web address."""
    if answer.is_redirect:
        there = urljoin(answer.url, answer.headers["location"])
        if urlsplit(there).scheme != urlsplit(answer.url).scheme:
            raise ValueError(f"it redirects to {there}, another kind of address")


def _reason(error: Exception) -> object:
    """Leave out how often the same was tried."""
    return getattr(error.args[0], "reason", error) if error.args else type(error).__name__
