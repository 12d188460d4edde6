"""The answers of a table of patients as one table of numbers, for the figures of a validation and for an update."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promet.centres.site import Asked
from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.model.answers import ANSWER, RECORD
from promet.model.opened import Bundle
from promet.model.parts import MULTIMODAL
from promet.study import table
from promet.study.outcome import PAPER, SYNCHRONOUS, Binary, ByHorizon, Outcome, label, status
from promet.study.table import COLUMNS, Row, number

if TYPE_CHECKING:
    import pandas as pd

AGE, OLD = (70.0, "70 and older")
GRADES = {1: "1-2", 2: "1-2", 3: "3", 4: "4-5", 5: "4-5"}
METACHRONOUS = "metachronous"
ATTRIBUTES = ("age", "grade_group", "lesion_source", "tracer")


@dataclass(frozen=True)
class Scored:
    """Patients with an answer and an outcome, and how many lack one of both."""

    table: (
        pd.DataFrame
    )  # columns as promet.centres.site.figures wants them, and ``f:INPUT``: what each input adds
    asked: Asked
    refused: int  # not scored
    unlabelled: int  # scored, without an outcome
    apart: int  # scored, in role metachronous: a study judges them by later progression only


def aim(contract: dict[str, Any]) -> Binary | ByHorizon:
    """The model's own outcome, as its contract tells it; metastases on the scan where it tells nothing."""
    told = contract.get("outcome")
    if told is None:
        return SYNCHRONOUS
    first, *others = told["columns"]
    if told["kind"] == "binary":
        return Binary(column=first)
    return ByHorizon(
        event=first,
        time=others[-1],
        competing=others[0] if len(others) > 1 else "",
        horizon_months=told["horizon_months"],
    )


def outcome(contract: dict[str, Any]) -> Outcome:
    """What the model's patients are judged by: its own outcome, and the paper's later one where it learnt the paper's."""
    what, told = aim(contract), contract.get("outcome")
    if told is None or what == SYNCHRONOUS:
        return PAPER
    words = {what.flags[0]: told["called"]}
    if len(what.flags) > 1 and told.get("competing"):
        words[what.flags[1]] = told["competing"]
    return Outcome(learn=what, evaluate={}, words=words)


def rows(cohort: Path, what: Binary | ByHorizon) -> list[Row]:
    """The rows of a hospital's table; a cell that is none of its column's is blank, as the answers take it.

    ``what``: the outcome, whose columns are read beside promet's own.
    """
    extra = Outcome(learn=what, evaluate={}).extra
    columns = COLUMNS | extra
    return [
        Row(
            {
                name: cell if name not in columns or columns[name].valid(cell) else ""
                for name, cell in row.items()
            }
        )
        for row in table.read(cohort, extra)
    ]


def read(model: Bundle, answers: Path, rows: Iterable[Row]) -> Scored:
    """The answers in the folder ``answers`` of the patients ``rows`` of their table, by the model's own outcome.

    What each input adds is that before an update.
    """
    import pandas as pd

    what, told = aim(model.contract), model.contract.get("outcome") or {}
    names = list(model.fusion["models"][MULTIMODAL]["order"])
    found: list[dict[str, Any]] = []
    refused = unlabelled = apart = 0
    for row in rows:
        folder = answers / "patients" / row["patient"]
        if not Sidecar.read(folder / RECORD).ok:
            refused += 1
            continue
        if what == SYNCHRONOUS and row["role"] == METACHRONOUS:
            apart += 1
            continue
        time, event = (1.0, label(row, what)) if isinstance(what, Binary) else status(row, what)
        if math.isnan(event):
            unlabelled += 1
            continue
        answer = read_json(folder / ANSWER)
        found.append(
            {
                "log_odds": answer["log_odds"],
                "probability": answer["probability"],
                "time": time,
                "event": event,
                **{f"cut:{name}": cut["group"] or "" for name, cut in answer["groups"].items()},
                **{f"by:{name}": value for name, value in _attributes(row, answer).items()},
                **{f"gap:{name}": name in answer["inputs_missing"] for name in names},
                **{f"f:{name}": answer["inputs"][name]["log_odds"] for name in names},
            }
        )
    cuts = {cut["name"]: list(cut["groups"]) for cut in model.thresholds["cuts"]}
    columns = [
        *("log_odds", "probability", "time", "event"),
        *(f"cut:{name}" for name in cuts),
        *(f"by:{name}" for name in ATTRIBUTES),
        *(f"{kind}:{name}" for kind in ("gap", "f") for name in names),
    ]
    frame = pd.DataFrame(found, columns=columns)
    asked = Asked(cuts=cuts, attributes=ATTRIBUTES, inputs=tuple(names))
    if isinstance(what, ByHorizon):
        at = what.horizon()
        edges = tuple(told.get("edges_months") or (at * k / 4 for k in range(1, 5)))
        asked = replace(asked, horizon=at, binary=False, edges=edges)
    return Scored(frame, asked, refused, unlabelled, apart)


def _attributes(row: Row, answer: dict[str, Any]) -> dict[str, str]:
    age, grade = number(row, "age"), number(row, "grade_group")
    return {
        "age": "" if math.isnan(age) else f"below {AGE:g}" if age < AGE else OLD,
        "grade_group": "" if math.isnan(grade) else GRADES[int(grade)],
        "lesion_source": str(answer["image"].get("lesion_source") or ""),
        "tracer": str(answer["image"].get("tracer") or row["tracer"]),
    }
