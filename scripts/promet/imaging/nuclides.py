"""Half-lives of PET nuclides and the check of a header's own value against the nuclide it names."""

from __future__ import annotations

import re

from promet.core.errors import DataError
from promet.imaging.dicom import Header

# Half-life in s (DDEP / NNDC, rounded), codes of CID 4020 in SNOMED-RT, SNOMED-CT (DICOM PS3.16).
NUCLIDES: dict[str, tuple[float, tuple[str, ...]]] = {
    "F-18": (6586.2, ("C-111A1", "77004003")),
    "Ga-68": (4062.6, ("C-131A3", "35337001")),
    "Cu-64": (45721.0, ("C-127A2", "3932008")),
    "Zr-89": (282276.0, ("C-168A4", "63360001")),
    "C-11": (1221.8, ("C-105A1", "40565003")),
    "N-13": (597.9, ("C-107A1", "21576001")),
    "O-15": (122.24, ("C-B1038", "129504001")),
    "Rb-82": (76.4, ("C-159A2", "79197006")),
    "I-124": (360806.0, ("C-114A5", "40937006")),
    "Ge-68": (23410000.0, ("C-128A2", "53315004")),
    "Cu-61": (12002.0, ("71425003",)),
    "Sc-44": (14292.0, ("126600",)),
    "Y-86": (53064.0, ("C-162A3", "10738001")),
}
NAMES = {
    "F": "fluorine", "Ga": "gallium", "Cu": "copper", "Zr": "zirconium", "C": "carbon", "N": "nitrogen", "O": "oxygen",
    "Rb": "rubidium", "I": "iodine", "Ge": "germanium", "Sc": "scandium", "Y": "yttrium",
}  # fmt: skip
AGREE = 0.01  # header and table may differ by this share


def named(head: Header) -> tuple[str | None, bool]:
    """The nuclide of RadionuclideCodeSequence if it is one of the table, and whether any is named."""
    dose = head.first("RadiopharmaceuticalInformationSequence") or Header()
    item = dose.first("RadionuclideCodeSequence")
    if item is None:
        return None, False
    code, meaning = item.text("CodeValue"), item.text("CodeMeaning") or ""
    for nuclide, (_, codes) in NUCLIDES.items():
        if code in codes:
            return nuclide, True
    for nuclide in NUCLIDES:
        symbol, mass = nuclide.split("-")
        word = rf"(?:{symbol}|{NAMES[symbol]})"
        if re.search(
            rf"(?i)(?<![a-z]){word}[\s^-]*{mass}(?!\d)|(?<!\d){mass}[\s^-]*{word}(?![a-z])", meaning
        ):
            return nuclide, True
    return None, bool(code or meaning)


def half_life(head: Header) -> tuple[float, list[str]]:
    """Half-life in s and warnings.

    The header's value is used when it agrees with the nuclide it names within 1 %; a missing one is taken
    from the name.

    Raises:
        DataError: E_PET_HALF_LIFE when they disagree, E_PET_NUCLIDE or E_PET_HALF_LIFE_UNKNOWN when neither says enough.
    """
    given = (head.first("RadiopharmaceuticalInformationSequence") or Header()).number("RadionuclideHalfLife")
    nuclide, coded = named(head)
    if nuclide:
        table = NUCLIDES[nuclide][0]
        if given is None or given == 0:
            return table, [f"RadionuclideHalfLife is missing; {table:g} s of {nuclide} was used"]
        if abs(given - table) > AGREE * table:
            raise _refused(
                "E_PET_HALF_LIFE",
                f"RadionuclideHalfLife is {given:g} s but the named nuclide {nuclide} has {table:g} s",
            )
        return given, []
    if given is None or given <= 0:
        raise _refused(
            "E_PET_NUCLIDE",
            "RadionuclideHalfLife is missing and RadionuclideCodeSequence names no known nuclide",
        )
    if any(abs(given - table) <= AGREE * table for table, _ in NUCLIDES.values()):
        return given, []
    if coded and given > 60:
        return given, [
            f"The nuclide is not in the table; RadionuclideHalfLife of {given:g} s could not be checked"
        ]
    raise _refused(
        "E_PET_HALF_LIFE_UNKNOWN",
        f"RadionuclideHalfLife is {given:g} s, which belongs to no PET nuclide, and none is named",
    )


def _refused(code: str, found: str) -> DataError:
    return DataError(
        code,
        found,
        "a half-life in s that fits the nuclide",
        "Export again or give the PET in SUV",
    )
