"""One patient's way from the base to the log-odds, drawn as a small SVG of the page."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from promet.report.text import fixed, probability, short
from promet.report.words import heading

LABEL, WIDTH, ROW = 150, 420, 17  # of the names, of all, of a line, in pixels


def draw(patient: str, told: dict[str, Any]) -> Markup:
    """The picture; its colours come from the page's style sheet."""
    base, end, steps = told["base"], told["log_odds"], told["steps"]
    places = [0.0, base, end, *(step["end"] for step in steps)]
    low, high = min(places), max(places)
    span = (high - low) or 1.0

    def at(x: float) -> float:
        return LABEL + 6 + (WIDTH - LABEL - 60) * (x - low) / span

    tall = ROW * (len(steps) + 1) + 20
    lines = [
        f'<line class="axis" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="2" y2="{tall - 18}"/>',
        f'<line class="base" x1="{at(base):.1f}" x2="{at(base):.1f}" y1="2" y2="{ROW + 1}"/>',
    ]
    said = []
    for row, step in enumerate(steps):
        y = 2 + ROW * row
        value = "missing" if step["value"] is None else short(step["value"])
        name = f"{heading(step['input'])} {value}"
        left, right = sorted((at(step["start"]), at(step["end"])))
        kind = "up" if step["shap"] >= 0 else "down"
        sign = "+" if step["shap"] >= 0 else ""
        lines.append(
            f'<text x="{LABEL}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{left:.1f}" y="{y + 2}" width="{max(right - left, 0.8):.1f}" height="{ROW - 5}"/>'
            f'<text class="small" x="{right + 4:.1f}" y="{y + 12}">{sign}{fixed(step["shap"])}</text>'
        )
        said.append(f"{name}: {sign}{fixed(step['shap'])}")
    share = 1 / (1 + math.exp(-max(-700.0, min(700.0, end))))
    y = 2 + ROW * len(steps)
    total, likely = f"log-odds {fixed(end)}", f"probability {probability(share)}"
    lines.append(
        f'<line class="end" x1="{at(end):.1f}" x2="{at(end):.1f}" y1="{y - ROW}" y2="{y + 3}"/>'
        f'<text x="{LABEL}" y="{y + 14}" text-anchor="end">{total}</text>'
        f'<text class="small" x="{LABEL + 6}" y="{y + 14}">base {fixed(base)}; {escape(likely)}</text>'
    )
    alt = escape(f"{patient}: from the base {fixed(base)} to {total}, {likely}. " + "; ".join(said))
    return Markup(
        f'<svg class="waterfall" role="img" aria-label="{alt}" viewBox="0 0 {WIDTH} {tall}" width="{WIDTH}" height="{tall}">'
        + "".join(lines)
        + "</svg>"
    )
