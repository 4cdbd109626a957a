"""Made-up series: healthy starmen, and anomalies drawn into any series with their truth."""

from __future__ import annotations

from napari_followup.synthetic.anomalies import ANOMALIES, add_anomaly
from napari_followup.synthetic.starmen import starmen

__all__ = ["ANOMALIES", "add_anomaly", "starmen"]
