"""Writes a whole synthetic cohort: table, DICOM, and the truth apart from both."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np

from promet.core.bar import counting
from promet.core.errors import UsageError
from promet.core.files import write_text
from promet.phantom import body, follow_up, hospital, masks, series
from promet.phantom.truth import HORIZON_MONTHS, Truth, patient_truth

COLUMNS = [
    "patient",
    "role",
    "site",
    "pet",
    "ct",
    "prostate",
    "lesions",
    "tracer",
    "psa",
    "grade_group",
    "gleason_primary",
    "gleason_secondary",
    "positive_cores_percent",
    "clinical_t",
    "age",
    "suv_peak_reader",
    "primary_score",
    "psma_expression",
    "ucla_psma_risk",
    "synchronous_metastasis",
    "progression",
    "months",
]


def write_cohort(
    out: str | os.PathLike[str],
    development: int = 36,
    metachronous: int = 14,
    prospective: int = 2,
    seed: int = 1,
    effect: float = 1.0,
    small: bool = False,
    prefix: str = "",
    followed: bool = False,
    key: Path | None = None,
) -> list[Truth]:
    """Write cohort.tsv, dicom/<patient>/ and truth.tsv below ``out``; give back the truth.

    With ``key`` no table, but what a hospital has: export/ with the files of all patients, every mask as DICOM; redcap.csv and
    redcap.yaml with the clinical columns; and this key file with their pseudonyms.

    The same arguments give the same bytes; more patients leave the others as they are, byte for byte.

    Args:
        out: folder, made if needed.
        development, metachronous, prospective: numbers of patients of each role.
        seed: seed of the cohort.
        effect: strength of the signal; 0 = a null cohort.
        small: tiny volumes (PET 14 x 24 x 24) around the prostate, for tests of the plan.
        followed: follow-up of development patients too, with random and administrative censoring and competing death (column died).
        prefix: begins every pseudonym, so that two phantom cohorts can stand in one table.

    Raises:
        UsageError: the folder or the key file holds something else, a number is negative or the prefix is no part of a pseudonym.
    """
    out = Path(out)
    if min(development, metachronous, prospective, seed) < 0 or not 0 <= effect <= 10:
        raise UsageError(
            "E_PHANTOM_NUMBERS", "A number is out of range", "counts and seed from 0, effect from 0 to 10"
        )
    if prefix and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", prefix):
        raise UsageError(
            "E_PHANTOM_PREFIX", "The prefix is no part of a pseudonym", "up to 21 of A-Z a-z 0-9 _ -"
        )
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "truth.tsv").exists())):
        raise UsageError(
            "E_PHANTOM_FOLDER",
            "The output folder holds other files",
            "an empty folder or an earlier phantom",
            "Name another",
        )
    counts = {"development": development, "metachronous": metachronous, "": prospective}
    made = [
        patient_truth(seed, index, role, effect, followed)
        for role, count in counts.items()
        for index in range(count)
    ]
    truths = [hospital.from_pacs(truth) for truth in made] if key else made
    if key:
        hospital.write_key(key, truths, [prefix + truth.patient for truth in truths])
        shutil.rmtree(out / hospital.EXPORT, ignore_errors=True)
    rows, answers = [], []
    # Before any patient, so that a phantom which was interrupted is known as one and may be written again.
    write_text(out / "truth.tsv", "")
    with counting("phantom", len(truths), "patient") as told:
        for number, truth in enumerate(truths, 1):
            patient = prefix + truth.patient
            paths, measured = write_patient(truth, out / "dicom" / patient, small)
            sources = {name: path.relative_to(out).as_posix() for name, path in paths.items()}
            rows.append({**truth.row(), **sources, "patient": patient})
            if key:
                hospital.flatten(out / "dicom" / patient, out / hospital.EXPORT)
            answers.append({**_answer(truth, measured), "patient": patient})
            told(number)
    columns = [*COLUMNS, *(["died"] if followed else [])]
    if key:
        shutil.rmtree(out / "dicom", ignore_errors=True)
        clinical = [name for name in columns if name not in ("patient", "pet", "ct", "prostate", "lesions")]
        hospital.write_redcap(out, rows, clinical)
    else:
        write_text(out / "cohort.tsv", _table(rows, columns))
    write_text(
        out / "truth.tsv",
        _table(answers, list(dict.fromkeys(name for row in answers for name in row)) or ["patient"]),
    )
    return truths


def write_patient(
    truth: Truth, folder: Path, small: bool = False
) -> tuple[dict[str, Path], dict[str, float]]:
    """Write one patient's series and masks; give the sources (pet, ct, prostate, lesions) and measured values."""
    temporary = folder.with_name(f".{os.getpid()}.{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        grids = body.grids(small)
        suv, spacing, gland, lesions = body.pet_suv(truth, small)
        pet = series.write_pet(truth, suv, grids.pet, temporary / "PT")
        ct = series.write_ct(truth, body.ct_hu(truth, small), grids.ct, temporary / "CT")
        sources = {"pet": folder / "PT", "ct": folder / "CT"}
        for name, path in masks.write_masks(truth, grids, pet, ct, temporary).items():
            sources[name] = folder / path.relative_to(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sources, _measured(suv, spacing, gland, lesions)


def _measured(
    suv: np.ndarray, spacing: tuple[float, ...], gland: np.ndarray, lesions: np.ndarray
) -> dict[str, float]:
    found = lesions.any()
    return {
        "suv_max_gland": float(suv[gland].max()),
        "suv_max_lesions": float(suv[lesions].max()) if found else float("nan"),
        "suv_mean_lesions": float(suv[lesions].mean()) if found else float("nan"),
        "gland_ml_on_pet": float(gland.sum() * np.prod(spacing) / 1000),
        "lesions_ml_on_pet": float(lesions.sum() * np.prod(spacing) / 1000),
    }


def _answer(truth: Truth, measured: dict[str, float]) -> dict[str, object]:
    prostate_ml, lesions_ml = body.true_volumes_ml(truth)
    uptake = truth.anatomy.suv
    values = {
        "patient": truth.patient,
        "role": truth.role,
        "seed": truth.seed,
        "effect": truth.effect,
        "aggressiveness": truth.aggressiveness,
        "synchronous_metastasis": truth.synchronous,
        "progression": truth.progression,
        "event_months": truth.event_months,
        "visible": int(truth.visible),
        "lesion_count": len(truth.lesions),
        "lesion_suv": max((lesion.suv for lesion in truth.lesions), default=None),
        "gland_suv": uptake["gland"],
        "muscle_suv": uptake["muscle"],
        "bladder_suv": uptake["bladder"],
        "gland_ml": prostate_ml,
        "lesions_ml": lesions_ml,
        **measured,
        "suv_factor": series.suv_factor(truth),
        "uptake_min": truth.acquisition.uptake_s / 60,
        "timing": truth.acquisition.timing,
        "prostate_form": truth.prostate_form,
        "lesion_form": truth.lesion_form,
    }
    if seen := truth.follow_up:
        values |= {
            "death_months": seen.death,
            "leaving_months": seen.leaving,
            "study_end_months": seen.study_end,
            "died": seen.died,
            "true_risk_48": follow_up.risk(truth.effect, truth.aggressiveness, HORIZON_MONTHS),
        }
    values |= {f"true_{name}": value for name, value in truth.clinic.items()}
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _table(rows: list[dict[str, object]], columns: list[str] | tuple[str, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
