"""SUVpeak against the IBSI phantom, scipy and the geometry of a sphere; measures of made-up volumes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.measure import count, local_means, measures, run, sphere_weights, suv_peaks
from promet.imaging.settings import Measure

IBSI = Path(__file__).parents[2].parent / "shared/data/ibsi_digital_phantom/nifti"
CENTRE, PARTIAL = Measure(suv_peak_weights="centre"), Measure()


@pytest.mark.skipif(not IBSI.exists(), reason="the IBSI digital phantom is not there")
def test_ibsi_digital_phantom():
    """Consensus values of IBSI: local intensity peak 2.6, global intensity peak 3.1."""
    image = sitk.ReadImage(str(IBSI / "image/phantom.nii.gz"))
    suv = sitk.GetArrayFromImage(image)
    roi = sitk.GetArrayFromImage(sitk.ReadImage(str(IBSI / "mask/mask.nii.gz"))) > 0
    local, highest = suv_peaks(suv, roi, image.GetSpacing()[::-1], CENTRE)
    assert (round(local, 2), round(highest, 2)) == (2.6, 3.1)
    # Shares of voxels smooth the jumps between the phantom's 2 mm voxels: near, but not the same.
    local, highest = suv_peaks(suv, roi, image.GetSpacing()[::-1], PARTIAL)
    assert local == pytest.approx(2.62, abs=0.01)
    assert highest == pytest.approx(2.90, abs=0.01)
    assert measures(suv, roi, roi, image.GetSpacing()[::-1], CENTRE)["lesion_ml"] == pytest.approx(0.592)


@pytest.mark.parametrize(
    ("spacing", "voxels"),
    [
        ((2, 4.07, 4.07), 39),
        ((3, 4.07, 4.07), 21),
        ((5, 4.07, 4.07), 11),
        ((3.27, 2.73, 2.73), 39),
        ((3.27, 5.47, 5.47), 7),
        ((4, 4, 4), 19),
    ],
)
def test_sphere_has_its_volume(spacing, voxels):
    """Counted by hand for common scanners: whole voxels miss 1 ml by up to 30 %, shares of voxels do not."""
    assert sphere_weights(spacing, 1.0, "centre").sum() == voxels
    assert sphere_weights(spacing, 1.0, "partial").sum() * np.prod(spacing) / 1000 == pytest.approx(
        1, abs=0.005
    )
    assert sphere_weights(spacing, 2.0, "partial").sum() * np.prod(spacing) / 1000 == pytest.approx(
        2, abs=0.01
    )


@pytest.mark.parametrize("weights", ["centre", "partial"])
def test_local_means_match_scipy(weights):
    """A lesion at the very corner: the sphere is cut by the edge of the image and only counts what is there."""
    from scipy.ndimage import correlate

    rng = np.random.default_rng(1)
    suv = rng.gamma(2, 3, (12, 15, 14)).astype(np.float32)
    roi = rng.random(suv.shape) > 0.7
    kernel = sphere_weights((3, 2.5, 2), 1.0, weights)
    numerator = correlate(suv.astype(float), kernel, mode="constant")
    expected = (numerator / correlate(np.ones(suv.shape), kernel, mode="constant"))[roi]
    np.testing.assert_allclose(local_means(suv, roi, kernel), expected, rtol=1e-12)


def test_peak_of_a_ramp_is_its_centre():
    """The mean of a linear function over a sphere is its value at the centre."""
    z, y, x = np.indices((20, 20, 20))
    suv = 1.0 + 0.3 * z + 0.2 * y + 0.1 * x
    roi = np.zeros(suv.shape, dtype=bool)
    roi[8:11, 8:11, 8:11] = True
    local, highest = suv_peaks(suv, roi, (3, 2, 2), PARTIAL)
    assert local == pytest.approx(suv[10, 10, 10], rel=1e-12)
    assert highest == pytest.approx(suv[10, 10, 10], rel=1e-12)


def test_local_and_global_differ_where_a_single_voxel_is_hottest():
    suv = np.ones((20, 20, 20))
    suv[4, 4, 4] = 10.0  # noise
    suv[10:16, 10:16, 10:16] = 8.0  # the real lesion
    local, highest = suv_peaks(suv, suv > 5, (3, 3, 3), PARTIAL)
    assert local < 2
    assert highest == pytest.approx(8.0, rel=0.02)


def volume():
    """Organ of 10 x 12 x 12 voxels of 2 x 2 x 3 mm with two lesions that touch at no corner."""
    suv = np.full((20, 24, 24), 0.5, dtype=np.float32)
    organ = np.zeros(suv.shape, dtype=bool)
    organ[5:15, 6:18, 6:18] = True
    suv[organ] = 2.0
    lesions = np.zeros(suv.shape, dtype=bool)
    lesions[6:8, 7:9, 7:9] = True
    lesions[11:13, 13:16, 13:16] = True
    suv[lesions] = 10.0
    suv[12, 14, 14] = 20.0
    return suv, organ, lesions


def test_measures_by_hand():
    suv, organ, lesions = volume()
    found = measures(suv, organ, lesions, (3, 2, 2), PARTIAL)
    assert found["lesion_count"] == 2
    assert found["organ_ml"] == pytest.approx(10 * 12 * 12 * 0.012)
    assert found["lesion_ml"] == pytest.approx(26 * 0.012)
    assert found["suv_max"] == 20
    assert found["suv_mean"] == pytest.approx((25 * 10 + 20) / 26)
    assert found["total_lesion_uptake"] == pytest.approx(found["suv_mean"] * found["lesion_ml"])
    assert found["organ_suv_mean"] == pytest.approx((1414 * 2 + 270) / 1440)
    assert found["organ_suv_max"] == 20
    assert found["suv_peak_local"] <= found["suv_peak"] < 20


def test_peak_keeps_to_the_lesions():
    """Something hotter elsewhere in the organ, which no lesion mask marks, is not the peak."""
    suv, organ, lesions = volume()
    before = measures(suv, organ, lesions, (3, 2, 2), PARTIAL)
    suv[6:9, 14:17, 7:10] = 50
    after = measures(suv, organ, lesions, (3, 2, 2), PARTIAL)
    assert after["suv_peak"] < 20
    assert after["suv_peak_local"] == pytest.approx(before["suv_peak_local"])
    assert after["organ_suv_max"] == 50


def test_without_lesions_the_organ_is_measured():
    suv, organ, lesions = volume()
    found = measures(suv, organ, np.zeros_like(lesions), (3, 2, 2), PARTIAL)
    assert found["suv_max"] is None
    assert found["suv_mean"] is None
    assert found["lesion_count"] == 0
    assert found["total_lesion_uptake"] == 0
    whole = measures(suv, organ, lesions, (3, 2, 2), PARTIAL)
    assert found["suv_peak"] >= whole["suv_peak"]


def test_bad_volumes_are_refused():
    suv, organ, lesions = volume()
    with pytest.raises(DataError) as caught:
        measures(suv, np.zeros_like(organ), lesions, (3, 2, 2), PARTIAL)
    assert caught.value.code == "E_MASK_EMPTY"
    suv[12, 14, 14] = np.nan
    with pytest.raises(DataError) as caught:
        measures(suv, organ, lesions, (3, 2, 2), PARTIAL)
    assert caught.value.code == "E_PET_NAN"


def test_count_joins_corners():
    mask = np.zeros((4, 4, 4), dtype=bool)
    assert count(mask) == 0
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert count(mask) == 2


def put(folder, name, array, dtype):
    image = sitk.GetImageFromArray(array.astype(dtype))
    image.SetSpacing((2, 2, 3))
    sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def test_stage_measures_ok_and_no_lesion_and_passes_on_the_quarantined(tmp_path):
    suv, organ, lesions = volume()
    put(tmp_path, "pet", suv, np.float32)
    put(tmp_path, "prostate", organ, np.uint8)
    put(tmp_path, "lesions", lesions, np.uint8)
    Sidecar("convert", "c", digest="1").write(tmp_path / "convert.json")
    Sidecar("segment", "s", digest="2").write(tmp_path / "segment.json")
    record = run(tmp_path, PARTIAL, tmp_path / "measure.json", "pin")
    assert record.ok
    surrogates = {"primary_surrogate": 5, "psma_expression_surrogate": None}
    assert record.values == measures(suv, organ, lesions, (3, 2, 2), PARTIAL) | surrogates
    assert Sidecar.read(tmp_path / "measure.json") == record

    # the organs that segment found give the other score; SUVmax is 20
    for organs, score, told in (
        ({"blood": 1.5, "reference": 6.0}, 2, "2 or 3"),
        ({"blood": 1.5, "reference": 6.0, "parotid": 18.0}, 3, ""),
        ({"blood": 1.5, "reference": 25.0, "parotid": 30.0}, 1, ""),
        ({"blood": 6.0, "reference": 1.5}, None, "each above the one before"),
        ({"blood": 1.5}, None, ""),
    ):
        known = {f"{name}_suv_mean": value for name, value in organs.items()}
        Sidecar("segment", "s", digest="2", values=known).write(tmp_path / "segment.json")
        record = run(tmp_path, PARTIAL, tmp_path / "measure.json", "pin")
        assert record.values["psma_expression_surrogate"] == score
        assert (told in record.warnings[0]) if told else not record.warnings

    put(tmp_path, "lesions", lesions * 0, np.uint8)
    Sidecar("segment", "s", NO_LESION, digest="3", origin="segment").write(tmp_path / "segment.json")
    record = run(tmp_path, PARTIAL, tmp_path / "measure.json", "pin")
    assert record.ok
    assert record.values["suv_max"] is None
    assert record.values["organ_suv_max"] == 20

    Sidecar("segment", "s", QUARANTINED, code="E_MASK_MISSING", reason="None.", origin="segment").write(
        tmp_path / "segment.json"
    )
    record = run(tmp_path, PARTIAL, tmp_path / "measure.json", "pin")
    assert (record.status, record.code, record.origin) == (QUARANTINED, "E_MASK_MISSING", "segment")
    assert record.values == {}
