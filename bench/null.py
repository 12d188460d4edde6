"""Does chance stay chance? Many small cohorts in which nothing depends on anything, through the whole pipeline.

A leak anywhere (of a label into an image, of a test patient into a fit, of missingness into a score) would lift the
mean AUC above 0.5. Writes bench/results/null.json and prints mean, standard error and z per score.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from bench.inprocess import run
from promet.core.files import read_json, write_json

CONFIG = {
    "study": "null",
    "cohort": "cohort.tsv",
    "network": {"seeds": 2, "training": {"epochs": 6, "patience": 6, "learning_rate": 0.001}},
    "evaluation": {"bootstrap": 100},
}
SCORES = ("multimodal", "clinical", "cnn_score", "suv_max", "psa")


def aucs(
    seed: int, effect: float, development: int = 30, metachronous: int = 16
) -> dict[str, dict[str, float | None]]:
    """Section -> score -> AUC of one small phantom cohort."""
    from promet.phantom.cohort import write_cohort

    folder = Path(tempfile.mkdtemp())
    try:
        write_cohort(folder, development, metachronous, 0, seed, effect, small=True)
        (folder / "config.yaml").write_text(json.dumps(CONFIG))
        run(folder / "config.yaml", folder)
        sections = read_json(folder / "results/null/evaluation/split-00/metrics.json")["sections"]
        return {
            name: {score: (sections[name]["scores"].get(score) or {}).get("auc") for score in SCORES}
            for name in ("synchronous", "metachronous")
        }
    finally:
        shutil.rmtree(folder)


OVER_TIME = CONFIG | {
    "outcome": {
        "learn": {"kind": "time_to_event", "competing": "died", "edges": [12, 24, 36, 48]},
        "evaluate": {"synchronous": None, "metachronous": {"competing": "died"}},
    },
    "network": CONFIG["network"] | {"select": {"metric": "concordance"}},
}


def concordances(seed: int, effect: float, development: int = 56) -> dict[str, dict[str, float | None]]:
    """Score -> Harrell's C up to four years in the test part of one small cohort, in which a time to an event is learnt; {} where a
    part has too few events."""
    import pandas as pd

    from promet.core.errors import UsageError
    from promet.phantom.cohort import write_cohort
    from promet.study.concordance import harrell

    folder = Path(tempfile.mkdtemp())
    try:
        write_cohort(folder, development, 0, 0, seed, effect, small=True, followed=True)
        (folder / "config.yaml").write_text(json.dumps(OVER_TIME))
        run(folder / "config.yaml", folder, until="fuse")
        table = pd.read_parquet(folder / "results/null/fusion/split-00/predictions.parquet")
        found: dict[str, float | None] = {}
        for score in ("multimodal", "clinical", "cnn_score", "psa"):
            mine = table[(table["part"] == "test") & table["time"].notna() & table[score].notna()]
            found[score] = harrell(*(mine[name].to_numpy() for name in ("time", "event", score)), 48.0)[0]
        return {"test": found}
    except UsageError as error:
        if error.code == "E_FIT_LABELS":
            return {}
        raise
    finally:
        shutil.rmtree(folder)


def over_time(cohorts: int = 24, effect: float = 0.0) -> None:
    """The same of a time to an event: is mean C one half?"""
    told = [concordances(2000 + seed, effect) for seed in range(cohorts)]
    table = [row for row in told if row]
    _report("null-time" if effect == 0 else "effect-time", effect, table, "mean C")
    print(f"{len(told) - len(table)} of {len(told)} cohorts had too few events in a part")


def summarise(table: list[dict[str, dict[str, float | None]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard error and z = (mean - 0.5) / se of the AUCs over the cohorts."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for section in table[0]:
        for score in SCORES:
            values = np.array([row[section][score] for row in table if row[section].get(score) is not None])
            if len(values) < 2:
                continue
            mean, se = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
            summary.setdefault(section, {})[score] = {
                "n": len(values),
                "mean": float(mean),
                "se": float(se),
                "z": float((mean - 0.5) / se),
            }
    return summary


def main(cohorts: int = 24, effect: float = 0.0) -> None:
    """Run the simulation and print the table."""
    table = []
    for seed in range(cohorts):
        table.append(aucs(1000 + seed, effect))
        print(f"cohort {seed + 1} of {cohorts}", flush=True)
    _report("null" if effect == 0 else "effect", effect, table, "mean AUC")


def _report(name: str, effect: float, table: list[dict[str, dict[str, float | None]]], word: str) -> None:
    summary = summarise(table)
    write_json(f"bench/results/{name}.json", {"effect": effect, "cohorts": table, "summary": summary})
    print(f"{'section':14} {'score':12} {'n':>3} {word:>9} {'se':>6} {'z':>6}")
    for section, scores in summary.items():
        for score, row in scores.items():
            print(
                f"{section:14} {score:12} {row['n']:>3} {row['mean']:>9.3f} {row['se']:>6.3f} {row['z']:>6.2f}"
            )
