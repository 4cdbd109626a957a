from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from napari_followup.models import download
from napari_followup.models.download import checked_hash, fetch, file_hash

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
    with pytest.raises(
        ConnectionError, match=r"none.bin: could not be fetched \(404 .*check the ad"
    ):
        fetch(f"{web.address}/none.bin", sha256, tmp_path / "file.bin")


def test_no_network_is_said_with_what_to_do(
    sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket() as taken:  # a port that nobody answers at
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/file.bin"
        with pytest.raises(
            ConnectionError, match=r"could not be fetched .*fetch the file on another machine"
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
    monkeypatch.setattr(download, "LARGEST", 2**19)

    with pytest.raises(ConnectionError, match="more than 0 MiB, which no model has"):
        fetch(f"{web.address}/file.bin", sha256, tmp_path / "new" / "file.bin")

    assert not list((tmp_path / "new").iterdir())


def test_what_takes_too_long_is_given_up(
    web: Any, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WHOLE_SECONDS", -1)

    with pytest.raises(ConnectionError, match="not whole after -1 s"):
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
        with pytest.raises(ConnectionError, match=r"redirects to .*, another kind of address"):
            fetch(f"http://127.0.0.1:{server.server_port}/file.bin", sha256, tmp_path / "file.bin")
        thread.join()
