"""A study with results and a locked model whose files are written by hand."""

import json
from pathlib import Path

from promet.core import checksums
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar

HOST = "station-zqx"


def made(plan, stage, files, **at):
    """Write products and the record that names them."""
    record = Path(plan.sidecar(stage, **at))
    record.parent.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (record.parent / name).write_text(text)
    products = {name: digest_file(record.parent / name) for name in files}
    Sidecar(
        stage, "pin", digest="0", products=products, versions={"promet": "0.1.0", "numpy": "2.4.6"}
    ).write(record)
    return record.parent


def study(paper, report="<html>Nobody in particular</html>", model=True):
    """In the working directory of ``paper``, a study_on_paper.Paper."""
    Path("licence.txt").write_text("Use it for research.\n")
    paper.config |= {
        "model": {"licence": "licence.txt", "authors": "The group"},
        "registry": str(Path("registry").absolute()),
    }
    paper.save()
    paper.intake()
    if model:
        frozen = {"name": "v1", "date": "2026-02-01T10:00:00", "excluded": [], "waivers": {}}
        Path("registry/s/freeze.json").write_text(json.dumps(frozen))
    plan = paper.plan()
    made(plan, "evaluate", {"metrics.json": json.dumps({"auc": 0.8})}, split="00")
    made(plan, "survive", {"survival.json": "{}"}, split="00")
    made(plan, "report", {"report.html": report})
    if model:
        folder = Path(plan.sidecar("bundle")).parent
        (folder / "models").mkdir(parents=True)
        (folder / "models/model.json").write_text('{"name": "squeezenet"}')
        checksums.write(folder, ["models/model.json"])
        text = (folder / checksums.NAME).read_text()
        made(plan, "bundle", {checksums.NAME: text})
    return plan
