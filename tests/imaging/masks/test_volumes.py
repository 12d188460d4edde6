"""Volume files: what they are and where they lie is what they say, not their name; two places are none."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from shapes import grid, millilitres

from promet.core import volumes
from promet.core.detached import data_file
from promet.core.errors import DataError
from promet.imaging import geometry
from promet.imaging.convert import convert_source
from promet.imaging.masks.read import read_mask
from promet.study import looks
from promet.study.sources import list_files

PET = grid((4.0, 4.0, 3.0), (30, 31, 32), (5.0, -7.0, 40.0))
ORGAN = np.zeros((32, 31, 30), np.uint8)
ORGAN[10:20, 12:22, 14:24] = 1  # 48 ml


def write(path, array=ORGAN, like=PET, packed=False):
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(path), packed)
    return path


def code_of(call):
    with pytest.raises(DataError) as caught:
        call()
    return caught.value.code


def read(path, **rest):
    return millilitres(read_mask(path, PET, "x", **rest))


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("a.nii.gz", "A.NII.GZ"), ("a.nii.gz", "a.Nii.Gz"), ("a.nii", "A.Nii"), ("a.nii", "plain.nii.gz"),
        ("a.nii.gz", "packed.nii"), ("a.nrrd", "A.NRRD"), ("a.mha", "A.Mha"), ("a.mhd", "A.MHD"), ("a.nhdr", "A.NHDR"),
    ],
)  # fmt: skip
def test_names(tmp_path, written, named):
    """Any spelling, as mask and as PET; what is inside a NIfTI decides whether it is packed."""
    path = tmp_path / named
    path.write_bytes(write(tmp_path / written).read_bytes())
    assert read(path) == pytest.approx(48)
    path.write_bytes(write(tmp_path / written, ORGAN * 7.0 + 1).read_bytes())
    image = convert_source(path).image
    np.testing.assert_allclose(image.GetOrigin(), PET.GetOrigin())
    assert sitk.GetArrayFromImage(image).sum() == ORGAN.size + 7 * ORGAN.sum()


@pytest.mark.parametrize("name", ["plain.nii.gz", "A.NII.GZ"])
def test_no_spelling_hides_that_a_volume_lies_nowhere(tmp_path, name):
    raw = bytearray(write(tmp_path / "a.nii").read_bytes())
    raw[252:256] = bytes(4)
    (tmp_path / name).write_bytes(raw)
    assert code_of(lambda: geometry.read_image(tmp_path / name)) == "E_IMAGE_ORIENTATION"


def header_without(path, *keys):
    head, blank, voxels = path.read_bytes().partition(
        b"\n\n" if path.suffix == ".nrrd" else b"ElementDataFile"
    )
    lines = [line for line in head.split(b"\n") if line.split(b":")[0].split(b" =")[0].decode() not in keys]
    path.write_bytes(b"\n".join(lines) + blank + voxels)
    return path


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a.nrrd", ("space", "space directions", "space origin")), ("a.nrrd", ("space origin",)), ("a.nrrd", ("space",)),
        ("a.mha", ("Offset",)), ("a.mha", ("TransformMatrix", "Offset", "CenterOfRotation")),
    ],
)  # fmt: skip
def test_headers_without_a_place(tmp_path, name, keys):
    path = header_without(write(tmp_path / name), *keys)
    assert code_of(lambda: read(path)) == "E_IMAGE_ORIENTATION"
    assert code_of(lambda: convert_source(path)) == "E_IMAGE_ORIENTATION"


@pytest.mark.parametrize("space", ["right-anterior-superior", "LAS"])
def test_other_axes_of_a_nrrd(tmp_path, space):
    """DICOM's x and y run to the left and to the back, in the names of the others to the right and to the front."""
    path = write(tmp_path / "a.nrrd")
    signs = [-1 if space[0] == "r" else 1, -1, 1]
    x, y, z = (f"{s * o:.9g}".encode() for s, o in zip(signs, PET.GetOrigin(), strict=True))
    text = path.read_bytes().replace(b"left-posterior-superior", space.encode())
    text = text.replace(
        b"(4,0,0) (0,4,0) (0,0,3)", f"({4 * signs[0]},0,0) (0,{4 * signs[1]},0) (0,0,3)".encode()
    )
    start = text.index(b"space origin: (") + 15
    path.write_bytes(text[:start] + b",".join([x, y, z]) + text[text.index(b")", start) :])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_mask(path, PET, "x")), ORGAN)


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed"])
def test_axes_that_are_not_the_body(tmp_path, space):
    path = write(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", space.encode()))
    assert code_of(lambda: read(path)) == "E_IMAGE_ORIENTATION"


@pytest.mark.parametrize("ras", [False, True])
@pytest.mark.parametrize("size", ["the PET's", "another"])
def test_a_volume_that_was_never_placed(tmp_path, ras, size):
    """numpy arrays written by SimpleITK or nibabel: voxels of 1 mm, the first at 0 (formerly 0.64 instead of 48 ml)."""
    image = sitk.GetImageFromArray(ORGAN if size == "the PET's" else np.pad(ORGAN, 1))
    if ras:
        image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert code_of(lambda name=name: read(tmp_path / name)) == "E_MASK_GRID"
        sitk.WriteImage(image * 0, str(tmp_path / name))  # an empty one says nothing of this PET either
        assert code_of(lambda name=name: read(tmp_path / name)) == "E_MASK_GRID"
    if size == "the PET's":
        for spacing, origin in (
            (PET.GetSpacing(), (0, 0, 0)),
            ((1, 1, 1), PET.GetOrigin()),
        ):  # half of it written
            image.SetSpacing(spacing), image.SetOrigin(origin)
            sitk.WriteImage(image, str(tmp_path / "b.nii.gz"))
            assert code_of(lambda: read(tmp_path / "b.nii.gz")) in ("E_MASK_GRID", "E_MASK_OUTSIDE")


def test_a_pet_that_was_never_placed_is_told_of(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ORGAN * 7.0 + 1), str(tmp_path / "a.nii.gz"))
    assert "voxels of 1 mm and a corner at 0" in convert_source(tmp_path / "a.nii.gz").warnings[-1]
    assert len(convert_source(write(tmp_path / "b.nii.gz", ORGAN * 7.0 + 1)).warnings) == 1


