"""``promet update``: a locked model's constant or weights fitted anew at another hospital, as far as its patients allow."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from promet.centres import scored
from promet.core import checksums
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.files import as_json, write_text
from promet.core.words import count
from promet.evaluation.stats import updating
from promet.model import update as child
from promet.model.clinic import predict_table
from promet.model.opened import RECORD, Bundle, load
from promet.model.parts import MULTIMODAL
from promet.study import follow_up

AUTO = "auto"
ANSWERS = ".answers"  # beside the child: its patients' answers, which never enter it
CAPS = {
    "few": f"fewer than {updating.KEEP_BELOW} patients are of the rarer class: nothing is changed",
    "some": f"fewer than {updating.INTERCEPT_BELOW} patients are of the rarer class: at most the constant is changed",
    "parameters": f"a weight of its own for each input needs {updating.PER_PARAMETER} patients of the rarer class for every coefficient",
    "slope": "the score ranks these patients the wrong way round: it gets no weight, and should not be used here",
    "not_fitted": "weights of the inputs cannot be estimated from these patients: nothing was tested",
}


def update(
    model: Path,
    cohort: Path,
    out: Path,
    site: str,
    method: str = AUTO,
    options: list[str] | None = None,
    digest: str | None = None,
    as_text: bool = False,
) -> int:
    """Score the patients of a table, test which change of the model they ask for, and write the child ``out``.

    Nothing is written where the model is kept. Prints what was found; exit code 2 when the scoring left patients out.

    Raises:
        UsageError: E_UPDATE_CHILD, E_UPDATE_METHOD, E_OUT_TAKEN, those of ``predict_table``.
    """
    opened = load(model, digest)
    if opened.update:
        raise UsageError(
            "E_UPDATE_CHILD",
            f"This model is itself an update, made at {opened.update['site']}",
            "a model as it was locked",
            f"Start from its parent, digest {opened.update['parent'][:12]}…",
        )
    _require_free(out, model)
    answers = out.with_name(out.name + ANSWERS)
    code, _, _ = predict_table(model, cohort, answers, options or [], digest)
    if code:
        return code
    patients = scored.read(opened, answers, scored.rows(cohort, scored.aim(opened.contract)))
    found = record(opened, patients, site, method)
    if found["choice"] != "keep":
        write(opened, found, out)
    print(json.dumps(found, indent=2) if as_text else "\n".join(_told(found, patients, out)))
    return EXIT_REFUSED if patients.refused else EXIT_OK


def record(model: Bundle, patients: scored.Scored, site: str, method: str = AUTO) -> dict[str, Any]:
    """What the closed test says, and the coefficients of the choice.

    Raises:
        UsageError: E_UPDATE_METHOD, the asked one is more than the patients allow.
    """
    names = list(model.fusion["models"][MULTIMODAL]["order"])
    table = patients.table
    parts = table[[f"f:{name}" for name in names]].to_numpy(float)
    constant = float(
        np.log(
            model.fusion["models"][MULTIMODAL]["prior"][1] / model.fusion["models"][MULTIMODAL]["prior"][0]
        )
    )
    case, weight = _status(patients)
    test = updating.closed_test(case, parts, constant, weight)
    choice = test["choice"] if method == AUTO else _asked(method, test)
    weights = dict.fromkeys(names, 1.0)
    if choice != "keep":
        beta = test["fits"][choice]["coefficients"]
        constant = beta[0]
        if choice == "slope":
            weights = dict.fromkeys(names, beta[1])
        elif choice == "revision":
            weights = dict(zip(names, beta[1:], strict=True))
    return {
        "schema": 1,
        "parent": model.digest,
        "parent_files": checksums.read(model.folder),
        "site": site,
        "method": method,
        "choice": choice,
        "constant": constant,
        "factors": weights,
        **{name: test[name] for name in ("n", "events", "tests", "test_kind", "tested", "largest")},
        "cap": test["cap"] if method == AUTO else None,
    }


def _status(patients: scored.Scored) -> tuple[np.ndarray, np.ndarray | None]:
    """Who had the event, and the weight of each where some left before the horizon."""
    table, asked = patients.table, patients.asked
    event = table["event"].to_numpy(float)
    if asked.binary:
        return event, None
    who = follow_up.known(table["time"].to_numpy(float), event, asked.horizon) if len(table) else None
    if who is None:
        return np.zeros(len(table)), np.zeros(len(table))
    return who.case.astype(float), who.weight


def _asked(method: str, test: updating.Update) -> str:
    """The method a person asked for, if so many patients allow it."""
    cap = None
    if updating.METHODS.index(method) > updating.METHODS.index(test["largest"]):
        rarer = min(test["events"], test["n"] - test["events"])
        cap = (
            "few"
            if rarer < updating.KEEP_BELOW
            else "some"
            if rarer < updating.INTERCEPT_BELOW
            else "parameters"
        )
    elif method not in test["fits"]:
        cap = "not_fitted"
    elif method == "slope" and test["fits"]["slope"]["coefficients"][1] <= 0:
        cap = "slope"
    if cap:
        raise UsageError(
            "E_UPDATE_METHOD",
            f"These {count(test['n'], 'patient')}, {test['events']} with the event, do not allow the method {method}: {CAPS[cap]}",
            f"at most {test['largest']}",
            "promet update --method auto chooses what is allowed",
        )
    return method


def write(model: Bundle, found: dict[str, Any], out: Path) -> None:
    """The child: its parent's files, models/update.json, and a card that says so; whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as place:
        made = Path(place) / "model"
        shutil.copytree(model.folder, made, ignore=shutil.ignore_patterns(RECORD))
        write_text(made / child.FILE, as_json(found))
        card = made / child.CARD
        write_text(card, child.card(card.read_text(encoding="utf-8"), found))
        checksums.write(made, [*found["parent_files"], child.FILE])
        if out.exists():  # the same parent's earlier child
            shutil.rmtree(out)
        made.rename(out)


def _require_free(out: Path, model: Path) -> None:
    """Only a child of a model may be replaced."""
    inside = Path(model).resolve() in (out.resolve(), *out.resolve().parents)
    if inside or (out.exists() and not (out / child.FILE).is_file()):
        raise UsageError(
            "E_OUT_TAKEN",
            f"The given --out {'lies in the model' if inside else 'is there, and is no update of a model'}",
            "a new folder, or an earlier update",
            "Name another folder with --out; nothing was written",
        )


def _told(found: dict[str, Any], patients: scored.Scored, out: Path) -> list[str]:
    lines = [
        f"{count(found['n'], 'patient')} with a known outcome, {found['events']} with the event; without outcome {patients.unlabelled}, "
        f"refused {patients.refused}",
        *(
            f"{name} against revision: {found['test_kind']} {test['statistic']:.2f}, {test['df']} df, p {test['p']:.3f}"
            for name, test in found["tests"].items()
        ),
    ]
    if found["cap"]:
        lines.append(f"not {found['tested'] or 'tested'}: {CAPS[found['cap']]}")
    if found["choice"] == "keep":
        return [*lines, "keep: the model stays as it is; nothing was written"]
    return [
        *lines,
        f"{found['choice']}: log-odds {found['constant']:.3g} + "
        + " + ".join(f"{weight:.3g} {name}" for name, weight in found["factors"].items()),
        f"updated model: {out} (its own patients are seen; judge it on others)",
        f"digest {checksums.identity(out)}",
    ]
