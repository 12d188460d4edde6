"""What a large cohort costs before any job starts: CPU time and memory as ratios to an empty Snakemake call.

Per cohort size: the no-op check ("is anything stale?", a dry run with everything fresh), the plan after one patient was
added (a dry run too; that it holds this patient's jobs and no other is checked), and ``promet status``. Table, registry, ledger
and records are synthetic, the Snakefile is the real one. Interleaved, medians. Writes bench/results/scale.json.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promet.config import load
from promet.core import bucket
from promet.core.files import write_json
from promet.core.pin import canonical
from promet.core.sidecar import Sidecar
from promet.study import ledger, registry, table
from promet.workflow.buckets import ABOVE, stages
from promet.workflow.plan import Plan
from promet.workflow.stages import PATIENT_STAGES, STAGES

ROOT = Path(__file__).parents[1]
SIZES = (100, 1000, 10_000, 50_000)
REPEATS = 3
SEEDS = 50
# What the rules declare beside the records.
BESIDE = {
    "gather": ("tensors.json", "measures.json"),
    "dataset": ("fit.json",),
    "select": ("model.json",),
    "report": ("report.html",),
}
ROLES = ("development",) * 5 + ("metachronous",) + ("",) * 4
PARTS = ("training",) * 5 + ("validation",) * 2 + ("test",) * 3


def sha(text: str) -> str:
    """Stands for the digest of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def row(i: int) -> dict[str, str]:
    """A patient of the table, all columns filled."""
    role = ROLES[i % len(ROLES)]
    name = f"S{i:06d}"
    outcome = {"progression": str(i % 2), "months": str(12 + i % 80)} if role == "metachronous" else {}
    return dict.fromkeys(table.COLUMNS, "") | {
        "patient": name,
        "role": role,
        "site": f"site {i % 7}",
        "pet": f"images/{name}/pet",
        "prostate": f"images/{name}/prostate.nii.gz",
        "lesions": f"images/{name}/lesions.nii.gz",
        "tracer": "18F-DCFPyL",
        "psa": f"{1 + i % 300 / 7:.2f}",
        "grade_group": str(1 + i % 5),
        "positive_cores_percent": str(i % 100),
        "clinical_t": "T2a",
        "age": str(50 + i % 40),
        "primary_score": str(1 + i % 5),
        "psma_expression": str(i % 4),
        "synchronous_metastasis": str(i % 2) if role == "development" else "",
        **outcome,
    }


def write_cohort(folder: Path, patients: int, more: bool = False) -> None:
    """Table, registry and ledger; ``more``: one prospective patient is added."""
    rows = [row(i) for i in range(patients)]
    if more:
        unknown = ("role", "synchronous_metastasis", "progression", "months")
        rows.append(row(patients) | dict.fromkeys(unknown, ""))
    lines = ["\t".join(table.COLUMNS), *("\t".join(r.values()) for r in rows)]
    (folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
    images = ["\t".join(registry.COLUMNS)]
    for r in rows:
        images += [
            "\t".join((r["patient"], name, r[name], sha(r[name]), "1", "1000"))
            for name in table.SOURCES
            if r[name]
        ]
    (folder / "registry/scale").mkdir(parents=True, exist_ok=True)
    (folder / "registry/images.tsv").write_text("\n".join(images) + "\n")
    entries = ["\t".join(ledger.COLUMNS)]
    for i, r in enumerate(rows):
        part = PARTS[i // len(ROLES) % len(PARTS)] if r["role"] == "development" else r["role"]
        if part:
            entries.append(
                "\t".join(("00", r["patient"], part, r["synchronous_metastasis"], "", "2026-01-01"))
            )
    (folder / "registry/scale/ledger.tsv").write_text("\n".join(entries) + "\n")


def write_records(plan: Plan) -> int:
    """Every record as a finished run leaves it; returns the number of jobs that Snakemake has."""
    jobs = 0
    tables: dict[str, dict[str, Any]] = {}
    for stage, at in plan.jobs():
        path = Path(plan.sidecar(stage, **at))
        pin = plan.pin(stage, **at)
        record = Sidecar(
            stage, pin, digest=sha(str(path)), versions={"promet": "0", "numpy": "0"}, seconds=1.5
        )
        patient = at.get("patient", "")
        if patient:
            record.inputs = {name: sha(plan.sidecar(name, **at)) for name in STAGES[stage].before[:1]}
        if stage in ("crop", "measure"):
            record.values = {f"measure {i}": i / 7 for i in range(10)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(record)))
        for name in BESIDE.get(stage, ()):
            path.with_name(name).write_text(json.dumps({"digest": sha(name)}))
        if stage in PATIENT_STAGES and plan.buckets:
            tables.setdefault(patient, {})[stage] = bucket.entry(record, path)
        else:
            jobs += 1
        if stage == "bucket":
            mine = {
                name: {stage: tables[name][stage] for stage in stages(at["bucket"])}
                for name in plan.buckets[at["bucket"]]
            }
            path.with_name(bucket.TABLE).write_text(canonical(mine))
    return jobs


def measured(words: list[str], folder: Path) -> tuple[dict[str, float], str]:
    """CPU seconds, wall seconds and peak memory (MB) of a command and what it starts; and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        _, code, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        out.seek(0)
        text = out.read()
    if process.returncode:
        sys.exit(f"{' '.join(words)}\n{text[-3000:]}")
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "mb": used.ru_maxrss / 1024}, text


def snakemake(*words: str) -> list[str]:
    """A call of the real Snakefile."""
    fixed = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.json", "--cores", "1"]
    return [sys.executable, "-m", "snakemake", *fixed, *words]


def planned(text: str) -> dict[str, int]:
    """Rule -> number of jobs of a dry run's table."""
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)
        if name != "total"
    }