def test_the_voxels_of_the_pet_beside_it(tmp_path):
    def shifted(voxels):
        image = sitk.GetImageFromArray(ORGAN)
        image.CopyInformation(PET)
        image.SetOrigin(np.add(PET.GetOrigin(), (4.0 * voxels, 0, 0)).tolist())
        sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
        told = []
        return read(tmp_path / "a.nii.gz", warnings=told), told

    assert shifted(0.002) == (pytest.approx(48), [])
    assert shifted(0.3)[1] == ["The mask has the voxels of the PET, 1.2 mm or 0.3 voxels beside them"]
    assert code_of(lambda: shifted(0.7)) == "E_MASK_GRID"
    other = grid(
        (2.0, 2.0, 3.0), PET.GetSize(), (5.0, -7.0, 40.0)
    )  # as a mask of its own grid may have, by chance
    told = []
    assert read(write(tmp_path / "c.nii.gz", like=other), warnings=told) == pytest.approx(12, abs=0.05)
    assert told == ["The mask has as many voxels as the PET along each axis, but of another size"]
    flipped = sitk.Flip(
        sitk.ReadImage(str(write(tmp_path / "b.nii.gz"))), [True, True, False], flipAboutOrigin=False
    )
    sitk.WriteImage(flipped, str(tmp_path / "b.nii.gz"))
    assert read(tmp_path / "b.nii.gz") == pytest.approx(48)


def two_places(path, mm, codes=(1, 1), array=ORGAN):
    """A NIfTI whose sform lies ``mm`` beside its qform along x."""
    raw = bytearray(write(path, array).read_bytes())
    struct.pack_into("<2h", raw, 252, *codes)
    struct.pack_into("<f", raw, 292, struct.unpack_from("<f", raw, 292)[0] + mm)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (4, 4), (1, 4)])
def test_qform_and_sform(tmp_path, codes):
    """Which of two places wins depends on their codes; so neither does, unless they are within half a voxel."""
    path = tmp_path / "a.nii"
    told = []
    read(two_places(path, 0.001, codes), warnings=told)
    assert not told
    assert read(two_places(path, 1.0, codes), warnings=told) == pytest.approx(48)
    assert told[0] == "The file gives two places (qform and sform), 1 mm or 0.25 voxels apart"
    assert told[0] in convert_source(two_places(path, 1.0, codes, ORGAN * 7.0 + 1)).warnings
    with pytest.raises(DataError, match=r"2\.4 mm or 0\.6 voxels apart") as caught:
        read(two_places(path, 2.4, codes))
    assert caught.value.code == "E_IMAGE_PLACES"


def test_a_turn_counts_at_the_corners(tmp_path):
    """2 degrees about the origin of the file move its far corner by many voxels, its near one by none."""
    raw = bytearray(write(tmp_path / "a.nii").read_bytes())
    struct.pack_into(
        "<f", raw, 264, np.sin(np.deg2rad(2) / 2) if raw[264:268] == bytes(4) else np.cos(np.deg2rad(89))
    )
    (tmp_path / "a.nii").write_bytes(raw)
    assert code_of(lambda: read(tmp_path / "a.nii")) == "E_IMAGE_PLACES"


