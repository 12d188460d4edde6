"""DICOM SEG: as many pixels as announced, planes where they are, segments by name or kind, one rule for what it was drawn on."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, code, save, write, write_rtstruct
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from shapes import segmentation

from promet.core.errors import DataError
from promet.imaging.masks.read import read_mask

ROWS, COLUMNS, PLANES = 9, 13, 12
PET = sitk.Image([COLUMNS, ROWS, PLANES], sitk.sitkFloat32)
PET.SetSpacing((1.5, 2.0, 3.0))
PET.SetOrigin((-7.0, -9.0, 10.0))
RNG = np.random.default_rng(5)
FRAMES = [(RNG.random((ROWS, COLUMNS)) > 0.6).astype(np.uint8) for _ in range(8)]
for frame in FRAMES:
    frame[-1] = 0  # nothing in the last row, as in any real mask: padding bits look like it


def seg(tmp_path, change=lambda data: None, frames=FRAMES, kind="BINARY", bits=1, labels=None, places=None):
    places = places or [(1, 10.0 + 3 * i) for i in range(len(frames))]
    data = segmentation(kind, frames, labels or {1: "Prostate"}, places, bits)
    change(data)
    return save(data, tmp_path / "seg.dcm")


def read(path, roi="(?i)prostate", reference=PET, **rest):
    return sitk.GetArrayFromImage(read_mask(path, reference, roi, **rest))


def code_of(*args, **rest):
    with pytest.raises(DataError) as caught:
        read(*args, **rest)
    return caught.value.code


TRUTH = np.zeros((PLANES, ROWS, COLUMNS), np.uint8)
TRUTH[:8] = FRAMES


def packed(frames):
    return np.packbits(np.ravel(frames), bitorder="little").tobytes()


def even(raw):
    return raw + b"\0" * (len(raw) % 2)


def test_eight_bits_for_one(tmp_path):
    """Read where the pixels are as many bytes as voxels (also 255 for 1), refused where they are bits."""
    np.testing.assert_array_equal(read(seg(tmp_path, bits=8)), TRUTH)
    np.testing.assert_array_equal(read(seg(tmp_path, frames=[f * 255 for f in FRAMES], bits=8)), TRUTH)

    def only_said(data):
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit = 7

    assert code_of(seg(tmp_path, only_said)) == "E_MASK_SEG_PIXELS"


@pytest.mark.parametrize("unit", ["frames", "segments"])
def test_padding_to_whole_bytes(tmp_path, unit):
    """dcmqi#341, dcmjs#66: every frame, or every segment, padded; read on, each is shifted a little more."""
    each = 2 if unit == "segments" else 3
    labels = {n: f"Prostate {n}" for n in range(1, 6)}
    places = [(n, 10.0 + 3 * i) for n in labels for i in range(each)]
    frames = [FRAMES[i % 8] for i in range(5 * each)]
    groups = [[f] for f in frames] if unit == "frames" else [frames[i : i + 2] for i in range(0, 10, 2)]

    def pad(data):
        data.PixelData = even(b"".join(packed(group) for group in groups))

    assert read(seg(tmp_path, frames=frames, labels=labels, places=places), "label=1").any()
    assert code_of(seg(tmp_path, pad, frames, labels=labels, places=places), "label=1") == "E_MASK_SEG_PIXELS"


def test_padding_that_only_the_eye_can_tell(tmp_path):
    """Two segments padded are as long as two packed ones: read as the standard says, and told of."""
    labels, places = {1: "Prostate", 2: "Bladder"}, [(s, 10.0 + 3 * i) for s in (1, 2) for i in range(2)]
    told = []
    read(seg(tmp_path, frames=FRAMES[:4], labels=labels, places=places), warnings=told)
    assert len(told) == 1 and "as many bytes" in told[0]
    wide = [np.pad(f, ((0, 0), (0, 3))) for f in FRAMES[:4]]  # 9 x 16: whole bytes
    read(seg(tmp_path, frames=wide, labels=labels, places=places), warnings=(told := []))
    assert not told


