"""A spreadsheet renamed a patient: what is made for the old name goes over to the new one, and a whole run trains nothing again."""

import csv
import json
import shutil
from dataclasses import replace


def digests(study):
    return {
        path.parent.relative_to(study.results): json.loads(path.read_text())["digest"]
        for path in sorted(study.results.glob("network/*/*/*/train.json"))
    }


def test_a_run_after_a_renaming_trains_nothing(study, tmp_path):
    folder = tmp_path / "renamed"
    shutil.copytree(study.folder, folder, symlinks=True)
    mine = replace(study, folder=folder, configfile=folder / "config.yaml")
    parts = next(iter((mine.folder / "registry").glob("*/ledger.tsv")))
    with open(parts, newline="") as handle:
        old = next(
            row["patient"] for row in csv.DictReader(handle, delimiter="\t") if row["part"] == "training"
        )
    table = folder / "cohort.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(
        "".join("X1" + line[len(old) :] if line.startswith(f"{old}\t") else line for line in lines)
    )
    before = digests(mine)
    assert before
    refused = mine.promet("intake")
    assert refused.returncode == 2 and f"--renamed {old}=X1" in refused.stdout + refused.stderr
    done = mine.promet("intake", "--renamed", f"{old}=X1")
    assert done.returncode == 0, done.stdout + done.stderr
    done = mine.promet("run", "--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "prepare: 2 jobs (dataset, gather)" in done.stdout and "lock:" not in done.stdout
    assert digests(mine) == before
    assert (mine.folder / "results/patients/X1/normalise.json").exists()
    assert not (mine.folder / f"results/patients/{old}").exists()
    assert (mine.results / "report/report.html").exists()
    assert mine.promet("run", "-n").stdout.rstrip().endswith("would run: nothing")
