"""Small files of formats that take some lines to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def write_study() -> Callable[..., list[Path]]:
    """Function that writes one DICOM study of three slices, whose pixels count from 0."""

    def write(folder: Path, *, slices: int = 3, series: str = "1", **tags: Any) -> list[Path]:
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number in range(slices):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = MRImageStorage
            meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
            about = {
                "SOPClassUID": MRImageStorage,
                "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
                "PatientID": "anna",
                "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": f"1.2.3.{series}",
                "StudyDate": "20200131",
                "Modality": "MR",
                "SeriesDescription": "FLAIR",
                "ImagePositionPatient": [10.0, 20.0, 30.0 + 4.0 * number],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [2.0, 0.5],
                "Rows": 4,
                "Columns": 5,
                "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2",
                "BitsAllocated": 16,
                "BitsStored": 16,
                "HighBit": 15,
                "PixelRepresentation": 0,
                **tags,
            }
            for name, value in about.items():
                setattr(data, name, value)
            pixels = np.arange(20, dtype=np.uint16).reshape(4, 5) + 20 * number
            data.PixelData = pixels.tobytes()
            # Names run against the places, so that only the places can order them.
            paths.append(folder / f"{series}-{slices - number:02d}.dcm")
            data.save_as(paths[-1], enforce_file_format=True)
        return paths

    return write
