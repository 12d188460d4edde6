"""Sites differ: a shared source tree that nobody may write to, groups, long paths, software of one's own for each rule."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from promet.core import environment

ROOT = Path(__file__).parents[2]
NAME = "a project with spaces " + "x" * 178
RECORD = "results/patients/dev001/picture.json"  # the last of a patient's six stages
# Root writes where nobody may: for it the tree is mounted read-only, in a name space of its own.
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def read_only(tree: Path) -> list[str]:
    """Words before a command for which the tree cannot be written."""
    return ["unshare", "--mount", "sh", "-c", MOUNT, str(tree)] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    yield folder
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)


@pytest.fixture(scope="module")
def source(place):
    """The source tree, read-only."""
    target = place / "source"
    for part in ("scripts", "workflow", "config", "profiles", "envs"):
        shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", target)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def run(place, source):
    """One patient's stages, with umask 002, in a folder whose name has spaces and 200 characters."""
    from promet.phantom.cohort import write_cohort

    assert len(NAME) == 200
    project, scratch, home = place / NAME, place / "scratch", place / "home"
    project.mkdir()
    write_cohort(project, development=4, metachronous=0, prospective=0, seed=3, effect=2.0, small=True)
    (project / "config.yaml").write_text(json.dumps({"study": "small", "cohort": "cohort.tsv"}))
    scratch.mkdir()
    home.mkdir()
    variables = {
        **{name: value for name, value in os.environ.items() if name not in environment.CACHES},
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(source / "scripts"),
    }

    def start(*words: str, **more: str) -> subprocess.CompletedProcess:
        command = [*read_only(source), sys.executable, "-m", *words]
        return subprocess.run(
            command,
            cwd=project,
            env=variables | more,
            umask=0o002,
            capture_output=True,
            text=True,
            check=False,
        )

    intake = start("promet.cli", "intake", "-c", "config.yaml")
    if intake.returncode and "unshare" in intake.stderr:
        pytest.skip("root, and not allowed to mount anything read-only")
    assert intake.returncode == 0, intake.stdout + intake.stderr
    words = ["--snakefile", str(source / "Snakefile"), "--configfile", "config.yaml", "--cores", "2", RECORD]
    done = start("snakemake", *words)
    assert done.returncode == 0, done.stderr[-4000:]
    start.project, start.scratch, start.home = project, scratch, home
    return start


def test_a_source_tree_that_cannot_be_written_stays_as_it_is(run, source):
    assert json.loads((run.project / RECORD).read_text())["status"] == "ok"
    refused = run("timeit", "-n1", "-r1", f"open({str(source / 'new')!r}, 'w')").stderr
    assert "Read-only" in refused or "Permission" in refused
    assert not list(source.rglob("__pycache__"))
    assert not list(source.rglob(".snakemake"))


def test_the_group_may_write_what_the_umask_lets_it(run):
    products = [path for name in ("results", "registry", "logs") for path in (run.project / name).rglob("*")]
    assert len(products) > 15
    assert [path for path in products if not path.stat().st_mode & stat.S_IWGRP] == []


def test_another_member_may_take_the_lock(tmp_path):
    from promet.workflow.lock import held

    before = os.umask(0o002)
    try:
        with held(tmp_path):
            assert (tmp_path / "run.lock").stat().st_mode & stat.S_IWGRP
    finally:
        os.umask(before)


def test_caches_lie_on_the_local_disk(run):
    [caches] = run.scratch.glob("promet-caches-*")
    assert stat.S_IMODE(caches.stat().st_mode) & 0o077 == 0
    assert (caches / "matplotlib").is_dir()
    # Snakemake makes its own before it reads the Snakefile.
    assert [path.name for path in (run.home / ".cache").iterdir()] == ["snakemake"]


def test_a_cache_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(environment.os, "getuid", lambda: os.geteuid() + 1)
    for name in environment.CACHES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / f"promet-caches-{os.geteuid() + 1}").mkdir()
    environment._caches_on_local_disk()
    assert not set(environment.CACHES) & set(os.environ)


CONDA = """#!{python}
import json, os, sys
from pathlib import Path
words = sys.argv[1:]
if words[:1] == ["--version"]:
    print("conda 25.1.0")
elif words[:1] == ["info"]:
    print(json.dumps({{"conda_prefix": {root!r}, "platform": "linux-64"}}))
elif words[:1] == ["config"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    prefix = Path(words[words.index("--prefix") + 1])
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin/python3"
    python.write_text('#!/bin/sh\\necho "$0 $*" >> "{root}/calls"\\nexec {python} "$@"\\n')
    python.chmod(0o755)
"""


