"""Numbers as text: one way of writing AUCs, intervals, p values and counts on the whole page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

DASH = "–"
NBSP = "\u00a0"


def known(value: Any) -> bool:
    """True for a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of decimals, a true minus sign, a dash for none."""
    if not known(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def short(value: float | None) -> str:
    """Up to three significant digits."""
    if not known(value):
        return DASH
    if abs(value) >= 999.5:  # .3g would give 1e+03
        return f"{value:,.0f}".replace(",", " ").replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def p_value(value: float | None, name: str = "p") -> str:
    """``p = 0.012``, ``p < 0.001`` with spaces that do not break; a dash for none."""
    if not known(value):
        return DASH
    bare = f"<{NBSP}0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1995 else f"{value:.2f}"
    if not name:
        return bare
    return f"{name}{NBSP}{bare}" if bare[0] == "<" else f"{name}{NBSP}={NBSP}{bare}"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """``0.66 to 1.00``; ``0.66 to unknown`` where one limit cannot be given, a dash for none."""
    if not known(low) and not known(high):
        return DASH
    return " to ".join(fixed(limit, digits) if known(limit) else "unknown" for limit in (low, high))


def level(confidence: float) -> str:
    """``95 %``."""
    return f"{confidence * 100:g}{NBSP}%"


def probability(value: float | None) -> str:
    """``0.32``; ``< 0.01`` and ``> 0.99`` where two decimals would claim certainty."""
    if not known(value):
        return DASH
    return f"<{NBSP}0.01" if value < 0.005 else f">{NBSP}0.99" if value >= 0.995 else fixed(value)


def percent(part: float, whole: float) -> str:
    """``12 %``, ``0.3 %``, ``> 99 %`` where rounding would claim all; a dash when the whole is zero."""
    if not whole:
        return DASH
    share = 100 * part / whole
    if 99.5 <= share < 100:
        return f">{NBSP}99{NBSP}%"
    return f"{share:.{'1g' if 0 < share < 1 else '0f'}}{NBSP}%"


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1] if items else ""]))


def quartiles(values: Sequence[float], digits: int = 1) -> str:
    """``7.2 (4.1 to 12.0)``: median and quartiles; a dash for none."""
    import numpy as np

    if not len(values):
        return DASH
    low, middle, high = np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75])
    return f"{fixed(middle, digits)} ({interval(low, high, digits)})"


def seconds(value: float) -> str:
    """``3.2 s``, ``4 min``, ``2.5 h``."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
