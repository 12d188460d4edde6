import numpy as np
import pytest
import torch
from pyarrow import parquet
from typer.testing import CliRunner

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import digest_file, read_json, write_json
from promet.core.sidecar import Sidecar
from promet.network import score, select, train
from promet.network.architecture import build
from promet.network.cli import app
from promet.network.data import write_table
from promet.network.score import load_model, logits
from promet.network.settings import Architecture, Select, Variant


@pytest.fixture
def candidate(tmp_path):
    """Writes the record of a training with given results."""

    def make(seed: int, area: float, loss: float, variant: str = "paper", fit: str = "f"):
        folder = tmp_path / f"network/{variant}/split-00/seed-{seed:02d}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(f"{variant} {seed}")
        values = {
            "seed": seed,
            "fit": fit,
            "architecture": {"name": "squeezenet", "groups": 2, "dropout": 0.8},
        }
        values |= {"best_epoch": 3, "epochs_run": 9, "validation_auc": area, "validation_loss": loss}
        products = {"model.safetensors": digest_file(folder / "model.safetensors")}
        Sidecar("train", "p", products=products, values=values).write(folder / "train.json")
        return folder / "train.json"

    return make


def chosen(tmp_path):
    return read_json(tmp_path / "select/split-00/model.json")


def test_best_auc_wins_ties_by_loss_then_seed(candidate, tmp_path) -> None:
    runs = [candidate(0, 0.8, 0.1), candidate(1, 0.9, 0.5), candidate(2, 0.9, 0.4), candidate(3, 0.9, 0.4)]
    record = select.run(runs[::-1], Select(), tmp_path / "select/split-00/select.json", "pin")
    model = chosen(tmp_path)
    assert (model["seed"], model["variant"]) == (2, "paper")
    assert model["weights"] == "../../network/paper/split-00/seed-02/model.safetensors"
    assert set(model) == {"weights", "digest", "variant", "seed", "architecture"}
    table = parquet.read_table(tmp_path / "select/split-00/candidates.parquet").to_pydict()
    assert table["seed"] == [2, 3, 1, 0]
    assert table["selected"] == [True, False, False, False]
    assert table["split"] == ["00"] * 4
    assert table["epochs"] == [9] * 4
    assert record.values["tied"] == 3
    assert record.values["median_validation_auc"] == 0.9


def test_model_json_stays_while_the_choice_does(candidate, tmp_path) -> None:
    runs = [candidate(0, 0.8, 0.1), candidate(1, 0.9, 0.5)]
    out = tmp_path / "select/split-00/select.json"
    select.run(runs, Select(), out, "pin")
    before = out.with_name("model.json").read_bytes()
    select.run([*runs, candidate(2, 0.7, 0.2, variant="wide")], Select(), out, "other pin")
    assert out.with_name("model.json").read_bytes() == before
    select.run([*runs, candidate(3, 1.0, 0.2, variant="wide")], Select(), out, "pin")
    assert chosen(tmp_path)["variant"] == "wide"


def test_other_fit_set_or_other_weights_are_refused(candidate, tmp_path) -> None:
    out = tmp_path / "select/split-00/select.json"
    best = candidate(0, 0.9, 0.1)
    with pytest.raises(IntegrityError, match="2 different fit sets"):
        select.run([best, candidate(1, 0.5, 0.1, fit="g")], Select(), out, "pin")
    best.with_name("model.safetensors").write_text("other")
    with pytest.raises(IntegrityError, match="seed 0"):
        select.run([best], Select(), out, "pin")
    with pytest.raises(UsageError):
        select.run([], Select(), out, "pin")
    assert not out.exists()


@pytest.fixture
def trained(make_fit, tmp_path):
    """A trained and selected network and the gathered table of its patients."""
    fit, patients = make_fit()
    settings = '{"training": {"epochs": 2}, "augmentation": {"count": 0}}'
    run = tmp_path / "network/paper/split-00/seed-01/train.json"
    call = [
        "train",
        f"--fit={fit}",
        f"--patients={patients}",
        "--seed=1",
        f"--out={run}",
        "--pin=p",
        f"--settings={settings}",
    ]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    out = tmp_path / "select/split-00/select.json"
    call = ["select", f"--candidate={run}", f"--out={out}", "--pin=p", "--settings={}"]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    names = sorted(path.name for path in patients.iterdir())
    digests = [digest_file(patients / name / "tensor.npy") for name in names]
    columns = {"patient": [*names, "Q1", "Q2"], "tensor_digest": [*digests, None, ""]}  # two without a tensor
    (tmp_path / "gather").mkdir()
    types = {"patient": "string", "tensor_digest": "string"}
    write_table(tmp_path / "gather/patients.parquet", columns, types)
    return out.with_name("model.json"), tmp_path / "gather", patients


def test_rules(candidate, tmp_path) -> None:
    runs = [candidate(seed, 0.5 + seed / 10, 0.5) for seed in range(4)]
    out = tmp_path / "select/split-00/select.json"
    for rule, seeds in (
        ("ensemble_top_k", [3, 2]),
        ("ensemble_mean", [3, 2, 1, 0]),
    ):
        record = select.run(runs, Select(rule=rule, k=2), out, "pin")
        model = chosen(tmp_path)
        assert [member["seed"] for member in model["members"]] == seeds
        assert "weights" not in model  # nobody may take the ensemble for one network
        table = parquet.read_table(out.with_name("candidates.parquet")).to_pydict()
        assert [
            seed for seed, chosen in zip(table["seed"], table["selected"], strict=True) if chosen
        ] == seeds
        assert record.values["members"] == len(seeds)
    runs[0].with_name("model.safetensors").write_text("other")
    with pytest.raises(IntegrityError, match="seed 0"):
        select.run(runs, Select(rule="ensemble_mean"), out, "pin")


