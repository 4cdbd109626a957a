"""A viewer with a series, doors that need no model, and a tiny model for the real ones."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_followup.models.header import FIELDS, FORMAT, KEY
from napari_followup.prediction.gaps import check_new_ages
from napari_followup.series.results import Cancelled, Detection, Imputation, Reconstruction


class Doors:
    """What the fake doors were asked, and how they behave."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.loaded: list[str] = []
        self.steps = 3
        self.pause = 0.0  # seconds a step
        self.partial = False  # whether a stopped imputation has finished its first visit
        self.error: Exception | None = None
        self.notes: list[str] = []
        self.floor: float | None = None
        self.threads: set[int] = set()

    def load_bundle(self, name: str) -> Any:
        self.loaded.append(name)
        if name == "broken.safetensors":
            raise ValueError("broken.safetensors: not a readable model file (too short)")
        return SimpleNamespace(name=name, version="7")

    def imputation(self, stack: Any, bundle: Any, ages: Any = None, **settings: Any) -> Imputation:
        """Fill in the mean of the observed visits; the first step finishes the first age."""
        wanted = check_new_ages(stack, ages)
        try:
            self._run(stack, bundle, None, settings)
        except Cancelled as stop:
            stop.partial = self._filled(stack, wanted[:1], settings) if self.partial else None
            raise
        return self._filled(stack, wanted, settings)

    def _filled(self, stack: Any, wanted: Any, settings: dict[str, Any]) -> Imputation:
        kept = ~np.isin(stack.ages, wanted)
        mean = np.asarray(stack.images, np.float32)[stack.is_observed].mean(axis=0)
        images = np.concatenate([stack.images[kept], np.stack([mean] * len(wanted))])
        ages = np.concatenate([stack.ages[kept], wanted])
        observed = np.concatenate([stack.is_observed[kept], np.zeros(len(wanted), bool)])
        new = np.isin(np.sort(ages), wanted)
        spread = np.full(images.shape, np.nan, np.float32)
        spread[new] = 0.5
        said = {"model": "fake", "imputed_ages": [], "notes": list(self.notes)}
        return Imputation(
            stack=stack.with_images(images, ages=ages, is_observed=observed),
            spread=spread if settings["draws"] > 1 else None,
            imputed=new,
            provenance=said | {name: settings[name] for name in ("strategy", "draws", "seed")},
        )

    def detect(self, stack: Any, bundle: Any, recipe: Any = None, **settings: Any) -> Detection:
        healthy, pixel = self._run(stack, bundle, recipe, settings)
        score = pixel.mean(axis=1)
        image_score = score.reshape(len(score), -1).max(axis=1)
        said = {"model": bundle.name, "model_version": bundle.version, "seed": settings["seed"]}
        with np.errstate(invalid="ignore"):
            mask = score > 0.5
        return Detection(
            stack=stack,
            mask=mask,
            score=score,
            scores={"pixel": score},
            healthy=healthy,
            image_score=image_score,
            threshold=0.5,
            floor=self.floor,
            provenance={**said, "recipe": recipe.as_dict(), "notes": list(self.notes)},
        )

    def reconstruct(self, stack: Any, bundle: Any, **settings: Any) -> Reconstruction:
        healthy, _ = self._run(stack, bundle, None, settings)
        return Reconstruction(
            stack=stack,
            healthy=healthy,
            provenance={"model": bundle.name, "notes": list(self.notes)},
        )

    def score_pair(self, stack: Any, healthy: Any, bundle: Any, score: Any, **_: Any) -> Any:
        assert healthy.shape == stack.shape
        pixel = np.abs(stack.images - healthy).mean(axis=1).astype(np.float32)
        return {"pixel": pixel, "fam": 2 * pixel}

    def fuse_scores(self, scores: Any, ages: Any, fusion: Any) -> Any:
        return scores + np.asarray(ages, np.float32)[:, None, None, None]

    def _run(self, stack: Any, bundle: Any, recipe: Any, settings: dict[str, Any]) -> Any:
        self.calls.append({"stack": stack, "bundle": bundle, "recipe": recipe, **settings})
        self.threads.add(threading.get_ident())
        for step in range(1, self.steps + 1):
            time.sleep(self.pause)
            if settings["on_step"](step, self.steps) is False:
                raise Cancelled("stopped")
        if self.error is not None:
            raise self.error
        images = np.asarray(stack.images, np.float32)
        healthy = np.broadcast_to(np.nanmedian(images, axis=0), images.shape).copy()
        healthy[~stack.is_observed] = np.nan
        return healthy, np.abs(images - healthy)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    """Stand in for what loads torch: detection, prediction, model files."""
    from napari_followup.plugin.run import report

    fake, detect, bundle = Doors(), ModuleType("detect"), ModuleType("bundle")
    impute = ModuleType("impute")
    impute.imputation = fake.imputation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_followup.prediction.impute", impute)
    steps = ModuleType("steps")
    for name in ("detect", "reconstruct", "score_pair", "fuse_scores"):
        setattr(detect if name == "detect" else steps, name, getattr(fake, name))
    bundle.load_bundle = fake.load_bundle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_followup.detection.detect", detect)
    monkeypatch.setitem(sys.modules, "napari_followup.detection.steps", steps)
    monkeypatch.setitem(sys.modules, "napari_followup.models.files", bundle)
    report._load_bundle.cache_clear()
    yield fake
    report._load_bundle.cache_clear()


