"""Who made promet, which version is out, and how to cite it: one text (CITATION.cff), and the same for other readers.

The newest release in CHANGELOG.md gives version and date; a release is tagged with it, and the tag is the wheel's version.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", re.MULTILINE)


def released(changelog: str) -> tuple[str, str] | None:
    """Version and date of the newest release in the text of CHANGELOG.md; None before the first."""
    found = RELEASE.search(changelog)
    return (found[1], found[2]) if found else None


def _newest() -> tuple[str, str] | None:
    return released((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def cff() -> str:
    """CITATION.cff with the version and date of the newest release; the rest is written by hand and stays."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    text = re.sub(r"^(version|date-released): .*\n", "", text, flags=re.MULTILINE)
    if newest := _newest():
        lines = f"version: {newest[0]}\ndate-released: {newest[1]}\n"
        text = re.sub(r"^(?=license:)", lines, text, count=1, flags=re.MULTILINE)
    return text


def _cited() -> dict[str, Any]:
    return yaml.safe_load(cff())


def _description() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'^description = "(.*)"$', text, re.MULTILINE)[0]


def codemeta() -> str:
    """codemeta.json, for catalogues of research software."""
    cited, newest = _cited(), _newest()
    paper = next(reference for reference in cited["references"] if reference["type"] == "article")
    values = {
        "@context": "https://doi.org/10.5063/schema/codemeta-2.0",
        "@type": "SoftwareSourceCode",
        "name": "promet",
        "description": _description(),
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "programmingLanguage": "Python",
        "operatingSystem": "Linux",
        "referencePublication": f"https://doi.org/{paper['doi']}",
    }
    if newest:
        values |= {"version": newest[0], "datePublished": newest[1]}
    return json.dumps(values, indent=2) + "\n"


def zenodo() -> str:
    """.zenodo.json, which the archive reads when a release is deposited."""
    cited, newest = _cited(), _newest()
    paper = next(reference for reference in cited["references"] if reference["type"] == "article")
    values = {
        "title": cited["title"],
        "description": _description(),
        "upload_type": "software",
        "license": cited["license"],
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "related_identifiers": [
            {"identifier": paper["doi"], "relation": "references", "resource_type": "publication-article"}
        ],
    }
    if newest:
        values |= {"version": newest[0], "publication_date": newest[1]}
    return json.dumps(values, indent=2) + "\n"
