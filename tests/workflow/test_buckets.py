"""A large cohort in buckets: the same patients' stages run as with one job per patient, and nobody else's."""

import json
import shutil
from collections import Counter

import pytest
from promet_plan_changes import ALL, GATHERED, images
from promet_plan_edits import EDITS
from promet_plan_study import IMAGES, Study

from promet.config import load
from promet.core.bucket import Records, table
from promet.core.errors import DataError, UsageError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging import bucket
from promet.imaging.settings import Imaging
from promet.workflow import buckets
from promet.workflow.plan import Plan
from promet.workflow.stages import STAGES
from promet.workflow.status import inspect, stale_records

NUMBER = 2
KEY = (
    "nothing",
    "PET of a training patient",
    "PET of a test patient",
    "mask of a test patient",
    "label of a training patient",
    "PSA",
    "a prospective patient",
    "a training patient leaves",
    "name of the ROI",
    "a deleted intermediate record",
)
PLAIN = ("PET of a test patient", "PSA", "a prospective patient", "a training patient leaves")


def plan(study: Study) -> Plan:
    return Plan(load([study.configfile]))


def in_folder(study: Study, monkeypatch) -> Study:
    monkeypatch.chdir(study.folder)
    return study


@pytest.fixture(scope="session")
def shared(finished, tmp_path_factory):
    """The finished study after a change to buckets, and what that change ran."""
    folder = tmp_path_factory.mktemp("shared") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    study = Study(folder)
    study.configure(buckets=NUMBER)
    done = study.promet("run", "--cores", "2")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, study.ran()


