"""Who may import whom, read from the files themselves; and what loads what when it runs.

`PACKAGES` is the import table of the house. A row names what a package may import anywhere, and
what only inside a function or under TYPE_CHECKING, where it costs nothing before it is used.
Everything that is in neither list is forbidden at any depth.
"""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "napari_followup"
ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / PACKAGE
LONGEST_CHAIN = 8
HEAVY = ("torch", "monai", "napari", "lightning", "qtpy", "PyQt6", "PySide6", "matplotlib")

LOWEST = "series recipe device diffusion networks scores segmentation"
LIBRARY = f"{LOWEST} io alignment comparison synthetic methods models detection prediction"
# What is known of every method and model without torch: forms read it as they open.
FACTS = "methods.options methods.table models.catalogue models.header prediction.gaps"
WIDGETS = ("align", "compare", "detect", "impute", "stack", "timeline", "train")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a package may import: of ours by package or module, of others by library."""

    ours: str = ""
    libraries: str = ""
    ours_inside: str = ""
    libraries_inside: str = ""


PACKAGES = {  # the longest name that fits a module decides
    "": Row(ours_inside=f"{LIBRARY} training"),
    "__main__": Row(ours="cli"),
    "series": Row(libraries="numpy scipy skimage", libraries_inside="dask"),
    "recipe": Row(),
    "device": Row(libraries="torch"),
    "diffusion": Row(libraries="torch"),
    "networks": Row(libraries="torch monai"),
    "scores": Row(libraries="torch"),
    "segmentation": Row(libraries="numpy scipy skimage"),
    "io": Row(
        ours="series",
        libraries="numpy scipy",
        libraries_inside="SimpleITK dask nibabel pydicom skimage tifffile zarr",
    ),
    "alignment": Row(
        ours="series", libraries="numpy scipy skimage", libraries_inside="SimpleITK dask"
    ),
    "synthetic": Row(ours="series", libraries="numpy scipy skimage"),
    "comparison": Row(ours="series alignment", libraries="numpy scipy skimage"),
    "methods": Row(
        ours="diffusion networks scores recipe series", libraries="torch", libraries_inside="numpy"
    ),
    **{
        module: Row(ours="recipe methods.options")
        for module in FACTS.split()
        if module.startswith("methods")
    },
    "models": Row(
        ours="methods recipe device",
        libraries="numpy torch safetensors",
        libraries_inside="platformdirs pooch requests",
    ),
    "models.catalogue": Row(ours="models.header", libraries_inside="platformdirs"),
    "models.header": Row(ours=""),
    "detection": Row(
        ours="series io alignment recipe models methods scores segmentation device",
        libraries="numpy scipy skimage torch",
        libraries_inside="dask distributed",
    ),
    "prediction": Row(ours="detection models methods series device", libraries="numpy torch"),
    "prediction.gaps": Row(ours="series", libraries="numpy"),
    "training": Row(ours=LIBRARY, libraries="numpy torch lightning safetensors"),
    "evaluation": Row(
        ours=LIBRARY,
        libraries="numpy scipy torch skimage sklearn monai.metrics",
        libraries_inside="matplotlib",
    ),
    "cli": Row(
        ours_inside=f"{LIBRARY} training evaluation",
        libraries_inside="numpy torch matplotlib napari tifffile",
    ),
    "plugin": Row(
        ours=f"series recipe io {FACTS}",
        libraries="napari magicgui qtpy superqt numpy psygnal",
        ours_inside=f"{LIBRARY} training evaluation",
        libraries_inside="matplotlib",
    ),
}


@dataclass(frozen=True)
class Import:
    """One name that a module brings in; `is_inside` a function or under TYPE_CHECKING."""

    line: int
    name: str
    is_inside: bool


def module_name(path: Path) -> str:
    """`src/napari_followup/scores/temporal.py` -> `scores.temporal`; the package itself is ""."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def row_of(module: str) -> str | None:
    """Find the row of a module: its own, or that of the nearest package around it."""
    while module not in PACKAGES and module:
        module = module.rpartition(".")[0]
        if not module:
            return None
    return module


