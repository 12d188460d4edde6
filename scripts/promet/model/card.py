"""The papers of the bundle: metrics without single patients, the model card, MONAI's metadata.json and inference.json."""

from __future__ import annotations

from typing import Any

from promet.core.words import count
from promet.model.contract import voxels
from promet.study.chosen import KEYS, WORDS
from promet.study.forms.metrics import Metrics
from promet.study.forms.survival import Survival

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
RESEARCH = (
    "Research use only. Not a medical device: the score must not guide the care of a patient. Patents may apply to the "
    "method; the licence of the code grants none."
)
REFERENCES = ["Juarez Casillas et al., PLoS One 21(6): e0349825, 2026"]
NO_LICENCE = (
    "No licence has been given for this model. Without one nobody but its owner may use, copy or pass it on.\n"
    "The owner names a file with the key model.licence of the configuration; it then stands here.\n"
)
PAPER = "synchronous"  # the section of what the paper's model learns
SEEN = "_validation"  # ends the section of the patients who chose the network


def shown(found: Metrics) -> tuple[str, list[str]]:
    """The section of what is learnt, and it with the others of patients the model has not seen."""
    first = next(key.removesuffix(SEEN) for key in found["sections"] if key.endswith(SEEN))
    others = [
        key
        for key in found["sections"]
        if not key.startswith(f"{first}_") and key not in (first, "prospective")
    ]
    return first, [first, *others]


def metrics(found: Metrics, survival: Survival) -> dict[str, Any]:
    """What metrics.json and survival.json say of patients the model has not seen, without ROC and survival curves.

    A curve's steps are single patients' scores and times, so none leaves the house.
    """
    sections = {}
    first, keys = shown(found)
    for key in keys:
        part = found["sections"][key]
        advice = part["interval_advice"]
        sections[key] = {
            **{
                name: part[name]
                for name in ("title", "status", "reason", "n", "positives", "negatives", "notes")
            },
            "scores": {
                name: {
                    "title": found["scores"][name]["title"],
                    **{k: score[k] for k in ("n", "positives", "negatives", "auc", "logit", "bootstrap")},
                    "delong": {k: score["delong"][k] for k in ("low", "high", "p")},
                    "mann_whitney": {"p": score["mann_whitney"]["p"]},
                }
                for name, score in part["scores"].items()
            },
            "calibration": {
                name: {
                    k: stages["before"][k]
                    for k in (
                        "n",
                        "mean_probability",
                        "observed",
                        "expected_observed",
                        "intercept",
                        "slope",
                        "brier",
                    )
                }
                for name, stages in part["calibration"].items()
            },
            "advice": advice["sentence"] if advice else None,
        }
    return {
        "schema": 1,
        "confidence": found["confidence"],
        "horizon_months": found["horizon_months"],
        "order": found["order"],
        "sections": sections,
        **({"primary": first} if first != PAPER else {}),
        "survival": {
            **{k: survival[k] for k in ("status", "reason", "n", "events", "concordance", "notes")},
            "cox": survival["cox"]
            and {k: survival["cox"][k] for k in ("hazard_ratio", "low", "high", "p", "n", "events")},
        },
    }


def statement(training: dict[str, Any], outcome: dict[str, Any] | None = None) -> str:
    """What the probability is a probability of; ``outcome`` of the contract, None = the paper's."""
    if outcome:
        within = (
            f" within {outcome['horizon_months']:g} months of the scan" if "horizon_months" in outcome else ""
        )
        before = f", before {outcome['competing']}" if outcome.get("competing") else ""
        return (
            f"Probability of {outcome['called']}{within}{before}, from the primary tumour in the PSMA PET, by naive Bayes over the "
            f"network's score, the clinic and the PET. Fitted on {count(training['patients'], 'patient')}, whose probability of "
            f"{outcome['called']}{within} is {training['prevalence']:.0%}: among patients with less it is too high. "
            + RESEARCH
        )
    return (
        "Probability of metastases on the same PSMA PET scan, from the primary tumour, by naive Bayes over the network's "
        f"score, the clinic and the PET. Fitted on {count(training['patients'], 'patient')} of whom {training['prevalence']:.0%} had metastases: among patients with fewer "
        "metastases it is too high. " + RESEARCH
    )


