"""From stored values to SUV by body weight: one factor per slice, the rule that was taken, what it used.

Rules: QIBA vendor-neutral pseudo-code (2018) and Vácha et al., Comprehensive Manual for SUV Computation
(github.com/oncoray/suv_computation, CC BY 4.0). Whatever lies outside of them is refused: a wrong SUV looks
like a right one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from promet.core.errors import DataError
from promet.imaging.dicom import times
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.injection import injection, injections
from promet.imaging.dicom.nuclides import half_life

UNIFORM_TEXT = (
    "Units", "SUVType", "DecayCorrection", "PatientSex", "SeriesDate", "SeriesTime", "FrameOfReferenceUID", "PatientID",
    "TimezoneOffsetFromUTC", "DecayCorrectionDateTime",
)  # fmt: skip
UNIFORM_NUMBER = ("PatientWeight", "PatientSize", "Rows", "Columns")
UNIFORM_DOSE_TEXT = ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")
UNIFORM_DOSE_NUMBER = ("RadionuclideTotalDose", "RadionuclideHalfLife")
KNOWN_UNITS = (
    "BQML", "CNTS", "CPS", "GML", "CM2ML", "PROPCNTS", "PROPCPS", "NONE", "CM2", "PCNT", "MGMINML", "UMOLMINML",
    "MLMING", "MLG", "1CM", "UMOLML", "MLMINML", "MLML", "STDDEV", "SUV",
)  # fmt: skip
CORRECTIONS = (
    "DECY", "DECAY", "ATTN", "SCAT", "DTIM", "MOTN", "PMOT", "CLN", "RAN", "RADL", "DCAL", "NORM",
)  # fmt: skip
KNOWN_TERMS = {
    *KNOWN_UNITS, "BW", "LBM", "LBMJAMES128", "LBMJANMA", "IBW", "BSA", "START", "ADMIN", "NONE", "M", "F", "O",
}  # fmt: skip
MEGABECQUEREL = (
    35.0,
    1500.0,
)  # outside of this a small number is as likely mCi (3 to 25) or uCi (3000 to 25000)
SMALL_DOSE = 1e5  # a dose below this was entered in MBq (survey of 3433 series: peaks at 4e2 and 4e8)


@dataclass
class Suv:
    """SUVbw = stored value * ``slopes[slice]``.

    Attributes:
        slopes: float64 (slices,), in the order of the given headers.
        audit: rule, factors, intervals and non-identifying values used, JSON-ready.
        warnings: sentences for the report.
    """

    slopes: np.ndarray
    audit: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def factors(headers: list[Header]) -> Suv:
    """The factor of every slice to SUVbw (g/ml).

    Raises:
        DataError: one code per fault, E_PET_MIXED_HEADERS to E_PET_SUV_TYPE; those of times.py and nuclides.py.
    """
    check_uniform(headers)
    head, result = headers[0], Suv(np.ones(len(headers)))
    units = _units(head)
    _attenuation(head, result)
    slopes = _slopes(headers)
    result.audit.update(units=units, slices=len(headers), rescale_slopes=len(set(slopes.tolist())))
    if units == "GML":
        result.slopes = slopes * _normalised(head, result)
    elif units == "CM2ML":
        result.slopes = slopes * _surface(head, result)
    elif units == "CNTS":
        result.slopes = slopes * _counts(headers, result)
    else:
        result.slopes = slopes * _activity(headers, result)
    if not np.isfinite(result.slopes).all() or (result.slopes <= 0).any():
        raise DataError(
            "E_PET_FACTOR",
            "The factor to SUV is not a positive number in every slice",
            "valid header values",
        )
    result.audit["factor_min"], result.audit["factor_max"] = (
        float(result.slopes.min()),
        float(result.slopes.max()),
    )
    result.audit["tags"] = tags(headers)
    return result


def tags(headers: list[Header]) -> dict[str, Any]:
    """Every element that bears on SUV, by keyword, with its value, or its range over the slices; null when absent.

    Dates, times and free text are left out: the audit gives their intervals.
    """
    head, found = headers[0], {}
    for keyword in ("Units", "SUVType", "DecayCorrection", "PatientSex"):
        value = head.text(keyword)
        found[keyword] = value if value in KNOWN_TERMS or value is None else "other"
    found["CorrectedImage"] = [term for term in head.texts("CorrectedImage") if term in CORRECTIONS]
    for keyword in ("PatientWeight", "PatientSize"):
        found[keyword] = head.number(keyword)
    dose = next(iter(injections(head)), Header())
    for keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife"):
        found[keyword] = dose.number(keyword)
    for keyword in (
        "RescaleSlope",
        "RescaleIntercept",
        "ActualFrameDuration",
        "FrameReferenceTime",
        "DecayFactor",
    ):
        values = [value for header in headers if (value := header.number(keyword)) is not None]
        found[keyword] = [min(values), max(values)] if values else None
    for element in (0x00, 0x09):
        text = head.private(0x7053, "Philips PET Private Group", element)
        if text and found["Units"] == "CNTS":
            found[f"(7053,10{element:02d})"] = _factor(head, element)
    return found


def check_uniform(headers: list[Header]) -> None:
    """Refuse slices that differ in what must be the same in a series (E_PET_MIXED_HEADERS, E_PET_MIXED_CORRECTIONS)."""
    doses = [next(iter(injections(header)), Header()) for header in headers]
    checks = (
        (headers, Header.text, UNIFORM_TEXT),
        (headers, Header.number, UNIFORM_NUMBER),
        (doses, Header.text, UNIFORM_DOSE_TEXT),
        (doses, Header.number, UNIFORM_DOSE_NUMBER),
    )
    for each, get, keywords in checks:
        for keyword in keywords:
            first = get(each[0], keyword)
            different = sum(get(header, keyword) != first for header in each[1:])
            if different:
                raise DataError(
                    "E_PET_MIXED_PATIENTS" if keyword == "PatientID" else "E_PET_MIXED_HEADERS",
                    f"{keyword} differs between slices ({different} of {len(headers)} differ from the first)",
                    "the slices of one series",
                    "Keep one series per patient folder",
                )
    for term in ("ATTN", "DECY"):
        having = sum(term in header.texts("CorrectedImage") for header in headers)
        if 0 < having < len(headers):
            raise DataError(
                "E_PET_MIXED_CORRECTIONS",
                f"CorrectedImage names {term} in {having} of {len(headers)} slices only",
                "the slices of one series",
                "Keep one series per patient folder",
            )


def _units(head: Header) -> str:
    units = head.text("Units")
    if units in ("BQML", "GML", "CM2ML", "CNTS"):
        return units
    found = "Units is missing" if units is None else "Units is no term this program knows"
    if units in KNOWN_UNITS:
        found = f"Units is {units}, from which SUV cannot be computed"
    raise DataError(
        "E_PET_UNITS_MISSING" if units is None else "E_PET_UNITS",
        found,
        "BQML, GML, CM2ML, or CNTS with the Philips factors",
        "Export the quantitative series",
    )


def _attenuation(head: Header, result: Suv) -> None:
    corrected = head.texts("CorrectedImage")
    if "ATTN" in corrected:
        return
    method = head.text("AttenuationCorrectionMethod") or ""
    if not corrected and method and not method.upper().startswith("NONE"):
        result.warnings.append(
            "CorrectedImage is missing; AttenuationCorrectionMethod names one, so the image is taken as corrected"
        )
        return
    raise DataError(
        "E_PET_ATTENUATION" if corrected else "E_PET_CORRECTIONS_MISSING",
        "CorrectedImage does not name ATTN: the image is not attenuation corrected"
        if corrected
        else "CorrectedImage is missing",
        "an attenuation-corrected series",
        "Export the AC series",
    )


def _slopes(headers: list[Header]) -> np.ndarray:
    slopes = []
    for header in headers:
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept") or 0.0
        if slope is None or slope <= 0:
            raise DataError(
                "E_PET_SLOPE",
                "RescaleSlope is missing or not positive in a slice",
                "a positive slope per slice",
            )
        if intercept != 0:
            raise DataError(
                "E_PET_INTERCEPT", "RescaleIntercept is not 0", "0, as the standard demands of PET"
            )
        slopes.append(slope)
    return np.array(slopes)


def _weight(head: Header, result: Suv) -> float:
    """Body weight in kg."""
    weight = head.number("PatientWeight")
    if weight is None or weight <= 0:
        raise _bad("E_PET_WEIGHT", "PatientWeight is missing or not positive", "the weight in kg")
    if weight > 1000:
        weight /= 1000
        result.warnings.append("PatientWeight is above 1000 and was taken as grams")
    if not 20 <= weight <= 350:
        raise _bad(
            "E_PET_WEIGHT_RANGE", f"PatientWeight is {weight:g} kg, which no adult has", "the weight in kg"
        )
    if not 30 <= weight <= 250:
        result.warnings.append(f"PatientWeight is {weight:g} kg: please check")
    result.audit["weight_kg"] = weight
    return weight


def _height(head: Header, result: Suv) -> float:
    """Height in cm."""
    height = head.number("PatientSize")
    if height is None or height <= 0:
        raise _bad(
            "E_PET_HEIGHT", "PatientSize is missing or not positive, and SUVType needs it", "the height in m"
        )
    if height > 3:
        result.warnings.append("PatientSize is above 3 and was taken as cm")
    else:
        height *= 100
    if not 100 <= height <= 250:
        raise _bad(
            "E_PET_HEIGHT_RANGE", f"PatientSize is {height:g} cm, which no adult has", "the height in m"
        )
    result.audit["height_cm"] = height
    return height


def _dose(head: Header, result: Suv) -> float:
    """Administered activity in Bq."""
    dose = injection(head).number("RadionuclideTotalDose")
    if dose is None or dose <= 0:
        raise _bad(
            "E_PET_DOSE", "RadionuclideTotalDose is missing or not positive", "the injected activity in Bq"
        )
    unit = "Bq"
    if dose < SMALL_DOSE:
        if not MEGABECQUEREL[0] <= dose <= MEGABECQUEREL[1]:
            raise _bad(
                "E_PET_DOSE_UNIT",
                f"RadionuclideTotalDose is {dose:g}: no Bq, and hardly MBq; perhaps mCi (37 MBq) or uCi (37 kBq)",
                "the injected activity in Bq",
            )
        dose, unit = dose * 1e6, "MBq"
        result.warnings.append("RadionuclideTotalDose is below 100000 and was taken as MBq")
    if not 1e6 <= dose <= 5e9:
        raise _bad(
            "E_PET_DOSE_RANGE",
            f"RadionuclideTotalDose is {dose / 1e6:g} MBq, which nobody injects",
            "the injected activity in Bq",
        )
    if not 2e7 <= dose <= 1.5e9:
        result.warnings.append(f"RadionuclideTotalDose is {dose / 1e6:g} MBq: please check")
    result.audit["dose_bq"], result.audit["dose_unit"] = dose, unit
    return dose


def _bad(code: str, found: str, expected: str) -> DataError:
    return DataError(
        code, found, expected, "Give the series in SUV (NIfTI) or an export whose header is right"
    )


def _activity(headers: list[Header], result: Suv, units: str = "BQML") -> np.ndarray:
    """SUV per Bq/ml of every slice."""
    head = headers[0]
    decay = head.text("DecayCorrection")
    corrected = head.texts("CorrectedImage")
    if decay not in ("START", "ADMIN", "NONE"):
        raise DataError(
            "E_PET_DECAY",
            "DecayCorrection is missing or no known term",
            "START, ADMIN or NONE",
            "Export the original series",
        )
    if corrected and decay != "NONE" and not {"DECY", "DECAY"} & set(corrected):
        raise DataError(
            "E_PET_DECAY_CONFLICT",
            f"DecayCorrection is {decay} but CorrectedImage does not name DECY",
            "both or neither",
        )
    if decay == "NONE" and {"DECY", "DECAY"} & set(corrected):
        result.warnings.append(
            "DecayCorrection is NONE but CorrectedImage names DECY; DecayCorrection was believed"
        )
    weight, dose = _weight(head, result), _dose(head, result)
    result.audit.update(decay_correction=decay, rule=f"{units} {decay}")
    if decay == "ADMIN":
        return np.full(len(headers), weight * 1000 / dose)
    life, note = half_life(head)
    result.warnings.extend(note)
    result.audit["half_life_s"] = life
    rate = math.log(2) / life
    if decay == "NONE":
        since, duration = times.after_injection(headers, life, result)
        growth = rate * duration / -np.expm1(-rate * duration)
        return weight * 1000 / dose * growth * np.exp(rate * since)
    uptake = times.uptake(headers, life, result)
    result.audit["decayed_share"] = math.exp(-rate * uptake)
    return np.full(len(headers), weight * 1000 / (dose * math.exp(-rate * uptake)))


def _counts(headers: list[Header], result: Suv) -> np.ndarray:
    """Philips: counts to SUV by (7053,1000), else to Bq/ml by (7053,1009)."""
    for element, rule in (
        (0x00, "CNTS Philips SUV factor (7053,1000)"),
        (0x09, "CNTS Philips activity factor (7053,1009)"),
    ):
        found = np.array([_factor(header, element) for header in headers])
        if not found.any():
            continue
        if (found <= 0).any():
            raise DataError(
                "E_PET_COUNTS_MIXED",
                f"Units is CNTS and the factor of the {rule[5:]} is missing in some slices",
                "one per slice",
            )
        if element == 0x00:
            result.audit["rule"] = rule
            return found
        suv = found * _activity(headers, result)
        result.audit["rule"] = f"{rule}, then {result.audit['rule']}"
        return suv
    raise DataError(
        "E_PET_COUNTS",
        "Units is CNTS and neither Philips factor, (7053,1000) nor (7053,1009), is given or above 0",
        "a factor that turns counts into SUV or Bq/ml",
        "Export with private elements",
    )


def _factor(header: Header, element: int) -> float:
    text = header.private(0x7053, "Philips PET Private Group", element)
    try:
        value = float(text or 0)
    except ValueError:
        raise DataError(
            "E_PET_COUNTS_FACTOR", f"The Philips factor (7053,10{element:02d}) is no number", "a number"
        ) from None
    return value if math.isfinite(value) else 0.0


def _normalised(head: Header, result: Suv) -> float:
    """GML: factor from SUV by another norm to SUV by body weight (formulas of DICOM PS3.16 / Sugawara)."""
    kind = head.text("SUVType")
    if kind in (None, "BW"):
        result.audit["rule"] = "GML SUVbw" if kind else "GML, SUVType empty: SUVbw"
        return 1.0
    if kind not in ("LBM", "LBMJAMES128", "LBMJANMA", "IBW"):
        raise DataError(
            "E_PET_SUV_TYPE",
            "SUVType is no known term for Units GML",
            "BW, LBM, LBMJAMES128, LBMJANMA or IBW",
        )
    weight, height = _weight(head, result), _height(head, result)
    sex = head.text("PatientSex")
    if sex not in ("M", "F", "O"):
        raise _bad("E_PET_SEX", f"SUVType is {kind} and PatientSex is missing", "M, F or O")
    ratio, bmi = (weight / height) ** 2, weight / (height / 100) ** 2
    male, female = {
        "LBM": (1.10 * weight - 120 * ratio, 1.07 * weight - 148 * ratio),
        "LBMJAMES128": (1.10 * weight - 128 * ratio, 1.07 * weight - 148 * ratio),
        "LBMJANMA": (9270 * weight / (6680 + 216 * bmi), 9270 * weight / (8780 + 244 * bmi)),
        "IBW": (48.0 + 1.06 * (height - 152), 45.5 + 0.91 * (height - 152)),
    }[kind]
    norm = {"M": male, "F": female, "O": (male + female) / 2}[sex]
    result.audit.update(rule=f"GML SUV by {kind} undone", sex=sex, norm_kg=norm)
    if sex == "O":
        result.warnings.append(f"PatientSex is O: the mean of the male and female {kind} was used")
    if norm <= 0:
        raise _bad(
            "E_PET_BODY",
            f"PatientWeight and PatientSize give no positive {kind}",
            "plausible weight and height",
        )
    return weight / norm


def _surface(head: Header, result: Suv) -> float:
    """CM2ML: SUV by body surface (Du Bois, m2) to SUV by body weight."""
    if head.text("SUVType") not in (None, "BSA"):
        raise DataError("E_PET_SUV_TYPE", "SUVType is not BSA while Units is CM2ML", "BSA")
    weight, height = _weight(head, result), _height(head, result)
    surface = 0.007184 * height**0.725 * weight**0.425
    result.audit.update(rule="CM2ML SUV by BSA undone", surface_m2=surface)
    return weight * 1000 / (surface * 1e4)
