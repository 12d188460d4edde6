"""Two exports of one scan have one signature, two scans never; gather refuses the first across any parts and waivers."""

import json
import shutil

import numpy as np
import pytest
from dicom_series import SHARED_DATA

from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.imaging import gather, likeness
from promet.study.likeness import FILE, alike, read


def scan(seed, shape=(40, 32, 32)):
    """Uptake with a few hot places and noise in proportion, as after reconstruction."""
    draw = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    image = np.full(shape, 0.5)
    for _ in range(6):
        centre = [draw.uniform(8, size - 8) for size in shape]
        distance = sum((axis - c) ** 2 for axis, c in zip((z, y, x), centre, strict=True))
        image += draw.uniform(3, 30) * np.exp(-distance / draw.uniform(4, 20))
    return image * draw.normal(1, 0.05, shape)


def slopes(image, bits=15):
    """Stored anew as integers with a slope for each slice."""
    slope = image.max(axis=(1, 2), keepdims=True) / (2**bits - 1)
    return np.round(image / slope) * slope


AGAIN = {
    "the same": lambda image: image,
    "float32": lambda image: image.astype("float32"),
    "another slope per slice": slopes,
    "in 12 bits": lambda image: slopes(image, 12),
    "one slope": lambda image: np.round(image / image.max() * 32767) * (image.max() / 32767),
    "slices from foot to head": lambda image: image[::-1],
    "mirrored": lambda image: image[:, :, ::-1],
    "another weight": lambda image: image * 1.37,
    "Bq/ml": lambda image: image * 4321.0,
    "a slice less": lambda image: image[1:],
    "a slice more": lambda image: np.concatenate([image, image[:1] * 0]),
    "with a border": lambda image: np.pad(image, 3),
}


@pytest.mark.parametrize("how", AGAIN)
def test_one_scan_written_again(how):
    signatures = {"A": likeness.signature(scan(1)), "B": likeness.signature(AGAIN[how](scan(1)))}
    assert alike(signatures) == [["A", "B"]]


def test_no_two_scans_are_one():
    signatures = {f"P{seed}": likeness.signature(scan(seed, (24, 24, 24))) for seed in range(300)}
    assert all(signatures.values()) and alike(signatures) == []
    assert alike({**signatures, "X": likeness.signature(slopes(scan(7, (24, 24, 24))))}) == [["P7", "X"]]


def test_an_image_that_tells_nothing_is_like_no_other():
    for image in (np.zeros((9, 9, 9)), np.full((30, 30, 30), 3.0), np.ones(3), -scan(1)):
        assert likeness.signature(image) == []
    assert alike({"A": [], "B": []}) == []


