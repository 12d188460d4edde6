"""What a hospital is told that has a model and nothing to set: by the code of a refusal, in words of its own where the pipeline's send
to the configuration or the table of the house that trained the model. A test compares the list with all messages of the image stages.
"""

from __future__ import annotations

from promet.core.errors import DataError, PrometError

# code -> (what was expected, what to do); None: as the stage says it.
HERE: dict[str, tuple[str | None, str]] = {
    "E_CT_AMBIGUOUS": (None, "Give the folder that holds only the right one"),
    "E_CT_FRAME": (None, "Give the CT of the same examination, or none"),
    "E_CT_NONE": ("one CT series of more than two images", "Give the folder of the CT, or none"),
    "E_MASK_AMBIGUOUS": (None, "Export the one structure alone and give that file"),
    "E_MASK_LABELS": ("one label, 0 and 1", "Export the one structure alone, as a volume of 0 and 1"),
    "E_MASK_MISSING": ("a NIfTI, DICOM SEG or RTSTRUCT", "Give a mask of the prostate"),
    "E_MASK_ROI_MISSING": (
        None,
        "Rename the region in the mask file, or export it alone as a volume of 0 and 1",
    ),
    "E_MASK_THICKNESS": (None, "Give the series that it was drawn on as CT"),
    "E_PET_AMBIGUOUS": (None, "Give the folder that holds only the right one, or its file, if it is one"),
    "E_PET_MIXED_PATIENTS": (None, "Take out what does not belong here"),
    "E_SOURCE_MISSING": (
        "a DICOM folder or a file",
        "Correct the path in the table, or bring the files back",
    ),
    "E_SOURCE_NOT_GIVEN": ("a path", "Give the images of this patient"),
}


def here(error: PrometError) -> DataError:
    """The refusal of a stage as a hospital reads it."""
    expected, remedy = HERE.get(error.code, (None, ""))
    told = error.expected if expected is None else expected
    return DataError(error.code, error.found, told, remedy or error.remedy)
