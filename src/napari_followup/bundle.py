"""ModelBundle: a trained model in one safetensors file, with everything needed to use and to judge it.

The file's metadata is JSON: method, configuration, healthy score quantiles, training data, figures,
licence. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_followup.catalogue import embedded, embedded_path
from napari_followup.methods import method_class

__all__ = ["FORMAT", "HealthyScores", "ModelBundle", "load_bundle", "save_bundle"]

FORMAT = 1  # rises when a file can no longer be read by older versions
KEY = "napari_followup"


@dataclass(frozen=True, kw_only=True)
class HealthyScores:
    """Scores that one recipe gives healthy subjects the model was not trained on."""

    shares: tuple[float, ...]  # share of pixels above, falling
    heights: tuple[float, ...]  # score that this share of pixels exceeds
    subjects: int

    def height(self, q: float) -> float:
        """Score below which a share `q` of healthy pixels lies; the highest one seen for q beyond the data."""
        logs = torch.tensor(self.shares, dtype=torch.float64).clamp_min(1e-12).log()
        wanted = torch.tensor(max(1 - q, self.shares[-1]), dtype=torch.float64).log()
        place = int(torch.searchsorted(-logs, -wanted).clamp(1, len(logs) - 1))
        low, high = logs[place - 1], logs[place]
        part = float(((wanted - low) / (high - low)).clamp(0, 1)) if high != low else 1.0
        return self.heights[place - 1] + part * (self.heights[place] - self.heights[place - 1])


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

    @property
    def fingerprint(self) -> str:
        """Short hash of the weights, to tell two models of one name apart."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(
                name.encode() + self.weights[name].contiguous().view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()[:12]

    def build(self, device: torch.device | str = "cpu") -> Any:
        """The method as a network in float32, ready to use; made once a device.

        Raises
        ------
        ValueError
            If the weights do not fit the configuration.
        """
        return _build(self, torch.device(device))

    def with_healthy(self, key: str, scores: HealthyScores) -> ModelBundle:
        """The same model that also knows its healthy scores for one more recipe."""
        return replace(self, healthy={**self.healthy, key: scores})


@lru_cache(maxsize=2)
def _build(bundle: ModelBundle, device: torch.device) -> Any:
    kind = method_class(bundle.method)
    method = kind(kind.config_type(**_tuples(bundle.config)))
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
    weights = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in bundle.weights.items()
    }
    about = {name: getattr(bundle, name) for name in ("name", "method", "version")}
    about |= {"format": FORMAT, "config": dict(bundle.config), "card": dict(bundle.card)}
    about["healthy"] = {key: asdict(scores) for key, scores in bundle.healthy.items()}
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        save_file(weights, temporary, metadata={KEY: json.dumps(about)})
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def load_bundle(source: str | os.PathLike[str]) -> ModelBundle:
    """Read a model by embedded name or from a file.

    Parameters
    ----------
    source
        ``"starmen"`` or another name that `catalogue.embedded` lists, or a ``.safetensors`` file.

    Raises
    ------
    FileNotFoundError
        If there is neither a model nor a file of that name.
    ValueError
        If the file is truncated, not a model of ours, or written by a newer version.
    """
    path = embedded_path(str(source)) or Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"no model {str(source)!r}: give a .safetensors file, or one of {', '.join(embedded()) or 'none'}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = _about(path, file.metadata())
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except SafetensorError as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); fetch or export it again"
        ) from error
    return ModelBundle(weights=weights, **about)


def _about(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What the file says of itself, checked."""
    if not metadata or KEY not in metadata:
        raise ValueError(f"{path.name}: a safetensors file, but not a model of napari-followup")
    about = json.loads(metadata[KEY])
    written = about.pop("format", 0)
    if written > FORMAT:
        raise ValueError(
            f"{path.name}: written in format {written}, this version reads up to {FORMAT}; update napari-followup"
        )
    about["healthy"] = {
        key: HealthyScores(**_tuples(scores)) for key, scores in about.get("healthy", {}).items()
    }
    return {
        name: about[name] for name in ("name", "method", "config", "healthy", "card", "version")
    }
