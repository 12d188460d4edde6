"""A PET series of DICOM files to values in SUV."""

from promet.core.job import without

# pydicom loads both to fetch its own test data, and show how far it is: a tenth of the time of a job that reads DICOM.
with without("requests", "tqdm"):
    import pydicom  # noqa: F401
