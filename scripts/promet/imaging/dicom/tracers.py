"""Which tracer a PET shows, by the names and codes of its header, and by the word of a table.

A name stands for itself and not for every spelling of it; free text never leaves this module.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from promet.core.errors import DataError
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.injection import injections
from promet.imaging.dicom.nuclides import NUCLIDES, mentioned, official_name

PSMA = "PSMA"
# Name -> (class, what text without blanks and signs holds). The first that fits takes its letters out of the text, so a
# longer name stands before a shorter one that it contains. A ``\b`` asks for a word of its own, in the text as it is.
NAMES: dict[str, tuple[str, str]] = {
    "AlF-PSMA-11": (PSMA, r"alfpsma11(?!\d)"),
    "PSMA-1007": (PSMA, r"psma1007|radelumin"),
    "PSMA-11": (PSMA, r"psma11(?!\d)|psmahbed(?:cc)?|hbedcc(?:psma)?|gozetotid|illuccix|locametz|gozellix"),
    "PSMA-617": (PSMA, r"psma617|vipivotid"),
    "PSMA-I&T": (PSMA, r"psmai(?:and|und|et)?t(?![a-z])|zadavotid"),
    "DCFPyL": (PSMA, r"dcfpyl|piflufolastat|pylarify|pylclari"),
    "rhPSMA-7": (PSMA, r"rhpsma\d*|flotufolastat|posluma"),
    "DCFBC": (PSMA, r"dcfbc"),
    "JK-PSMA-7": (PSMA, r"jkpsma7?"),
    "CTT1057": (PSMA, r"ctt1057"),
    "bisPSMA": (PSMA, r"(?:sar)?bispsma"),
    "THP-PSMA": (PSMA, r"thppsma|galliprost"),
    "PSMA antibody": (PSMA, r"j591|7e11|capromab|iab2m"),
    "PSMA ligand": (PSMA, r"psma|prostatespecificmembrane"),
    "FDG": ("FDG", r"(?:fluor\w*|flude?s?)?d[ei]s?ox[yi]d?gl[uy][ck]o[sz]\w*|\b(?:18f|f18)?fdg\b|fluorodg"),
    "choline": (
        "choline",
        r"[ck]h?olin|\b(?:18f|f18|11c|c11)?f?e?m?ch\b|\b(?:18f|f18)?fec\b|\b(?:18f|f18)?fmc\b",
    ),
    "fluciclovine": ("fluciclovine", r"flu[ck]i[ck]lovin|facbc|axumin"),
    "FAPI": ("FAPI", r"fapi|fap2286|fapimab|fibroblastactivation"),
    "sodium fluoride": (
        "sodium fluoride",
        r"(?:sodium|natrium)fluorid|fluorures?desodium|\b(?:18f|f18)?naf\b|fluoride",
    ),
    "acetate": ("acetate", r"acetat"),
    "somatostatin analogue": (
        "somatostatin analogue",
        r"dota(?:tate|tat|toc|noc)|edotreotid|(?:oxo|satoreo)\w*treotid|copperdotatat|netspot|detectnet|somakit|ssrt",
    ),
    "bombesin analogue": ("bombesin analogue", r"bombesin|neobomb|\brm2\b|grpr?p?a?\b"),
    "estradiol": ("estradiol", r"estradiol|oestradiol|\b(?:18f|f18)?fes\b"),
    "FLT": ("FLT", r"fluorothymidin|thymidin|\b(?:18f|f18)?flt\b"),
    "FET": ("FET", r"ethyl?tyrosin|\b(?:18f|f18)?fet\b"),
    "DOPA": ("DOPA", r"\b(?:18f|f18)?f?dopa\b|fluoro?l?dopa"),
    "methionine": ("methionine", r"methionin"),
    "FMISO": ("FMISO", r"misonidazol|fmiso"),
    "pentixafor": ("pentixafor", r"pentixafor"),
    "amyloid or tau": (
        "amyloid or tau",
        r"florbeta|flutemetamol|flortaucipir|pittsburgh|amyvid|tauvid|neuraceq|vizamyl",
    ),
    "perfusion agent": ("perfusion agent", r"ammonia|rubidiumchlorid|flurpiridaz|oxygenwater"),
}
OTHER = "another of DICOM's list"


def kind(name: str) -> str:
    """The class of a name: PSMA, FDG, ..."""
    return NAMES[name][0] if name in NAMES else name


@cache
def in_text(text: str) -> frozenset[str]:
    """The tracers that a free text names, in any spelling; empty when it names none that is known here."""
    plain = re.sub(r"(?i)</?su[pb]>", "", unicodedata.normalize("NFKD", text)).lower()
    plain = plain.encode("ascii", "ignore").decode()
    spaced = re.sub(r"[^a-z0-9]+", " ", plain)
    # a nuclide that touches its tracer is no part of the word
    spaced = re.sub(r"\b(18f|f18|68ga|ga68|64cu|cu64|89zr|zr89|11c|c11)(?=[a-z])", r"\1 ", spaced)
    # two numbers stay two
    compact, found = re.sub(r"(?<![0-9]) | (?![0-9])", "", spaced), set()
    for name, (_, pattern) in NAMES.items():
        of_words, of_letters = _split(pattern)
        if of_words and of_words.search(spaced):
            found.add(name)
        if of_letters:
            compact, number = of_letters.subn("#", compact)
            if number:
                found.add(name)
    return frozenset(found)


@cache
def _split(pattern: str) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    words = [part for part in _branches(pattern) if "\\b" in part]
    letters = [part for part in _branches(pattern) if "\\b" not in part]
    return (
        re.compile("|".join(words)) if words else None,
        re.compile("|".join(letters)) if letters else None,
    )


def _branches(pattern: str) -> list[str]:
    """The alternatives of a pattern at its top level."""
    found, depth, start = [], 0, 0
    for place, sign in enumerate(pattern):
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and not depth:
            found.append(pattern[start:place])
            start = place + 1
    return [*found, pattern[start:]]


def in_header(head: Header) -> set[str]:
    """The tracers that RadiopharmaceuticalInformationSequence names by text, by the meaning of its code, by the code."""
    found: set[str] = set()
    for dose in injections(head):
        code = dose.first("RadiopharmaceuticalCodeSequence") or Header()
        texts = [dose.text("Radiopharmaceutical"), code.text("CodeMeaning")]
        official = official_name(code.text("CodeValue") or "")
        here = set().union(*(in_text(text) for text in (*texts, official) if text))
        found |= here or ({OTHER} if official else set())
    return found


def in_headers(heads: Iterable[Header]) -> set[str]:
    """The tracers that any slice's header names."""
    return set().union(*map(in_header, heads))


