"""After the choice: every network and every rule, for every patient."""

import numpy as np
import pytest
import torch
from pyarrow import parquet
from typer.testing import CliRunner

from promet.core.errors import IntegrityError
from promet.core.files import digest_file
from promet.network import hindsight, select, train
from promet.network.cli import app
from promet.network.data import write_table
from promet.network.score import load_model, logits
from promet.network.settings import Select, Variant


@pytest.fixture
def runs(make_fit, tmp_path):
    """Three trained networks, the gathered table and the patients' folder."""
    fit, patients = make_fit(training=4, validation=4)
    settings = Variant.model_validate({"training": {"epochs": 1}, "augmentation": {"count": 0}})
    records = [tmp_path / f"network/paper/split-00/seed-0{seed}/train.json" for seed in range(3)]
    for seed, record in enumerate(records):
        train.run(train.Inputs(fit, patients, seed), settings, record, "pin")
    names = sorted(path.name for path in patients.iterdir())
    digests = [digest_file(patients / name / "tensor.npy") for name in names]
    columns = {"patient": [*names, "Q1"], "tensor_digest": [*digests, ""]}  # one without a tensor
    (tmp_path / "gather").mkdir()
    write_table(
        tmp_path / "gather/patients.parquet", columns, {"patient": "string", "tensor_digest": "string"}
    )
    return records, tmp_path / "gather", patients


def test_each_rule_is_what_it_would_have_given(runs, tmp_path) -> None:
    records, gathered, patients = runs
    chosen, out = tmp_path / "select/split-00/select.json", tmp_path / "hindsight/split-00/hindsight.json"
    select.run(records, Select(), chosen, "pin")
    call = [
        "hindsight",
        *[f"--candidate={record}" for record in records],
        f"--select={chosen}",
        '--settings={"k": 2}',
    ]
    call += [f"--gathered={gathered}", f"--patients={patients}", f"--out={out}"]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    found = parquet.read_table(out.with_name("rules.parquet")).to_pydict()
    volumes = torch.from_numpy(np.stack([np.load(path) for path in sorted(patients.glob("*/tensor.npy"))]))
    for rule, members in (("best", 1), ("ensemble_top_k", 2), ("ensemble_mean", 3)):
        select.run(records, Select(rule=rule, k=2), tmp_path / rule / "select.json", "pin")
        expected = logits(load_model(tmp_path / rule / "model.json"), volumes)
        rows = [row for row, name in enumerate(found["rule"]) if name == rule]
        assert {found["members"][row] for row in rows} == {members}
        assert [found["patient"][row] for row in rows] == sorted(path.name for path in patients.iterdir())
        np.testing.assert_allclose([found["logit"][row] for row in rows], expected, rtol=1e-5, atol=1e-5)
    ranking = parquet.read_table(chosen.with_name("candidates.parquet")).to_pydict()["seed"]
    by_run = parquet.read_table(out.with_name("runs.parquet")).to_pydict()
    assert by_run["seed"] == [seed for seed in ranking for _ in range(8)]
    assert by_run["logit"][:8] == [
        found["logit"][row] for row, name in enumerate(found["rule"]) if name == "best"
    ]


def test_nothing_before_the_choice_nor_beside_it(runs, tmp_path) -> None:
    records, gathered, patients = runs
    chosen, out = tmp_path / "select/split-00/select.json", tmp_path / "hindsight/hindsight.json"
    with pytest.raises(FileNotFoundError):
        hindsight.run(hindsight.Inputs(records, chosen, gathered, patients), Select(), out, "pin")
    select.run(records[:2], Select(), chosen, "pin")
    with pytest.raises(IntegrityError, match="ranked 2 networks, not these 3"):
        hindsight.run(hindsight.Inputs(records, chosen, gathered, patients), Select(), out, "pin")
    assert not out.exists()
