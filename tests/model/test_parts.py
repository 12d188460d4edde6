"""The files of a bundle: every one's version counts, and what does not fit is named and never a crash."""

import json
import random
import shutil

import pytest

from promet.core import checksums
from promet.core.errors import IntegrityError
from promet.model.opened import load
from promet.model.parts import FILES
from promet.model.predict import predict

NAMES = {part: name for part, (name, _, _) in FILES.items()}


def refused(folder):
    with pytest.raises(IntegrityError) as error:
        load(folder)
    return error.value


@pytest.mark.parametrize("name", NAMES.values())
def test_a_newer_schema_of_any_file_counts(edited, name):
    error = refused(edited(name, lambda content: content.update(schema=99)))
    assert error.code == "E_MODEL_VERSION"
    assert name in str(error) and "schema 99" in str(error) and "reads 1" in str(error)


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("schema", [None, "1", True, 1.0])
def test_a_schema_that_is_no_number_is_damage(edited, name, schema):
    error = refused(edited(name, lambda content: content.update(schema=schema)))
    assert error.code == "E_MODEL_BROKEN" and name in str(error)


@pytest.mark.parametrize(
    "place", [(), ("pet",), ("lesions",), ("imaging",), ("imaging", "segment"), ("clinical", "psa")]
)
def test_a_rule_of_a_newer_promet_is_not_passed_over(edited, place):
    def add(content):
        content["versions"]["promet"] = "9.8.7"
        for step in place:
            content = content[step]
        content["newer_rule"] = {}

    error = refused(edited("configs/contract.json", add))
    assert error.code == "E_MODEL_VERSION"
    assert "newer_rule" in str(error) and "9.8.7" in str(error) and "promet " in str(error)


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 99999])
def test_a_file_that_is_missing_or_no_json(model, tmp_path, name, content):
    folder = shutil.copytree(model, tmp_path / "model")
    names = set(checksums.read(folder))
    if content is None:
        (folder / name).unlink()
        names.remove(name)
    else:
        (folder / name).write_bytes(content)
    checksums.write(folder, sorted(names))
    (folder / "bundle.json").unlink()
    error = refused(folder)
    assert error.code == "E_MODEL_BROKEN" and name in str(error)


def test_any_key_that_is_lost_or_of_another_kind_is_named_or_not_needed(model, study, edited, monkeypatch):
    """A random walk through the files: whatever is cut out or replaced, the model opens whole or is refused with a code."""
    monkeypatch.setattr("promet.model.predict._prepare", lambda *_: pytest.fail("not reached"))
    rng, refusals = random.Random(1), 0
    for number in range(150):
        name = rng.choice([*NAMES.values()])

        def cut(content, rng=rng, number=number):
            while True:
                key = rng.choice([*content] if isinstance(content, dict) else range(len(content)))
                inner = content[key]
                if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
                    content = inner
                    continue
                if number % 2:
                    del content[key]
                else:
                    content[key] = rng.choice([None, "x", [], {}, True, -1])
                return

        folder = edited(name, cut, shutil.copytree(model, model.parent / f"walk{number}"))
        try:
            load(folder)
        except IntegrityError as error:
            assert error.code in ("E_MODEL_BROKEN", "E_MODEL_VERSION"), error
            refusals += 1
        finally:
            shutil.rmtree(folder)
    assert refusals > 50


def test_weights_that_are_not_those_of_model_json(edited, model, study, tmp_path):
    def other(content):
        content["digest"] = "0" * 64

    folder = edited("models/model.json", other)
    with pytest.raises(IntegrityError) as error:
        predict(load(folder), study.files("pro001"), {})
    assert "promet network select" not in str(error.value) and "Copy the model again" in str(error.value)


@pytest.mark.parametrize("change", ["architecture", "key", "gone"])
def test_an_architecture_of_another_promet(edited, study, change):
    def edit(content):
        if change == "architecture":
            content["architecture"]["name"] = "of 2030"
        elif change == "key":
            content["architecture"]["newer"] = 1
        else:
            del content["architecture"]

    folder = edited("models/model.json", edit)
    with pytest.raises(IntegrityError) as error:
        predict(load(folder), study.files("pro001"), {})
    assert error.value.code in ("E_MODEL_VERSION", "E_MODEL_BROKEN")


def test_the_form_before_this_one_is_still_read(edited, study):
    """A contract of schema 1: no ranges, no tracers."""

    def older(content):
        content["schema"] = 1
        content["pet"].pop("tracers", None)
        if content["pet"]["voxel_mm"]:
            content["pet"]["voxel_mm"].pop("finer", None)
        for entry in content["clinical"].values():
            del entry["range"], entry["whole"]

    folder = edited("configs/contract.json", older)
    answer = predict(load(folder), study.files("pro001"), study.clinical("pro001") | {"psa": None})
    assert answer["inputs_missing"] == ["psa"]
    assert json.loads((folder / "configs/contract.json").read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("name", "edit", "code"),
    [
        ("configs/contract.json", lambda c: c["clinical"].pop("psa"), "E_MODEL_BROKEN"),
        ("configs/contract.json", lambda c: c["imaging"]["crop"].update(shape=[8, 8, 8]), "E_MODEL_BROKEN"),
        (
            "configs/contract.json",
            lambda c: c["imaging"]["crop"].update(spacing_mm=[9, 9, 9]),
            "E_MODEL_BROKEN",
        ),
        ("models/distribution.json", lambda c: c["inputs"].pop("psa"), "E_MODEL_BROKEN"),
        ("models/naive_bayes.json", lambda c: c["log"].append("suv_pek"), "E_MODEL_BROKEN"),
        (
            "models/naive_bayes.json",
            lambda c: c["models"]["multimodal"]["order"].remove("psma_expression"),
            "E_MODEL_BROKEN",
        ),
        (
            "models/naive_bayes.json",
            lambda c: (
                c["models"]["clinical"]["features"].update(age=c["models"]["clinical"]["features"]["psa"]),
                c["models"]["clinical"]["order"].append("age"),
            ),
            "E_MODEL_VERSION",
        ),
    ],
)
def test_parts_that_are_not_of_one_model(edited, name, edit, code):
    """Each file is right for itself; together they would leave an input out, or show the network another cuboid."""
    with pytest.raises(IntegrityError) as error:
        load(edited(name, edit))
    assert error.value.code == code and ".json" in str(error.value)
