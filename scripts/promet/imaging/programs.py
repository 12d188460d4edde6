"""Masks by external programs: learned networks and others, all called in one way.

A program gets volumes without any text in a temporary folder and leaves masks there. What it leaves goes through the gates of
any mask when ``segment`` reads it. A missing program, a crash or other weights are the site's faults and no patient's.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from promet.core.errors import UsageError
from promet.core.files import digest_file, left_behind
from promet.imaging import geometry

if TYPE_CHECKING:
    from promet.imaging.settings import Source


def weights_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of every file of a folder; where it lies and what systems leave in it change nothing.

    Raises:
        UsageError: E_PROGRAM_WEIGHTS: there is no such folder, or it is empty.
    """
    total = hashlib.sha256()
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(left_behind(part) for part in path.relative_to(folder).parts)
    )
    if not names:
        raise UsageError(
            "E_PROGRAM_WEIGHTS",
            "The folder of the weights is not there or empty",
            "the weights as their authors give them out",
            "Correct the key weights; promet downloads none",
        )
    for name in names:
        total.update(f"{name}\0{digest_file(folder / name)}\n".encode())
    return total.hexdigest()


def require_weights(name: str, source: Source) -> None:
    """Refuse other weights than those that the configuration names.

    Raises:
        UsageError: E_PROGRAM_WEIGHTS.
    """
    if not source.weights_digest:
        return
    found = weights_digest(Path(source.weights))
    if found != source.weights_digest:
        raise UsageError(
            "E_PROGRAM_WEIGHTS",
            f"The weights of {name} have the digest {found[:12]}…, the configuration names {source.weights_digest[:12]}…",
            "the weights that the masks of all other patients were made with",
            "Bring them back, or write the other digest (promet imaging weights FOLDER) and have all masks made again",
        )


def call(name: str, source: Source, volumes: dict[str, sitk.Image]) -> dict[str, sitk.Image]:
    """Run a program on the volumes of one patient.

    Args:
        name: what the configuration calls it.
        source: its declaration.
        volumes: pet (float32, SUV) and ct (int16, HU), those of ``source.inputs``.

    Returns:
        structure -> uint8 0/1 on the grid that the program chose, without the text of its file.

    Raises:
        UsageError: E_PROGRAM_MISSING, E_PROGRAM_WORDS, E_PROGRAM_WEIGHTS, E_PROGRAM_FAILED, E_PROGRAM_OUTPUT.
        DataError: E_IMAGE_* of what it left.
    """
    require_weights(name, source)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        places: dict[str, Any] = {"out": out, "weights": source.weights, "device": source.device}
        for volume in source.inputs:
            places[volume] = Path(folder, f"{volume}.nii.gz")
            geometry.write_nifti(volumes[volume], places[volume])
        try:
            words = [word.format_map(places) for word in shlex.split(source.command)]
        except (KeyError, ValueError, IndexError, AttributeError):
            raise UsageError(
                "E_PROGRAM_WORDS",
                f"The command of {name} cannot be used",
                f"words with {', '.join(f'{{{place}}}' for place in places)} in them, other braces doubled",
                f"Correct imaging.segment.sources.{name}.command",
            ) from None
        program = shutil.which(words[0])
        if program is None:
            raise UsageError(
                "E_PROGRAM_MISSING",
                f"The program of {name} is not installed: it is not on the PATH",
                "the program that imaging.segment.sources names",
                "Install it on every computer that has jobs, or give the masks in the table",
            )
        code = subprocess.run([program, *words[1:]], cwd=folder, env={**os.environ}, check=False).returncode
        if code:
            raise UsageError(
                "E_PROGRAM_FAILED",
                f"The program of {name} ended with exit code {code}",
                "exit code 0",
                "Its own words are in the log of this job",
            )
        return {
            structure: _read(name, structure, out / file, source)
            for structure, file in source.outputs.items()
        }


def _read(name: str, structure: str, path: Path, source: Source) -> sitk.Image:
    if not path.is_file():
        raise UsageError(
            "E_PROGRAM_OUTPUT",
            f"The program of {name} left no mask of the {structure}",
            "the file that imaging.segment.sources names, below {out}",
            "Correct outputs, or use the version that is named",
        )
    image = geometry.read_image(path)
    label = source.labels.get(structure)
    return image == label if label else image != 0