@pytest.mark.parametrize("extra", [-2, 2, 40])
@pytest.mark.parametrize(("kind", "bits"), [("BINARY", 1), ("FRACTIONAL", 8), ("LABELMAP", 8)])
def test_other_lengths(tmp_path, kind, bits, extra):
    def longer(data):
        data.PixelData = data.PixelData + bytes(extra) if extra > 0 else data.PixelData[:extra]

    frames = [f * 200 for f in FRAMES] if kind == "FRACTIONAL" else FRAMES
    assert code_of(seg(tmp_path, longer, frames, kind, bits)) == "E_MASK_SEG_PIXELS"


def test_bits_behind_the_last_frame(tmp_path):
    """Three frames of 117 voxels, padded each, need no more bytes than packed ones: what lies behind tells."""
    frames = [f.copy() for f in FRAMES[:3]]
    frames[-1][-1, -1] = 1

    def pad(data):
        data.PixelData = even(b"".join(packed([f]) for f in frames))

    assert code_of(seg(tmp_path, pad, frames)) == "E_MASK_SEG_PIXELS"


@pytest.mark.parametrize(("most", "value", "answer"), [
    (255, 1, "E_MASK_UNUSABLE"), (200, 99, "E_MASK_UNUSABLE"), (1, 255, "E_MASK_VALUES"), (1, 1, ""), (200, 100, ""), (255, 0, "E_MASK_EMPTY"),
])  # fmt: skip
def test_fractions(tmp_path, most, value, answer):
    """0/1 of 255 is marked and below one half, which is no empty mask; more than the maximum is no fraction."""

    def maximum(data):
        data.MaximumFractionalValue = most

    path = seg(tmp_path, maximum, [f * value for f in FRAMES], "FRACTIONAL", 8)
    if answer:
        assert code_of(path) == answer
    else:
        np.testing.assert_array_equal(read(path), TRUTH)


OTHER = sitk.Image([30, 30, 60], sitk.sitkFloat32)
OTHER.SetSpacing((1.0, 1.0, 1.0))
OTHER.SetOrigin((-9.0, -11.0, 0.0))


@pytest.mark.parametrize(("thick", "planes", "each"), [
    (5.0, (10, 25), 5.0), (3.0, (10, 25), 3.0), (3.0, (10, 13, 25), 3.0), (15.0, (10, 25), 15.0), (5.0, (10, 15, 20), 5.0),
    (2.0, (10, 13, 16), 3.0), (6.0, (10, 13, 16), 3.0), (4.0, (10, 25), None), (3.0, (10,), 3.0), (None, (10, 25), 15.0), (None, (10,), None),
])  # fmt: skip
def test_planes_that_are_not_stored(tmp_path, thick, planes, each):
    """Without SpacingBetweenSlices the thickness tells, if the planes fit it; slices that overlap or leave gaps are met, too."""

    def unsaid(data):
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        del measures.SpacingBetweenSlices
        if thick is None:
            del measures.SliceThickness
        else:
            measures.SliceThickness = thick

    frames = FRAMES[: len(planes)]
    path = seg(tmp_path, unsaid, frames, places=[(1, float(z)) for z in planes])
    if each is None:
        assert code_of(path, reference=OTHER) == "E_MASK_SEG_GEOMETRY"
        return
    found = read(path, reference=OTHER).sum()
    assert found == pytest.approx(np.sum(frames) * 1.5 * 2.0 * each, rel=0.01)


@pytest.mark.parametrize(("stated", "thick", "places", "taken"), [
    (3.0, 3.0, (10, 13, 16), True), (1.0, 3.0, (10, 13, 16), False), (1.0, 5.0, (10, 13, 16), True), (1.5, 3.0, (10, 16, 19), False),
    (3.0, 6.0, (10, 16, 22), False), (1.0, 3.0, (10, 13), True), (1.0, 3.0, (10, 11, 14), True), (3.0, 1.0, (10, 13, 16), True),
])  # fmt: skip
def test_a_spacing_that_the_planes_contradict(tmp_path, stated, thick, places, taken):
    """Every plane as far from the next as it is thick, and a SpacingBetweenSlices of a third: 12 instead of 37 ml."""

    def said(data):
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices, measures.SliceThickness = stated, thick

    path = seg(tmp_path, said, FRAMES[: len(places)], places=[(1, float(z)) for z in places])
    if not taken:
        assert code_of(path, reference=OTHER) == "E_MASK_SEG_GEOMETRY"
        return
    assert read(path, reference=OTHER).sum() == pytest.approx(
        np.sum(FRAMES[: len(places)]) * 3.0 * stated, rel=0.01
    )


