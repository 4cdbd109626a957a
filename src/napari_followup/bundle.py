"""ModelBundle: a trained model in one safetensors file, with what is needed to use and judge it.

The file's metadata is JSON: method, configuration, healthy score quantiles, training data, figures,
licence. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_followup.catalogue import embedded, embedded_path
from napari_followup.methods import method_class

__all__ = ["FORMAT", "HealthyScores", "ModelBundle", "load_bundle", "save_bundle"]

FORMAT = 2  # rises when a file can no longer be read by older versions; 1 has no parts
KEY = "napari_followup"
TAIL = tuple(np.logspace(0, -6, 121).tolist())  # shares of pixels above


@dataclass(frozen=True, kw_only=True)
class HealthyScores:
    """Scores that one recipe gives healthy subjects the model was not trained on."""

    shares: tuple[float, ...]  # share of pixels above, falling
    heights: tuple[float, ...]  # score that this share of pixels exceeds
    maxima: tuple[float, ...]  # highest score of each subject, rising

    @classmethod
    def of(cls, scores: Sequence[NDArray[np.float32]]) -> HealthyScores:
        """Sum up healthy scores, one array of any shape a subject; NaN is left out."""
        finite = [subject[np.isfinite(subject)] for subject in scores]
        pooled = np.concatenate(finite)
        shares = tuple(share for share in TAIL if share * pooled.size >= 1)
        heights = np.quantile(pooled, [1 - share for share in shares])
        maxima = sorted(float(subject.max()) for subject in finite)
        return cls(shares=shares, heights=tuple(heights.tolist()), maxima=tuple(maxima))

    def height(self, q: float) -> float:
        """Score below which a share of healthy pixels lies.

        Parameters
        ----------
        q
            Share in [0, 1]; beyond the data it is the highest score seen.

        Returns
        -------
        float
            Interpolated between the shares known, on a logarithmic scale.
        """
        logs = torch.tensor(self.shares, dtype=torch.float64).clamp_min(1e-12).log()
        wanted = torch.tensor(max(1 - q, self.shares[-1]), dtype=torch.float64).log()
        place = int(torch.searchsorted(-logs, -wanted).clamp(1, len(logs) - 1))
        low, high = logs[place - 1], logs[place]
        part = float(((wanted - low) / (high - low)).clamp(0, 1)) if high != low else 1.0
        return self.heights[place - 1] + part * (self.heights[place] - self.heights[place - 1])

    def patient_height(self, q: float) -> float:
        """Score that a share `q` of healthy subjects reaches nowhere."""
        return float(torch.quantile(torch.tensor(self.maxima, dtype=torch.float64), q))


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelBundle:
    """A trained model: `build` makes the network, the rest says what it is."""

    name: str
    method: str
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    healthy: Mapping[str, HealthyScores] = field(default_factory=dict)  # by `Recipe.score_key`
    card: Mapping[str, Any] = field(default_factory=dict)  # data, training, figures, licence
    version: str = "1"
    parts: Mapping[str, ModelBundle] = field(default_factory=dict)  # further models, by method

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"ModelBundle({self.name!r}, {self.method}, version {self.version}, "
            f"{height} x {width}, {self.fingerprint}"
            + "".join(f", with {part}" for part in self.parts)
            + ")"
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """``(y, x)`` in pixels, of the planes the model was trained on."""
        height, width = self.config["image_size"]
        return height, width

    @property
    def value_range(self) -> tuple[float, float]:
        """Grey values that the model takes for low and high."""
        low, high = self.config["value_range"]
        return low, high

    @property
    def modalities(self) -> int:
        """Channels of the images."""
        return int(self.config["modalities"])

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the weights, to tell two models of one name apart."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            values = self.weights[name].detach().cpu().flatten()  # a counter has no axis to view
            digest.update(name.encode() + values.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]

    def build(self, device: torch.device | str = "cpu") -> Any:
        """Make the network in float32, ready to use; once a device.

        Raises
        ------
        ValueError
            If the weights do not fit the configuration, or this version does not know the latter.
        """
        return _build(self, torch.device(device))

    def provenance(self, seed: int, **more: Any) -> dict[str, Any]:
        """Say what made a result, ready for JSON: this model, this software, a seed, `more`."""
        return {
            "software": "napari-followup",
            "version": version("napari-followup"),
            "model": self.name,
            "model_version": self.version,
            "model_fingerprint": self.fingerprint,
            "method": self.method,
            "seed": seed,
            **more,
        }

    def part(self, method: str) -> ModelBundle:
        """Model of another method that came in the same file; this one if it is of that method.

        Raises
        ------
        ValueError
            If the file holds none.
        """
        if self.method == method:
            return self
        if method not in self.parts:
            raise ValueError(
                f"model {self.name!r} ({self.method}) has no {method}; choose a model with one, or "
                f"train it (napari-followup train {method}) and join the two (bundle join)"
            )
        return self.parts[method]

    def with_part(self, part: ModelBundle) -> ModelBundle:
        """Copy of this model that has `part` beside it, in the place of one of the same method.

        Raises
        ------
        ValueError
            If the two are of one method, or `part` has parts of its own.
        """
        if part.method == self.method or part.parts:
            raise ValueError(
                f"{part.name!r} ({part.method}) cannot join {self.name!r} ({self.method}): give "
                "two single models of different methods"
            )
        return replace(self, parts={**self.parts, part.method: part})

    def healthy_for(self, key: str) -> tuple[HealthyScores | None, bool]:
        """Healthy scores for a recipe's `score_key`, and whether they are of this very recipe.

        Scores of the same recipe with other draws or sampling steps are near enough to be of use.
        """
        if key in self.healthy:
            return self.healthy[key], True
        near = (scores for known, scores in self.healthy.items() if _coarse(known) == _coarse(key))
        return next(near, None), False

    def with_healthy(self, key: str, scores: HealthyScores) -> ModelBundle:
        """Copy of this model that also knows its healthy scores for one more recipe.

        Parameters
        ----------
        key
            `Recipe.score_key` of that recipe.
        scores
            What it gives healthy subjects.

        Returns
        -------
        ModelBundle
            Shares the weights.
        """
        return replace(self, healthy={**self.healthy, key: scores})


def _coarse(key: str) -> Any:
    values = json.loads(key)
    for name in ("options", "score"):
        some = values[name].items()
        values[name] = {n: v for n, v in some if n not in ("draws", "sampling_steps")}
    return values


@lru_cache(maxsize=2)
def _build(bundle: ModelBundle, device: torch.device) -> Any:
    kind = method_class(bundle.method)
    try:
        config = kind.config_type(**_tuples(bundle.config))
    except TypeError as error:
        raise ValueError(
            f"model {bundle.name!r}: this version does not know it: {error}"
        ) from error
    method = kind(config)
    try:
        method.load_state_dict({name: tensor.float() for name, tensor in bundle.weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"model {bundle.name!r}: its weights do not fit its configuration: {error}"
        ) from error
    return method.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def save_bundle(bundle: ModelBundle, path: str | os.PathLike[str], *, half: bool = True) -> Path:
    """Write `bundle` to one file, under a temporary name first.

    Parameters
    ----------
    bundle
        What to write.
    path
        File ending in ``.safetensors``.
    half
        Store weights in half precision, a relative error of 1e-3 for half the size.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = dict(bundle.weights)
    for part in bundle.parts.values():
        named |= {f"{part.method}/{name}": tensor for name, tensor in part.weights.items()}
    weights = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in named.items()
    }
    about = _said(bundle) | {"format": FORMAT if bundle.parts else 1}
    about["parts"] = {method: _said(part) for method, part in bundle.parts.items()}
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        save_file(weights, temporary, metadata={KEY: json.dumps(about)})
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _said(bundle: ModelBundle) -> dict[str, Any]:
    """Gather what a file says of a model, beside its weights."""
    about = {name: getattr(bundle, name) for name in ("name", "method", "version")}
    about |= {"config": dict(bundle.config), "card": dict(bundle.card)}
    about["healthy"] = {key: asdict(scores) for key, scores in bundle.healthy.items()}
    return about


