"""Colours of the page."""

import re

from promet.report.page import WEB


def luminance(colour):
    full_form = "".join(2 * c for c in colour[1:]) if len(colour) == 4 else colour[1:]
    parts = [int(full_form[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_stands_out_in_both_themes():
    """WCAG 2, level AA: 4.5 to 1 for text."""
    style = (WEB / "page.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{[^}]*\}", style)]
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        for ink in ("ink", "soft", "blue", "warm"):
            for ground in ("paper", "tint"):
                bright, dim = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (theme, ink, ground)
