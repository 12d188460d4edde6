"""An export as a PACS gives it: one flat folder of many patients, with each thing in it that cannot be known."""

import copy
import hashlib
import random
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from promet.phantom.cohort import write_patient
from promet.phantom.series import MARKER, UID_ROOT
from promet.phantom.truth import patient_truth

PLAIN, SEG, RTSTRUCT = 0, 2, 3  # index modulo 4: the form of the masks; NIfTI does not go through a PACS


def uid(*purpose):
    """A UID under the planted root."""
    digest = hashlib.sha256(repr(purpose).encode()).hexdigest()
    return UID_ROOT + str(int(digest[:16], 16))


class Bag:
    """Files of one patient, by kind, to be changed and thrown into an export."""

    def __init__(self, files):
        self.files = files  # kind -> list of Dataset

    def every(self):
        return [data for kind in self.files.values() for data in kind]

    def set(self, kinds="", **elements):
        for kind, files in self.files.items():
            for data in files if not kinds or kind in kinds.split() else ():
                for name, value in elements.items():
                    setattr(data, name, value)
        return self

    def drop(self, *kinds):
        for kind in kinds:
            self.files.pop(kind, None)
        return self

    def again(self, kind, salt):
        """A second series of a kind: other UIDs, the same images."""
        found = [copy.deepcopy(data) for data in self.files[kind]]
        for place, data in enumerate(found):
            data.SeriesInstanceUID = uid(salt, str(found[0].StudyInstanceUID), kind)
            data.SOPInstanceUID = uid(salt, str(found[0].StudyInstanceUID), kind, place)
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        return found


class Maker:
    """Phantoms, made once each, and the folder they are thrown into."""

    def __init__(self, work):
        self.work, self._next = work, {}
        self._random = random.Random(7)

    def bag(self, form, number, name=None):
        """The next patient with this form of masks under a number of the hospital."""
        index = self._next.get(form, form)
        while not patient_truth(9, index, "development", 1.0).visible:
            index += 4
        self._next[form] = index + 4
        folder = self.work / str(index)
        if not folder.exists():
            write_patient(patient_truth(9, index, "development", 1.0), folder, small=True)
        files = {}
        for path in sorted(folder.rglob("*.dcm")):
            files.setdefault(path.parent.name, []).append(dcmread(path))
        files = {kind: sorted(found, key=_place) for kind, found in files.items()}
        return Bag(files).set(PatientID=number, PatientName=name or f"{MARKER}^{number}")

    def throw(self, bag, folder, cut=()):
        """Write the files under names that say nothing, of no suffix."""
        folder.mkdir(parents=True, exist_ok=True)
        for data in bag.every() if isinstance(bag, Bag) else bag:
            name = f"{self._random.getrandbits(48):012x}"
            dcmwrite(folder / name, data, enforce_file_format=True)
            if any(data is one for one in cut):
                whole = (folder / name).read_bytes()
                (folder / name).write_bytes(whole[: len(whole) - 300])


def _place(data):
    return float(data.ImagePositionPatient[2]) if "ImagePositionPatient" in data else 0.0


def mask_elsewhere(mask, salt, frame=None, refer=()):
    """An RTSTRUCT that lies in another frame and was drawn on other images (or on ``refer``)."""
    frame = frame or uid(salt, "frame")
    part = mask.ReferencedFrameOfReferenceSequence[0]
    part.FrameOfReferenceUID = frame
    images = part.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    images.SeriesInstanceUID = refer[0].SeriesInstanceUID if refer else uid(salt, "series")
    names = [data.SOPInstanceUID for data in refer] or [
        uid(salt, k) for k in range(len(images.ContourImageSequence))
    ]
    for item, name in zip(images.ContourImageSequence, names, strict=False):
        item.ReferencedSOPInstanceUID = name
    for roi in mask.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = frame
    for roi in mask.ROIContourSequence:
        for contour in roi.ContourSequence:
            contour.ContourImageSequence[0].ReferencedSOPInstanceUID = names[0]


