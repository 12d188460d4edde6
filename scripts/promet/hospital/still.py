"""Objects whose bytes repeat: no clock and no chance in them, and a UID that stands for the content."""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from promet.hospital.part10 import IMPLEMENTATION, VERSION

PLACEHOLDER = "2.25.0"
# Of the image and of what its patient and study are: they stay as they are.
KEPT = ("PatientBirthDate", "StudyDate", "StudyTime")


def uid(*words: object) -> str:
    """A UID that depends on nothing but these words."""
    text = "\0".join(map(str, words)).encode()
    return f"2.25.{int.from_bytes(hashlib.sha256(text).digest()[:16])}"


def still(data: Dataset, moment: tuple[str, str], *about: object) -> Dataset:
    """Replace what a library took from the clock or from chance.

    Args:
        data: the object, with ``PLACEHOLDER`` as SOPInstanceUID; changed in place.
        moment: date and time that stand instead, as DICOM writes them.
        about: what the UIDs of its parts depend on.

    Returns:
        the same object, its SOPInstanceUID a hash of all its other bytes: another content is another object, since a
        PACS keeps the first that it got under one UID and says nothing.
    """
    date, time = moment
    for element in data.iterall():
        if element.keyword in KEPT:
            continue
        if element.VR == "DA":
            element.value = date
        elif element.VR == "TM":
            element.value = time
        elif element.VR == "DT":
            element.value = date + time
        elif element.keyword == "DimensionOrganizationUID":
            element.value = uid("dimensions", *about)
    data.SOPInstanceUID = PLACEHOLDER
    data.SOPInstanceUID = uid("content", hashlib.sha256(as_bytes(data)).hexdigest())
    return data


def as_bytes(data: Dataset) -> bytes:
    """The DICOM file of an object, with promet's meta group."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION, VERSION
    data.file_meta = meta
    stream = BytesIO()
    dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()
