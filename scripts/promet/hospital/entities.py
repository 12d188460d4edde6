"""The description of a crate: RO-Crate 1.1 with the profiles Process Run 0.5, Workflow Run 0.5 and Workflow RO-Crate 1.0.

Written by hand, since it is one JSON file, and sorted, so that the same study gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promet.core.files import digest_file

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
# Not among the context's terms; without a definition a validator refuses it.
SHA256 = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
CODE = "https://spdx.org/licenses/Apache-2.0"
WORKFLOW = "Snakefile"
KINDS = {
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".md": "text/markdown",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".smk": "text/x-python",
    ".gz": "application/gzip",
    ".safetensors": "application/octet-stream",
    "": "text/plain",
}
NAMES = {
    "LICENSE": "Licence",
    "configuration.yaml": "The configuration of the run, without places on a computer",
    "config/config.yaml": "The defaults, each with its reason",
    "report.html": "Report",
    "metrics.json": "Discrimination, calibration and net benefit",
    "survival.json": "Progression: concordance, hazards, curves",
    "pooled.json": "Results over all splits",
    "checklist.json": "TRIPOD+AI checklist",
}


@dataclass(frozen=True)
class Study:
    """What is told of a study: no patient, only how many, and the digest of their table."""

    name: str
    title: str
    authors: str
    date: str
    rows: int
    table: str
    versions: dict[str, str] = field(default_factory=dict)


def describe(folder: Path, files: Any, made: list[str], study: Study) -> dict[str, Any]:
    """ro-crate-metadata.json as JSON.

    Args:
        folder: of the crate, whose files are written.
        files: their names.
        made: those of them that the run made.
        study: what is told of it.
    """
    names = sorted(files)
    graph: list[dict[str, Any]] = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [
                {"@id": "https://w3id.org/ro/crate/1.1"},
                {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
            ],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": study.title or study.name,
            "description": f"Study {study.name}: how metastases are predicted from the PSMA PET of the primary tumour, without the "
            f"patients ({study.rows}). Research use only.",
            "datePublished": study.date,
            "license": {"@id": "LICENSE"},
            "conformsTo": [{"@id": name} for name in PROFILES],
            "mainEntity": {"@id": WORKFLOW},
            "mentions": {"@id": "#run"},
            "hasPart": [{"@id": name} for name in names],
            **({"author": {"@id": "#authors"}} if study.authors else {}),
        },
        *(
            {"@id": name, "@type": "CreativeWork", "name": title, "version": version}
            for name, (title, version) in PROFILES.items()
        ),
        *(_file(folder, name, study) for name in names),
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": f"Run of study {study.name}",
            "instrument": {"@id": WORKFLOW},
            "object": [{"@id": "configuration.yaml"}, {"@id": "#cohort"}],
            "result": [{"@id": name} for name in sorted(made)],
        },
        {
            "@id": "#cohort",
            "@type": "CreativeWork",
            "name": "The cohort table, which is not in the crate",
            "description": f"{study.rows} patients",
            "sha256": study.table,
        },
        {
            "@id": SNAKEMAKE,
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "identifier": {"@id": "https://snakemake.readthedocs.io/"},
            "url": {"@id": "https://snakemake.readthedocs.io/"},
        },
        {"@id": CODE, "@type": "CreativeWork", "name": "Apache License 2.0", "url": CODE},
        *(
            {"@id": _package(name, version), "@type": "SoftwareApplication", "name": name, "version": version}
            | ({} if name == "promet" else {"url": _package(name, version)})
            for name, version in sorted(study.versions.items())
        ),
    ]
    if study.authors:
        graph.append({"@id": "#authors", "@type": "Organization", "name": study.authors})
    return {"@context": [CONTEXT, SHA256], "@graph": graph}


def _package(name: str, version: str) -> str:
    """Where a library's version is described; promet is the workflow itself."""
    return f"#{name}" if name == "promet" else f"https://pypi.org/project/{name}/{version}/"


def _file(folder: Path, name: str, study: Study) -> dict[str, Any]:
    path = folder / name
    entity: dict[str, Any] = {
        "@id": name,
        "@type": "File",
        "name": NAMES.get(name, NAMES.get(path.name, name)),
        "encodingFormat": KINDS.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": digest_file(path),
    }
    if name == "LICENSE":
        entity["@type"] = ["File", "CreativeWork"]
    if name == WORKFLOW:
        entity |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "promet",
            "encodingFormat": "text/x-python",
            "programmingLanguage": {"@id": SNAKEMAKE},
            "license": {"@id": CODE},
            "version": study.versions.get("promet", ""),
            "softwareRequirements": [
                {"@id": _package(name, version)} for name, version in sorted(study.versions.items())
            ],
        }
    elif name.startswith("workflow/") or name == "config/config.yaml":
        entity["license"] = {"@id": CODE}
    return entity
