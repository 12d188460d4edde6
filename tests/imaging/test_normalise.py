"""Min-max of the PET channel."""

import numpy as np
import pytest

from promet.core.errors import DataError, IntegrityError
from promet.core.files import digest_file
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.normalise import normalise, run
from promet.imaging.settings import Normalise


def cuboid(seed=0):
    rng = np.random.default_rng(seed)
    suv = rng.gamma(2, 3, (4, 6, 6)) + 1
    return np.stack([suv, suv > np.median(suv)]).astype(np.float32)


def test_range_and_order_are_kept():
    before = cuboid()
    after, low, high = normalise(before)
    assert after.dtype == np.float32
    assert after[0].min() == 0
    assert after[0].max() == 1
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(after[0] * (high - low) + low, before[0], rtol=1e-6)


def test_scale_of_the_pet_does_not_matter():
    before = cuboid()
    other = before.copy()
    other[0] = other[0] * 8 + 4
    np.testing.assert_allclose(normalise(other)[0], normalise(before)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("value", "code"),
    [(np.nan, "E_PET_NAN"), (np.inf, "E_PET_NAN"), (-np.inf, "E_PET_NAN"), (None, "E_PET_CONSTANT")],
)
def test_bad_pet_is_refused(value, code):
    bad = cuboid()
    if value is None:
        bad[0] = 3.5
    else:
        bad[0, 1, 2, 3] = value
    with pytest.raises(DataError) as caught:
        normalise(bad)
    assert caught.value.code == code


@pytest.mark.parametrize("value", [0.5, 2.0, np.nan])
def test_lesion_channel_must_be_binary(value):
    bad = cuboid()
    bad[1, 0, 0, 0] = value
    with pytest.raises(IntegrityError):
        normalise(bad)


def put(folder, array):
    np.save(folder / "cuboid.npy", array)
    Sidecar("crop", "p", digest="d", products={"cuboid.npy": digest_file(folder / "cuboid.npy")}).write(
        folder / "crop.json"
    )


def test_stage(tmp_path):
    put(tmp_path, cuboid())
    record = run(tmp_path, Normalise(), tmp_path / "normalise.json", "pin")
    assert record.ok
    assert record.products == {"tensor.npy": digest_file(tmp_path / "tensor.npy")}
    assert record.values == {"suv_low": cuboid()[0].min(), "suv_high": cuboid()[0].max()}
    np.testing.assert_array_equal(np.load(tmp_path / "tensor.npy"), normalise(cuboid())[0])
    again = run(tmp_path, Normalise(), tmp_path / "normalise.json", "pin")
    assert again.digest == record.digest

    flat = cuboid()
    flat[0] = 0
    put(tmp_path, flat)
    record = run(tmp_path, Normalise(), tmp_path / "normalise.json", "pin")
    assert (record.status, record.code) == (QUARANTINED, "E_PET_CONSTANT")
    assert not (tmp_path / "tensor.npy").exists()


def test_stage_passes_no_lesion_on(tmp_path):
    Sidecar("crop", "p", NO_LESION, origin="segment").write(tmp_path / "crop.json")
    (tmp_path / "tensor.npy").write_bytes(b"of yesterday")
    record = run(tmp_path, Normalise(), tmp_path / "normalise.json", "pin")
    assert (record.status, record.origin) == (NO_LESION, "segment")
    assert not (tmp_path / "tensor.npy").exists()


def test_stage_refuses_a_cuboid_that_is_not_the_recorded_one(tmp_path):
    put(tmp_path, cuboid())
    np.save(tmp_path / "cuboid.npy", cuboid(1))
    with pytest.raises(IntegrityError):
        run(tmp_path, Normalise(), tmp_path / "normalise.json", "pin")
    assert not (tmp_path / "normalise.json").exists()
