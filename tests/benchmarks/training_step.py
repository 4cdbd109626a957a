"""Images a second of our training step, and of a plain loop over the same network.

python tests/benchmarks/training_step.py [BATCHES [PRESET [BATCH]]]

The network is the thesis' SDM on 64 x 64 planes in batches of 20. The plain loop draws the same
batches, computes the loss, and steps the optimiser; ours does so too and keeps averaged weights,
watches the loss and reports every batch. Same process, same threads, on the CPU and, where there is
one, on the GPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

from napari_followup.device import placed_well
from napari_followup.methods.sdm import PRESETS, SDM
from napari_followup.training.batches import RandomBatches
from napari_followup.training.fit import fit_stage
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.state import TrainingState

WARM_UP = 2  # batches that do not count
ON_GPU = 10  # our reports there come every tenth batch


def plain_loop(planes: torch.Tensor, plan: TrainingPlan, preset: str, device: str) -> float:
    """Seconds a batch."""
    method = placed_well(SDM(PRESETS[preset])).to(device).train()
    parts = method.parts_of("denoise")
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=1e-3)
    batches = iter(RandomBatches(planes, plan.batch, 0))
    generator = torch.Generator().manual_seed(0)
    start = 0.0
    for number in range(plan.steps + WARM_UP):
        if number == WARM_UP:
            start = now(device)
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=plan.precision == "bf16"):
            loss = method.loss("denoise", next(batches).to(device), generator)
        loss.backward()
        optimizer.step()
        float(loss.detach())
    return (now(device) - start) / plan.steps


def our_step(planes: torch.Tensor, plan: TrainingPlan, preset: str, device: str) -> float:
    """Seconds a batch, the first report and the last one aside."""
    told: list[tuple[int, float]] = []

    def note(state: TrainingState) -> bool:
        told.append((state.batch, now(device)))
        return state.batch < plan.steps + first

    first = ON_GPU if device == "cuda" else WARM_UP
    method = placed_well(SDM(PRESETS[preset]))
    far = TrainingPlan(
        minutes=600, batch=plan.batch, precision=plan.precision, checkpoint_every=10**9
    )
    with tempfile.TemporaryDirectory() as folder:
        samples = planes, planes[:4]
        fit_stage(method, "denoise", samples, far, Path(folder), device=device, on_state=note)
    begin = next(entry for entry in told if entry[0] >= first)
    end = told[-1]
    return (end[1] - begin[1]) / (end[0] - begin[0])


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    preset = sys.argv[2] if len(sys.argv) > 2 else "thesis"
    batch = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    planes = torch.rand(200, 1, *PRESETS[preset].image_size)
    print(f"{preset}, batches of {batch}, {torch.get_num_threads()} threads, {torch.__version__}")
    print(f"{'device':8}{'precision':12}{'plain loop':>14}{'ours':>14}   images a second")
    for device in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        for precision in ("float32", "bf16"):
            plan = TrainingPlan(steps=steps, batch=batch, precision=precision)
            plain, ours = (
                batch / loop(planes, plan, preset, device) for loop in (plain_loop, our_step)
            )
            print(f"{device:8}{precision:12}{plain:14.1f}{ours:14.1f}", flush=True)


if __name__ == "__main__":
    main()