def load_bundle(source: str | os.PathLike[str]) -> ModelBundle:
    """Read a model by embedded name or from a file.

    Parameters
    ----------
    source
        ``"starmen"`` or another name that `catalogue.embedded` lists, a ``.safetensors`` file, or
        ``"https://…/model.safetensors#sha256:<hash>"``, which is fetched once and then kept.

    Raises
    ------
    FileNotFoundError
        If there is neither a model nor a file of that name.
    ValueError
        If the file is truncated, not a model of ours, or written by a newer version.
    """
    path = embedded_path(str(source)) or _fetched(str(source)) or Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"no model {str(source)!r}: give a .safetensors file, or one of "
            f"{', '.join(embedded()) or 'none'}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = _about(path, file.metadata())
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except SafetensorError as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); fetch or export it again"
        ) from error
    parts = {
        method: ModelBundle(weights=_of_part(weights, method), **said)
        for method, said in about.pop("parts").items()
    }
    own = {name: tensor for name, tensor in weights.items() if "/" not in name}
    return ModelBundle(weights=own, parts=parts, **about)


def _of_part(weights: Mapping[str, Tensor], method: str) -> dict[str, Tensor]:
    start = f"{method}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in weights.items()
        if name.startswith(start)
    }


def _fetched(source: str) -> Path | None:
    """File behind an address with a hash, downloaded once; none when `source` is no address."""
    if "://" not in source:
        return None
    address, _, known = source.partition("#")
    if not known.startswith("sha256:"):
        raise ValueError(f"{address}: add '#sha256:<hash>' so that the file can be checked")
    import pooch

    folder = pooch.os_cache("napari-followup")
    return Path(pooch.retrieve(address, known, path=folder, fname=f"{known[7:19]}.safetensors"))


def _about(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Read what the file says of itself, and check it."""
    if not metadata or KEY not in metadata:
        raise ValueError(f"{path.name}: a safetensors file, but not a model of napari-followup")
    try:
        about = json.loads(metadata[KEY])
        written = about["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path.name}: what the model says of itself cannot be read") from error
    if written > FORMAT:
        raise ValueError(
            f"{path.name}: written in format {written}, this version reads up to {FORMAT}; "
            "update napari-followup"
        )
    parts = {method: _read(path, said) for method, said in about.get("parts", {}).items()}
    return _read(path, about) | {"parts": parts}


def _read(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a model from what a file says of it."""
    names = ("name", "method", "config", "healthy", "card", "version")
    if missing := [name for name in names if name not in about]:
        raise ValueError(f"{path.name}: the model does not say its {', '.join(missing)}")
    healthy = {key: HealthyScores(**_tuples(scores)) for key, scores in about["healthy"].items()}
    return {name: about[name] for name in names} | {"healthy": healthy}
