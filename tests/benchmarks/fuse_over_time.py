"""Time LAFM on ten 256 x 256 visits.

python tests/benchmarks/fuse_over_time.py [DEVICE]
"""

from __future__ import annotations

import sys

import torch
from torch.utils.benchmark import Timer

from napari_followup.scores.temporal import fuse_over_time

device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
scores = torch.rand(10, 1, 256, 256, device=device)
ages = torch.arange(10.0, device=device)
work = {"fuse_over_time": fuse_over_time, "scores": scores, "ages": ages}
timer = Timer("fuse_over_time(scores, ages)", globals=work, label="LAFM", description=device)
print(timer.blocked_autorange(min_run_time=1.0))
