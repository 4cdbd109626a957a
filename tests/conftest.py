"""Seeds, and what becomes of a test on a machine without a screen, Qt or a GPU.

Tests marked `viewer` are skipped, with a message that says what to install, where no window can be
opened; with NAPARI_FOLLOWUP_REQUIRE_VIEWER set they fail instead. Every other test runs without Qt.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import random
import sys
import threading
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Recipe
    from napari_followup.series.stack import VisitStack

# The tests neither read nor write the settings of whoever runs them (napari: empty means none).
os.environ["NAPARI_CONFIG"] = ""
os.environ["NAPARI_FOLLOWUP_MODELS"] = str(Path(__file__).parent / "no-models")  # is not there

BINDINGS = {"pyqt6": "PyQt6", "pyside6": "PySide6"}
VIEWER_FIXTURES = {
    "make_napari_viewer",
    "make_napari_viewer_proxy",
    "qapp",
    "qtbot",
    "qtmodeltester",
}
INSTALL_QT = 'install a binding: pip install "napari[pyqt6]"'
INSTALL_LIBRARIES = (
    "install the libraries of X: apt-get install libgl1 libegl1 libopengl0 libgl1-mesa-dri"
    " libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0"
    " libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libdbus-1-3 libfontconfig1 libglib2.0-0"
)
INSTALL_SCREEN = "set DISPLAY, or install Xvfb and pytest-xvfb: apt-get install xvfb xauth"


def qt_obstacle() -> str | None:
    """Import one Qt binding, the same for qtpy and pytest-qt, and say what fails, if anything."""
    wished = os.environ.get("QT_API", "").lower()
    reasons = []
    for api in [wished] if wished in BINDINGS else BINDINGS:
        try:
            for module in ("QtCore", "QtGui", "QtWidgets", "QtTest", "QtOpenGLWidgets"):
                importlib.import_module(f"{BINDINGS[api]}.{module}")
        except ModuleNotFoundError as error:
            reasons.append(f"{error}; {INSTALL_QT}")
        except ImportError as error:
            reasons.insert(
                0, f"{error}; {INSTALL_LIBRARIES}"
            )  # a broken binding before a missing one
        else:
            os.environ["QT_API"] = os.environ["PYTEST_QT_API"] = api
            return library_obstacle(api) if sys.platform == "linux" else None
    return f"no Qt: {reasons[0]}"


def library_obstacle(api: str) -> str | None:
    """Load what Qt loads when a window opens: it ends the whole process where that fails."""
    library_info = importlib.import_module(f"{BINDINGS[api]}.QtCore").QLibraryInfo
    plugins = Path(library_info.path(library_info.LibraryPath.PluginsPath))
    try:
        for library in ("libGL.so.1", str(plugins / "platforms" / "libqxcb.so")):
            ctypes.CDLL(library)
    except OSError as error:
        return f"Qt cannot open a window: {error}; {INSTALL_LIBRARIES}"
    return None


def screen_obstacle() -> str | None:
    """Say what the screen lacks once pytest-xvfb has had its turn."""
    if sys.platform != "linux":
        return None
    if os.environ.get("QT_QPA_PLATFORM", "xcb").startswith(("offscreen", "minimal")):
        return f"QT_QPA_PLATFORM={os.environ['QT_QPA_PLATFORM']} cannot draw; unset it and use Xvfb"
    return None if os.environ.get("DISPLAY") else f"no screen: {INSTALL_SCREEN}"


QT_OBSTACLE = qt_obstacle()
# Not loaded by its entry point (see pyproject.toml), for it ends the run where Qt does not import.
pytest_plugins = [] if QT_OBSTACLE else ["pytestqt.plugin"]


def viewer_obstacle() -> str | None:
    """Say why no window can be opened here, or nothing."""
    return QT_OBSTACLE or screen_obstacle()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for a viewer or for Qt's event loop is a viewer test, marked or not.

    Slow tests come first, so that no process is left alone with one at the end.
    """
    for item in items:
        if VIEWER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.viewer)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@cache
def keep_manifests() -> None:
    """Read the manifest of each plugin once: napari asks for all of them with every viewer."""
    plugin_manifest = importlib.import_module("npe2").PluginManifest
    plugin_manifest.from_file = staticmethod(cache(plugin_manifest.from_file))


