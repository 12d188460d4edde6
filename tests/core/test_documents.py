"""Generated files are those of the code, and the shipped configuration is the paper's."""

import re
from pathlib import Path

import pytest

from promet import documents
from promet.config import Config, load, merge, parse
from promet.core.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", documents.FILES)
def test_file_is_up_to_date(name):
    assert (ROOT / name).read_text() == documents.FILES[name](), "run python -m promet.documents"


def test_shipped_configuration_equals_the_defaults():
    assert load() == Config()


def test_every_key_has_its_reason():
    def missing(model, prefix=""):
        for name, field in model.model_fields.items():
            kind = field.annotation
            nested = isinstance(kind, type) and hasattr(kind, "model_fields")
            if nested:
                yield from missing(kind, f"{prefix}{name}.")
            elif not field.description:
                yield prefix + name

    assert list(missing(Config)) == []


def test_the_papers_numbers():
    config = load()
    assert config.split.ratios == (0.5, 0.2, 0.3)
    assert config.imaging.crop.shape == (14, 54, 54)
    network = config.network
    assert (network.seeds, network.training.epochs, network.training.patience) == (50, 300, 140)
    assert (network.training.learning_rate, network.architecture.dropout) == (1e-4, 0.8)
    assert (network.augmentation.count, len(network.augmentation.transforms)) == (7, 15)
    assert len(config.fusion.models["multimodal"]) == 7
    assert (config.evaluation.confidence, config.evaluation.horizon_months) == (0.95, 48)


@pytest.mark.parametrize("name", ["demo", "sarcoma"])
def test_shipped_studies_are_valid(name):
    assert load([ROOT / f"config/{name}.yaml"]).study == name


def test_null_switches_an_entry_off():
    config = parse(merge(Config().model_dump(), {"fusion": {"models": {"clinical": None}}}))
    assert list(config.fusion.models) == ["multimodal"]


def test_all_faults_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("network: {seeds: 0}\nimging: {}\nsplit: {ratios: [0.5, 0.2, 0.2]}\n")
    with pytest.raises(UsageError) as caught:
        load([path])
    for word in ("network.seeds", "imging", "add up to 1"):
        assert word in str(caught.value)


def test_conda_files_are_pinned_to_the_lock():
    locked = set((ROOT / "envs/lock.txt").read_text().splitlines())
    for room in documents.ENVIRONMENTS:
        pins = re.findall(r"^      - (\S+)$", (ROOT / f"envs/{room}.yaml").read_text(), re.MULTILINE)
        assert len(pins) >= 6 and set(pins) <= locked
