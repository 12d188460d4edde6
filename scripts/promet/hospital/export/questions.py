"""What cannot be known from the files: the question, its choices, and the answers that were given.

An answer counts for the question whose candidates are the same, in whichever export. When a further one came the question
is asked again, and the old answer stands with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.files import write_text_if_changed
from promet.core.rows import read_table
from promet.hospital.export.files import Seen
from promet.hospital.keys import Book, Entry

TEXTS = {
    "ID_MISSING": "files without a PatientID",
    "ID_COLLECTIVE": "a PatientID that stands for nobody, or for many",
    "ID_TWO_PERSONS": "one PatientID with several names or birth dates",
    "ID_TWO_NUMBERS": "one name and birth date with several PatientIDs",
    "ID_STUDY_SHARED": "one study under several PatientIDs",
    "INSTANCE_TWICE": "an image that is there twice with different bytes",
    "PET_SEVERAL": "several PET series in one study could be meant",
    "STUDY_SEVERAL": "PET series of several studies could be meant",
    "PET_INCOMPLETE": "the PET has fewer whole images than it announces",
    "MASK_OTHER_FRAME": "the prostate was drawn in another frame of reference, on a series of this export",
    "MASK_DANGLING": "the prostate was drawn on a series that is not in the export",
    "MASK_SEVERAL": "several masks could be meant",
    "CT_SEVERAL": "several CT series could be meant",
    "DATE_MISSING": "the study of the PET has no date",
    "CHANGED_CHOICE": "other series would be taken now than those of the row",
    "ROW_GONE": "the row of this patient is no longer in the table",
    "PET_SPLIT": "each PET image has a SeriesInstanceUID of its own: nothing says that they are one series",
    "CT_INCOMPLETE": "the CT holds files that are cut",
    "MASK_INCOMPLETE": "the only mask is a file that is cut",
}


@dataclass
class Candidate:
    """One choice.

    Attributes:
        key: what it is, by UIDs or a word; kept in the key file with the answer.
        words: what it is, without a word of any header.
        value: what is done with it.
        files: for the hints that lie beside the key file.
    """

    key: str
    words: str
    value: Any = None
    files: list[Seen] = field(default_factory=list)


@dataclass
class Question:
    """A question, its choices numbered from 1.

    Attributes:
        patient: pseudonym, '' for whom there is none yet.
        of: the UIDs that make its id; of questions about identities those of all series.
        basis: of such a question what its answer depends on (numbers, names), so that another series changes nothing.
        numbers: (issuer, number) of those whom it is about.
        so_far: number of the choice that was taken before a further candidate came, or 0.
    """

    code: str
    patient: str
    candidates: list[Candidate]
    of: Iterable[str]
    basis: Iterable[str] = ()
    numbers: list[tuple[str, str]] = field(default_factory=list)
    so_far: int = 0

    @property
    def id(self) -> str:
        """Hash of the code and the UIDs."""
        return _hash(self.code, self.of)

    def line(self) -> list[str]:
        """Its cells in ambiguities.tsv."""
        choices = " | ".join(f"{number}: {c.words}" for number, c in enumerate(self.candidates, 1))
        text = TEXTS[self.code] + (f" (so far: {self.so_far})" if self.so_far else "")
        return [self.id, self.patient, self.code, text, choices]


def _hash(code: str, parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join([code, *sorted(set(parts))]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Answer:
    """What was chosen, as the key file holds it."""

    entry: Entry
    id: str
    number: int
    key: str
    basis: str


class Desk:
    """Asks: gives the choice that was made, or remembers that the question is open."""

    def __init__(self, book: Book, decisions: Mapping[str, tuple[int, str]]) -> None:
        self.open: list[Question] = []
        self.used: set[str] = set()
        self._book, self._decisions = book, decisions
        self._given = [found for entry in book.entries if (found := _answer(entry))]

    def ask(self, question: Question) -> Candidate | None:
        """The choice that was made, or None.

        Raises:
            UsageError: E_DECISION_CHOICE.
        """
        basis = _hash(question.code, question.basis) if question.basis else "-"
        keys = [candidate.key for candidate in question.candidates]
        if question.id in self._decisions:
            number, reason = self._decisions[question.id]
            self.used.add(question.id)
            if not 1 <= number <= len(keys):
                raise UsageError(
                    "E_DECISION_CHOICE",
                    f"The decision about {question.id} names choice {number}",
                    f"a number from 1 to {len(keys)}, as in the column choices of ambiguities.tsv",
                )
            self._keep(question, number, keys[number - 1], basis, reason)
        for answer in reversed(self._given):
            same = answer.id == question.id or (basis != "-" and answer.basis == basis)
            if same and answer.entry.state == question.code and answer.key in keys:
                return question.candidates[keys.index(answer.key)]
        self.open.append(replace(question, so_far=self._before(question, keys)))
        return None

    def _before(self, question: Question, keys: list[str]) -> int:
        """Number of the choice that was made among fewer candidates, or that the caller knows of."""
        for answer in reversed(self._given):
            whose = (answer.entry.issuer, answer.entry.patient_id)
            same = answer.entry.patient == question.patient if question.patient else whose in question.numbers
            if same and answer.entry.state == question.code and answer.key in keys:
                return keys.index(answer.key) + 1
        return question.so_far

    def _keep(self, question: Question, number: int, key: str, basis: str, reason: str) -> None:
        told = f"{question.id}={number} {key} {basis} {reason}".strip()
        if any(answer.entry.decided == told for answer in self._given):
            return
        for issuer, patient_id in question.numbers or [("", "")]:
            entry = Entry(question.patient, issuer, patient_id, state=question.code, decided=told)
            self._book.add(entry)
            self._given.append(Answer(entry, question.id, number, key, basis))


def _answer(entry: Entry) -> Answer | None:
    if entry.state not in TEXTS:
        return None
    mark, key, basis, *_ = [*entry.decided.split(" "), "", ""]
    identity, _, number = mark.partition("=")
    return Answer(entry, identity, int(number) if number.isdigit() else 0, key, basis)


def read_decisions(path: Path | None) -> dict[str, tuple[int, str]]:
    """id -> number of the choice and the reason.

    Raises:
        UsageError: E_DECISION_TABLE, E_DECISION_CHOICE, E_TABLE_*.
    """
    found: dict[str, tuple[int, str]] = {}
    for line, row in enumerate([] if path is None else _rows(path), 2):
        identity, choice = row.get("id", ""), row.get("choice", "")
        if not identity or not choice:
            continue
        if not choice.isdecimal():
            raise UsageError(
                "E_DECISION_CHOICE",
                f"A choice of the decisions, row {line}, is no number",
                "the number before the colon in the column choices of ambiguities.tsv",
            )
        value = (int(choice), row.get("reason", ""))
        if found.setdefault(identity, value)[0] != value[0]:
            raise UsageError(
                "E_DECISION_CHOICE", f"The decisions answer {identity} in two ways", "one line for each id"
            )
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UsageError(
            "E_DECISION_TABLE", "The decisions are not there", "a file with the columns id, choice, reason"
        )
    rows = read_table(path)
    if rows and not {"id", "choice"} <= rows[0].keys():
        raise UsageError(
            "E_DECISION_TABLE",
            "The decisions lack the column id or choice",
            "id, choice and reason, separated by tabs",
        )
    return rows


def write(questions: list[Question], table: Path, hints: Path) -> None:
    """ambiguities.tsv, without a word of any header, and beside the key file who and what each choice is."""
    ordered = sorted(questions, key=lambda question: (question.code, question.patient, question.id))
    lines = [["id", "patient", "code", "question", "choices"], *(question.line() for question in ordered)]
    write_text_if_changed(table, "".join("\t".join(line) + "\n" for line in lines))
    told = [
        [
            "id",
            "patient",
            "code",
            "choice",
            "issuer",
            "patient_id",
            "name",
            "birth_date",
            "study_date",
            "series",
            "file",
        ]
    ]
    for question in ordered:
        for number, candidate in enumerate(question.candidates, 1):
            for seen in _one_of_each(candidate.files):
                told.append([question.id, question.patient, question.code, str(number), *_hint(seen)])
    cells = ["\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in told]
    write_text_if_changed(hints, "".join(cells))
    hints.chmod(0o600)


def _one_of_each(files: list[Seen]) -> list[Seen]:
    kept: dict[str, Seen] = {}
    for seen in files:
        kept.setdefault(seen.get("SeriesInstanceUID", ""), seen)
    return list(kept.values())


def _hint(seen: Seen) -> list[str]:
    names = (
        "IssuerOfPatientID",
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "StudyDate",
        "SeriesDescription",
    )
    return [*(seen.true(name) for name in names), os_text(seen.path)]


def os_text(path: Path) -> str:
    """A path as text that can be written."""
    return str(path.absolute()).encode("utf-8", "replace").decode()