def prepare(folder: Path, patients: int, buckets: int | str) -> dict[str, Any]:
    """A finished study of that size, and Snakemake's own records of it."""
    folder.mkdir(parents=True)
    config = {"study": "scale", "cohort": "cohort.tsv", "network": {"seeds": SEEDS}, "buckets": buckets}
    (folder / "config.json").write_text(json.dumps(config))
    here = os.getcwd()
    os.chdir(folder)
    try:
        write_cohort(Path(), patients)
        plan = Plan(load([Path("config.json")]))
        jobs = write_records(plan)
    finally:
        os.chdir(here)
    # Records and times as after a run, without running anything; Snakemake would sleep a tenth of a second per job.
    quick = "from snakemake.cli import main; from snakemake.executors.touch import Executor; Executor.SLEEPING_TIME = 0; main()"
    words = snakemake("--touch", "--forceall", "--quiet", "all")
    measured([sys.executable, "-c", quick, *words[words.index("--snakefile") :]], folder)
    return {"patients": patients, "jobs": jobs, "buckets": len(plan.buckets)}


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Call in a process of its own: a command's peak memory is never below that of the process that starts it."""
    with multiprocessing.Pool(1) as pool:
        return pool.apply(function, given)


def check_plan(jobs: dict[str, int], shared: bool) -> None:
    """One prospective patient more: images, what follows, and no training."""
    own = {"bucket": 2} if shared else dict.fromkeys(PATIENT_STAGES, 1)  # tensor, measures and picture
    rest = {name: count for name, count in jobs.items() if name not in own}
    right = all(jobs.get(name) == count for name, count in own.items()) and set(rest.values()) == {1}
    if not right or {"dataset", "train", "select"} & set(jobs):
        sys.exit(f"the plan for one new patient is wrong: {jobs}")


def main(sizes: tuple[int, ...] = SIZES, repeats: int = REPEATS) -> None:
    """Prepare, measure in turn, print and write."""
    work = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        cases = {f"{n}": (n, "auto" if n > ABOVE else 0) for n in sizes}
        if 1000 in sizes:
            cases["1000, in buckets"] = (1000, 128)
        about = {name: apart(prepare, work / str(i), *case) for i, (name, case) in enumerate(cases.items())}
        (work / "empty").mkdir()
        (work / "empty/Snakefile").write_text("rule all:\n    input: []\n")
        empty = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--cores", "1", "-n"]
        found: dict[str, list[dict[str, float]]] = {"empty": []}
        for _ in range(repeats):
            found["empty"].append(measured(empty, work / "empty")[0])
            for i, (name, (patients, _buckets)) in enumerate(cases.items()):
                folder = work / str(i)
                one, text = measured(snakemake("-n"), folder)
                if planned(text):
                    sys.exit(f"something is stale: {planned(text)}")
                found.setdefault(f"{name}: no-op", []).append(one)
                status = [sys.executable, "-m", "promet.cli", "status", "-c", "config.json"]
                found.setdefault(f"{name}: status", []).append(measured(status, folder)[0])
                apart(write_cohort, folder, patients, True)
                one, text = measured(snakemake("-n"), folder)
                jobs = planned(text)
                check_plan(
                    {rule: n for rule, n in jobs.items() if rule != "all"}, bool(about[name]["buckets"])
                )
                about[name]["one patient more"] = jobs
                found.setdefault(f"{name}: one patient more", []).append(one)
                apart(write_cohort, folder, patients)
    finally:
        shutil.rmtree(work)
    median = {
        name: {key: round(statistics.median(one[key] for one in several), 3) for key in several[0]}
        for name, several in found.items()
    }
    base = median["empty"]["cpu"]
    for values in median.values():
        values["ratio"] = round(values["cpu"] / base, 2)
    import snakemake as package

    machine = {"python": platform.python_version(), "snakemake": package.__version__, "cores": os.cpu_count()}
    write_json(
        ROOT / "bench/results/scale.json",
        {"schema": 1, "repeats": repeats, "machine": machine, "studies": about, "median": median},
    )
    print(f"{'':32} {'CPU s':>7} {'x empty':>8} {'MB':>6} {'wall s':>7}")
    for name, values in median.items():
        print(
            f"{name:32} {values['cpu']:7.2f} {values['ratio']:8.2f} {values['mb']:6.0f} {values['wall']:7.2f}"
        )


if __name__ == "__main__":
    main(tuple(int(word) for word in sys.argv[1:]) or SIZES)
