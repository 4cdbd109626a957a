"""Load and save a trained model: one safetensors file.

The metadata of the file is JSON: method, configuration, healthy scores, training data, figures,
licence. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.models.catalogue import find
from napari_followup.models.folder import checked_hash, fetch
from napari_followup.models.header import DIGEST, FIELDS, FORMAT, KEY, SUFFIX, digest_of, read_about
from napari_followup.recipe.recipe import Recipe

__all__ = ["load_bundle", "save_bundle"]

_CHECKED: set[tuple[Path, int, int, int]] = set()  # files whose weights were checked


def save_bundle(bundle: ModelBundle, path: str | os.PathLike[str], *, half: bool = True) -> Path:
    """Write `bundle` to one file, under a temporary name first.

    Parameters
    ----------
    bundle
        The model.
    path
        File ending in ``.safetensors``.
    half
        Store weights in half precision: half the size, a relative error of 1e-3.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = _stored(bundle, half)
    weights = dict(stored.weights)
    for part in stored.parts.values():
        weights |= {f"{part.method}/{name}": tensor for name, tensor in part.weights.items()}
    about = _description(stored) | {"format": FORMAT if bundle.parts else 1}
    about["parts"] = {method: _description(part) for method, part in stored.parts.items()}
    about = json.loads(json.dumps(about))  # as `load_bundle` will read it
    about[DIGEST] = digest_of(about)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        save_file(weights, temporary, metadata={KEY: json.dumps(about)})
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _stored(bundle: ModelBundle, half: bool) -> ModelBundle:
    """Copy with the weights in the precision of the file."""
    weights = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in bundle.weights.items()
    }
    parts = {method: _stored(part, half) for method, part in bundle.parts.items()}
    return replace(bundle, weights=weights, parts=parts)


def _description(bundle: ModelBundle) -> dict[str, Any]:
    """Make the description of a model for its file: all but the weights."""
    about = {name: getattr(bundle, name) for name in ("name", "method", "version", "fingerprint")}
    about |= {"config": dict(bundle.config), "card": dict(bundle.card)}
    about["healthy"] = {key: asdict(scores) for key, scores in bundle.healthy.items()}
    if bundle.own_recipe is not None:
        about["recipe"] = bundle.own_recipe.as_dict()
    return about


def load_bundle(source: str | os.PathLike[str]) -> ModelBundle:
    """Read a model by name or from a file.

    Parameters
    ----------
    source
        ``"starmen"`` or another embedded name, the name of a model in the model folder (see
        `catalogue.model_folder`), a ``.safetensors`` file, or
        ``"https://…/model.safetensors#sha256:<hash>"``, which is downloaded once and then kept.

    Returns
    -------
    ModelBundle
        With the parts in the same file.

    Raises
    ------
    FileNotFoundError
        If there is neither a model nor a file of that name.
    ConnectionError
        If an address cannot be reached.
    ValueError
        If the file is truncated, no model of this package, or written by a newer version, or if its
        weights or its description were changed or damaged.
    """
    path = _downloaded(str(source)) if "://" in str(source) else find(source)
    about = read_about(path)
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except SafetensorError as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); download or export it again"
        ) from error
    try:
        parts = {
            method: ModelBundle(weights=_of_part(weights, method), **_fields(part))
            for method, part in about["parts"].items()
        }
        own = {name: tensor for name, tensor in weights.items() if "/" not in name}
        bundle = ModelBundle(weights=own, parts=parts, **_fields(about))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    _check_weights(path, bundle, about)
    return bundle


def _check_weights(path: Path, bundle: ModelBundle, about: Mapping[str, Any]) -> None:
    """Compare the weights with their fingerprint, once per file and process."""
    state = path.stat()
    key = (path.resolve(), state.st_mtime_ns, state.st_size, state.st_ino)
    if key in _CHECKED:
        return
    parts = [(part, about["parts"][method]) for method, part in bundle.parts.items()]
    for each, description in [(bundle, about), *parts]:
        stored = description.get("fingerprint")
        if stored not in (None, each.fingerprint):
            raise ValueError(
                f"{path.name} ({each.method}): the fingerprint of its weights is "
                f"{each.fingerprint}, the file says {stored}; the weights were changed or damaged: "
                "download or export it again"
            )
        for name, tensor in each.weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(
                    f"{path.name} ({each.method}): weights that are not finite in {name}; train or "
                    "download it again"
                )
    _CHECKED.add(key)


def _of_part(weights: Mapping[str, Tensor], method: str) -> dict[str, Tensor]:
    start = f"{method}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in weights.items()
        if name.startswith(start)
    }


def _downloaded(source: str) -> Path:
    """File of a URL with a hash; it is downloaded once."""
    address, _, known = source.partition("#")
    if not known.startswith("sha256:"):
        raise ValueError(f"{address}: add '#sha256:<hash>' so that the file can be checked")
    import pooch

    sha256 = checked_hash(known)
    return fetch(address, sha256, Path(pooch.os_cache("napari-followup")) / f"{sha256}{SUFFIX}")


def _fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a model from its description; files of earlier versions hold no recipe."""
    healthy = {
        key: HealthyScores(**{name: tuple(values) for name, values in scores.items()})
        for key, scores in about["healthy"].items()
    }
    recipe = Recipe.from_dict(about["recipe"]) if "recipe" in about else None
    return {name: about[name] for name in FIELDS} | {"healthy": healthy, "own_recipe": recipe}
