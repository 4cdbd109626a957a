"""Models brought into the model folder, from where they load by name, and copied out of it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from napari_followup.models.catalogue import VARIABLE, embedded, find, model_folder
from napari_followup.models.download import OnBytes, checked_hash, fetch, file_hash
from napari_followup.models.header import SUFFIX, read_about

__all__ = ["export_model", "install_model"]


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
