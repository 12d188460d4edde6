"""Writes sets.csv, 60 sets of probabilities with many ties that lowess.R smooths; run before it, from this folder: python make_sets.py"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def sets() -> pd.DataFrame:
    """set, p, y: 10 to 60 patients; from nearly all at one probability to a few at each of many."""
    random, rows = np.random.default_rng(30), []
    for k in range(60):
        n = int(random.integers(10, 61))
        values = np.round(np.sort(random.random(int(random.integers(3, 12)))), 2)
        share = random.dirichlet(np.full(len(values), 0.4))
        p = random.choice(values, n, p=share)
        p[:3] = values[[0, 1, -1]]
        rows += [(k, x, int(random.random() < x)) for x in p]
    return pd.DataFrame(rows, columns=["set", "p", "y"])


if __name__ == "__main__":
    sets().to_csv(HERE / "sets.csv", index=False)