def test_real_scans_are_none_of_the_others():
    folder = SHARED_DATA / "sarcoma_fdg_cohort"
    if not folder.exists():
        pytest.skip("the public sarcoma set is not here")
    import SimpleITK as sitk

    paths = sorted(folder.rglob("PET_image.nii.gz"))
    signatures = {
        path.parent.name: likeness.signature(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
        for path in paths
    }
    assert len(signatures) == 51 and all(signatures.values()) and alike(signatures) == []


def records(folder, name, image, tensor="t"):
    place = folder / name
    place.mkdir(parents=True)
    Sidecar("convert", "p", values={"signature": likeness.signature(image)}).write(place / "convert.json")
    Sidecar("normalise", "p", products={"tensor.npy": f"{name} {tensor}"}).write(place / "normalise.json")
    Sidecar("measure", "p").write(place / "measure.json")


def test_gather_refuses_one_scan_under_two_names(tmp_path):
    patients, out = tmp_path / "patients", tmp_path / "gather/gather.json"
    for seed, name in enumerate(("A", "B", "C")):
        records(patients, name, scan(seed))
    assert gather.run(gather.Inputs(patients, ["A", "B", "C"]), None, out, "p").ok
    records(patients, "D", slopes(scan(1)[1:]))
    with pytest.raises(UsageError) as error:
        gather.run(gather.Inputs(patients, ["A", "B", "C", "D"]), None, out, "p")
    assert error.value.code == "E_SAME_SCAN" and "B and D have the same scan" in str(error.value)


def test_gather_refuses_one_tensor_under_two_names(tmp_path):
    patients = tmp_path / "patients"
    for seed, name in enumerate(("A", "B")):
        records(patients, name, scan(seed))
        path = patients / name / "normalise.json"
        path.write_text(path.read_text().replace(f"{name} t", "one tensor"))
    with pytest.raises(UsageError, match="A and B have the same scan"):
        gather.run(gather.Inputs(patients, ["A", "B"]), None, tmp_path / "gather/gather.json", "p")


def test_gather_knows_a_withdrawn_patient_again(tmp_path):
    patients, freeze = tmp_path / "patients", tmp_path / "freeze.json"
    for seed, name in enumerate(("A", "B")):
        records(patients, name, scan(seed))
    gone = {
        "W": {"reason": "ethics", "signature": likeness.signature(scan(1))},
        "V": {"reason": "old waiver"},
    }
    freeze.write_text(json.dumps({"name": "v1", "waivers": gone}))
    assert gather.run(
        gather.Inputs(patients, ["A"], freeze=freeze), None, tmp_path / "gather/gather.json", "p"
    ).ok
    with pytest.raises(UsageError) as error:
        gather.run(
            gather.Inputs(patients, ["A", "B"], freeze=freeze), None, tmp_path / "gather/gather.json", "p"
        )
    assert error.value.code == "E_WITHDRAWN_RETURNS" and "The PET of B is that of W" in str(error.value)


def assigned(folder, *names):
    """A ledger: these were assigned to test, in this order."""
    book = folder / "registry/s/ledger.tsv"
    book.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"00\t{name}\ttest\t1\t\t2026-01-01" for name in names]
    book.write_text("\n".join(["split\tpatient\tpart\tstratum\tfreeze\tdate", *lines, ""]))
    return book


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("how", AGAIN)
def test_gather_knows_who_left_the_table_under_a_new_name(tmp_path, how, pruned):
    """In whichever encoding, also when the results of the old name are deleted; the words are those of intake."""
    patients, out = tmp_path / "patients", tmp_path / "gather/gather.json"
    book = assigned(tmp_path, "A", "B", "D")
    freeze = book.with_name("freeze.json")
    records(patients, "A", scan(0))
    records(patients, "B", scan(1))
    records(patients, "D", AGAIN[how](scan(1)))
    if pruned:
        assert gather.run(gather.Inputs(patients, ["A", "B"], freeze=freeze), None, out, "p").ok and set(
            read(book)
        ) == {"A", "B"}
        shutil.rmtree(patients / "B")
    with pytest.raises(UsageError) as error:
        gather.run(gather.Inputs(patients, ["A", "D"], freeze=freeze), None, out, "p")
    assert error.value.code == "E_RENAMED" and "promet intake --renamed B=D" in str(error.value)
    assert "D" not in (read(book) if pruned else {}) and "nothing was trained" in str(error.value)


def test_who_was_assigned_first_has_the_place(tmp_path):
    """A doubled row that was deleted again is no renaming, and who was never assigned is nobody's old name."""
    patients, out = tmp_path / "patients", tmp_path / "gather/gather.json"
    book = assigned(tmp_path, "A", "B")
    for name, image in (("A", scan(1)), ("B", slopes(scan(1))), ("C", scan(1))):
        records(patients, name, image)
    assert gather.run(gather.Inputs(patients, ["A"], freeze=book.with_name("freeze.json")), None, out, "p").ok
    assert set(json.loads(book.with_name(FILE).read_text())) == {"A"}


@pytest.mark.parametrize("gone", [{"waivers": {"B": {"reason": ""}}}, {"excluded": ["B"]}])
def test_a_former_patient_who_was_withdrawn_or_excluded_is_known_too(tmp_path, gone):
    patients, out = tmp_path / "patients", tmp_path / "gather/gather.json"
    book = assigned(tmp_path, "B", "D")
    freeze = book.with_name("freeze.json")
    freeze.write_text(json.dumps({"name": "v1", **gone}))
    records(patients, "B", scan(1))
    records(patients, "D", slopes(scan(1)))
    with pytest.raises(UsageError) as error:
        gather.run(gather.Inputs(patients, ["D"], freeze=freeze), None, out, "p")
    assert error.value.code == ("E_WITHDRAWN_RETURNS" if "waivers" in gone else "E_RENAMED")
