"""A synthetic cohort as real DICOM, with known truth."""
