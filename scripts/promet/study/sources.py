"""What a cell of a source column (pet, ct, prostate, lesions) names, and what is wrong with it, without repeating it."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from promet.core.detached import data_file
from promet.core.files import left_behind


def source(base: Path, cell: str) -> Path:
    """The path that a cell of a source column names.

    As it stands; else without blanks at its ends; else with its letters composed another way (the umlauts of macOS), where
    just one path is that; else as it stands, and nothing is there.
    """
    path = base / cell
    if os.path.lexists(path):
        return path
    plain = base / cell.strip()
    if plain != path and os.path.lexists(plain):
        return plain
    if not cell.isascii():
        return _composed(plain) or path
    return path


def _composed(path: Path) -> Path | None:
    """The one existing path whose names are those of ``path`` in Unicode's composed form."""
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if part == ".." or os.path.lexists(found / part):
            found /= part
            continue
        try:
            names = [name for name in os.listdir(found) if _form(name) == _form(part)]
        except OSError:
            return None
        if len(names) != 1:
            return None
        found /= names[0]
    return found


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def lacking(value: str, path: Path) -> tuple[str, str, str]:
    """What is wrong with a source, without repeating its path, what was expected, and how severe it is; else empty texts."""
    try:
        if not path.exists():
            return *_lost(value, path), "quarantine"
        if not path.is_dir():
            if path.is_file():
                return "", "", ""
            return "what is neither a file nor a folder", "a file or a folder", "quarantine"
        files, links = _holds(path)
    except OSError as error:
        return "a path", f"a path that can be read ({error.strerror})", "quarantine"
    followed = (
        "files in the folder itself: links to other folders are not followed, name the folder they lead to"
    )
    if links:
        return "a link to another folder in it", followed, "warning" if files else "quarantine"
    if not files:
        return "no file in it", "a folder that is not empty", "quarantine"
    return "", "", ""


def _holds(folder: Path) -> tuple[bool, int]:
    """Is there a file in a folder, and how many links to folders were met until one was found?"""

    def refuse(error: OSError) -> None:
        raise error

    links = 0
    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not left_behind(name)]
        links += sum(os.path.islink(os.path.join(here, name)) for name in folders)
        if any(not left_behind(name) and os.path.isfile(os.path.join(here, name)) for name in names):
            return True, links
    return False, links


def _lost(value: str, path: Path) -> tuple[str, str]:
    """What is wrong with a path that does not exist, without repeating it, and what was expected."""
    parts = [part for part in Path(value).parts if part != "/"]
    inside = [path, *path.parents][: len(parts)][::-1]
    lost = next((k for k, part in enumerate(inside, 1) if not part.exists()), len(parts))
    words = "a path that does not exist" + (
        f", from part {lost} of {len(parts)} on" if len(parts) > 1 else ""
    )
    expected = "an existing file or folder (relative paths start at the table's folder)"
    if value.lstrip().startswith("~") or "$" in value or "%" in value:
        return words, f"{expected}, written out: ~, $NAME and %NAME% are not replaced"
    if "\\" in value:
        return words, f"{expected}, with / between the folders and without a drive letter"
    if " ".join(value.split()) != value:
        return (
            words,
            f"{expected}; every blank counts, and some here stand at an end, twice, or are no plain blanks",
        )
    return words, expected


def list_files(source: Path) -> list[Path]:
    """Every regular file of a source, sorted, but for what systems leave there; links to folders are not followed."""
    if source.is_file():
        beside = data_file(source)
        return [source] if beside is None else [source, beside]

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for folder, folders, names in os.walk(source, onerror=refuse):
        folders[:] = [name for name in folders if not left_behind(name)]
        found += [Path(folder, name) for name in names if not left_behind(name)]
    return sorted(path for path in found if path.is_file() or path.is_symlink())  # a named pipe would hang
