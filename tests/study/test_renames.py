"""A renamed patient keeps part, registry and results; whoever only looks renamed, or has another's images, is asked about."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from promet.commands.freeze import freeze
from promet.commands.intake import intake as command
from promet.commands.prune import prune
from promet.core.errors import UsageError
from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.network import dataset
from promet.network.settings import Dataset
from promet.study import freezing, ledger, likeness, registry, renames, scans
from promet.study.renamed import first_names
from promet.workflow import locked

BOOK = "registry/s/ledger.tsv"


@pytest.fixture
def study(paper):
    for i in range(6, 16):
        paper.put(f"D{i}", role="development", synchronous_metastasis=str(i % 2))
    paper.finish()
    return paper


def rename(study, **names):
    """In the table alone; the folders stay where they are."""
    rows = {name: dict(row) for name, row in study.rows.items()}
    study.rows = {
        names.get(name, name): row | {"patient": names.get(name, name)} for name, row in rows.items()
    }
    study.save()


def intake(study, **names):
    command(study.configfiles, False, False, [f"{old}={new}" for old, new in names.items()])


def parts():
    return {entry.patient: entry.part for entry in ledger.read(BOOK)}


def everything():
    return {
        path: path.read_bytes()
        for folder in ("registry", "results")
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("names", [{"D0": "d0"}, {f"D{i}": f"{i}" for i in range(16)}, {"P0": "7"}])
def test_a_new_name_is_refused_and_the_command_said(study, names):
    rename(study, **names)
    before = everything()
    with pytest.raises(UsageError) as error:
        study.intake()
    assert error.value.code == "E_RENAMED" and everything() == before
    said = str(error.value)
    for old, new in names.items():
        assert f"--renamed {old}={new}" in said


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        {f"D{i}": f"{i}" for i in range(16)},
        {"D3": "Z9"},
        {"D0": "D1", "D1": "D0"},
        {"D0": "D1", "D1": "D2", "D2": "new"},
    ],
)
def test_everything_goes_by_the_new_name_and_nothing_is_trained_again(study, names, frozen):
    if frozen:
        freeze(study.configfiles, "v1", "")
        study.finish()
        plan = study.plan()
        record = Path(plan.sidecar("bundle"))
        Sidecar(
            "bundle", plan.pin("bundle"), values={"freeze": "v1", "made_from": locked.made_from(plan)}
        ).write(record)
        record.with_name("SHA256SUMS").write_text("")
    before, digests = (
        parts(),
        {name: rows["pet"]["digest"] for name, rows in registry.read("registry/images.tsv").items()},
    )
    order = study.plan().fit_members("00")
    files = {
        path.parts[2]: path.read_bytes() for path in sorted(Path("results/patients").glob("*/convert.json"))
    }
    known = scans.read("registry")
    rename(study, **names)
    intake(study, **names)
    new = {name: names.get(name, name) for name in before | digests}
    assert parts() == {new[name]: part for name, part in before.items()}
    assert {n: r["pet"]["digest"] for n, r in registry.read("registry/images.tsv").items()} == {
        new[name]: digest for name, digest in digests.items()
    }
    assert {p.parts[2]: p.read_bytes() for p in Path("results/patients").glob("*/convert.json")} == {
        new[name]: data for name, data in files.items()
    }
    assert scans.read("registry") == {new[name]: scan for name, scan in known.items()}
    assert Path(BOOK).read_bytes() == Path("registry/s/ledger.copy.tsv").read_bytes()
    plan = study.plan()
    assert plan.fit_members("00") == [new[name] for name in order] and locked.problem(plan) is None
    stale = {stage.split()[0] for stage in study.why()}
    assert not stale & {"convert", "segment", "crop", "normalise", "measure", "picture", "train", "select"}
    assert {"gather", "dataset"} <= stale
    assert not Path("registry/renaming.json").exists()
    study.intake()  # nothing to say any more


def test_names_are_remembered_through_several_renamings(study):
    for old, new in (("D3", "a"), ("a", "b"), ("b", "D3")):
        rename(study, **{old: new})
        intake(study, **{old: new})
        assert first_names(BOOK) == ({} if new == "D3" else {new: "D3"})


def test_a_frozen_studys_excluded_stay_out(study):
    freeze(study.configfiles, "v1", "")
    path = Path("registry/s/freeze.json")
    path.write_text(json.dumps(read_json(path) | {"excluded": ["D3"]}))
    rename(study, D3="x")
    intake(study, D3="x")
    assert freezing.excluded(ledger.ledger_path("registry", "s")) == {"x"}


def test_every_study_of_the_registry_goes_along(study):
    freeze(study.configfiles, "v1", "")
    freeze(study.configfiles, "v2", "other")
    rename(study, D3="x")
    intake(study, D3="x")
    for name in ("s", "other"):
        held = {entry.patient for entry in ledger.read(f"registry/{name}/ledger.tsv")}
        assert "x" in held and "D3" not in held


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("D3=D4", "D3 still stands in the table"),
        ("Z=D3", "Z was never registered"),
        ("D3=nobody", "nobody is not in the table"),
        ("D3", "OLD=NEW"),
        ("D3=a=b", "OLD=NEW"),
        ("=a", "OLD=NEW"),
    ],
)
def test_a_renaming_that_is_none(study, pair, words):
    before = everything()
    with pytest.raises(UsageError) as error:
        command(study.configfiles, False, False, [pair])
    assert error.value.code == "E_RENAMED_OTHER" and words in str(error.value) and everything() == before


def test_another_scan_is_no_renamed_patient(study):
    rename(study, D3="x")
    study.put("x", pet="D4/prostate")
    with pytest.raises(UsageError, match="x does not have the PET of D3"):
        intake(study, D3="x")


def test_a_withdrawn_patient_is_not_renamed(study):
    freeze(study.configfiles, "v1", "")
    gone = study.plan().fit_members("00")[0]
    row = study.rows[gone]
    study.drop(gone)
    freezing.waive("registry", "s", gone, "why", list(study.rows.values()))
    study.rows["x"] = row | {"patient": "x"}
    study.save()
    with pytest.raises(UsageError, match="withdrawn by a waiver"):
        intake(study, **{gone: "x"})
    with pytest.raises(UsageError) as error:
        study.intake()
    assert error.value.code == "E_WITHDRAWN_RETURNS"


@pytest.mark.parametrize("stop", range(1, 12))
def test_an_interrupted_renaming_is_finished_by_the_next_intake(study, monkeypatch, stop):
    """Killed at any of its steps: folder moves and file writes are counted."""
    names = {"D0": "D1", "D1": "D0", "D3": "x"}
    wanted = {names.get(name, name): part for name, part in parts().items()}
    files = {path.parts[2]: path.read_bytes() for path in Path("results/patients").glob("*/convert.json")}
    rename(study, **names)
    steps = iter(range(1, 100))
    real, write = os.replace, renames.write_text

    def counted(call):
        def step(*given):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return call(*given)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(renames.os, "replace", counted(real))
        patch.setattr(renames, "write_text", counted(write))
        with contextlib.suppress(KeyboardInterrupt):
            intake(study, **names)
    if Path("registry/renaming.json").exists():
        study.intake()
    else:
        assert parts() == wanted or intake(study, **names) is None
    assert parts() == wanted and not Path("registry/renaming.json").exists()
    found = {path.parts[2]: path.read_bytes() for path in Path("results/patients").glob("*/convert.json")}
    assert found == {names.get(name, name): data for name, data in files.items()}


def test_images_that_changed_hands_are_asked_about(study):
    """One column of the table sorted alone: everyone keeps a name and gets another's images."""
    pets = [row["pet"] for row in study.rows.values()]
    for row, pet in zip(study.rows.values(), pets[1:] + pets[:1], strict=True):
        row["pet"] = pet
    study.save()
    before = everything()
    with pytest.raises(UsageError) as error:
        study.intake()
    assert error.value.code == "E_IMAGES_EXCHANGED" and everything() == before
    command(study.configfiles, False, False, exchanged=True)
    assert {stage.split()[0] for stage in study.why()} >= {"convert"}


