"""The edits of the staleness matrix, and the jobs each of them should run.

``jobs`` is what promet run does; ``plain`` is what one ``snakemake`` does where it differs: it cannot stop a change at
a product that comes out the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

from promet_plan_changes import (
    AFTER_FUSION,
    AFTER_SCORE,
    ALL,
    DESCRIBED,
    GATHERED,
    JUDGED,
    TRAINED,
    byte,
    constant,
    fitted,
    flip,
    freeze_and_run,
    images,
    in_other_dress,
    lose_times,
    made_anew,
    move,
    new_winner,
    nothing,
    own_workflow,
    profile,
    raise_version,
    remove,
    replace_text,
    reverse_rows,
    revert,
    second_freeze,
    touch_all,
    waive,
)
from promet_plan_study import IMAGES, Study


@dataclass
class Edit:
    """An edit and the jobs it should run; ``jobs`` gets the study, since parts are assigned."""

    name: str
    change: Callable[[Study], object]
    jobs: Callable[[Study], set[str]]
    plain: Callable[[Study], set[str]] | None = None
    intake: bool = True
    options: tuple[str, ...] = ()
    plain_options: tuple[str, ...] = ()  # snakemake alone needs to be told more


OWN = ("--snakefile", "code/Snakefile")
EVERY_TRIGGER = ("--rerun-triggers", "code", "input", "mtime", "params", "software-env")

EDITS = [
    Edit("nothing", lambda s: None, nothing),
    # the same content in another dress
    Edit("touch every file", lambda s: touch_all(s.folder), nothing),
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
        lambda s: images(s.part("training"), stages=("crop", "normalise")) | GATHERED | {"dataset"},
        nothing,
    ),
    Edit(
        "a deleted record of the fusion",
        lambda s: (s.folder / "results/tiny/fusion/split-00/fuse.json").unlink(),
        lambda s: AFTER_FUSION,
        nothing,
    ),
    Edit("comments and white space in the workflow", own_workflow, nothing, plain_options=OWN),
    Edit(
        "another place of table and registry, another command, environment and inputs of every rule",
        in_other_dress,
        nothing,
        intake=False,
        plain_options=(*OWN, *EVERY_TRIGGER),
    ),
    Edit(
        "the same, model locked",
        lambda s: (freeze_and_run(s), in_other_dress(s)),
        nothing,
        intake=False,
        plain_options=(*OWN, *EVERY_TRIGGER),
    ),
    Edit(
        "a run killed behind a patient's last image job",
        made_anew("normalise", "training"),
        lambda s: {"gather", "dataset"} | DESCRIBED,
        lambda s: {"gather", "dataset"} | TRAINED | AFTER_SCORE | DESCRIBED,
    ),
    Edit("another profile", profile, nothing, options=("--workflow-profile", "profile")),
    Edit(
        "a stage computes otherwise, the result is the same",
        raise_version,
        lambda s: images(*ALL, stages=("crop", "normalise")) | GATHERED | {"dataset"},
        lambda s: images(*ALL, stages=("crop", "normalise")) | GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit("freeze", lambda s: s.promet("freeze", "v1"), lambda s: {"bundle", "report"}),
    # images
    Edit(
        "PET of a training patient",
        byte("pet", "training"),
        lambda s: images(s.part("training")) | GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "PET of a test patient",
        byte("pet", "test"),
        lambda s: images(s.part("test")) | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "PET of a metachronous patient",
        byte("pet", "metachronous"),
        lambda s: images("M0") | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "PET changed, tensor the same",
        constant,
        lambda s: images(s.part("training")) | GATHERED | {"dataset"},
        lambda s: images(s.part("training")) | GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "mask of a test patient",
        byte("prostate", "test"),
        lambda s: images(s.part("test"), stages=IMAGES[1:]) | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "mask of a validation patient",
        byte("prostate", "validation"),
        lambda s: (
            images(s.part("validation"), stages=IMAGES[1:]) | GATHERED | {"dataset"} | TRAINED | AFTER_SCORE
        ),
    ),
    Edit(
        "a slice more",
        lambda s: (s.folder / "images" / s.part("test") / "pet/2").write_text("slice"),
        lambda s: images(s.part("test")) | GATHERED | AFTER_SCORE,
    ),
    # the table
    Edit(
        "label of a training patient",
        lambda s: flip(s, "training"),
        lambda s: {"dataset"} | TRAINED | AFTER_SCORE | DESCRIBED,
    ),
    Edit("label of a test patient", lambda s: flip(s, "test"), lambda s: AFTER_FUSION | DESCRIBED),
    Edit("PSA", lambda s: s.set_cell("D0", psa="44"), lambda s: AFTER_FUSION | DESCRIBED),
    Edit("grade group", lambda s: s.set_cell("D0", grade_group="4"), lambda s: AFTER_FUSION | DESCRIBED),
    Edit(
        "the reader's PRIMARY score",
        lambda s: s.set_cell("D0", primary_score="5"),
        lambda s: AFTER_FUSION | DESCRIBED,
    ),
    Edit(
        "the reader's SUVpeak",
        lambda s: s.set_cell("M0", suv_peak_reader="9"),
        lambda s: AFTER_FUSION | DESCRIBED,
    ),
    Edit(
        "months of follow-up",
        lambda s: s.set_cell("M0", months="60"),
        lambda s: JUDGED | {"survive"},
    ),
    Edit(
        "progression",
        lambda s: s.set_cell("M0", progression="1"),
        lambda s: JUDGED | {"survive"},
    ),
    Edit("age", lambda s: s.set_cell("D0", age="70"), lambda s: JUDGED),
    Edit(
        "the second Gleason pattern",
        lambda s: s.set_cell("D0", gleason_secondary="4"),
        lambda s: JUDGED - {"table1"},
    ),
    Edit("site", lambda s: s.set_cell("D0", site="c"), lambda s: DESCRIBED),
    # convert compares it with the header of the PET
    Edit(
        "tracer of a test patient",
        lambda s: s.set_cell(s.part("test"), tracer="68Ga-PSMA-11"),
        lambda s: images(s.part("test")) | GATHERED,
        lambda s: images(s.part("test")) | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "PSA and a PET",
        lambda s: (s.set_cell("D0", psa="44"), byte("pet", "test")(s)),
        lambda s: images(s.part("test")) | GATHERED | AFTER_SCORE,
    ),
    # patients come and go
    Edit(
        "a prospective patient",
        lambda s: s.add("P1", psa="3"),
        lambda s: images("P1") | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "a metachronous patient",
        lambda s: s.add("M2", role="metachronous", progression="0", months="49"),
        lambda s: images("M2") | GATHERED | AFTER_SCORE,
    ),
    Edit(
        "a development patient, study open",
        lambda s: s.add("D8", role="development", synchronous_metastasis="1"),
        lambda s: images("D8") | GATHERED | AFTER_SCORE | fitted(s),
    ),
    Edit(
        "a development patient, study frozen",
        lambda s: (s.promet("freeze", "v1"), s.add("D8", role="development", synchronous_metastasis="1")),
        lambda s: images("D8") | GATHERED | AFTER_SCORE | {"bundle"},
    ),
    Edit(
        "a prospective patient, model locked",  # the bundle's job sees that nothing in it changes
        lambda s: (freeze_and_run(s), s.add("P1", psa="3")),
        lambda s: images("P1") | GATHERED | AFTER_SCORE | {"bundle"},
    ),
    Edit(
        "the authors of a locked model",
        lambda s: (freeze_and_run(s), s.configure(model={"authors": "A"})),
        lambda s: {"bundle", "report"},
    ),
    Edit("nothing, model locked", freeze_and_run, nothing),
    Edit(
        "a prospective patient becomes development",
        lambda s: (
            s.promet("freeze", "v1"),
            s.set_cell("P0", role="development", synchronous_metastasis="1"),
        ),
        lambda s: AFTER_FUSION | DESCRIBED | {"bundle"},
    ),
    Edit(
        "a prospective patient leaves",
        lambda s: s.write_rows([row for row in s.rows() if row["patient"] != "P0"]),
        lambda s: GATHERED | AFTER_SCORE,
    ),
    Edit(
        "a test patient leaves",
        remove("test"),
        lambda s: GATHERED | AFTER_SCORE,
    ),
    Edit(
        "a training patient leaves, the model stays by a waiver",
        waive,
        lambda s: GATHERED | AFTER_SCORE,
    ),
    Edit(
        "a second freeze, into a new study",
        second_freeze,
        lambda s: GATHERED | {"dataset"} | TRAINED | AFTER_SCORE | {"bundle"},
    ),
    Edit(
        "a training patient leaves",
        remove("training"),
        lambda s: GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    # the configuration
    Edit(
        "shape of the cuboid",
        lambda s: s.configure(imaging={"crop": {"shape": [16, 54, 54]}}),
        lambda s: (
            images(*ALL, stages=("crop", "normalise", "picture"))
            | GATHERED
            | {"dataset"}
            | TRAINED
            | AFTER_SCORE
        ),
    ),
    Edit(
        "name of the ROI",
        lambda s: s.configure(imaging={"segment": {"prostate_roi": "gland"}}),
        lambda s: images(*ALL, stages=IMAGES[1:]) | GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
    Edit(
        "how uptake is measured",
        lambda s: s.configure(imaging={"measure": {"suv_peak_ml": 2}}),
        lambda s: images(*ALL, stages=("measure",)) | GATHERED | AFTER_FUSION,
        lambda s: images(*ALL, stages=("measure",)) | GATHERED | AFTER_SCORE,
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
        lambda s: {"train paper/split-00/seed-02", "select", "tripod", "report"} | new_winner(s),
        lambda s: {"train paper/split-00/seed-02", "select"} | AFTER_SCORE,
    ),
    Edit(
        "a seed less",
        lambda s: s.configure(network={"seeds": 1}),
        lambda s: {"select", "tripod", "report"} | new_winner(s),
        lambda s: {"select"} | AFTER_SCORE,
    ),
    Edit(
        "a variant more",
        lambda s: s.configure(network={"variants": {"wide": {"architecture.groups": 1}}}),
        lambda s: (
            {f"train wide/split-00/seed-{i:02d}" for i in range(2)}
            | {"select", "tripod", "report"}
            | new_winner(s)
        ),
        lambda s: {f"train wide/split-00/seed-{i:02d}" for i in range(2)} | {"select"} | AFTER_SCORE,
    ),
    Edit(
        "share of the parts",
        lambda s: s.configure(split={"ratios": [0.6, 0.2, 0.2]}),
        lambda s: {"tripod", "report"},
    ),
    Edit(
        "inputs of the fusion",
        lambda s: s.configure(fusion={"models": {"clinical": ["psa"]}}),
        lambda s: AFTER_FUSION,
    ),
    Edit(
        "number of permutations",
        lambda s: s.configure(fusion={"permutations": 300}),
        lambda s: {"permute", "tripod", "report"},
    ),
    Edit(
        "level of the intervals",
        lambda s: s.configure(evaluation={"confidence": 0.9}),
        lambda s: {"evaluate", "survive", "pool", "tripod", "report"},
    ),
    Edit(
        "another metric: recurrence within 24 months",
        lambda s: s.configure(evaluation={"horizon_months": 24}),
        lambda s: JUDGED | {"survive"},
    ),
    Edit(
        "the paper's outcomes written out",
        lambda s: s.configure(
            outcome={"evaluate": {"metachronous": {"kind": "by_horizon", "horizon_months": 48}}}
        ),
        nothing,
    ),
    Edit(
        "what an outcome is called",
        lambda s: s.configure(outcome={"words": {"progression": "recurrence"}}),
        lambda s: JUDGED | {"survive"},
    ),
    Edit(
        "a label and the level of the intervals",
        lambda s: (flip(s, "test"), s.configure(evaluation={"confidence": 0.9})),
        lambda s: AFTER_FUSION | DESCRIBED,
    ),
    Edit("title of the report", lambda s: s.configure(report={"title": "Other"}), lambda s: {"report"}),
    Edit(
        "a second study",
        lambda s: s.configure(study="second"),
        lambda s: GATHERED | {"dataset"} | TRAINED | AFTER_SCORE,
    ),
]