def other_kind():
    """A dose report, which nobody needs."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.67", uid("report")
    data.Modality, data.PatientID, data.PatientName = "SR", "H7001", f"{MARKER}^REPORT"
    data.StudyInstanceUID, data.SeriesInstanceUID = uid("report study"), uid("report series")
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


ROWS = ["H7001", "H7002", "H7003", "H7004", "H7005", "H7006"]  # nothing is asked about them
# Number -> the code of the one question about it.
ASKED = {
    "ANON": "ID_COLLECTIVE",
    "": "ID_MISSING",
    "H7010": "ID_TWO_PERSONS",
    "H7011": "ID_TWO_NUMBERS",
    "H7020": "ID_STUDY_SHARED",
    "H7013": "INSTANCE_TWICE",
    "H7014": "PET_SEVERAL",
    "H7015": "STUDY_SEVERAL",
    "H7016": "PET_INCOMPLETE",
    "H7017": "MASK_OTHER_FRAME",
    "H7018": "MASK_DANGLING",
    "H7019": "MASK_SEVERAL",
    "H7021": "CT_SEVERAL",
    "H7022": "DATE_MISSING",
}
WITH_ROW = ("MASK_OTHER_FRAME", "MASK_DANGLING", "MASK_SEVERAL", "CT_SEVERAL", "DATE_MISSING")


def plant(maker: Maker, folder: Path) -> None:  # noqa: PLR0915 - a list
    """Patients of whom all is known, each kind of question once, and what else lies in an export."""
    maker.throw(maker.bag(RTSTRUCT, "H7001"), folder)
    maker.throw(maker.bag(SEG, "H7002"), folder)
    corrected = maker.bag(PLAIN, "H7003")  # uncorrected beside it, and a copy of everything
    raw = corrected.again("PT", "nac")
    for data in raw:
        data.CorrectedImage = ["NORM", "DTIM"]
    maker.throw(corrected, folder)
    maker.throw(raw, folder)
    maker.throw(corrected, folder / "disc" / "a b")
    maker.throw(maker.bag(SEG, "H7004").set("CT", StudyInstanceUID=uid("own study")), folder)
    maker.throw(maker.bag(RTSTRUCT, "H7005").set("RTSTRUCT", StudyInstanceUID=uid("plan")), folder)
    names = maker.bag(RTSTRUCT, "H7006")  # a number of two hospitals, with an issuer; letters of another set
    names.set(SpecificCharacterSet=["", "ISO 2022 IR 87"], IssuerOfPatientID="MAIN")
    names.set(
        PatientName="ZZMARKER^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B".encode("latin-1").decode("latin-1")
    )
    maker.throw(names, folder / "deep" / "er")

    for name in ("ONE", "TWO"):
        maker.throw(maker.bag(PLAIN, "ANON").set(PatientName=f"ANON^{name}"), folder)
    maker.throw(maker.bag(PLAIN, "").set(PatientName=f"{MARKER}^NONUMBER"), folder)
    maker.throw(maker.bag(PLAIN, "H7010", f"{MARKER}^FIRST"), folder)
    maker.throw(maker.bag(PLAIN, "H7010", f"{MARKER}^SECOND"), folder)
    for number in ("H7011", "H7012"):
        maker.throw(maker.bag(PLAIN, number, f"{MARKER}^SAME").set(PatientBirthDate="19400101"), folder)
    shared = maker.bag(PLAIN, "H7020").set("CT", PatientID="H9999", PatientName=f"{MARKER}^OTHER")
    maker.throw(shared, folder)

    twice = maker.bag(RTSTRUCT, "H7013")
    maker.throw(twice, folder)
    maker.throw([twice.files["PT"][5]], folder / "000", cut=[twice.files["PT"][5]])
    several = maker.bag(PLAIN, "H7014")
    maker.throw(several, folder)
    maker.throw(several.again("PT", "second reconstruction"), folder)
    first, second = maker.bag(PLAIN, "H7015"), maker.bag(PLAIN, "H7015", f"{MARKER}^H7015")
    second.set(PatientBirthDate=first.files["PT"][0].PatientBirthDate, StudyDate="20031224")
    maker.throw(first, folder)
    maker.throw(second, folder)
    short = maker.bag(PLAIN, "H7016")
    del short.files["PT"][-2:]
    maker.throw(short, folder)
    frame = maker.bag(RTSTRUCT, "H7017")
    planning = frame.again("CT", "planning")
    for data in planning:
        data.FrameOfReferenceUID = uid("planning frame")
    mask_elsewhere(frame.files["RTSTRUCT"][0], "other", uid("planning frame"), planning)
    maker.throw(frame, folder)
    maker.throw(planning, folder)
    dangling = maker.bag(RTSTRUCT, "H7018")
    mask_elsewhere(dangling.files["RTSTRUCT"][0], "gone")
    maker.throw(dangling, folder)
    masks = maker.bag(RTSTRUCT, "H7019")
    later = masks.again("RTSTRUCT", "later")
    later[0].StructureSetDate = "20040101"
    maker.throw(masks, folder)
    maker.throw(later, folder)
    cts = maker.bag(PLAIN, "H7021")
    maker.throw(cts, folder)
    maker.throw(cts.again("CT", "second"), folder)
    maker.throw(maker.bag(SEG, "H7022").set(StudyDate=""), folder)

    maker.throw([other_kind()], folder)
    (folder / "README").write_text(f"{MARKER} export\n")
    (folder / "picture.jpg").write_bytes(np.random.default_rng(1).bytes(3000))
    (folder / "empty").write_bytes(b"")
    stump = next(path for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size > 3000)
    (folder / "stump").write_bytes(stump.read_bytes()[:250])
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = uid("directory")
    directory.FileSetID = MARKER
    dcmwrite(folder / "DICOMDIR", directory, enforce_file_format=True)
