"""The gallery of the quality pictures, and what the viewer in the page needs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promet.report.sections.images.tables import MEASURES
from promet.report.style import thumbnail
from promet.report.text import fixed, known

if TYPE_CHECKING:
    from promet.report.read import Split, Study


def context(study: Study, split: Split, patient_level: bool) -> dict[str, Any]:
    """The pictures, and the viewer when there are volumes for it; nothing of it unless single patients are shown."""
    shown = items(study, split) if patient_level else []
    found = volumes(shown)
    return {
        "gallery": shown,
        "sorts": MEASURES,
        "volumes": found,
        "engine": engine() if found else {},
        "top": ((study.config.get("imaging") or {}).get("picture") or {}).get("suv_max", 15),
    }


ENGINE = Path(__file__).parents[2] / "web/niivue"


def items(study: Study, split: Split) -> list[dict[str, Any]]:
    """A thumbnail per patient as a data URI, its measures and warnings."""
    measured = {} if study.measures is None else study.measures.set_index("patient").to_dict("index")
    warned = {p: [w for who, r in study.records if who == p for w in r.warnings] for p in study.pictures}
    shown = []
    for patient, files in sorted(study.pictures.items()):
        if "picture.png" not in files:
            continue
        uri, size = thumbnail(files["picture.png"])
        values = {name: measured.get(patient, {}).get(name) for name in MEASURES}
        values |= {name: round(v, 3) if known(v) else None for name, v in values.items()}
        status = study.status(patient)
        shown.append(
            {
                "patient": patient,
                "part": split.part(patient),
                "status": status,
                "warnings": (
                    [] if status == "ok" else [{"no-lesion": "No lesion was found."}.get(status, status)]
                )
                + warned[patient],
                "values": values,
                "told": told(values),
                "uri": uri,
                "width": size[0],
                "height": size[1],
                "volume": {name: files[name] for name in files if name.startswith("excerpt")},
            }
        )
    return shown


def told(values: dict[str, float | None]) -> str:
    """The measures below a picture."""
    shown = (
        ("suv_max", "lesion SUVmax {}"),
        ("suv_peak", "SUVpeak {}"),
        ("lesion_ml", "lesions {} ml"),
        ("organ_ml", "prostate {} ml"),
    )
    return ", ".join(text.format(fixed(values[name], 1)) for name, text in shown if known(values[name]))


def volumes(shown: list[dict[str, Any]]) -> dict[str, list[str]]:
    """patient -> [PET, masks], the excerpts' bytes as base64."""
    return {
        item["patient"]: [_text(item["volume"][f"excerpt_{name}.nii.gz"]) for name in ("pet", "masks")]
        for item in shown
        if len(item["volume"]) == 2
    }


def engine() -> dict[str, str]:
    """The viewer's own code (gzip, base64) and its licences."""
    return {
        "code": _text(ENGINE / "niivue.umd.js.gz"),
        "licences": (ENGINE / "LICENSES.txt").read_text(encoding="utf-8"),
    }


def _text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
