"""``promet cohort from-dicom``: an export of many patients to rows, questions and lines of the key file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.rows import read_table
from promet.core.words import count
from promet.hospital import keys
from promet.hospital.export import choice, files, layout, questions
from promet.hospital.export.choice import Chooser, Chosen, Prefer
from promet.hospital.export.files import Export, Wanted
from promet.hospital.export.people import Person, persons
from promet.hospital.export.questions import Candidate, Desk, Question
from promet.hospital.keys import NAMED, ROW, Book, Entry
from promet.imaging.dicom.files import quiet
from promet.study import scans

AMBIGUITIES = "ambiguities.tsv"


@dataclass
class Asked:
    """What was typed.

    Attributes:
        export: the folder.
        key, out: key file and table.
        decisions: answers, if any.
        copy: files instead of links.
        prefer: how to choose between studies.
        folders: of the project, where no key may lie.
        prostate, lesions: names of structures.
    """

    export: Path
    key: Path
    out: Path
    decisions: Path | None = None
    copy: bool = False
    prefer: Prefer = field(default=lambda person, left: left)
    folders: tuple[Path, ...] = ()
    prostate: str = "(?i)prostate"
    lesions: str = "(?i)lesion"


@dataclass
class Done:
    """What came out: numbers, and the sentences for the terminal."""

    written: int = 0
    there: int = 0
    without_pet: int = 0
    open: int = 0
    sentences: list[str] = field(default_factory=list)


def from_dicom(asked: Asked) -> Done:
    """Append rows for the patients of an export to a table, lay links to their images beside it, and list what is open.

    Raises:
        UsageError: E_KEY_*, E_EXPORT_*, E_DECISION_*, E_COHORT_COLUMNS, E_TABLE_*.
    """
    quiet()
    base = asked.out.parent
    keys.require_place(asked.key, [base, *asked.folders])
    decisions = questions.read_decisions(asked.decisions)
    wanted = Wanted(asked.prostate, asked.lesions, files.a_secret(scans.secret()))
    with keys.opened(asked.key) as book:
        rows = layout.Rows(asked.out)
        export = files.read(asked.export, wanted, _beside(asked.key, "seen.json"), _progress())
        desk = Desk(book, decisions)
        run = _Run(asked, book, desk, rows, export)
        run.all(persons(export.seen, desk))
        questions.write(desk.open, base / AMBIGUITIES, _beside(asked.key, "questions.tsv"))
    done = run.done
    done.open = len(desk.open)
    done.sentences = _told(done, export, len(decisions.keys() - desk.used), asked)
    return done


def _beside(key: Path, name: str) -> Path:
    return key.with_name(f"{key.name}.{name}")


class _Run:
    def __init__(self, asked: Asked, book: Book, desk: Desk, rows: layout.Rows, export: Export) -> None:
        self.asked, self.book, self.desk, self.rows, self.export = asked, book, desk, rows, export
        self.done = Done(there=len(rows.rows))
        self._new: dict[str, Chosen] = {}
        self._of_row = keys.rows_of(book.entries)

    def all(self, people: list[Person]) -> None:
        for person in people:
            usable, split = choice.pets(person)
            if person.held:
                continue
            if not usable and not split:
                self.done.without_pet += 1
                continue
            self._one(person)
        base = self.rows.path.parent
        for name, chosen in self._new.items():
            layout.lay(base, name, chosen, self.asked.copy)
        self.rows.append({name: layout.cells(name, chosen) for name, chosen in self._new.items()})
        self.book.add(*(self._entry(name, chosen) for name, chosen in sorted(self._new.items())))
        self.done.written = len(self._new)

    def _one(self, person: Person) -> None:
        name = self._name(person)
        entry = self._of_row.get(name)
        there = name in self.rows.rows
        if entry is not None and not there and self.rows.exists:
            choices = [Candidate(choice.OUT, "it stays out"), Candidate(choice.TAKE, "write it again")]
            found = self.desk.ask(Question("ROW_GONE", name, choices, [entry.pet_uid]))
            if found is None or found.key == choice.OUT:
                return
        held = (entry.pet_uid, entry.study_uid) if there and entry is not None else ("", "")
        chooser = Chooser(person, name, self.desk, self.export.stumps, self.asked.prefer, held)
        chosen = chooser.choose()
        if chosen.open:
            return
        if not there:
            self._new[name] = chosen
        elif entry is None:
            if self._is_ours(name, chosen):  # written before a kill
                self.book.add(self._entry(name, chosen))
        else:
            self._compare(name, entry, chosen)

    def _compare(self, name: str, entry: Entry, chosen: Chosen) -> None:
        """Leave a row as it is, unless an answer says otherwise; ask where a rule would choose otherwise now."""
        base = self.rows.path.parent
        there = layout.laid(base, name)
        _, row = self.rows.rows[name]
        before = {part: self._instance(base, row[part]) for part in ("prostate", "lesions")}
        now = {
            "pet": choice.true_uid(chosen.pet) != entry.pet_uid
            or len(chosen.pet) != len(there.get("PT", [])),
            "ct": (choice.true_uid(chosen.ct) if chosen.ct else "") != entry.ct_uid
            or len(chosen.ct) != len(there.get("CT", [])),
            "prostate": (chosen.prostate.true("SOPInstanceUID") if chosen.prostate else "")
            != before["prostate"],
            "lesions": (chosen.lesions.true("SOPInstanceUID") if chosen.lesions else "") != before["lesions"],
        }
        changed = {part for part, other in now.items() if other}
        open_now = {q.code for q in self.desk.open if q.patient == name}
        if open_now & {"MASK_SEVERAL", "MASK_OTHER_FRAME", "MASK_DANGLING", "MASK_INCOMPLETE"}:
            changed -= {"prostate", "lesions", "ct"}
        if open_now & {"CT_SEVERAL", "CT_INCOMPLETE", "INSTANCE_TWICE"}:
            changed -= {"ct"}
        if "INSTANCE_TWICE" in open_now:
            changed -= {"prostate", "lesions"}
        if not changed:
            return
        if not changed <= chosen.answered:
            words = ", ".join(
                _of_part(part, chosen) for part in ("pet", "ct", "prostate", "lesions") if part in changed
            )
            new = Candidate("+".join(sorted(_uids(chosen))), f"as it would be now: {words}", files=chosen.pet)
            as_it_is = Candidate(choice.KEEP, "as it is")
            found = self.desk.ask(
                Question("CHANGED_CHOICE", name, [as_it_is, new], [entry.pet_uid, *_uids(chosen)])
            )
            if found is None or found.key == choice.KEEP:
                return
        layout.lay(base, name, chosen, self.asked.copy)
        self.rows.fill({name: layout.cells(name, chosen)})
        self.book.add(self._entry(name, chosen))

    def _is_ours(self, name: str, chosen: Chosen) -> bool:
        """Whether a row, of which the key file holds no line, names the images that were laid for it."""
        there = layout.laid(self.rows.path.parent, name).get("PT", [])
        same = self.rows.rows[name][1]["pet"] == layout.cells(name, chosen)["pet"] and len(there) == len(
            chosen.pet
        )
        return same and layout.instance(there[0]) in {seen.true("SOPInstanceUID") for seen in chosen.pet}

    def _instance(self, base: Path, cell: str) -> str:
        return layout.instance(base / cell) if cell else ""

    def _entry(self, name: str, chosen: Chosen) -> Entry:
        first = chosen.pet[0]
        issuer, number = first.true("IssuerOfPatientID"), first.true("PatientID")
        study, pet = first.true("StudyInstanceUID"), first.true("SeriesInstanceUID")
        return Entry(name, issuer, number, study, pet, choice.true_uid(chosen.ct) if chosen.ct else "", ROW)

    def _name(self, person: Person) -> str:
        """The pseudonym in the key file, or a new one."""
        numbers = person.true_numbers()
        mine = [
            e for e in self.book.entries if e.state in (NAMED, ROW) and (e.issuer, e.patient_id) in numbers
        ]
        if person.part:
            studies = {seen.get("StudyInstanceUID"): seen for seen in person.files}
            true = {seen.true("StudyInstanceUID") for seen in studies.values()}
            mine = [e for e in mine if e.study_uid in true]
        names = list(dict.fromkeys(e.patient for e in mine))
        with_row = [name for name in names if name in self.rows.rows]
        if names:
            return (with_row or names)[0]
        name = self.book.new_name()
        study = choice.pets(person)[0]
        uid = study[0][0].true("StudyInstanceUID") if person.part and study else ""
        self.book.add(*(Entry(name, issuer, number, uid, state=NAMED) for issuer, number in numbers))
        return name


def _of_part(part: str, chosen: Chosen) -> str:
    if part in ("pet", "ct"):
        found = chosen.pet if part == "pet" else chosen.ct
        return f"{part} {choice.described(found)}" if found else f"no {part}"
    mask = chosen.prostate if part == "prostate" else chosen.lesions
    return f"{part} by {mask.kind}" if mask is not None else f"no {part}"


def _uids(chosen: Chosen) -> list[str]:
    masks = [mask.true("SOPInstanceUID") for mask in (chosen.prostate, chosen.lesions) if mask is not None]
    images = [f"{choice.true_uid(each)}x{len(each)}" for each in (chosen.pet, chosen.ct) if each]
    return [*images, *masks]


def _told(done: Done, export: Export, unused: int, asked: Asked) -> list[str]:
    counts = export.counts
    left = [
        f"{count(counts[kind], 'file')} {what}"
        for kind, what in (
            ("others", "of other kinds or no DICOM"),
            ("broken", "cut beyond use or empty"),
            ("unfinished", "still arriving (promet pacs get)"),
        )
        if counts[kind]
    ]
    told = [
        f"{count(counts['files'], 'file')} looked at" + (f": {', '.join(left)}" if left else ""),
        f"{count(done.written, 'row')} added to {asked.out.name}, {done.there} there before",
    ]
    if done.without_pet:
        told.append(f"{count(done.without_pet, 'patient')} without a PET series that can be used")
    if unused:
        told.append(f"{count(unused, 'decision')} answered no question of this export")
    if done.open:
        told.append(
            f"{count(done.open, 'question')} open, in {AMBIGUITIES}; who they are about stands beside the key file. Write id, "
            "choice and reason into a table, and give it back with --decide"
        )
    return told


def _progress() -> Callable[[int, int], None]:
    """A line on a terminal; nothing in a log."""
    if not sys.stderr.isatty():
        return lambda done, of: None
    began, last = time.monotonic(), [0.0]

    def show(done: int, of: int) -> None:
        now = time.monotonic()
        if now - last[0] < 0.1 and done < of:
            return
        last[0] = now
        left = (now - began) / done * (of - done)
        bar = "#" * (30 * done // of)
        print(
            f"\r[{bar:<30}] {done} of {of} files, {left:.0f} s left ",
            end="\n" if done == of else "",
            file=sys.stderr,
        )

    return show


def moments(spec: str) -> dict[tuple[str, str], date]:
    """``TABLE:COLUMN`` -> date of each (issuer, number); the table has the column patient_id, and issuer if there are several.

    Raises:
        UsageError: E_NEAREST_TABLE.
    """
    path, _, column = spec.rpartition(":")
    try:
        with open(path, "rb") as handle:
            head = handle.readline()
        rows = read_table(path, "\t" if b"\t" in head else ",")
        return {
            (row.get("issuer", ""), row["patient_id"]): date.fromisoformat(row[column])
            for row in rows
            if row[column]
        }
    except (OSError, KeyError, ValueError):
        raise UsageError(
            "E_NEAREST_TABLE",
            "The table of dates cannot be read",
            "TABLE:COLUMN, a table with the column patient_id and dates as 2020-12-31 in that column",
            "Check --nearest; let it lie beside the key file",
        ) from None


def folders_of(*names: str) -> tuple[Path, ...]:
    """Folders of the project, as the configuration names them."""
    return tuple(Path(os.path.realpath(name)) for name in names)


def fill(export: Path, key: Path, out: Path) -> int:
    """``from_dicom`` with nothing chosen, said on the terminal; the exit code."""
    return say(from_dicom(Asked(export, key, out)))


def say(done: Done) -> int:
    """Print what came out; the exit code of the command."""
    for sentence in done.sentences:
        print(sentence)
    return EXIT_REFUSED if done.open else EXIT_OK
