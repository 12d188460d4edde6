"""The paper's protocol at scale: fifty seeds on a phantom cohort of its size, from DICOM to report.html, with few epochs.

Does anything degrade with the number of jobs? Compares the first with the last fifth of the trainings: seconds of a job by its own record,
and seconds of the machine for one training. Then the memory of the largest process and the size of the results. Writes
bench/results/seeds.json.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from promet.core.files import read_json, write_json

SEEDS, EPOCHS, DEVELOPMENT, METACHRONOUS = 50, 4, 94, 23
STUDY = "seeds"
SHARE = SEEDS // 5


def _promet(folder: Path, *words: str) -> float:
    """Run a promet command there; wall seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "promet.cli", *words]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"promet {words[0]} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return time.perf_counter() - start


def measure(folder: Path) -> dict[str, Any]:
    """The whole run in an empty folder."""
    counts = ["--development", str(DEVELOPMENT), "--metachronous", str(METACHRONOUS), "--prospective", "0"]
    _promet(folder, "phantom", ".", *counts, "--effect", "2")
    network = {"seeds": SEEDS, "training": {"epochs": EPOCHS, "patience": EPOCHS}}
    (folder / "seeds.yaml").write_text(
        json.dumps({"study": STUDY, "cohort": "cohort.tsv", "network": network})
    )
    _promet(folder, "intake", "-c", "seeds.yaml")
    seconds = _promet(folder, "run", "-c", "seeds.yaml")
    results = folder / "results" / STUDY
    records = sorted(
        results.glob("network/*/split-00/seed-*/train.json"), key=lambda path: path.stat().st_mtime
    )
    ended = [path.stat().st_mtime for path in records]
    jobs = [read_json(path)["seconds"] for path in records]
    between = [later - earlier for earlier, later in itertools.pairwise(ended)]
    first, last = slice(None, SHARE), slice(-SHARE, None)
    return {
        "trained": len(records),
        "seconds_whole_run": seconds,
        "seconds_of_a_job": {"first": statistics.median(jobs[first]), "last": statistics.median(jobs[last])},
        "seconds_for_one_training": {
            "first": statistics.mean(between[first]),
            "last": statistics.mean(between[last]),
        },
        "memory_mb_largest_process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "results_mb": sum(path.stat().st_size for path in results.rglob("*") if path.is_file()) / 1e6,
        "report": (results / "report/report.html").stat().st_size > 0,
    }


def main() -> None:
    """Measure in a folder of its own, print, write the JSON."""
    folder = Path(tempfile.mkdtemp())
    try:
        found = measure(folder)
    finally:
        shutil.rmtree(folder)
    write_json("bench/results/seeds.json", found)
    print(
        f"{found['trained']} seeds x {EPOCHS} epochs on {DEVELOPMENT} + {METACHRONOUS} phantoms, from images to report:"
        f" {found['seconds_whole_run']:.0f} s; largest process {found['memory_mb_largest_process']:.0f} MB,"
        f" results {found['results_mb']:.0f} MB"
    )
    for name in ("seconds_of_a_job", "seconds_for_one_training"):
        first, last = found[name]["first"], found[name]["last"]
        print(
            f"{name.replace('_', ' ')}: first {SHARE} {first:.2f}, last {SHARE} {last:.2f}: {last / first:.2f} times"
        )
