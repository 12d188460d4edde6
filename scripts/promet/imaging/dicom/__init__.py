"""A PET series of DICOM files to values in SUV."""

import sys

# pydicom loads an HTTP client to fetch its own test data: a tenth of the time of a job that reads DICOM.
if "requests" not in sys.modules:
    sys.modules["requests"] = None  # type: ignore[assignment]
    try:
        import pydicom.data.download  # noqa: F401
    finally:
        del sys.modules["requests"]
