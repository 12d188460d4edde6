"""Writes the seeded tables that generate.R analyses; run before it, from this folder: python make_tables.py"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def binary(seed: int, n: int, digits: int, strength: float) -> pd.DataFrame:
    """label 0/1, scores a and b (rounded: ties), probability p with its log-odds lp."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.45).astype(int)
    a = np.round(random.normal(size=n) + strength * y, digits)
    b = np.round(0.6 * a + random.normal(size=n) + 0.3 * y, digits)
    lp = np.round(0.7 * a - 0.4 + random.normal(size=n) * 0.3, 6)
    return pd.DataFrame({"label": y, "a": a, "b": b, "lp": lp})


def survival(seed: int, n: int, tied: bool) -> pd.DataFrame:
    """months (whole ones when ``tied``), event 0/1, score, group a/b/c."""
    random = np.random.default_rng(seed)
    score = np.round(random.normal(size=n), 3)
    time = random.exponential(45 * np.exp(-0.7 * score))
    gone = random.uniform(5, 90, n)
    event = (time <= gone).astype(int)
    time = np.minimum(time, gone)
    time = np.ceil(time) if tied else np.round(time, 4)
    return pd.DataFrame(
        {"time": time, "event": event, "score": score, "group": np.array(["a", "b", "c"])[np.arange(n) % 3]}
    )


TABLES = {
    "binary_23_tied": lambda: binary(1, 23, 1, 0.8),
    "binary_28": lambda: binary(2, 28, 4, 1.2),
    "binary_94_tied": lambda: binary(3, 94, 1, 0.9),
    "binary_400": lambda: binary(4, 400, 4, 0.5),
    "survival_23_tied": lambda: survival(5, 23, True),
    "survival_90_tied": lambda: survival(6, 90, True),
    "survival_150": lambda: survival(7, 150, False),
}

if __name__ == "__main__":
    for name, make in TABLES.items():
        make().to_csv(HERE / f"{name}.csv", index=False)
