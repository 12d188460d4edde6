"""The cohort's numbers agree wherever the page tells them."""

import json
from collections import Counter

import pandas as pd

from promet.evaluation import table1
from promet.report import read
from promet.report.draw import draw
from promet.report.sections.flow import figures as flow
from promet.study.table import by_patient


def test_flow_holds_every_patient_once(full):
    study = read.study(full.study, full.cohort, full.ledger, full.config)
    counted = flow.count_flow(study, study.splits[0])
    assert sum(box.total for box in counted.boxes) == counted.total == 56
    assert (
        (counted.quarantined, counted.no_lesion)
        == (1, 2)
        == (
            sum(b.quarantined for b in counted.boxes),
            sum(b.no_lesion for b in counted.boxes),
        )
    )
    assert counted.codes == [("E_PET_UNITS", 1)]
    for box in counted.boxes:
        assert box.positives + box.negatives + box.unknown == box.total - box.quarantined


def test_flow_and_table_1_count_alike(full, tmp_path):
    """Also a development patient who came after the freeze, and one whose data were mended after it."""
    ledger = tmp_path / "ledger.tsv"
    lines = full.ledger.read_text().splitlines()
    late, mended, still = lines[1].split("\t")[1], lines[5].split("\t")[1], "PH002"
    ledger.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    ledger.with_name("freeze.json").write_text(json.dumps({"name": "v1", "excluded": [mended, still]}))
    study = read.study(full.study, full.cohort, ledger, full.config)
    split = study.splits[0]
    assert split.part(late) == split.part(mended) == "prospective" and split.part(still) == "training"
    boxes = Counter()
    for box in flow.count_flow(study, split).boxes:
        boxes["Development" if box.part in flow.DEVELOPMENT else box.part.capitalize()] += box.total
    measures = pd.read_parquet(full.study / "gather/patients.parquet")
    table = by_patient(full.cohort)
    rows = table1.frame(table, measures, None, 48.0, table1.members(ledger, table, measures))
    assert Counter(name.split(",")[0] for name in rows["group"]) == boxes
    assert boxes["Prospective"] == 4
    caption = draw(study, split, tmp_path / "figures", patient_level=False).drawn["flow"].caption
    assert "2 prospective patients have the role development" in caption
