"""A file that is cut anywhere is refused, or gives what the whole file gives: never another product, never a traceback."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, save, write, write_rtstruct
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from shapes import segmentation

from promet.core.errors import DataError, IntegrityError
from promet.core.files import digest_file
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.imaging import convert
from promet.imaging.convert import check_source, convert_source
from promet.imaging.ct import convert_ct
from promet.imaging.geometry import read_image, read_pet
from promet.imaging.masks.read import read_mask
from promet.imaging.settings import Convert

GRID = sitk.Image([13, 9, 12], sitk.sitkFloat32)
GRID.SetSpacing((1.5, 2.0, 3.0))
GRID.SetOrigin((-7.0, -9.0, 10.0))
CUTS = 60
VOLUMES = ["a.nii", "a.nii.gz", "a.nrrd", "packed.nrrd", "a.nhdr", "packed.nhdr", "a.mha", "packed.mha", "a.mhd", "packed.mhd"]  # fmt: skip


def volume(path, kind):
    values = np.random.default_rng(4).random((12, 9, 13))
    image = sitk.GetImageFromArray(
        (values > 0.5 if kind == "mask" else 8 * values + 1).astype(kind if kind != "mask" else np.uint8)
    )
    image.CopyInformation(GRID)
    sitk.WriteImage(image, str(path), path.name.startswith("packed"))
    return path


def organ(path):
    return sitk.GetArrayFromImage(read_mask(path, GRID, "Prostate"))


def suv(path):
    return sitk.GetArrayFromImage(convert_source(path).image)


def cut_and_read(file, read, source=None, cuts=CUTS, seed=0):
    """Cut at random bytes, at the first and at the last; every answer is a refusal or the whole file's product."""
    source, whole = source or file, file.read_bytes()
    expected = read(source)
    places = {0, 1, 60, len(whole) - 1, *np.random.default_rng(seed).integers(0, len(whole), cuts).tolist()}
    refused = 0
    for place in places:
        file.write_bytes(whole[:place])
        try:
            np.testing.assert_array_equal(
                read(source), expected, err_msg=f"{file.name} cut at {place} of {len(whole)}"
            )
        except DataError as error:
            refused += 1
            assert error.code not in ("E_MASK_EMPTY", "E_MASK_NO_CONTOUR", "E_MASK_NO_FRAME"), (
                f"{file.name} cut at {place}: no lesion?"
            )
    file.write_bytes(whole)
    return refused / len(places)


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(tmp_path, name):
    """Masks, and PETs of the types that ITK fills up or chokes on."""
    for kind, read in (("mask", organ), ("int16", suv), ("float32", suv)):
        header = volume(tmp_path / name, kind)
        assert cut_and_read(header, read) > 0.9
        for voxels in set(tmp_path.iterdir()) - {header}:
            assert cut_and_read(voxels, read, header) == 1
            voxels.unlink()


def damage(raw, rng):
    """One to three bytes changed or taken out, anywhere in the first 2000."""
    raw = bytearray(raw)
    for _ in range(rng.integers(1, 4)):
        place = rng.integers(min(len(raw), 2000))
        if rng.random() < 0.7:
            raw[place] ^= rng.integers(1, 256)
        else:
            del raw[place : place + rng.integers(1, 9)]
    return bytes(raw)


@pytest.mark.parametrize("name", [*VOLUMES, "rt.dcm", "seg.dcm", "pet", "ct"])
def test_damage_ends_in_a_sentence(tmp_path, name):
    """A product or a refusal: whatever a header says, no traceback ends the run of a cohort."""
    source, read = tmp_path / name, organ
    if name in VOLUMES:
        volume(source, "mask")
    elif name == "rt.dcm":
        write_rtstruct(source, {"Prostate": [circle(0, 0, z, 6.0, 30) for z in (13.0, 16.0)]})
    elif name == "seg.dcm":
        frame = np.ones((9, 13), np.uint8)
        save(segmentation("BINARY", [frame, frame], {1: "Prostate"}, [(1, 10.0), (1, 13.0)], 1), source)
    else:
        write(source, {} if name == "pet" else {"Modality": "CT", "SOPClassUID": CT_CLASS})
        read = suv if name == "pet" else convert_ct
    file = source / "898.dcm" if source.is_dir() else source
    whole, rng, refused = file.read_bytes(), np.random.default_rng(11), 0
    for _ in range(50):
        file.write_bytes(damage(whole, rng))
        try:
            read(source)
        except DataError:
            refused += 1
    assert refused > 10


