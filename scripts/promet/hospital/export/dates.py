"""Dates of studies: counted from the patient's first, and to choose between studies only where that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from promet.hospital.export.files import Series, study
from promet.hospital.export.people import Person
from promet.imaging.dicom.clock import day_of


def true_days(person: Person) -> dict[str, int]:
    """Hash of the study -> its day, of studies that have a date."""
    found: dict[str, int] = {}
    for seen in person.files:
        name = seen.get("StudyInstanceUID", "")
        if name not in found and seen.get("StudyDate"):
            day = day_of(seen.true("StudyDate"))
            if day is not None:
                found[name] = int(day)
    return found


def days(person: Person) -> dict[str, int]:
    """The same counted from the patient's first study; read only where there are several series to tell apart."""
    found = true_days(person)
    return {name: day - min(found.values()) for name, day in found.items()}


def first_study(person: Person, left: list[Series]) -> list[Series]:
    """Those of the study with the earliest date; all when a study has none."""
    found = true_days(person)
    if any(study(each) not in found for each in left):
        return left
    earliest = min(found[study(each)] for each in left)
    return [each for each in left if found[study(each)] == earliest]


def nearest(
    moments: dict[tuple[str, str], date], within: int
) -> Callable[[Person, list[Series]], list[Series]]:
    """Those of the study nearest to a date of the patient, if one is within so many days; a tie stays."""

    def prefer(person: Person, left: list[Series]) -> list[Series]:
        wanted = {moments[number] for number in person.true_numbers() if number in moments}
        found = true_days(person)
        if len(wanted) != 1 or any(study(each) not in found for each in left):
            return left
        target = day_of(f"{wanted.pop():%Y%m%d}") or 0
        gaps = {study(each): abs(found[study(each)] - int(target)) for each in left}
        if min(gaps.values()) > within:
            return left
        return [each for each in left if gaps[study(each)] == min(gaps.values())]

    return prefer
