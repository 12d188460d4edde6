"""The reference case: a phantom that proves an installation."""

import shutil

import pytest

from promet.core.checksums import read
from promet.core.errors import IntegrityError, UsageError
from promet.core.files import read_json
from promet.model import clinic, reference
from promet.model.opened import load


def test_the_installation_that_locked_it_gives_its_score(model, capsys):
    assert clinic.verify(model, reference_case=True) == 0
    said = capsys.readouterr().out
    assert "reference case: log-odds" in said and "tolerance" in said


def test_every_input_takes_part_and_the_files_are_small(model):
    wanted = read_json(model / "reference/expected.json")
    assert (
        all(entry["value"] is not None for entry in wanted["inputs"].values()) and len(wanted["inputs"]) == 7
    )
    assert 0 < wanted["tolerance"] < 0.5
    size = sum(path.stat().st_size for path in (model / "reference").rglob("*") if path.is_file())
    assert size < 100_000


@pytest.mark.parametrize("what", ["network", "measure"])
def test_an_installation_that_computes_otherwise_is_told(model, monkeypatch, what):
    if what == "network":
        monkeypatch.setattr("promet.model.predict._score", lambda *_: 5.0)
    else:
        from promet.imaging import measure

        right = measure.measures
        monkeypatch.setattr(
            measure, "measures", lambda *a: (found := right(*a)) | {"suv_peak": found["suv_peak"] * 1.01}
        )
    with pytest.raises(IntegrityError) as error:
        reference.run(load(model))
    assert error.value.code == "E_MODEL_REFERENCE" and (
        "cnn_score" if what == "network" else "suv_peak"
    ) in str(error.value)


def test_other_versions_are_told(edited, capsys):
    folder = edited(
        "configs/contract.json", lambda agreed: agreed["versions"].update(torch="1.0", numpy="0.1")
    )
    assert clinic.verify(folder) == 0
    said = capsys.readouterr().out
    assert "torch 1.0 made the model, here is" in said and "numpy 0.1 made the model" in said


def test_a_model_without_one_proves_nothing(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(folder / "reference")
    from promet.core import checksums

    checksums.write(folder, sorted(name for name in read(folder) if not name.startswith("reference/")))
    (folder / "bundle.json").unlink()
    with pytest.raises(UsageError) as error:
        clinic.verify(folder, reference_case=True)
    assert error.value.code == "E_MODEL_NO_REFERENCE"


def test_another_processors_last_digit_is_no_other_model(model, tmp_path, monkeypatch):
    """What is right within its tolerance stays to the byte, so the digest does, too."""
    folder = shutil.copytree(model, tmp_path / "model")
    opened, before = load(folder), (folder / "reference/expected.json").read_bytes()
    right = reference.score_files

    def a_little_off(*words):
        answer = right(*words)
        answer["inputs"]["cnn_score"]["value"] += 1e-6
        answer["log_odds"] += 1e-7
        return answer

    monkeypatch.setattr(reference, "score_files", a_little_off)
    names = reference.write(opened)
    assert (folder / "reference/expected.json").read_bytes() == before
    assert set(names) <= set(read(folder)) and load(folder).digest == opened.digest
