"""Lesions that are the prostate are a fault, on any grid and in any format; large lesions are not."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.imaging import convert, geometry, segment
from promet.imaging.settings import Convert, Segment
from promet.study import news, registry

ROOT = Path(__file__).parents[2]


def ball(radius, shape=(40, 40, 40), spacing=(2.0, 2.0, 2.0), centre=(40.0, 40.0, 40.0)):
    """uint8 image of a ball, radius and centre in mm (x, y, z)."""
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(shape, spacing[::-1], strict=True)), indexing="ij"
    )
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius**2
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(spacing)
    return image


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.4, 0, 0), (0.3, 0.3, 0.3)])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.0, 1.5), (0.7, 1.1, 2.5)])
def test_one_contour_on_another_grid(shift, spacing):
    pet = ball(1)
    organ = geometry.to_grid(ball(20), pet)
    shape = tuple(int(80 / step) for step in reversed(spacing))
    lesions = geometry.to_grid(ball(20, shape, spacing, tuple(40 + s for s in shift)), pet)
    with pytest.raises(DataError) as error:
        segment.distinct(lesions, organ)
    assert error.value.code == "E_MASKS_ALIKE"


@pytest.mark.parametrize(("radius", "told"), [(8, False), (14, False), (17, False), (18.8, True)])
def test_large_lesions_are_lesions(radius, told):
    """18.8 of 20 mm: more than eight tenths of the volume."""
    assert bool(segment.distinct(ball(radius), ball(20))) == told


def test_two_readers_contours_of_one_prostate_are_not_one_contour():
    """Shifted by 3 mm and a little smaller, Dice 0.86: as far apart as readers are; it is said that the lesions fill it."""
    assert segment.distinct(ball(19, centre=(43.0, 40.0, 40.0)), ball(20))


def test_in_the_pipeline_the_patient_is_quarantined(tmp_path):
    organ = ball(20)
    pet = sitk.Cast(organ, sitk.sitkFloat32) * 5 + 0.3
    for name, image in (("pet", pet), ("prostate", organ), ("lesions", organ)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    row = {"patient": "A", "ct": "", **{n: f"{n}.nii.gz" for n in ("pet", "prostate", "lesions")}}
    news.intake([row], tmp_path, tmp_path / "registry")
    images = registry.images_path(tmp_path / "registry")
    convert.run(convert.Inputs("A", images), Convert(), tmp_path / "A/convert.json", "")
    segment.run(
        segment.Inputs(tmp_path / "A", "A", images),
        Segment(),
        tmp_path / "A/segment.json",
        "",
    )
    record = Sidecar.read(tmp_path / "A/segment.json")
    assert record.status == QUARANTINED and record.code == "E_MASKS_ALIKE"


def test_where_the_organ_is_the_lesion_the_configuration_says_so():
    """As in the public sarcoma set, where the tumour plays the prostate."""
    organ = ball(20)
    pet = sitk.Cast(organ, sitk.sitkFloat32) * 5 + 0.3
    with pytest.raises(DataError, match="is that of the prostate"):
        segment.segment(pet, organ, organ, Segment())
    lesions, values, _ = segment.segment(pet, organ, organ, Segment(organ_is_lesion=True))
    assert sitk.Hash(lesions) == sitk.Hash(organ)
    assert values["lesion_ml"] == values["organ_ml"]


def test_the_key_is_in_no_record_of_a_study_that_does_not_use_it():
    """Otherwise everything made before there was such a key would be made again."""
    assert "organ_is_lesion" not in Segment().model_dump()
    assert Segment(organ_is_lesion=True).model_dump()["organ_is_lesion"] is True
    assert Segment.model_validate(Segment(organ_is_lesion=True).model_dump()).organ_is_lesion


def test_the_public_sarcoma_set_says_so():
    from promet.config import load

    config = load([ROOT / "config/sarcoma.yaml"])
    assert config.imaging.segment.organ_is_lesion