def test_a_rule_runs_in_its_own_environment(run, place):
    """With a stand-in for conda: its environments hold a python3 of their own, and no promet."""
    root = place / "conda"
    (root / "bin").mkdir(parents=True)
    (root / "bin/conda").write_text(CONDA.format(python=sys.executable, root=str(root)))
    (root / "bin/conda").chmod(0o755)
    (root / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    root.chmod(0o777)
    words = ["--snakefile", str(place / "source/Snakefile"), "--configfile", "config.yaml", "--cores", "1"]
    words += ["--software-deployment-method", "conda", "--conda-prefix", str(root / "envs"), "--forcerun"]
    path = f"{root}/bin{os.pathsep}{os.environ['PATH']}"
    done = run("snakemake", *words, "convert", "--", RECORD.replace("picture", "convert"), PATH=path)
    assert done.returncode == 0, done.stderr[-4000:]
    [call] = (root / "calls").read_text().splitlines()
    assert call.startswith(f"{root}/envs/")
    assert " -P -m promet.cli imaging convert --patient dev001" in call


def test_a_wrapper_of_the_site_goes_first(tmp_path, monkeypatch):
    wrapper = tmp_path / "promet"
    wrapper.write_text('#!/bin/sh\necho "in the container: $*"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("PROMET_BIN", str(tmp_path))
    environment.own_commands_first()
    said = subprocess.run(["promet", "network", "train"], capture_output=True, text=True, check=True).stdout
    assert said == "in the container: network train\n"


def test_no_file_of_the_project_folder_is_imported(tmp_path, monkeypatch):
    (tmp_path / "typer.py").write_text("raise SystemExit('imported from the project folder')\n")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.delenv("PROMET_BIN", raising=False)
    environment.own_commands_first()
    done = subprocess.run(["promet", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def other_user(study, *words: str) -> subprocess.CompletedProcess:
    """promet as root without root's right to write everywhere: what belongs to another user is not its own."""
    bounds = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    if os.geteuid() or subprocess.run([*bounds, "true"], check=False).returncode:
        pytest.skip("needs root, to make files of another user's")
    command = [*bounds, sys.executable, "-m", "promet.cli", *words, "-c", str(study.configfile)]
    environment = {**os.environ, "PROMET_BIN": str(study.folder / "bin")}
    return subprocess.run(
        command, cwd=study.folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("results", ("run", "--cores", "2")),
        ("results/run.lock", ("run", "--cores", "2")),
        ("results/patients/{}", ("run", "--cores", "2")),
        ("logs/imaging/crop/{}.log", ("run", "--cores", "2")),
        (".snakemake/metadata", ("run", "--cores", "2")),
        (".snakemake", ("run", "-n", "--verbose")),
        ("registry", ("intake",)),
        ("registry/tiny", ("freeze", "v1")),
        ("results/patients/{}", ("prune", "--yes")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_belongs_to_a_colleague_is_refused_with_a_sentence(copy, what, words):
    study = copy("study")
    patient = study.part("training")
    (study.folder / "images" / patient / "pet/1").write_text("another image")
    if words[0] == "prune":
        table = study.folder / "cohort.tsv"
        table.write_text("".join(line for line in table.read_text().splitlines(True) if patient not in line))
    elif words[0] == "run":
        study.intake()
    log = study.folder / f"logs/imaging/crop/{patient}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    (study.folder / "results/run.lock").touch()
    path = study.folder / what.format(patient)
    os.chown(path, 12345, 12345)
    study.ran()
    done = other_user(study, *words)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "E_NO_PERMISSION: You may not write or read" in said and "belongs to user 12345" in said, said
    assert "Traceback" not in said and study.ran() == set()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("E_QUOTA: Your quota is used up.", 75),
        ("E_NO_PERMISSION: You may not.", 2),
        ("E_PET_UNITS: No.", None),
    ],
)
def test_a_run_ends_with_the_exit_code_of_what_its_jobs_met(tmp_path, monkeypatch, words, code):
    from types import SimpleNamespace

    from promet.core.errors import Interrupted
    from promet.workflow.obstacles import cause

    monkeypatch.chdir(tmp_path)
    plan = SimpleNamespace(results="results", logs="logs")
    assert cause(plan, 0) is None
    (tmp_path / "logs/a.log").write_text(f"something before\npromet: {words}\n")
    found = cause(plan, 0)
    assert (found and (75 if isinstance(found, Interrupted) else 2)) == code
    assert cause(plan, 2**40) is None


@pytest.mark.parametrize("gone", environment.PARTS)
def test_a_copy_without_the_source_tree_says_what_is_missing(tmp_path, monkeypatch, gone):
    from promet.config import load
    from promet.core.errors import UsageError
    from promet.workflow.run import Snakemake

    for part in environment.PARTS:
        if part != gone:
            (tmp_path / part).mkdir(parents=True)
    monkeypatch.setattr(environment, "SOURCE", tmp_path)
    with pytest.raises(UsageError, match=f"there is no {gone}") as refusal:
        load()
        Snakemake([], [])
    assert refusal.value.code == "E_NO_SOURCE"


def test_a_wheel_says_what_is_missing(tmp_path):
    shutil.copytree(ROOT / "scripts/promet", tmp_path / "lib/site-packages/promet")
    for words in (["check"], ["run"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-m", "promet.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "lib/site-packages")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and "E_NO_SOURCE: Beside this installation" in done.stderr, done.stderr
