"""What people write where there is no value, and what is left of letters that were read in another encoding."""

from __future__ import annotations

import re

from promet.core.rows import MISSING

# What other tables write for a missing number.
SENTINELS = {"999", "9999", "99999", "-1", "-9", "-99", "-999", "-9999"}
# What people write for a value that is not there, without its signs ("n.a.", "n/a" and "(N/A)" are "n a"); as a site they
# would be a hospital.
_ABSENT = """
n a, nd, n d, nr, n r, n k, n s, nil, unk, unkn, blank, empty, undefined, pending, missing, tbd, no value, no entry, no data,
unknown, unspecified, none given, not available, not applicable, not known, not done, not reported, not recorded, not documented,
not specified, not given, not stated, unbekannt, unbek, keine, kein, keiner, keines, ohne, keine angabe, keine angaben,
keine daten, ohne angabe, ohne angaben, k a, o a, n b, n v, n e, n z, fehlt, fehlend, leer, nicht bekannt, nicht erhoben,
nicht angegeben, nicht vorhanden, nicht verfügbar, nicht dokumentiert, nicht zutreffend, entfällt, aucun, aucune, inconnu,
inconnue, non renseigné, non communiqué, n c, ns nc, ninguno, ninguna, desconocido, nessuno, sconosciuto, non noto, onbekend,
geen, okänd, ukjent, ukendt, non disponible, no disponible, non disponibile
"""
ABSENT = {word.strip() for word in _ABSENT.split(",")} | {word for word in MISSING if word.isalpha()}
EXCEL_ERROR = re.compile(r"#.{0,7}[!?/va]", re.IGNORECASE)  # #N/A, #NV, #REF!, #WERT!, #NAME?
# As which UTF-8 is read by mistake: Windows, Latin 1, the old Macintosh, DOS.
WRONG = ("cp1252", "latin-1", "mac_roman", "cp850", "cp437")


def absent(text: str) -> bool:
    """Does a cell say, in words or signs, that there is no value?"""
    words = " ".join(re.sub(r"[\W_]+", " ", text).lower().split())
    return bool(text.strip()) and (not words or words in ABSENT or bool(EXCEL_ERROR.fullmatch(text.strip())))


def garbled(text: str) -> bool:
    """Is it UTF-8 that was read as something else (Ã¼ for ü)?"""
    return not text.isascii() and any(_letters(text, encoding) for encoding in WRONG)


def _letters(text: str, encoding: str) -> bool:
    """Are the bytes of this encoding letters in UTF-8: Latin ones, or at least two of another script?"""
    try:
        meant = text.encode(encoding).decode("utf-8")
    except UnicodeError:
        return False
    found = [sign for sign in meant if not sign.isascii()]
    return all(map(str.isalpha, found)) and (len(found) > 1 or found[0] < "\u0250")
