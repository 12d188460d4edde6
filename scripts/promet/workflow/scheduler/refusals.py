"""What SLURM says, in words: why it takes no job, and why a job pends.

The sentences are those of sbatch and the reasons those of squeue, of SLURM 22.05; newer ones have added, not renamed.
"""

from __future__ import annotations

import re
from pathlib import Path

FULL, SILENT, REFUSED = "full", "silent", "refused"
TOLD = Path(".snakemake/slurm_refused.log")  # of a run: its last line is what its head ends with
# As many jobs as one may have are queued already: the next fits when one of them has ended.
_FULL = re.compile(r"Submit\w*Limit|temporarily un(?:able|available)|MaxJobCount", re.IGNORECASE)
# The last line of every limit, alone in older versions.
POLICY = "violates accounting/QOS policy"
# The controller, the accounting or the way to them is down; the job may have arrived nevertheless.
_SILENT = re.compile(
    r"unable to contact slurm|socket timed out|timed out|connection refused|connection reset|zero bytes were|"
    r"communication (?:connection )?failure|standby mode|unexpected missing socket|transport endpoint|not responding|"
    r"unable to establish (?:control machine|controller)|munge|authentication (?:error|credential)|no route to host|"
    r"slurmdbd|database connection|insane message length|not yet resumed|broken pipe",
    re.IGNORECASE,
)
# Every limit of one job, in the words of squeue: no end of another job makes room for it.
_OF_ONE_JOB = re.compile(r"PerJob|PerNode|MaxWall|MinCpu|MinGRES|MinMemory|MinNode", re.IGNORECASE)
# What is in sbatch's sentence, and what to do. First that fits.
_REMEDIES = (
    (r"MaxWall|time limit|TimeLimit|--time", "Ask for less time with PROMET_SLURM_MAX_MINUTES, for trainings with "
     "PROMET_SLURM_TRAIN_MINUTES and for image jobs with fewer PROMET_SLURM_PATIENTS, or name a partition or QOS for longer jobs"),
    (r"\b(?:QOS|Assoc)(?:Max|Min|Grp)", "The QOS or account allows a job less than this one asks for: name another one in "
     "PROMET_SLURM_QOS, PROMET_SLURM_GPU_QOS or PROMET_SLURM_ACCOUNT, or lower it in a copy of profiles/slurm"),
    (r"\bqos specification|invalid qos", "Correct or unset PROMET_SLURM_QOS and PROMET_SLURM_GPU_QOS; yours are shown by: "
     "sacctmgr show assoc user=$USER format=account,partition,qos"),
    (r"account|association|user id|invalid user", "Correct PROMET_SLURM_ACCOUNT, or PROMET_SLURM_PARTITION and "
     "PROMET_SLURM_GPU_PARTITION, which this account may not use; if the account has expired, its owner has to renew it"),
    (r"group not permitted|permission denied|access", "Name a partition that you may use in PROMET_SLURM_PARTITION and "
     "PROMET_SLURM_GPU_PARTITION"),
    (r"partition", "Correct PROMET_SLURM_PARTITION and PROMET_SLURM_GPU_PARTITION; those there are: sinfo -o '%P %a %l %m %G'"),
    (r"generic resource|gres|gpu", "Correct PROMET_SLURM_GRES, or name the partition that has GPUs in "
     "PROMET_SLURM_GPU_PARTITION; those there are: sinfo -o '%P %G'"),
    (r"feature|constraint", "Correct or unset PROMET_SLURM_CONSTRAINT and PROMET_SLURM_GPU_CONSTRAINT; those there are: sinfo -o '%P %f'"),
    (r"reservation", "Correct or unset PROMET_SLURM_RESERVATION; those there are: scontrol show reservation"),
    (r"node configuration|memory|processors|cpu count|node count", "No node of the partition has as many cores, GPUs or as "
     "much memory: compare with sinfo -o '%P %c %m %G %f', and name another one in PROMET_SLURM_PARTITION or "
     "PROMET_SLURM_GPU_PARTITION"),
    (r"unrecognized option|invalid option|requires an argument|unrecognised|node name|license", "Correct or unset PROMET_SLURM_EXTRA"),
)  # fmt: skip
_NOT_KNOWN = "Show this sentence to the people of the cluster"
_PENDING = {
    "Resources": "no node is free for them",
    "Priority": "others are before them in the queue",
    "None": "the scheduler has not looked at them yet",
    "BeginTime": "they start later, a requeued job after two minutes",
    "Dependency": "another job has to end first",
    "Reservation": "their reservation has not begun",
    "Licenses": "a licence is in use",
    "Prolog": "their node is being prepared",
    "Cleaning": "what ran before on their node is being put away",
    "NodeDown": "their node is down",
    "ReqNodeNotAvail": "nodes they need are down, drained or reserved, for maintenance perhaps",
    "PartitionDown": "the partition takes jobs and starts none",
    "PartitionInactive": "the partition is switched off",
    "PartitionNodeLimit": "they ask for more than the partition allows and will never start",
    "PartitionTimeLimit": "they ask for more time than the partition allows and will never start",
    "PartitionConfig": "they ask for more than the partition has and will never start",
    "BadConstraints": "no node has what they ask for; they will never start",
    "InvalidAccount": "their account is not valid any more",
    "InvalidQOS": "their QOS is not valid any more",
    "JobHeldUser": "they are held; scontrol release lets them go",
    "JobHeldAdmin": "they are held by the people of the cluster",
    "AccountNotAllowed": "the partition does not let their account in",
    "QOSNotAllowed": "the partition does not let their QOS in",
    "DependencyNeverSatisfied": "a job they wait for failed; they will never start",
}


