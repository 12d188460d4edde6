#!/usr/bin/env python3
"""Stands in for ``promet`` in the jobs of the plan tests: writes records like the real one's, in milliseconds.

The digest of a product is a hash of what the real job would compute it from. Each job is noted in runs.log.
CONSTANT in the environment names stages whose product comes out as it was, whatever goes in; STUCK names one job
that stops in the middle of writing.
"""

import csv
import hashlib
import json
import os
import sys
import time
from pathlib import Path

# A patient's stages: [the stage before, its sources]; from workflow/stages.py, which this process is too short to load.
IMAGES = json.loads(os.environ["IMAGES"])


def digest(*parts):
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def rows(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def record(path):
    return json.loads(Path(path).read_text())


def write(path, value):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, sort_keys=True))


def place(stage, out):
    if stage == "train":
        return "/".join(out.parts[-4:-1])
    return out.parent.name if stage in IMAGES else ""


def image(stage, out, settings, options, inputs):
    """Digest of an image job's product; fills ``inputs``."""
    given = [
        (r["source"], r["digest"])
        for r in (rows(options["registry"][0]) if "registry" in options else [])
        if r["patient"] == out.parent.name and r["source"] in IMAGES[stage][1]
    ]
    if before := IMAGES[stage][0]:
        inputs[before] = record(out.with_name(f"{before}.json"))["digest"]
    kept = out.with_name(f".{stage}.product")  # the product, which Snakemake does not delete
    same = stage in os.environ.get("CONSTANT", "").split()
    made = kept.read_text() if same else digest(stage, settings, given, inputs)
    kept.write_text(made)
    return made


def stop_half_way(out):
    """Until somebody kills it, its record half written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text('{"stage": ')
    Path("stuck").write_text(str(os.getpid()))
    time.sleep(600)


def main():
    words = sys.argv[1:]
    options = {}
    for i, word in enumerate(words):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            options.setdefault(name, []).append(value or words[i + 1])
    out = Path(options["out"][0])
    stage = "report" if words[:2] == ["report", "build"] else words[1]
    settings = options.get("settings", [""])[0]
    inputs = {}
    if stage in IMAGES:
        made = image(stage, out, settings, options, inputs)
    elif stage == "gather":
        names = sorted(r["patient"] for r in rows(options["cohort"][0]))
        patients = Path(options["patients"][0])
        for product, source in (("tensors", "normalise"), ("measures", "measure")):
            of = [[n, record(patients / n / f"{source}.json")["digest"]] for n in names]
            write(out.with_name(f"{product}.json"), {"digest": digest(of)})
        made = digest(names)
    elif stage == "dataset":
        labels = {r["patient"]: r["synchronous_metastasis"] for r in rows(options["cohort"][0])}
        members = [
            [
                r["patient"],
                r["part"],
                labels[r["patient"]],
                record(Path(options["patients"][0]) / r["patient"] / "normalise.json")["digest"],
            ]
            for r in rows(options["ledger"][0])
            if r["split"] == f"{int(options['split'][0]):02d}"
            and r["part"] in ("training", "validation")
            and r["patient"] in labels
        ]
        made = digest(sorted(members))
        write(out.with_name("fit.json"), {"digest": made})
    elif stage == "train":
        made = digest(record(options["fit"][0]), options["seed"], settings)
    elif stage == "select":
        best = min(record(path)["digest"] for path in options["candidate"])
        write(out.with_name("model.json"), {"digest": best})
        made = digest(best, sorted(options["candidate"]))
    else:
        made = digest(stage, os.urandom(8).hex())  # nothing after these is cut off
    where = place(stage, out)
    if os.environ.get("STUCK") == f"{stage} {where}".strip():
        stop_half_way(out)
    about = {"stage": stage, "pin": options["pin"][0], "status": "ok", "inputs": inputs}
    seconds = int.from_bytes(os.urandom(2), "big")  # a real record is never twice the same
    write(out, {**about, "digest": made, "seconds": seconds})
    if stage == "fuse":
        write(out.with_name("naive_bayes.json"), {"digest": made})
    if stage == "report":
        out.with_name("report.html").write_text("report")
        out.with_name("figures").mkdir(exist_ok=True)
    with open("runs.log", "a") as log:
        log.write(f"{stage} {where}\n")


if sys.argv[1:3] == [
    "imaging",
    "bucket",
]:  # the real choice of what is out of date, with stand-ins for what it calls
    script = str(Path(__file__).with_name("standin_bucket.py"))
    os.execv(sys.executable, [sys.executable, script, *sys.argv[1:]])
main()
