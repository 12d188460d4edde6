"""What an edit runs: the exact set of jobs, with plain Snakemake and with promet run.

Real Snakefile and rules, real intake; the jobs themselves are stand-ins (standin.py), so that the whole matrix takes
minutes. ``run`` is what promet run does; ``plain`` is what one ``snakemake`` does where it differs: it cannot stop a
change at a product that comes out the same.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from promet_plan_study import IMAGES, Study

AFTER_FUSION = {"fuse", "explain", "evaluate", "survive", "report"}
AFTER_SCORE = {"score", *AFTER_FUSION}
TRAINED = {"train paper/split-00/seed-00", "train paper/split-00/seed-01", "select"}
ALL = [*(f"D{i}" for i in range(8)), "M0", "M1", "P0"]


def images(*patients: str, stages: tuple[str, ...] = IMAGES) -> set[str]:
    return {f"{stage} {patient}" for patient in patients for stage in stages}


@dataclass
class Edit:
    """An edit and the jobs it should run; ``jobs`` gets the study, since parts are dealt."""

    name: str
    change: Callable[[Study], object]
    jobs: Callable[[Study], set[str]]
    plain: Callable[[Study], set[str]] | None = None
    intake: bool = True
    options: tuple[str, ...] = ()


def byte(source: str, part: str) -> Callable[[Study], object]:
    return lambda s: (s.folder / "images" / s.part(part) / source / "1").write_text("other")


def touch_all(folder) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and "bin" not in path.parts:
            os.utime(path)


def nothing(_: Study) -> set[str]:
    return set()


def replace_text(old: str, new: str) -> Callable[[Study], object]:
    def change(study: Study) -> None:
        path = study.folder / "cohort.tsv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def reverse_rows(study: Study) -> None:
    study.write_rows(study.rows()[::-1])


def revert(study: Study) -> None:
    before = study.rows()
    study.set_cell("D0", psa="99")
    study.write_rows(before)


def remove(part: str) -> Callable[[Study], object]:
    return lambda s: s.write_rows([row for row in s.rows() if row["patient"] != s.part(part)])


def constant(study: Study) -> None:
    """The PET of a training patient changes, but his tensor and measures do not."""
    byte("pet", "training")(study)
    study.environment["CONSTANT"] = "convert"


def fitted(study: Study) -> set[str]:
    """Whether D8 was dealt to a part that is fitted decides about training."""
    lines = (study.folder / "registry/tiny/ledger.tsv").read_text().splitlines()
    part = next(line.split("\t")[2] for line in lines if line.split("\t")[1] == "D8")
    return {"dataset", *TRAINED} if part in ("training", "validation") else set()


def move(study: Study) -> None:
    moved = study.folder.with_name("moved to another place")
    study.folder.rename(moved)
    study.__init__(moved)


def lose_times(study: Study) -> None:
    other = study.folder.with_name("copied")
    shutil.copytree(study.folder, other, copy_function=shutil.copyfile)
    shutil.copymode(study.folder / "bin/promet", other / "bin/promet")
    study.__init__(other)


EDITS = [
    Edit("nothing", lambda s: None, nothing),
    # the same content in another dress
    Edit("touch every file", lambda s: touch_all(s.folder), nothing),
    Edit("touch the table", lambda s: os.utime(s.folder / "cohort.tsv"), nothing),
    Edit("touch a source", lambda s: os.utime(s.folder / "images/D0/pet/1"), nothing),
    Edit("touch a source folder", lambda s: os.utime(s.folder / "images/D0/pet"), nothing),
    Edit(
        "rename a slice",
        lambda s: (s.folder / "images/D0/pet/1").rename(s.folder / "images/D0/pet/one.dcm"),
        nothing,
    ),
    Edit("reorder the rows", reverse_rows, nothing),
    Edit("white space in cells", replace_text("\t1.5\t", "\t 1.5  \t"), nothing),
    Edit("a spreadsheet's numbers", replace_text("\t1.5\t", "\t1.50\t"), nothing),
    Edit("a blank line", replace_text("D0\t", "\nD0\t"), nothing),
    Edit("line ends of another system", replace_text("\n", "\r\n"), nothing),
    Edit(
        "a comment in the configuration",
        lambda s: s.configfile.write_text("# why\n" + s.configfile.read_text()),
        nothing,
    ),
    Edit("a default written out", lambda s: s.configure(network={"training": {"epochs": 300}}), nothing),
    Edit("5 as 5.0", lambda s: s.configure(imaging={"crop": {"spacing_mm": [5, 1.37, 1.37]}}), nothing),
    Edit("edit and revert", revert, nothing),
    Edit("more cores", lambda s: None, nothing, options=("--cores", "1")),
    Edit("other memory", lambda s: None, nothing, options=("--set-resources", "train:mem_mb=9000")),
    Edit("other threads", lambda s: None, nothing, options=("--set-threads", "train=2")),
    Edit("move the project", move, nothing),
    Edit("copy, times lost", lose_times, nothing),
    Edit(
        "a deleted intermediate record",
        lambda s: (s.folder / "results/patients" / s.part("training") / "crop.json").unlink(),
        lambda s: images(s.part("training"), stages=("crop", "normalise")) | {"gather", "dataset", "report"},
        nothing,
    ),
    Edit("freeze", lambda s: s.promet("freeze", "v1"), nothing),
    # images
    Edit(
        "PET of a training patient",
        byte("pet", "training"),
        lambda s: images(s.part("training")) | {"gather", "dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "PET of a test patient",
        byte("pet", "test"),
        lambda s: images(s.part("test")) | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "PET of a metachronous patient",
        byte("pet", "metachronous"),
        lambda s: images("M0") | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "PET changed, tensor the same",
        constant,
        lambda s: images(s.part("training")) | {"gather", "dataset", "report"},
        lambda s: images(s.part("training")) | {"gather", "dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "mask of a test patient",
        byte("prostate", "test"),
        lambda s: images(s.part("test"), stages=IMAGES[1:]) | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "mask of a validation patient",
        byte("prostate", "validation"),
        lambda s: (
            images(s.part("validation"), stages=IMAGES[1:]) | {"gather", "dataset"} | TRAINED | AFTER_SCORE
        ),
    ),
    Edit(
        "a slice more",
        lambda s: (s.folder / "images" / s.part("test") / "pet/2").write_text("slice"),
        lambda s: images(s.part("test")) | {"gather"} | AFTER_SCORE,
    ),
    # the table
    Edit(
        "label of a training patient",
        lambda s: flip(s, "training"),
        lambda s: {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit("label of a test patient", lambda s: flip(s, "test"), lambda s: AFTER_FUSION),
    Edit("PSA", lambda s: s.set_cell("D0", psa="44"), lambda s: AFTER_FUSION),
    Edit("grade group", lambda s: s.set_cell("D0", grade_group="4"), lambda s: AFTER_FUSION),
    Edit("the reader's PRIMARY score", lambda s: s.set_cell("D0", primary_score="5"), lambda s: AFTER_FUSION),
    Edit("the reader's SUVpeak", lambda s: s.set_cell("M0", suv_peak_reader="9"), lambda s: AFTER_FUSION),
    Edit(
        "months of follow-up",
        lambda s: s.set_cell("M0", months="60"),
        lambda s: {"evaluate", "survive", "report"},
    ),
    Edit(
        "progression",
        lambda s: s.set_cell("M0", progression="1"),
        lambda s: {"evaluate", "survive", "report"},
    ),
    Edit("age", lambda s: s.set_cell("D0", age="70"), lambda s: {"evaluate", "report"}),
    Edit("site", lambda s: s.set_cell("D0", site="c"), lambda s: {"report"}),
    Edit("tracer", lambda s: s.set_cell("D0", tracer="68Ga-PSMA-11"), lambda s: {"report"}),
    Edit(
        "PSA and a PET",
        lambda s: (s.set_cell("D0", psa="44"), byte("pet", "test")(s)),
        lambda s: images(s.part("test")) | {"gather"} | AFTER_SCORE,
    ),
    # patients come and go
    Edit(
        "a prospective patient",
        lambda s: s.add("P1", psa="3"),
        lambda s: images("P1") | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "a metachronous patient",
        lambda s: s.add("M2", role="metachronous", progression="0", months="49"),
        lambda s: images("M2") | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "a development patient, study open",
        lambda s: s.add("D8", role="development", synchronous_metastasis="1"),
        lambda s: images("D8") | {"gather"} | AFTER_SCORE | fitted(s),
    ),
    Edit(
        "a development patient, study frozen",
        lambda s: (s.promet("freeze", "v1"), s.add("D8", role="development", synchronous_metastasis="1")),
        lambda s: images("D8") | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "a prospective patient becomes development",
        lambda s: (
            s.promet("freeze", "v1"),
            s.set_cell("P0", role="development", synchronous_metastasis="1"),
        ),
        lambda s: AFTER_FUSION,
    ),
    Edit(
        "a prospective patient leaves",
        lambda s: s.write_rows([row for row in s.rows() if row["patient"] != "P0"]),
        lambda s: {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "a training patient leaves",
        remove("training"),
        lambda s: {"gather", "dataset"} | TRAINED | AFTER_SCORE,
    ),
    # the configuration
    Edit(
        "shape of the box",
        lambda s: s.configure(imaging={"crop": {"shape": [16, 54, 54]}}),
        lambda s: (
            images(*ALL, stages=("crop", "normalise", "picture"))
            | {"gather", "dataset"}
            | TRAINED
            | AFTER_SCORE
        ),
    ),
    Edit(
        "name of the ROI",
        lambda s: s.configure(imaging={"segment": {"prostate_roi": "gland"}}),
        lambda s: images(*ALL, stages=IMAGES[1:]) | {"gather", "dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "how uptake is measured",
        lambda s: s.configure(imaging={"measure": {"suv_peak_ml": 2}}),
        lambda s: images(*ALL, stages=("measure",)) | {"gather"} | AFTER_FUSION,
        lambda s: images(*ALL, stages=("measure",)) | {"gather"} | AFTER_SCORE,
    ),
    Edit(
        "grey scale of the picture",
        lambda s: s.configure(imaging={"picture": {"suv_max": 20}}),
        lambda s: images(*ALL, stages=("picture",)) | {"report"},
    ),
    Edit(
        "learning rate",
        lambda s: s.configure(network={"training": {"learning_rate": 0.01}}),
        lambda s: TRAINED | AFTER_SCORE,
    ),
    Edit(
        "architecture",
        lambda s: s.configure(network={"architecture": {"groups": 4}}),
        lambda s: TRAINED | AFTER_SCORE,
    ),
    Edit(
        "a seed more",
        lambda s: s.configure(network={"seeds": 3}),
        lambda s: {"train paper/split-00/seed-02", "select", "report"} | new_winner(s),
        lambda s: {"train paper/split-00/seed-02", "select"} | AFTER_SCORE,
    ),
    Edit(
        "a seed less",
        lambda s: s.configure(network={"seeds": 1}),
        lambda s: {"select", "report"} | new_winner(s),
        lambda s: {"select"} | AFTER_SCORE,
    ),
    Edit(
        "a variant more",
        lambda s: s.configure(network={"variants": {"wide": {"architecture.groups": 1}}}),
        lambda s: (
            {f"train wide/split-00/seed-{i:02d}" for i in range(2)} | {"select", "report"} | new_winner(s)
        ),
        lambda s: {f"train wide/split-00/seed-{i:02d}" for i in range(2)} | {"select"} | AFTER_SCORE,
    ),
    Edit(
        "share of the parts", lambda s: s.configure(split={"ratios": [0.6, 0.2, 0.2]}), lambda s: {"report"}
    ),
    Edit(
        "inputs of the fusion",
        lambda s: s.configure(fusion={"models": {"clinical": ["psa"]}}),
        lambda s: AFTER_FUSION,
    ),
    Edit(
        "level of the intervals",
        lambda s: s.configure(evaluation={"confidence": 0.9}),
        lambda s: {"evaluate", "survive", "report"},
    ),
    Edit("title of the report", lambda s: s.configure(report={"title": "Other"}), lambda s: {"report"}),
    Edit(
        "a second study",
        lambda s: s.configure(study="second"),
        lambda s: {"gather", "dataset"} | TRAINED | AFTER_SCORE,
    ),
]


def flip(study: Study, part: str) -> None:
    name = study.part(part)
    label = next(row["synchronous_metastasis"] for row in study.rows() if row["patient"] == name)
    study.set_cell(name, synchronous_metastasis=str(1 - int(label)))


def new_winner(study: Study) -> set[str]:
    """What follows selection only when another network won."""
    before = (study.folder / "model.before").read_text()
    now = (study.folder / "results/tiny/select/split-00/model.json").read_text()
    return AFTER_SCORE if before != now else set()


def _prepared(study: Study, edit: Edit) -> Study:
    (study.folder / "model.before").write_text(
        (study.folder / "results/tiny/select/split-00/model.json").read_text()
    )
    edit.change(study)
    if edit.intake:
        study.intake()
    study.ran()
    return study


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_promet_run(copy, edit):
    study = _prepared(copy("study"), edit)
    done = study.promet("run", *(edit.options or ("--cores", "4")))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert study.ran() == edit.jobs(study)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_plain_snakemake(copy, edit):
    study = _prepared(copy("study"), edit)
    done = study.snakemake(*edit.options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert study.ran() == (edit.plain or edit.jobs)(study)


def test_there_are_enough_edits():
    assert len(EDITS) >= 45 and len({edit.name for edit in EDITS}) == len(EDITS)


def test_records_lost_then_an_edit(copy):
    """The guard: without Snakemake's own records promet run still finds exactly the mismatch."""
    study = copy("study")
    shutil.rmtree(study.folder / ".snakemake")
    study.set_cell("M0", months="60")
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == {"evaluate", "survive", "report"}


def test_withdrawn_after_the_freeze_is_refused(copy):
    study = copy("study")
    study.promet("freeze", "v1")
    remove("training")(study)
    study.intake()
    done = study.promet("run", "--cores", "4")
    assert done.returncode == 2 and "E_WITHDRAWN" in done.stderr
    assert study.ran() == set()


def test_a_table_without_intake_is_refused(copy):
    study = copy("study")
    study.add("P1")
    for done in (study.promet("run"), study.snakemake()):
        assert done.returncode != 0 and "promet intake" in done.stdout + done.stderr
    assert study.ran() == set()
