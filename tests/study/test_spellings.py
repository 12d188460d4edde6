"""However the cells of a table are spelled, every command and stage reads the same patients from it."""

import codecs
import random
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.evaluation import evaluate, survive, table1
from promet.evaluation.settings import Evaluation
from promet.fusion import predictors
from promet.network import dataset
from promet.network.settings import Dataset
from promet.report.read import study
from promet.study.assign import extend
from promet.study.faults import check
from promet.study.ledger import append
from promet.study.parts import of_study
from promet.study.table import COLUMNS, SOURCES, by_patient, number
from promet.workflow.stages import STAGES
from promet.workflow.uses import table_uses

NAMES = [f"P{i:02d}" for i in range(24)]
BLANKS = [" ", "\u00a0", "\u2009", "  "]


def cohort() -> dict[str, dict[str, str]]:
    """Sixteen development patients, six metachronous, two prospective; canonical text."""
    rows = {}
    for i, name in enumerate(NAMES):
        role = "development" if i < 16 else "metachronous" if i < 22 else ""
        rows[name] = dict.fromkeys(COLUMNS, "") | {
            "patient": name,
            "role": role,
            "site": ("Sankt Jörg", 'Haus "Süd"', "")[i % 3],
            "pet": f"{name} a",
            "tracer": "18F-DCFPyL",
            "psa": f"{0.5 * i + 4:g}",
            "grade_group": str(i % 5 + 1),
            "gleason_primary": ("3", "3", "4", "4", "5")[i % 5],
            "gleason_secondary": ("3", "4", "3", "4", "4")[i % 5],
            "positive_cores_percent": "40",
            "clinical_t": ("T2a", "T3b", "TX", "")[i % 4],
            "age": str(60 + i),
            "primary_score": str(i % 5 + 1) if i % 4 else "",
            "synchronous_metastasis": str(i % 2) if role == "development" else "",
            "progression": str(i % 2) if role == "metachronous" else "",
            "months": f"{10 * i - 150}.5" if role == "metachronous" else "",
        }
    return rows


def spelled(column: str, cell: str, rng: random.Random) -> str:
    """The same value as people, R, pandas and spreadsheets write it."""
    if column in SOURCES:
        return cell
    if cell and COLUMNS[column].numeric:
        value = float(cell)
        exact = cell if "." in cell else cell + rng.choice([".", ".0", ".000"])
        forms = [cell, exact, "0" + cell, "+" + cell, f"{value:e}", f"{value:.2E}", f"{value!r}"]
        cell = rng.choice(forms + (["-0", "0e5", ".0"] if value == 0 else []))
    elif cell and column == "clinical_t":
        cell = rng.choice([cell, cell.lower(), "c" + cell, cell.replace("T", "T ")])
    elif " " in cell:
        cell = unicodedata.normalize(rng.choice(["NFC", "NFD"]), cell.replace(" ", rng.choice(BLANKS)))
    return rng.choice(["", *BLANKS]) + cell + rng.choice(["", *BLANKS])


def write(path: Path, rows: dict[str, dict[str, str]], rng: random.Random | None = None) -> Path:
    """The table; with ``rng`` its rows, columns, cells, quotes, line ends and letters are as that gives them."""
    columns, names = list(COLUMNS), list(rows)
    if rng is None:
        lines = [[rows[name][column] for column in columns] for name in names]
        encode, end = codecs.encode, "\n"
    else:
        rng.shuffle(columns)
        rng.shuffle(names)
        lines = [[spelled(column, rows[name][column], rng) for column in columns] for name in names]
        lines.insert(rng.randrange(len(lines)), [" "] * len(columns))
        end = rng.choice(["\n", "\r\n", "\r"])
        encode = rng.choice(
            [codecs.encode, lambda text, _: text.encode("utf-8-sig"), lambda text, _: text.encode("utf-16")]
        )
    quoted = [
        ['"' + c.replace('"', '""') + '"' if '"' in c or (rng and rng.random() < 0.1) else c for c in line]
        for line in lines
    ]
    text = end.join("\t".join(line) for line in [columns, *quoted]) + end
    path.write_bytes(encode(text, "utf-8"))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in NAMES:
        place = tmp_path / "patients" / name
        place.mkdir(parents=True)
        digest = f"{int(name[1:]):064x}"
        Sidecar("normalise", "p", products={"tensor.npy": digest}).write(place / "normalise.json")
        (tmp_path / f"{name} a").mkdir()
        (tmp_path / f"{name} a" / "1").write_text(name)
    return tmp_path


