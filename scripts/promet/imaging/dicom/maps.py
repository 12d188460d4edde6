"""Real-world value maps of enhanced PET: which unit, which slope for which stored values."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.imaging.dicom.files import Header

PREFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "kilo": 1e3, "mega": 1e6, "giga": 1e9}
_ACTIVITY = re.compile(r"(k|K|M|G|)(?:Bq|BQ|bq)(?:/|\.)?(?:ml|mL|ML|cm3|cm\^3|cc)(?:-1|\^-1)?")
_SPELLED = re.compile(r"(kilo|mega|giga|)becquerels?(?:/|per)(?:milliliters?|millilitres?|ml)")
_NOTE = re.compile(r"\{([^}]*)\}")
SUV_TYPES = {  # annotation of UCUM -> SUVType
    "": "BW", "suv": "BW", "suvbw": "BW", "suvlbm": "LBM", "suvlbm(james128)": "LBMJAMES128", "suvlbm(janma)": "LBMJANMA",
    "suvibw": "IBW",
}  # fmt: skip
QUANTITIES = {  # codes of DCM, CID 85
    "126401": "BW", "126402": "LBM", "126403": "BSA", "126404": "IBW", "126405": "LBMJANMA", "126406": "LBMJAMES128",
}  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """A unit of the terms of Units and SUVType, and what a value is multiplied with to be in it."""

    units: str
    suv_type: str | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Piece:
    """Stored values from ``first`` to ``last`` are worth ``slope`` times themselves plus ``intercept``."""

    first: float
    last: float
    slope: float
    intercept: float


def unit_of(text: str | None) -> Unit | None:
    """A unit in the spellings of UCUM and of those who do not know it; ``None`` when SUV cannot be made of it."""
    plain = re.sub(r"[\s\[\]]", "", text or "")
    match = _ACTIVITY.fullmatch(plain) or _SPELLED.fullmatch(plain.lower())
    if match:
        return Unit("BQML", None, PREFIX[match[1]])
    notes = [note.lower() for note in _NOTE.findall(plain)]
    bare, note = _NOTE.sub("", plain).lower(), "".join(notes)
    if bare in ("g/ml", "gml") and note in SUV_TYPES:
        return Unit("GML", SUV_TYPES[note])
    if bare in ("cm2/ml", "cm^2/ml", "cm2ml") and note in ("", "suvbsa"):
        return Unit("CM2ML", "BSA")
    return None


def read(head: Header) -> tuple[Unit, list[Piece]] | None:
    """The unit and the pieces of a frame's RealWorldValueMappingSequence, by rising value; ``None`` when it has none.

    Of maps in several units activity comes before SUV, SUV by body weight before other norms.

    Raises:
        DataError: E_PET_MAP_UNITS no unit that SUV can be made of, E_PET_MAP_TABLE a look-up table, E_PET_MAP_RANGES maps that
            overlap or leave a gap.
    """
    maps = [
        Header(item) for item in head.raw("RealWorldValueMappingSequence") or () if isinstance(item, Dataset)
    ]
    if not maps:
        return None
    signed = bool(head.number("PixelRepresentation"))
    found: dict[tuple[str, str | None], list[Piece]] = {}
    tables = False
    for item in maps:
        code = item.first("MeasurementUnitsCodeSequence") or Header()
        unit = unit_of(code.text("CodeValue")) or unit_of(code.text("CodeMeaning"))
        if unit is None:
            continue
        if unit.units != "BQML":  # a bare g/ml may be any norm
            unit = Unit(unit.units, _quantity(item) or unit.suv_type)
        slope = item.number("RealWorldValueSlope")
        if slope is None:
            tables = True
            continue
        intercept = item.number("RealWorldValueIntercept") or 0.0
        # Rounded: 0.0371 kBq/ml and 37.1 Bq/ml are one.
        worth = [float(f"{number * unit.scale:.12g}") for number in (slope, intercept)]
        piece = Piece(*_range(item, signed), *worth)
        found.setdefault((unit.units, unit.suv_type), []).append(piece)
    if not found:
        if tables:
            raise DataError(
                "E_PET_MAP_TABLE",
                "RealWorldValueMappingSequence gives a look-up table in place of RealWorldValueSlope",
                "a slope and an intercept per map",
                "Export the series as classic PET images, or give the PET in SUV (NIfTI)",
            )
        raise DataError(
            "E_PET_MAP_UNITS",
            "RealWorldValueMappingSequence names no unit from which SUV can be computed",
            "Bq/ml, kBq/ml, MBq/ml, {SUVbw}g/ml, {SUVlbm}g/ml, {SUVibw}g/ml or {SUVbsa}cm2/ml",
            "Export the series as classic PET images, or give the PET in SUV (NIfTI)",
        )
    order = [("BQML", None), ("GML", "BW")]
    best = min(
        found, key=lambda each: (order.index(each) if each in order else len(order), each[0], each[1] or "")
    )
    return Unit(*best), _joined(found[best])


def _quantity(item: Header) -> str | None:
    """The norm of SUV that QuantityDefinitionSequence names."""
    for part in item.raw("QuantityDefinitionSequence") or ():
        code = Header(part).first("ConceptCodeSequence") or Header()
        if code.text("CodeValue") in QUANTITIES:
            return QUANTITIES[code.text("CodeValue")]
    return None


def _joined(pieces: list[Piece]) -> list[Piece]:
    """By rising value, repeated ones once."""
    pieces = sorted(set(pieces), key=lambda piece: (piece.first, piece.last, piece.slope, piece.intercept))
    if any(piece.slope <= 0 for piece in pieces):
        raise DataError(
            "E_PET_SLOPE", "RealWorldValueSlope is not positive in a map", "a positive slope per map"
        )
    for one, other in pairwise(pieces):
        if other.first <= one.last:
            fault = "overlap"
        elif other.first - one.last > 1:
            fault = "leave a gap"
        else:
            continue
        raise DataError(
            "E_PET_MAP_RANGES",
            f"The {len(pieces)} maps of one unit in RealWorldValueMappingSequence {fault}",
            "ranges of stored values that lie side by side",
            "Export the series as classic PET images, or give the PET in SUV (NIfTI)",
        )
    return pieces


def _range(item: Header, signed: bool) -> tuple[float, float]:
    """First and last stored value of a map; all of them when it does not say."""
    ends = []
    for which, otherwise in (("First", -math.inf), ("Last", math.inf)):
        wide = item.number(f"DoubleFloatRealWorldValue{which}ValueMapped")
        value = item.raw(f"RealWorldValue{which}ValueMapped")
        if isinstance(value, bytes) and len(value) == 2:  # implicit VR: 'US or SS'
            value = struct.unpack("<h" if signed else "<H", value)[0]
        elif value is not None:
            value = item.number(f"RealWorldValue{which}ValueMapped")
        ends.append(
            wide if value is None and wide is not None else otherwise if value is None else float(value)
        )
    return ends[0], ends[1]


def covers(head: Header, pieces: tuple[Piece, ...]) -> bool:
    """Whether every value that the pixels can store lies in a piece, so that none need be read to know."""
    bits, signed = int(head.number("BitsStored") or 16), bool(head.number("PixelRepresentation"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return not pieces or (pieces[0].first <= low and pieces[-1].last >= high)


def apply(values: np.ndarray, pieces: tuple[Piece, ...]) -> np.ndarray:
    """Stored values, any shape, in multiples of the first piece's slope.

    Raises:
        DataError: E_PET_MAP_GAP when a value lies in no piece.
    """
    if not pieces:
        return values
    base = pieces[0].slope
    if len(pieces) == 1 and not pieces[0].intercept:
        worth, inside = values, (values >= pieces[0].first) & (values <= pieces[0].last)
    else:
        worth, inside = np.zeros(values.shape), np.zeros(values.shape, bool)
        for piece in pieces:
            here = (values >= piece.first) & (values <= piece.last)
            worth[here] = (values[here] * piece.slope + piece.intercept) / base
            inside |= here
    if not inside.all():
        raise DataError(
            "E_PET_MAP_GAP",
            f"{int((~inside).sum())} stored values of a slice lie outside of the range of every real-world value map",
            "maps for all stored values",
            "Export the series as classic PET images, or give the PET in SUV (NIfTI)",
        )
    return worth