def test_planes_by_the_images_they_were_drawn_on(tmp_path):
    """4 mm thick slices every 3 mm, of which two 15 mm apart are marked: the CT, or the PET's own voxels, tell."""

    def unsaid(data):
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        del measures.SpacingBetweenSlices
        measures.SliceThickness = 4.0

    path = seg(tmp_path, unsaid, FRAMES[:2], places=[(1, 10.0), (1, 25.0)])
    np.testing.assert_array_equal(read(path).sum(axis=(1, 2))[[0, 5]], [f.sum() for f in FRAMES[:2]])
    assert read(path).sum() == np.sum(FRAMES[:2])
    place = {
        "Modality": "CT",
        "SOPClassUID": CT_CLASS,
        "ImagePositionPatient": lambda i: [-20.0, -30.0, 10.0 + 3 * i],
    }
    source = write(tmp_path / "ct", place, slices=8)
    assert read(path, reference=OTHER, ct=source).sum() == pytest.approx(np.sum(FRAMES[:2]) * 9, rel=0.01)


def test_segments_that_overlap(tmp_path):
    """Each is read for itself; together they are one answer only if they are alike or apart."""
    small = [f.copy() for f in FRAMES]
    for f in small:
        f[:, 6:] = 0
    labels, places = {1: "Prostate A", 2: "Prostate B"}, [(s, 10.0 + 3 * i) for s in (1, 2) for i in range(8)]
    path = seg(tmp_path, frames=[*FRAMES, *small], labels=labels, places=places)
    np.testing.assert_array_equal(read(path, "Prostate A"), TRUTH)
    assert read(path, "Prostate B").sum() == np.sum(small)
    assert code_of(path) == "E_MASK_AMBIGUOUS"
    np.testing.assert_array_equal(read(path, "label=any"), TRUTH)
    rest = [f - s for f, s in zip(FRAMES, small, strict=True)]
    told = []
    path = seg(tmp_path, frames=[*rest, *small], labels=labels, places=places)
    np.testing.assert_array_equal(read(path, warnings=told), TRUTH)
    assert told[0] == "2 segments fit and were united"


@pytest.mark.parametrize(("label", "kind", "fits"), [
    ("Segment 1", "Prostate", True), ("", "Prostate", True), ("1", "Prostate", True), ("ROI-1", "prostate gland", True),
    ("Rectum", "Prostate", False), ("Segment 1", "Organ", False), ("Segment 1", None, False),
])  # fmt: skip
def test_a_segment_by_what_it_is(tmp_path, label, kind, fits):
    """A label that says nothing leaves the word to the property type; one that says something keeps it."""

    def name(data):
        data.SegmentSequence[0].SegmentLabel = label
        if kind:
            data.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = Sequence(
                [code("41216001", "SCT", kind)]
            )

    path = seg(tmp_path, name)
    if fits:
        np.testing.assert_array_equal(read(path), TRUTH)
        if label:
            np.testing.assert_array_equal(read(path, label), TRUTH)  # its label names it still
    else:
        assert code_of(path) == "E_MASK_ROI_MISSING"


def referring(data, images):
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.5"
    series.ReferencedInstanceSequence = Sequence()
    for uid in images:
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        series.ReferencedInstanceSequence.append(item)
    data.ReferencedSeriesSequence = Sequence([series])


