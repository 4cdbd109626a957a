"""Install models in the model folder, download them, and export them.

Models in the folder load by name.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from napari_followup.models.catalogue import VARIABLE, embedded, find, model_folder
from napari_followup.models.header import SUFFIX, read_about

__all__ = [
    "OnBytes",
    "checked_hash",
    "export_model",
    "fetch",
    "file_hash",
    "install_model",
]

OnBytes = Callable[[int, int], object]
"""Called with the bytes received and those to receive."""

DIGITS = 64  # of a SHA-256 hash, hexadecimal
LARGEST = 2**30  # bytes of a model
PART_SECONDS = 30  # without a byte
WHOLE_SECONDS = 3600
PIECE = 2**18  # bytes written at once


def checked_hash(sha256: str) -> str:
    """SHA-256 hash in lower case, without ``sha256:`` before it.

    Raises
    ------
    ValueError
        If it is no SHA-256 hash.
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
    """Download a file, unless it already exists.

    Parameters
    ----------
    address
        Beginning with ``http://`` or ``https://``.
    sha256
        Hash that the file must have.
    path
        Target; the file appears there only when it is complete and its hash is right.
    on_bytes
        Called with the progress.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConnectionError
        If the download fails.
    ValueError
        If the hash differs, or the address is neither http nor https.
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
                f"{address}: its SHA-256 is {found}, not {wanted} as given; it is damaged "
                "or another file: try again, or ask its publisher for the hash"
            )
        draft.replace(path)
    return path


def _download(address: str, path: Path, on_bytes: OnBytes | None) -> None:
    """Download to a file, with a limit of size and time; redirects must keep the scheme."""
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
                        raise TimeoutError(f"not complete after {WHOLE_SECONDS} s")
                    file.write(piece)
                    if on_bytes is not None:
                        on_bytes(done, max(done, total))
            if done < total:
                raise ConnectionError(f"only {done} of {total} bytes arrived")
    except (OSError, ValueError) as error:  # network errors are OSErrors
        raise ConnectionError(
            f"{address}: download failed ({_reason(error)}); check the address, the network and "
            "its proxy, or download the file on another machine and give the file instead"
        ) from error


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"more than {LARGEST // 2**20} MiB, larger than any model")


def _keep_scheme(answer: Any, **_: Any) -> None:
    """Refuse a redirect to another scheme, such as from https to http."""
    if answer.is_redirect:
        there = urljoin(answer.url, answer.headers["location"])
        if urlsplit(there).scheme != urlsplit(answer.url).scheme:
            raise ValueError(f"it redirects to {there}, which has another scheme")


def _reason(error: Exception) -> object:
    """Reason of a network error, without the list of retries."""
    return getattr(error.args[0], "reason", error) if error.args else type(error).__name__


def install_model(
    source: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    name: str | None = None,
    replace: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Copy or download a model into the model folder; it then works offline.

    Parameters
    ----------
    source
        A ``.safetensors`` file, or its URL.
    sha256
        Hash that the file must have; a URL needs it.
    name
        Name for `load_bundle`; by default that of the file.
    replace
        Replace a model of that name.
    on_bytes
        Called with the progress of the download.

    Returns
    -------
    Path
        The file in the model folder. If it already exists with this hash, nothing is downloaded.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no such file, or another model of that name.
    ConnectionError
        If the download fails.
    ValueError
        If the hash is missing or differs, the name is not allowed, or this version cannot read the
        file.
    """
    is_address = "://" in str(source)
    if is_address and sha256 is None:
        raise ValueError(
            f"{source}: give its hash too (--sha256), so that the file can be checked; ask its "
            "publisher for it"
        )
    wanted = None if sha256 is None else checked_hash(sha256)
    target = _folder() / f"{_checked_name(name or _name_of(str(source), is_address))}{SUFFIX}"
    if not is_address:
        wanted = _hash_of(Path(source), wanted)
    if target.exists():
        if file_hash(target) == wanted:
            return target
        _refuse_unless(replace, target, "--replace or give another --name")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".installing-") as place:
        draft = Path(place) / target.name
        if is_address:
            fetch(str(source), str(wanted), draft, on_bytes)
        else:
            shutil.copyfile(source, draft)
        _check_sound(draft)
        draft.replace(target)
    return target


def _check_sound(path: Path) -> None:
    """Load the model and build its networks, so that a damaged file is not installed."""
    from napari_followup.models.files import load_bundle

    for each in (bundle := load_bundle(path), *bundle.parts.values()):
        each.build()


def export_model(
    model: str | os.PathLike[str], path: str | os.PathLike[str], *, replace: bool = False
) -> tuple[Path, str]:
    """Copy a model to a file that others can install.

    Parameters
    ----------
    model
        Name of an embedded model or of one in the model folder, or a file.
    path
        The copy, ending in ``.safetensors``.
    replace
        Replace a file of that name.

    Returns
    -------
    path, sha256
        The copy and its hash, so that others can check it.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no such model, or the file exists.
    ValueError
        If the name has another ending, or the file is no model.
    """
    source, path = find(model), Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"out: got {path.name!r}; end the name in {SUFFIX}")
    read_about(source)
    if path.exists():
        _refuse_unless(replace, path, "--replace or another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".exporting-") as place:
        draft = Path(place) / path.name
        shutil.copyfile(source, draft)
        draft.replace(path)
    return path, file_hash(path)


def _refuse_unless(replace: bool, path: Path, remedy: str) -> None:
    if not replace:
        raise FileExistsError(f"{str(path)!r} already exists; give {remedy}")


def _folder() -> Path:
    folder = model_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the model folder {str(folder)!r} cannot be created ({error.strerror}); set "
            f"{VARIABLE} to another folder"
        ) from error
    return folder


def _name_of(source: str, is_address: bool) -> str:
    file = unquote(urlsplit(source).path) if is_address else source
    return Path(file).stem


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"name: got {name!r}; give one of letters, digits, '.', '_', '+' and '-' (--name)"
        )
    if name in embedded():
        raise ValueError(f"name: {name!r} is an embedded model; give another name (--name)")
    return name


def _hash_of(source: Path, wanted: str | None) -> str:
    """Hash of a model file; it must be `wanted`, if that is given."""
    if not source.is_file():
        raise FileNotFoundError(f"no file {str(source)!r}; give a {SUFFIX} file or an address")
    found = file_hash(source)
    if wanted not in (None, found):
        raise ValueError(
            f"{source.name}: its SHA-256 is {found}, not {wanted} as given; it is damaged or "
            "another file: download it again, or ask its publisher for the hash"
        )
    read_about(source)
    return found
