"""How fast and how repeatable is training on a GPU? Beside it the loop that anyone would write (monai, DataLoader, Adam) on the same card.

In one run, interleaved: seconds for one epoch of the plain loop, of the plain loop with monai's transforms on the card, of ours alone and of
ours in 2, 4 and 8 processes on the card, with the memory of card and host. Then, as a cluster runs them (``promet together``), SEEDS whole
trainings, once more one of them, and one that is killed and taken up again: are the bytes the same? Last, five epochs here and on a CPU.

Without CUDA it says so and ends well; PROMET_BENCH_FORCE=1 tries all of it on CPU, small. Writes bench/results/gpu.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import training
from promet.core.files import digest_file, read_json, write_json

ALL, EPOCHS, SEEDS, BESIDE = 50, 300, 5, (1, 2, 4, 8)
PRODUCTS = ("model.safetensors", "history.parquet", "predictions.parquet")
GOALS = "goals on one H100 or H200: 10 times the plain loop, 50 seeds x 300 epochs in 10 minutes, the same bytes twice"


def speed(device: str, rounds: int, count: int, beside: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Wall seconds for one epoch of one seed, and MB on the card and off it, medians of interleaved rounds."""
    kinds = {
        "plain loop": ("plain", 4, 1, 0, device),
        "plain loop, transforms on the card": ("plain", 0, 1, 0, device, 1),
    }
    servers = {name: [training._start(arguments)] for name, arguments in kinds.items()}
    ours = [training._start(("ours", 0, 1, 0, device)) for _ in range(max(beside))]
    servers |= {f"ours, {number} at a time": ours[:number] for number in beside}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, those in servers.items():
            found[name].append(_round(those, count))
    for server in [*ours, *(those[0] for name, those in servers.items() if name in kinds)]:
        server.stdin.close()
        server.wait()
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in found.items()
    }


def _round(servers: list[subprocess.Popen[str]], count: int) -> dict[str, float]:
    start = time.perf_counter()
    answers = training._ask(servers, count)
    seconds = (time.perf_counter() - start) / (count * len(servers))
    return {
        "seconds": seconds,
        "gpu_mb": sum(one["gpu_mb"] for one in answers),
        "host_mb": sum(one["memory_mb"] for one in answers),
    }


def fit_set(folder: Path) -> tuple[Path, Path]:
    """The bench's volumes as the stages before a training leave them: fit.json and the patients' folder."""
    import numpy as np

    from promet.network.data import Member, fit_digest, write_members

    volumes, labels = training._data()
    members = []
    for part, array in volumes.items():
        for number, volume in enumerate(array):
            path = folder / f"patients/{part}{number}/tensor.npy"
            path.parent.mkdir(parents=True)
            np.save(path, volume)
            members.append(Member(path.parent.name, part, int(labels[part][number]), digest_file(path)))
    fit = folder / "fit.json"
    write_members(folder / "members.parquet", members)
    write_json(fit, {"digest": fit_digest(members)})
    return fit, folder / "patients"


def _words(folder: Path, place: str, seed: int, epochs: int) -> tuple[list[str], str]:
    """Words of a training's command, and its log."""
    out = folder / place / f"seed-{seed:02d}/train.json"
    settings = json.dumps({"training": {"epochs": epochs, "patience": epochs}})
    words = ["--fit", folder / "fit.json", "--patients", folder / "patients", "--seed", seed]
    return list(map(str, [*words, "--out", out, "--pin", "bench", "--settings", settings])), f"{out}.log"


def together(folder: Path, place: str, seeds: range, epochs: int, at_once: int) -> int:
    """Train these seeds as a submission does; its exit code."""
    from promet.workflow.scheduler.trainings import packed

    each = packed([_words(folder, place, seed, epochs) for seed in seeds])
    return subprocess.call([sys.executable, "-m", "promet.cli", "together", each, str(at_once)])


