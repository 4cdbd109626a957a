"""Who may import whom, read from the files themselves; and what loads what when it runs.

`ROOMS` is the import table of the design. A row names what a room may import anywhere, and what
only inside a function or under TYPE_CHECKING, where it costs nothing before it is used. Everything
that is in neither list is forbidden at any depth.
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


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a room may import: of ours by room or module, of others by package."""

    ours: str = ""
    libraries: str = ""
    ours_inside: str = ""
    libraries_inside: str = ""


MODULES = {  # the longest name that fits decides
    "": "root",
    "stack": "nouns",
    "slicing": "nouns",
    "spilling": "nouns",
    "results": "nouns",
    "choices": "nouns",
    "recipe": "nouns",
    "intensity": "nouns",
    "catalogue": "nouns",
    "model_file": "nouns",
    "gaps": "nouns",
    "lesions": "nouns",
    "holes": "nouns",
    "reading": "nouns",
    "change": "nouns",
    "grids": "nouns",
    "masks": "nouns",
    "provenance": "nouns",
    "rigid": "nouns",
    "rims": "nouns",
    "preprocessing": "nouns",
    "regridding": "nouns",
    "agreement": "nouns",
    "change_regions": "nouns",
    "single_visits": "nouns",
    "registration": "nouns",
    "saving": "nouns",
    "file_sets": "nouns",
    "synthetic": "nouns",
    "diffusion": "diffusion",
    "networks": "networks",
    "scores": "scores",
    "segmentation": "segmentation",
    "methods": "methods table",
    "methods.method": "methods table",
    "methods.form_text": "method facts",
    "methods.given": "method facts",
    "methods.level_options": "method facts",
    "methods.options": "method facts",
    "methods.recipes": "method facts",
    "methods.*": "methods",
    "bundle": "bundle",
    "fetching": "bundle",
    "healthy_scores": "bundle",
    "library": "bundle",
    "model_bundle": "bundle",
    "verifying": "bundle",
    "device": "bundle",
    "planes": "bundle",
    "preparation": "systems glue",
    "recipe_checks": "systems glue",
    "scoring": "systems glue",
    "cutting": "systems glue",
    "judging": "systems glue",
    "lines": "systems glue",
    "evidence": "systems glue",
    "planewise": "systems glue",
    "detect": "doors",
    "cohorts": "doors",
    "filling": "doors",
    "merging": "doors",
    "impute": "doors",
    "cohort": "doors",
    "training": "training",
    "evaluation": "evaluation",
    "cli": "cli",
    "__main__": "cli",
    "plugin": "plugin",
}

