"""Bad inputs: how each is made, at which stage it is refused, with which code and which words."""

import struct
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, make, pixels, save, write, write_rtstruct

from promet.core.sidecar import NO_LESION
from promet.imaging.settings import Crop

CUBOID = Crop(shape=(4, 6, 6), spacing_mm=(5.0, 4.0, 4.0))
MARK = "ZQXMARK"  # in names of files, folders and people: no sentence may show it


def uptake(index):
    """Stored values: background 1000, a hot spot in the middle slices; SUV 0.8 and 6."""
    plane = np.full((16, 16), 1000, np.int16)
    if 1 <= index <= 3:
        plane[6:9, 6:9] = 7500
    return plane


def series(folder, changes=None, **rest):
    return write(folder, {"PatientName": MARK, **(changes or {})}, slices=6, **{"values": uptake, **rest})


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
    """A patient: how the data are made, and where, why and with which words they are taken out."""

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


def bent_header(folder, **numbers):
    """A NIfTI with other numbers in its header, by offset; quaternion off, matrix on."""
    path = volume(folder / "suv.nii", suv())
    raw = bytearray(path.read_bytes())
    struct.pack_into("<hh", raw, 252, 0, 1)
    for offset, value in numbers.items():
        struct.pack_into("<f", raw, int(offset[1:]), value)
    path.write_bytes(raw)
    return path


def sheared(folder):
    return bent_header(folder, x284=1.5)


def nowhere(folder):
    return bent_header(folder, x292=float("nan"))


def broken_contour(path):
    from pydicom import dcmread

    written = rt(path)
    data = dcmread(written)
    data.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0, 2.0, 3.0, 4.0]
    data.save_as(written)
    return written


def strange_seg(path):
    from shapes import segmentation

    data = segmentation("BINARY", [np.ones((16, 16), np.uint8)], {1: "Prostate"}, [(1, 105.0)], 1)
    data.SegmentationType = MARK
    return save(data, path / "seg.dcm")


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
ZR89 = ("C-168A4", "SRT", "^89^Zirconium")
NO_TIME = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": None}

