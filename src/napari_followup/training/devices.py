"""Several devices: one process each, of which the first is the one that called.

The others are started here, get their task as JSON on their standard input and read the samples
from the files the first one made. So nothing of the caller's script is run again, and progress is
reported in the caller's process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

__all__ = ["check_devices", "companions"]

WORKER = "napari_followup.training.worker"
READY = "ready"
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK")


def check_devices(count: int, device: torch.device) -> None:
    """Refuse more GPUs than there are.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    there = torch.cuda.device_count()
    if count > 1 and device.type == "cuda" and (device.index or 0) + count > there:
        raise ValueError(
            f"devices: got {count} from {device} on, torch sees {there} GPU(s); ask for fewer"
        )


@contextmanager
def companions(count: int, task: Mapping[str, Any]) -> Iterator[None]:
    """Start the processes of all devices but the first, and end them afterwards.

    Parameters
    ----------
    count
        Devices; with 1 nothing is started.
    task
        What `training.worker` needs, plain values for JSON.

    Raises
    ------
    RuntimeError
        If one of them fails; the message holds the last line of its log.
    """
    if count == 1:
        yield
        return
    before = {name: os.environ.get(name) for name in VARIABLES}
    found = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    os.environ.update(found | {"WORLD_SIZE": str(count), "LOCAL_RANK": "0"})
    started = [_started(rank, task) for rank in range(1, count)]
    try:
        _wait_for(started)
        yield
    except RuntimeError as error:
        reason = _reason(started, task, error)
        raise RuntimeError(f"training on {count} devices failed: {reason}") from error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for process in started:
            _ended(process)
        for rank in range(1, count):
            _log(task, rank).unlink(missing_ok=True)
        for name in VARIABLES:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _started(rank: int, task: Mapping[str, Any]) -> subprocess.Popen[str]:
    with _log(task, rank).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "LOCAL_RANK": str(rank)},
        )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as channel:  # if it has ended already
            channel.write(json.dumps({**task, "parent": os.getpid()}))
    return process


def _wait_for(started: list[subprocess.Popen[str]]) -> None:
    """Wait until all are ready; the others would wait half an hour for one that is not."""
    for process in started:
        if process.stdout is not None and process.stdout.readline().strip() != READY:
            raise RuntimeError("a further process ended before it began")


def _log(task: Mapping[str, Any], rank: int) -> Path:
    """File that a further process writes its errors into; empty if there are none."""
    return Path(task["out"]) / f"device-{rank}.log"


def _reason(started: list[subprocess.Popen[str]], task: Mapping[str, Any], here: Exception) -> str:
    """Last line that a failed process wrote, or the error here."""
    for rank, process in enumerate(started, start=1):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        lines = _log(task, rank).read_text(encoding="utf-8").strip().splitlines()
        if process.poll() and lines:
            return lines[-1]
    return str(here)


def _ended(process: subprocess.Popen[str]) -> None:
    """Wait a little, then do not wait any longer."""
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
