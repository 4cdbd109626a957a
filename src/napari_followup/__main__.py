"""``python -m napari_followup`` is the command ``napari-followup``."""

from __future__ import annotations

import sys

from napari_followup.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
