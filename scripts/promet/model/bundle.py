"""The locked model as one folder in the layout of a MONAI bundle; the bundle stage.

::

    configs/metadata.json       MONAI's metadata      configs/inference.json  the network for MONAI's tools
    configs/contract.json       what an input must be, and how it is prepared
    configs/training.json       digest and size of the fit set, how the network was chosen
    models/model.safetensors    weights (an ensemble: model-00.safetensors ...); models/model.json: their architecture
    models/naive_bayes.json     the fusion            models/thresholds.json  cuts of its score
    models/distribution.json    means and spreads of the training patients
    docs/README.md              the model card        docs/metrics.json       how good it is, with intervals
    reference/                  a phantom patient and the score it got
    LICENSE, SHA256SUMS         bundle.json           the record of the stage, not part of the bundle

No file names a patient or holds a row of one. A file whose content is the same stays as it is.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError
from promet.core.files import atomic, digest_file, read_json, write_text_if_changed
from promet.core.pin import pin as make_pin
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.model import card, contract, distribution, parts, reference, scale, thresholds
from promet.model.opened import Bundle
from promet.model.settings import Bundle as Settings
from promet.study.chosen import KEYS
from promet.study.forms.tables import PATIENTS, PREDICTIONS
from promet.study.ledger import FIT
from promet.study.outcome import PAPER
from promet.study.outcome import Outcome as Outcomes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """Where the finished study lies: records of dataset, select, fuse, evaluate and survive of the locked split,
    patients.parquet of gather, the patients' folder, and freeze.json of the study."""

    dataset: Path
    select: Path
    fuse: Path
    evaluate: Path
    survive: Path
    gathered: Path
    patients: Path
    freeze: Path
    made_from: dict[str, str] = field(
        default_factory=dict
    )  # digests of columns and settings (promet.workflow.locked)
    outcome: Outcomes = PAPER


def run(inputs: Inputs, settings: Settings, out: Path, pin: str) -> Sidecar:
    """Write the bundle into the folder of ``out``.

    Raises:
        IntegrityError: weights, or the parameters of the fusion, are not the recorded ones.
        UsageError: another network or fusion is locked there under the same freeze.
    """
    folder = out.parent

    def work() -> Outcome:
        fused, judged, lived = (
            _product(path, name)
            for path, name in (
                (inputs.fuse, "naive_bayes.json"),
                (inputs.evaluate, "metrics.json"),
                (inputs.survive, "survival.json"),
            )
        )
        model = _product(inputs.select, "model.json")
        table = _fitted(inputs.fuse.with_name(PREDICTIONS.file))
        converted, segmented = (
            [Sidecar.read(inputs.patients / name / f"{stage}.json") for name in table["patient"]]
            for stage in ("convert", "segment")
        )
        features = {name: list(entry["order"]) for name, entry in fused["models"].items()}
        agreed = contract.build(
            settings.imaging,
            features,
            Counter(str(record.values["organ_source"]) for record in segmented),
            Counter(str(record.values["lesion_source"]).split()[0] for record in segmented),
            Counter(table["suv_peak_source"]),
            [record.values for record in converted],
            _versions(model, inputs.select.parent, converted),
            contract.floored(fused),
            contract.learnt(inputs.outcome),
        )
        cuts = thresholds.build(judged, lived)
        shown = card.metrics(judged, lived)
        training = _training(inputs, model, fused, settings)
        spread = distribution.build(
            table,
            features["multimodal"],
            fused["log"],
            fused["cnn_score_fitted_on"],
            _images(table, inputs, converted),
        )
        weights = _weights(model, inputs.select.parent)
        chosen = _renamed(model, list(weights))
        authors = settings.model.authors
        licence = settings.model.licence
        texts = {
            "configs/metadata.json": card.metadata(training, agreed, shown, authors),
            "configs/inference.json": card.inference(),
            "configs/contract.json": agreed,
            "configs/training.json": training,
            "models/model.json": chosen,
            "models/naive_bayes.json": fused,
            "models/thresholds.json": cuts,
            "models/distribution.json": spread,
            "docs/metrics.json": shown,
        }
        _refuse_another_model(folder, texts)
        for name, content in texts.items():
            write_text_if_changed(folder / name, _text(content))
        write_text_if_changed(folder / "docs/README.md", card.readme(training, agreed, shown, cuts, authors))
        write_text_if_changed(
            folder / "LICENSE", Path(licence).read_text(encoding="utf-8") if licence else card.NO_LICENCE
        )
        for name, (path, digest) in weights.items():
            _copy(path, folder / "models" / name, digest)
        read = {name: texts[file] for name, (file, _, _) in parts.FILES.items()}
        case = reference.write(Bundle(folder, "", False, **read))
        names = [*texts, "docs/README.md", "LICENSE", *(f"models/{name}" for name in weights), *case]
        for path in (folder / "models").glob("*.safetensors"):  # of an earlier choice
            if path.name not in weights:
                path.unlink()
        sums = checksums.write(folder, names)
        values = {
            "freeze": training["freeze"],
            "model": digest_file(sums),
            "files": len(names),
            "members": len(weights),
            "fit": training["fit"],
            "made_from": inputs.made_from,
        }
        return Outcome({"checksums": sums}, values)

    upstream = {name: getattr(inputs, name) for name in ("dataset", "select", "fuse", "evaluate", "survive")}
    return run_stage("bundle", out, pin, work, upstream=upstream, packages=("numpy", "pandas", "pyarrow"))


