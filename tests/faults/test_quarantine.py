"""Bad inputs in one cohort: each has its code and its sentence, each takes out one patient, and the run goes on."""

import json
import os
import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, make, pixels, save, write, write_rtstruct

from promet.cohort.table import read
from promet.core.errors import UsageError
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.imaging import crop, dicom, gather, measure, normalise, segment
from promet.imaging.convert import convert
from promet.imaging.settings import Crop, Measure, Normalise, Segment

FRAME, SERIES = "1.2.3.4", "1.2.3.5"
CENTRE = (2.5, 0.0, 110.0)  # mm, of the organ
BOX = Crop(shape=(4, 6, 6), spacing_mm=(5.0, 4.0, 4.0))
MARK = "ZQXMARK"  # in names of files, folders and people: no sentence may show it


def uptake(index):
    """Stored values: background 1000, a hot spot in the middle slices; SUV 0.8 and 6."""
    plane = np.full((16, 16), 1000, np.int16)
    if 1 <= index <= 3:
        plane[6:9, 6:9] = 7500
    return plane


def series(folder, changes=None, **rest):
    return write(folder, {"PatientName": MARK, **(changes or {})}, slices=6, values=uptake, **rest)


def volume(path, array, spacing=(3.0, 4.0, 5.0), origin=(-20.0, -30.0, 100.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def suv():
    return np.stack([uptake(i) for i in range(6)]).astype(np.float32) / 1250


def organ():
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[1:4, 5:10, 5:10] = 1
    return mask


def contours(radius=9.0, shift=0.0):
    return [circle(1.0 + shift, -2.0, z, radius, 60) for z in (105.0, 110.0, 115.0)]


@dataclass
class Case:
    """A patient: how his data are made, and where, why and with which words he is taken out."""

    make: object
    code: str = ""
    says: str = ""
    stage: str = "convert"
    extra: dict = field(default_factory=dict)


def bad_pet(code, says, changes=None, **rest):
    return Case(lambda f: {"pet": series(f / "pet", changes, **rest)}, code, says)


def pet(build, code, says):
    return Case(lambda f: {"pet": build(f / "pet")}, code, says)


def mask(build, code, says, stage="segment"):
    return Case(lambda f: {"prostate": build(f / "mask")}, code, says, stage)


def array(code, says, change):
    def build(path):
        values = suv()
        return volume(path / "suv.nii.gz", change(values))

    return pet(build, code, says)


def put(values, value):
    values[3, 3, 3] = value
    return values


def bytes_of(folder, change):
    """Change the bytes of one slice."""
    path = sorted(folder.glob("*.dcm"))[2]
    path.write_bytes(change(path.read_bytes()))
    return folder


def one_more(folder, data, values=None):
    save(pixels(data, uptake(1) if values is None else values), folder / "more.dcm")
    return folder


def twice(folder):
    """The same place again: another image with its own identity."""
    return one_more(series(folder), make(1, {"SOPInstanceUID": "1.2.3.5.99"}), uptake(1) + 1)


def dynamic(folder):
    changes = {"SeriesType": ["DYNAMIC", "IMAGE"]}
    return one_more(
        series(folder, changes), make(1, {**changes, "SOPInstanceUID": "1.2.3.5.99"}), uptake(1) + 1
    )


def unplaced_frames(folder):
    data = pixels(make(0, {"ImagePositionPatient": [0, 0, 0]}), np.stack([uptake(i) for i in range(6)]))
    data.NumberOfFrames = 6
    return save(data, folder / "all.dcm")


def loop(folder):
    series(folder)
    (folder / "0.dcm").symlink_to(folder / "1.dcm")
    (folder / "1.dcm").symlink_to(folder / "0.dcm")
    return folder


def gone(folder):
    folder.mkdir(parents=True)
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def text(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{MARK} is no image")
    return path


def unoriented(folder):
    path = volume(folder / "suv.nii", suv())
    raw = bytearray(path.read_bytes())
    raw[252:256] = bytes(4)  # qform and sform code
    path.write_bytes(raw)
    return path


def empty(folder):
    folder.mkdir(parents=True)
    return folder


def rt(path, rois=None, **rest):
    return write_rtstruct(path / f"{MARK}.dcm", rois or {"Prostate": contours()}, **rest)


def of_another(path):
    from pydicom import dcmread

    written = rt(path, frame="9.9.9")
    data = dcmread(written)
    data.PatientID = f"OTHER{MARK}"
    data.save_as(written)
    return written


def cut(path):
    written = rt(path)
    written.write_bytes(written.read_bytes()[:-400])
    return written


def two_files(path):
    rt(path / "a"), rt(path / "b")
    return path


def dangling(folder):
    ct = write(folder / "ct", {"Modality": "CT", "SOPClassUID": CT_CLASS, "Units": None}, series="1.7")
    return {"ct": ct, "prostate": rt(folder / "mask", images=["1.7.1", "1.7.99"])}


def nifti(change, name="m.nii.gz", **rest):
    return lambda path: volume(path / name, change(organ()), **rest)


GML = {"Units": "GML", "RescaleSlope": 0.001}
NO_TIME = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": None}

CASES = {
    # files
    "truncated": pet(lambda f: bytes_of(series(f), lambda b: b[:-300]), "E_PET_TRUNCATED", "incomplete or cannot be decoded"),
    "cut-header": pet(lambda f: bytes_of(series(f), lambda b: b[:300]), "E_PET_TRUNCATED", "1 of 6 files of the pet source are broken"),
    "no-pixels": pet(lambda f: bytes_of(series(f), lambda b: b[: b.rindex(b"\xe0\x7f\x10\x00")]), "E_PET_TRUNCATED", "has no pixels"),
    "zero-bytes": pet(lambda f: bytes_of(series(f), lambda b: b""), "E_PET_ZERO_BYTES", "1 of 6 files of the pet source are empty"),
    "symlink-loop-in-it": pet(loop, "E_PET_ZERO_BYTES", "2 of 8 files of the pet source are empty or links"),
    "symlink-loop": pet(gone, "E_SOURCE_MISSING", "The pet source of this patient is missing, empty or"),
    "empty-folder": pet(empty, "E_PET_EMPTY", "None of the 0 files"),
    "text-file": pet(lambda f: text(f / "notes.txt"), "E_PET_EMPTY", "None of the 1 files"),
    "unreadable-folder": pet(lambda f: series(f / "locked"), "E_SOURCE_UNREADABLE", "may not be read by this user"),
    "no-pet": Case(lambda f: {"pet": None, "prostate": volume(f / "m.nii.gz", organ())}, "E_SOURCE_NOT_GIVEN", "names no pet source"),
    # which images
    "wrong-modality": bad_pet("E_PET_MODALITY", "6 CT", {"Modality": "CT", "SOPClassUID": CT_CLASS}),
    "projections": bad_pet("E_PET_MODALITY", "projections, captures", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
    "two-series": pet(lambda f: (series(f / "a"), series(f / "b", series="1.2.3.6"))[0].parent, "E_PET_AMBIGUOUS", "2 PET series that could be meant"),
    "missing-slice": bad_pet("E_PET_MISSING_SLICE", "About 1 slices are missing", skip=(3,)),
    "one-slice": bad_pet("E_PET_SINGLE_SLICE", "only one slice", skip=(1, 2, 3, 4, 5)),
    "duplicated-slice": pet(twice, "E_PET_DUPLICATE_SLICE", "1 of 7 slices lie where another one lies"),
    "two-of-one-identity": pet(lambda f: one_more(series(f), make(1), uptake(1) + 1), "E_PET_DUPLICATE_SLICE", "claim to be the same slice"),
    "dynamic": pet(dynamic, "E_PET_FRAMES", "several images lie at each place"),
    "two-series-mixed": bad_pet("E_PET_MIXED", "PixelSpacing", {"PixelSpacing": lambda i: [4.0, 3.0 + i % 2]}),
    "two-patients-mixed": bad_pet("E_PET_MIXED", "PatientID", {"PatientID": lambda i: f"{MARK}{i}"}),
    "two-units-mixed": bad_pet("E_PET_MIXED", "Units (0054,1001) differs", {"Units": lambda i: "GML" if i == 2 else "BQML"}),
    "no-place": bad_pet("E_PET_GEOMETRY", "A slice has no place in the body", {"PixelSpacing": None}),
    "skewed": bad_pet("E_PET_GEOMETRY", "no pair of right-angled", {"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]}),
    "shifted-slices": bad_pet("E_PET_GEOMETRY", "shifted against each other", {"ImagePositionPatient": lambda i: [2.0 * i, 0.0, 5.0 * i]}),
    "frames-without-place": pet(unplaced_frames, "E_PET_GEOMETRY", "does not place each of its frames"),
    # SUV
    "no-dose": bad_pet("E_PET_DOSE", "RadionuclideTotalDose (0018,1074) is missing", dose={"RadionuclideTotalDose": None}),
    "dose-in-mci": bad_pet("E_PET_DOSE", "may be in mCi", dose={"RadionuclideTotalDose": 9.9}),
    "no-weight": bad_pet("E_PET_WEIGHT", "PatientWeight (0010,1030) is missing", {"PatientWeight": None}),
    "weight-of-nobody": bad_pet("E_PET_WEIGHT", "which no adult has", {"PatientWeight": 1.8}),
    "no-height": bad_pet("E_PET_HEIGHT", "PatientSize (0010,1020)", {**GML, "SUVType": "IBW", "PatientSize": None}),
    "no-injection-time": bad_pet("E_PET_TIME", "RadiopharmaceuticalStartTime (0018,1072) and", dose=NO_TIME),
    "injection-after-scan": bad_pet("E_PET_TIME", "disagree by", dose={"RadiopharmaceuticalStartTime": "113000"}),
    "no-acquisition-time": bad_pet("E_PET_TIME", "AcquisitionTime (0008,0032) is missing", {"AcquisitionTime": None}),
    "scan-start-unclear": bad_pet("E_PET_TIME", "nothing else says which is right", {"SeriesTime": "103000"}),
    "proportional-units": bad_pet("E_PET_UNITS", "Units (0054,1001) is PROPCPS", {"Units": "PROPCPS"}),
    "counts-without-factor": bad_pet("E_PET_UNITS", "neither Philips factor", {"Units": "CNTS"}),
    "no-units": bad_pet("E_PET_UNITS", "Units (0054,1001) is missing", {"Units": None}),
    "not-attenuation-corrected": bad_pet("E_PET_ATTENUATION", "does not name ATTN", {"CorrectedImage": ["NORM", "DECY"]}),
    "no-decay-correction": bad_pet("E_PET_DECAY", "DecayCorrection (0054,1102) is missing", {"DecayCorrection": None}),
    "wrong-half-life": bad_pet("E_PET_NUCLIDE", "the named nuclide F-18 has 6586.2 s", dose={"RadionuclideHalfLife": 4057.7}),
    "no-slope": bad_pet("E_PET_RESCALE", "RescaleSlope (0028,1053) is missing", {"RescaleSlope": None}),
    "intercept": bad_pet("E_PET_RESCALE", "RescaleIntercept (0028,1052) is not 0", {"RescaleIntercept": -10.0}),
    "weight-is-text": pet(lambda f: bytes_of(series(f), lambda b: b.replace(b"80.0", b"8O.O")), "E_DICOM_VALUE", "PatientWeight (0010,1030) cannot be read"),
    # values
    "nan": array("E_PET_NAN", "not finite", lambda v: put(v, np.nan)),
    "infinite": array("E_PET_NAN", "not finite", lambda v: put(v, np.inf)),
    "constant": array("E_PET_FLAT", "the same value (1) everywhere", lambda v: v * 0 + 1),
    "negative": array("E_PET_NEGATIVE", "no value above 0", lambda v: -v - 1),
    "not-in-suv": array("E_PET_UNITS", "so it is not in SUV", lambda v: v * 1000),
    "huge": bad_pet("E_PET_HUGE", "which no tissue reaches", {**GML, "RescaleSlope": 900.0}),
    "not-an-image": pet(lambda f: text(f / "suv.nii.gz"), "E_IMAGE_FORMAT", "An image file cannot be read"),
    "several-volumes": array("E_IMAGE_FORMAT", "no single volume", lambda v: np.stack([v, v])),
    "no-orientation": pet(unoriented, "E_IMAGE_GEOMETRY", "does not say how it lies in the body"),
    # masks
    "no-mask": Case(lambda f: {"prostate": None}, "E_MASK_MISSING", "has no prostate mask", "segment"),
    "empty-mask": mask(nifti(lambda m: m * 0), "E_MASK_EMPTY", "prostate: The mask holds no voxel"),
    "empty-roi": mask(lambda p: rt(p, {"Prostate": []}), "E_MASK_EMPTY", "prostate: The fitting ROI holds no closed contour"),
    "mask-outside": mask(nifti(lambda m: m, origin=(900.0, 0.0, 0.0)), "E_MASK_OUTSIDE", "does not overlap the PET"),
    "mask-in-another-frame": mask(lambda p: rt(p, frame="9.9.9"), "E_MASK_FRAME", "another frame of reference than the PET"),
    "mask-of-another-patient": mask(of_another, "E_MASK_PATIENT", "names another patient"),
    "mask-on-another-ct": Case(dangling, "E_MASK_REFERENCE", "1 of the 2 images the mask was drawn on", "segment"),
    "no-such-roi": mask(lambda p: rt(p, {MARK: contours()}), "E_MASK_ROI_MISSING", "None of the 1 ROIs"),
    "two-mask-files": mask(two_files, "E_MASK_AMBIGUOUS", "2 mask files have an ROI that fits"),
    "mask-cut": mask(cut, "E_MASK_TRUNCATED", "ends before its end"),
    "mask-of-labels": mask(nifti(lambda m: m + (np.arange(16) > 12).astype(np.uint8) * 3), "E_MASK_LABELS", "holds 2 labels"),
    "mask-of-suv": mask(nifti(lambda m: m * np.float32(7.3)), "E_MASK_VALUES", "values that are no labels"),
    "mask-nan": mask(nifti(lambda m: np.where(m > 0, np.nan, 0).astype(np.float32)), "E_MASK_NAN", "mask volume holds values that are not finite"),
    "mask-is-text": mask(lambda p: text(p / "m.txt"), "E_MASK_FORMAT", "no mask this program reads"),
    "bent-contour": mask(lambda p: rt(p, {"Prostate": [c + np.linspace(0, 9, 60)[:, None] * [0, 0, 1] for c in contours()]}), "E_MASK_FORMAT", "not flat"),
    # later stages
    "nothing-in-the-box": Case(
        lambda f: {"pet": volume(f / "s.nii.gz", np.where(np.arange(16) > 13, 5, 1).astype(np.float32) * np.ones((6, 16, 1), np.float32)),
                   "lesions": volume(f / "l.nii.gz", organ())},
        "E_PET_CONSTANT", "the same value (1) everywhere in the box", "normalise", {"mask_outside": False}),
    # good ones between them
    "good": Case(lambda f: {}),
    "good-rtstruct": Case(lambda f: {"prostate": rt(f / "mask")}),
    "weight-in-grams": Case(lambda f: {"pet": series(f / "pet", {"PatientWeight": 80000.0})}),
    "empty-lesion-map": Case(lambda f: {"lesions": volume(f / "l.nii.gz", organ() * 0)}, "", "", NO_LESION),
}  # fmt: skip
ORDER = ("convert", "segment", "crop", "normalise", "measure")
BAD = [name for name, case in CASES.items() if case.code]


def chain(name, case, registry, folder):
    """All stages of one patient, as the pipeline runs them; each returns whatever happens to the patient."""

    def out(stage):
        return folder / f"{stage}.json"

    convert(name, registry, out("convert"), "p")
    segment.run(name, registry, out("segment"), "p", Segment())
    crop.run(out("crop"), "p", BOX.model_copy(update=case.extra))
    normalise.run(out("normalise"), "p", Normalise())
    measure.run(out("measure"), "p", Measure())


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Every case one after the other in one study; a case that raised would end the run here."""
    root = tmp_path_factory.mktemp("faults")
    lines, names = ["patient\tsource\tpath\tdigest\tfiles\tbytes"], list(CASES)
    for name, case in CASES.items():
        folder = root / "data" / MARK / name
        given = {"pet": None, "prostate": None, **case.make(folder)}
        if given["pet"] is None and case.code != "E_SOURCE_NOT_GIVEN":
            given["pet"] = series(folder / "good pet")
        if given["prostate"] is None and case.code != "E_MASK_MISSING":
            given["prostate"] = volume(folder / "good.nii.gz", organ())
        lines += [f"{name}\t{source}\t{path}\tx\t1\t1" for source, path in given.items() if path]
    registry = root / "images.tsv"
    registry.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:

        def locked(path, *rest, **more):
            if "locked" in str(path):  # permissions do not bind root, who may run the tests
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *rest, **more)

        patch.setattr(dicom, "open", locked, raising=False)
        for name in names:
            chain(name, CASES[name], registry, root / "patients" / name)
    gather.run(root / "patients", names, root / "gather" / "gather.json", "p")
    return root


def records(root, name):
    return {stage: Sidecar.read(root / "patients" / name / f"{stage}.json") for stage in ORDER}


def test_the_table_is_long_enough():
    assert len(BAD) >= 60 and len({CASES[name].code for name in BAD}) >= 35


@pytest.mark.parametrize("name", BAD)
def test_code_and_sentence(cohort, name):
    case, found = CASES[name], records(cohort, name)
    first = next(stage for stage in ORDER if found[stage].status != OK)
    assert (first, found[first].status, found[first].code) == (case.stage, QUARANTINED, case.code), found[
        first
    ].reason
    assert case.says in found[first].reason
    assert found[first].reason.count("Expected: ") == 1
    for stage in ORDER[ORDER.index(first) + 1 :]:
        if stage == "measure" and first == "normalise":
            continue  # measures do not need the cuboid
        assert (found[stage].status, found[stage].code, found[stage].origin) == (
            QUARANTINED,
            case.code,
            first,
        )
        assert not found[stage].products
    left = {path.name for path in (cohort / "patients" / name).iterdir()} - {
        f"{stage}.json" for stage in ORDER
    }
    assert left == {product for record in found.values() for product in record.products}


def test_sentences_are_their_own(cohort):
    reasons = {}
    for name in BAD:
        reasons.setdefault(records(cohort, name)[CASES[name].stage].reason, []).append(name)
    same = [names for names in reasons.values() if len(names) > 1]
    assert same == [["nan", "infinite"]]


def test_nobody_else_is_lost(cohort):
    """The good patients between the bad ones are whole, and the tables name all."""
    table = pd.read_parquet(cohort / "gather" / "patients.parquet").set_index("patient")
    assert set(table.index) == set(CASES)
    for name, case in CASES.items():
        wanted = QUARANTINED if case.code else NO_LESION if case.stage == NO_LESION else OK
        assert (table.status[name], table.code[name]) == (
            wanted,
            case.code or ("NO_LESION" if wanted == NO_LESION else ""),
        )
    assert {name for name in CASES if records(cohort, name)["normalise"].ok} == {
        "good",
        "good-rtstruct",
        "weight-in-grams",
    }
    grams = records(cohort, "weight-in-grams")["convert"]
    assert any("grams" in sentence for sentence in grams.warnings)
    assert grams.values["suv_max"] == records(cohort, "good")["convert"].values["suv_max"]
    assert records(cohort, "empty-lesion-map")["measure"].values["organ_suv_max"] == pytest.approx(6, rel=0.1)
    listed = pd.read_csv(cohort / "gather" / "exclusions.tsv", sep="\t", keep_default_na=False)
    assert set(listed["patient"]) == {*BAD, "empty-lesion-map"}


def test_no_record_shows_a_name(cohort):
    for folder, _, names in os.walk(cohort / "patients"):
        for name in names:
            if name.endswith(".json"):
                with open(os.path.join(folder, name), encoding="utf-8") as handle:
                    shown = json.dumps({**json.load(handle), "stage": ""})
                assert not re.search(rf"{MARK}|PHANTOM|1\.2\.3\.|2025010|/data/", shown), shown


@pytest.mark.parametrize("pseudonym", ["../../etc", "a/b", ".", "..", "-rf", "a b", "con", "ä", "a\x00b"])
def test_pseudonym_cannot_leave_its_folder(tmp_path, pseudonym):
    path = tmp_path / "cohort.tsv"
    path.write_text(f"patient\tpet\n{pseudonym}\tscan\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.code in ("E_COHORT_IDS", "E_COHORT_FORMAT")
