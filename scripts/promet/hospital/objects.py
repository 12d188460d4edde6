"""What goes back: a segmentation (DICOM SEG) and a measurement report (DICOM SR, TID 1500) of one patient.

Checked with dciodvfy, read back with dcmqi. Both carry the name and number of the PET that they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom

from promet.core.stage import version
from promet.hospital import codes
from promet.hospital.codes import Code
from promet.hospital.pictured import CHARACTERS, Pictured
from promet.hospital.still import PLACEHOLDER, still, uid

RESEARCH = "Research use only, not for diagnosis"
SEG_NUMBER, SR_NUMBER = 9001, 9002
VERSION = version("promet") or "not installed"
MAKER = {"manufacturer": "promet", "manufacturer_model_name": "promet", "device_serial_number": "none"}
# Where a mask comes from, as segment says it -> how it was made.
ORIGINS = {
    "given": (SegmentAlgorithmTypeValues.SEMIAUTOMATIC, "mask as supplied, on the PET grid", codes.GIVEN),
    "watershed": (SegmentAlgorithmTypeValues.AUTOMATIC, "marker watershed", codes.WATERSHED),
}


@dataclass(frozen=True)
class Structure:
    """A segment: its mask as bool (frame, row, column), and where it comes from."""

    label: str
    category: Code
    kind: Code
    mask: np.ndarray
    origin: str


@dataclass(frozen=True)
class Scored:
    """What a locked model said: name and digest of the model, probability or score, and the patient's part."""

    model: str
    digest: str
    value: float
    what: Code = codes.PROBABILITY
    part: str = ""


@dataclass(frozen=True)
class Results:
    """What is reported: values of ``measure`` by name, tracers by name, the model's answer if there is one."""

    values: dict[str, Any]
    tracers: tuple[str, ...] = ()
    scored: Scored | None = None
    parameters: list[str] = field(default_factory=list)


def concept(code: Code) -> CodedConcept:
    """A code as the library takes it."""
    return CodedConcept(*code)


def segmentation(pet: Pictured, structures: list[Structure]) -> Dataset:
    """The masks as one binary SEG; segments in the order given, none of them empty."""
    about = (pet.first.SeriesInstanceUID, pet.first.SOPInstanceUID)
    described = []
    for number, structure in enumerate(structures, 1):
        first, *rest = structure.origin.split()
        known = ORIGINS.get(first) if first != "given" or not rest else None  # else: given by a program
        kind, name, family = known or (SegmentAlgorithmTypeValues.AUTOMATIC, structure.origin, codes.LEARNED)
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=structure.label,
                segmented_property_category=concept(structure.category),
                segmented_property_type=concept(structure.kind),
                algorithm_type=kind,
                algorithm_identification=AlgorithmIdentificationSequence(name, concept(family), VERSION),
                tracking_uid=uid("segment", structure.label, *about),
                tracking_id=structure.label,
                anatomic_regions=None if structure.kind == codes.PROSTATE else [concept(codes.PROSTATE)],
            )
        )
    seg = Segmentation(
        source_images=pet.datasets,
        pixel_array=np.stack([structure.mask for structure in structures], -1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=uid("SEG", *about),
        series_number=SEG_NUMBER,
        sop_instance_uid=PLACEHOLDER,
        instance_number=1,
        software_versions=VERSION,
        content_description=RESEARCH,
        content_label="PROMET",
        content_creator_name="",
        series_description=f"promet masks: {RESEARCH}",
        specific_character_set=CHARACTERS,
        **MAKER,
    )
    return _of_series(still(seg, pet.moment, *about), pet, "SEG")


def report(pet: Pictured, seg: Dataset, results: Results) -> Dataset:
    """The measurements of each segment of ``seg`` as a Comprehensive SR."""
    about = (pet.first.SeriesInstanceUID, pet.first.SOPInstanceUID)
    groups = [
        VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.SegmentLabel),
            referenced_segment=ReferencedSegment(
                seg.SOPClassUID,
                seg.SOPInstanceUID,
                segment.SegmentNumber,
                source_series=SourceSeriesForSegmentation(pet.first.SeriesInstanceUID),
            ),
            finding_type=CodedConcept.from_dataset(segment.SegmentedPropertyTypeCodeSequence[0]),
            finding_sites=[FindingSite(concept(codes.PROSTATE))],
            algorithm_id=AlgorithmIdentification("promet", VERSION, results.parameters),
            measurements=_measurements(segment.SegmentLabel, results),
            qualitative_evaluations=_evaluations(segment.SegmentLabel, results),
        )
        for segment in seg.SegmentSequence
    ]
    observer = ObserverContext(
        observer_type=dicom.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uid("promet"), name="promet", manufacturer_name="promet", model_name=f"promet {VERSION}"
        ),
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=concept(codes.PROCEDURE),
        imaging_measurements=groups,
        title=concept(codes.REPORT),
    )
    sr = ComprehensiveSR(
        evidence=[*pet.datasets, seg],
        content=content,
        series_instance_uid=uid("SR", *about),
        series_number=SR_NUMBER,
        sop_instance_uid=PLACEHOLDER,
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        software_versions=VERSION,
        series_description=f"promet measurements: {RESEARCH}",
        specific_character_set=CHARACTERS,
        **MAKER,
    )
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = codes.OWN, "Codes of promet"
    scheme.CodingSchemeResponsibleOrganization = "promet"
    sr.CodingSchemeIdentificationSequence = [scheme]
    return _of_series(still(sr, pet.moment, *about), pet, "SR")


