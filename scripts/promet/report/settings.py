"""Settings of the report room."""

from pydantic import Field

from promet.core.settings import Settings


class Report(Settings):
    """What the report shows."""

    title: str = Field("Prognosis of metastasis from PSMA PET of the primary tumour", description="headline")
    question: str = Field("", description="what was asked, in a sentence; empty = the paper's question")
    patient_level: bool = Field(False, description="show pictures and rows of single patients")
