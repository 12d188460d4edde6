"""docs/how-to-add.md: its diffs apply to this tree, and its commands pass after them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to-add.md").read_text()


def test_examples_apply_and_pass(tmp_path):
    for name in ("scripts", "tests", "config", "docs", "envs", "workflow", "bench", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(tmp_path / "scripts")}

    def call(*words: str, stdin: str = "") -> None:
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words[:3]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    blocks = re.findall(r"^```(diff|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    diffs = [text for kind, text in blocks if kind == "diff"]
    assert len(diffs) == 5
    assert diffs[-1].count("\n+++ b/") == 5, "a stage for every patient takes five files"
    for kind, text in blocks:
        if kind == "diff":
            call("git", "apply", "-C1", stdin=text)
        else:
            call("bash", "-euxc", text)
