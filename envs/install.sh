#!/bin/sh
# Installs promet from the folder in which this file lies (make bundle), without internet:  sh bundle/install.sh [FOLDER]
# FOLDER is a virtual environment to be made, .venv if none is named. Needs the Python the bundle was made with, and its venv.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=${1:-.venv}
${PYTHON:-python3} -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-index --find-links "$here/wheels" \
    --constraint "$here/lock.txt" "promet[slurm]"
"$target/bin/promet" --version
