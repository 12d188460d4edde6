"""promet status and the plan of promet run say in words what changed, and for whom."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from promet.commands.freeze import freeze
from promet.commands.status import status as command
from promet.core import checksums
from promet.core.errors import UsageError
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar
from promet.study import looks, news
from promet.study.ledger import ASSIGNED as PARTS
from promet.workflow import reasons as words
from promet.workflow.run import print_plan
from promet.workflow.status import inspect, stale_records


def status(paper, patient="", as_json=False):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert command(paper.configfiles, patient, as_json) == 0
    return out.getvalue()


def test_fresh(paper):
    paper.finish()
    assert paper.why() == {}
    assert "everything is fresh" in status(paper)


def test_a_column_is_named_and_whose_it_is(paper):
    paper.finish()
    paper.put("D0", psa="44")
    paper.put("D3", psa="45")
    told = "the column psa changed (D0, D3)"
    assert paper.why() == dict.fromkeys(("fuse", "permute", "evaluate", "table1"), told)


@pytest.mark.parametrize(
    ("source", "stage", "name"), [("pet", "convert", "PET"), ("prostate", "segment", "prostate mask")]
)
def test_a_source_is_named(paper, source, stage, name):
    paper.finish()
    (paper.folder / f"D1/{source}/1").write_text("another image")
    assert paper.why() == {}  # nobody has looked yet
    paper.intake()
    assert paper.why() == {f"{stage} D1": f"the bytes of the {name} changed"}


def test_a_source_that_comes_is_added(paper):
    paper.finish()
    paper.put("D1", lesions="D0/pet")
    paper.intake()
    assert paper.why() == {"segment D1": "the lesion mask was added"}


def test_settings_are_named_as_in_the_configuration(paper):
    paper.finish()
    paper.config |= {
        "imaging": {"picture": {"suv_max": 20}},
        "network": {"seeds": 2, "training": {"epochs": 9}},
    }
    paper.save()
    told = paper.why()
    assert told["picture D0"] == "the setting imaging.picture.suv_max changed"
    assert told["train"] == "the setting network.training.epochs changed"
    assert (
        told["report"]
        == "the setting imaging.picture.suv_max changed, the setting network.training.epochs changed"
    )


def test_who_came_and_who_went(paper):
    paper.finish()
    paper.put("P1", psa="3")
    paper.drop("P0")
    paper.put("D2", psa="9")
    paper.intake()
    told = paper.why()
    assert told["gather"] == "who is in the study changed (new: P1; gone: P0)"
    assert told["fuse"] == "who is in the study changed (new: P1; gone: P0), the column psa changed (D2)"
    assert told["convert P1"] == "not made yet"


def test_without_memory_the_words_are_general_and_nothing_else_changes(paper):
    paper.finish()
    words.path(paper.plan()).write_text('{"parts": ')
    paper.put("D0", psa="44")
    assert paper.why()["fuse"] == "its rows of the table, its settings or its members changed"


def test_a_raised_stage_version_is_named(paper, monkeypatch):
    from promet.workflow.stages import STAGES

    paper.finish()
    monkeypatch.setitem(STAGES, "survive", replace(STAGES["survive"], version=99))
    assert paper.why() == {"survive": "promet computes it otherwise by now"}


def test_a_quarantined_patient_is_not_fresh(paper):
    paper.finish(D1="E_PET_FLAT")
    said = status(paper)
    row = next(line.split() for line in said.splitlines() if line.startswith("crop "))
    assert row == ["crop", "6", "0", "0", "1"]
    assert said.count("D1 is quarantined by convert, E_PET_FLAT: Broken.") == 1
    assert "convert    quarantined: E_PET_FLAT: Broken." in status(paper, "D1")
    assert "segment    quarantined: since convert" in status(paper, "D1")


def test_before_intake_it_says_what_to_do(paper):
    said = status(paper)
    assert "E_INTAKE_NEEDED" in said and "promet intake" in said and "7 patients" in said
    paper.finish()
    paper.put("P1")
    said = status(paper)
    assert "1 of 8 patients in the table" in said and "P1" in said
    assert paper.why() == {}  # the others are as fresh as they were
    assert "promet intake" in status(paper, "P1")
    with pytest.raises(UsageError, match="no patient X"):
        status(paper, "X")


def test_json_holds_every_job(paper):
    paper.finish()
    jobs = json.loads(status(paper, as_json=True))
    assert len(jobs) == len(list(paper.plan().jobs()))
    assert {job["at"]["patient"] for job in json.loads(status(paper, "D1", as_json=True))} == {"D1"}


def test_plan_why_what_how_many(paper, capsys):
    paper.finish()
    paper.put("D0", psa="44")
    (paper.folder / "D1/pet/1").write_text("another image")
    paper.intake()
    capsys.readouterr()
    print_plan(paper.plan(lenient=True), inspect(paper.plan()))
    assert capsys.readouterr().out.splitlines() == [
        "why · what · how many",
        "the bytes of the PET changed · convert of D1 · 1 job",
        "the column psa changed (D0) · fuse, permute, evaluate, table1 · 4 jobs",
        "and what follows from these, as far as they come out otherwise",
    ]


def test_what_is_kept_does_not_grow(paper):
    """Pins of long ago are forgotten, those of other records are not."""
    paper.finish()
    size = words.path(paper.plan()).stat().st_size
    for i in range(5):
        paper.put("D0", psa=str(20 + i))
        paper.finish()
    assert words.path(paper.plan()).stat().st_size < 1.05 * size


def test_nothing_readable_about_a_patient_is_kept(paper):
    paper.put("D0", psa="44.75", site="Northern Hospital")
    paper.finish()
    kept = words.path(paper.plan()).read_text()
    assert "44.75" not in kept and "Northern" not in kept


def test_a_single_network_is_named_by_split_and_seed(paper):
    paper.finish()
    (paper.folder / "results/s/network/paper/split-00/seed-01/train.json").unlink()
    assert "train (variant paper, split 00, seed 01) is missing: not made yet" in status(paper)


def test_it_says_that_networks_may_be_trained_as_a_consequence(paper):
    paper.finish()
    entries = Path("registry/s/ledger.tsv").read_text().splitlines()
    patient = {part: next(line.split("\t")[1] for line in entries if f"\t{part}\t" in line) for part in PARTS}
    (paper.folder / f"{patient['test']}/pet/1").write_text("another image")
    paper.intake()
    assert "then perhaps" not in status(paper)
    (paper.folder / f"{patient['validation']}/prostate/1").write_text("another image")
    paper.intake()
    said = "then perhaps 2 trainings: a network is trained again if the list of the patients it is trained on"
    assert said in status(paper)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_plan(paper.plan(), inspect(paper.plan()))
    assert said in out.getvalue()


def test_new_patients_of_an_open_study_may_train_those_of_a_frozen_one_do_not(paper):
    paper.finish()
    paper.put("D9", role="development", synchronous_metastasis="1")
    assert "then perhaps 2 trainings" in status(paper)
    paper.drop("D9")
    freeze(paper.configfiles, "v1", "")
    paper.finish()
    paper.put("D9", role="development", synchronous_metastasis="1")
    said = status(paper)
    assert "E_INTAKE_NEEDED" in said and "then perhaps" not in said


def test_a_source_that_is_away_makes_nothing_stale_and_what_a_hiccup_quarantined_is_tried_again(paper):
    paper.finish()
    kept = (paper.folder / "D1/pet/1").read_text()
    (paper.folder / "D1/pet/1").unlink()
    paper.intake()
    assert paper.why() == {}
    path = paper.folder / "results/patients/D1/convert.json"  # what an earlier promet made of it
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps(record | {"status": "quarantined", "code": "E_SOURCE_MISSING", "origin": "convert"})
    )
    (paper.folder / "D1/pet/1").write_text(kept)
    paper.intake()
    assert paper.why() == {"convert D1": "a source that could not be read is registered"}


def test_a_source_that_is_not_where_the_table_says(paper):
    paper.finish()
    paper.put("D1", pet="D1/elsewhere")
    paper.intake()
    gone = "the PET is missing, empty or cannot be read: the patient will be quarantined"
    assert paper.why() == {"convert D1": gone}
    paper.finish(D1="E_SOURCE_MISSING")
    assert paper.why() == {}
    paper.put("D1", pet="D1/pet")
    paper.intake()
    assert paper.why() == {"convert D1": "a source that could not be read is registered"}


def test_a_mended_folder_is_noticed_before_an_intake(paper, monkeypatch):
    paper.finish(D1="E_PET_NAN", D2="E_PET_NAN")
    assert "look again" not in status(paper)
    (paper.folder / "D0/pet/1").write_text("of a patient who is not quarantined")
    assert "look again" not in status(paper)
    (paper.folder / "D1/prostate/1").write_text("a better one")
    said = status(paper)
    assert "the files of D1 (quarantined) changed since: look again with promet intake -c config.yaml" in said
    assert said.splitlines()[-1] == "Next: promet intake -c config.yaml, then promet run -c config.yaml"
    looked = []
    with monkeypatch.context() as patch:
        patch.setattr(news, "look_at", lambda path: looked.append(path) or looks.Look())
        status(paper)
    assert {Path(path).parts[0] for path in looked} == {"D1", "D2"}
    paper.intake()
    assert "look again" not in status(paper)


def test_a_damaged_locked_model_is_not_fresh(paper):
    paper.finish()
    freeze(paper.configfiles, "v1", "")
    paper.finish()
    record = Path(paper.plan().sidecar("bundle"))
    weights = record.with_name("model.safetensors")
    weights.write_text("w")
    sums = checksums.write(record.parent, [weights.name])
    Sidecar("bundle", paper.plan().pin("bundle"), products={sums.name: digest_file(sums)}).write(record)
    assert paper.why() == {}
    record.with_name("notes.txt").write_text("a guest")
    assert paper.why() == {}
    weights.write_text("x")
    assert paper.why() == {"bundle": "model.safetensors of the locked model is changed"}
    assert stale_records(paper.plan(), inspect(paper.plan())) == [str(record)]
    checksums.write(record.parent, [weights.name])
    assert paper.why() == {"bundle": "SHA256SUMS of the locked model is changed"}
    sums.unlink()
    assert paper.why() == {"bundle": "SHA256SUMS of the locked model is missing or damaged"}