def _of_series(data: Dataset, pet: Pictured, kind: str) -> Dataset:
    """A series of its own for each content, so that a corrected result stands beside the older one."""
    data.SeriesInstanceUID = uid(kind, pet.first.SeriesInstanceUID, data.SOPInstanceUID)
    return data


def _measurements(label: str, results: Results) -> list[Measurement]:
    """Those of one segment that have a value."""
    values, scored = results.values, results.scored
    rows: list[tuple[Code, Any, Code, Code | None]] = (
        [
            (codes.SUV, values.get("organ_suv_max"), codes.SUV_UNIT, codes.MAXIMUM),
            (codes.SUV, values.get("organ_suv_mean"), codes.SUV_UNIT, codes.MEAN),
            (codes.VOLUME, values.get("organ_ml"), codes.ML, None),
            (codes.PRIMARY, values.get("primary_surrogate"), codes.ONE, None),
            (codes.EXPRESSION, values.get("psma_expression_surrogate"), codes.ONE, None),
        ]
        if label == "Prostate"
        else [
            (codes.SUV, values.get("suv_max"), codes.SUV_UNIT, codes.MAXIMUM),
            (codes.SUV, values.get("suv_mean"), codes.SUV_UNIT, codes.MEAN),
            (codes.SUV, values.get("suv_peak"), codes.SUV_UNIT, codes.PEAK),
            (codes.VOLUME, values.get("lesion_ml"), codes.ML, None),
            (codes.UPTAKE, values.get("total_lesion_uptake"), codes.GRAM, None),
        ]
    )
    made = [
        Measurement(
            name=concept(name),
            value=value,
            unit=concept(unit),
            derivation=concept(derivation) if derivation else None,
        )
        for name, value, unit, derivation in rows
        if value is not None
    ]
    if label == "Prostate" and scored is not None:
        model = AlgorithmIdentification(scored.model, scored.digest)
        made.append(
            Measurement(
                name=concept(scored.what), value=scored.value, unit=concept(codes.ONE), algorithm_id=model
            )
        )
    return made


def _evaluations(label: str, results: Results) -> list[QualitativeEvaluation]:
    told = [(codes.USE, codes.RESEARCH)]
    if label == "Prostate":
        told += [(codes.AGENT, codes.TRACERS[name]) for name in results.tracers if name in codes.TRACERS]
        if results.scored and results.scored.part in codes.PARTS:
            told.append((codes.PART, codes.PARTS[results.scored.part]))
    return [QualitativeEvaluation(concept(name), concept(value)) for name, value in told]
