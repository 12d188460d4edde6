"""Which interval of an AUC is honest in a small cohort? Coverage and size by simulation.

Scores are normal in both classes with one spread (binormal), so that the true AUC is known. Per size of the two classes
and true AUC: how often each 95 % interval holds the truth, how often each test says p < 0.05 (at AUC 0.5 that is its
size, else its power), and how often the paired DeLong test does so for two scores of one and the same AUC.

Writes docs/coverage.json, its copy that the evaluate stage quotes, and the table in docs/statistics.md.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from promet.core.files import write_json, write_text

ROOT = Path(__file__).parents[1]
PRODUCTS = (ROOT / "docs/coverage.json", ROOT / "scripts/promet/evaluation/stats/coverage.json")
PAGE = ROOT / "docs/statistics.md"
MARKS = ("<!-- coverage: begin -->", "<!-- coverage: end -->")
SIZES = ((10, 13), (13, 15), (45, 49))  # with and without the outcome
AREAS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LEVEL, ALPHA = 0.95, 0.05
REPLICATES, RESAMPLES, SEED, BLOCK = 4000, 2000, 20260101, 50
CORRELATION = 0.5  # of two scores within a class, for the paired test
EXACT_PAIRS = 2500  # as in promet.evaluation.stats.auc


def kernel(cases: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """(replicates, cases, controls): 1 where the case scores higher; continuous scores have no ties."""
    return (cases[:, :, None] > controls[:, None, :]).astype(float)


def delong(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """AUC and standard error per replicate, and the placements of cases and of controls."""
    of_cases, of_controls = psi.mean(axis=2), psi.mean(axis=1)
    variance = of_cases.var(axis=1, ddof=1) / psi.shape[1] + of_controls.var(axis=1, ddof=1) / psi.shape[2]
    return of_cases.mean(axis=1), np.sqrt(variance), of_cases, of_controls


def bootstrap(psi: np.ndarray, resamples: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval per replicate, cases and controls resampled apart; one set of draws per block."""
    m, n = psi.shape[1:]
    low, high = [], []
    for start in range(0, len(psi), BLOCK):
        block = psi[start : start + BLOCK]
        drawn1 = random.multinomial(m, np.full(m, 1 / m), resamples).astype(float)
        drawn0 = random.multinomial(n, np.full(n, 1 / n), resamples).astype(float)
        wins = drawn1 @ block.transpose(1, 0, 2).reshape(m, -1)
        areas = np.einsum("brn,bn->rb", wins.reshape(resamples, len(block), n), drawn0) / (m * n)
        bounds = np.quantile(areas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        low.append(bounds[0])
        high.append(bounds[1])
    return np.concatenate(low), np.concatenate(high)


def cell(m: int, n: int, area: float, replicates: int, resamples: int, seed: int) -> dict[str, Any]:
    """One size and one true AUC."""
    random = np.random.default_rng([seed, m, n, round(area * 1000)])
    shift = math.sqrt(2) * stats.norm.ppf(area)
    cases = random.normal(size=(replicates, m)) + shift
    controls = random.normal(size=(replicates, n))
    psi = kernel(cases, controls)
    found, se, v1, v0 = delong(psi)
    usable = (found > 0) & (found < 1) & (se > 1e-12)
    q = stats.norm.ppf((1 + LEVEL) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, half = np.log(found / (1 - found)), q * se / (found * (1 - found))
        bounds = {
            "delong": (np.maximum(found - q * se, 0), np.minimum(found + q * se, 1)),
            "logit": (1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))),
        }
        z = {
            "delong": (found - 0.5) / se,
            "mann_whitney": (found - 0.5) / math.sqrt((m + n + 1) / (12 * m * n)),
        }
    bounds["bootstrap"] = bootstrap(psi, resamples, random)
    rejected = {name: 2 * stats.norm.sf(np.abs(value)) < ALPHA for name, value in z.items()}
    # Without a standard error there is no DeLong p, and nothing is rejected.
    rejected["delong"] &= usable
    if m * n <= EXACT_PAIRS:
        exact = stats.mannwhitneyu(cases, controls, axis=1, method="exact").pvalue
        rejected["mann_whitney_exact"] = exact < ALPHA
    # A second score of the same AUC, correlated with the first.
    share, rest = CORRELATION, math.sqrt(1 - CORRELATION**2)
    others = share * (cases - shift) + rest * random.normal(size=cases.shape) + shift
    against = share * controls + rest * random.normal(size=controls.shape)
    second, _, w1, w0 = delong(kernel(others, against))
    spread = np.sqrt((v1 - w1).var(axis=1, ddof=1) / m + (v0 - w0).var(axis=1, ddof=1) / n)
    tested = spread > 1e-9
    paired = tested & (np.abs(found - second) > stats.norm.ppf(1 - ALPHA / 2) * np.where(tested, spread, 1))
    return {
        "positives": m,
        "negatives": n,
        "auc": area,
        "separated": float((~usable).mean()),
        "coverage": {
            name: float(((low <= area) & (area <= high))[usable].mean())
            for name, (low, high) in bounds.items()
        },
        "width": {name: float((high - low)[usable].mean()) for name, (low, high) in bounds.items()},
        "rejected": {name: float(value.mean()) for name, value in rejected.items()},
        "paired_size": float(paired.mean()),
    }


def simulate(replicates: int = REPLICATES, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Any]:
    """The whole table."""
    return {
        "schema": 1,
        "level": LEVEL,
        "alpha": ALPHA,
        "replicates": replicates,
        "resamples": resamples,
        "seed": seed,
        "correlation": CORRELATION,
        "rows": [cell(m, n, area, replicates, resamples, seed) for m, n in SIZES for area in AREAS],
    }


def rounded(value: Any) -> Any:
    """Floats to four decimals: the last digits of a simulation depend on the machine's arithmetic."""
    if isinstance(value, dict):
        return {key: rounded(x) for key, x in value.items()}
    if isinstance(value, list):
        return [rounded(x) for x in value]
    return round(value, 4) if isinstance(value, float) else value


def markdown(table: dict[str, Any]) -> str:
    """The table for people."""
    lines = [
        f"{table['replicates']} cohorts per row, {table['resamples']} resamples, seed {table['seed']}; "
        f"the standard error of a coverage of 95 % is {100 * math.sqrt(0.95 * 0.05 / table['replicates']):.1f} points. "
        "All numbers in percent.",
        "",
        "| with / without | true AUC | DeLong | logit | bootstrap | no interval | p < .05: DeLong | Mann-Whitney | exact | paired |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        cover, said = row["coverage"], row["rejected"]
        exact = said.get("mann_whitney_exact")
        cells = [
            f"{row['positives']} / {row['negatives']}",
            f"{row['auc']:g}",
            *(f"{100 * cover[name]:.1f}" for name in ("delong", "logit", "bootstrap")),
            f"{100 * row['separated']:.1f}",
            f"{100 * said['delong']:.1f}",
            f"{100 * said['mann_whitney']:.1f}",
            "–" if exact is None else f"{100 * exact:.1f}",
            f"{100 * row['paired_size']:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(text: str, table: dict[str, Any]) -> str:
    """``text`` with the table between its two marks."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n{markdown(table)}\n{MARKS[1]}{after}"


def main() -> None:
    """Simulate and write the products; about a minute on one core."""
    start = time.perf_counter()
    table = rounded(simulate())
    for path in PRODUCTS:
        write_json(path, table)
    if PAGE.exists():
        write_text(PAGE, page(PAGE.read_text(encoding="utf-8"), table))
    print(markdown(table))
    print(f"{time.perf_counter() - start:.0f} s")