def kind(said: str) -> str:
    """FULL, SILENT or REFUSED, from what sbatch or another command of SLURM said on standard error."""
    if _FULL.search(said):
        return FULL
    if POLICY in said and sentence(said).startswith("Job violates"):
        return FULL  # no word which limit; whoever waits sees whether jobs of one's own are there to end
    return SILENT if _SILENT.search(said) else REFUSED


def sentence(said: str) -> str:
    """What was said, on one line and without what every such line begins with; at most 300 characters."""
    begins = r"^(?:\w+: )?(?:error: |fatal: )*(?:Batch job submission failed: |allocation failure: )?"
    lines = [re.sub(begins, "", line.strip()) for line in said.strip().splitlines()]
    return "; ".join(dict.fromkeys(line.rstrip(".") for line in lines if line))[:300]


def remedy(said: str) -> str:
    """What to do about a refusal."""
    said = re.sub(rf".*{POLICY}.*", "", said)  # names every limit there is
    found = (text for pattern, text in _REMEDIES if re.search(pattern, said, re.IGNORECASE))
    return next(found, _NOT_KNOWN)


def known(said: str) -> bool:
    """Is this a refusal of which promet knows that it stays one?"""
    return kind(said) == REFUSED and remedy(said) != _NOT_KNOWN


def pending(reason: str) -> str:
    """Why jobs pend, from squeue's word for it."""
    word = re.split(r"[,( ]", reason.strip("() "))[0]
    if "DOWN, DRAINED" in reason or "maintenance" in reason.lower():  # a sentence instead of a word
        word = "ReqNodeNotAvail"
    if word in _PENDING:
        return _PENDING[word]
    if re.match(r"(QOS|Assoc|MaxJobs|MaxMem|MaxCpu)", word) or word.endswith("Limit"):
        if _OF_ONE_JOB.search(word):
            return "each asks for more than the QOS or account allows; they will never start"
        if re.search(r"Minutes|Billing", word):
            return "the budget of the account or QOS is used up"
        return "as much of yours, or of your account, runs as may run at once; they start as others end"
    if "held" in reason.lower():
        return "they are held; scontrol release lets them go"
    return "in SLURM's own word"