def doubts(names: set[str]) -> list[str]:
    """A sentence where one header names two tracers that cannot be the same."""
    ordered = sorted(names)
    apart = [(a, b) for k, a in enumerate(ordered) for b in ordered[k + 1 :] if not alike({a}, {b})]
    return [f"The header of the PET names two tracers: {a} and {b}" for a, b in apart[:1]]


def alike(one: set[str], two: set[str]) -> bool:
    """Can both sets mean the same? What is not named contradicts nothing, and 'PSMA ligand' is every PSMA ligand."""
    if not one or not two:
        return True
    general = "PSMA ligand"
    if one & two:
        return True
    ligands = all(kind(name) == PSMA for name in one | two)
    return ligands and (general in one or general in two)


def require_alike(names: set[str], half_life_s: float | None, table: str) -> None:
    """The tracer of a table must not contradict the header of the PET.

    Args:
        names: of the header.
        half_life_s: of the nuclide of the header, or None.
        table: the cell ``tracer``; '' where there is none.

    Raises:
        DataError: E_TRACER_CONFLICT.
    """
    told = in_text(table)
    nuclides = mentioned(table) if table else set()
    if not alike(names, told):
        raise _conflict(listed(names), listed(told))
    if half_life_s and nuclides and not any(_lives(nuclide, half_life_s) for nuclide in nuclides):
        raise _conflict(f"a nuclide with a half-life of {half_life_s:g} s", " or ".join(sorted(nuclides)))


def _lives(nuclide: str, half_life_s: float) -> bool:
    return nuclide in NUCLIDES and abs(NUCLIDES[nuclide][0] / half_life_s - 1) < 0.02


def listed(names: set[str]) -> str:
    """Names in words."""
    return " and ".join(sorted(names)) or "none that is known"


def _conflict(header: str, table: str) -> DataError:
    return DataError(
        "E_TRACER_CONFLICT",
        f"The header of the PET names {header}, the table's column tracer {table}",
        "one tracer",
        "Find out which was injected and correct the table, or have the header corrected: scanners leave the tracer of a "
        "protocol's default in it",
    )
