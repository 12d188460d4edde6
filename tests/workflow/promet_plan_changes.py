"""What a person changes in a study, and names for the jobs that follow."""

import json
import os
import re
import shutil
from collections.abc import Callable

from promet_plan_study import IMAGES, ROOT, Study

AFTER_FUSION = {"fuse", "explain", "permute", "evaluate", "survive", "pool", "tripod", "report"}
DESCRIBED = {"table1", "tripod", "report"}
GATHERED = {"gather", *DESCRIBED}
JUDGED = {"evaluate", "pool", *DESCRIBED}
AFTER_SCORE = {"score", *AFTER_FUSION}
TRAINED = {"train paper/split-00/seed-00", "train paper/split-00/seed-01", "select"}
ALL = [*(f"D{i}" for i in range(8)), "M0", "M1", "P0"]


def images(*patients: str, stages: tuple[str, ...] = IMAGES) -> set[str]:
    return {f"{stage} {patient}" for patient in patients for stage in stages}


def byte(source: str, part: str) -> Callable[[Study], object]:
    return lambda s: (s.folder / "images" / s.part(part) / source / "1").write_text("another image")


def touch_all(folder) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and "bin" not in path.parts:
            os.utime(path)


def nothing(_: Study) -> set[str]:
    return set()


def freeze_and_run(study: Study) -> None:
    """A frozen study whose model lies locked."""
    study.promet("freeze", "v1")
    assert study.promet("run", "--cores", "4").returncode == 0
    ran = study.ran()
    assert ran == {"bundle", "report"}, ran


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
    """The PET of a training patient changes, but tensor and measures do not."""
    byte("pet", "training")(study)
    study.environment["CONSTANT"] = "convert"


def fitted(study: Study) -> set[str]:
    """Whether D8 was assigned to a part that is fitted decides about training."""
    return {"dataset", *TRAINED} if study.ledger()["D8"] in ("training", "validation") else set()


def move(study: Study) -> None:
    moved = study.folder.with_name("moved to another place")
    study.folder.rename(moved)
    study.__init__(moved)


def lose_times(study: Study) -> None:
    other = study.folder.with_name("copied")
    shutil.copytree(study.folder, other, copy_function=shutil.copyfile)
    shutil.copymode(study.folder / "bin/promet", other / "bin/promet")
    study.__init__(other)


def made_anew(stage: str, part: str) -> Callable[[Study], object]:
    """A record was written again, with the same product, and then everything was killed."""

    def change(study: Study) -> None:
        path = study.folder / "results/patients" / study.part(part) / f"{stage}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": -1}))

    return change


def own_workflow(study: Study) -> None:
    """Another copy of promet, with more comments and white space in its workflow."""
    code = study.folder / "code"
    shutil.copytree(ROOT / "workflow", code / "workflow")
    for name in ("scripts", "config", "envs", "profiles"):
        (code / name).symlink_to(ROOT / name)
    for name in ("Snakefile", "workflow/Snakefile"):
        (code / name).write_text("# why\n" + (ROOT / name).read_text().replace("\n\n", "\n\n\n"))
    for path in (code / "workflow/rules").glob("*.smk"):
        path.write_text(re.sub(r"^rule ", "# of this rule\nrule ", path.read_text(), flags=re.MULTILINE))
    study.environment["PYTHONPATH"] = str(code / "scripts")  # promet run takes the workflow beside it


def other_rules(study: Study) -> None:
    """As if a new promet called its jobs otherwise: each command, environment and list of inputs is another one."""
    own_workflow(study)
    code = study.folder / "code"
    shutil.copytree(ROOT / "envs", code / "surroundings")
    for path in (code / "surroundings").glob("*.yaml"):
        path.write_text(path.read_text() + "# newer\n")
    for path in (code / "workflow/rules").glob("*.smk"):
        text = path.read_text().replace('2>&1"', '2>&1 && true"').replace("/envs/", "/surroundings/")
        more = r"\1    more=ancient(plan.cohort),\n\1output:\n"
        path.write_text(re.sub(r"^( +)output:\n", more, text, flags=re.MULTILINE))


def elsewhere(study: Study) -> None:
    """Table and registry have other names and places, and the configuration says it in another way."""
    (study.folder / "cohort.tsv").rename(study.folder / "patients of May.tsv")
    (study.folder / "admin").mkdir()
    (study.folder / "registry").rename(study.folder / "admin/registered")
    study.configure(cohort=str(study.folder / "patients of May.tsv"), registry="./admin/registered")


def in_other_dress(study: Study) -> None:
    """No content changes, but all that holds it."""
    other_rules(study)
    elsewhere(study)


def profile(study: Study) -> None:
    """A profile of one's own."""
    (study.folder / "profile").mkdir()
    (study.folder / "profile/config.yaml").write_text(
        "cores: 2\nkeep-going: false\ndefault-resources:\n  mem_mb: 500\nretries: 1\n"
    )


def raise_version(study: Study) -> None:
    """As if a new promet computed the cuboid otherwise."""
    folder = study.folder / "newer"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from dataclasses import replace\nfrom promet.workflow.stages import STAGES\n"
        "STAGES['crop'] = replace(STAGES['crop'], version=STAGES['crop'].version + 1)\n"
    )
    study.environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT / "scripts")])


def waive(study: Study) -> None:
    """A patient whom the locked model was fitted on withdraws, and the model stays by a waiver."""
    freeze_and_run(study)
    gone = study.part("training")
    remove("training")(study)
    assert study.promet("waive", gone, "--reason", "ethics board").returncode == 0


def second_freeze(study: Study) -> None:
    """The patients who came after the first freeze are assigned to a new study."""
    freeze_and_run(study)
    study.add("D8", role="development", synchronous_metastasis="1")
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    study.ran()
    assert study.promet("freeze", "v2", "--into", "second").returncode == 0
    study.configure(study="second")


def flip(study: Study, part: str) -> None:
    name = study.part(part)
    label = next(row["synchronous_metastasis"] for row in study.rows() if row["patient"] == name)
    study.set_cell(name, synchronous_metastasis=str(1 - int(label)))


def new_winner(study: Study) -> set[str]:
    """What follows selection only when another network won."""
    return AFTER_SCORE if study.another_network_won() else set()
