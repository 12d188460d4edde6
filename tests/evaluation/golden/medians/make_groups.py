"""Writes groups.csv, 500 small random groups that medians.R analyses; run before it, from this folder: python make_groups.py"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
KINDS = ("whole", "tenths", "smooth", "three", "halves")


def groups() -> pd.DataFrame:
    """group, level (of the interval), time, event.

    whole: months 0 to 20, many ties; tenths: sums of 0.1, equal only but for rounding; smooth: no ties; three: three times only;
    halves: even groups with little censoring, whose curve often runs at exactly one half.
    """
    random, rows = np.random.default_rng(20), []
    for k in range(500):
        kind = KINDS[k % len(KINDS)]
        n = 1 + int(random.integers(0, 14))
        free = random.choice([0.0, 0.2, 0.5, 0.9])
        if kind == "whole":
            time = random.integers(0, 21, n).astype(float)
        elif kind == "tenths":
            time = np.array([sum([0.1] * int(m)) for m in random.integers(1, 12, n)])
        elif kind == "smooth":
            time = np.round(random.exponential(20, n), 4)
        elif kind == "three":
            time = random.choice([6.0, 12.0, 48.0], n)
        else:
            n, free = 2 * (1 + n // 2), random.choice([0.0, 0.3])
            time = np.arange(1.0, n + 1)
        event = (random.random(n) >= free).astype(int)
        if k % 50 == 7:
            event[:] = 0
        if k % 50 == 8:
            event[:], time[:] = 1, time[0]
        if kind == "halves":
            event[: n // 2] = 1  # the curve comes down to exactly one half
        rows += [(k, 0.8 if k % 4 == 3 else 0.95, t, e) for t, e in zip(time, event, strict=True)]
    return pd.DataFrame(rows, columns=["group", "level", "time", "event"])


if __name__ == "__main__":
    groups().to_csv(HERE / "groups.csv", index=False)
