"""``promet send``: masks and measurements of one patient as DICOM, to a folder or to a PACS. Research use only.

The two objects carry the name and number of the PET, so they go nowhere near the study; what is printed names nobody.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.config import load
from promet.core import checksums
from promet.core.errors import EXIT_OK, PrometError, UsageError
from promet.core.files import atomic
from promet.core.sidecar import OK, Sidecar, product
from promet.core.words import say
from promet.hospital import codes, keys
from promet.hospital.objects import Results, Scored, Structure, report, segmentation
from promet.hospital.part10 import hashed
from promet.hospital.pictured import Pictured, pictured
from promet.hospital.still import as_bytes
from promet.hospital.web import Server
from promet.imaging import geometry
from promet.study import registry
from promet.workflow.plan import LOCKED_SPLIT, Plan

STAGES = ("convert", "segment", "measure")


def send(
    configfiles: list[Path], patient: str, out: Path | None, server: Server | None, key: Path | None
) -> int:
    """Write or store the SEG and the SR of a patient.

    Args:
        configfiles: laid over the defaults.
        patient: pseudonym.
        out: folder, outside of the project.
        server: where to store them; needs ``key``.
        key: the key file; the PET has to be the one that it names.

    Raises:
        UsageError: E_SEND_*: nothing was written or sent.
        IntegrityError: a product is not what its record says.
    """
    if (out is None) == (server is None) or (server is not None and key is None):
        raise UsageError(
            "E_USAGE",
            "It is not clear where the results go",
            "either --out FOLDER, or --to URL with --key FILE",
            "See promet send --help",
        )
    plan = Plan(load(configfiles), lenient=True)
    if out is not None:
        _require_outside(out, plan)
    records = _records(plan, patient)
    folder = Path(plan.patients_dir, patient)
    masks = {
        name: geometry.read_image(product(folder, f"{name}.nii.gz", "segment"))
        for name in ("prostate", "lesions")
    }
    rows = registry.read(plan.images).get(patient, {})
    if "pet" not in rows:
        raise _not_ready("has no PET in the registry")
    registry.Registered({"pet": rows["pet"]}).check()  # the very bytes that the masks were made on
    pet = pictured(registry.paths(rows)["pet"], masks["prostate"])
    if key is not None:
        _require_same(pet.first, keys.read(key), patient)
    try:
        made = _objects(pet, masks, records, plan, patient)
    except PrometError:
        raise
    except Exception as error:  # the text of a library's error may quote a header
        raise UsageError(
            "E_SEND_HEADER",
            f"The header of the PET lacks something or holds what may not be there ({type(error).__name__})",
            "a series that follows the standard",
            "Export it again; the rest of the study is not concerned",
        ) from None
    files = {name: as_bytes(data) for name, data in made.items()}
    if server is not None:
        from promet.hospital.stow import store

        store(server, {str(data.SOPInstanceUID): files[name] for name, data in made.items()})
        say(f"{len(files)} objects stored: masks and measurements")
        return EXIT_OK
    assert out is not None
    out.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        path = out / f"{name}-{hashed(data.SOPInstanceUID, 16)}.dcm"
        with atomic(path) as part:
            part.write_bytes(files[name])
            os.chmod(part, 0o600)
        say(f"{path.name}: {len(files[name])} bytes")
    if "lesions" not in {name for name, mask in masks.items() if _any(mask)}:
        say("No lesion: neither a segment nor measurements of lesions")
    return EXIT_OK


def _objects(
    pet: Pictured, masks: dict[str, sitk.Image], records: dict[str, Sidecar], plan: Plan, patient: str
) -> dict[str, Dataset]:
    """``seg`` and ``sr``; a structure that marks nothing is left out."""
    values = records["segment"].values
    structures = [
        Structure(
            "Prostate",
            codes.ANATOMICAL,
            codes.PROSTATE,
            pet.frames(masks["prostate"]),
            values["organ_source"],
        )
    ]
    if _any(masks["lesions"]):
        mask = pet.frames(masks["lesions"])
        structures.append(Structure("Lesions", codes.ABNORMAL, codes.LESION, mask, values["lesion_source"]))
    seg = segmentation(pet, structures)
    sphere = plan.config["imaging"]["measure"]["suv_peak_ml"]
    results = Results(
        values=records["measure"].values,
        tracers=tuple(records["convert"].values.get("tracers") or ()),
        scored=_scored(plan, patient),
        parameters=[
            f"SUVpeak: global, {sphere:g} ml sphere, IBSI 0F91"
            if sphere == 1
            else f"SUVpeak: global, {sphere:g} ml sphere"
        ],
    )
    return {"seg": seg, "sr": report(pet, seg, results)}


def _any(mask: sitk.Image) -> bool:
    return bool(np.any(sitk.GetArrayViewFromImage(mask)))


def _records(plan: Plan, patient: str) -> dict[str, Sidecar]:
    """The patient's records, if they are those that the plan wants."""
    if patient not in plan.patients:
        raise UsageError(
            "E_SEND_PATIENT",
            "There is no such patient in the table, or none that is registered",
            "a pseudonym of the table",
            "promet check and promet intake say what is there",
        )
    records = {}
    for stage in STAGES:
        path = Path(plan.sidecar(stage, patient=patient))
        if not path.exists():
            raise _not_ready(f"has no {stage} yet")
        records[stage] = record = Sidecar.read(path)
        if record.status not in (OK, "no-lesion"):
            raise _not_ready(f"is quarantined ({record.code})")
        if record.pin != plan.pin(stage, patient=patient):
            raise _not_ready(f"has an outdated {stage}")
    return records


