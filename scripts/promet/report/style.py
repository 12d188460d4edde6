"""The look of all figures, and how one becomes an SVG, a PNG and a piece of the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator
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
    "capra": (BLACK, "-.", 1.1),
    "ucla_psma_risk": (GREY, "-.", 1.1),
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
    "pdf.fonttype": 42,
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


PER_ROW = 2  # panels beside each other, at most


def in_rows(panels: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    return -(-panels // PER_ROW), min(panels, PER_ROW)


def letter(axes: Axes, place: int | str) -> None:
    """The panel's letter, left of its title: its own, or that of its place (0 = A)."""
    text = place if isinstance(place, str) else chr(ord("A") + place)
    axes.set_title(f"{text}   {axes.get_title(loc='left')}", loc="left")


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A thin black arrow in data units."""
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "linewidth": 0.8,
            "color": "black",
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 8,
        },
    )


Point = tuple[Axes, float, float, str]  # where in a panel (data units), and what stands there


@dataclass(frozen=True)
class Drawn:
    """A figure of the page: name of its files, caption, alternative text, data URI, places to ask about.

    ``points``: [across, down, text], shares of the picture's width and height from its upper left corner.
    """

    name: str
    caption: str
    alt: str
    uri: str
    points: list[list[float | str]]


class Figures:
    """Draws figures into a folder and keeps them for the page; ``paths``: every file written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: dict[str, Drawn] = {}
        self.paths: dict[str, Path] = {}

    def add(self, name: str, fig: Figure, caption: str, alt: str, points: Iterable[Point] = ()) -> None:
        """Write NAME.svg and NAME.png (300 dpi) and put the figure on the page."""
        text = self._write(fig, name, "svg")
        self._write(fig, name, "png")
        uri = "data:image/svg+xml;base64," + base64.b64encode(text).decode()
        self.drawn[name] = Drawn(name, caption, alt, uri, _places(fig, points))

    def keep(self, name: str, fig: Figure) -> None:
        """Write NAME.pdf and NAME.png (300 dpi) for a manuscript; not on the page."""
        self._write(fig, name, "pdf")
        self._write(fig, name, "png")

    def _write(self, fig: Figure, name: str, kind: str) -> bytes:
        data = render(fig, kind)
        fig.set_layout_engine("none")  # the panels stay where the first rendering put them
        path = self.paths[f"{name}.{kind}"] = self.folder / f"{name}.{kind}"
        with atomic(path) as temporary:
            temporary.write_bytes(data)
        return data


def render(fig: Figure, kind: str) -> bytes:
    """A figure as svg, pdf or png, without a date or the name of a program in it."""
    fields = {
        "svg": ("Date", "Creator"),
        "pdf": ("CreationDate", "Creator", "Producer"),
        "png": ("Software",),
    }[kind]
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=300, metadata=dict.fromkeys(fields))
    return slim(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def _places(fig: Figure, points: Iterable[Point]) -> list[list[float | str]]:
    width, height = fig.bbox.size
    found = []
    for axes, x, y, text in points:
        across, up = axes.transData.transform((x, y))
        found.append([round(across / width, 4), round(1 - up / height, 4), text])
    return found


def slim(svg: bytes) -> bytes:
    """Paths with two decimals instead of six (a hundredth of a point): half the size, the same picture."""
    return re.sub(
        rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]).replace(b" \n", b"\n"), svg
    )


THUMBNAIL = 960  # pixels across: readable, and 100 pictures stay below 3 MB


QUALITY = 55


def thumbnail(path: Path) -> tuple[str, tuple[int, int]]:
    """A picture made small, as a data URI, and its size."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode(), small.size
