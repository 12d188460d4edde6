"""Scores against values put in by hand."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from promet.core.errors import DataError
from promet.imaging.cli import app
from promet.imaging.expression import primary_surrogate, psma_expression

SHAPE, SPACING = (24, 30, 30), (3.0, 2.0, 2.0)
PLACES = np.stack(np.indices(SHAPE), -1) * SPACING - (np.array(SHAPE) - 1) / 2 * SPACING  # z, y, x in mm


def ball(centre, radius):
    return ((PLACES - centre) ** 2).sum(-1) <= radius**2


ORGAN = ball((0, 0, 0), 22)


@pytest.mark.parametrize(
    ("suv_max", "score"),
    [(1.0, 0), (1.5, 0), (1.6, 1), (5.0, 1), (5.1, 2), (15.0, 2), (15.1, 3)],
)
def test_expression_with_ties(suv_max, score):
    """PROMISE V2: 'equal to' belongs to the lower score."""
    assert psma_expression(suv_max, 1.5, 5.0, 15.0) == (score, False)
    assert psma_expression(suv_max, 1.5, 5.0, None) == (min(score, 2), score >= 2)


@pytest.mark.parametrize(
    "levels", [(5.0, 1.5, 15.0), (1.5, 5.0, 4.0), (1.5, 1.5, None), (float("nan"), 5.0, None)]
)
def test_expression_needs_its_order(levels):
    with pytest.raises(DataError) as caught:
        psma_expression(8.0, *levels)
    assert caught.value.code == "E_EXPRESSION_ORDER"


def surrogate(lesion=None, top=8.0, background=1.0):
    suv = np.full(SHAPE, background, np.float32)
    lesions = np.zeros(SHAPE, bool) if lesion is None else lesion
    suv[lesions] = top
    return primary_surrogate(suv, ORGAN, lesions, SPACING)


def test_surrogate():
    behind, before, beside, middle = (ball(c, 5) for c in ((0, 16, 0), (0, -16, 0), (0, 0, 16), (0, 0, 0)))
    assert surrogate() == 1
    assert surrogate(behind, 12.1) == 5 and surrogate(middle, 12.1) == 5
    assert surrogate(behind, 12.0) == 4 and surrogate(beside) == 4
    assert surrogate(middle) == 3 and surrogate(before) == 3
    assert surrogate(middle, top=5.0, background=3.0) == 2  # less than twice the rest of the gland
    assert surrogate(ORGAN & ball((0, 0, 0), 20)) == 2  # most of the gland: not focal


def test_command(tmp_path):
    suv = np.full(SHAPE, 1.0, np.float32)
    masks = {
        "lesions": ball((0, 16, 0), 5),
        "blood": ball((-30, -20, -20), 5),
        "reference": ball((30, 20, 20), 6),
    }
    for name, value in (("lesions", 9.0), ("blood", 2.0), ("reference", 6.0)):
        suv[masks[name]] = value
    for name, array in {"pet": suv, "prostate": ORGAN, **masks}.items():
        image = sitk.GetImageFromArray(array if name == "pet" else array.astype(np.uint8))
        image.SetSpacing(SPACING[::-1])
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    words = ["expression", str(tmp_path / "pet.nii.gz")]
    for name in ("prostate", "lesions", "blood", "reference"):
        words += [f"--{name}", str(tmp_path / f"{name}.nii.gz")]
    found = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).output)
    assert (found["psma_expression"], found["psma_expression_is_lower_bound"]) == (2, True)
    assert found["primary_surrogate"] == 4 and found["lesion_suv_max"] == 9.0
    assert found["mean_suv"] == {"blood": pytest.approx(2.0), "reference": pytest.approx(6.0)}
    found = json.loads(CliRunner().invoke(app, words[:6], catch_exceptions=False).output)
    assert found["psma_expression"] is None and found["primary_surrogate"] == 4