def test_a_matrix_of_other_voxels_than_the_spacing(tmp_path):
    """sform in steps of 8 mm, pixdim of 4: ITK takes the steps of the one and the turn of the other."""
    raw = bytearray(write(tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2h", raw, 252, 0, 1)
    struct.pack_into("<f", raw, 280, 2 * struct.unpack_from("<f", raw, 280)[0])
    (tmp_path / "a.nii").write_bytes(raw)
    assert code_of(lambda: read(tmp_path / "a.nii")) == "E_IMAGE_GEOMETRY"


@pytest.mark.parametrize("array", [ORGAN, ORGAN * np.float32(1), ORGAN.astype(np.int16)])
@pytest.mark.parametrize("start", [0.0, 100.0, 348.0, 351.0, 352.5])
def test_where_the_voxels_begin(tmp_path, array, start):
    """Before byte 352 ITK reads the header's last bytes as voxels, and puts the image 4, 8 or 16 mm beside its place."""
    raw = bytearray(write(tmp_path / "a.nii", array).read_bytes())
    assert read(tmp_path / "a.nii") == pytest.approx(48)
    struct.pack_into("<f", raw, 108, start)
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(DataError, match="vox_offset") as caught:
        read(tmp_path / "a.nii")
    assert caught.value.code == "E_IMAGE_FORMAT"


@pytest.mark.parametrize(("slope", "intercept", "worth"), [
    (0.5, 0.25, 3.75), (-1.0, 8.0, 1.0), (0.0, 0.0, 7.0), (np.nan, 0.0, 7.0), (np.nan, np.nan, 7.0), (0.0, np.nan, 7.0),
    (0.0, 5.0, None), (np.nan, 5.0, None), (np.inf, 0.0, None), (1.0, np.nan, None), (1.0, np.inf, None),
])  # fmt: skip
def test_scale_of_values(tmp_path, slope, intercept, worth):
    """nifti1.h: a slope of 0 (nibabel writes NaN) means no scaling at all; ITK adds the intercept all the same."""
    raw = bytearray(write(tmp_path / "a.nii", (ORGAN * 7).astype(np.int16)).read_bytes())
    struct.pack_into("<2f", raw, 112, slope, intercept)
    (tmp_path / "a.nii").write_bytes(raw)
    if worth is None:
        assert code_of(lambda: convert_source(tmp_path / "a.nii")) == "E_IMAGE_FORMAT"
    else:
        assert sitk.GetArrayFromImage(convert_source(tmp_path / "a.nii").image)[12, 15, 15] == worth


@pytest.mark.parametrize(("name", "old", "new", "expected"), [
    ("a.nrrd", b"directions: (4,0,0)", b"directions: (4,1,0)", "E_IMAGE_SHEARED"),
    ("a.mha", b"TransformMatrix = 1 0 0", b"TransformMatrix = 1 0.2 0", "E_IMAGE_SHEARED"),
    ("a.nrrd", b"kinds:", b'space units: "cm" "cm" "cm"\nkinds:', "E_IMAGE_GEOMETRY"),
    ("a.nrrd", b"kinds:", b'space units: "mm" "mm" "mm"\nkinds:', None),
    ("a.mha", b"ElementType", b"HeaderSize = 10\nElementType", "E_IMAGE_FORMAT"),
    ("a.mha", b"ElementType", b"HeaderSize = 0\nElementType", None),
])  # fmt: skip
def test_places_of_nrrd_and_metaimage(tmp_path, name, old, new, expected):
    """What NIfTI is refused for: slanting axes (they were straightened), other units than mm (10 times too small)."""
    path = write(tmp_path / name)
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new) + bytes(10 if b"HeaderSize = 10" in new else 0))
    other = grid((2.0, 2.0, 2.0), (80, 80, 80), (5.0, -7.0, 40.0))
    if expected is None:
        assert read(path) == pytest.approx(48)
    else:
        assert code_of(lambda: read_mask(path, other, "x")) == expected


@pytest.mark.parametrize("value", [1e-5, 1 / 65535, -1e-6])
def test_values_of_nearly_nothing_are_no_empty_mask(tmp_path, value):
    """As of a scale that was written twice; an empty mask would be no lesion."""
    assert code_of(lambda: read(write(tmp_path / "a.nii", ORGAN * np.float32(value)))) == "E_MASK_UNUSABLE"
    assert code_of(lambda: read(write(tmp_path / "a.nii", ORGAN * np.float32(0)))) == "E_MASK_EMPTY"