def whole(folder: Path, seeds: int, epochs: int, at_once: int) -> dict[str, Any]:
    """Whole trainings: their time, and whether bytes come out the same twice and after a kill."""
    fit_set(folder)
    start = time.perf_counter()
    done = together(folder, "first", range(seeds), epochs, at_once)
    seconds = time.perf_counter() - start
    again = together(folder, "again", range(1), epochs, 1)
    words, _ = _words(folder, "killed", 0, epochs)
    alone = [sys.executable, "-m", "promet.cli", "network", "train", *words]
    killed = subprocess.Popen(alone)
    while not (folder / "killed/seed-00/resume.safetensors").exists() and killed.poll() is None:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    resumed = subprocess.call(alone)
    digests = {
        place: [digest_file(folder / place / "seed-00" / name) for name in PRODUCTS]
        for place in ("first", "again", "killed")
    }
    record = read_json(folder / "first/seed-00/train.json")
    return {
        "seeds": seeds,
        "epochs": epochs,
        "at_once": at_once,
        "seconds": seconds,
        "exit_codes": [done, again, resumed],
        "same_bytes_twice": digests["first"] == digests["again"],
        "same_bytes_after_a_kill": digests["first"] == digests["killed"],
        "resumed": read_json(folder / "killed/seed-00/train.json")["notes"]["resumed"],
        "notes": record["notes"],
        "warnings": record["warnings"],
    }


def agreement(device: str) -> dict[str, float]:
    """The largest relative difference of losses between the device and a CPU in five epochs."""
    import torch

    from promet.network.device import prepare_torch
    from promet.network.objective import Label
    from promet.network.settings import Variant
    from promet.network.train import Trainer

    prepare_torch()
    volumes, labels = training._data()
    told = []
    for where in (device, "cpu"):
        there = torch.device(where)
        run = Trainer(Variant(), 0, volumes, Label(labels, there), there)
        for _ in range(5):
            run.run_epoch()
        told.append(run.history)
    return {
        kind: max(abs(a[kind] / b[kind] - 1) for a, b in zip(*told, strict=True))
        for kind in ("training_loss", "validation_loss")
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    import torch

    forced = bool(os.environ.get("PROMET_BENCH_FORCE"))
    if not (torch.cuda.is_available() or forced):
        print(
            "no GPU that torch can use here: nothing was measured. PROMET_BENCH_FORCE=1 tries the bench on CPU"
        )
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = device == "cpu"
    name = (
        torch.cuda.get_device_name() if not small else "a CPU, to try the bench: these figures mean nothing"
    )
    print(f"device: {name}; torch {torch.__version__}", flush=True)
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    rows = found["epoch"] = speed(device, *((1, 1, (1, 2)) if small else (3, 5, BESIDE)))
    plain = rows["plain loop"]["seconds"]
    print(
        f"one epoch: {training.TRAINING} training and {training.VALIDATION} validation volumes of {training.SHAPE}"
    )
    print(f"{'':36} {'s':>8} {'x plain':>8} {'min, all':>9} {'GPU MB':>7} {'MB':>6}")
    for kind, row in rows.items():
        row["minutes_of_all"] = row["seconds"] * ALL * EPOCHS / 60
        print(
            f"{kind:36} {row['seconds']:8.4f} {plain / row['seconds']:8.1f} {row['minutes_of_all']:9.1f}"
            f" {row['gpu_mb']:7.0f} {row['host_mb']:6.0f}",
            flush=True,
        )
    at_once = min(BESIDE, key=lambda number: rows.get(f"ours, {number} at a time", {}).get("seconds", 1e9))
    with tempfile.TemporaryDirectory(prefix="promet-") as folder:
        found["whole"] = whole(Path(folder), *((2, 6, 2) if small else (SEEDS, EPOCHS, at_once)))
    told = found["whole"]
    print(
        f"{told['seeds']} seeds x {told['epochs']} epochs, {told['at_once']} at a time, start and all: {told['seconds']:.0f} s;"
        f" the same bytes twice: {told['same_bytes_twice']}, after a kill: {told['same_bytes_after_a_kill']}"
    )
    found["agreement"] = agreement(device)
    print(
        "losses here and on a CPU differ by at most "
        + ", ".join(f"{kind} {value:.2%}" for kind, value in found["agreement"].items())
    )
    print(GOALS)
    write_json("bench/results/gpu.json", found)
