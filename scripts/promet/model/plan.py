"""The jobs of scoring a table of new patients; what workflow/predict.smk asks. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path
from typing import Any

from promet.core import checksums
from promet.core.errors import UsageError
from promet.core.pin import pin as make_pin
from promet.core.words import count
from promet.model.answers import RECORD, SCHEMA, require_own
from promet.model.identity import require_digest
from promet.study import registry, table
from promet.study.sources import source as located
from promet.workflow.stages import CLINICAL


def registry_folder(out: str | Path) -> Path:
    """Where the images of the new patients are registered: beside the answers, apart from any training."""
    return Path(out) / "registry"


def require_patients(rows: Sized) -> None:
    """Refuse a table of nobody.

    Raises:
        UsageError: E_COHORT_EMPTY.
    """
    if not rows:
        raise UsageError("E_COHORT_EMPTY", "The table of new patients holds no patients", remedy="Fill it in")


class Predictions:
    """Patients, pins and paths.

    Args:
        config: model (folder of the bundle), cohort (table of new patients), out (folder of the answers), digest (of the
            model, as it was received separately; may be left out), site and smallest_cell of a validation (may be left out).

    Raises:
        UsageError: E_PREDICT_CONFIG, E_COHORT_EMPTY, E_MODEL_MISSING, E_INTAKE_NEEDED, those of promet.model.answers.
        IntegrityError: E_MODEL_DIGEST, E_CHECKSUMS_*.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        absent = [name for name in ("model", "cohort", "out") if not config.get(name)]
        if absent:
            raise UsageError(
                "E_PREDICT_CONFIG",
                f"Not given: {', '.join(absent)}",
                "--config model=FOLDER cohort=TABLE out=FOLDER",
            )
        self.model, self.cohort, self.out = (str(config[name]) for name in ("model", "cohort", "out"))
        told = (
            {"site": str(config["site"]), "smallest_cell": int(config["smallest_cell"])}
            if "site" in config
            else {}
        )
        self.validation = json.dumps(told) if told else ""
        self.validation_record = f"{self.out}/validation/validate.json"
        self.rows = table.by_patient(self.cohort)
        require_patients(self.rows)
        if not (Path(self.model) / checksums.NAME).is_file():
            raise UsageError(
                "E_MODEL_MISSING",
                f"There is no locked model in {self.model}",
                f"a folder with {checksums.NAME}",
            )
        given = config.get("digest")
        self.compared = require_digest(self.model, None if given is None else str(given))
        self.digest = checksums.identity(Path(self.model))
        require_own(self.out, self.digest, self.rows)
        self.images = str(registry.images_path(registry_folder(self.out)))
        self._sources = registry.read(self.images)
        unknown = [
            name
            for name, row in self.rows.items()
            if any(row[source] and source not in self._sources.get(name, {}) for source in table.SOURCES)
        ]
        if unknown:
            raise UsageError(
                "E_INTAKE_NEEDED",
                f"The images of {count(len(unknown), 'patient')} are not registered in {registry_folder(self.out)}",
                remedy="promet predict MODEL_DIR --cohort TABLE --out FOLDER registers and scores them",
            )

    @property
    def patients(self) -> list[str]:
        """Every patient of the table, sorted."""
        return list(self.rows)

    def record(self, patient: str = "{patient}") -> str:
        """Path of a patient's record; the answer lies beside it."""
        return f"{self.out}/patients/{patient}/{RECORD}"

    def planned(self, patient: str) -> str:
        """What the job of a patient is to read, or it fails and leaves no answer: for its rule."""
        row, known = self.rows[patient], self._sources.get(patient, {})
        found = {
            name: {
                "path": str(located(Path(self.cohort).parent, row[name]))
                if row[name]
                else known[name]["path"],
                **{what: known[name][what] for what in ("digest", "files", "bytes")},
            }
            for name in table.SOURCES
            if name in known
        }
        return json.dumps(
            {"sources": found, "table": self.cohort, "patient": patient, "cells": self._cells(patient)}
        )

    def _cells(self, patient: str) -> dict[str, str]:
        return {name: self.rows[patient][name] for name in (*CLINICAL, "tracer")}

    def pin(self, patient: str) -> str:
        """Hash of exactly what a patient's answer uses: the model, the images, the clinical values and the tracer."""
        found = self._sources.get(patient, {})
        sources = {name: found[name]["digest"] for name in table.SOURCES if name in found}
        return make_pin([SCHEMA, [self.digest, self.compared], sources, self._cells(patient)])