def test_a_patients_own_new_images_are_no_exchange(study):
    (study.folder / "D0/pet/1").write_text("exported again")
    study.drop("D5")
    study.put("N0")
    study.intake()
    assert "convert D0" in study.why()


@pytest.mark.parametrize("pruned", [False, True])
def test_a_scan_written_anew_under_a_new_name_takes_the_old_place_again(study, tmp_path, pruned):
    """Intake sees other bytes and assigns anew; gather and dataset refuse; the command they say puts all right."""
    hot = [-0.01 * k for k in range(20)]
    old = next(name for name, part in parts().items() if part == "test")
    for name in study.rows:
        Sidecar(
            "convert",
            "p",
            values={
                "signature": [k + x for k, x in zip(range(20), hot, strict=True)] if name != old else hot
            },
        ).write(Path("results/patients", name, "convert.json"))
    before, row = parts(), dict(study.rows[old])
    study.drop(old)
    if pruned:
        prune(study.configfiles, True)
        assert not Path("results/patients", old).exists()
    study.put("new", role="development", synchronous_metastasis=row["synchronous_metastasis"])
    study.intake()
    assert {old, "new"} <= set(parts())  # two places
    Path("results/patients/new").mkdir()
    Sidecar("convert", "p", values={"signature": [x + 1e-5 for x in hot]}).write(
        Path("results/patients/new/convert.json")
    )

    def former():
        found = {name: likeness.of_record(Path("results/patients"), name) for name in study.rows}
        likeness.require_nobody_former(Path(BOOK), Path("results/patients"), found, study.rows)

    with pytest.raises(UsageError, match=f"promet intake --renamed {old}=new"):
        former()
    intake(study, **{old: "new"})
    assert parts() == {"new" if name == old else name: part for name, part in before.items()}
    assert first_names(BOOK) == {"new": old} and "new" in registry.read("registry/images.tsv")
    former()
    study.intake()
    with pytest.raises(UsageError, match=r"still stands in the table"):
        intake(study, **dict([study.plan().fit_members("00")[:2]]))


def test_the_fit_set_is_refused_as_gather_refuses(study, tmp_path):
    """Plain snakemake may come to dataset first."""
    fit = study.plan().fit_members("00")
    old = next(name for name, part in parts().items() if part == "test")
    for name in (old, fit[0]):
        Sidecar("convert", "p", values={"signature": [-0.01 * k for k in range(20)]}).write(
            Path("results/patients", name, "convert.json")
        )
    lines = Path(BOOK).read_text().splitlines()
    moved = [line for line in lines if f"\t{old}\t" in line]
    Path(BOOK).write_text(
        "\n".join([lines[0], *moved, *(line for line in lines[1:] if line not in moved), ""])
    )
    Path(BOOK).with_name("ledger.copy.tsv").unlink()
    study.drop(old)
    with pytest.raises(UsageError) as error:
        inputs = dataset.Inputs(Path("results/patients"), Path(BOOK), Path("cohort.tsv"), 0)
        dataset.run(inputs, Dataset(), tmp_path / "d/dataset.json", "p")
    assert error.value.code == "E_RENAMED" and f"{old}={fit[0]}" in str(error.value)
