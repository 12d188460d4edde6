"""The look of all figures, and how one becomes an SVG, a PNG and a piece of the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promet.core.files import atomic

# Okabe & Ito: distinguishable with every common colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT = "#767676", "#BDBDBD"
SCORES = {
    "multimodal": (BLUE, "-", 2.0),
    "cnn_score": (VERMILION, "-", 1.6),
    "clinical": (GREEN, "-", 1.6),
    "suv_max": (ORANGE, "--", 1.1),
    "suv_peak": (SKY, "--", 1.1),
    "psa": (PURPLE, "--", 1.1),
    "capra": (BLACK, ":", 1.3),
    "ucla_psma_risk": (GREY, ":", 1.3),
}
WIDTH = 7.1  # inches: 180 mm, two columns of a journal
RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "promet",
    "svg.fonttype": "path",
    "path.simplify_threshold": 0.3,
}


@contextmanager
def look() -> Iterator[None]:
    """All figures are drawn and written in here."""
    with mpl.rc_context(RC):
        yield


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, inches; no window system, no global state."""
    return Figure(figsize=(width, height))


def score_style(name: str) -> dict[str, object]:
    """Colour, dash and width of a score's line."""
    colour, dash, width = SCORES.get(name, (GREY, "-.", 1.1))
    return {"color": colour, "linestyle": dash, "linewidth": width}


def letter(axes: Axes, text: str) -> None:
    """The panel's letter, left of its title."""
    axes.set_title(f"{text}   {axes.get_title(loc='left')}", loc="left")


@dataclass(frozen=True)
class Drawn:
    """A figure of the page: name of its files, caption, alternative text, data URI."""

    name: str
    caption: str
    alt: str
    uri: str


def slim(svg: bytes) -> bytes:
    """Paths with two decimals instead of six (a hundredth of a point): half the size, the same picture."""
    return re.sub(
        rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]).replace(b" \n", b"\n"), svg
    )


def save(fig: Figure, folder: Path, name: str, caption: str, alt: str) -> tuple[Drawn, dict[str, Path]]:
    """Write NAME.svg and NAME.png (300 dpi) into ``folder``; neither holds a date."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = slim(buffer.getvalue())
    paths = {f"{name}.{kind}": folder / f"{name}.{kind}" for kind in ("svg", "png")}
    with atomic(paths[f"{name}.svg"]) as temporary:
        temporary.write_bytes(text)
    with atomic(paths[f"{name}.png"]) as temporary:
        fig.savefig(temporary, format="png", dpi=300, metadata={"Software": None})
    uri = "data:image/svg+xml;base64," + base64.b64encode(text).decode()
    return Drawn(name, caption, alt, uri), paths