def _not_ready(why: str) -> UsageError:
    return UsageError(
        "E_SEND_NOT_READY",
        f"This patient {why}",
        "results that are up to date",
        "promet run, then send; promet status PATIENT says more",
    )


def _scored(plan: Plan, patient: str) -> Scored | None:
    """What the locked model of a frozen study says of the patient; None where there is none."""
    record = Path(plan.sidecar("bundle"))
    fused = Path(plan.sidecar("fuse", split=LOCKED_SPLIT))
    if not plan.bundled or not record.exists() or not fused.exists():
        return None
    import pandas as pd

    table = pd.read_parquet(product(fused.parent, "predictions.parquet", "fuse")).set_index("patient")
    if patient not in table.index:
        return None
    row: Any = table.loc[patient]
    for column, what in (("multimodal_probability", codes.PROBABILITY), ("multimodal", codes.SCORE)):
        if column in row and np.isfinite(row[column]):
            name = f"promet {plan.study} {plan.frozen}"
            return Scored(name, checksums.identity(record.parent), float(row[column]), what, str(row["part"]))
    return None


def _require_outside(out: Path, plan: Plan) -> None:
    """The objects name a person: not in the project, nor where a git work tree would take them along."""
    place = Path(os.path.realpath(out))
    folders = [
        Path(plan.config["cohort"]).parent,
        *(Path(plan.config[key]) for key in ("results", "registry", "logs")),
    ]
    inside = any(place.is_relative_to(os.path.realpath(folder)) for folder in folders)
    if inside or any((above / ".git").exists() for above in (place, *place.parents)):
        raise UsageError(
            "E_SEND_PLACE",
            "The results carry the name of the patient and would lie in the project, or in a git work tree",
            "a folder outside of the table's folder, results, registry, logs and of every git work tree",
            "Name another with --out",
        )


def _require_same(pet: Dataset, entries: list[keys.Entry], patient: str) -> None:
    """The PET has to be that of the key file, or the results would go into another's record."""
    known = keys.rows_of(entries).get(patient) or next(
        (entry for entry in reversed(entries) if entry.patient == patient and entry.pet_uid), None
    )
    if known is None:
        raise UsageError(
            "E_SEND_KEY",
            "The key file does not say which PET is this patient's",
            "a line of promet cohort from-dicom with the series of the PET",
            "Is it the key file of this table?",
        )
    told = {
        "PatientID": known.patient_id,
        "StudyInstanceUID": known.study_uid,
        "SeriesInstanceUID": known.pet_uid,
        **({"IssuerOfPatientID": known.issuer} if known.issuer else {}),
    }
    wrong = [name for name, value in told.items() if str(pet.get(name, "") or "").strip() != value.strip()]
    if wrong or not known.patient_id:
        raise UsageError(
            "E_SEND_WRONG_PATIENT",
            f"The PET is not the one of the key file: {', '.join(wrong) or 'PatientID'} differs",
            "the same PatientID, StudyInstanceUID and SeriesInstanceUID in both",
            "Is it the key file of this table, or was the patient's series exchanged? Nothing was sent",
        )
