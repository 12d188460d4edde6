"""Every command in the documentation runs: each page as one shell script, in a copy of the small study.

Three things differ from what a person types: commands that read a configuration get the small study's (the paper's
fifty seeds take a night), make only prints what it would do, and programs of other houses (a scheduler, a container
builder) are not called; what these do on a cluster is tested in tests/slurm.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name / "README.md" for name in ("config", "profiles")),
    )
)
OUTSIDE = (
    "squeue",
    "sbatch",
    "sacct",
    "scancel",
    "sinfo",
    "module",
    "apptainer",
    "docker",
    "apt-get",
    "tmux",
    "mamba",
    "nvidia-smi",
    "Rscript",
    "conda",
)
# What stands for a file or folder of the reader's own.
NAMES = {
    "FILE": "scores.csv",
    "~/keys/": "../keys/",
    "promet/workflow/predict.smk": f"'{ROOT}/workflow/predict.smk'",
    "MODEL_DIR ... --json": "MODEL_DIR --pet PT_SERIES --prostate prostate.nii.gz"
    " --lesions lesions.nii.gz --clinical row.json --json",
    "cd MODEL_DIR && sha256sum -c SHA256SUMS": "(cd MODEL_DIR && sha256sum -c SHA256SUMS)",
    "--digest DIGEST": "--digest $(sha256sum MODEL_DIR/SHA256SUMS | cut -c 1-64)",
    "MODEL_DIR": "results/small/model",
    "--development 40": "--development 5",  # phantoms of two hospitals; figures need more and have tests of their own
    "PT_SERIES": "export/PAT-0001/PT",
    "--prostate prostate.nii.gz": "--prostate export/PAT-0001/prostate.nii.gz",
    "--lesions lesions.nii.gz": "--lesions $(ls -d export/PAT-0001/lesions*)",
}
# Their input lies elsewhere (public data, a PACS); these pages have tests of their own.
ELSEWHERE = ("docs/public-data.md", "docs/how-to-add.md", "docs/hospital.md")
HEAD = """
set -eu -o pipefail
source() {{ :; }}
make() {{ command make --dry-run --directory {root} "$@" > /dev/null; }}
{outside}
promet() {{
  local word=$1
  case " $* " in *slurm*) return 0;; esac
  case $word in check|intake|status|run|retry|freeze|waive|verify|prune)
    case " $* " in *" -c "*|*model*) ;; *) set -- "$@" -c config.yaml;; esac;;
  esac
  command promet "$@"
}}
snakemake() {{
  case " $* " in *slurm*) return 0;; *--snakefile*) command snakemake "$@"; return;; esac
  command snakemake --snakefile {root}/Snakefile --configfile config.yaml --cores 1 "$@"
}}
set -x
"""


def script(page: str) -> str:
    """The page's sh blocks, one after the other."""
    return "\n".join(
        re.findall(r"^```(?:sh|bash)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    )


@pytest.fixture
def desk(study, tmp_path) -> Path:
    """The finished small study, with the files the pages speak of."""
    folder = tmp_path / "desk"
    shutil.copytree(study.folder, folder)
    table = pd.read_csv(folder / "cohort.tsv", sep="\t", dtype=str).fillna("")
    row = next(row for _, row in table.iterrows() if row["prostate"].endswith(".nii.gz") and row["lesions"])
    shutil.copy(folder / "config.yaml", folder / "study.yaml")
    (folder / "export").mkdir()
    shutil.copytree((folder / row["pet"]).parent, folder / "export/PAT-0001")
    for name in ("prostate", "lesions"):
        suffix = "".join(Path(row[name]).suffixes)
        shutil.copy(folder / row[name], folder / f"export/PAT-0001/{name}{suffix}")
    table.head(2).to_csv(folder / "new.tsv", sep="\t", index=False)
    (folder / "row.json").write_text(json.dumps({"psa": 7.5, "grade_group": 2, "primary_score": None}))
    random = np.random.default_rng(1)
    scores = pd.DataFrame({"y": random.integers(0, 2, 60), "t": random.uniform(3, 60, 60)})
    scores = scores.assign(a=random.normal(scores["y"], 1), b=random.normal(size=60), e=scores["y"])
    scores = scores.assign(c=-scores["b"], p=1 / (1 + np.exp(-scores["a"])), q=0.4, g=scores["a"] > 0)
    capra = {"psa": 7.5, "gleason_primary": 3, "gleason_secondary": 4, "clinical_t": "T2a"}
    scores = scores.assign(**capra, positive_cores_percent=30, age=61)
    scores.to_csv(folder / "scores.csv", index=False)
    fields = "record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,psa,isup,cores_pos,cores_taken"
    (folder / "redcap.csv").write_text(
        f"{fields},mets___1,mets___2,staging_complete,scan_date,fu_date,fu_prog\n"
    )
    page = (ROOT / "docs/own-data.md").read_text()
    (folder / "redcap.yaml").write_text(
        re.search(r"^```yaml\n(record:.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    )
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("page", [p for p in PAGES if script(p) and p not in ELSEWHERE])
def test_commands_run(page, desk):
    outside = "\n".join(f"{name}() {{ :; }}" for name in OUTSIDE)
    text = HEAD.format(root=ROOT, outside=outside) + reduce(
        lambda t, n: t.replace(*n), NAMES.items(), script(page)
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=desk,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_pages_have_commands():
    assert {"README.md", "docs/own-data.md", "docs/hpc.md"} <= {page for page in PAGES if script(page)}


def test_links_lead_somewhere():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