def test_a_damaged_stream_is_no_volume(tmp_path):
    """One wrong byte in the middle: gzip's checksum knows."""
    path = volume(tmp_path / "a.nii.gz", "int16")
    plain = bytearray(gzip.decompress(path.read_bytes()))
    packed = gzip.compress(bytes(plain), 0)  # stored, so that a changed byte is still a stream
    path.write_bytes(packed[:900] + bytes([packed[900] ^ 1]) + packed[901:])
    with pytest.raises(DataError) as caught:
        convert_source(path)
    assert caught.value.code == "E_IMAGE_TRUNCATED"


def undefined(data):
    """All sequences and items with delimiters instead of lengths."""
    for element in data:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefined(item)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("lengths", ["lengths", "delimiters"])
def test_structure_sets(tmp_path, syntax, lengths):
    path = write_rtstruct(
        tmp_path / "rt.dcm", {"Prostate": [circle(0, 0, z, 6.0, 30) for z in np.arange(13, 40, 3.0)]}
    )
    data = dcmread(path)
    if lengths == "delimiters":
        undefined(data)
    data.file_meta.TransferSyntaxUID = syntax
    data.RTROIObservationsSequence = Sequence([Dataset()])
    data.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    assert cut_and_read(path, organ, cuts=150) > 0.9


def test_a_structure_set_that_ends_where_its_contours_would_begin(tmp_path):
    """Whole by its bytes, and yet no finding."""
    path = write_rtstruct(tmp_path / "rt.dcm", {"Prostate": [circle(0, 0, 20.0, 6.0)]})
    data = dcmread(path)
    del data.ROIContourSequence
    data.save_as(path)
    with pytest.raises(DataError) as caught:
        organ(path)
    assert caught.value.code == "E_MASK_TRUNCATED"


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations(tmp_path, kind):
    rng = np.random.default_rng(5)
    arrays = [
        (rng.random((9, 13)) > 0.6).astype(np.uint8) * (200 if kind == "FRACTIONAL" else 1) for _ in range(4)
    ]
    data = segmentation(
        kind, arrays, {1: "Prostate"}, [(1, 10.0 + 3 * i) for i in range(4)], 1 if kind == "BINARY" else 8
    )
    path = save(data, tmp_path / "seg.dcm")
    assert cut_and_read(path, organ) == 1
    undefined(data)
    assert cut_and_read(save(data, path), organ) == 1


@pytest.mark.parametrize("name", ["900.dcm", "898.dcm", "897.dcm"], ids=["first", "middle", "last"])
@pytest.mark.parametrize("preamble", [True, False])
def test_a_slice_of_a_series(tmp_path, name, preamble):
    """Of a PET and of a CT. A slice that is left out at the end of a series leaves no gap that could be seen."""
    sources = {"pet": suv, "ct": lambda folder: sitk.GetArrayFromImage(convert_ct(folder))}
    for kind, read in sources.items():
        changes = {} if kind == "pet" else {"Modality": "CT", "SOPClassUID": CT_CLASS}
        source = write(tmp_path / kind, changes)
        if not preamble:
            for path in source.iterdir():
                path.write_bytes(path.read_bytes()[132:])  # as older programs write them: group 2 comes first
        assert cut_and_read(source / name, read, source, cuts=30) == 1
    source = tmp_path / "pet"
    whole = (source / name).read_bytes()
    (source / name).write_bytes(whole[:-100])  # in the pixels, which a look at the headers does not read
    with pytest.raises(DataError) as caught:
        check_source(source)
    assert caught.value.code == "E_PET_TRUNCATED"


def test_the_cohort_goes_on(tmp_path):
    """The stage quarantines; formerly EOFError ended the job, and with it the run."""
    path = volume(tmp_path / "a.nii.gz", "float32")
    path.write_bytes(path.read_bytes()[:-500])
    registry = tmp_path / "images.tsv"
    registry.write_text(f"patient\tsource\tpath\tdigest\tfiles\tbytes\nP 1\tpet\t{path}\tx\t1\t1\n")
    record = convert.run(convert.Inputs("P 1", registry), Convert(), tmp_path / "P 1" / "convert.json", "x")
    assert (record.status, record.code) == (QUARANTINED, "E_IMAGE_TRUNCATED")


def test_the_disk_is_no_patient(tmp_path):
    """A file that vanished between the registry and its reader fails the job."""
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "gone.nii.gz")


def test_a_cut_product_is_the_disks_fault(tmp_path):
    """What promet wrote itself is held against its record: the job fails, no patient is quarantined."""
    path = volume(tmp_path / "pet.nii.gz", "float32")
    Sidecar("convert", "c", products={path.name: digest_file(path)}).write(tmp_path / "convert.json")
    assert read_pet(tmp_path).GetSize() == GRID.GetSize()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError) as caught:
        read_pet(tmp_path)
    assert caught.value.code == "E_PRODUCT_BROKEN"
