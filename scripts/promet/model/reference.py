"""The reference case of a bundle: a phantom patient, and the score that the model gave it where it was locked.

Scoring it proves an installation: reading DICOM and masks, SUV, cuboid, measures, network and fusion, all of it at once. No
check of the contract is asked, since a phantom is no patient like those of training.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import atomic, read_json, write_json
from promet.fusion import fuse
from promet.model import parts
from promet.model.opened import Bundle
from promet.model.parts import Part
from promet.model.predict import score_files
from promet.study.forms.tables import MULTIMODAL

FOLDER, EXPECTED = "reference", "reference/expected.json"
# The values of the row are usual ones; what matters is that every input takes part.
ROW = {"psa": 9.5, "grade_group": 3, "positive_cores_percent": 40, "primary_score": 4, "psma_expression": 2}
# How far a value may be off on another processor or with another version of a library. A network of float32 differs there
# by some 1e-6 of its logit, ITK's interpolation by some 1e-6 of an SUV: a hundred times that, a hundredth of what matters.
LOGIT, RELATIVE = 1e-3, 1e-4


class Value(Part):
    """An input and how far it may be off."""

    value: float | None
    tolerance: float


class Expected(Part):
    """reference/expected.json."""

    clinical: dict[str, float]
    log_odds: float
    tolerance: float
    inputs: dict[str, Value]


def write(model: Bundle) -> list[str]:
    """Write the reference case into the bundle's folder; gives its files' names. What is right within its tolerances stays.

    Args:
        model: opened, or about to be locked: its files are there.
    """
    from promet.phantom import reference

    known = [name for name in model.contract["pet"].get("tracers") or {} if name != "unknown"]
    home = model.folder / FOLDER
    with tempfile.TemporaryDirectory(prefix="promet-") as place:
        paths = reference.write(Path(place), known[0] if known else "")
        for source in sorted(p for p in Path(place).rglob("*") if p.is_file()):
            _copy(source, home / source.relative_to(place))
        paths = {name: home / path.relative_to(place) for name, path in paths.items()}
    row = {name: value for name, value in ROW.items() if name in model.contract["clinical"]}
    made = expected(model, row, score_files(model, paths, row))
    path = model.folder / EXPECTED
    try:
        before = read_json(path)
        if before["clinical"] != row or differences(before, made):
            write_json(path, made)
    except (OSError, ValueError, KeyError, TypeError):
        write_json(path, made)
    files = sorted(p for p in home.rglob("*") if p.is_file())
    return [p.relative_to(model.folder).as_posix() for p in files]


def _copy(source: Path, target: Path) -> None:
    """A file whose bytes are the same keeps its time."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    with atomic(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def expected(model: Bundle, row: dict[str, float], answer: dict[str, Any]) -> dict[str, Any]:
    """expected.json of an answer: what each input may be off, and what that makes of the log-odds."""
    import numpy as np

    fitted, log = fuse.from_record(model.fusion)
    main = fitted[MULTIMODAL]
    odds = answer.get("update", answer)["log_odds"]  # before an update, whose parent has the same reference
    values, total = {}, RELATIVE * 0.01 * (1 + abs(odds))
    for j, name in enumerate(main.features):
        value = answer["inputs"][name]["value"]
        off = 0.0 if value is None or name in row else LOGIT if name == "cnn_score" else RELATIVE * abs(value)
        values[name] = {"value": value, "tolerance": off}
        if value is not None and off:
            near = np.full((3, len(main.features)), np.nan)
            places = np.array([value - off, value, value + off])
            near[:, j] = np.log(places) if name in log else places
            adds = main.factors(near)[:, j]
            total += float(np.abs(adds - adds[1]).max())
    return {
        "schema": 1,
        "clinical": row,
        "log_odds": odds,
        "tolerance": total,
        "inputs": values,
    }


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Sentences on what is beyond the tolerances of ``wanted``; both as ``expected`` gives them."""
    told = []
    for name, entry in wanted["inputs"].items():
        here = found["inputs"].get(name, {}).get("value")
        if (here is None) != (entry["value"] is None) or (
            here is not None and not abs(here - entry["value"]) <= entry["tolerance"]
        ):
            told.append(f"{name} is {_shown(here)} here and was {_shown(entry['value'])}")
    if not abs(found["log_odds"] - wanted["log_odds"]) <= wanted["tolerance"]:
        told.append(f"the log-odds are {found['log_odds']:.6g} here and were {wanted['log_odds']:.6g}")
    return told


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"


def run(model: Bundle) -> list[str]:
    """Score the reference case; sentences on how it went.

    Raises:
        UsageError: E_MODEL_NO_REFERENCE, the model has none.
        IntegrityError: E_MODEL_REFERENCE, this installation gives another score.
    """
    path = model.folder / EXPECTED
    if not path.exists():
        raise UsageError(
            "E_MODEL_NO_REFERENCE",
            f"The model was locked by promet {model.contract['versions'].get('promet', '')} without a reference case",
            f"{EXPECTED} in the folder of the model",
            "Have one patient scored there and here instead; nothing was shown about this installation",
        )
    wanted = parts.read_one(model.folder, EXPECTED, (1,), Expected, model.contract)
    folder = model.folder / FOLDER
    sources = {"pet": folder / "PT", **{name: folder / f"{name}.nii" for name in ("prostate", "lesions")}}
    answer = score_files(model, sources, wanted["clinical"])
    found = expected(model, wanted["clinical"], answer)
    other = differences(wanted, found)
    if other:
        raise IntegrityError(
            "E_MODEL_REFERENCE",
            f"This installation scores the reference case otherwise: {'; '.join(other)}",
            "the score that it had where the model was locked, within its tolerance",
            f"Install the versions that made the model: {', '.join(others(model)) or 'they are the same here; report it'}",
        )
    return [
        f"reference case: log-odds {found['log_odds']:.6g}, {wanted['log_odds']:.6g} where the model was locked "
        f"(tolerance {wanted['tolerance']:.2g}); every input within its own",
        *others(model),
    ]


def others(model: Bundle) -> list[str]:
    """Libraries of which another version is here than made the model."""
    told = []
    for name, then in sorted(model.contract["versions"].items()):
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "not installed"
        if here != then:
            told.append(f"{name} {then} made the model, here is {here}")
    return told