@pytest.fixture
def series() -> np.ndarray:
    """(visit, y, x): four visits, a bright square in the last."""
    images = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (4, 16, 1))
    images[3, 4:8, 4:8] += 2.0
    return images


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Preferences that last as long as the test."""
    from dataclasses import asdict

    from napari_followup.plugin.forms import preferences

    section = SimpleNamespace(**asdict(preferences.Preferences(model="fake")))
    monkeypatch.setattr(preferences, "_section", lambda: section)
    return section


@pytest.fixture
def threads_end(qapp: Any) -> Iterator[None]:
    """Wait for all threads once the viewer has gone."""
    from qtpy.QtCore import QThreadPool

    yield
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qapp.processEvents()


@pytest.fixture
def open_widget(
    threads_end: None,
    make_napari_viewer: Callable[[], Any],
    kept: SimpleNamespace,
    tmp_path: Path,
) -> Callable[..., Any]:
    """Open a widget of the manifest in a viewer of its own."""
    model = tmp_path / "fake.safetensors"
    model.write_bytes(b"")
    kept.model = str(model)
    viewer = make_napari_viewer()

    def opened(name: str, *layers: Any) -> tuple[Any, Any]:
        for layer in layers:
            viewer.add_layer(layer)
        _, widget = viewer.window.add_plugin_dock_widget("napari-followup", name)
        return viewer, widget

    return opened


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained SDM of 16 x 16 pixels, for the real doors."""
    from dataclasses import asdict

    import torch

    from napari_followup.methods.sdm import SDM, SDMConfig
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.models.files import save_bundle

    torch.manual_seed(0)
    config = SDMConfig(
        image_size=(16, 16),
        channels=(8, 8),
        attention=(),
        condition_features=8,
        code_features=8,
        encoder_depth=18,
        encoder_width=8,
        encoder_stem_norm="group",
        encoder_pool=False,
        prediction="clean",
    )
    bundle = ModelBundle(
        name="tiny", method="sdm", config=asdict(config), weights=SDM(config).state_dict()
    )
    return save_bundle(bundle, tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def gappy() -> np.ndarray:
    """(visit, y, x): five visits, nothing at the third."""
    images = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (5, 16, 1))
    images += np.arange(5, dtype=np.float32)[:, None, None]
    images[2] = np.nan
    return images


@pytest.fixture(scope="session")
def tiny_tdm_model(tiny_tdm: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of an untrained TDM of 16 x 16 pixels."""
    from napari_followup.models.files import save_bundle

    return save_bundle(tiny_tdm, tmp_path_factory.mktemp("model") / "tiny-tdm.safetensors")


@pytest.fixture(scope="session")
def tiny_andi_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of an untrained ANDi of 16 x 16 pixels: a score of its own, and no healthy image."""
    from napari_followup.methods.andi import ANDi, ANDiConfig

    config = ANDiConfig(
        image_size=(16, 16), channels=(8, 16), blocks=1, attention=(), condition_features=16
    )
    return _saved("andi", ANDi, config, tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_cddpm_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of an untrained cDDPM of 16 x 16 pixels: healthy images, and no features."""
    from napari_followup.methods.cddpm import CDDPM, CDDPMConfig

    config = CDDPMConfig(
        image_size=(16, 16),
        channels=(8, 16),
        blocks=1,
        attention=(),
        condition_features=16,
        code_features=8,
        encoder_depth=18,
        encoder_width=8,
        encoder_stem_norm="group",
        encoder_pool=False,
    )
    return _saved("cddpm", CDDPM, config, tmp_path_factory)


def _saved(method: str, kind: Any, config: Any, folders: pytest.TempPathFactory) -> Path:
    from dataclasses import asdict

    import torch

    from napari_followup.models.bundle import ModelBundle
    from napari_followup.models.files import save_bundle

    torch.manual_seed(0)
    network = kind(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # what starts at zero would hide what lies before it
                parameter.normal_(std=0.2)
    bundle = ModelBundle(
        name="tiny", method=method, config=asdict(config), weights=network.state_dict()
    )
    return save_bundle(bundle, folders.mktemp("model") / f"tiny-{method}.safetensors")


CONFIG = {"image_size": [256, 256], "value_range": [0.0, 1.0], "modalities": 1}


@pytest.fixture
def header_of(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file that is all header: what it says of itself, and no weight."""

    def written(method: str, parts: tuple[str, ...] = (), **about: Any) -> Path:
        said = {name: {} for name in FIELDS} | {"version": "1", "format": FORMAT}
        said["config"] = CONFIG
        about["config"] = CONFIG | about.get("config", {})
        beside = {each: said | {"name": each, "method": each} for each in parts}
        said |= {"name": method, "method": method, "parts": beside} | about
        header = json.dumps({"__metadata__": {KEY: json.dumps(said)}}).encode()
        path = tmp_path / f"{'-'.join([method, *parts])}.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        return path

    return written
