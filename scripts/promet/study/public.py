"""Cohort tables from public data sets. Nothing is copied: the table points at the folders."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from promet.core.errors import UsageError
from promet.core.files import write_text
from promet.core.rows import read_table
from promet.study.table import COLUMNS, Row


def write_table(path: Path, rows: list[Row]) -> None:
    """Write a cohort table with every column; missing values stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), restval="", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def from_ibsi(source: Path, out: Path) -> int:
    """Write the table of the soft-tissue sarcoma FDG PET cohort and return the number of patients.

    Layout of theibsi/data_sets, ibsi_validation/nifti (TCIA Soft-tissue-Sarcoma, Vallieres et al. 2015,
    doi 10.7937/K9/TCIA.2015.7GO2GSKS), beside it ``outcome.csv`` with patient, lung_metastasis (0/1). The primary
    tumour plays the prostate: its mask is both organ and lesion. For running and honesty, never for a clinical claim.

    Raises:
        UsageError: the layout is another one, or a patient has no images or no outcome.
    """
    try:
        rows = read_table(source / "outcome.csv", ",")
        outcome = {row["patient"]: row["lung_metastasis"] for row in rows}
        folders = sorted(path for path in (source / "nifti").iterdir() if path.is_dir())
    except (OSError, KeyError) as error:
        raise UsageError(
            "E_LAYOUT",
            f"{source} has not the layout of the sarcoma set",
            "nifti/<patient>/ folders and outcome.csv with patient, lung_metastasis",
            "docs/public-data.md says how to get it",
        ) from error
    rows = []
    for folder in folders:
        image, mask = folder / "PET_image.nii.gz", folder / "PET_mask.nii.gz"
        if folder.name not in outcome or not image.exists() or not mask.exists():
            raise UsageError(
                "E_LAYOUT",
                f"{folder.name} lacks an image, a mask or an outcome",
                "PET_image, PET_mask and a row",
            )
        rows.append(
            {
                "patient": folder.name,
                "role": "development",
                "pet": os.path.relpath(image, out.parent),
                "prostate": os.path.relpath(mask, out.parent),
                "lesions": os.path.relpath(mask, out.parent),
                "tracer": "18F-FDG",
                "synchronous_metastasis": outcome[folder.name],
            }
        )
    write_table(out, rows)
    return len(rows)