def metadata(
    training: dict[str, Any], contract: dict[str, Any], judged: dict[str, Any], authors: str
) -> dict[str, Any]:
    """configs/metadata.json after the MONAI bundle specification."""
    shape, version = contract["network"]["shape_zyx"], contract["versions"]
    packages = {name: version[name] for name in ("promet", "SimpleITK", "pydicom", "safetensors")}
    return {
        "schema": SCHEMA,
        "name": f"promet {training['study']}",
        "version": training["freeze"],
        "changelog": {training["freeze"]: f"frozen on {training['date']}"},
        "monai_version": version.get("monai", ""),
        "pytorch_version": version["torch"].split("+")[0],
        "numpy_version": version["numpy"],
        "required_packages_version": packages,
        "task": "Metastases of prostate cancer predicted from the primary tumour in PSMA PET",
        "description": statement(training, contract.get("outcome")),
        "authors": authors or "not stated",
        "copyright": f"Copyright (c) {authors}" if authors else "not stated",
        "data_source": "patients of the training site; not public",
        "data_type": "DICOM PET with masks, or volumes",
        "image_classes": "; ".join(contract["network"]["channels"]),
        "pred_classes": "one logit",
        "eval_metrics": {
            f"{key}_{name}": value
            for key, section in judged["sections"].items()
            if (score := section["scores"].get("multimodal")) and score["auc"] is not None
            for name, value in (
                ("auc", score["auc"]),
                ("auc_low", score["delong"]["low"]),
                ("auc_high", score["delong"]["high"]),
                ("n", score["n"]),
            )
        },
        "intended_use": RESEARCH,
        "references": REFERENCES,
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "PT",
                    "num_channels": 2,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": dict(zip("01", contract["network"]["channels"], strict=True)),
                }
            },
            "outputs": {
                "pred": {
                    "type": "series",
                    "format": "logit",
                    "modality": "n/a",
                    "num_channels": 1,
                    "spatial_shape": [1],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {"0": "logit of metastases on the scan"},
                }
            },
        },
    }


def inference() -> dict[str, Any]:
    """configs/inference.json: the network alone, for MONAI's tools; promet predict is the way to a patient's score."""
    return {
        "imports": ["$import torch", "$from promet.network.score import load_model"],
        "bundle_root": ".",
        "device": "cpu",
        "network_def": "$torch.nn.Sequential(load_model(@bundle_root + '/models/model.json'), "
        "torch.nn.Unflatten(0, (-1, 1)))",
        "network": "$@network_def.to(@device)",
        "inferer": {"_target_": "SimpleInferer"},
    }


