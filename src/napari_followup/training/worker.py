"""One of several processes of a training, all but the first: see `training.devices`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from napari_followup.device import placed_well
from napari_followup.methods import method_class, method_config
from napari_followup.methods.method import main_stage
from napari_followup.training.batches import samples_for
from napari_followup.training.devices import READY
from napari_followup.training.fit import fit_stage
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import read_samples

__all__ = ["main"]


def main(task: Mapping[str, Any]) -> None:
    """Train as one of several processes.

    Parameters
    ----------
    task
        Method, configuration, plan, stages still to train, folder, device, files of samples, and
        the process that started this one.
    """
    _end_with(task["parent"])
    plan = TrainingPlan.from_dict(task["plan"])
    kind = method_class(task["method"])
    torch.manual_seed(plan.seed)
    model = placed_well(kind(method_config(task["method"], task["config"])))
    samples = read_samples(task["training"]), read_samples(task["validation"])
    print(READY, flush=True)
    for stage in task["stages"]:
        model.begin(stage)  # the first process sends the weights it begins with
        fit_stage(
            model,
            stage,
            (samples_for(stage, model, samples[0]), samples_for(stage, model, samples[1])),
            plan,
            Path(task["out"]) / stage,
            first=stage == main_stage(model),
            device=task["device"],
        )


def _end_with(parent: int) -> None:
    """End when the first process has ended, for whatever reason."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(json.load(sys.stdin))
