"""promet: prognosis of metastasis from the PSMA PET of the primary prostate tumour."""

__version__ = "0.1.0"