def _number(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _span(entry: dict[str, Any]) -> str:
    limits = [entry["low"], entry["high"]]
    if limits == [None, None]:
        return "–"
    return " to ".join("unknown" if limit is None else f"{limit:.2f}" for limit in limits)


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _number(value, 3)


def _scores(judged: dict[str, Any], key: str) -> list[str]:
    section = judged["sections"][key]
    lines = [f"### {section['title']}", ""]
    if section["status"] != "ok":
        return [*lines, section["reason"], ""]
    level = f"{judged['confidence']:.0%}"
    lines += [
        f"{count(section['n'], 'patient')}, {section['positives']} with the outcome.",
        "",
        f"| score | patients | AUC | DeLong {level} | logit {level} | bootstrap {level} | p (Mann-Whitney) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in judged["order"]:
        score = section["scores"].get(name)
        if score is not None and score["n"]:
            cells = [
                score["title"],
                str(score["n"]),
                _number(score["auc"]),
                *(_span(score[kind]) for kind in ("delong", "logit", "bootstrap")),
                _p(score["mann_whitney"]["p"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    fit = section["calibration"].get("multimodal")
    if fit and fit["slope"]["value"] is not None:
        lines += [
            "",
            f"Calibration: slope {_number(fit['slope']['value'])} ({_span(fit['slope'])}), 1 is right; mean probability "
            f"{fit['mean_probability']:.0%}, observed {fit['observed']:.0%}; Brier score {_number(fit['brier'], 3)}.",
        ]
    return [*lines, *(["", section["advice"]] if section["advice"] else []), ""]


def readme(
    training: dict[str, Any],
    contract: dict[str, Any],
    judged: dict[str, Any],
    thresholds: dict[str, Any],
    authors: str,
) -> str:
    """docs/README.md, the model card."""
    chosen, network, pet = training["selection"], contract["network"], contract["pet"]
    metric = KEYS[chosen["metric"]]
    survival = judged["survival"]
    lines = [
        f"# {training['study']}, {training['freeze']}",
        "",
        statement(training),
        "",
        "## Use",
        "",
        "```sh",
        "promet verify MODEL_DIR",
        "promet predict MODEL_DIR --pet PET --prostate MASK --lesions MASK --clinical row.json",
        "promet predict MODEL_DIR --cohort new.tsv --out FOLDER",
        "```",
        "",
        "An input outside the contract is refused with a sentence. Each answer says how far the patient lies from the",
        "training patients. `sha256sum -c SHA256SUMS` checks the files without promet, `promet verify MODEL_DIR --run` the",
        "installation, with a phantom patient in `reference/`. Whether the folder is the one that was locked only its digest",
        "says, received on another way: `--digest`.",
        "",
        "For: research on prognosis before treatment, in patients like those below. Not for: treatment decisions, patients already",
        "treated, other tracers than those of training, scans without a prostate mask.",
        "",
        "## The model",
        "",
        f"* Network: {training['architecture']}, {len(network['channels'])} channels "
        f"({'; '.join(network['channels'])}), {' x '.join(map(str, network['shape_zyx']))} voxels (z, y, x) of "
        f"{' x '.join(f'{mm:g}' for mm in network['spacing_zyx_mm'])} mm.",
        f"* Chosen by rule `{chosen['rule']}` among {count(chosen['candidates'], 'training')} on the validation part: "
        f"{chosen['members']} network{'s' if chosen['members'] > 1 else ''}, best validation {WORDS[chosen['metric']]} "
        f"{_number(chosen[metric])}, median {_number(chosen[f'median_{metric}'])}.",
        f"* Fusion: naive Bayes over {', '.join(training['inputs'])}; a missing value is left out.",
        *(
            f"* `{name}` ({model}): too few or nearly equal values in patients {' and in those '.join(classes)} the outcome; "
            "the spread there is that of all fitted patients together."
            for model, found in contract.get("floored", {}).items()
            for name, classes in found.items()
        ),
        f"* Network trained on {count(training['training'], 'patient')} ({training['training_positive']} with metastases), chosen on "
        f"{training['validation']} ({training['validation_positive']}). Digest of this set: `{training['fit']}`.",
        f"* Split {training['split']:02d}, "
        + (
            f"the first of {training['splits']}, fixed before any result was seen; the others show how much a split matters."
            if training["splits"] > 1
            else "the only one."
        ),
        f"* Frozen as {training['freeze']} on {training['date']}, promet {contract['versions'].get('promet', '')}. "
        f"Authors: {authors or 'not stated'}.",
        "",
        "## Contract",
        "",
        f"* PET: {pet['modality']}; {pet['unit']}."
        + (
            f" Voxels in training (x, y, z): {voxels(pet['voxel_mm'])} mm; more than "
            f"{pet['voxel_mm']['factor']:g} times longer or {pet['voxel_mm']['finer']:g} times shorter is refused."
            if pet["voxel_mm"]
            else ""
        ),
        *(
            [
                f"* Half-lives of the nuclides in training: {', '.join(f'{life:g}' for life in pet['half_lives_s'])} s."
            ]
            if pet["half_lives_s"]
            else []
        ),
        f"* Tracer in training: {_counts(pet['tracers'])}; another class is refused.",
        f"* Prostate: {contract['prostate']}; in training {_counts(contract['prostate_masks'])}.",
        f"* Lesions: {_lesions(contract['lesions'])}",
        *(
            f"* `{name}`: {entry['meaning']}; {entry['expected']}."
            for name, entry in contract["clinical"].items()
        ),
        "",
        "## Cuts",
        "",
        *(
            f"* {cut['name']}: {', '.join(f'{limit:.3f}' for limit in cut['thresholds'])} (log-odds), {cut['origin']}, "
            f"{count(cut['patients'], 'patient')}."
            for cut in thresholds["cuts"]
        ),
        *(f"* {sentence}" for sentence in thresholds["absent"]),
        "",
        "## How good it is",
        "",
        "On patients who took no part in training or choice:",
        "",
        *(line for key in judged["sections"] for line in _scores(judged, key)),
    ]
    if survival["status"] == "ok":
        cox = survival["cox"]
        lines += [
            f"Progression within {judged['horizon_months']:g} months: {survival['events']} of {survival['n']} patients. Hazard "
            f"ratio per standard deviation {_number(cox['hazard_ratio'])} ({_span(cox)}), C-index "
            f"{_number(survival['concordance'])}.",
            "",
        ]
    return "\n".join(
        [
            *lines,
            "## Limits",
            "",
            "* Small training set, one way of drawing masks, the scanners of the training site.",
            "* The cuts were read off few patients and are optimistic.",
            "* A volume given instead of DICOM is believed to be in SUV.",
            f"* {RESEARCH}",
            "",
        ]
    )


def _lesions(lesions: dict[str, Any]) -> str:
    rules = {
        "given": "a mask, required (an empty one says that there is no lesion).",
        "watershed": "found by the watershed; a given mask is used with a warning.",
        "either": "a mask, or without one the watershed.",
    }
    return f"{rules[lesions['rule']]} In training {_counts(lesions['training'])}."


def _counts(sources: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sources.items())
