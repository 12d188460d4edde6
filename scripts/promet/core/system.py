"""What the operating system refuses, in words: no room, no permission, no answer."""

from __future__ import annotations

import errno
import os
import pwd
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from promet.core.errors import Interrupted, PrometError, UsageError

OWN = "PROMET_FOLDERS"  # environment variable: folders whose paths hold no more than pseudonyms
DEFAULT = ("results", "registry", "logs", ".snakemake")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SILENT = (
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EREMOTEIO,
    errno.ENXIO,
    errno.ECONNRESET,
)
TOLD = (
    *NO_ROOM,
    *SILENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
)
# What a run ends with whose job said so: exit code 75 or 2.
CODES: dict[str, type[PrometError]] = {
    **dict.fromkeys(
        (
            "E_QUOTA",
            "E_FILE_TOO_LARGE",
            "E_DISK_FULL",
            "E_DISK_FILES",
            "E_DISK_SILENT",
            "E_OPEN_FILES",
            "E_MEMORY",
        ),
        Interrupted,
    ),
    **dict.fromkeys(
        ("E_READ_ONLY", "E_NAME_TOO_LONG", "E_NO_PERMISSION", "E_NOT_A_FOLDER", "E_SLURM_REFUSED"), UsageError
    ),
}
_NUMBER = re.compile(r"(?:os error|\berrno) (\d+)", re.IGNORECASE)
_SHORT = re.compile(r"\d+ requested and \d+ written")  # numpy, of a file that took only a part


def folders(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Remember the folders of this study, whose paths may be shown, here and in the processes it starts."""
    os.environ[OWN] = os.pathsep.join(map(str, paths))


def explained(error: BaseException) -> PrometError | None:
    """An error that a person can act on, if ``error`` or what it came from is the operating system's refusal."""
    seen: BaseException | None = error
    while seen is not None:
        number = _number(seen)
        if number in TOLD:
            return refusal(number, getattr(seen, "filename", None))
        seen = seen.__cause__
    return None


def _number(error: BaseException) -> int | None:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, OSError) and _SHORT.search(str(error)):
        return errno.ENOSPC
    # Libraries in other languages: safetensors, pyarrow
    found = (
        _NUMBER.search(str(error)) if isinstance(error, OSError | RuntimeError) or _foreign(error) else None
    )
    return int(found[1]) if found else None


