# Scores the patients of a table with a locked model, on a machine that has never seen the training data:
#   snakemake --snakefile workflow/predict.smk --cores 4 --config model=FOLDER cohort=new.tsv out=FOLDER digest=DIGEST
# digest, of the model as it was received separately, may be left out; site=NAME smallest_cell=10 adds what promet validate makes.
# promet predict FOLDER --cohort new.tsv --out FOLDER registers the images first and then does the same.
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

sys.path.insert(0, str(Path(workflow.basedir).parent / "scripts"))

from promet.workflow.scheduler.queue import be_patient
from promet.core.environment import own_commands_first
from promet.model.plan import Predictions

own_commands_first()
be_patient()
plan = Predictions(config)


wildcard_constraints:
    patient="[A-Za-z0-9][A-Za-z0-9_-]*",


rule all:
    input:
        f"{plan.out}/predictions.parquet",
        plan.validation_record if plan.validation else [],


# One job per patient; who is refused ends as a record with the reason.
rule predict:
    input:
        images=ancient(plan.images),
        cohort=ancient(plan.cohort),
    output:
        record=plan.record(),
    log:
        f"{plan.out}/logs/{{patient}}.log",
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 3000 * attempt,
        runtime=lambda wc, attempt: 5 * attempt,
    params:
        pin=lambda wc: plan.pin(wc.patient),
        planned=lambda wc: plan.planned(wc.patient),
        model=plan.model,
        digest=f"--digest {plan.digest}" if plan.compared else "",
    shell:
        "PROMET_PLANNED={params.planned:q} promet model predict {params.model:q} --cohort {input.cohort:q} --registry {input.images:q}"
        " --patient {wildcards.patient} --out {output.record:q} --pin {params.pin} {params.digest} >> {log:q} 2>&1"


# The outcomes of the table stand beside the answers, so an edit of it is collected again.
rule collect:
    input:
        expand(plan.record(), patient=plan.patients),
        cohort=plan.cohort,
    output:
        parquet=f"{plan.out}/predictions.parquet",
        tsv=f"{plan.out}/predictions.tsv",
    log:
        f"{plan.out}/logs/collect.log",
    params:
        patients=[f"--patient={name}" for name in plan.patients],
        folder=f"{plan.out}/patients",
    shell:
        "promet model collect {params.patients:q} --folder {params.folder:q} --cohort {input.cohort:q}"
        " --out {output.parquet:q} >> {log:q} 2>&1"


# promet validate: the model judged on these patients. Reads the answers; the table of them stands for all.
rule validate:
    input:
        f"{plan.out}/predictions.parquet",
        cohort=ancient(plan.cohort),
    output:
        record=plan.validation_record,
    log:
        f"{plan.out}/logs/validate.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        model=plan.model,
        answers=plan.out,
        settings=plan.validation,
        digest=f"--digest {plan.digest}" if plan.compared else "",
    shell:
        "promet centres validate {params.model:q} --cohort {input.cohort:q} --answers {params.answers:q}"
        " --out {output.record:q} --settings {params.settings:q} {params.digest} >> {log:q} 2>&1"


localrules:
    all,
    collect,
