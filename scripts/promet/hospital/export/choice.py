"""Of one patient's series: which PET, which mask, which CT.

In this order: frame of reference, reference, study; a date only where it is asked for. What is left is a question.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from pydicom.dataset import Dataset

from promet.hospital.export.dates import days
from promet.hospital.export.files import MASKS, Seen, Series, study
from promet.hospital.export.people import Person
from promet.hospital.export.questions import Candidate, Desk, Question
from promet.imaging.dicom import series

TAKE, KEEP, OUT = "take", "keep", "out"
Prefer = Callable[[Person, list[Series]], list[Series]]


@dataclass
class Chosen:
    """What of a patient goes into the row.

    Attributes:
        pet, ct: files, one for each image.
        prostate, lesions: the file of the mask.
        answered: of pet, ct, prostate and lesions those that an answer decided and no rule.
        open: a question about the PET is open, or the row stays as it is.
    """

    pet: Series = field(default_factory=list)
    ct: Series = field(default_factory=list)
    prostate: Seen | None = None
    lesions: Seen | None = None
    answered: set[str] = field(default_factory=set)
    open: bool = False


class Chooser:
    """Chooses for one patient.

    Args:
        person: the patient.
        patient: pseudonym.
        desk: answers.
        stumps: hash of a SOPInstanceUID -> files that are cut so early that nothing else is known of them.
        prefer: narrows PET series of several studies, if the user asked for that.
        held: SeriesInstanceUID and StudyInstanceUID of the PET of the row, if there is one.
    """

    def __init__(
        self,
        person: Person,
        patient: str,
        desk: Desk,
        stumps: dict[str, list[Seen]],
        prefer: Prefer,
        held: tuple[str, str] = ("", ""),
    ) -> None:
        self.person, self.patient, self.desk = person, patient, desk
        self._stumps, self._prefer, self._held = stumps, prefer, held
        self._days = days(person)
        self.chosen = Chosen()

    def choose(self) -> Chosen:
        """All that can be known; questions about the rest are with the desk."""
        pet = self._pet()
        if pet is None or not (whole := self._whole(pet, "pet")):
            self.chosen.open = True
            return self.chosen
        self.chosen.pet = whole
        if not pet[0].get("StudyDate"):
            self._ask("DATE_MISSING", [Candidate(TAKE, "there is none", files=pet)], [true_uid(pet)])
        self._masks()
        self._ct()
        return self.chosen

    def _ask(
        self, code: str, candidates: list[Candidate], of: Iterable[str], so_far: int = 0
    ) -> Candidate | None:
        return self.desk.ask(Question(code, self.patient, candidates, of, so_far=so_far))

    def _pet(self) -> Series | None:
        usable, split = pets(self.person)
        left = self._prefer(self.person, usable) if len({study(each) for each in usable}) > 1 else usable
        if not left and split and not self._held[0]:
            self._ask("PET_SPLIT", [Candidate(OUT, "leave the patient out", files=split)], [true_uid(split)])
        choices = sorted((self._candidate(each) for each in left), key=lambda c: c.key)
        choices.sort(key=lambda c: (self._day(c.files), -series.images_in(_sets(c.files))))
        held = next((c for c in choices if c.key == self._held[0]), None)
        if not choices or (len(choices) == 1 and (held or not self._held[0])):
            return choices[0].value if choices else None
        if self._held[0] and held is None:
            mine = [each for each in _series(self.person, "PT") if true_uid(each) == self._held[0]]
            held = (
                self._candidate(mine[0])
                if mine
                else Candidate(self._held[0], "the PET of the row, not in this export")
            )
            choices.insert(0, held)
            if len(choices) == 2 and mine and study(mine[0]) == study(choices[1].files):
                held.words = f"as it is: {held.words}"
                return self._answered("CHANGED_CHOICE", choices, held)
        studies = {study(c.files) if c.files else "" for c in choices}
        if (
            held
            and not held.files
            and any(c.files[0].true("StudyInstanceUID") == self._held[1] for c in choices[1:])
        ):
            studies -= {""}
        return self._answered("STUDY_SEVERAL" if len(studies) > 1 else "PET_SEVERAL", choices, held)

    def _answered(self, code: str, choices: list[Candidate], held: Candidate | None) -> Series | None:
        found = self._ask(
            code, choices, [c.key for c in choices], choices.index(held) + 1 if held in choices else 0
        )
        if found is not None and found is not held:
            self.chosen.answered.add("pet")
        return None if found is None else found.value

    def _candidate(self, each: Series) -> Candidate:
        corrected = "AC" if any(series.is_corrected(cast(Dataset, seen)) for seen in each) else "not AC"
        return Candidate(true_uid(each), f"{described(each)}, {corrected}, {self._told(each)}", each, each)

    def _day(self, each: Series) -> float:
        found = self._days.get(study(each)) if each else None
        return float("inf") if found is None else found

    def _told(self, each: Series) -> str:
        found = self._days.get(study(each))
        return "without a date" if found is None else f"day {found}"

    def _whole(self, each: Series, part: str) -> Series:
        """One whole file for each image; empty when that is a question."""
        files = self._once(each, part)
        whole = [seen for seen in files if seen.get("whole")]
        announced = max((int(seen.get("NumberOfSlices", 0)) for seen in files if part == "pet"), default=0)
        there, expected = series.images_in(_sets(whole)), max(announced, series.images_in(_sets(files)))
        if not files or there >= expected:
            return files
        nothing = "leave the patient out" if part == "pet" else "none"
        choices = [Candidate(OUT, nothing, [])]
        if there:
            choices.insert(
                0, Candidate(f"{TAKE}{there}", f"take its {there} of {expected} images", whole, each)
            )
        code = {"pet": "PET_INCOMPLETE", "ct": "CT_INCOMPLETE"}.get(part, "MASK_INCOMPLETE")
        found = self._ask(code, choices, [true_uid(each), str(there)])
        self.chosen.answered |= {part} if found else set()
        return found.value if found else []

    def _once(self, each: Series, part: str) -> Series:
        """One file for each image: of copies any; of files of one identity and different bytes those that are decided."""
        groups: dict[str, list[Seen]] = defaultdict(list)
        for place, seen in enumerate(each):
            groups[seen.get("SOPInstanceUID", str(place))].append(seen)
        for instance in groups:
            groups[instance] += self._stumps.get(instance, [])
        twice: dict[str, list[Seen]] = {}
        for instance, files in groups.items():
            if len(files) > 1:
                different = {seen.bytes(): seen for seen in reversed(files)}
                groups[instance] = list(different.values())
                if len(different) > 1:
                    twice[instance] = groups[instance]
        once = {instance: files[0] for instance, files in groups.items()}
        if twice:
            found = self._ask("INSTANCE_TWICE", _variants(twice), [true_uid(each), *_instances(twice)])
            if found is None or found.key == OUT:
                return []
            self.chosen.answered.add(part)
            once |= found.value
        return sorted(once.values(), key=_place)

    def _masks(self) -> None:
        pet = self.chosen.pet
        fitting = [seen for seen in _unique(self.person.files) if seen.get("prostate")]
        within = [seen for seen in fitting if self._in_frame(seen, pet)]
        known = True
        if within:
            self.chosen.prostate, known = self._mask(within, "prostate")
        elif fitting:
            known = self._elsewhere(fitting)
        if not known:
            return
        mask = self.chosen.prostate
        if mask is not None and mask.get("lesions"):
            self.chosen.lesions = mask
            self.chosen.answered |= {"lesions"} if "prostate" in self.chosen.answered else set()
            return
        others = [
            seen for seen in _unique(self.person.files) if seen.get("lesions") and not seen.get("prostate")
        ]
        if others := [seen for seen in others if self._in_frame(seen, pet)]:
            self.chosen.lesions, _ = self._mask(others, "lesions")

    def _mask(self, found: list[Seen], part: str) -> tuple[Seen | None, bool]:
        """The mask, and whether it is known which."""
        by_instance: dict[str, Series] = defaultdict(list)
        for seen in found:
            by_instance[seen.get("SOPInstanceUID", "")].append(seen)
        masks = list(by_instance.values())
        if len(masks) > 1:
            choices = [self._mask_candidate(each) for each in masks]
            choices.sort(key=lambda c: (self._day(c.files), c.key))
            choices.append(Candidate(OUT, "none of them"))
            answer = self._ask("MASK_SEVERAL", choices, [part, *(c.key for c in choices)])
            if answer is None:
                return None, False
            self.chosen.answered.add(part)
            if answer.key == OUT:
                return None, True
            masks = [answer.files]
        files = self._whole(masks[0], part)
        return (files[0], True) if files else (None, False)

    def _mask_candidate(self, each: Series) -> Candidate:
        seen = each[0]
        words = f"{seen.kind} of {seen.get('structures', 0)} structures"
        words += ", lesions among them" if seen.get("lesions") else ""
        return Candidate(seen.true("SOPInstanceUID"), f"{words}, {self._told(each)}", each, each)

    def _elsewhere(self, fitting: list[Seen]) -> bool:
        """Ask about masks that do not lie in the frame of the PET; whether it is answered."""
        images = [seen for seen in self.person.files if seen.kind in ("PT", "CT")]
        there = {
            seen.get(name)
            for seen in images
            for name in ("SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
        }
        here = any(
            there & {*seen.get("series_of", ()), *seen.get("images_of", ()), *seen.get("frames", ())}
            for seen in fitting
        )
        choices = [
            Candidate(
                OUT, f"no mask ({', '.join(self._mask_candidate([s]).words for s in fitting)})", files=fitting
            )
        ]
        loose = [seen for seen in fitting if not seen.get("frames")]
        if len(fitting) == 1 and loose and not here:
            choices.append(Candidate(TAKE, "it was drawn in the same scan: take it", files=fitting))
        of = [seen.true("SOPInstanceUID") for seen in fitting]
        found = self._ask("MASK_OTHER_FRAME" if here else "MASK_DANGLING", choices, of)
        if found is not None and found.key == TAKE:
            self.chosen.prostate = loose[0]
            self.chosen.answered.add("prostate")
        return found is not None

    def _in_frame(self, mask: Seen, pet: Series) -> bool:
        if pet[0].get("SeriesInstanceUID") in mask.get("series_of", ()):
            return True
        if {seen.get("SOPInstanceUID") for seen in pet} & set(mask.get("images_of", ())):
            return True
        frames = set(mask.get("frames", ()))
        if not frames:
            drawn = {*mask.get("series_of", ()), *mask.get("images_of", ())}
            frames = {
                seen.get("FrameOfReferenceUID")
                for seen in self.person.files
                if seen.kind in ("PT", "CT")
                and {seen.get("SeriesInstanceUID"), seen.get("SOPInstanceUID")} & drawn
            } - {None}
        return pet[0].get("FrameOfReferenceUID") in frames

    def _ct(self) -> None:
        pet, mask = self.chosen.pet, self.chosen.prostate
        frame = pet[0].get("FrameOfReferenceUID")
        left = [each for each in _series(self.person, "CT") if frame and _is_volume(each, frame)]
        left = [each for each in left if study(each) == study(pet)] or left
        if len(left) > 1 and mask is not None:
            drawn = {*mask.get("series_of", ()), *mask.get("images_of", ())}
            left = [each for each in left if drawn & {each[0].get("SeriesInstanceUID"), *_uids(each)}] or left
        if len(left) > 1:
            if any(q.patient == self.patient and q.code.startswith("MASK") for q in self.desk.open):
                return  # the mask may tell which
            choices = [
                Candidate(true_uid(each), f"{described(each)}, {self._told(each)}", each, each)
                for each in left
            ]
            choices.sort(key=lambda c: (self._day(c.files), -series.images_in(_sets(c.files)), c.key))
            answer = self._ask("CT_SEVERAL", [*choices, Candidate(OUT, "none")], [c.key for c in choices])
            if answer is None or answer.key == OUT:
                return
            self.chosen.answered.add("ct")
            left = [answer.value]
        if left:
            self.chosen.ct = self._whole(left[0], "ct")


def pets(person: Person) -> tuple[list[Series], Series]:
    """The PET series that could be meant, narrowed within each study, and one that an anonymiser took apart."""
    by_study: dict[str, list[tuple[int, Series]]] = defaultdict(list)
    split: Series = []
    for number, each in enumerate(_series(person, "PT")):
        images = cast(Series, series.pet_of(_sets(each)))
        if not images or series.images_in(_sets(images)) < 3:
            continue
        if series.is_split(_sets(images)):
            split = images
        else:
            by_study[study(images)].append((number, images))
    left = [each for found in by_study.values() for _, each in series.narrow(cast(list, found))]
    return cast(list[Series], left), split


def _series(person: Person, kind: str) -> list[Series]:
    return cast(list[Series], series.grouped(_sets([seen for seen in person.files if seen.kind == kind])))


def _sets(files: Series) -> list[Dataset]:
    """To the functions that judge series what was seen of a file is its header."""
    return cast(list[Dataset], files)


def _is_volume(each: Series, frame: str) -> bool:
    kinds = {kind for seen in each for kind in seen.get("ImageType", ())}
    return (
        each[0].get("FrameOfReferenceUID") == frame
        and not kinds & series.PROJECTIONS
        and series.images_in(_sets(each)) > 2
        and not series.is_split(_sets(each))
    )


def true_uid(each: Series) -> str:
    """SeriesInstanceUID of a series."""
    return each[0].true("SeriesInstanceUID")


def described(each: Series) -> str:
    """Images and matrix of a series."""
    size = [int(each[0].get(name, 0)) for name in ("Columns", "Rows")]
    return f"{series.images_in(_sets(each))} images of {size[0]}x{size[1]}"


def _uids(each: Series) -> set[str]:
    return {seen.get("SOPInstanceUID", "") for seen in each}


def _unique(files: Series) -> Series:
    return [seen for seen in files if seen.kind in MASKS]


def _place(seen: Seen) -> tuple:
    return tuple(reversed(seen.get("ImagePositionPatient", ()))), seen.get("SOPInstanceUID", "")


def _instances(twice: dict[str, list[Seen]]) -> list[str]:
    return [
        next(f.true("SOPInstanceUID") for f in files if "Modality" in f.values) for files in twice.values()
    ]


def _variants(twice: dict[str, list[Seen]]) -> list[Candidate]:
    """The ways to take one of each doubled image: by whole or cut, by size, by folder, a single one by its bytes."""
    out = Candidate(OUT, "leave the series out")
    tells = [lambda s: s.get("whole", 0), lambda s: s.size, lambda s: s.path.parent, Seen.bytes]
    for tell in tells if len(twice) == 1 else tells[:3]:
        kinds = [{tell(seen): seen for seen in files} for files in twice.values()]
        same = all(set(kind) == set(kinds[0]) for kind in kinds)
        if same and all(len(kind) == len(files) for kind, files in zip(kinds, twice.values(), strict=True)):
            found = []
            for label in kinds[0]:
                chosen = {instance: kind[label] for instance, kind in zip(twice, kinds, strict=True)}
                if all(seen.get("whole") for seen in chosen.values()):
                    digest = hashlib.sha256("".join(sorted(s.bytes() for s in chosen.values())).encode())
                    first = next(iter(chosen.values()))
                    words = f"of {len(chosen)} {'image' if len(chosen) == 1 else 'images'} the whole file of {first.size} bytes"
                    found.append(Candidate(digest.hexdigest()[:16], words, chosen, list(chosen.values())))
            return [*sorted(found, key=lambda c: (-c.files[0].size, c.key)), out]
    return [out]