def is_within(module: str, names: list[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def import_nodes(
    node: ast.AST, is_inside: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Walk a tree to its imports, remembering which of them run only when a function does."""
    for field, value in ast.iter_fields(node):
        deferred = is_inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        deferred = deferred or (is_type_checking(node) and field == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, deferred
            elif isinstance(child, ast.AST):
                yield from import_nodes(child, deferred)


def imports_of(text: str, module: str, *, is_package: bool = False) -> list[Import]:
    """List every import of a module by its full dotted name, relative ones resolved."""
    here = [PACKAGE, *filter(None, module.split("."))]
    found = []
    for node, is_inside in import_nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            up = len(here) - node.level + bool(is_package)
            base = ".".join([*(here[:up] if node.level else []), *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        found += [Import(node.lineno, name, is_inside) for name in names]
    return found


def our_module(name: str) -> str:
    """`napari_followup.series.stack.VisitStack` -> `series.stack`: the longest part with a file."""
    parts = name.split(".")[1:]
    for stop in range(len(parts), 0, -1):
        module = ".".join(parts[:stop])
        if module in FILES:
            return module
    return ""


def widget_of(module: str) -> str | None:
    """`plugin.train.train_form` -> `train`: the widget whose folder a module stands in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "plugin" and len(parts) > 1 and parts[1] in WIDGETS else None


def complaint(module: str, found: Import) -> str | None:
    """Say what is wrong with one import, or nothing."""
    top = found.name.partition(".")[0]
    if top in sys.stdlib_module_names or found.name == f"{PACKAGE}.__version__":
        return None
    name = row_of(module) or ""
    row = PACKAGES[name]
    where = f"{FILES[module].relative_to(SOURCE).as_posix()}:{found.line}"
    if top != PACKAGE:
        target, allowed, inside = found.name, row.libraries.split(), row.libraries_inside.split()
    else:
        target = our_module(found.name)
        package = module.partition(".")[0]
        own = [package] if name == package else [name]  # a row of its own stands alone
        allowed, inside = [*row.ours.split(), *own], row.ours_inside.split()
        if package == "plugin" and (other := widget_of(target)) not in (None, widget_of(module)):
            return f"{where} imports {target}: only the widget {other} may import its parts"
    if is_within(target, allowed):
        return None
    if is_within(target, inside):
        if found.is_inside:
            return None
        return f"{where} imports {target}: {name} may import it only inside a function"
    return f"{where} imports {target}: {name} may not import it"


def complaints(module: str, text: str, *, is_package: bool = False) -> list[str]:
    found = imports_of(text, module, is_package=is_package)
    return [line for each in found if (line := complaint(module, each))]


def import_graph() -> dict[str, set[str]]:
    """Map each module to those of ours that it loads as it is loaded itself."""
    graph: dict[str, set[str]] = {}
    for module, path in FILES.items():
        found = imports_of(path.read_text("utf-8"), module, is_package=path.stem == "__init__")
        ours = [each for each in found if each.name.split(".")[0] == PACKAGE]
        graph[module] = {our_module(each.name) for each in ours if not each.is_inside} - {module}
    return graph


def test_every_module_has_a_row() -> None:
    without = [
        f"{path.relative_to(SOURCE)}" for name, path in FILES.items() if row_of(name) is None
    ]

    assert not without, f"no row for {', '.join(without)}; add one to PACKAGES"


def test_every_import_is_allowed_by_the_table() -> None:
    lines = [
        line
        for module, path in FILES.items()
        if row_of(module) is not None
        for line in complaints(module, path.read_text("utf-8"), is_package=path.stem == "__init__")
    ]

    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("module", "text", "problem"),
    [
        ("methods.sdm", "import torch\nfrom napari_followup.scores import pixel", None),
        ("methods.sdm", "from napari_followup.methods.options import SDMOptions", None),
        ("methods.sdm", "from napari_followup.series.planes import resized", None),
        ("methods.sdm", "from napari_followup.detection.detect import detect", "may not import"),
        ("methods.sdm", "def f():\n    from ..detection.detect import detect", "may not import"),
        ("methods.options", "from napari_followup.recipe.fields import check_fields", None),
        ("methods.options", "import torch", "methods.options may not import it"),
        ("methods.table", "def f():\n    import numpy", "may not import it"),
        ("methods.table", "from napari_followup.methods.sdm import SDM", "may not import it"),
        ("series.stack", "def f():\n    import torch", "series may not import it"),
        ("series.stack", "from napari_followup.recipe.recipe import Recipe", "may not import it"),
        ("io.tiff", "def f():\n    import tifffile", None),
        ("io.tiff", "import tifffile", "only inside a function"),
        ("io.tiff", "from napari_followup.alignment.rigid import Rigid", "may not import it"),
        ("networks.unet", "from monai.networks.nets import resnet18", None),
        ("scores.feature", "import monai", "scores may not import it"),
        ("models.files", "from napari_followup.methods import method_class", None),
        ("models.files", "from napari_followup.detection.score import fuse", "may not import it"),
        ("models.catalogue", "import torch", "models.catalogue may not import it"),
        ("evaluation.detection", "from monai.metrics import SSIMMetric", None),
        ("evaluation.detection", "from monai.networks.nets import UNet", "may not import it"),
        ("evaluation.detection", "from napari_followup.training import fit", "may not import it"),
        ("training.train", "from napari_followup.evaluation import cases", "may not import it"),
        ("detection.detect", "from napari_followup import __version__", None),
        ("detection.detect", "import lightning", "detection may not import it"),
        ("prediction.impute", "from napari_followup.detection.prepare import prepare", None),
        ("prediction.impute", "from napari_followup.io import read_stack", "may not import it"),
        ("plugin.models.facts", "from napari_followup.methods.table import TABLE", None),
        ("plugin.forms.forms", "from napari_followup.methods import method_class", "only inside a"),
        ("plugin.detect.actions", "from napari_followup.detection import detect", "only inside a"),
        (
            "plugin.detect.actions",
            "def f():\n    from napari_followup.detection import detect",
            None,
        ),
        ("plugin.detect.actions", "if TYPE_CHECKING:\n    from ...models import files", None),
        ("plugin.detect.actions", "def f():\n    import torch", "plugin may not import it"),
        ("plugin.detect.actions", "from ..train import train_form", "only the widget train may"),
        ("plugin.layers.layers", "from ..train import train_form", "only the widget train may"),
        ("cli.detect", "from napari_followup.series.stack import VisitStack", "only inside a"),
        ("cli.detect", "def f():\n    from napari_followup.plugin import layers", "may not import"),
    ],
)
def test_the_table_is_read_as_it_is_meant(
    module: str, text: str, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (module, "plugin.train.train_form"):  # need not exist for the table to be read
        monkeypatch.setitem(FILES, name, SOURCE / f"{name.replace('.', '/')}.py")

    lines = complaints(module, text)

    assert len(lines) == (problem is not None)
    assert problem is None or problem in lines[0]


def test_modules_load_each_other_without_cycles_and_in_short_chains() -> None:
    graph = import_graph()
    length: dict[str, int] = {}

    for module in graphlib.TopologicalSorter(graph).static_order():
        length[module] = 1 + max((length[each] for each in graph.get(module, ())), default=0)

    longest = max(length, key=length.__getitem__)
    assert length[longest] <= LONGEST_CHAIN, f"{longest} ends a chain of {length[longest]} imports"


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Discover the manifests, then import the package, in one fresh interpreter."""
    script = """
import json, sys
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
assert manager.get_manifest("napari-followup").name == "napari-followup"
by_discovery = [name for name in sys.modules if name.startswith("napari_followup")]
import napari_followup
by_import = sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:]))
print(json.dumps({"discovery": by_discovery, "import": by_import}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *HEAVY], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy(loaded: dict[str, list[str]]) -> None:
    assert loaded["import"] == []


def test_discovery_of_the_manifest_imports_nothing_of_ours(loaded: dict[str, list[str]]) -> None:
    assert loaded["discovery"] == []


def test_manifest_is_valid_and_announced_by_the_installed_package() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(SOURCE / "napari.yaml")
    entries = importlib.metadata.entry_points(group="napari.manifest", name="napari-followup")

    assert manifest.name == "napari-followup"
    assert [entry.value for entry in entries] == ["napari_followup:napari.yaml"]


def test_every_command_of_the_manifest_names_something_that_is_there() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(SOURCE / "napari.yaml")
    for command in manifest.contributions.commands or ():
        module, _, name = str(command.python_name).partition(":")
        path = FILES[module.removeprefix(PACKAGE).lstrip(".")]
        tree = ast.parse(path.read_text("utf-8"))
        assert name in bound_names(tree), f"{command.id}: {path.name} defines no {name}"


def bound_names(tree: ast.Module) -> set[str]:
    """Collect what a module defines, assigns or imports at its top."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            names |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    top = (ROOT / "napari.yaml").read_text("utf-8")
    pointer = f"src/{PACKAGE}/napari.yaml"  # how git writes a link where the system has none

    assert top.strip() == pointer or top == (SOURCE / "napari.yaml").read_text("utf-8")
