"""Synthetic series: healthy starmen and phantoms, and anomalies drawn into any series."""

from __future__ import annotations

from napari_followup.synthetic.anomalies import ANOMALIES, add_anomaly
from napari_followup.synthetic.phantom import phantoms
from napari_followup.synthetic.starmen import starmen

__all__ = ["ANOMALIES", "add_anomaly", "phantoms", "starmen"]
