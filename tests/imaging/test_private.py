"""Marks in every text, date and identifier of every DICOM: no byte that any imaging stage leaves may show one."""

import gzip
import logging
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, save, write, write_rtstruct
from pydicom import dcmread
from pydicom.datadict import DicomDictionary, tag_for_keyword
from pydicom.dataset import Dataset
from shapes import segmentation

from promet.core.errors import DataError
from promet.core.sidecar import Sidecar
from promet.imaging import convert, crop, gather, measure, normalise, picture, segment
from promet.imaging.convert import convert_by_hand
from promet.imaging.inspect import inspect, text
from promet.imaging.masks.read import mask_by_hand
from promet.imaging.settings import Convert, Crop, Measure, Normalise, Picture, Segment

MARK, DATE, UID, CLOCK = "ZQXMARK", "19331224", "1.2.777", "031415.926535"
KINDS = {
    "PN": MARK, "LO": MARK, "SH": MARK, "ST": MARK, "LT": MARK, "UT": MARK, "UC": MARK, "AE": MARK, "UR": MARK, "CS": MARK,
    "AS": "091Y", "DA": DATE, "DT": f"{DATE}{CLOCK}", "TM": CLOCK, "UI": f"{UID}.5",
}  # fmt: skip
MARKED = re.compile(rb"ZQX|1933|091Y|1\.2\.777|PHANTOM|031415|926535|03:14")
# Elements that decide how a file is read: planting there makes another file of it, not the same file of a named patient.
KEEP = {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDate", "AcquisitionDate", "AcquisitionDateTime",
        "SeriesTime", "AcquisitionTime", "FrameOfReferenceUID", "DecayCorrectionDateTime", "FrameAcquisitionDateTime",
        "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime", "ReferencedFrameOfReferenceUID",
        "ReferencedSOPInstanceUID", "SegmentationType", "ContourGeometricType", "PhotometricInterpretation",
        "ROIName", "SegmentLabel", "CodeValue"}  # fmt: skip
TEXT = {
    keyword: KINDS[kind]
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items()
    if kind in KINDS and keyword and not retired and 0x0008 <= tag >> 16 < 0x7FE0 and keyword not in KEEP
}
NESTED = {
    k: v for k, v in TEXT.items() if tag_for_keyword(k) >> 16 in (0x0008, 0x0010, 0x0018, 0x0040, 0x3006)
}


def plant(data: Dataset, texts: dict[str, str] = TEXT) -> Dataset:
    """A mark in every element of a text kind, there or not yet, also in private ones and in every nested item."""
    for element in list(data):
        if element.VR == "SQ":
            for item in element.value:
                plant(item, NESTED)
        elif element.VR in ("PN", "LO", "SH", "ST", "LT", "UT") and element.keyword not in KEEP:
            element.value = MARK
    present = set(data.dir())
    for keyword, value in texts.items():
        if keyword not in present:
            setattr(data, keyword, value)
    data.private_block(0x0011, MARK, create=True).add_new(0x01, "LO", MARK)
    return data


def rewrite(path):
    save(plant(dcmread(path)), path)


def swap(path, **elements):
    data = dcmread(path)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)


def uptake(index):
    plane = np.full((16, 16), 1000, np.int16)
    if 1 <= index <= 3:
        plane[6:9, 6:9] = 7500
    return plane


@pytest.fixture
def source(tmp_path):
    """A PET, a CT, an RTSTRUCT and a SEG of one patient, in folders named after them."""
    folder = tmp_path / f"{MARK} {DATE}"
    # Dates of the series and the injection are marks too: only their difference may come out.
    times = {"SeriesDate": DATE, "AcquisitionDate": DATE, "FrameOfReferenceUID": f"{UID}.4"}
    write(folder / "pet", times, slices=6, values=uptake, series=f"{UID}.1",
          dose={"RadiopharmaceuticalStartDateTime": f"{DATE}100000"})  # fmt: skip
    write(folder / "ct", {**times, "Modality": "CT", "SOPClassUID": CT_CLASS}, slices=6, series=f"{UID}.2")
    planes = [circle(1.0, -2.0, z, 9.0, 60) for z in (105.0, 110.0, 115.0)]
    write_rtstruct(folder / "rt" / "rt.dcm", {f"Prostate {MARK}": planes, MARK: planes}, frame=f"{UID}.4")
    lesion = np.zeros((2, 16, 16), np.uint8)
    lesion[:, 6:9, 6:9] = 1
    seg = segmentation("BINARY", list(lesion), {1: f"Lesion {MARK}"}, [(1, 107.0), (1, 110.0)], 1)
    seg.FrameOfReferenceUID = f"{UID}.4"
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [4.0, 3.0]
    for item in seg.PerFrameFunctionalGroupsSequence:
        place = item.PlanePositionSequence[0].ImagePositionPatient
        item.PlanePositionSequence[0].ImagePositionPatient = [-20.0, -30.0, place[2]]
    save(seg, folder / "seg" / "seg.dcm")
    for path in folder.rglob("*.dcm"):
        rewrite(path)
    planted = dcmread(next((folder / "pet").iterdir()))
    assert len(TEXT) > 1500 and sum(MARK in str(element.value) for element in planted) > 1000
    assert MARK in str(planted.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0])
    return folder


def contents(path):
    """The bytes of a file, unpacked where they are packed."""
    raw = path.read_bytes()
    yield raw
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
        assert raw[3:8] == b"\0" * 5  # neither a name nor a time in the header of gzip
    if raw[:4] == b"\x89PNG":
        place = 8
        while place < len(raw):
            size, kind = int.from_bytes(raw[place : place + 4]), raw[place + 4 : place + 8]
            assert kind not in (b"tEXt", b"iTXt", b"eXIf", b"tIME")
            if kind == b"zTXt":
                yield zlib.decompress(raw[place + 8 : place + 8 + size])
            place += 12 + size
    if raw[:4] == b"PAR1":
        import pandas as pd

        yield pd.read_parquet(path).to_csv().encode()