@pytest.mark.parametrize(("frame", "images", "answer"), [
    ("1.2.3.4", ["1.2.3.5.1", "1.2.3.5.2"], ""), ("9.9", ["1.2.3.5.1", "1.2.3.5.2"], ""), ("9.9", [], "E_MASK_FRAME"),
    ("9.9", ["1.2.3.5.1", "1.9"], "E_MASK_FRAME"), ("9.9", ["1.9"], "E_MASK_FRAME"), ("1.2.3.4", ["1.9"], ""),
])  # fmt: skip
def test_one_rule_for_what_a_mask_was_drawn_on(tmp_path, frame, images, answer):
    """The frame of reference, or the very images of the PET: for SEG as for RTSTRUCT."""
    pet = write(tmp_path / "pet")  # frame 1.2.3.4, instances 1.2.3.5.N

    def change(data):
        data.FrameOfReferenceUID = frame
        referring(data, images)

    square = np.array([[-5.0, -7, 13], [8, -7, 13], [8, 4, 13], [-5, 4, 13]])
    contours = [np.add(square, (0, 0, z)) for z in (0, 3, 6)]
    for path in (
        seg(tmp_path, change),
        write_rtstruct(tmp_path / "rt.dcm", {"Prostate": contours}, frame=frame, images=images),
    ):
        told = []
        if answer:
            assert code_of(path, pet=pet) == answer
        else:
            assert read(path, pet=pet, warnings=told).any()
            assert bool(told) == (frame == "9.9")


def test_frames_of_no_segment_are_no_empty_mask(tmp_path):
    """Without the segment's number in a frame, or with one that is not in the file."""

    def unnumbered(data):
        for item in data.PerFrameFunctionalGroupsSequence:
            del item.SegmentIdentificationSequence

    assert code_of(seg(tmp_path, unnumbered)) == "E_MASK_SEG_FRAMES"
    assert code_of(seg(tmp_path, places=[(7, 10.0 + 3 * i) for i in range(8)])) == "E_MASK_SEG_FRAMES"
    assert (
        code_of(seg(tmp_path, frames=[f * 3 for f in FRAMES], kind="LABELMAP", bits=8)) == "E_MASK_UNUSABLE"
    )
    assert code_of(seg(tmp_path, frames=[f * 0 for f in FRAMES], kind="LABELMAP", bits=8)) == "E_MASK_EMPTY"


def test_two_structures_of_one_number(tmp_path):
    def double(data):
        item = code("x", "y", "z")
        item.SegmentNumber, item.SegmentLabel = 1, "Rectum"
        data.SegmentSequence.append(item)

    assert code_of(seg(tmp_path, double)) == "E_MASK_AMBIGUOUS"


@pytest.mark.parametrize("where", ["sequence", "file"])
def test_a_frame_of_reference_that_only_the_whole_structure_set_names(tmp_path, where):
    pet = write(tmp_path / "pet")
    square = np.array([[-5.0, -7, 13], [8, -7, 13], [8, 4, 13], [-5, 4, 13]])
    path = write_rtstruct(tmp_path / "rt.dcm", {"Prostate": [np.add(square, (0, 0, z)) for z in (0, 3)]})
    data = dcmread(path)
    del data.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    holder = data
    if where == "sequence":
        data.ReferencedFrameOfReferenceSequence = Sequence([holder := Dataset()])
    for frame, answer in (("1.2.3.4", ""), ("9.9", "E_MASK_FRAME")):
        holder.FrameOfReferenceUID = frame
        data.save_as(path)
        if answer:
            assert code_of(path, pet=pet) == answer
        else:
            assert read(path, pet=pet).any()


def test_a_part_of_the_series_that_a_segmentation_lists(tmp_path):
    """It was drawn on some of those images; which, it does not say: the CT need not hold them all."""
    place = {"Modality": "CT", "SOPClassUID": CT_CLASS, "FrameOfReferenceUID": "1.2.3.4"}
    ct = write(tmp_path / "ct", place, series="1.7")
    told = []
    path = seg(tmp_path, lambda data: referring(data, ["1.7.1", "1.7.2", "1.7.99"]))
    np.testing.assert_array_equal(read(path, ct=ct, warnings=told), TRUTH)
    assert not told