ROOMS = {
    "root": Room(ours_inside="nouns bundle doors training evaluation"),
    "nouns": Room(
        ours="nouns",
        libraries="numpy scipy skimage",
        libraries_inside="SimpleITK dask nibabel ome_zarr platformdirs pydicom tifffile zarr",
    ),
    "diffusion": Room(ours="diffusion", libraries="torch"),
    "scores": Room(ours="scores", libraries="torch"),
    "networks": Room(ours="networks", libraries="torch monai"),
    "segmentation": Room(ours="segmentation", libraries="numpy scipy skimage"),
    "methods table": Room(
        ours="methods_table recipe", libraries="torch", ours_inside="method_facts"
    ),
    # What is known of every method without it: plain text that a form reads, too.
    "method facts": Room(ours="method_facts recipe choices"),
    "methods": Room(
        ours="methods_table method_facts diffusion networks scores planes", libraries="torch"
    ),
    "bundle": Room(
        ours="bundle methods_table intensity catalogue model_file recipe",
        libraries="numpy torch safetensors",
        libraries_inside="pooch",
    ),
    # Where a recipe's choices meet the functions they stand for, for doors and training alike.
    "systems glue": Room(
        ours="systems_glue nouns methods_table method_facts scores segmentation bundle",
        libraries="numpy torch",
    ),
    "doors": Room(
        ours="doors nouns bundle methods_table scores systems_glue",
        libraries="numpy torch",
        libraries_inside="dask distributed",
    ),
    "training": Room(
        ours="training methods methods_table method_facts bundle nouns systems_glue",
        libraries="numpy torch lightning safetensors",
    ),
    "evaluation": Room(
        # load_bundle is a door that lives in bundle.py
        ours="evaluation nouns doors bundle systems_glue methods.method",
        libraries="numpy scipy torch skimage sklearn monai.metrics",
        libraries_inside="matplotlib",
    ),
    "cli": Room(
        ours="cli",
        ours_inside="nouns diffusion scores networks segmentation methods methods_table"
        " method_facts bundle systems_glue doors training evaluation root",
        libraries_inside="numpy torch matplotlib napari tifffile",
    ),
    "plugin": Room(
        ours="plugin nouns method_facts",
        libraries="napari magicgui qtpy superqt numpy psygnal",
        ours_inside="doors bundle training evaluation recipe_checks",
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


def room_of(module: str) -> str | None:
    """Find a module's room, or nothing where the design names none."""
    if module in MODULES or not module:
        return MODULES.get(module)
    first, _, rest = module.partition(".")
    return MODULES.get(f"{first}.*" if rest and f"{first}.*" in MODULES else first)


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
    """`napari_followup.series.stack.VisitStack` -> `stack`: the longest part that is a file or a row."""
    parts = name.split(".")[1:]
    for stop in range(len(parts), 0, -1):
        module = ".".join(parts[:stop])
        if module in FILES or module in MODULES:
            return module
    return ""


def complaint(module: str, found: Import) -> str | None:
    """Say what is wrong with one import, or nothing."""
    top = found.name.partition(".")[0]
    if top in sys.stdlib_module_names or found.name == f"{PACKAGE}.__version__":
        return None
    room = room_of(module) or ""
    rules = ROOMS[room]
    where = f"{FILES[module].relative_to(SOURCE).as_posix()}:{found.line}"
    if top == PACKAGE:
        target = our_module(found.name)
        target_room = room_of(target) or f"{target}, which stands in no room"
        known = {target, target_room.replace(" ", "_")}
        shown, what = ".".join(filter(None, [PACKAGE, target])), target_room
        allowed, allowed_inside = rules.ours.split(), rules.ours_inside.split()
    else:
        parts = found.name.split(".")
        known = {".".join(parts[:stop]) for stop in range(1, len(parts) + 1)}
        shown = what = found.name
        allowed, allowed_inside = rules.libraries.split(), rules.libraries_inside.split()
    if known.intersection(allowed):
        return None
    if known.intersection(allowed_inside):
        if found.is_inside:
            return None
        return f"{where} imports {shown}: room {room} may import {what} only inside a function"
    return f"{where} imports {shown}: room {room} may not import {what}"


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


def test_every_module_stands_in_a_room() -> None:
    homeless = [f"{path.relative_to(SOURCE)}" for name, path in FILES.items() if not room_of(name)]

    assert not homeless, f"no room of the design holds {', '.join(homeless)}; add a row to MODULES"


def test_every_import_is_allowed_by_the_table() -> None:
    lines = [
        line
        for module, path in FILES.items()
        if room_of(module)
        for line in complaints(module, path.read_text("utf-8"), is_package=path.stem == "__init__")
    ]

    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("module", "text", "problem"),
    [
        ("methods.sdm", "import torch\nfrom napari_followup.scores import pixel", None),
        ("methods.sdm", "from napari_followup.methods.options import SDMOptions", None),
        ("methods.sdm", "from napari_followup.recipe.recipe import Recipe", "may not import nouns"),
        ("methods.options", "from napari_followup.recipe.choices import check_fields", None),
        ("methods.options", "import torch", "room method facts may not import torch"),
        ("methods.recipes", "def f():\n    import numpy", "may not import numpy"),
        ("methods.given", "from napari_followup.methods import METHODS", "may not import methods"),
        ("methods.sdm", "from napari_followup.methods.method import Method", None),
        (
            "methods.sdm",
            "from napari_followup.series.stack import VisitStack",
            "may not import nouns",
        ),
        (
            "methods.sdm",
            "from napari_followup.detection.detect import detect",
            "may not import doors",
        ),
        ("methods.sdm", "from napari_followup.methods import tdm", "may not import methods"),
        ("methods.sdm", "from .tdm import TDM", "may not import methods"),
        ("methods.sdm", "def f():\n    from ..detect import detect", "may not import doors"),
        ("stack", "def f():\n    import torch", "room nouns may not import torch"),
        ("stack", "def f():\n    import tifffile", None),
        ("stack", "import tifffile", "only inside a function"),
        ("networks.unet", "from monai.networks.nets import resnet18", None),
        ("scores.fam", "import monai", "room scores may not import monai"),
        ("bundle", "from napari_followup.methods import METHODS", None),
        ("bundle", "from napari_followup.methods.sdm import SDM", "may not import methods"),
        ("evaluation.detection", "from monai.metrics import SSIMMetric", None),
        ("evaluation.detection", "from monai.networks.nets import UNet", "may not import monai"),
        ("plugin.model_facts", "from napari_followup.methods.recipes import RECIPES", None),
        ("plugin.forms", "from napari_followup.methods import METHODS", "may not import methods"),
        ("plugin.actions", "from napari_followup import detect", "only inside a function"),
        (
            "plugin.actions",
            "def f():\n    from napari_followup.detection.detect import detect",
            None,
        ),
        ("plugin.actions", "if TYPE_CHECKING:\n    from ..bundle import ModelBundle", None),
        ("plugin.actions", "def f():\n    import torch", "room plugin may not import torch"),
        ("cli", "from napari_followup.series.stack import VisitStack", "only inside a function"),
        (
            "cli",
            "def f():\n    from napari_followup.plugin import actions",
            "may not import plugin",
        ),
        ("detect", "from napari_followup import __version__", None),
        ("detect", "from napari_followup.detection.prepare import prepare", None),
        ("training.calibrate", "from napari_followup.detection.score import score_series", None),
        ("scoring", "from napari_followup.scores.pixel import pixel_distance", None),
        ("scoring", "from napari_followup.methods.sdm import SDM", "may not import methods"),
        (
            "preparation",
            "from napari_followup.detection.detect import detect",
            "may not import doors",
        ),
        ("cutting", "from napari_followup.training import fit", "may not import training"),
        (
            "bundle",
            "from napari_followup.detection.score import fuse",
            "may not import systems glue",
        ),
        ("plugin.forms", "from napari_followup.models.catalogue import embedded", None),
        ("plugin.forms", "def f():\n    import napari_followup.series.resizing", None),
        (
            "plugin.forms",
            "def f():\n    import napari_followup.detection.score",
            "may not import systems",
        ),
        ("detect", "import lightning", "room doors may not import lightning"),
    ],
)
def test_the_table_is_read_as_it_is_meant(
    module: str, text: str, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (module, "methods.tdm"):  # these files need not exist for the table to be read
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
