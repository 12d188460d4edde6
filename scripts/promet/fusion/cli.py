"""promet fusion: naive Bayes over CNN score, clinic and PET."""

from __future__ import annotations

from pathlib import Path

import typer

from promet.core.settings import from_json
from promet.study.outcome import apart

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Naive Bayes over the CNN score, the clinic and the PET."
)


@app.callback()
def _room() -> None:
    """Keep the commands' names even if there is only one."""


@app.command()
def fuse(
    *,
    cohort: Path = typer.Option(..., help="cohort table (TSV)"),
    ledger: Path = typer.Option(..., help="split ledger (TSV)"),
    split: int = typer.Option(..., help="number of the split"),
    scores: Path = typer.Option(..., help="scores.parquet of the selected network"),
    measures: Path = typer.Option(..., help="patients.parquet of the gather stage"),
    out: Path = typer.Option(..., help="sidecar to write; products lie beside it"),
    pin: str = typer.Option("", help="what the job uses, stored as given"),
    settings: str = typer.Option("{}", help="settings of the fusion, JSON"),
    locked: Path | None = typer.Option(None, help="naive_bayes.json to use as it is: nothing is fitted"),
) -> None:
    """Fit the naive Bayes models on training + validation and predict every patient.

    Example: promet fusion fuse --cohort cohort.tsv --ledger registry/main/ledger.tsv --split 0
    --scores results/main/score/split-00/scores.parquet --measures results/main/gather/patients.parquet
    --out results/main/fusion/split-00/fuse.json
    """
    from promet.fusion.fuse import Inputs, run
    from promet.fusion.settings import Fusion

    settings, outcome = apart(settings)
    inputs = Inputs(cohort, ledger, split, scores, measures, locked, outcome)
    run(inputs, from_json(Fusion, settings), out, pin)


@app.command()
def explain(
    *,
    fuse_dir: Path = typer.Option(..., help="folder of fuse.json"),
    out: Path = typer.Option(..., help="sidecar to write; shap.parquet lies beside it"),
    pin: str = typer.Option("", help="what the job uses, stored as given"),
) -> None:
    """Exact Shapley values of the multimodal model, and the ranking of its inputs.

    Example: promet fusion explain --fuse-dir results/main/fusion/split-00
    --out results/main/fusion/split-00/explain.json
    """
    from promet.fusion.explain import run

    run(fuse_dir, None, out, pin)


@app.command()
def permute(
    *,
    fuse_dir: Path = typer.Option(..., help="folder of fuse.json"),
    out: Path = typer.Option(..., help="sidecar to write; permutation.json lies beside it"),
    pin: str = typer.Option("", help="what the job uses, stored as given"),
    settings: str = typer.Option("{}", help="settings of the fusion, JSON"),
) -> None:
    """Null distribution of the fused AUC: the models refitted on permuted labels, judged on the test part.

    Example: promet fusion permute --fuse-dir results/main/fusion/split-00
    --out results/main/fusion/split-00/permute.json
    """
    from promet.fusion.permute import run
    from promet.fusion.settings import Fusion

    settings, _ = apart(settings)
    run(fuse_dir, from_json(Fusion, settings), out, pin)