def spare_old_objects() -> None:
    """Leave what is there out of further garbage collections: a viewer asks for several."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop a test whose screen or GPU is not there, before its fixtures are looked up."""
    if item.get_closest_marker("viewer") and (reason := viewer_obstacle()):
        if os.environ.get("NAPARI_FOLLOWUP_REQUIRE_VIEWER"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    if item.get_closest_marker("viewer"):
        keep_manifests()
        spare_old_objects()
    if item.get_closest_marker("gpu"):
        torch = importlib.import_module("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a file of viewer tests that imports Qt at its top, where Qt does not import."""
    report = yield
    if not (report.failed and QT_OBSTACLE and isinstance(collector, pytest.Module)):
        return report
    if os.environ.get("NAPARI_FOLLOWUP_REQUIRE_VIEWER"):
        return report
    if "mark.viewer" in collector.path.read_text(encoding="utf-8"):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 1, f"Skipped: {QT_OBSTACLE}")
    return report


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state; torch's too, where the test uses torch."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_bundle() -> ModelBundle:
    """Untrained SDM for 16 x 16 planes with values of its own: its healthy images are no zeros."""
    import torch

    from napari_followup.methods.sdm import SDM, SDMConfig
    from napari_followup.models.bundle import ModelBundle

    torch.manual_seed(0)
    config = SDMConfig(
        image_size=(16, 16),
        channels=(8, 16),
        attention=(1,),
        unshuffle=2,
        condition_features=16,
        code_features=16,
        dropout=0.0,
        encoder_depth=18,
        encoder_width=8,
        encoder_stem_norm="group",
        encoder_pool=False,
        steps=20,
        prediction="clean",
        adaptation_levels=(5, 10),
        adaptation_steps=2,
    )
    model = SDM(config)
    with torch.no_grad():
        for parameter in model.unet.parameters():
            if not parameter.any():  # what starts at zero would hide what lies before it
                parameter.normal_(std=0.2)
    return ModelBundle(name="tiny", method="sdm", config=asdict(config), weights=model.state_dict())


@pytest.fixture(scope="session")
def tiny_tdm() -> ModelBundle:
    """Untrained TDM for 16 x 16 planes with values of its own: it imputes no mere copies."""
    import torch

    from napari_followup.methods.tdm import TDM, TDMConfig
    from napari_followup.models.bundle import ModelBundle

    torch.manual_seed(0)
    config = TDMConfig(
        image_size=(16, 16),
        channels=(8, 16),
        blocks=1,
        unshuffle=2,
        condition_features=16,
        dropout=0.0,
        encoder_blocks=1,
        encoder_features=8,
        encoder_growth=8,
        references=3,
        backward=True,
        motion=True,
        prediction="clean",
        steps=20,
        age_mean=62.0,
        age_sd=2.0,
        gap_sd=2.0,
        age_range=(55.0, 70.0),
    )
    model = TDM(config)
    with torch.no_grad():
        for parameter in model.unet.parameters():
            if not parameter.any():  # what starts at zero would hide what lies before it
                parameter.normal_(std=0.2)
    return ModelBundle(
        name="tiny-tdm", method="tdm", config=asdict(config), weights=model.state_dict()
    )


@pytest.fixture(scope="session")
def tiny_anofpdm() -> ModelBundle:
    """Untrained AnoFPDM for 16 x 16 planes, with a recipe of its own that it can follow."""
    import torch

    from napari_followup.methods.anofpdm import AnoFPDM, AnoFPDMConfig
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.recipe.recipe import Own, Recipe, Yen

    torch.manual_seed(0)
    config = AnoFPDMConfig(
        image_size=(16, 16),
        channels=(8, 16),
        blocks=1,
        attention=(1,),
        unshuffle=2,
        condition_features=16,
        dropout=0.0,
        steps=20,
        trained_steps=(1, 20),
    )
    model = AnoFPDM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():  # what starts at zero would hide what lies before it
                parameter.normal_(std=0.2)
    options = {"last_step": 16, "stride": 5, "cut": (0.6, 0.9)}
    return ModelBundle(
        name="tiny-anofpdm",
        method="anofpdm",
        config=asdict(config),
        weights=model.state_dict(),
        own_recipe=Recipe(options=options, score=Own(), threshold=Yen(pixel_too=False)),
    )


@pytest.fixture(scope="session")
def tiny_both(tiny_bundle: ModelBundle, tiny_tdm: ModelBundle) -> ModelBundle:
    """`tiny_bundle` with `tiny_tdm` beside it, as one file holds them."""
    return tiny_bundle.with_part(tiny_tdm)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Recipe of three network calls that a `tiny_bundle` can follow."""
    from napari_followup.recipe.recipe import Recipe, Yen

    options = {"noise_levels": (10,), "draws": 1, "sampling_steps": 3}
    return Recipe(options=options, threshold=Yen(pixel_too=False))


@pytest.fixture
def tiny_series() -> VisitStack:
    """Four visits of a bright square of 16 x 16 pixels that grows darker in one corner."""
    from napari_followup.series.stack import VisitStack

    images = np.zeros((4, 16, 16), np.float32)
    images[:, 4:12, 4:12] = 80.0
    for visit in range(4):
        images[visit, 4:6, 4:6] -= 20.0 * visit
    return VisitStack.from_array(images, ages=[60.0, 61.0, 62.5, 64.0], subject="tiny")


@dataclass(frozen=True)
class Web:
    """A server on this machine: files in `folder`, its address, and the paths it was asked for."""

    folder: Path
    address: str
    asked: list[str] = field(default_factory=list)


class _Answers(SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *args: object, **settings: object) -> None:
        self.asked = asked
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Web]:
    """Files that can be fetched without leaving this machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    folder, asked = tmp_path / "web", list[str]()
    folder.mkdir()
    handler = partial(_Answers, asked, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Web(folder, f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model folder of this test alone; it is not made yet."""
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(tmp_path / "model-folder"))
    return tmp_path / "model-folder"
