"""promet: from PSMA PET/CT, masks and a clinical table to a prognostic model and its report."""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

SOURCE = Path(workflow.basedir)
sys.path.insert(0, str(SOURCE / "scripts"))

from promet.workflow.guard import pins_decide
from promet.workflow.plan import Plan
from promet.workflow.planned import of_sources, of_table
from promet.workflow.scheduler.queue import be_patient
from promet.workflow.stages import asked
from promet.config import parse as parse_config
from promet.core.environment import own_commands_first
from promet.core.job import CHECKED

own_commands_first()
be_patient()


configfile: str(SOURCE / "config/config.yaml")


plan = Plan(parse_config(config))
os.environ[CHECKED] = "1"  # which the image jobs need not do again
# Whatever profile or option: a job runs because of its pin, and of nothing else.
pins_decide(workflow, plan)


report: "workflow/report/workflow.rst"


wildcard_constraints:
    patient="[A-Za-z0-9][A-Za-z0-9_-]*",
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    split=r"\d\d+",
    seed=r"\d\d+",
    bucket=r"(fit|rest|view)-\d+",


include: "workflow/rules/imaging.smk"
include: "workflow/rules/gather.smk"
include: "workflow/rules/network.smk"
include: "workflow/rules/fusion.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/model.smk"


rule all:
    input:
        plan.targets("all"),


# promet run asks for prepare, lock and all in turn: what comes out unchanged stops the change between two of them.


# CPU only: every patient's images, measures and picture, and the digests on which the networks depend.
rule prepare:
    input:
        plan.targets("prepare"),


# GPU: every seed, and the choice of one.
rule lock:
    input:
        plan.targets("lock"),


localrules:
    all,
    prepare,
    lock,
