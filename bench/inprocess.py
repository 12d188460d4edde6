"""Runs a whole study in this one process: the same commands as the rules, without a start-up per job.

For simulations of many small cohorts and for the quick end-to-end test. Snakemake's own dry run says the commands.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from promet.workflow.stages import STAGES

SNAKEFILE = Path(__file__).parents[1] / "Snakefile"


def commands(configfile: Path) -> list[tuple[dict[str, str], list[str]]]:
    """Environment and arguments of every promet command that Snakemake would run now, in an order that works."""
    call = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--snakefile", str(SNAKEFILE)]
    done = subprocess.run(
        [*call, "--configfile", str(configfile)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found = []
    for line in done.stdout.splitlines():
        if not line.startswith("Shell command: "):
            continue
        command = line.removeprefix("Shell command: ")
        words = shlex.split(
            re.sub(r"\$\(dirname ([^)]+)\)", lambda found: os.path.dirname(found[1]), command)
        )
        start = words.index("promet") if "promet" in words else len(words)
        told = dict(word.split("=", 1) for word in words[:start] if "=" in word)
        if start < len(words):
            found.append((told, words[start + 1 : words.index(">>")]))
    if not found:
        raise RuntimeError("Snakemake's dry run names no command")
    stages = list(STAGES)
    return sorted(found, key=lambda job: stages.index("report" if job[1][0] == "report" else job[1][1]))


def needed(stage: str) -> set[str]:
    """The stage and all that it reads."""
    return {stage}.union(*(needed(name) for name in STAGES[stage].before))


def run(configfile: Path, folder: Path, until: str = "") -> None:
    """Run intake and every job of a study, or those that a stage needs, with ``folder`` as the working directory."""
    from promet.app import app

    def call(words: list[str]) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            code = app(words, standalone_mode=False)
        if code:
            raise RuntimeError(f"promet {words[0]} ended with {code}")

    before = Path.cwd()
    os.chdir(folder)
    try:
        call(["intake", "-c", str(configfile)])
        for told, words in commands(configfile):
            if until and (len(words) < 2 or words[1] not in needed(until)):
                continue
            os.environ.update(told)
            call(words)
            for name in told:
                del os.environ[name]
    finally:
        os.chdir(before)
