"""The models that come with the package, by name; looked up without loading any of them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["embedded", "embedded_path"]

FOLDER = Path(__file__).parent / "bundles"


def embedded() -> list[str]:
    """Names of the embedded models, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def embedded_path(name: str) -> Path | None:
    """File of an embedded model, or none when there is no model of that name."""
    path = FOLDER / f"{name}.safetensors"
    return path if name in embedded() else None