def test_an_ensemble_scores_the_mean_logit(make_fit, tmp_path) -> None:
    fit, patients = make_fit(training=4, validation=4)
    settings = Variant.model_validate({"training": {"epochs": 1}, "augmentation": {"count": 0}})
    runs = [tmp_path / f"network/paper/split-00/seed-0{seed}/train.json" for seed in range(3)]
    for seed, run in enumerate(runs):
        train.run(train.Inputs(fit, patients, seed), settings, run, "pin")
    out = tmp_path / "select/split-00/select.json"
    chosen = select.run(runs, Select(rule="ensemble_mean"), out, "pin")
    table = parquet.read_table(out.with_name("candidates.parquet")).to_pydict()
    assert table["device"] == ["cpu"] * 3
    assert [row["seed"] for row in chosen.notes["durations"]] == table["seed"]
    assert all(row["seconds_per_epoch"] > 0 for row in chosen.notes["durations"])
    record = Sidecar.read(runs[0])
    record.notes["seconds"] *= 2  # a slower machine, the same networks
    record.write(runs[0])
    assert select.run(runs, Select(rule="ensemble_mean"), out, "pin").digest == chosen.digest
    volumes = torch.from_numpy(np.stack([np.load(path) for path in sorted(patients.glob("*/tensor.npy"))]))
    singles = []
    for seed in range(3):
        select.run([runs[seed]], Select(), tmp_path / f"one/{seed}/select.json", "pin")
        singles.append(logits(load_model(tmp_path / f"one/{seed}/model.json"), volumes))
    together = logits(load_model(out.with_name("model.json")), volumes)
    np.testing.assert_allclose(together, np.mean(singles, axis=0), rtol=1e-5, atol=1e-6)
    assert np.ptp(singles, axis=0).max() > 1e-3


def test_scores(trained, tmp_path) -> None:
    model, gathered, patients = trained
    out = tmp_path / "score/score.json"
    call = [
        "score",
        f"--model={model}",
        f"--gathered={gathered}",
        f"--patients={patients}",
        f"--out={out}",
        "--pin=p",
    ]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    table = parquet.read_table(tmp_path / "score/scores.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "double", "double"]
    scores = table.to_pydict()
    assert len(scores["patient"]) == 20
    assert not {"Q1", "Q2"} & set(scores["patient"])
    np.testing.assert_allclose(scores["probability"], torch.tensor(scores["cnn_score"]).sigmoid(), rtol=1e-6)
    # the validation patients have the very logits that the training recorded
    weights = model.parent / read_json(model)["weights"]
    recorded = parquet.read_table(weights.with_name("predictions.parquet")).to_pydict()
    by_patient = dict(zip(scores["patient"], scores["cnn_score"], strict=True))
    assert [by_patient[name] for name in recorded["patient"]] == recorded["logit"]


def test_score_of_one_does_not_depend_on_the_others(monkeypatch) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(Architecture())
    volumes = torch.rand(5, 2, 14, 54, 54)
    together = logits(model, volumes)
    assert logits(model, volumes[[3, 1]]).tolist() == [together[3], together[1]]
    sizes, forward = (
        [],
        model.forward,
    )  # larger batches may round the same on this processor and not on the next
    monkeypatch.setattr(model, "forward", lambda x: sizes.append(len(x)) or forward(x))
    logits(model, volumes)
    assert sizes == [1] * 5
    exact, model = volumes.double(), model.double()  # in single precision the batches round differently
    np.testing.assert_allclose(logits(model, exact, batch=5), logits(model, exact), rtol=1e-12)


def test_other_weights_or_tensors_are_refused(trained, tmp_path) -> None:
    model, gathered, patients = trained
    tensor = patients / "P002/tensor.npy"
    np.save(tensor, np.load(tensor) + 1)
    with pytest.raises(IntegrityError, match="P002"):
        score.run(score.Inputs(model, gathered, patients), None, tmp_path / "score/score.json", "pin")
    write_json(model, {**read_json(model), "digest": "0"})
    with pytest.raises(IntegrityError, match="not those that were selected"):
        score.run(score.Inputs(model, gathered, patients), None, tmp_path / "score/score.json", "pin")


def test_settings_with_a_fault_are_refused_with_a_sentence(make_fit, tmp_path) -> None:
    fit, patients = make_fit()
    call = ["train", f"--fit={fit}", f"--patients={patients}", "--seed=1", f"--out={tmp_path / 'x.json'}"]
    with pytest.raises(UsageError, match=r"training\.epoch:"):
        CliRunner().invoke(app, [*call, '--settings={"training": {"epoch": 3}}'], catch_exceptions=False)


def test_describe() -> None:
    result = CliRunner().invoke(app, ["describe", "--groups", "1"], catch_exceptions=False)
    assert "1,836,545 parameters" in result.output


def test_train_refuses_a_changed_tensor(make_fit, tmp_path) -> None:
    from promet.network.settings import Variant

    fit, patients = make_fit()
    tensor = patients / "P002/tensor.npy"
    np.save(tensor, np.load(tensor) + 1)
    with pytest.raises(IntegrityError, match="P002"):
        train.run(train.Inputs(fit, patients, 1), Variant(), tmp_path / "run/train.json", "pin")
