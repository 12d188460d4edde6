"""The tracer of a patient against that of training: another class is refused, another ligand told, in every spelling."""

import shutil

import pytest
from pydicom import dcmread

from promet.core.errors import DataError
from promet.model import contract
from promet.model.opened import load
from promet.model.predict import predict


def agreed(**tracers):
    return {"pet": {"tracers": tracers or None}}


@pytest.mark.parametrize(
    ("fitted", "names", "code", "words"),
    [
        ({"DCFPyL": 9}, {"DCFPyL"}, "", ""),
        ({"DCFPyL": 9, "unknown": 1}, {"PSMA ligand"}, "", ""),
        ({"DCFPyL": 9}, {"PSMA-1007"}, "", "Another tracer of the same class"),
        ({"DCFPyL": 9}, set(), "", "not known"),
        ({"unknown": 9}, {"PSMA-11"}, "", "not on record"),
        ({}, {"PSMA-11"}, "", "not on record"),
        ({"DCFPyL": 9}, {"FDG"}, "E_TRACER", "FDG"),
        ({}, {"FDG"}, "E_TRACER", "PSMA PET"),
        ({"unknown": 9}, {"choline"}, "E_TRACER", "choline"),
        ({"FDG": 9}, {"FDG"}, "", ""),
        ({"FDG": 9}, {"DCFPyL"}, "E_TRACER", "FDG PET"),
        ({"DCFPyL": 9}, {"DCFPyL", "FDG"}, "E_TRACER_TWO", "two tracers"),
        ({"DCFPyL": 9}, {"DCFPyL", "PSMA-1007"}, "E_TRACER_TWO", "two tracers"),
        ({"DCFPyL": 9}, {"another of DICOM's list"}, "E_TRACER", "PSMA PET"),
    ],
)
def test_rules(fitted, names, code, words):
    if code:
        with pytest.raises(DataError) as error:
            contract.tracer(agreed(**fitted), names)
        assert error.value.code == code and words in str(error.value)
        return
    told = contract.tracer(agreed(**fitted), names)
    assert (len(told) == 1 and words in told[0]) if words else told == []


@pytest.fixture
def renamed(study, tmp_path):
    """pro001 with another name of the radiopharmaceutical in every header."""

    def write(name):
        files = study.files("pro001")
        folder = shutil.copytree(files["pet"], tmp_path / "PT")
        for path in folder.iterdir():
            image = dcmread(path)
            image.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = name
            image.save_as(path)
        return files | {"pet": folder}

    return write


@pytest.mark.parametrize(
    "name", ["FDG -- fluorodeoxyglucose", "18F-Fluorocholine", "[18F]FAPI-74", "Fluciclovine"]
)
def test_headers_of_other_tracers_are_refused(model, renamed, name):
    with pytest.raises(DataError) as error:
        predict(load(model), renamed(name), {})
    assert error.value.code == "E_TRACER" and "in training DCFPyL" in str(error.value)


def test_another_ligand_is_scored_and_told(model, renamed, study):
    answer = predict(load(model), renamed("18F-PSMA-1007"), study.clinical("pro001"))
    assert answer["log_odds"] == study.scored("pro001")["multimodal"]
    assert answer["image"]["tracer"] == "PSMA-1007"
    assert any("PSMA-1007 here" in sentence for sentence in answer["warnings"])
    own = predict(load(model), study.files("pro001"), study.clinical("pro001"))
    assert own["image"]["tracer"] == "DCFPyL" and not any("tracer" in s for s in own["warnings"])


def test_the_word_of_a_table_is_compared_and_stands_in(model, study):
    opened, files = load(model), study.files("pro001")
    with pytest.raises(DataError) as error:
        predict(opened, files, {}, "18F-PSMA-1007")
    assert error.value.code == "E_TRACER_CONFLICT"
    assert predict(opened, files, {}, "18F-DCFPyL")["image"]["tracer"] == "DCFPyL"