def _refuse_another_model(folder: Path, texts: dict[str, Any]) -> None:
    """A model that is out in the world keeps its name: what differs from it is not written over it."""
    try:
        sums = checksums.read(folder)
        training = read_json(folder / "configs/training.json")
    except (IntegrityError, OSError, ValueError):
        return  # there is none, or too damaged to be told: made again
    now = texts["configs/training.json"]
    same = all(training.get(name) == now[name] for name in ("freeze", "date"))
    # The list of checksums says what was locked, also where a file was damaged since.
    parts = {"network": "models/model.json", "fusion": "models/naive_bayes.json"}
    changed = [what for what, name in parts.items() if sums.get(name) != _digest(texts[name])]
    if same and changed:
        raise UsageError(
            "E_MODEL_LOCKED",
            f"The {' and the '.join(changed)} of this run would replace the locked model {now['freeze']}",
            "the model as it was locked",
            "Undo the change of data or settings; or promet freeze NAME --into NEWSTUDY for a new model; "
            f"or, if nobody has the old one, delete {folder} and run again",
        )


def _product(record: Path, name: str) -> Any:
    """A JSON beside a record, after comparing its digest."""
    path = record.with_name(name)
    if not path.exists() or digest_file(path) != Sidecar.read(record).products.get(name):
        raise IntegrityError(
            "E_PRODUCT_DIGEST",
            f"{name} is not the one that {record.name} names",
            "the file as that stage wrote it",
            f"Delete {record.name} and run again",
        )
    return read_json(path)


def _fitted(predictions: Path) -> pd.DataFrame:
    table = PREDICTIONS.read(predictions)
    return table[table["part"].isin(FIT)].reset_index(drop=True)


def _images(table: pd.DataFrame, inputs: Inputs, converted: list[Sidecar]) -> pd.DataFrame:
    """The columns distribution.IMAGE of the fitted patients."""
    from promet.imaging import around

    found = PATIENTS.read(inputs.gathered).set_index("patient").reindex(table["patient"])
    uptake = [record.values.get("uptake_s") for record in converted]
    found["uptake_min"] = [seconds / 60 if seconds else None for seconds in uptake]
    seen = [around.measure(inputs.patients / name) for name in table["patient"]]
    for name in scale.LOGGED:
        found[name] = [values[name] for values in seen]
    return found.astype(dict.fromkeys(distribution.IMAGE, "float64"))


def _versions(model: dict[str, Any], folder: Path, converted: list[Sidecar]) -> dict[str, str]:
    """Of what made the weights and the images, not of what happens to be installed now."""
    best = model.get("members", [model])[0]
    found = dict(Sidecar.read((folder / best["weights"]).with_name("train.json")).versions)
    for name in ("SimpleITK", "pydicom"):
        found[name] = " and ".join(sorted({record.versions.get(name, "") for record in converted} - {""}))
    return found


def _training(
    inputs: Inputs, model: dict[str, Any], fused: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    fit, chosen, freeze = (
        Sidecar.read(inputs.dataset).values,
        Sidecar.read(inputs.select).values,
        read_json(inputs.freeze),
    )
    architecture = model["members"][0]["architecture"] if "members" in model else model["architecture"]
    counts = [name for part in FIT for name in (part, f"{part}_positive", f"{part}_unknown") if name in fit]
    metric = KEYS[chosen["metric"]]
    return {
        "schema": 1,
        "study": settings.study,
        "freeze": freeze["name"],
        "date": freeze["date"],
        "split": fused["split"],
        "splits": settings.splits,
        "fit": fit["fit"],
        **{name: fit[name] for name in counts},
        "patients": sum(fused["fitted_on"].values()),
        "prevalence": fused["models"]["multimodal"]["prior"][1],
        "architecture": architecture["name"],
        "selection": {
            name: chosen[name]
            for name in (
                *("rule", "metric", "candidates", "members", "variant", "seed"),
                *(metric, f"median_{metric}", "best_epoch"),
            )
        },
        "inputs": list(fused["models"]["multimodal"]["order"]),
    }


def _weights(model: dict[str, Any], folder: Path) -> dict[str, tuple[Path, str]]:
    """Name in the bundle -> (file, digest): every member of an ensemble, the best first."""
    members = model.get("members", [model])
    single = len(members) == 1 and "members" not in model
    names = ["model.safetensors"] if single else [f"model-{i:02d}.safetensors" for i in range(len(members))]
    return {
        name: (folder / member["weights"], member["digest"])
        for name, member in zip(names, members, strict=True)
    }


def _renamed(model: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """model.json with the weights' names in the bundle."""
    if "members" not in model:
        return model | {"weights": names[0]}
    members = [member | {"weights": name} for member, name in zip(model["members"], names, strict=True)]
    return {"members": members, "digest": make_pin(members)}


def _text(content: Any) -> str:
    return dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _digest(content: Any) -> str:
    return hashlib.sha256(_text(content).encode()).hexdigest()


def _copy(source: Path, target: Path, digest: str) -> None:
    if target.exists() and digest_file(target) == digest:
        return
    if not source.exists() or digest_file(source) != digest:
        raise IntegrityError(
            "E_WEIGHTS_DIGEST", "The weights are not those that were selected", "", "Run promet run again"
        )
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
