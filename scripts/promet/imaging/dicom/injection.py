"""Which of the radiopharmaceuticals that a header describes the image shows."""

from __future__ import annotations

from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.imaging.dicom.clock import DAY, Moment, day_of, moment_of, second_of
from promet.imaging.dicom.files import Header


def injections(head: Header) -> list[Header]:
    """The items of RadiopharmaceuticalInformationSequence that the image may show, those that say the same once.

    When RadiopharmaceuticalUsageSequence names an agent by its number, only that one.
    """
    items = [Header(item) for item in _sequence(head, "RadiopharmaceuticalInformationSequence")]
    items = [item for item in items if any(part is not None for part in _said(item))] or items[:1]
    used = {_agent(Header(item)) for item in _sequence(head, "RadiopharmaceuticalUsageSequence")} - {None}
    if used and any(_agent(item) is not None for item in items):
        items = [item for item in items if _agent(item) in used]
    return list({_said(item): item for item in items}.values())


def injection(head: Header) -> Header:
    """The one of ``injections``; empty when the header describes none.

    Raises:
        DataError: E_PET_TWO_INJECTIONS when they differ and none is named, E_PET_AGENT when the named one is not there.
    """
    items = injections(head)
    if len(items) > 1:
        raise DataError(
            "E_PET_TWO_INJECTIONS",
            f"RadiopharmaceuticalInformationSequence holds {len(items)} injections that differ, and nothing says which one "
            "the image shows",
            "one injection, or the number of the agent in RadiopharmaceuticalUsageSequence",
            "Export again or give the PET in SUV",
        )
    if not items and _sequence(head, "RadiopharmaceuticalInformationSequence"):
        raise DataError(
            "E_PET_AGENT",
            "RadiopharmaceuticalUsageSequence names an agent that RadiopharmaceuticalInformationSequence does not hold",
            "the agent that the image shows",
            "Export again or give the PET in SUV",
        )
    return items[0] if items else Header()


def start_of(item: Header) -> tuple[Moment | None, float | None]:
    """When an item was injected: date and time, and RadiopharmaceuticalStartTime in s; a date without an hour has it from there."""
    text, second = (
        item.text("RadiopharmaceuticalStartDateTime"),
        second_of(item.text("RadiopharmaceuticalStartTime")),
    )
    day = day_of(text)
    if day is not None and second is not None:
        return Moment(day * DAY + second), second
    return moment_of(text), second


def _sequence(head: Header, keyword: str) -> list[Dataset]:
    return [item for item in head.raw(keyword) or () if isinstance(item, Dataset)]


def _agent(item: Header) -> float | None:
    return item.number("RadiopharmaceuticalAgentNumber")


def _said(item: Header) -> tuple:
    """What of an item bears on SUV."""
    code = item.first("RadionuclideCodeSequence") or Header()
    return (
        item.number("RadionuclideTotalDose"),
        item.number("RadionuclideHalfLife"),
        *start_of(item),
        code.text("CodeValue"),
        code.text("CodeMeaning"),
        item.text("Radiopharmaceutical"),
    )
