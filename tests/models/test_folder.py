from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_followup.models.download import file_hash
from napari_followup.models.files import ModelBundle, load_bundle, save_bundle
from napari_followup.models.folder import export_model, install_model


@pytest.fixture
def saved(tiny_bundle: ModelBundle, web: Any) -> Path:
    """A model file, which can be fetched too."""
    return save_bundle(tiny_bundle, web.folder / "tiny.safetensors")


@pytest.fixture
def other(tiny_tdm: ModelBundle, tmp_path: Path) -> Path:
    """Another model in a file of the same name."""
    return save_bundle(tiny_tdm, tmp_path / "others" / "tiny.safetensors")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_installed_and_loads_by_its_name(saved: Path, model_folder: Path) -> None:
    path = install_model(saved)

    assert path == model_folder / "tiny.safetensors"
    assert load_bundle("tiny").fingerprint == load_bundle(saved).fingerprint
    assert names(model_folder) == ["tiny.safetensors"]


def test_a_model_is_downloaded_once_and_then_works_offline(
    saved: Path, web: Any, model_folder: Path
) -> None:
    told: list[int] = []
    settings: dict[str, Any] = {
        "sha256": file_hash(saved),
        "name": "fetched",
        "on_bytes": lambda done, total: told.append(done),
    }
    address = f"{web.address}/tiny.safetensors?version=1"
    size = saved.stat().st_size

    path = install_model(address, **settings)
    saved.unlink()
    again = install_model(address, **settings)

    assert path == again == model_folder / "fetched.safetensors"
    assert len(web.asked) == 1
    assert told[-1] == size
    assert load_bundle("fetched").name == "tiny"


def test_a_model_is_named_after_the_file_of_its_address(
    saved: Path, web: Any, model_folder: Path
) -> None:
    path = install_model(f"{web.address}/tiny.safetensors?a=/b", sha256=file_hash(saved))

    assert path.name == "tiny.safetensors"


def test_an_address_needs_a_hash(web: Any, model_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny.safetensors: give its hash too \(--sha256\)"):
        install_model(f"{web.address}/tiny.safetensors")
    assert web.asked == []


def test_a_file_with_another_hash_is_not_installed(
    saved: Path, web: Any, model_folder: Path
) -> None:
    for source in (saved, f"{web.address}/tiny.safetensors"):
        with pytest.raises(ValueError, match=rf"its SHA-256 is {file_hash(saved)}, not 1111"):
            install_model(source, sha256="1" * 64)

    assert names(model_folder) == []


def test_another_model_of_that_name_is_replaced_on_request_only(
    saved: Path, other: Path, model_folder: Path
) -> None:
    path = install_model(saved)

    assert install_model(saved) == path  # the same one: nothing to ask
    with pytest.raises(FileExistsError, match="is there already; give --replace or give another"):
        install_model(other)
    assert load_bundle("tiny").method == "sdm"
    install_model(other, replace=True)
    assert load_bundle("tiny").method == "tdm"


def test_what_is_no_model_is_not_installed(web: Any, model_folder: Path) -> None:
    foreign = web.folder / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, foreign)

    for source in (foreign, f"{web.address}/foreign.safetensors"):
        with pytest.raises(ValueError, match=r"^foreign.safetensors: a safetensors file, but"):
            install_model(source, sha256=file_hash(foreign))

    assert names(model_folder) == []


def test_a_broken_file_does_not_take_the_place_of_a_model(
    saved: Path, web: Any, model_folder: Path
) -> None:
    install_model(saved)
    saved.write_bytes(saved.read_bytes()[:-10])

    for source in (saved, f"{web.address}/tiny.safetensors"):
        with pytest.raises(ValueError, match="not a readable model file"):
            install_model(source, sha256=file_hash(saved), replace=True)

    assert load_bundle("tiny").method == "sdm"


@pytest.mark.parametrize("name", ["starmen", "a/b", ".hidden", "..", "with space"])
def test_names_that_cannot_be_are_refused(saved: Path, model_folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"name: .*--name"):
        install_model(saved, name=name)


def test_a_missing_file_is_named(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file '.*none.safetensors'; give a"):
        install_model(tmp_path / "none.safetensors")


def test_a_model_folder_that_cannot_be_made_is_named_with_what_to_do(
    saved: Path, model_folder: Path
) -> None:
    model_folder.write_text("a file in its place")

    with pytest.raises(
        OSError, match=r"model folder .* cannot be made .*set NAPARI_FOLLOWUP_MODELS"
    ):
        install_model(saved)


def test_a_model_is_exported_with_the_hash_to_install_it_by(
    saved: Path, tmp_path: Path, model_folder: Path
) -> None:
    install_model(saved, name="mine")

    path, sha256 = export_model("mine", tmp_path / "new" / "out.safetensors")

    assert path.read_bytes() == saved.read_bytes()
    assert sha256 == file_hash(saved)
    assert names(path.parent) == ["out.safetensors"]
    assert install_model(path, sha256=sha256, name="again").exists()


def test_an_export_replaces_nothing_unasked(saved: Path, other: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already; give --replace"):
        export_model(saved, other)
    export_model(saved, other, replace=True)

    assert load_bundle(other).method == "sdm"


def test_what_cannot_be_exported_is_said(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out: got 'x.pt'; end the name in .safetensors"):
        export_model(saved, tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match="no model 'nowhere'"):
        export_model("nowhere", tmp_path / "x.safetensors")
    saved.write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable model file"):
        export_model(saved, tmp_path / "x.safetensors")
