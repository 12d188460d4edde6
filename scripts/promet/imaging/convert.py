"""A PET source to one volume in SUV by body weight, with an audit of how."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.volumes import is_volume
from promet.imaging import geometry, likeness
from promet.imaging.dicom import files as dicom
from promet.imaging.dicom import maps, series, stacking, suv, tracers
from promet.imaging.dicom.whole import is_whole

if TYPE_CHECKING:
    from promet.imaging.settings import Convert

PRODUCTS = ("pet.nii.gz", "ct.nii.gz")
NEVER_PLACED = (
    "The PET volume has voxels of 1 mm and a corner at 0, as programs leave a volume that nobody placed: please check",
)
GIVEN = "volume given in SUV"  # the rule of what is believed to be SUV
TOO_HOT = 2000.0  # no SUV is that high; Bq/ml and counts are
IMPOSSIBLE = 20000.0  # refused also from DICOM: an extreme voxel at an edge is only warned of


@dataclass
class Converted:
    """SUVbw as float32 in canonical orientation, its audit, its warnings."""

    image: sitk.Image
    audit: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def convert_source(source: Path) -> Converted:
    """Convert a DICOM folder, a multi-frame DICOM file, or a volume that is already in SUV.

    Returns:
        Image float32, g/ml, array (z to superior, y to posterior, x to left). The audit holds the rule, every
        number used and intervals in s; no name, identifier, date, time of day, UID or file name.

    Raises:
        DataError: E_PET_* as named in suv.py, series.py and dicom.py; E_IMAGE_* of a volume file.
    """
    dicom.quiet()
    source = Path(source)
    if is_volume(source):
        result = _from_volume(source)
    else:
        try:
            result = _from_dicom(source)
        except DataError as error:
            raise DataError(error.code, dicom.tagged(error.found), error.expected, error.remedy) from error
    result.image = geometry.without_text(geometry.canonical(result.image))
    _check_values(result)
    size, step = result.image.GetSize(), result.image.GetSpacing()
    result.audit.update(
        size_xyz=list(size), spacing_xyz_mm=[round(s, 5) for s in step], warnings=list(result.warnings)
    )
    return result


def check_source(source: Path, tracer: str = "") -> sitk.Image:
    """Refuse what ``convert_source`` would refuse by the headers alone. Pixels of DICOM are read only
    where real-world value maps leave stored values out. A volume is read whole.

    Args:
        tracer: the table's word for it, which the header must not contradict.

    Returns:
        An image on the grid that ``convert_source`` would give; its values mean nothing.

    Raises:
        DataError: as ``convert_source``.
    """
    dicom.quiet()
    if is_volume(source):
        return convert_source(source).image
    try:
        frames = series.find_pet(source).frames
        for path in sorted({Path(frame.dataset.filename) for frame in frames}):
            if not is_whole(path):
                raise DataError(
                    "E_PET_TRUNCATED",
                    f"The pixels of a slice are incomplete or cannot be decoded: {dicom.place(path, source)}",
                    "whole DICOM files",
                    "Copy again",
                )
        headers = [frame.header for frame in frames]
        stacking.refuse_frames(headers)  # first: frames of a dynamic scan have no one time
        life = suv.factors(headers).audit.get("half_life_s")
        tracers.require_alike(tracers.in_headers(headers), life, tracer)
        stack = stacking.stack(headers)
        for frame in frames:
            if not maps.covers(frame.header, frame.pieces):
                maps.apply(dicom.pixels(frame), frame.pieces)
        return geometry.canonical(stacking.grid(stack, headers[0]))
    except DataError as error:
        raise DataError(error.code, dicom.tagged(error.found), error.expected, error.remedy) from error


@dataclass(frozen=True)
class Inputs:
    """Whose sources: those that the image registry names.

    The header must not contradict ``tracer``, the table's word, which stands in for a header that names none.
    """

    patient: str
    registry: Path
    tracer: str = ""


def run(inputs: Inputs, settings: Convert, out: Path, pin: str) -> Sidecar:
    """The stage ``convert``: pet.nii.gz (and ct.nii.gz if asked) beside ``out``, whose values are the audit.

    When the PET is not kept, a digest of its voxels stands for the file, so that followers notice a change.
    """
    from promet.study.registry import sources

    def work() -> Outcome:
        found = sources(inputs.registry, inputs.patient)
        if "pet" not in found:
            raise DataError(
                "E_SOURCE_NOT_GIVEN",
                "The table names no pet source for this patient",
                "a path in the column pet",
            )
        result = convert_source(found["pet"])
        audit = result.audit
        tracers.require_alike(set(audit.get("tracers", ())), audit.get("half_life_s"), inputs.tracer)
        audit["tracers"] = audit.get("tracers") or sorted(tracers.in_text(inputs.tracer))
        paths = {name: Path(out).with_name(file) for name, file in zip(("pet", "ct"), PRODUCTS, strict=True)}
        products = {}
        if settings.keep_pet:
            geometry.write_nifti(result.image, paths["pet"])
            products["pet"] = paths["pet"]
        else:
            result.audit["voxels"] = voxels(result.image)
        if settings.keep_ct and "ct" in found and _write_ct(found, paths["ct"], result):
            products["ct"] = paths["ct"]
        for name in set(paths) - set(products):
            paths[name].unlink(missing_ok=True)
        result.audit["signature"] = likeness.signature(sitk.GetArrayViewFromImage(result.image))
        return Outcome(products, result.audit, result.warnings)

    return run_stage("convert", out, pin, work, makes=PRODUCTS, packages=("pydicom", "SimpleITK", "numpy"))


def voxels(image: sitk.Image) -> str:
    """SHA-256 over the values of a volume and how it lies in the body."""
    total = hashlib.sha256(np.ascontiguousarray(sitk.GetArrayViewFromImage(image)))
    total.update(
        repr((image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())).encode()
    )
    return total.hexdigest()


def _write_ct(found: dict[str, Path], path: Path, result: Converted) -> bool:
    """The PET does not depend on the CT, so a bad one is only told of."""
    from promet.imaging.ct import convert_ct

    try:
        image = convert_ct(found["ct"], found["pet"])
    except DataError as error:
        result.warnings.append(f"The CT was not kept, {error.code}: {error.sentence()}")
        return False
    geometry.write_nifti(image, path)
    return True


def convert_by_hand(source: Path, out: Path, audit: Path | None = None) -> Converted:
    """Write one volume and, if asked, its audit as JSON."""
    result = convert_source(source)
    geometry.write_nifti(result.image, out)
    if audit is not None:
        write_json(audit, result.audit)
    return result


def _from_volume(source: Path) -> Converted:
    volume = geometry.read_volume(source)
    if not volume.finite:
        raise _not_finite()
    image = sitk.Cast(volume.image, sitk.sitkFloat32)
    values = sitk.GetArrayViewFromImage(image)
    if float(values.max()) > TOO_HOT:
        raise DataError(
            "E_PET_NOT_SUV",
            f"The PET volume reaches {float(values.max()):.0f}, so it is not in SUV",
            "SUV by body weight",
            "Give the DICOM series or divide by the factor first",
        )
    return Converted(
        image,
        {"rule": GIVEN, "units": "SUV"},
        [
            "The PET was given as a volume: that it is SUV by body weight was taken on trust",
            *volume.warnings,
            *(NEVER_PLACED if all(geometry.unset(image)) else ()),
        ],
    )


def _from_dicom(source: Path) -> Converted:
    found = series.find_pet(source)
    headers = [frame.header for frame in found.frames]
    stacking.refuse_frames(headers)  # first: frames of a dynamic scan have no one time
    factors = suv.factors(headers)
    stack = stacking.stack(headers)
    first = headers[0]
    rows, columns = int(first.number("Rows")), int(first.number("Columns"))
    volume = np.empty((len(headers), rows, columns), np.float32)
    for place, index in enumerate(stack.order):
        try:
            values = maps.apply(dicom.pixels(found.frames[index]), found.frames[index].pieces)
        except DataError as error:
            where = dicom.place(Path(found.frames[index].dataset.filename), source)
            raise DataError(error.code, f"{error.found}: {where}", error.expected, error.remedy) from error
        np.multiply(values, factors.slopes[index], out=volume[place], casting="unsafe")
        if found.frames[index].frames == 1:
            found.frames[index].dataset.pop(
                "PixelData"
            )  # all slices together are half as large as the volume
    image = stacking.assemble(volume, stack)
    named = tracers.in_headers(headers)
    audit = {**found.audit, **factors.audit, **stack.notes, "tracers": sorted(named)}
    return Converted(
        image, audit, [*found.warnings, *factors.warnings, *stack.warnings, *tracers.doubts(named)]
    )


def _not_finite() -> DataError:
    return DataError(
        "E_PET_NAN", "The PET holds values that are not finite", "finite numbers", "Export it again"
    )


def _check_values(result: Converted) -> None:
    values = sitk.GetArrayViewFromImage(result.image)
    low, top = float(values.min()), float(values.max())
    if not np.isfinite([low, top]).all() or np.isnan(values.sum()):
        raise _not_finite()
    if low == top:
        raise DataError(
            "E_PET_FLAT",
            f"The PET has the same value ({top:g}) everywhere",
            "an image",
            "Export the series again",
        )
    if top <= 0:
        raise DataError(
            "E_PET_NEGATIVE", "The PET holds no value above 0", "an image", "Export the series again"
        )
    if top > IMPOSSIBLE:
        raise DataError(
            "E_PET_HUGE",
            f"The highest SUV would be {top:.3g}, which no tissue reaches",
            f"below {IMPOSSIBLE:g}",
            "Check dose, weight and RescaleSlope of the export",
        )
    result.audit["suv_max"], result.audit["suv_min"] = top, low
    if top > TOO_HOT or top < 0.5:
        result.warnings.append(f"The highest SUV is {top:.3g}, which is not plausible: please check")
    if low < -0.1 * top:
        result.warnings.append(f"The lowest SUV is {low:.3g}: SUV should not be that negative")
