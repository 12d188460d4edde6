# make demo and make test need python3, pip, make and git only; everything else is set up by them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
TARGET ?= training
JOBS ?= $(shell nproc)

.PHONY: env demo test quick coverage test-slurm test-hospital bundle image lint docs bench clean

env: .venv/ready

# Made again when the lock or the package's own declaration changes.
.venv/ready: envs/lock.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r envs/lock.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The main job on a phantom cohort, from DICOM to report.html; scripts/promet/commands/demo.py says in which order.
demo: env
	$(BIN)/promet demo

test: env
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8

# For the loop while editing: about a minute on two cores. tests/quick lists what runs.
quick: env
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 @tests/quick

# make test and, at its end, the lines of scripts/promet that ran, in per cent; no gate.
coverage: env
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --cov --cov-report=
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of the lines in scripts/promet"

# A real SLURM for the time of the test: two CPU nodes and a node with two GPUs, all on this machine. Needs root, and apt for
# what is missing of SLURM; says so and skips where there is neither.
test-slurm: env
	PROMET_TEST_SLURM=1 $(BIN)/python -m pytest tests/slurm -n 0 -rs --durations 5

# A real Orthanc, dciodvfy, dcmqi and roc-validator, below build/hospital: nothing is installed. What cannot be had is named, and its tests skip.
test-hospital: env
	@begin=$$SECONDS; bash tests/hospital/real/tools.sh build/hospital; \
	PROMET_TEST_HOSPITAL=build/hospital $(BIN)/python -m pytest tests/hospital/real -n 0 -rs --durations 5; \
	echo "test-hospital: $$(( (SECONDS - begin + 59) / 60 )) minutes"

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/python -m promet.documents --check

# build/bundle: wheels of promet and of all it needs, the lock and install.sh, for a machine without internet. The others' wheels are
# fetched again when the lock changes. For a GPU make it with a torch that has CUDA, which is what the package index gives on Linux.
bundle: env build/bundle/lock.txt
	rm -f build/bundle/wheels/promet-* build/bundle/promet-*
	$(BIN)/python -m hatchling build -d build/bundle/wheels -t wheel
	$(BIN)/python -m hatchling build -d build/bundle -t sdist
	cp envs/install.sh build/bundle
	@echo "build/bundle: $$(du -sh build/bundle | cut -f1)"

build/bundle/lock.txt: envs/lock.txt pyproject.toml
	rm -rf build/bundle build/dependencies
	$(BIN)/python -m hatchling build -d build/dependencies -t wheel
	$(BIN)/pip wheel --quiet --disable-pip-version-check -w build/bundle/wheels -c envs/lock.txt "$$(ls $$PWD/build/dependencies/promet-*.whl)[slurm]"
	cp envs/lock.txt $@

# localhost/promet with buildah, and nothing from a registry of images: its base is Debian's packages. Needs root, buildah and
# mmdebstrap. SUITE must have the Python of .venv. An image of the same bundle, base and Containerfile is not built again.
SUITE ?= bookworm
image: bundle
	SUITE=$(SUITE) bash envs/image.sh

# The pages as a site in build/site; a link or heading that does not exist is an error.
docs: .venv/docs
	rm -rf build/pages build/site
	mkdir -p build/pages
	cp --parents README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff config/* docs/* profiles/README.md build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

.venv/docs: .venv/ready envs/docs.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r envs/docs.txt -c envs/lock.txt
	touch $@

# TARGET=training | gpu (says so where there is none) | seeds (fifty of them, 10 minutes) | imaging | scale | coverage | inputs (what a locked
# model notices, 5 minutes) | null (does chance stay chance, 20 minutes) | null-time | effect | all; JSON in bench/results/.
bench: env
	$(BIN)/python -m bench $(TARGET)

clean:
	rm -rf demo build .pytest_cache .ruff_cache .mypy_cache
