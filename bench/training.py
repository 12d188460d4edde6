"""How fast is training? The loop that anyone would write (monai, DataLoader, Adam), ours, and the floor, side by side.

The plain loop comes in four forms: as written with torch's own number of threads, without or with worker processes; with one thread (two
jobs side by side use the cores best); and with monai's metadata switched off as well, the fastest plain loop we know.

Ours is measured with each of its two hand-written parts taken out, too: with monai's transforms, and with torch's layers and gradients.

The main measure is CPU seconds of all processes per epoch, since the machine may be shared; medians of interleaved rounds. The floor is the
convolutions and matrix products of an epoch at the speed of one large matrix product, measured in the same rounds. The throughput of the
same two cores is measured as well, in wall time: as written with the machine to itself, against two of ours side by side, as the pipeline's
jobs run. Writes bench/results/training.json and prints a table; ``python -m bench training --write`` puts it into docs/design.md.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promet.core import defaults
from promet.core.files import write_json, write_text

SHAPE, TRAINING, VALIDATION, BATCH = (2, *defaults.SHAPE), 47, 19, 8
SEEDS, EPOCHS, CORES = 50, 300, 2
BESIDE = "ours, 2 jobs side by side"
KINDS = {
    "as written, no workers": ("plain", 0, 0, 1),
    "as written, 2 workers": ("plain", 2, 0, 1),
    "plain, 1 thread": ("plain", 0, 1, 1),
    "plain, 1 thread, no metadata": ("plain", 0, 1, 0),
    "ours": ("ours", 0, 1, 0),
    "ours, monai's transforms": ("ours-monai", 0, 1, 0),
    "ours, torch's gradients": ("ours-torch", 0, 1, 0),
    "floor": ("floor", 0, 1, 0),
}
ALONE = [name for name, (_, _, threads, _) in KINDS.items() if threads == 1]
# Title of a column -> what stands in it, and how.
COLUMNS = {
    "CPU s": ("cpu", ".3f"),
    "plain ÷ this": ("faster_than_best_plain", ".2f"),
    "this ÷ floor": ("times_floor", ".2f"),
    "hours of 50 seeds": ("hours_full_protocol", ".2f"),
    "MB": ("memory_mb", ".0f"),
}
PAGE, START, END = (
    Path(__file__).parents[1] / "docs/design.md",
    "<!-- bench training -->",
    "<!-- bench end -->",
)


def _cpu() -> float:
    """CPU seconds of this process and its ended children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _data() -> tuple[dict[str, Any], dict[str, Any]]:
    """Volumes as the pipeline makes them: uptake inside an organ, a lesion with its map, zeros outside; no signal in the labels."""
    import numpy as np

    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE[1:]), indexing="ij"), axis=-1)

    def distance(centre: Any, radii: Any) -> Any:
        return (((places - centre) / radii) ** 2).sum(-1)

    volumes = {}
    for part, count in (("training", TRAINING), ("validation", VALIDATION)):
        volumes[part] = np.zeros((count, *SHAPE), np.float32)
        for pet, lesion in volumes[part]:
            lesion[:] = distance(rng.uniform((4, 18, 18), (9, 36, 36)), (1.5, 4, 4)) < 1
            organ = distance((6.5, 26.5, 26.5), (5, 20, 22)) < 1
            uptake = organ * (0.2 + 0.2 * rng.random(SHAPE[1:]) + 0.6 * lesion)
            pet[:] = uptake / uptake.max()
    return volumes, {part: np.arange(len(array)) % 2 for part, array in volumes.items()}


