"""``promet pacs get``: the studies of a list from a PACS over DICOMweb, whole or not at all.

Each instance is asked for on its own, looked through to its last byte, written under another name and renamed; nothing
opens a finished file for writing. So a kill of either side costs the instance on its way, and the same command goes on.
A series that is there as the PACS announces it has a file ``complete`` with the number of its images.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promet.core.errors import (
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_RESUMABLE,
    Interrupted,
    PrometError,
    UsageError,
)
from promet.core.files import write_text_if_changed
from promet.core.words import count
from promet.hospital import part10, wanted, web
from promet.hospital.arrived import COMPLETE, MARK, SUFFIX

MODALITIES = ("PT", "CT", "RTSTRUCT", "SEG")
MODALITY, SERIES, INSTANCE, IN_SERIES = "00080060", "0020000E", "00080018", "00201209"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
GIVE_UP = 2  # images in a row that do not come: then the server is gone, and not an image
PART = ".part"


def get(server: web.Server, studies: Path, out: Path) -> int:
    """Fetch PT, CT, RTSTRUCT and SEG of every study of a list.

    Args:
        server: where from.
        studies: the list, see ``wanted``.
        out: folder; below it one folder per study and series, named by hashes.

    Returns:
        0; 2 when a line of the list means no or several studies, or an image that is listed is not there; 75 when something
        may be there later. All else is fetched all the same.

    Raises:
        UsageError: the list, the address or the credentials are wrong.
        Interrupted: the server is gone, or E_PACS_STOPPED, E_PACS_BUSY: the same command goes on.
    """
    lines = wanted.read(studies)
    course = _Course(server, out)
    seen: set[str] = set()
    with _alone(out):
        try:
            for number, line in enumerate(lines, 1):
                try:
                    study = wanted.study_of(server, line)
                except UsageError as error:
                    if error.code not in wanted.OF_ONE_LINE:
                        raise
                    course.problems.append(error)
                    continue
                if (name := web.uid(study, wanted.TAGS["StudyInstanceUID"])) not in seen:
                    seen.add(name)
                    course.study(study, f"study {number} of {len(lines)}")
        except KeyboardInterrupt:
            raise Interrupted(
                "E_PACS_STOPPED", "The transfer was stopped", "", "The same command goes on where it was"
            ) from None
        finally:
            server.close()
    return course.end(len(seen))


@dataclass
class _Course:
    """What has come so far, and what has not."""

    server: web.Server
    out: Path
    problems: list[PrometError] = field(default_factory=list)
    fetched: int = 0
    there: int = 0
    in_a_row: int = 0

    def study(self, study: dict[str, Any], words: str) -> None:
        """Every series of a study, of the modalities that are wanted."""
        uid = web.uid(study, wanted.TAGS["StudyInstanceUID"])
        announced = web.number(study, wanted.SERIES_IN_STUDY)
        listed = self._listed(("studies", uid, "series"), SERIES, announced, (MODALITY, IN_SERIES), words)
        series = [entry for entry in listed or [] if web.value(entry, MODALITY) in MODALITIES]
        for number, entry in enumerate(series, 1):
            told = f"{words}, series {number} of {len(series)}"
            name = web.uid(entry, SERIES)
            images = self._listed(
                ("studies", uid, "series", name, "instances"),
                INSTANCE,
                web.number(entry, IN_SERIES),
                (),
                told,
            )
            if images is not None:
                folder = self.out / part10.hashed(uid, 16) / part10.hashed(name, 16)
                before = self.fetched
                self._series((uid, name), [web.uid(image, INSTANCE) for image in images], folder, told)
                print(
                    f"{told}: {web.value(entry, MODALITY)}, {count(len(images), 'image')}, {self.fetched - before} fetched",
                    flush=True,
                )

    def end(self, studies: int) -> int:
        """Say what is wrong; the exit code."""
        for problem in self.problems:
            print(f"{problem.code}: {problem}", flush=True)
        print(
            f"{count(studies, 'study', 'studies')}: {count(self.fetched, 'image')} fetched, {self.there} there before"
        )
        if any(isinstance(problem, Interrupted) for problem in self.problems):
            return EXIT_RESUMABLE
        return EXIT_REFUSED if self.problems else EXIT_OK

    def _listed(
        self, path: tuple[str, ...], key: str, announced: int | None, fields: tuple[str, ...], words: str
    ) -> list[dict[str, Any]] | None:
        """A list as long as announced; None when it is not, which is kept as a problem."""
        more = {"includefield": ",".join(fields)} if fields else {}
        try:
            found = self.server.ask(*path, key=(key,), **more)
        except UsageError as error:
            if error.code != "E_PACS_UNKNOWN":
                raise
            self.problems.append(error)
            return None
        if announced in (None, len(found)):
            return found
        self.problems.append(
            Interrupted(
                "E_PACS_COUNT",
                f"{words}: the PACS announces {announced} and lists {len(found)}",
                "as many: images are still arriving, or the list is cut at a limit of the PACS",
                "Try again later; where the numbers stay, have the limit raised (of Orthanc: LimitFindInstances, LimitFindResults)",
            )
        )
        return None

    def _series(self, uids: tuple[str, str], images: list[str], folder: Path, words: str) -> None:
        """Fetch what is not there, then say that all is."""
        write_text_if_changed(
            folder / MARK, "Made by promet pacs get; images are missing while there is no file complete.\n"
        )
        names = {part10.hashed(image) + SUFFIX: image for image in images}
        missing = [name for name in sorted(names) if not (folder / name).exists()]
        others = sorted({path.name for path in folder.glob(f"*{SUFFIX}")} - names.keys())
        if missing or others:
            (folder / COMPLETE).unlink(missing_ok=True)
        self.there += len(names) - len(missing)
        lost = 0
        for name in missing:
            try:
                self._image((*uids, names[name]), folder / name)
            except UsageError as error:
                if error.code != "E_PACS_UNKNOWN":
                    raise
                lost += 1
            except Interrupted as error:
                self.in_a_row += 1
                if self.in_a_row == GIVE_UP:
                    raise
                self.problems.append(error)
                continue
            else:
                self.fetched += 1
            self.in_a_row = 0
        if lost:
            self.problems.append(
                UsageError(
                    "E_PACS_LOST",
                    f"{words}: the PACS lists {count(lost, 'image')} that it does not have",
                    "every image that it lists",
                    "Ask whoever runs it to restore them",
                )
            )
        if others:
            self.problems.append(
                UsageError(
                    "E_PACS_GONE",
                    f"{words}: {count(len(others), 'image')} fetched before {'is' if len(others) == 1 else 'are'} no longer in the PACS",
                    "the same series as before, or more of it",
                    "If that is meant, delete the folder of the series and fetch it again",
                )
            )
        elif all((folder / name).exists() for name in names):
            for left in folder.glob(f"*{PART}"):  # of a transfer that was killed
                left.unlink()
            _sync(folder)
            write_text_if_changed(folder / COMPLETE, f"{len(names)}\n")

    def _image(self, uids: tuple[str, str, str], path: Path) -> None:
        """One instance, asked for until it is whole, then under its own name."""
        part = path.with_suffix(PART)

        def keep(answer: web.Answer) -> None:
            with open(part, "wb") as handle:
                handle.write(part10.rewritten(part10.only_part(answer)))
                handle.flush()
                os.fsync(handle.fileno())
            part10.require_whole(part, uids[2])

        study, series, instance = uids
        where = ("studies", study, "series", series, "instances", instance)
        self.server.tried("GET", where, {"Accept": ACCEPT}, read=keep, good=(200,))
        os.rename(part, path)


def _sync(folder: Path) -> None:
    """Have the names of a folder on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two transfers into one folder would write the same files."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".pacs-get.lock", "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Interrupted(
                "E_PACS_BUSY",
                "Another promet pacs get writes into this folder",
                "one at a time",
                "Wait for it, or give another folder",
            ) from None
        yield
