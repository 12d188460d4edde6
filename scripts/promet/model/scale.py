"""Is a PET on the scale of SUV, and do its masks lie where they were drawn? What can be told without anybody's word.

The tissue around the prostate (muscle, fat, vessels) takes up nearly the same in everyone, whatever the tumour does: its
median SUV spreads by a few tenths on the logarithm. So a PET whose surroundings lie far outside of what the fitted patients
had is not in SUV by body weight, or not of this tracer. How far is far follows from their number and spread: the prediction
interval of a new patient (Student's t with n - 1 degrees of freedom, sd * sqrt(1 + 1/n)).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from promet.core.errors import DataError

NEGATIVE_SHARE = 0.01
TOLD, REFUSED = 0.01, 1e-4  # shares of patients of the right scale beyond the intervals (two-sided)
LEAST_FACTOR = 3.0  # a smaller one is told and never refused: another scanner or reconstruction may do that
KNOWN = {
    0.001: "of kBq in the place of Bq, or the like",
    0.1: "of ten",
    0.75: "of lean body mass instead of weight",
    10.0: "of ten",
    1000.0: "of Bq in the place of kBq, or of g in the place of kg",
}
ORGANS = ("blood_suv_mean", "reference_suv_mean")
# Of distribution.IMAGE, and whether the logarithm is used.
LOGGED = {"around_suv": True, "lesion_contrast": True, **dict.fromkeys(ORGANS, True)}


def beyond(value: float | None, entry: dict[str, Any] | None, share: float) -> tuple[bool, float, float]:
    """Does a value lie outside of where a new patient like the fitted ones lies, but for this share?

    Returns:
        outside; the value over the fitted patients' geometric mean; the smallest factor that would lie outside (inf when
        nothing is known of them).
    """
    if value is None or entry is None or value <= 0:
        return False, math.nan, math.inf
    n = entry["n"]
    reach = _student(1 - share / 2, n - 1) * entry["sd"] * math.sqrt(1 + 1 / n)
    apart = math.log(value) - entry["mean"]
    return abs(apart) > reach, math.exp(apart), math.exp(reach)


@cache
def _student(share: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(share, freedom))


def judge(found: dict[str, float | None], training: dict[str, Any], trusted: bool) -> list[str]:
    """Sentences on the scale of a PET.

    Args:
        found: of promet.imaging.around.measure.
        training: the image part of distribution.json.
        trusted: nobody but the sender says that it is SUV by body weight.

    Raises:
        DataError: E_PET_SCALE.
    """
    told = []
    entry = training.get("around_suv")
    value = found["around_suv"]
    if entry and value is not None and value <= 0:
        raise _off(f"SUV {value:.2g}", entry)
    outside, factor, least = beyond(value, entry, TOLD)
    if entry and beyond(value, entry, REFUSED)[0] and not 1 / LEAST_FACTOR < factor < LEAST_FACTOR:
        raise _off(
            f"SUV {value:.2g}, {factor:.2g} times the mean of the fitted patients{_likely(factor)}", entry
        )
    if entry and outside:
        told.append(
            f"The uptake around the prostate (SUV {value:.2g}) is {factor:.2g} times the mean of the {entry['n']} fitted patients, "
            f"outside of where 99 of 100 like them would lie{_likely(factor)}: check units, dose and weight."
        )
    elif trusted and entry and value is not None:
        told.append(
            f"The uptake around the prostate is usual; a factor above {least:.2g} or below {1 / least:.2g} would show there, SUV by lean body mass "
            "(about 0.75) " + ("would, too." if least < 1 / 0.75 else "would not.")
        )
    elif trusted:
        told.append("The model holds nothing to compare the scale of the PET with.")
    for name, organ in zip(ORGANS, ("blood pool", "reference organ"), strict=True):
        outside, factor, _ = beyond(found[name], training.get(name), TOLD)
        if outside:
            told.append(
                f"The uptake of the {organ} is {factor:.2g} times the mean of the fitted patients{_likely(factor)}."
            )
    return told + _places(found, training)


def prostate(ml: float, training: dict[str, Any]) -> None:
    """Refuse a prostate of a size that none has: the masks exchanged, another organ, the whole volume marked.

    Raises:
        DataError: E_PROSTATE_SIZE.
    """
    entry = training.get("organ_ml")
    outside, factor, _ = beyond(ml, entry, REFUSED)
    if entry and outside and not 1 / LEAST_FACTOR < factor < LEAST_FACTOR:
        raise DataError(
            "E_PROSTATE_SIZE",
            f"The mask of the prostate has {ml:.3g} ml, {factor:.2g} times the mean of the {entry['n']} fitted patients",
            f"the whole prostate and nothing else; {math.exp(entry['mean']):.2g} ml in the mean, times or divided by {math.exp(entry['sd']):.2g}",
            "Check that the masks are not exchanged, and that it is that of the prostate",
        )


def _places(found: dict[str, float | None], training: dict[str, Any]) -> list[str]:
    from promet.imaging.around import NEGATIVE

    told = []
    contrast, entry = found["lesion_contrast"], training.get("lesion_contrast")
    outside, factor, _ = beyond(contrast, entry, TOLD)
    if contrast is not None and (contrast < 1 or (outside and factor < 1)):
        usual = f"; in training {math.exp(entry['mean']):.2g} times on average" if entry else ""
        told.append(
            f"The lesions take up {contrast:.2g} times what the rest of the prostate does{usual}: do masks and PET belong together? "
            "A flipped or shifted array looks like this."
        )
    share = found["negative_share"]
    if share is not None and share > NEGATIVE_SHARE:
        told.append(
            f"{share:.1%} of the voxels around the prostate are below {NEGATIVE:g}: SUV is not negative."
        )
    return told


def _likely(factor: float) -> str:
    near = min(KNOWN, key=lambda known: abs(math.log(factor / known)))
    return (
        f" (a factor {KNOWN[near]}?)" if abs(math.log(factor / near)) < 0.7 and not 0.5 < factor < 1.5 else ""
    )


def _off(what: str, entry: dict[str, Any]) -> DataError:
    mean, sd = math.exp(entry["mean"]), math.exp(entry["sd"])
    return DataError(
        "E_PET_SCALE",
        f"The tissue around the prostate has {what}",
        f"SUV by body weight: in {entry['n']} fitted patients {mean:.2g} there, times or divided by {sd:.2g}",
        "Check unit, dose and weight; of a volume, by what it was multiplied",
    )