def _plain(workers: int, threads: int, metadata: bool, device: str = "cpu", there: bool = False) -> Any:
    """Epochs of the plain loop over volumes in memory: nothing of ours but the ranges of the transforms.

    On a device the network is there, and with ``there`` the volumes, too, so that the transforms run there as far as they can.
    """
    import torch
    from monai.data import DataLoader, Dataset, MetaTensor, set_track_meta
    from monai.transforms import SomeOf
    from torch import nn

    from promet.network.augment.by_monai import monai_transforms
    from promet.network.augment.settings import TRANSFORMS, Augmentation
    from promet.network.squeezenet import Cube, Fire, Pointwise, SqueezeNet

    if threads:
        torch.set_num_threads(threads)

    set_track_meta(metadata)

    class PlainFire(Fire):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.squeeze(x)
            y = torch.cat([self.expand1(y), self.expand3(y)], dim=1)
            return torch.relu(x + y if self.bypass else y)

    model = SqueezeNet().to(device)
    for module in model.modules():
        if isinstance(module, (Pointwise, Cube)):
            module.__class__ = nn.Conv3d
        if isinstance(module, nn.Conv3d) and module.kernel_size == (1, 1, 1):
            module._reversed_padding_repeated_twice = [0] * 6
        elif isinstance(module, Fire):
            module.__class__ = PlainFire
    layers = model.features._modules
    layers["norm"] = nn.Sequential(layers["norm"], nn.ReLU(inplace=True))
    for name in ("pool1", "pool3", "pool5", "pool7"):
        layers[name] = nn.MaxPool3d(3, 2, 1)

    def forward(batch: dict[str, Any]) -> torch.Tensor:
        volumes = torch.cat([batch["pet"], batch["lesions"]], 1).to(device)
        return model.classifier(model.features(volumes)).squeeze(1)

    made = monai_transforms(Augmentation(), SHAPE[1:])
    pipeline = SomeOf([made[name]() for name in TRANSFORMS], num_transforms=7)
    volumes, labels = _data()
    tensor = MetaTensor if metadata else torch.tensor

    def put(array: Any) -> Any:
        return tensor(array).to(device if there else "cpu")

    items = {
        part: [
            {"pet": put(volume[:1]), "lesions": put(volume[1:]), "label": float(label)}
            for volume, label in zip(volumes[part], labels[part], strict=True)
        ]
        for part in volumes
    }
    criterion, optimizer = (
        nn.BCEWithLogitsLoss(),
        torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4),
    )

    def transform(item: dict[str, Any]) -> dict[str, Any]:
        return pipeline({name: value.clone() if name == "pet" else value for name, value in item.items()})

    def epochs(count: int) -> None:
        options = {"num_workers": workers, "persistent_workers": bool(workers)}
        loader = DataLoader(Dataset(items["training"], transform), batch_size=BATCH, shuffle=True, **options)
        check = DataLoader(Dataset(items["validation"]), batch_size=BATCH)
        for _ in range(count):
            model.train()
            for batch in loader:
                optimizer.zero_grad()
                loss = criterion(forward(batch), batch["label"].float().to(device))
                loss.backward()
                optimizer.step()
                loss.item()
            model.eval()
            with torch.no_grad():
                for batch in check:
                    forward(batch)

    return epochs


def _ours(engine: str = "batched", layers: str = "ours") -> Any:
    from promet.network.augment.settings import Augmentation
    from promet.network.objective import Label
    from promet.network.settings import Variant
    from promet.network.train import Trainer, prepare_torch

    device = prepare_torch()
    volumes, labels = _data()
    chosen = Variant(augmentation=Augmentation(engine=engine))
    trainer = Trainer(chosen, 0, volumes, Label(labels, device), device)
    if layers == "torch":
        trainer.model._features = trainer.model.features.__call__  # layer by layer, as where hooks want them

    def epochs(count: int) -> None:
        for _ in range(count):
            trainer.run_epoch()

    return epochs


def _floor() -> Any:
    """The operations of an epoch as one large matrix product after another."""
    import torch

    from promet.network.architecture import build, forward_flops
    from promet.network.settings import Architecture

    torch.set_num_threads(1)
    model = build(Architecture())
    forward = forward_flops(model, SHAPE)
    stem = forward_flops(model.features.stem, SHAPE)  # has no gradient towards its input
    work = TRAINING * (3 * forward - stem) + VALIDATION * forward
    side = 2048
    a, b = torch.rand(side, side), torch.rand(side, side)
    out = torch.empty(side, side)

    def epochs(count: int) -> None:
        for _ in range(max(1, round(count * work / (2 * side**3)))):
            torch.mm(a, b, out=out)

    epochs.flops = work
    return epochs


