"""What a training does, in words; plain text, so that a widget opens without torch."""

from __future__ import annotations

from napari_followup.methods.table import TABLE

__all__ = ["STAGES", "makes_anomalies"]


STAGES = {
    "change": "Learning how images change with age",
    "denoise": "Learning to give back healthy images",
    "features": "Learning the features that images are compared by",
    "measure": "Trying the finished model on subjects that were held back",
    "pretrain": "Learning to tell images apart",
    "reconstruct": "Learning to give back healthy images",
    "restore": "Learning to take made-up anomalies out",
    "segment": "Learning to find anomalies",
}


def makes_anomalies(method: str, fields: str) -> bool:
    """Whether a method may make anomalies where there are no labels, by the form's other fields."""
    taken = TABLE[method].labels
    given = [text.partition("=") for text in fields.split(";")]
    return taken is None or not any(
        name.strip() == taken.made_by and value.strip().lower() == "false"
        for name, _, value in given
    )
