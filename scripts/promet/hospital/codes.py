"""The codes of what promet sends, and its own where DICOM has none.

From the context groups of PS3.16 (CID 7464, 7466, 7469) and SNOMED CT. Total lesion glycolysis and the like name the
mechanism of another tracer, so total lesion uptake has a code of promet.
"""

from __future__ import annotations

from typing import NamedTuple

OWN = "99PROMET"


class Code(NamedTuple):
    """Value, scheme and meaning."""

    value: str
    scheme: str
    meaning: str


PROSTATE = Code("41216001", "SCT", "Prostate")
ANATOMICAL = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")
REPORT = Code("126000", "DCM", "Imaging Measurement Report")
PROCEDURE = Code("44139-4", "LN", "PET whole body")
SUV = Code("126401", "DCM", "SUVbw")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MEAN = Code("373098007", "SCT", "Mean")
PEAK = Code("126031", "DCM", "Peak Value Within ROI")
VOLUME = Code("118565006", "SCT", "Volume")
UPTAKE = Code("total-lesion-uptake", OWN, "Total lesion uptake")
PRIMARY = Code("primary-surrogate", OWN, "PRIMARY score, surrogate from the PET")
EXPRESSION = Code("expression-surrogate", OWN, "PSMA expression score, surrogate from the PET")
PROBABILITY = Code("probability", OWN, "Predicted probability of metastasis")
SCORE = Code("score", OWN, "Score of the model, log-odds")
USE = Code("intended-use", OWN, "Intended use")
RESEARCH = Code("research-use-only", OWN, "Research use only, not for diagnosis")
PART = Code("part", OWN, "Part of the study the patient is in")
PARTS = {
    "training": Code("part-training", OWN, "Training: the model was fitted on this patient"),
    "validation": Code("part-validation", OWN, "Validation: the model was chosen on this patient"),
    "test": Code("part-test", OWN, "Test"),
}
AGENT = Code("349358000", "SCT", "Radiopharmaceutical agent")
TRACERS = {
    "DCFPyL": Code("C116352", "NCIt", "Piflufolastat F^18^"),
    "PSMA-11": Code("C118961", "NCIt", "PSMA-11 Ga^68^"),
    "PSMA-1007": Code("126758", "DCM", "PSMA-1007 F^18^"),
    "PSMA-617": Code("126759", "DCM", "PSMA-617 Ga^68^"),
}
SUV_UNIT = Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
ML = Code("ml", "UCUM", "milliliter")
GRAM = Code("g", "UCUM", "gram")
ONE = Code("1", "UCUM", "no units")
# Families of algorithms (CID 7162), by where a mask comes from.
GIVEN = Code("123109", "DCM", "Manual Processing")
WATERSHED = Code("123104", "DCM", "Morphological Operations")
LEARNED = Code("123110", "DCM", "Artificial Intelligence")
