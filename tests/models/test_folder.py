from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_followup.models import folder
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.models.folder import (
    checked_hash,
    export_model,
    fetch,
    file_hash,
    install_model,
)

CONTENT = bytes(range(256)) * 4000  # about a megabyte


@pytest.fixture
def sha256(web: Any) -> str:
    (web.folder / "file.bin").write_bytes(CONTENT)
    return hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_fetched_once(web: Any, sha256: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"

    for _ in range(2):
        assert fetch(f"{web.address}/file.bin", f"sha256:{sha256.upper()}", path) == path

    assert path.read_bytes() == CONTENT
    assert file_hash(path) == sha256
    assert web.asked == ["/file.bin"]
    assert [each.name for each in path.parent.iterdir()] == ["file.bin"]


def test_progress_is_told_in_bytes(web: Any, sha256: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    fetch(
        f"{web.address}/file.bin",
        sha256,
        tmp_path / "file.bin",
        lambda done, total: told.append((done, total)),
    )

    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert len(told) > 2
    assert sorted(told) == told


def test_another_hash_leaves_nothing_behind(web: Any, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"its SHA-256 is {sha256}, not {'0' * 64} as given; .*ask"
    ):
        fetch(f"{web.address}/file.bin", "0" * 64, tmp_path / "new" / "file.bin")

    assert not list((tmp_path / "new").iterdir())


def test_a_file_with_another_hash_is_fetched_anew(web: Any, sha256: str, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"older")

    fetch(f"{web.address}/file.bin", sha256, tmp_path / "file.bin")

    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_an_address_that_is_not_there_is_named(web: Any, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"none.bin: download failed \(404 .*check the ad"):
        fetch(f"{web.address}/none.bin", sha256, tmp_path / "file.bin")


def test_no_network_is_said_with_what_to_do(
    sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket() as taken:  # a port that nobody answers at
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/file.bin"
        with pytest.raises(
            ConnectionError, match=r"download failed .*download the file on another machine"
        ):
            fetch(address, sha256, tmp_path / "file.bin")


def test_addresses_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file:///x: give an address that begins with https://"):
        fetch("file:///x", "0" * 64, tmp_path / "x")


@pytest.mark.parametrize("given", ["", "abc", "g" * 64, "md5:" + "0" * 32])
def test_what_is_no_hash_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="give the 64 hexadecimal digits"):
        checked_hash(given)


def test_more_than_a_model_can_have_is_not_fetched(
    web: Any, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LARGEST", 2**19)

    with pytest.raises(ConnectionError, match="more than 0 MiB, larger than any model"):
        fetch(f"{web.address}/file.bin", sha256, tmp_path / "new" / "file.bin")

    assert not list((tmp_path / "new").iterdir())


def test_what_takes_too_long_is_given_up(
    web: Any, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "WHOLE_SECONDS", -1)

    with pytest.raises(ConnectionError, match="not complete after -1 s"):
        fetch(f"{web.address}/file.bin", sha256, tmp_path / "new" / "file.bin")

    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("there", ["https://127.0.0.1/file.bin", "file:///etc/hostname"])
def test_a_redirect_to_another_kind_of_address_is_refused(
    sha256: str, tmp_path: Path, there: str
) -> None:
    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", there)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ConnectionError, match=r"redirects to .*, which has another scheme"):
            fetch(f"http://127.0.0.1:{server.server_port}/file.bin", sha256, tmp_path / "file.bin")
        thread.join()


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
    with pytest.raises(FileExistsError, match="already exists; give --replace or give another"):
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
        OSError, match=r"model folder .* cannot be created .*set NAPARI_FOLLOWUP_MODELS"
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
    with pytest.raises(FileExistsError, match="already exists; give --replace"):
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
