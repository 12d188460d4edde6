"""Commands of the network room."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promet.core.defaults import SHAPE, SPACING_MM
from promet.core.settings import from_json
from promet.study.outcome import apart

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, select and score the networks.")

Out = Annotated[Path, typer.Option(help="The record to write; products lie beside it.")]
Pin = Annotated[str, typer.Option(help="Stored in the record.")]
Patients = Annotated[Path, typer.Option(help="Folder with one folder of products per patient.")]
SettingsJson = Annotated[
    str, typer.Option("--settings", help="Settings as JSON; what is left out has its default.")
]
Split = Annotated[int, typer.Option(min=0, help="Number of the split.")]


@app.command()
def dataset(
    patients: Patients,
    ledger: Annotated[Path, typer.Option(help="The split ledger.")],
    cohort: Annotated[Path, typer.Option(help="The patient table.")],
    split: Split,
    out: Out,
    buckets: Annotated[str, typer.Option(help="Folder of the buckets, when patients share image jobs.")] = "",
    locked_fit: Annotated[str, typer.Option(help="Digest of the fit set of the study's locked model.")] = "",
    pin: Pin = "",
    settings: SettingsJson = "{}",
) -> None:
    """Collect the fit set of a split: members.parquet and fit.json.

    Example: promet network dataset --patients results/patients --ledger registry/paper/ledger.tsv --cohort cohort.tsv
    --split 0 --out results/paper/dataset/split-00/dataset.json
    """
    from promet.network.dataset import Inputs, run
    from promet.network.settings import Dataset

    settings, outcome = apart(settings)
    inputs = Inputs(patients, ledger, cohort, split, Path(buckets) if buckets else None, locked_fit, outcome)
    run(inputs, from_json(Dataset, settings), out, pin)


@app.command()
def train(
    fit: Annotated[Path, typer.Option(help="fit.json of the split.")],
    patients: Patients,
    seed: Annotated[int, typer.Option(min=0, help="Number of the run.")],
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
    save_every: Annotated[
        int, typer.Option(min=1, help="Epochs between two saved states; no effect on the result.")
    ] = 5,
    keep_state: Annotated[
        bool, typer.Option("--keep-state", help="Leave the saved state beside the record.", hidden=True)
    ] = False,
) -> None:
    """Train one seed: model.safetensors, history.parquet, predictions.parquet. Interrupted (exit 75), it goes on when called again.

    With PROMET_TENSORBOARD=FOLDER each epoch is also noted there for TensorBoard.

    Example: promet network train --fit results/paper/dataset/split-00/fit.json --patients results/patients --seed 7
    --out results/paper/network/paper/split-00/seed-07/train.json
    """
    from promet.network.settings import Variant
    from promet.network.train import Inputs, run

    settings, outcome = apart(settings)
    inputs = Inputs(fit, patients, seed, save_every, outcome.learn, keep_state)
    run(inputs, from_json(Variant, settings), out, pin)


@app.command()
def select(
    candidate: Annotated[list[Path], typer.Option(help="A train.json or its folder; given several times.")],
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
) -> None:
    """Choose the network with the best validation AUC: model.json, candidates.parquet.

    Example: promet network select --candidate network/paper/split-00/seed-00 --candidate network/paper/split-00/seed-01
    --out select/split-00/select.json
    """
    from promet.network.select import run
    from promet.network.settings import Select

    settings, _ = apart(settings)
    run(candidate, from_json(Select, settings), out, pin)


@app.command()
def score(
    model: Annotated[Path, typer.Option(help="model.json of the selection.")],
    gathered: Annotated[Path, typer.Option(help="Folder of patients.parquet.")],
    patients: Patients,
    out: Out,
    pin: Pin = "",
) -> None:
    """Score every patient with the chosen network: scores.parquet.

    Example: promet network score --model select/split-00/model.json --gathered gather --patients results/patients
    --out score/split-00/score.json
    """
    from promet.network.score import Inputs, run

    run(Inputs(model, gathered, patients), None, out, pin)


@app.command()
def hindsight(
    candidate: Annotated[list[Path], typer.Option(help="A train.json or its folder; given several times.")],
    select: Annotated[Path, typer.Option(help="Record of the selection among them.")],
    gathered: Annotated[Path, typer.Option(help="Folder of patients.parquet.")],
    patients: Patients,
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
) -> None:
    """After the choice: what every network and every rule would have said of every patient: runs.parquet, rules.parquet.

    Example: promet network hindsight --candidate network/paper/split-00/seed-00 --candidate network/paper/split-00/seed-01
    --select select/split-00/select.json --gathered gather --patients results/patients --out hindsight/split-00/hindsight.json
    """
    from promet.network.hindsight import Inputs, run
    from promet.network.settings import Select

    run(Inputs(candidate, select, gathered, patients), from_json(Select, settings), out, pin)


@app.command()
def attention(
    model: Annotated[Path, typer.Option(help="model.json of the selection.")],
    gathered: Annotated[Path, typer.Option(help="Folder of patients.parquet.")],
    patients: Patients,
    patient: Annotated[list[str], typer.Option(help="Whose image; given several times.")],
    out: Out,
    pin: Pin = "",
    spacing: Annotated[
        tuple[float, float, float], typer.Option(help="mm per voxel in z, y, x, for the pictures.")
    ] = SPACING_MM,
) -> None:
    """Where in a patient's image the logit comes from: attention.npy, attention.parquet (shares inside lesion and organ), PATIENT.png.

    Example: promet network attention --model select/split-00/model.json --gathered gather --patients results/patients
    --patient P001 --out attention/split-00/attention.json
    """
    from promet.network.attention import Inputs, run

    run(Inputs(model, gathered, patients, patient, spacing), None, out, pin)


@app.command()
def describe(
    architecture: Annotated[str, typer.Option(help="Name of the network.")] = "squeezenet",
    groups: Annotated[int, typer.Option(help="Groups of its 3x3x3 expand convolutions: 1, 2, 4 or 8.")] = 2,
    shape: Annotated[tuple[int, int, int, int], typer.Option(help="Channels, z, y, x.")] = (2, *SHAPE),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Parameters, layer shapes and operations of a network.

    Example: promet network describe --groups 4
    """
    from promet.core.pin import canonical
    from promet.network.architecture import describe as run
    from promet.network.settings import Architecture

    found = run(from_json(Architecture, canonical({"name": architecture, "groups": groups})), shape)
    if json:
        print(canonical(found))
        return
    for layer in found["layers"]:
        print(f"{layer['layer']:18} {'x'.join(map(str, layer['shape'])):16} {layer['parameters']:>10,}")
    print(f"{found['parameters']:,} parameters, {found['forward_flops'] / 1e6:,.0f} MFLOP forward")