def swapped(raw):
    """The other byte order, field by field of nifti1.h."""
    raw, kinds = bytearray(raw), [(0, "i"), (32, "i"), (36, "h"), (40, "8h"), (56, "3f"), (68, "4h"), (76, "8f"), (108, "3f"),
                                  (120, "h"), (124, "4f"), (140, "2i"), (252, "2h"), (256, "18f")]  # fmt: skip
    for offset, kind in kinds:
        struct.pack_into(f">{kind}", raw, offset, *struct.unpack_from(f"<{kind}", raw, offset))
    return raw


def test_kinds_of_nifti(tmp_path):
    """The other byte order and a fourth axis of one are read; NIfTI-2, halves of pairs, several volumes are named."""
    path, raw = tmp_path / "a.nii", write(tmp_path / "a.nii").read_bytes()
    (tmp_path / "swapped.nii").write_bytes(swapped(raw))
    assert read(tmp_path / "swapped.nii") == pytest.approx(48)
    four = bytearray(raw)
    struct.pack_into("<8h", four, 40, 4, 30, 31, 32, 1, 1, 1, 1)
    path.write_bytes(four)
    assert read(path) == pytest.approx(48)
    struct.pack_into("<8h", four, 40, 4, 30, 31, 16, 2, 1, 1, 1)
    path.write_bytes(four)
    assert code_of(lambda: read(path)) == "E_IMAGE_VOLUMES"
    path.write_bytes(raw[:344] + b"ni1\0" + raw[348:])
    assert code_of(lambda: read(path)) == "E_IMAGE_FORMAT"
    path.write_bytes(struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(600))
    with pytest.raises(DataError, match="NIfTI-2"):
        read(path)
    metres = bytearray(raw)
    metres[123] = 1
    path.write_bytes(metres)
    assert code_of(lambda: read(path)) == "E_IMAGE_GEOMETRY"


def test_labels_off_by_rounding(tmp_path):
    """Scaled integers and float32: 1.0000001 is 1; shares all below one half mark something, and nothing of it counts."""
    for factor in (1.0000001, 0.9999999):
        assert read(write(tmp_path / "a.nii.gz", (ORGAN * factor).astype(np.float32))) == pytest.approx(48)
    several = (ORGAN * 2 * np.float32(1.0000001)).astype(np.float32)
    several[25] = 1
    write(tmp_path / "b.nii.gz", several)
    assert millilitres(read_mask(tmp_path / "b.nii.gz", PET, "label=2")) == pytest.approx(48)
    assert code_of(lambda: read(write(tmp_path / "a.nii.gz", ORGAN * np.float32(0.49)))) == "E_MASK_UNUSABLE"
    assert code_of(lambda: read(write(tmp_path / "a.nii.gz", ORGAN * np.float32(1.02)))) == "E_MASK_VALUES"
    assert code_of(lambda: read(write(tmp_path / "a.nii.gz", ORGAN * np.float32(-0.5)))) == "E_MASK_VALUES"


@pytest.mark.parametrize("name", ["m.mhd", "m.nhdr"])
def test_voxels_beside_their_header(tmp_path, name):
    """They belong to the source: a changed voxel is a changed digest; a file elsewhere is none of it."""
    header = write(tmp_path / name)
    voxels = data_file(header)
    assert voxels == tmp_path / "m.raw" and list_files(header) == [header, voxels]
    before = looks.digest(str(header)), looks.look(str(header)).fingerprint
    raw = bytearray(voxels.read_bytes())
    raw[500] = 1
    voxels.write_bytes(raw + b"")
    assert looks.digest(str(header)) != before[0]
    text = header.read_bytes()
    for other in (b"../m.raw", b"/etc/passwd", b"LIST", b"m%02d.raw 1 3 1"):
        header.write_bytes(text.replace(b"m.raw", other))
        assert data_file(header) is None
        assert code_of(lambda: read(header)) == "E_IMAGE_FORMAT"
    header.write_bytes(text)
    voxels.unlink()
    assert code_of(lambda: read(header)) == "E_IMAGE_FORMAT"


def test_shift_by_hand():
    """A shift of (3, 0, 4) mm with voxels of (2, 2, 4): 5 mm, and (1.5, 0, 1) voxels."""
    one, other = np.diag([2.0, 2.0, 4.0, 1.0]), np.diag([2.0, 2.0, 4.0, 1.0])
    other[:3, 3] = [3, 0, 4]
    assert volumes.shift(one, other, (5, 5, 5)) == pytest.approx((5.0, np.hypot(1.5, 1)))
