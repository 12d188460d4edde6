"""What Snakemake's workflow catalogue asks of a workflow, and what snakedeploy makes of it.

``snakedeploy deploy-workflow`` (0.17) clones the repository and copies config, profiles and the licence; workflow/Snakefile it
writes itself: a module that names the repository, workflow/Snakefile in it, and a tag.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.study_on_paper import Paper

ROOT = Path(__file__).parents[2]
# The template of snakedeploy.
DEPLOYED = """from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


# declare {repo} as a module
module promet:
    snakefile:
        "{snakefile}"
    config:
        config


# use all rules from {repo}
use rule * from promet
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The tree as a repository with a tag; its package is not beside the workflow that Snakemake takes out of it."""
    clone = tmp_path_factory.mktemp("repository")
    names = ("workflow", "config", "profiles", "envs", "Snakefile", "LICENSE")
    for name in names:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, clone / name)
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"),
        ("tag", "v1.0.0"),
    ):
        subprocess.run(["git", *words], cwd=clone, check=True)
    return clone


def deploy(repository: Path, project: Path, tag: str) -> None:
    for name in ("config", "profiles"):
        shutil.copytree(repository / name, project / name)
    shutil.copy(repository / "LICENSE", project)
    (project / "workflow").mkdir()
    source = f"git+file://{repository}/workflow/Snakefile@{tag}"
    (project / "workflow/Snakefile").write_text(DEPLOYED.format(repo=repository, snakefile=source))


def snakemake(project: Path) -> subprocess.CompletedProcess:
    """A dry run as the catalogue's page says it; a module of the tree is not to be found by accident."""
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "-n"]
    environment = {**os.environ, "HOME": str(project), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_a_deployment_plans_the_whole_study(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paper = Paper(tmp_path)
    for number in range(12):
        paper.put(f"E{number}", role="development", synchronous_metastasis=str(number % 2), psa="5")
    paper.config |= {"cohort": "config/cohort.tsv"}
    deploy(repository, tmp_path, "v1.0.0")
    settings = tmp_path / "config/config.yaml"
    settings.write_text(settings.read_text().replace("seeds: 50", "seeds: 2"))
    table = re.sub(r"\t(\w+/)", r"\t../\1", (tmp_path / "cohort.tsv").read_text())
    (tmp_path / "config/cohort.tsv").write_text(table)
    from promet.commands.intake import intake

    intake([settings], False, False)
    done = snakemake(tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    jobs = dict(
        line.split()
        for line in (done.stdout + done.stderr).splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    )
    assert jobs["convert"] == "19" and jobs["train"] == "2" and jobs["report"] == jobs["all"] == "1"


def test_rules_of_another_version_are_refused(repository, tmp_path):
    rules = repository / "workflow/rules/report.smk"
    before = rules.read_text()
    rules.write_text(before + "\n# newer\n")
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    for words in ((*identity, "commit", "-qam", "newer"), ("tag", "v9.0.0")):
        subprocess.run(["git", *words], cwd=repository, check=True)
    deploy(repository, tmp_path, "v9.0.0")
    done = snakemake(tmp_path)
    said = done.stdout + done.stderr
    assert (
        done.returncode and "The rules in report.smk are not those of the promet that is installed" in said
    ), said


def test_the_catalogue_finds_what_it_looks_for():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"] == {"conda": True} and usage["report"] is True
    for name in ("workflow/Snakefile", "config/config.yaml", "config/README.md", "LICENSE"):
        assert (ROOT / name).is_file()


def test_a_bare_call_in_the_tree_wants_the_whole_study(tmp_path):
    """The root's Snakefile includes workflow/Snakefile, and an include alone sets no target."""
    words = ["--snakefile", str(ROOT / "Snakefile"), "-n", "--config", f"cohort={ROOT / 'config/cohort.tsv'}"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "rule all:" in done.stdout + done.stderr, done.stderr
