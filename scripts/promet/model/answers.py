"""The folder of answers: one model and one table of patients each, and nothing of a patient who left the table."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from promet.core import checksums
from promet.core.errors import UsageError
from promet.core.files import read_json
from promet.core.words import count
from promet.workflow import lock

ANSWER, RECORD = "prediction.json", "predict.json"
OUTPUT = "predictions.parquet"
# The form of prediction.json; an answer in an earlier form is made again.
SCHEMA = 2
# What scoring a table makes in its folder; the registry of a study holds a folder for each study, too.
OWN = {
    "patients",
    "logs",
    "validation",
    "registry",
    "predictions.tsv",
    "predictions.parquet",
    ".snakemake",
    lock.NAME,
}


def there(out: str | Path) -> list[str]:
    """Patients who have an answer or a refusal in the folder ``out``, sorted."""
    folder = Path(out) / "patients"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p.name for p in found if (p / RECORD).exists() or (p / ANSWER).exists())


def require_own(out: str | Path, digest: str, patients: Collection[str]) -> None:
    """Refuse a folder that is of something else, or holds the answers of another model or of a table without any of these patients.

    Raises:
        UsageError: E_OUT_OTHER_MODEL, E_OUT_OTHER_TABLE, E_OUT_TAKEN.
    """
    require_outside_of_models(Path(out) / OUTPUT)
    before = there(out)
    other = _foreign(Path(out), bool(before))
    if other:
        raise UsageError(
            "E_OUT_TAKEN",
            f"The given --out is {other}",
            "a folder, new or of the same model and table",
            "Name another folder with --out; nothing was overwritten",
        )
    for name in before:
        require_same_model(Path(out) / "patients" / name / ANSWER, digest)
    if before and not set(before) & set(patients):
        raise UsageError(
            "E_OUT_OTHER_TABLE",
            f"The folder holds the answers of {count(len(before), 'patient')}, none of whom is in this table",
            "a new folder, or that of an earlier state of the same table",
            "Name another folder with --out; nothing was overwritten",
        )


def _foreign(out: Path, answers: bool) -> str:
    """What a folder is that is none of answers, in words; '' where answers may go. Their reader may add files beside them."""
    if not out.exists():
        return ""
    if not out.is_dir():
        return "a file"
    registry = out / "registry"
    if registry.exists() and (not registry.is_dir() or any(path.is_dir() for path in registry.iterdir())):
        return "the folder of a study: its registry is there"
    if any(path.name not in (ANSWER, RECORD) for path in out.glob("patients/*/[!.]*")):
        return "the folder of a study's results: products of its patients are there"
    other = sum(path.name not in OWN and not path.name.startswith(".") for path in out.iterdir())
    return (
        ""
        if answers or not other
        else f"no folder of answers: it holds {count(other, 'other file or folder', 'other files or folders')}"
    )


def require_outside_of_models(path: str | Path) -> None:
    """Refuse to write into the folder of a model: with one more file in it, it would not be the one that was locked.

    Raises:
        UsageError: E_OUT_TAKEN.
    """
    for folder in Path(path).resolve().parents:
        if (folder / checksums.NAME).exists() and (folder / "configs/contract.json").exists():
            raise UsageError(
                "E_OUT_TAKEN",
                "The given --out lies in the folder of a locked model",
                "a place outside of it: with another file the model would not be as it was locked",
                "Name another one with --out; nothing was written",
            )


def require_same_model(path: Path, digest: str) -> None:
    """Refuse to write an answer over another model's, or over a file that is no answer.

    Raises:
        UsageError: E_OUT_OTHER_MODEL, E_OUT_TAKEN.
    """
    if not path.exists():
        return
    try:
        before = read_json(path)["model"]["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            "E_OUT_TAKEN",
            f"{path.name or 'The given --out'} is there already and is no answer of promet predict",
            "a new name, or an earlier answer of the same model",
            "Name another one with --out; nothing was overwritten",
        ) from None
    if before != digest:
        raise UsageError(
            "E_OUT_OTHER_MODEL",
            f"{path.name} is the answer of another model ({str(before)[:12]}…)",
            f"answers of the model {digest[:12]}…, or none",
            "Name another place with --out, one for each model; nothing was overwritten",
        )


def forget(out: str | Path, patients: Collection[str]) -> list[str]:
    """Delete the answers and logs of everyone but ``patients``; gives whose they were."""
    gone = [name for name in there(out) if name not in patients]
    for name in gone:
        shutil.rmtree(Path(out) / "patients" / name)
        (Path(out) / "logs" / f"{name}.log").unlink(missing_ok=True)
    return gone
