"""promet installs from its source tree without a network, as docs/model.md says, and proves it with a model's reference case."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from promet.core.checksums import identity

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/model.md").read_text()
NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there


def call(line, place):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "http_proxy": NOWHERE,
        "https_proxy": NOWHERE,
    }
    done = subprocess.run(
        line.split(), cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_in_an_empty_place_without_a_network(model, tmp_path):
    """The commands of the page; the wheels that were carried over are the software of this environment."""
    lines = re.findall(r"^\.venv/bin/.*$", PAGE, re.MULTILINE)
    install, proof = next(line for line in lines if line.endswith("-e promet")), lines[-1]
    # Some packages come as source, and there is nothing to build them with where there is no network.
    assert "pip wheel -w wheels -r promet/envs/lock.txt" in PAGE and "pip download -" not in PAGE
    assert "--no-index" in install and proof.endswith("verify MODEL_DIR --digest DIGEST --run")
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile", "scripts", "workflow", "envs"):
        tracked = [ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*")
        for path in (
            p for p in tracked if p.is_file() and "__pycache__" not in p.parts and ".egg-info" not in str(p)
        ):
            target = tmp_path / "promet" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    site = next((tmp_path / ".venv/lib").glob("python*/site-packages"))
    (site / "carried.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    call(install.replace(".venv/bin/pip", ".venv/bin/python -m pip"), tmp_path)
    (tmp_path / "model").symlink_to(model)
    said = call(proof.replace("MODEL_DIR", "model").replace("DIGEST", identity(model)), tmp_path)
    assert "reference case: log-odds" in said and "this is the model that was locked" in said