def stages(source, root, prostate, lesions=None, pet=None):
    given = {"pet": pet or source / "pet", "ct": source / "ct", "prostate": prostate, "lesions": lesions}
    registry = root.with_suffix(".tsv")
    lines = [f"P1\t{name}\t{path}\tx\t1\t1" for name, path in given.items() if path]
    registry.write_text("\n".join(["patient\tsource\tpath\tdigest\tfiles\tbytes", *lines]) + "\n")

    def out(stage):
        return root / "P1" / f"{stage}.json"

    box = Crop(shape=(4, 6, 6), spacing_mm=(5.0, 4.0, 4.0))
    convert.run(convert.Inputs("P1", registry), Convert(keep_ct=True), out("convert"), "p")
    segment.run(segment.Inputs(out("segment").parent, "P1", registry), Segment(), out("segment"), "p")
    crop.run(out("crop").parent, box, out("crop"), "p")
    normalise.run(out("normalise").parent, Normalise(), out("normalise"), "p")
    measure.run(out("measure").parent, Measure(), out("measure"), "p")
    picture.run(picture.Inputs(out("picture").parent, box), Picture(), out("picture"), "p")
    gather.run(gather.Inputs(root, ["P1"]), None, root / "gather" / "gather.json", "p")
    return {path.stem: Sidecar.read(path) for path in (root / "P1").glob("*.json")}


def by_swap(**elements):
    return lambda path: swap(path, **elements)


def by_bytes(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


# Of one slice of the PET; then of the SEG.
REFUSED = (
    by_swap(Units=MARK), by_swap(DecayCorrection=MARK), by_swap(PatientWeight=None), by_swap(PatientID="OTHER ZQX"),
    by_swap(AcquisitionTime=MARK), by_swap(SOPInstanceUID=f"{UID}.1.1"), by_swap(ImagePositionPatient=[0, 0, 0]),
    by_swap(BitsAllocated=12), by_bytes(lambda raw: raw[:-200]), by_bytes(lambda raw: raw[:4000]),
    by_bytes(lambda raw: b""), by_bytes(lambda raw: raw.replace(b"80.0", b"ZQXM")),
)  # fmt: skip
SPOILED = (
    by_swap(SegmentationType=MARK), by_swap(FrameOfReferenceUID=f"{UID}.99", PatientID=f"{MARK}2"),
    by_bytes(lambda raw: raw[:-300]), by_bytes(lambda raw: raw.replace(b"Lesion ", b"Nothing")),
)  # fmt: skip


def test_nothing_of_a_person_is_in_any_product(source, tmp_path, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    good = stages(source, tmp_path / "good", source / "rt", source / "seg")
    assert {record.status for record in good.values()} == {"ok"}, [record.reason for record in good.values()]
    shown = [text(inspect(source)), str(inspect(source))]
    shown.append(
        str(
            mask_by_hand(
                source / "rt", tmp_path / "good/P1/pet.nii.gz", "Prostate", tmp_path / "good/m.nii.gz"
            )
        )
    )
    # refused ones: their sentences go into records, logs and tables as well
    swap(source / "rt" / "rt.dcm", PatientID="ANOTHER ZQX")
    refused = 0
    for change in REFUSED:
        path = sorted((source / "pet").iterdir())[2]
        before = path.read_bytes()
        change(path)
        bad = stages(source, tmp_path / f"bad{refused}", source / "rt")
        assert bad["convert"].status == "quarantined"
        path.write_bytes(before)
        refused += 1
    for change in SPOILED:
        path, roi = source / "seg" / "seg.dcm", source / "rt"
        before = path.read_bytes()
        change(path)
        bad = stages(source, tmp_path / f"bad{refused}", roi, path)
        assert bad["segment"].status == "quarantined", bad["segment"]
        path.write_bytes(before)
        refused += 1
    for masks in (source / "pet", source / "ct"):
        assert stages(source, tmp_path / f"bad{refused}", masks)["segment"].status == "quarantined"
        refused += 1
    for folder in ("ct", "", "rt"):
        assert stages(source, tmp_path / f"bad{refused}", source / "rt", pet=source / folder)[
            "convert"
        ].status == ("ok" if not folder else "quarantined")
        refused += 1
    with pytest.raises(DataError) as caught:
        convert_by_hand(source / "seg", tmp_path / "by hand.nii.gz")
    shown.append(str(caught.value))
    seen = 0
    for folder in [path for path in tmp_path.iterdir() if path != source and path.is_dir()]:
        for path in folder.rglob("*"):
            if path.is_file():
                seen += 1
                for content in contents(path):
                    assert not MARKED.search(content), path.name
    assert seen >= 200
    kinds = {path.suffix for path in (tmp_path / "good").rglob("*") if path.is_file()}
    assert kinds == {".gz", ".npy", ".json", ".png", ".parquet", ".tsv"}
    out = capfd.readouterr()
    for line in (*shown, caplog.text, out.out, out.err, *(str(w.message) for w in recwarn)):
        assert not MARKED.search(line.encode()), line
    for key in sitk.ReadImage(str(tmp_path / "good/P1/pet.nii.gz")).GetMetaDataKeys():
        value = sitk.ReadImage(str(tmp_path / "good/P1/pet.nii.gz")).GetMetaData(key)
        assert key not in ("descrip", "aux_file", "intent_name") or not value.strip()
