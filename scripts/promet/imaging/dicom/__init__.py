"""A PET series of DICOM files to values in SUV."""
