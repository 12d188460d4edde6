"""The public nnU-Net layout: one study per patient, weak labels as planted, neither id nor date in a pseudonym."""

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.study.cli import app
from promet.study.faults import check
from promet.study.nnunet import pseudonym
from promet.study.table import read

SHAPE, SPACING = (24, 30, 30), (4.0, 4.0, 3.0)


def save(path, array, origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def box(*corners):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(a, b) for a, b in corners)] = 1
    return mask


ORGAN = box((4, 12), (10, 20), (10, 20))  # 800 voxels, 38.4 ml
IN = box((6, 9), (12, 15), (12, 15))
ACROSS = box((10, 15), (12, 15), (12, 15))  # grows out of the prostate: no metastasis
FAR = box((20, 22), (2, 4), (2, 4))


@pytest.fixture
def layout(tmp_path):
    source, organs = tmp_path / "nn", tmp_path / "ts"
    studies = {
        ("00aa00aa00aa00aa", "2019-03-04"): (IN, ORGAN),
        ("00aa00aa00aa00aa", "2020-01-01"): (IN | FAR, ORGAN),  # the same patient, later
        ("11bb11bb11bb11bb", "2018-05-06"): (IN | FAR, ORGAN),
        ("22cc22cc22cc22cc", "2018-07-08"): (IN | ACROSS, ORGAN),
        ("33dd33dd33dd33dd", "2018-09-10"): (FAR, ORGAN),  # nothing in the prostate
        ("44ee44ee44ee44ee", "2018-11-12"): (IN, ORGAN * 0),  # prostatectomy
        ("55ff55ff55ff55ff", "2018-11-13"): (IN, None),
    }
    for (subject, day), (label, organ) in studies.items():
        case = f"psma_{subject}_{day}"
        save(source / "imagesTr" / f"{case}_0001.nii.gz", np.ones(SHAPE, np.float32))
        save(source / "imagesTr" / f"{case}_0000.nii.gz", np.ones(SHAPE, np.float32))
        save(source / "labelsTr" / f"{case}.nii.gz", label)
        if organ is not None:
            save(organs / case / "prostate.nii.gz", organ)
    multi = ORGAN * 22 + FAR * 21  # all organs of task total in one file
    (organs / "psma_11bb11bb11bb11bb_2018-05-06" / "prostate.nii.gz").unlink()
    save(organs / "psma_11bb11bb11bb11bb_2018-05-06.nii.gz", multi)
    save(source / "imagesTr" / "fdg_99_2018-01-01_0001.nii.gz", np.ones(SHAPE, np.float32))
    (source / "psma_metadata.csv").write_text(
        "Subject ID,Study Date,age,manufacturer_model_name,pet_radionuclide,ct_contrast_agent\n"
        "PSMA_00aa00aa00aa00aa,2019-03-04,71,Biograph mCT Flow 20,18F,x\n"
        "PSMA_00aa00aa00aa00aa,2020-01-01,72,Biograph mCT Flow 20,68Ga,x\n"
        "PSMA_11bb11bb11bb11bb,20180506,093Y,Discovery 690,68Ga,x\n"
    )
    return source, organs, tmp_path / "study" / "cohort.tsv"


def run(source, organs, out):
    words = ["from-nnunet", str(source), "--out", str(out), "--prostate", str(organs)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_table_and_masks(layout):
    out = layout[2]
    shown = run(*layout)
    rows = {row["patient"]: row for row in read(out)}
    names = {number: pseudonym(f"psma_{number}") for number in ("00aa" * 4, "11bb" * 4, "22cc" * 4)}
    assert set(rows) == set(names.values())
    first, second, third = (rows[name] for name in names.values())
    assert [row["synchronous_metastasis"] for row in (first, second, third)] == ["0", "1", "0"]
    assert (first["age"], first["tracer"], second["age"], second["site"]) == (
        "71",
        "18F PSMA",
        "90",
        "Discovery 690",
    )
    assert third["age"] == ""
    assert not [fault for fault in check(out) if fault.severity == "error"]
    for row, label in ((first, IN), (second, IN | FAR), (third, IN | ACROSS)):
        organ, lesions = (sitk.ReadImage(str(out.parent / row[name])) for name in ("prostate", "lesions"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(organ), ORGAN)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(lesions), label & ORGAN)
        assert lesions.GetSpacing() == SPACING
    assert "3 patients, 1 of them" in shown
    for why in (
        "later study of a patient already in",
        "no lesion in the prostate",
        "prostate not plausible",
        "no prostate mask",
    ):
        assert f"1 study left out: {why}" in shown
    assert "2019" not in "".join(rows) and "aa00" not in "".join(rows)
    before = out.read_bytes()
    run(*layout)
    assert out.read_bytes() == before


@pytest.mark.parametrize(("first", "label"), [(12, "0"), (13, "1")])
def test_touching_is_not_apart(layout, first, label):
    """Uptake beside the prostate, corner to corner, is taken as its growth; one voxel further it is apart."""
    source, _, out = layout
    beside = box((first, first + 2), (20, 22), (20, 22))
    save(source / "labelsTr" / "psma_22cc22cc22cc22cc_2018-07-08.nii.gz", IN | beside)
    run(*layout)
    rows = {row["patient"]: row for row in read(out)}
    assert rows[pseudonym("psma_" + "22cc" * 4)]["synchronous_metastasis"] == label


def test_refusals(layout, tmp_path):
    source, organs, out = layout
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "none", organs, out)
    assert caught.value.code == "E_LAYOUT"
    save(source / "labelsTr" / "psma_00aa00aa00aa00aa_2019-03-04.nii.gz", IN, origin=(5.0, 0.0, 0.0))
    with pytest.raises(UsageError, match="another grid"):
        run(*layout)
    assert not out.exists()