@pytest.fixture
def bucketed(shared, tmp_path):
    shutil.copytree(shared[0], tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")


def bucket_jobs(study: Study, patients: set[str]) -> set[str]:
    """The jobs of these patients' buckets, also of those who left the table, and what waits for these."""
    lines = [
        line.split("\t") for line in (study.folder / "registry/tiny/ledger.tsv").read_text().splitlines()[1:]
    ]
    fitted = {line[1] for line in lines if line[2] in ("training", "validation")}
    divided = buckets.divide(sorted(patients), fitted, NUMBER)
    return {f"bucket {name}" for name, members in divided.items() if members}


def test_a_change_to_buckets_computes_nobody(shared, finished):
    folder, ran = shared
    every = {f"bucket {group}-{i}" for group in buckets.GROUPS for i in range(NUMBER)}
    assert ran == every | {"dataset"} | GATHERED
    for path in sorted((finished / "results/patients").rglob("*.json")):
        assert (folder / path.relative_to(finished)).read_bytes() == path.read_bytes()


def test_and_back_again_neither(bucketed):
    bucketed.configure(buckets=0)
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    assert bucketed.ran() == {"dataset"} | GATHERED


def test_another_number_computes_nobody(bucketed):
    bucketed.configure(buckets=3)
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    ran = bucketed.ran()
    assert {job for job in ran if not job.startswith("bucket ")} == {"dataset"} | GATHERED
    assert sum(job.startswith("bucket ") for job in ran) == 3 * 3


@pytest.mark.parametrize(
    ("name", "how"), [*((name, "run") for name in KEY), *((name, "plain") for name in PLAIN)]
)
def test_an_edit_runs_what_it_runs_with_a_job_per_patient(bucketed, name, how):
    study, edit = bucketed, next(edit for edit in EDITS if edit.name == name)
    before = {row["patient"] for row in study.rows()}
    edit.change(study)
    study.intake()
    after = {row["patient"] for row in study.rows()}
    study.ran()
    jobs = edit.jobs if how == "run" else (edit.plain or edit.jobs)
    expected = jobs(study)
    touched = {job.split()[1] for job in expected if job.split()[0] in IMAGES} | (before ^ after)
    done = study.promet("run", "--cores", "2") if how == "run" else study.snakemake()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if edit.name == "a deleted intermediate record" and how == "run":
        # The cuboid comes out as it was, so the tensor is not made again.
        expected -= {job for job in expected if job.startswith("normalise")}
    assert study.ran() == expected | bucket_jobs(study, touched)


def test_a_product_that_comes_out_the_same_stops_the_change_within_the_job(bucketed):
    name = bucketed.part("training")
    (bucketed.folder / "images" / name / "pet/1").write_text("another image")
    bucketed.environment["CONSTANT"] = "convert"
    bucketed.intake()
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    expected = {f"convert {name}", "dataset"} | GATHERED | bucket_jobs(bucketed, {name})
    assert bucketed.ran() == expected


def test_the_pictures_alone(bucketed):
    bucketed.configure(imaging={"picture": {"suv_max": 20}})
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    views = {f"bucket view-{i}" for i in range(NUMBER)}
    assert bucketed.ran() == images(*ALL, stages=("picture",)) | GATHERED | views


def test_a_setting_that_is_no_stages_runs_no_bucket(bucketed):
    bucketed.configure(imaging={"max_quarantine": 0.2})
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    assert not {job for job in bucketed.ran() if job.startswith(("bucket", *IMAGES))}


def test_a_deleted_folder_is_made_again(bucketed):
    shutil.rmtree(bucketed.folder / "results/patients/P0")
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    ran = bucketed.ran()
    assert images("P0") | bucket_jobs(bucketed, {"P0"}) <= ran
    assert {job for job in ran if job.split()[0] in IMAGES} == images("P0")


def test_retry(bucketed):
    folder = bucketed.folder / "results/patients/P0"
    for path in folder.glob("*.json"):
        record = Sidecar.read(path)
        record.status, record.code, record.reason, record.origin = QUARANTINED, "E_X", "No.", "convert"
        record.digest, record.inputs = None, dict.fromkeys(record.inputs)
        record.write(path)
    assert bucketed.promet("retry", "--cores", "2").returncode == 0
    assert {job for job in bucketed.ran() if job.split()[0] in IMAGES} == images("P0")


def test_where_one_job_per_patient_ends(finished, monkeypatch, tmp_path):
    monkeypatch.chdir(finished)
    study = Study(finished)
    assert plan(study).buckets == {}
    monkeypatch.setattr(buckets, "ABOVE", 10)
    assert len(plan(study).buckets) == 3 * buckets.NUMBER
    monkeypatch.setattr(buckets, "ABOVE", 11)
    assert plan(study).buckets == {}


def test_buckets_stay_when_the_cohort_shrinks(bucketed, monkeypatch):
    in_folder(bucketed, monkeypatch)
    bucketed.configure(buckets="auto")
    assert len(plan(bucketed).buckets) == 3 * buckets.NUMBER


# Membership -----------------------------------------------------------------------------------------------


def test_nobody_moves_when_others_come_and_go():
    names = [f"P{i}" for i in range(500)]
    fitted = set(names[::3])
    whole = buckets.divide(names, fitted, 8)
    fewer = buckets.divide(names[::-1][100:], fitted, 8)
    assert all(set(members) <= set(whole[at]) for at, members in fewer.items())
    for groups in (("fit", "rest"), ("view",)):
        members = [name for at in whole if at.startswith(groups) for name in whole[at]]
        assert sorted(members) == sorted(names)
    assert {name for at in whole if at.startswith("fit") for name in whole[at]} == fitted
    for at in whole:
        if at.startswith("view"):
            assert sorted(whole[at]) == sorted(name for other in buckets.before(at) for name in whole[other])


def test_buckets_are_filled_evenly():
    divided = buckets.divide([f"site-{i:05d}" for i in range(20_000)], set(), 64)
    sizes = [len(members) for name, members in divided.items() if name.startswith("rest")]
    mean = 20_000 / 64
    chi2 = sum((size - mean) ** 2 / mean for size in sizes)
    assert 30 < chi2 < 110  # 63 degrees of freedom: 0.01 % on either side
    assert not any(members for name, members in divided.items() if name.startswith("fit"))


# The job --------------------------------------------------------------------------------------------------


READS = {
    "convert": (),
    "segment": ("convert",),
    "crop": ("convert", "segment"),
    "normalise": ("crop",),
    "measure": ("convert", "segment"),
    "picture": ("convert", "segment"),
}


class Stages:
    """Makes records like the real stages; can fail, quarantine or be killed."""

    def __init__(self):
        self.ran, self.bad, self.broken, self.killed = [], {}, set(), ""

    def __call__(self, stage, patient, out, pin):
        self.ran.append(f"{stage} {patient}")
        if self.killed == f"{stage} {patient}":
            raise KeyboardInterrupt
        if patient in self.broken:
            raise OSError(28, "No space left on device")

        def work():
            if stage == "convert" and patient in self.bad:
                raise DataError(self.bad[patient], "Bad")
            product = out.with_name(f"{stage}.bin")
            product.parent.mkdir(parents=True, exist_ok=True)
            product.write_text(f"{pin} {patient}")
            return Outcome(products={stage: product})

        upstream = {name: out.with_name(f"{name}.json") for name in READS.get(stage, STAGES[stage].before)}
        run_stage(stage, out, pin, work, upstream, needs=tuple(upstream), makes=(f"{stage}.bin",))


def every(patients: str, stages=None) -> list[str]:
    """The stages in the order in which two buckets make them."""
    groups = [stages] if stages else [buckets.TENSOR, buckets.VIEW]
    return [f"{stage} {name}" for group in groups for name in patients for stage in group]


@pytest.fixture
def job(tmp_path, monkeypatch):
    # The stand-ins have no images; that sources are held against the registry is tested in tests/study/test_registry.py.
    monkeypatch.setattr(bucket, "_as_planned", lambda make, *_: make)
    lines = ["patient\tsource\tpath\tdigest\tfiles\tbytes"]
    lines += [f"{name}\tpet\tx\t{name}\t1\t1" for name in "ABC"]
    (tmp_path / "images.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "cohort.tsv").write_text("patient\nA\nB\nC\n")
    stages = Stages()
    monkeypatch.setattr(bucket, "maker", lambda *_: stages)
    cohort, images, book = (tmp_path / name for name in ("cohort.tsv", "images.tsv", "ledger.tsv"))

    def run(pin=""):
        stages.ran = []
        for name in ("rest-0", "view-0"):
            inputs = bucket.Inputs(name, 1, tmp_path / "patients", cohort, images, book)
            bucket.run(inputs, Imaging(), tmp_path / name / "bucket.json", pin)
        return stages.ran

    run.stages, run.folder = stages, tmp_path
    return run


def test_a_second_time_nothing(job):
    assert job() == every("ABC")
    assert job() == []


def test_a_kill_loses_one_stage(job):
    job.stages.killed = "crop B"
    with pytest.raises(KeyboardInterrupt):
        job()
    job.stages.killed = ""
    assert job() == every("ABC")[6:]  # A, and two stages of B, were done


def test_a_fault_of_one_serves_the_others_and_fails_the_job(job):
    job.stages.broken = {"A"}
    with pytest.raises(OSError, match="space"):
        job()
    assert not (job.folder / "rest-0/bucket.json").exists()
    job.stages.broken = set()
    assert sorted(job()) == sorted([*every("A"), *every("BC", buckets.VIEW)])


def test_bad_data_quarantine_one(job):
    job.stages.bad = {"B": "E_ONE"}
    job()
    found = table(job.folder)
    status = {name: Counter(entry["status"] for entry in found[name].values()) for name in "ABC"}
    assert status == {"A": {"ok": 6}, "B": {QUARANTINED: 6}, "C": {"ok": 6}}
    # Another reason: those who were skipped repeat it.
    job.stages.bad = {"B": "E_TWO"}
    (job.folder / "patients/B/convert.json").unlink()
    assert job() == every("B")
    assert {entry["code"] for entry in table(job.folder)["B"].values()} == {"E_TWO"}


def test_a_deleted_product_is_made_again(job):
    job()
    (job.folder / "patients/A/crop.bin").unlink()
    assert job() == ["crop A"]


def test_a_table_that_changed_meanwhile_is_refused(job):
    with pytest.raises(UsageError, match="changed while"):
        job(pin="0" * 24)
    assert job.stages.ran == []


def test_one_changed_digest(job):
    job()
    path = job.folder / "images.tsv"
    path.write_text(path.read_text().replace("\tA\t", "\tother\t"))
    # The masks and the cuboid come out as they were; what reads the PET itself is made again all the same.
    assert job() == [f"{stage} A" for stage in ("convert", "segment", "crop", "measure", "picture")]


# The tables stand for the records -------------------------------------------------------------------------


def test_status_reads_tables_as_long_as_the_records_are_theirs(job, monkeypatch):
    job()
    path = str(job.folder / "patients/A/crop.json")
    records = Records(str(job.folder))
    whole = Sidecar.read(path)
    monkeypatch.setattr(Sidecar, "read", lambda path: pytest.fail("read a record"))
    found = records.read(path, "crop", "A")
    assert (found.pin, found.digest, found.inputs) == (whole.pin, whole.digest, whole.inputs)
    assert records.read(path.replace("crop", "none"), "crop", "A") is None
    monkeypatch.undo()
    whole.digest = "other"
    whole.write(path)
    assert records.read(path, "crop", "A").digest == "other"


def test_status_after_an_edit(bucketed, monkeypatch):
    in_folder(bucketed, monkeypatch)
    assert {job.state for job in inspect(plan(bucketed))} == {"fresh"}
    (bucketed.folder / "results/patients/P0/crop.json").unlink()
    now = plan(bucketed)
    jobs = inspect(now)
    assert [(job.stage, job.name, job.state) for job in jobs if job.state != "fresh"] == [
        ("crop", "P0", "lost")
    ]
    assert stale_records(now, jobs) == [now.output("crop", patient="P0")]
    assert json.loads((bucketed.folder / now.output("crop", patient="P0")).read_text())["stage"] == "bucket"


def test_prune_leaves_nothing_that_names_who_left(bucketed):
    bucketed.write_rows([row for row in bucketed.rows() if row["patient"] != "P0"])
    bucketed.intake()
    assert bucketed.promet("prune", "--yes").returncode == 0
    left = [
        path
        for folder in ("results/patients", "results/tiny/buckets", "logs/imaging/bucket")
        for path in (bucketed.folder / folder).rglob("*")
        if path.is_file() and '"P0"' in path.read_text()
    ]
    assert left == []
    assert len(list((bucketed.folder / "results/tiny/buckets/2").iterdir())) == 3 * NUMBER - 2
    assert bucketed.promet("run", "--cores", "2").returncode == 0
    assert not {job for job in bucketed.ran() if job.split()[0] in IMAGES}
