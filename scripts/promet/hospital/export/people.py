"""Who is a patient: one issuer and number, unless something speaks against it; then it is asked, never guessed by a name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from promet.hospital.export.files import Seen
from promet.hospital.export.questions import Candidate, Desk, Question

T = TypeVar("T")
BIRTHS = 5  # a number with more birth dates stands for many
ONE, EACH, OUT, JOIN = "one", "each", "out", "join"


@dataclass
class Person:
    """Files that belong together.

    Attributes:
        files: what there is of the patient.
        part: True when the number alone does not tell who it is, but the study does.
        held: something is asked that has to be known first.
    """

    files: list[Seen]
    part: bool = False
    held: bool = False
    apart: set[int] = field(default_factory=set)  # of these (by id) it is known that they are others

    @property
    def numbers(self) -> set[tuple[str, str]]:
        """Hashes of issuer and number."""
        return {_number(seen) for seen in self.files}

    @property
    def studies(self) -> set[str]:
        """Hashes of the StudyInstanceUIDs."""
        return studies(self.files)

    def true_numbers(self) -> list[tuple[str, str]]:
        """Issuer and number as they stand in the files."""
        one = {_number(seen): seen for seen in self.files if not seen.get("joined")}
        return sorted((seen.true("IssuerOfPatientID"), seen.true("PatientID")) for seen in one.values())


def studies(files: Iterable[Seen]) -> set[str]:
    """Hashes of the StudyInstanceUIDs."""
    return {seen.get("StudyInstanceUID", "") for seen in files} - {""}


def _number(seen: Seen) -> tuple[str, str]:
    return seen.get("IssuerOfPatientID", ""), seen.get("PatientID", "")


def persons(files: list[Seen], desk: Desk) -> list[Person]:
    """All patients of an export; those who are ``held`` get no row for now."""
    numbered: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    nameless: list[Seen] = []
    for seen in files:
        (numbered[_number(seen)] if seen.get("PatientID") else nameless).append(seen)
    _issuers(numbered)
    found: list[Person] = []
    for number in sorted(numbered):
        found += _of_number(numbered[number], desk)
    # One study under several numbers first: who were merged also have one name.
    found = _together("ID_STUDY_SHARED", found, desk, lambda person: person.studies, held=True)
    found = _together("ID_TWO_NUMBERS", found, desk, lambda person: _full_names(person.files))
    return found + _without_number(nameless, found, desk)


def _issuers(numbered: dict[tuple[str, str], list[Seen]]) -> None:
    """Files without an issuer go to the one patient of their number who has their study: programs leave the issuer out."""
    for issuer, number in [key for key in numbered if not key[0]]:
        others = [key for key in numbered if key[0] and key[1] == number]
        rest = []
        for seen in numbered[issuer, number]:
            fit = [key for key in others if seen.get("StudyInstanceUID", "") in studies(numbered[key])]
            if len(fit) == 1:
                seen.values = {**seen.values, "IssuerOfPatientID": fit[0][0], "joined": 1}
                numbered[fit[0]].append(seen)
            else:
                rest.append(seen)
        numbered[issuer, number] = rest
        if not rest:
            del numbered[issuer, number]


def _of_number(files: list[Seen], desk: Desk) -> list[Person]:
    births = {seen.get("PatientBirthDate") for seen in files} - {None}
    if files[0].get("number") or len(births) > BIRTHS:
        return _ask("ID_COLLECTIVE", [Person(each, part=True) for each in _examinations(files)], desk)
    classes = _classes(files)
    if len(classes) > 1:
        return _ask("ID_TWO_PERSONS", [Person(each, part=True) for each in classes], desk)
    return [Person(files)]


def _without_number(files: list[Seen], others: list[Person], desk: Desk) -> list[Person]:
    found: list[Person] = []
    for each in _examinations(files):
        whose = [person for person in others if person.studies & studies(each)]
        if not whose and not any(seen.kind == "PT" for seen in each):
            continue
        person = Person(each, part=True)
        choices = [Candidate(ONE, f"a patient of their own ({_told(each)})", files=each)]
        if len(whose) == 1:
            words = f"they belong to the patient under whose PatientID the study is too ({_told(each)})"
            choices.insert(0, Candidate(JOIN, words, files=each))
        choices.append(Candidate(OUT, "leave them out"))
        answer = desk.ask(_question("ID_MISSING", [person], choices))
        if answer is None:
            person.held = True
            found.append(person)
        elif answer.key == JOIN:
            whose[0].files = [*whose[0].files, *each]
        elif answer.key == ONE:
            found.append(person)
    return found


def _together(
    code: str, found: list[Person], desk: Desk, shared: Callable[[Person], set], held: bool = False
) -> list[Person]:
    """Ask about those who share something; ``held``: also who shares it with somebody who is asked about has to wait."""
    result = []
    groups = _groups([(person, shared(person)) for person in found if held or not person.held])
    done = {id(person) for group in groups for person in group}
    result += [person for person in found if id(person) not in done]
    for group in groups:
        known = all(id(b) in a.apart or id(a) in b.apart for k, a in enumerate(group) for b in group[k + 1 :])
        if known:
            result += group
        elif any(person.held for person in group):
            for person in group:
                person.held = True
            result += group
        elif not any(seen.kind == "PT" for person in group for seen in person.files):
            result += group
        else:
            result += _ask(code, group, desk)
    return result


def _ask(code: str, pieces: list[Person], desk: Desk) -> list[Person]:
    """Are these one patient, as many as there are pieces, or nobody?"""
    every = [seen for piece in pieces for seen in piece.files]
    if not any(seen.kind == "PT" for seen in every):
        return pieces
    one = Candidate(ONE, f"one patient ({_told(every)})", files=every)
    if len(pieces) == 1:
        choices = [one]
    else:
        told = "; ".join(_told(piece.files) for piece in pieces)
        choices = [one, Candidate(EACH, f"{len(pieces)} patients ({told})", files=every)]
    answer = desk.ask(_question(code, pieces, [*choices, Candidate(OUT, "leave out")]))
    if answer is None:
        for piece in pieces:
            piece.held = True
        return pieces
    if answer.key == OUT:
        return []
    if answer.key == ONE:
        return [Person(every, part=code in ("ID_COLLECTIVE", "ID_MISSING"))]
    for piece in pieces:
        piece.apart |= {id(other) for other in pieces if other is not piece}
    return pieces


def _question(code: str, pieces: list[Person], choices: list[Candidate]) -> Question:
    series = {seen.get("SeriesInstanceUID", ""): seen for piece in pieces for seen in piece.files}
    numbers = sorted({number for piece in pieces for number in piece.true_numbers()})
    if code in ("ID_MISSING", "ID_COLLECTIVE"):
        one = {seen.get("StudyInstanceUID", ""): seen for piece in pieces for seen in piece.files}
        basis = [seen.true("StudyInstanceUID") for seen in one.values()]
    elif code == "ID_TWO_PERSONS":
        named = {_pair(seen): seen for piece in pieces for seen in piece.files}
        basis = [f"{n.true('PatientName')}|{n.true('PatientBirthDate')}" for n in named.values()]
    else:
        basis = []
    basis += [f"{issuer}|{number}" for issuer, number in numbers]
    return Question(
        code, "", choices, [seen.true("SeriesInstanceUID") for seen in series.values()], basis, numbers
    )


def _told(files: list[Seen]) -> str:
    kinds = Counter(seen.kind for seen in files)
    return ", ".join(f"{kinds[kind]} {kind}" for kind in ("PT", "CT", "RTSTRUCT", "SEG") if kinds[kind])


def _pair(seen: Seen) -> tuple[str, str]:
    return seen.get("PatientName", ""), seen.get("PatientBirthDate", "")


def _full_names(files: list[Seen]) -> set[tuple[str, str]]:
    return {pair for pair in map(_pair, files) if all(pair)}


def _classes(files: list[Seen]) -> list[list[Seen]]:
    """Files by name and birth date; one that lacks either goes where it fits, or with its study."""
    pairs = {_pair(seen) for seen in files} - {("", "")}
    whole = sorted(pair for pair in pairs if all(pair))
    where: dict[tuple[str, str], tuple[str, str]] = {pair: pair for pair in whole}
    for pair in sorted(pairs - set(whole)):
        fit = [one for one in whole if all(a == b or not a for a, b in zip(pair, one, strict=True))]
        if len(fit) == 1:
            where[pair] = fit[0]
        elif not fit:
            where[pair] = pair
    names = set(where.values())
    if len(names) < 2:
        return [files]
    classes: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    rest = []
    for seen in files:
        if _pair(seen) in where:
            classes[where[_pair(seen)]].append(seen)
        else:
            rest.append(seen)
    for seen in rest:
        fit_study = [each for each in classes.values() if seen.get("StudyInstanceUID") in studies(each)]
        if len(fit_study) == 1:
            fit_study[0].append(seen)
    return [classes[name] for name in sorted(classes)]


def _examinations(files: list[Seen]) -> list[list[Seen]]:
    """Files that a study, a frame of reference or a reference joins."""

    def ties(seen: Seen) -> set[str]:
        own = {
            seen.get(name, "") for name in ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")
        }
        return (own | {*seen.get("frames", ()), *seen.get("series_of", ())}) - {""}

    grouped = _groups([(seen, ties(seen)) for seen in files], alone=True)
    return sorted(grouped, key=lambda each: min(seen.get("SeriesInstanceUID", "") for seen in each))


def _groups(items: list[tuple[T, set]], alone: bool = False) -> list[list[T]]:
    """Items that share something, directly or over others; ``alone``: also those that share nothing."""
    above = list(range(len(items)))

    def root(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    first: dict[Hashable, int] = {}
    for place, (_, ties) in enumerate(items):
        for tie in ties:
            above[root(place)] = root(first.setdefault(tie, place))
    found: dict[int, list[T]] = defaultdict(list)
    for place, (item, _) in enumerate(items):
        found[root(place)].append(item)
    return [group for group in found.values() if alone or len(group) > 1]
