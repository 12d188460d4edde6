"""The real command ``promet imaging bucket``, but each stage it calls is the stand-in."""

import subprocess
import sys
from pathlib import Path

from promet.cli import main
from promet.core.pin import canonical
from promet.imaging import bucket

STANDIN = [sys.executable, "-S", "-E", str(Path(__file__).with_name("standin.py")), "imaging"]


def maker(inputs, settings, _):
    imaging = settings.model_dump(mode="json")

    def make(stage, patient, out, pin):
        out.parent.mkdir(parents=True, exist_ok=True)  # Snakemake does it for a job of its own
        words = {"patient": patient, "registry": inputs.registry, "out": out, "pin": pin}
        if stage in imaging:
            words["settings"] = canonical(imaging[stage])
        if stage not in ("convert", "segment"):
            del words["registry"]
        given = [part for name, value in words.items() for part in (f"--{name}", str(value))]
        subprocess.run([*STANDIN, stage, *given], check=True)

    return make


bucket.maker = maker
sys.argv[0] = "promet"
with open("runs.log", "a") as log:
    log.write(f"bucket {sys.argv[sys.argv.index('--bucket') + 1]}\n")
main()
