"""Models brought into the model folder, from where they load by name, and copied out of it."""

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


def install_model(
    source: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    name: str | None = None,
    replace: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Put a model into the model folder; it works offline from then on.

    Parameters
    ----------
    source
        A ``.safetensors`` file, or the address of one.
    sha256
        Hash that the file must have; an address needs it.
    name
        What `load_bundle` will call it; the file's own name if not given.
    replace
        Take the place of a model of that name.
    on_bytes
        Told how far a download is.

    Returns
    -------
    Path
        The file in the model folder. One that is there already, with this hash, is left alone and
        nothing is fetched.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no such file, or another model of that name.
    ConnectionError
        If the address cannot be reached.
    ValueError
        If the hash is missing or another one, the name cannot be one, or the file is no model that
        this version reads.
    """
    is_address = "://" in str(source)
    if is_address and sha256 is None:
        raise ValueError(
            f"{source}: give its hash too (--sha256), so that what comes can be checked; its "
            "publisher says it"
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
    """Load a model as it will be loaded: weights and description must belong together."""
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
        Take the place of a file of that name.

    Returns
    -------
    path, sha256
        The copy and the hash by which others check it.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no such model, or a file of that name.
    ValueError
        If the name ends in something else, or the file is no model.
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
        raise FileExistsError(f"{str(path)!r} is there already; give {remedy}")


def _folder() -> Path:
    folder = model_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the model folder {str(folder)!r} cannot be made ({error.strerror}); set {VARIABLE} "
            "to another"
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
    """Hash of a file that is a model and has the hash it should have, if one is given."""
    if not source.is_file():
        raise FileNotFoundError(f"no file {str(source)!r}; give a {SUFFIX} file or an address")
    found = file_hash(source)
    if wanted not in (None, found):
        raise ValueError(
            f"{source.name}: its SHA-256 is {found}, not {wanted} as given; it is damaged or "
            "another file: fetch it again, or ask its publisher for the hash"
        )
    read_about(source)
    return found