def _foreign(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("safetensors", "pyarrow", "h5py", "torch")


def said_in(text: str) -> PrometError | None:
    """The same from the words of a shell or another program, such as the last lines of a job's log.

    Without those that programs say of files that do not matter, such as a folder that was there already.
    """
    for number in (
        *NO_ROOM,
        *SILENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.ENOMEM,
    ):
        if os.strerror(number) in text:
            return refusal(number)
    return None


def refusal(number: int, path: object = None) -> PrometError:
    """The error of one of the numbers in TOLD; ``path`` is shown if it is one of the study's own."""
    shown = own(path)
    what = shown or "a file or folder"
    if number == errno.EDQUOT:
        return Interrupted(
            "E_QUOTA",
            f"Your quota is used up{_at(shown)}",
            "",
            "Make room, or ask for more; then the same command goes on",
        )
    if number == errno.EFBIG:
        return Interrupted(
            "E_FILE_TOO_LARGE",
            f"A file would be larger than this system allows{_at(shown)}",
            "",
            "Raise the limit (ulimit -f unlimited, or another disk); then the same command goes on",
        )
    if number == errno.ENOSPC:
        return no_room(Path(shown or "."))
    if number in SILENT:
        return Interrupted(
            "E_DISK_SILENT",
            f"The disk does not answer{_at(shown)} ({os.strerror(number)})",
            "",
            "Wait until it is back; then the same command goes on",
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return Interrupted(
            "E_OPEN_FILES",
            "This system lets no more files be open at a time",
            "",
            "Raise the limit (ulimit -n 4096) or use fewer cores; then the same command goes on",
        )
    if number in (errno.ENOMEM, errno.EAGAIN):
        return Interrupted(
            "E_MEMORY",
            "There is no memory left, or no further process is allowed",
            "",
            "Use fewer cores or a larger computer; on SLURM the next attempt asks for more by itself. Then the same command goes on",
        )
    if number == errno.EROFS:
        return UsageError(
            "E_READ_ONLY",
            f"The disk of {what} is mounted read-only",
            "a folder that can be written",
            "Work in another folder, or have it mounted for writing",
        )
    if number == errno.ENAMETOOLONG:
        return UsageError(
            "E_NAME_TOO_LONG",
            f"The name of {what} is longer than the disk allows",
            "at most 255 bytes a name, about 4000 a path",
            "Use a shorter folder, study or patient name",
        )
    if number in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP):
        return UsageError(
            "E_NOT_A_FOLDER",
            f"At {what} a file is where a folder is needed, or the other way round ({os.strerror(number)})",
            "folders for results, registry and logs that promet makes itself",
            "Move it away, or name another folder in the configuration",
        )
    return UsageError(
        "E_NO_PERMISSION",
        f"You may not write or read {what}{_owner(shown)}",
        "files and folders that are yours, or shared with your group",
        "Ask their owner for chmod -R g+rwX and umask 002, or work in a folder of your own",
    )


def no_room(path: Path) -> PrometError:
    """The disk is full, of bytes or of files."""
    disk, shown = status(path), own(path)
    shown = "" if shown == "." else shown  # nobody said where
    if disk and disk.f_files and not disk.f_favail and disk.f_bavail:
        return Interrupted(
            "E_DISK_FILES",
            f"The disk of {shown or 'this folder'} holds as many files as it can (inodes), though it has room",
            "",
            "Delete files that nobody needs, or ask for more; then the same command goes on",
        )
    return Interrupted(
        "E_DISK_FULL",
        f"There is no room left{_at(shown)}",
        "",
        "Make room; then the same command goes on",
    )


def status(path: Path) -> os.statvfs_result | None:
    """Of the disk of a path, which need not be there yet."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return os.statvfs(path)
    except OSError:
        return None


def own(path: object) -> str:
    """A path of the study, relative, or the temporary folder; '' for any other, since it may hold a name."""
    if not isinstance(path, str | os.PathLike) or not os.path.exists("."):
        return ""
    told = os.path.relpath(os.fsdecode(path))
    temporary = tempfile.gettempdir()
    if told.startswith("..") and os.path.realpath(path).startswith(os.path.realpath(temporary) + os.sep):
        return temporary
    allowed = [*DEFAULT, *filter(None, os.environ.get(OWN, "").split(os.pathsep))]
    inside = any(
        os.path.commonpath([os.path.abspath(f), os.path.abspath(told)]) == os.path.abspath(f) for f in allowed
    )
    return told if inside or told == "." else ""


def _at(shown: str) -> str:
    return f" at {shown}" if shown else ""


def _owner(shown: str) -> str:
    """Whose the path is, or the nearest folder above it that is there."""
    path = Path(shown) if shown else None
    while path is not None and not os.path.lexists(path) and path != path.parent:
        path = path.parent
    try:
        number = os.lstat(path).st_uid if path is not None else os.geteuid()
    except OSError:
        return ""
    if number == os.geteuid():
        return ""
    try:
        return f", which belongs to {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f", which belongs to user {number}"


def not_writable(paths: Iterable[str | os.PathLike[str]]) -> Iterator[PrometError]:
    """A refusal for each path, or for the nearest folder above it that is there, which cannot be written."""
    asked: set[Path] = set()
    for name in paths:
        path = Path(name)
        while not os.path.lexists(path) and path != path.parent:
            path = path.parent
        if path in asked:
            continue
        asked.add(path)
        needed = os.W_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, needed):
            disk = status(path)
            yield refusal(errno.EROFS if disk and disk.f_flag & os.ST_RDONLY else errno.EACCES, path)


def probe(folder: str | os.PathLike[str], size: int = 4096) -> PrometError | None:
    """Write and delete a small file: a quota, and what else nobody can ask for, shows only then."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".room.") as handle:
            handle.write(b"\1" * size)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        error.filename = os.fspath(folder)
        return explained(error)
    return None
