"""Half-lives of PET nuclides and the check of a header's own value against the nuclide it names."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from promet.core.errors import DataError
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.injection import injection

OFFICIAL = Path(__file__).with_name("radiopharmaceuticals.tsv")  # made by promet.documents

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
# Nuclides that are no PET nuclide of the table, but may stand in a name.
OTHERS = ("Lu-177", "Tc-99", "In-111", "I-131", "I-123", "Y-90", "Ga-67", "Tb-161", "Ac-225", "Pb-212", "Cu-67", "Cu-60", "Cu-62",
          "Sc-43", "Sc-47", "Br-76", "Mn-52", "Co-55", "Tb-152", "Bi-213", "Ra-223", "Tl-201", "Xe-133")  # fmt: skip
NAMES.update({
    "Lu": "lutetium", "Tc": "technetium", "In": "indium", "Tb": "terbium", "Ac": "actinium", "Pb": "lead", "Br": "bromine",
    "Mn": "manganese", "Co": "cobalt", "Bi": "bismuth", "Ra": "radium", "Tl": "thallium", "Xe": "xenon",
})  # fmt: skip
# Tracers that exist with one nuclide only; PSMA-11, -617 and I&T do not (F-18, Cu-64, Ga-68).
TRACERS = {
    "F-18": r"dcfpyl|piflufolastat|pylarify|psma[\s_-]*1007|rhpsma|flotufolastat|posluma|fdg|fluorodeoxyglucose|fluciclovine|axumin|"
    r"fluorocholine|dcfbc|sodium ?fluoride",
    "Ga-68": r"illuccix|locametz|gozellix|netspot",
    "Cu-64": r"detectnet",
}
AGREE = 0.01  # header and table may differ by this share


def mentioned(text: str) -> set[str]:
    """The nuclides that a free text names, in any spelling: ``68Ga``, ``[18F]``, ``F-18``, ``Ga68-``, ``Gallium (68)``.

    A tracer that exists with one nuclide only counts where no nuclide is written.
    """
    text = unicodedata.normalize("NFKC", text)
    bare = re.sub(r"(?i)psma[\s_-]*(?:11|617|1007|7(?:\.\d)?|46|137)(?!\d)", "psma ", text)
    bare = re.sub(r"(?i)</?su[pb]>", "", bare)
    known = (*NUCLIDES, *OTHERS)
    found = {name for name in known if name.partition("-")[2] in bare and _spelled(name).search(bare)}
    return found or {
        nuclide
        for nuclide, tracers in TRACERS.items()
        if re.search(rf"(?i)(?<![a-z])(?:18f)?(?:{tracers})", text)
    }


@cache
def _spelled(nuclide: str) -> re.Pattern[str]:
    symbol, mass = nuclide.split("-")
    gap = r"[\s^()\[\]{}_-]*"
    short = f"(?:{symbol}|{symbol.upper()}|{symbol.lower()})"
    word = f"(?i:{NAMES[symbol]})"
    # A symbol ends where a small letter does not go on: 68GaPSMA, 18FDG, but not 64Curie.
    return re.compile(
        rf"(?<![A-Za-z])(?:{short}|{word}){gap}{mass}m?(?!\d)|(?<!\d){mass}m?{gap}(?:{short}(?![a-z])|{word}|{symbol.lower()}(?=psma))"
    )


def official_name(code: str) -> str:
    """What DICOM calls a code of CID 4021 (PET radiopharmaceuticals), of SNOMED CT, SNOMED RT or its own; '' of any other."""
    return _official().get(code, "")


@cache
def _official() -> dict[str, str]:
    return dict(line.split("\t") for line in OFFICIAL.read_text(encoding="utf-8").splitlines())


def official_names() -> str:
    """The file of codes and meanings, by promet.documents: pydicom's dictionaries of every code take longer to load than a
    series to convert."""
    from pydicom.sr._snomed_dict import mapping
    from pydicom.sr.codedict import codes

    group, found = codes.CID4021, {}
    for code in (getattr(group, name) for name in group.dir()):
        found.setdefault(code.value, str(code.meaning))
    former = {old: found[new] for old, new in mapping["SRT"].items() if new in found}
    return "".join(f"{code}\t{meaning}\n" for code, meaning in sorted((found | former).items()))


def _names(dose: Header) -> list[set[str]]:
    """The nuclides that the radiopharmaceutical's name tells, its code's meaning, and its code; nothing where none does."""
    code = dose.first("RadiopharmaceuticalCodeSequence") or Header()
    texts = (
        dose.text("Radiopharmaceutical"),
        code.text("CodeMeaning"),
        official_name(code.text("CodeValue") or ""),
    )
    return [found for text in texts if text and (found := mentioned(text))]


def named(head: Header) -> tuple[str | None, bool]:
    """The nuclide of RadionuclideCodeSequence if it is one of the table, and whether any is named.

    Raises:
        DataError: E_PET_NUCLIDE_CONFLICT when its code and its meaning name two.
    """
    item = injection(head).first("RadionuclideCodeSequence")
    if item is None:
        return None, False
    code, meaning = item.text("CodeValue"), item.text("CodeMeaning") or ""
    coded = next((nuclide for nuclide, (_, codes) in NUCLIDES.items() if code in codes), None)
    told = mentioned(meaning)
    if coded and told and coded not in told:
        raise _refused(
            "E_PET_NUCLIDE_CONFLICT",
            f"The code of RadionuclideCodeSequence is that of {coded}, its meaning names {_listed(told)}",
        )
    return coded or next((nuclide for nuclide in NUCLIDES if nuclide in told), None), bool(code or meaning)


def half_life(head: Header) -> tuple[float, list[str]]:
    """Half-life in s and warnings.

    The header's value is used when it agrees with the nuclide it names within 1 %; a missing one is taken
    from the name.

    Raises:
        DataError: E_PET_HALF_LIFE when they disagree, E_PET_NUCLIDE_CONFLICT when the radiopharmaceutical is called
            after another nuclide, E_PET_NUCLIDE or E_PET_HALF_LIFE_UNKNOWN when nothing says enough.
    """
    dose = injection(head)
    given = dose.number("RadionuclideHalfLife")
    nuclide, coded = named(head)
    names = _names(dose)
    alone = sorted(set.intersection(*names) & set(NUCLIDES)) if names else []
    if nuclide is None and not coded and not given and len(alone) == 1:
        table = NUCLIDES[alone[0]][0]
        return table, [
            f"RadionuclideHalfLife and RadionuclideCodeSequence are missing; {table:g} s of {alone[0]}, which the "
            "radiopharmaceutical is called after, was used"
        ]
    likely = nuclide or next(
        (each for each, (table, _) in NUCLIDES.items() if given and abs(given - table) <= AGREE * table), None
    )
    if nuclide:
        table = NUCLIDES[nuclide][0]
        if given and abs(given - table) > AGREE * table:
            raise _refused(
                "E_PET_HALF_LIFE",
                f"RadionuclideHalfLife is {given:g} s but the named nuclide {nuclide} has {table:g} s",
            )
    others = [found for found in names if likely and likely not in found]
    if others:
        raise _refused(
            "E_PET_NUCLIDE_CONFLICT",
            f"The radiopharmaceutical is called after {_listed(others[0])}, while RadionuclideCodeSequence or RadionuclideHalfLife "
            f"are those of {likely}",
        )
    if nuclide and not given:
        return table, [f"RadionuclideHalfLife is missing; {table:g} s of {nuclide} was used"]
    if given is None or given <= 0:
        raise _refused(
            "E_PET_NUCLIDE",
            "RadionuclideHalfLife is missing and RadionuclideCodeSequence names no known nuclide",
        )
    if likely:
        return given, []
    if coded and given > 60:
        return given, [
            f"The nuclide is not in the table; RadionuclideHalfLife of {given:g} s could not be checked"
        ]
    raise _refused(
        "E_PET_HALF_LIFE_UNKNOWN",
        f"RadionuclideHalfLife is {given:g} s, which belongs to no PET nuclide, and none is named",
    )


def _listed(nuclides: set[str]) -> str:
    return " and ".join(sorted(nuclides))


def _refused(code: str, found: str) -> DataError:
    return DataError(
        code,
        found,
        "a half-life in s that fits the nuclide",
        "Export again or give the PET in SUV",
    )
