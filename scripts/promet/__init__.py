"""promet: prognosis of metastasis from the PSMA PET of the primary prostate tumour."""
