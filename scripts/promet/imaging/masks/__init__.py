"""Masks from NIfTI, DICOM SEG and RTSTRUCT."""
