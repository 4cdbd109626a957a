"""Time the starmen generator on 1000 subjects of ten visits.

python tests/benchmarks/starmen.py [SUBJECTS]
"""

from __future__ import annotations

import sys
import time

from napari_followup.synthetic.starmen import starmen_arrays

subjects = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
start = time.perf_counter()
images = starmen_arrays(subjects).images
print(f"{images.shape[0]} x {images.shape[1]} frames in {time.perf_counter() - start:.1f} s")