def serve(kind: str, workers: int, threads: int, metadata: int, device: str = "cpu", there: int = 0) -> None:
    """Answer each line, a number of epochs, with the CPU and wall seconds they took."""
    import torch

    made = {
        "plain": lambda: _plain(workers, threads, bool(metadata), device, bool(there)),
        "ours": _ours,
        "ours-monai": lambda: _ours(engine="monai"),
        "ours-torch": lambda: _ours(layers="torch"),
        "floor": _floor,
    }
    epochs = made[kind]()
    epochs(1)
    print("ready", flush=True)
    for line in sys.stdin:
        cpu, wall = _cpu(), time.perf_counter()
        epochs(int(line))
        taken = {"cpu": (_cpu() - cpu) / int(line), "wall": (time.perf_counter() - wall) / int(line)}
        kilobytes = [
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        memory = (kilobytes[0] + workers * kilobytes[1]) / 1024
        held = torch.cuda.max_memory_reserved() >> 20 if device != "cpu" else 0
        print(
            json.dumps(
                {**taken, "memory_mb": memory, "gpu_mb": held, "flops": getattr(epochs, "flops", None)}
            ),
            flush=True,
        )


def _start(arguments: tuple[Any, ...]) -> subprocess.Popen[str]:
    """A process that serves, when it is ready, so that none starts while another is measured."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.training", *map(str, arguments)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while (line := server.stdout.readline()) and line.strip() != "ready":
        pass
    return server


def _ask(servers: list[subprocess.Popen[str]], count: int) -> list[dict[str, float]]:
    """The answers of servers that work at the same time."""
    for server in servers:
        server.stdin.write(f"{count}\n")
        server.stdin.flush()
    return [json.loads(server.stdout.readline()) for server in servers]


def _beside(servers: list[subprocess.Popen[str]], count: int) -> dict[str, float]:
    """Jobs side by side: CPU seconds per epoch, wall seconds in which the machine gets through one epoch, memory of all."""
    start = time.perf_counter()
    answers = _ask(servers, count)
    wall = (time.perf_counter() - start) / (count * len(servers))
    cpu = statistics.mean(one["cpu"] for one in answers)
    return {"cpu": cpu, "wall": wall, "memory_mb": sum(one["memory_mb"] for one in answers)}


def main(rounds: int = 5, count: int = 1, write: bool = False) -> None:
    """Measure, print the table, write the JSON. ``write``: only what has one thread, whose CPU time a shared machine tells; onto the page, too."""
    kinds = {name: kind for name, kind in KINDS.items() if name in ALONE or not write}
    servers = {name: _start(kind) for name, kind in kinds.items()}
    pair = [] if write else [servers["ours"], *(_start(KINDS["ours"]) for _ in range(CORES - 1))]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in [*kinds, *[BESIDE] * bool(pair)]}
    for _ in range(rounds):
        for name, server in servers.items():
            found[name] += _ask([server], count)
        if pair:
            found[BESIDE].append(_beside(pair, 4 * count))  # several epochs, so that both work all the time
    for server in [*servers.values(), *pair[1:]]:
        server.stdin.close()
        server.wait()

    def in_turn(name: str, key: str, *others: str) -> float:
        """How many times less than the least of the others, as the median of the rounds."""
        pairs = zip(found[name], *(found[other] for other in others), strict=True)
        return statistics.median(min(other[key] for other in rest) / one[key] for one, *rest in pairs)

    middle = {
        name: {key: statistics.median(one[key] for one in rows) for key in ("cpu", "wall", "memory_mb")}
        for name, rows in found.items()
    }
    plain, written = ([name for name in kinds if name.startswith(form)] for form in ("plain", "as written"))
    for name, row in middle.items():
        row["faster_than_best_plain"] = in_turn(name, "cpu", *plain)
        row["times_floor"] = 1 / in_turn(name, "cpu", "floor")
        row["hours_full_protocol"] = row["cpu"] * SEEDS * EPOCHS / CORES / 3600
        if written:
            row["faster_than_as_written"] = in_turn(name, "cpu", *written)
            row["throughput_to_as_written"] = in_turn(name, "wall", *written)
    peak = found["floor"][0]["flops"] / middle["floor"]["cpu"] / 1e9
    result = {"rounds": found, "median": middle, "peak_gflops": peak, "epochs_per_round": count}
    write_json("bench/results/training.json", result)
    text = table(middle, rounds, peak)
    print(text)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        write_text(PAGE, re.sub(f"(?s)(?<={START}\n).*?(?={END})", lambda _: text, page))
    else:
        print(
            f"the same {CORES} cores get through {middle[BESIDE]['throughput_to_as_written']:.2f} times as many epochs with {CORES} jobs of ours"
            " side by side as with the loop as written and all of torch's threads"
        )


def table(rows: Mapping[str, Mapping[str, float]], rounds: int, peak: float) -> str:
    """What was measured as lines of Markdown, on which machine and with what; no date, no time on the wall."""
    lines = [" | ".join(("", "loop", *COLUMNS, "")), "|---" + "|---:" * len(COLUMNS) + "|"]
    lines += [
        " | ".join(("", name, *(format(row[key], form) for key, form in COLUMNS.values()), ""))
        for name, row in rows.items()
    ]
    cpu = dict(
        re.findall(
            r"^(vendor_id|cpu family|model|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
    )
    return "\n".join(line.strip() for line in lines) + (
        f"\n\nOne epoch: {TRAINING} training and {VALIDATION} validation volumes of {SHAPE}, batch {BATCH}; medians of {rounds} rounds in turn. "
        f"Hours: {SEEDS} seeds of {EPOCHS} epochs on {CORES} cores. Machine: {os.cpu_count()} cores, {cpu['vendor_id']} family {cpu['cpu family']}"
        f" model {cpu['model']}{', AVX-512' * ('avx512f' in cpu['flags'])}, shared; {peak:.0f} GFLOP/s on one thread. "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "numba", "numpy"))
        + ".\n"
    )


if __name__ == "__main__":
    serve(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:6], *map(int, sys.argv[6:7]))