def seen(project: Path, table: Path) -> dict[str, object]:
    """What every room makes of a table."""
    rows = by_patient(table)
    book = project / "registry" / "ledger.tsv"
    assigned = extend(
        [], list(rows.values()), (0.5, 0.25, 0.25), ["site", "grade_group"], 1, "s", today="2026-01-01"
    )
    book.unlink(missing_ok=True)
    book.with_name("ledger.copy.tsv").unlink(missing_ok=True)
    append(book, assigned)
    parts = of_study(book, rows)[0]
    dataset.run(
        dataset.Inputs(project / "patients", book, table, 0), Dataset(), project / "out/dataset.json", ""
    )
    measures = pd.DataFrame(
        {
            "patient": NAMES,
            "status": "ok",
            "tensor_digest": "x",
            **{
                name: np.arange(24.0) + 1
                for name in ("suv_max", "suv_peak", "organ_suv_mean", "organ_ml", "lesion_ml", "lesion_count")
            },
        }
    )
    scores = pd.DataFrame({"patient": NAMES, "tensor_digest": "x", "cnn_score": np.linspace(-2, 2, 24)})
    gathered, _ = predictors.gather(rows.values(), parts, scores, measures)
    settings = Evaluation(bootstrap=100)
    told = study(project / "none", table, project / "no ledger", {})
    return {
        "check": sorted((f.patient, f.column, f.expected) for f in check(table)),
        "ledger": assigned,
        "pins": [
            table_uses(stage, rows, {name: parts.get(name, "prospective") for name in rows})
            for stage in STAGES
            if STAGES[stage].columns
        ],
        "fit set": (project / "out/fit.json").read_text(),
        "fusion": gathered.to_csv(),
        "table 1": table1.study(table1.frame(rows, measures, None, 48.0, parts)),
        "CAPRA": evaluate.capra_table(rows, parts).to_csv(),
        "survival": survive.study(
            rows, {name: (parts.get(name, ""), float(i)) for i, name in enumerate(NAMES)}, settings
        ),
        "report": told.rows,
    }


def test_every_room_reads_every_spelling_as_the_canonical_one(project) -> None:
    rng = random.Random(5)
    rows = cohort()
    plain = seen(project, write(project / "cohort.tsv", rows))
    assert not plain["check"] and plain["report"] == list(rows.values())
    for _ in range(6):
        other = seen(project, write(project / "other.tsv", rows, rng))
        for room, found in plain.items():
            assert other[room] == found, room


@pytest.mark.parametrize("column", [name for name, column in COLUMNS.items() if column.numeric])
@pytest.mark.parametrize("text", ["na", "7,5", "-3", "1e9", "?", "0x1", "٣"])
def test_a_number_that_check_refuses_no_stage_reads(column, text) -> None:
    assert not COLUMNS[column].valid(text)
    with pytest.raises(UsageError) as error:
        number({"patient": "P1", column: text}, column)
    assert error.value.code == "E_TABLE_NUMBER"


def test_names_that_differ_in_letter_case_are_refused_by_every_reader(project) -> None:
    """On many disks both are one folder."""
    rows = {"P01": cohort()["P01"], "p01": cohort()["P01"] | {"patient": "p01"}}
    with pytest.raises(UsageError, match="doubled"):
        by_patient(write(project / "cohort.tsv", rows))