CASES = {
    # files
    "truncated": pet(lambda f: bytes_of(series(f), lambda b: b[:-300]), "E_PET_TRUNCATED", "incomplete or cannot be decoded: file 3 of 6 in the order of their paths (…/897.dcm)"),
    "cut-header": pet(lambda f: bytes_of(series(f), lambda b: b[:300]), "E_PET_BROKEN_FILE", "1 of 6 files of the pet source are broken DICOM; the first is file 3 of 6"),
    "no-pixels": pet(lambda f: bytes_of(series(f), lambda b: b[: b.rindex(b"\xe0\x7f\x10\x00")]), "E_PET_NO_PIXELS", "has no pixels: file 3 of 6"),
    "zero-bytes": pet(lambda f: bytes_of(series(f), lambda b: b""), "E_PET_ZERO_BYTES", "1 of 6 files of the pet source are empty"),
    "symlink-loop-in-it": pet(loop, "E_PET_DEAD_LINK", "2 of 8 files of the pet source are links that lead nowhere"),
    "symlink-loop": pet(gone, "E_SOURCE_MISSING", "The pet source of this patient is missing, empty or"),
    "empty-folder": pet(empty, "E_PET_EMPTY", "holds no file"),
    "text-file": pet(lambda f: text(f / "notes.txt"), "E_PET_NO_DICOM", "None of the 1 files"),
    "unreadable-folder": pet(lambda f: series(f / "locked"), "E_SOURCE_UNREADABLE", "may not be read by this user"),
    "no-pet": Case(lambda f: {"pet": None, "prostate": volume(f / "m.nii.gz", organ())}, "E_SOURCE_NOT_GIVEN", "names no pet source"),
    # which images
    "wrong-modality": bad_pet("E_PET_MODALITY", "6 CT", {"Modality": "CT", "SOPClassUID": CT_CLASS}),
    "projections": bad_pet("E_PET_PROJECTION", "projections, captures", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
    "two-series": pet(lambda f: (series(f / "a"), series(f / "b", series="1.2.3.6"))[0].parent, "E_PET_AMBIGUOUS", "2 PET series that could be meant"),
    "missing-slice": bad_pet("E_PET_MISSING_SLICE", "About 1 slice missing", skip=(3,)),
    "one-slice": bad_pet("E_PET_SINGLE_SLICE", "only one slice", skip=(1, 2, 3, 4, 5)),
    "duplicated-slice": pet(twice, "E_PET_DUPLICATE_SLICE", "1 of 7 slices lie where another one lies"),
    "two-of-one-identity": pet(lambda f: one_more(series(f), make(1), uptake(1) + 1), "E_PET_DUPLICATE_IDENTITY", "claim to be the same slice"),
    "dynamic": pet(dynamic, "E_PET_FRAMES", "several images lie at each place"),
    "two-series-mixed": bad_pet("E_PET_MIXED_GRIDS", "PixelSpacing", {"PixelSpacing": lambda i: [4.0, 3.0 + i % 2]}),
    "two-patients-mixed": bad_pet("E_PET_MIXED_PATIENTS", "PatientID", {"PatientID": lambda i: f"{MARK}{i}"}),
    "two-units-mixed": bad_pet("E_PET_MIXED_HEADERS", "Units (0054,1001) differs", {"Units": lambda i: "GML" if i == 2 else "BQML"}),
    "corrected-in-part": bad_pet("E_PET_MIXED_CORRECTIONS", "names ATTN in 5 of 6 slices", {"CorrectedImage": lambda i: ["ATTN", "DECY"] if i else ["DECY"]}),
    "no-place": bad_pet("E_PET_NO_PLACE", "A slice has no place in the body", {"PixelSpacing": None}),
    "skewed": bad_pet("E_PET_ORIENTATION", "no pair of right-angled", {"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]}),
    "shifted-slices": bad_pet("E_PET_SHIFTED", "shifted against each other", {"ImagePositionPatient": lambda i: [2.0 * i, 0.0, 5.0 * i]}),
    "frames-without-place": pet(unplaced_frames, "E_PET_FRAME_PLACE", "does not place each of its frames"),
    # SUV
    "no-dose": bad_pet("E_PET_DOSE", "RadionuclideTotalDose (0018,1074) is missing", dose={"RadionuclideTotalDose": None}),
    "dose-of-nobody": bad_pet("E_PET_DOSE_RANGE", "which nobody injects", dose={"RadionuclideTotalDose": 3e5}),
    "dose-in-mci": bad_pet("E_PET_DOSE_UNIT", "perhaps mCi", dose={"RadionuclideTotalDose": 9.9}),
    "no-weight": bad_pet("E_PET_WEIGHT", "PatientWeight (0010,1030) is missing", {"PatientWeight": None}),
    "weight-of-nobody": bad_pet("E_PET_WEIGHT_RANGE", "which no adult has", {"PatientWeight": 1.8}),
    "no-height": bad_pet("E_PET_HEIGHT", "PatientSize (0010,1020)", {**GML, "SUVType": "IBW", "PatientSize": None}),
    "height-of-nobody": bad_pet("E_PET_HEIGHT_RANGE", "PatientSize (0010,1020) is 18 cm", {**GML, "SUVType": "IBW", "PatientSize": 0.18}),
    "no-sex": bad_pet("E_PET_SEX", "PatientSex (0010,0040) is missing", {**GML, "SUVType": "IBW", "PatientSex": None}),
    "strange-suv-type": bad_pet("E_PET_SUV_TYPE", "SUVType (0054,1006) is no known term", {**GML, "SUVType": MARK}),
    "no-injection-time": bad_pet("E_PET_INJECTION_TIME", "RadiopharmaceuticalStartTime (0018,1072) and", dose=NO_TIME),
    "two-injection-times": bad_pet("E_PET_INJECTION_CONFLICT", "disagree by 1800 s", dose={"RadiopharmaceuticalStartTime": "103000"}),
    "injection-after-scan": bad_pet("E_PET_UPTAKE_TIME", "s after the injection", dose={"RadiopharmaceuticalStartTime": "113000", "RadiopharmaceuticalStartDateTime": None}),
    "injection-without-date": bad_pet("E_PET_INJECTION_DATE", "a nuclide that lives days", dose={"RadionuclideHalfLife": 282276.0, "RadiopharmaceuticalStartDateTime": None}, nuclide=ZR89),
    "scan-of-two-days": bad_pet("E_PET_TIME_SPAN", "spans more than half a day", {"AcquisitionDate": lambda i: f"2025010{2 + i // 3 * 2}"}),
    "no-frame-duration": bad_pet("E_PET_FRAME_DURATION", "ActualFrameDuration (0018,1242) is missing", {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], "ActualFrameDuration": None}),
    "no-scan-start": bad_pet("E_PET_SERIES_TIME", "SeriesTime (0008,0031) is missing or after", {"SeriesTime": "130000", "FrameReferenceTime": None}),
    "slices-disagree": bad_pet("E_PET_SLICES_DISAGREE", "slices disagree by 1200 s", {"SeriesTime": "130000", "AcquisitionTime": lambda i: f"11{4 * i:02d}00"}),
    "no-acquisition-time": bad_pet("E_PET_ACQUISITION_TIME", "AcquisitionTime (0008,0032) is missing", {"AcquisitionTime": None}),
    "scan-start-unclear": bad_pet("E_PET_SCAN_START", "nothing else says which is right", {"SeriesTime": "103000"}),
    "times-erased": bad_pet("E_PET_TIMES_ERASED", "times of an anonymiser", {"SeriesTime": "120000", "AcquisitionTime": "120000"}, dose={"RadiopharmaceuticalStartTime": "120000", "RadiopharmaceuticalStartDateTime": None}),
    "offset-of-one-side": bad_pet("E_PET_TIME_ZONE", "only one has an offset from UTC", dose={"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20250102060000+0000"}),
    "series-of-another-day": bad_pet("E_PET_SERIES_DATE", "SeriesDate (0008,0021) and AcquisitionDate", {"SeriesDate": "20250105"}, dose={"RadionuclideHalfLife": 45721.0}, nuclide=("C-127A2", "SRT", "^64^Copper")),
    "another-nuclide": bad_pet("E_PET_NUCLIDE_CONFLICT", "is called after Ga-68", dose={"Radiopharmaceutical": "68Ga PSMA-11"}),
    "series-of-one-slice-each": pet(lambda f: series(f, {"SeriesInstanceUID": lambda i: f"1.2.7.{i}"}), "E_PET_SPLIT_SERIES", "has a SeriesInstanceUID (0020,000E) of its own"),
    "proportional-units": bad_pet("E_PET_UNITS", "Units (0054,1001) is PROPCPS", {"Units": "PROPCPS"}),
    "counts-without-factor": bad_pet("E_PET_COUNTS", "neither Philips factor", {"Units": "CNTS"}),
    "factor-is-text": bad_pet("E_PET_COUNTS_FACTOR", "The Philips factor (7053,1000) is no number", {"Units": "CNTS"}, private=[(0x7053, "Philips PET Private Group", 0x00, "LO", MARK)]),
    "no-units": bad_pet("E_PET_UNITS_MISSING", "Units (0054,1001) is missing", {"Units": None}),
    "not-attenuation-corrected": bad_pet("E_PET_ATTENUATION", "does not name ATTN", {"CorrectedImage": ["NORM", "DECY"]}),
    "corrections-not-named": bad_pet("E_PET_CORRECTIONS_MISSING", "CorrectedImage (0028,0051) is missing", {"CorrectedImage": None}),
    "decay-contradicted": bad_pet("E_PET_DECAY_CONFLICT", "does not name DECY", {"CorrectedImage": ["ATTN"]}),
    "no-decay-correction": bad_pet("E_PET_DECAY", "DecayCorrection (0054,1102) is missing", {"DecayCorrection": None}),
    "no-nuclide": bad_pet("E_PET_NUCLIDE", "RadionuclideHalfLife (0018,1075) is missing", dose={"RadionuclideHalfLife": None}, nuclide=None),
    "half-life-in-minutes": bad_pet("E_PET_HALF_LIFE_UNKNOWN", "belongs to no PET nuclide", dose={"RadionuclideHalfLife": 109.77}, nuclide=None),
    "wrong-half-life": bad_pet("E_PET_HALF_LIFE", "the named nuclide F-18 has 6586.2 s", dose={"RadionuclideHalfLife": 4057.7}),
    "no-slope": bad_pet("E_PET_SLOPE", "RescaleSlope (0028,1053) is missing", {"RescaleSlope": None}),
    "intercept": bad_pet("E_PET_INTERCEPT", "RescaleIntercept (0028,1052) is not 0", {"RescaleIntercept": -10.0}),
    "weight-is-text": pet(lambda f: bytes_of(series(f), lambda b: b.replace(b"80.0", b"8O.O")), "E_DICOM_VALUE", "PatientWeight (0010,1030) cannot be read"),
    # values
    "nan": array("E_PET_NAN", "not finite", lambda v: put(v, np.nan)),
    "infinite": array("E_PET_NAN", "not finite", lambda v: put(v, np.inf)),
    "constant": array("E_PET_FLAT", "the same value (1) everywhere", lambda v: v * 0 + 1),
    "negative": array("E_PET_NEGATIVE", "no value above 0", lambda v: -v - 1),
    "not-in-suv": array("E_PET_NOT_SUV", "so it is not in SUV", lambda v: v * 1000),
    "huge": bad_pet("E_PET_HUGE", "which no tissue reaches", {**GML, "RescaleSlope": 900.0}),
    "not-an-image": pet(lambda f: text(f / "suv.nii.gz"), "E_IMAGE_FORMAT", "An image file cannot be read"),
    "several-volumes": array("E_IMAGE_VOLUMES", "no single volume", lambda v: np.stack([v, v])),
    "no-orientation": pet(unoriented, "E_IMAGE_ORIENTATION", "does not say how it lies in the body"),
    "sheared": pet(sheared, "E_IMAGE_SHEARED", "axes that are not perpendicular"),
    "nan-in-its-place": pet(nowhere, "E_IMAGE_GEOMETRY", "NaN or zero in its orientation"),
    # masks
    "no-mask": Case(lambda f: {"prostate": None}, "E_MASK_MISSING", "has no prostate mask", "segment"),
    "empty-mask": mask(nifti(lambda m: m * 0), "E_MASK_EMPTY", "prostate: The mask holds no voxel"),
    "empty-roi": mask(lambda p: rt(p, {"Prostate": []}), "E_MASK_NO_CONTOUR", "prostate: The fitting ROI holds no closed contour"),
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
    "bent-contour": mask(lambda p: rt(p, {"Prostate": [c + np.linspace(0, 9, 60)[:, None] * [0, 0, 1] for c in contours()]}), "E_MASK_BENT", "not flat"),
    "uneven-contours": mask(lambda p: rt(p, {"Prostate": [circle(1.0, -2.0, z, 9.0, 60) for z in (105.0, 110.0, 117.5)]}), "E_MASK_UNEVEN", "not evenly spaced"),
    "broken-contour": mask(broken_contour, "E_MASK_POINTS", "holds no valid points"),
    "segmentation-of-no-kind": mask(strange_seg, "E_MASK_SEG_KIND", "of no known kind"),
    # later stages
    "nothing-in-the-box": Case(
        lambda f: {"pet": volume(f / "s.nii.gz", np.where(np.arange(16) > 13, 5, 1).astype(np.float32) * np.ones((6, 16, 1), np.float32)),
                   "lesions": volume(f / "l.nii.gz", organ() * (np.arange(16) < 9).astype(np.uint8))},
        "E_PET_CONSTANT", "the same value (1) everywhere in the cuboid", "normalise", {"mask_outside": False}),
    # good ones between them
    "good": Case(lambda f: {}),
    "good-rtstruct": Case(lambda f: {"prostate": rt(f / "mask")}),
    "weight-in-grams": Case(  # its own scan: the good one under two names is refused
        lambda f: {"pet": series(f / "pet", {"PatientWeight": 80000.0}, values=lambda i: np.maximum(uptake(i), 1001))}
    ),
    "empty-lesion-map": Case(lambda f: {"lesions": volume(f / "l.nii.gz", organ() * 0)}, "", "", NO_LESION),
}  # fmt: skip
