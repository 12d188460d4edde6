"""The methods paragraph, every number of it from the configuration or the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.text import level, listed
from promet.report.words import INPUTS
from promet.study.outcome import ByHorizon

if TYPE_CHECKING:
    from promet.report.read import Split, Study


LEARNT = "synchronous_metastasis"  # of split.stratify: stands for what is learnt, whatever that is
ENGINES = {"batched": "promet's own loops, equal to monai's transforms", "monai": "monai's transforms"}


def paragraphs(study: Study, split: Split) -> list[tuple[str, str]]:
    """(heading, text) of each part; a part whose settings are not given is left out."""
    try:
        parts = _parts(study.config, split)
    except KeyError as error:
        return [("", f"The configuration lacks {error.args[0]}, so the methods cannot be told in full.")]
    return [(heading, text) for heading, text in parts if text]


def _parts(config: dict[str, Any], split: Split) -> list[tuple[str, str]]:
    return [
        ("Patients and split", _split(config, split)),
        ("Images", _images(config.get("imaging") or {})),
        ("Network", _network(config.get("network") or {}, split)),
        ("Fusion", _fusion(config.get("fusion") or {}, split)),
        ("Statistics", _statistics(config.get("evaluation") or {}, split)),
    ]


def _split(config: dict[str, Any], split: Split) -> str:
    told = config.get("split")
    if not told:
        return ""
    by = [name if split.paper or name != LEARNT else split.outcome.learnt for name in told["stratify"]]
    apart = "; the metachronous patients are in it and were never trained on" if split.later else ""
    shares = " / ".join(f"{100 * share:g} %" for share in told["ratios"])
    return (
        f"Development patients were assigned to training, validation and test ({shares}) at random, stratified by "
        f"{listed(by) or 'nothing'}, in {count(told['repeats'], 'split')}. The division is kept in a ledger that is only "
        f"appended to{apart}. A patient in whose prostate no "
        "lesion was found has no network score and is scored from the other inputs."
    )


def _images(told: dict[str, Any]) -> str:
    if not told:
        return ""
    crop, lesions = told["crop"], told["segment"]["lesions"]
    size = " × ".join(map(str, crop["shape"]))
    step = " × ".join(f"{mm:g}" for mm in crop["spacing_mm"])
    mm = " × ".join(f"{n * s:.0f}" for n, s in zip(crop["shape"], crop["spacing_mm"], strict=True))
    outside = (
        f"PET outside the prostate mask (dilated by {crop['margin_mm']:g} mm) was set to 0"
        if crop["mask_outside"]
        else "PET outside the prostate mask was kept"
    )
    onto = (
        "the fullest voxels, as many as its volume needs"
        if crop["masks"] == "volume"
        else "nearest neighbour"
    )
    return (
        "PET was converted to SUV by body weight. Where no lesion mask was given, lesions were found by watershed in "
        f"the prostate (dilated by {lesions['organ_margin_mm']:g} mm) after smoothing with sigma {lesions['smooth_mm']:g} mm, "
        f"with a floor of SUV {lesions['floor_suv']:g}, down to {lesions['fraction_of_max']:g} of a lesion's own maximum and "
        f"from {lesions['min_volume_ml']:g} ml on. A cuboid of {size} voxels (z, y, x) of {step} mm ({mm} mm), "
        f"centred on the centroid of the prostate, was resampled from PET (linear) and lesion mask ({onto}). {outside}, "
        f"then the PET was scaled to [0, 1] per volume ({told['normalise']['method']}). SUVpeak is the highest mean in a sphere of "
        f"{told['measure']['suv_peak_ml']:g} ml, {'voxels weighted by their share inside it' if told['measure']['suv_peak_weights'] == 'partial' else 'voxels whose centre lies inside'}. The run stops when more than "
        f"{100 * told['max_quarantine']:g} % of a fitted part is quarantined."
    )


def _network(told: dict[str, Any], split: Split) -> str:
    if not told:
        return ""
    net, fit, noise = told["architecture"], told["training"], told["augmentation"]
    size = split.runs[0].record.values.get("parameters") if split.runs else None
    parameters = f" ({size:,} parameters)" if size else ""
    names = [_transform(str(name), noise.get(name) or {}) for name in noise.get("transforms", [])]
    pool = f" of {len(names)} ({', '.join(names)})" if names else ""
    variants, rule = told["variants"], told["select"]
    chosen = {
        "best": "the run with the best validation AUC was chosen",
        "ensemble_mean": "the mean logit of all runs is the score",
        "ensemble_top_k": f"the mean logit of the best {count(rule['k'], 'run')} by validation AUC is the score",
    }[rule["rule"]]
    first = fit["earliest_epoch"]
    since = f" from epoch {first} on" if first > 1 else ""
    return (
        f"A {net['name']} in 3D on two channels, PET and lesion map, with {count(net['groups'], 'group')} and dropout {net['dropout']:g}"
        f"{parameters}. Loss: binary cross-entropy weighted by the class sizes of the training part. Adam, learning rate "
        f"{fit['learning_rate']:g}, weight decay {fit['weight_decay']:g}, batches of {fit['batch_size']}; the rate is multiplied by "
        f"{fit['plateau_factor']:g} after {count(fit['plateau_patience'] + 1, 'epoch')} in a row without a validation loss lower by at least 0.01 % "
        f"(ReduceLROnPlateau, patience {fit['plateau_patience']}). At most "
        f"{count(fit['epochs'], 'epoch')}, stopped after {fit['patience']} without a better validation AUC; the epoch with the "
        f"best validation AUC{since} is kept, ties by validation loss. Augmentation of the training part: {count(noise['count'], 'transform')}"
        f"{pool} per sample and epoch, in random order ({ENGINES.get(noise['engine'], noise['engine'])}). {count(told['seeds'], 'seed')} of {count(len(variants), 'variant')} "
        f"({', '.join(sorted(variants))}); {chosen}, ties by validation loss."
    )


def _transform(name: str, parameters: dict[str, Any]) -> str:
    """``rotation [degrees 20]``: a transform of the augmentation with everything that can be set of it."""
    told = [f"{key.replace('_', ' ')} {_value(value)}" for key, value in sorted(parameters.items())]
    return name.replace("_", " ") + (f" [{', '.join(told)}]" if told else "")


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return (" to " if len(value) == 2 else " × ").join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fusion(told: dict[str, Any], split: Split) -> str:
    if not told:
        return ""
    models = "; ".join(
        f"{name}: {', '.join(INPUTS.get(i, i) for i in inputs)}"
        for name, inputs in sorted(told["models"].items())
    )
    logged = listed([INPUTS.get(name, name) for name in told["log"]])
    source = (
        "the validation part alone, since a network's scores of its own training patients are near perfect"
        if told["cnn_score"] == "validation"
        else "training and validation"
    )
    limits = split.values("fuse").get("floor")
    floor = (
        f"Where fewer than {limits['seen']} patients of a class have a value of an input, or these vary by less than "
        f"{limits['share']:g} of the standard deviation in all fitted patients, the variance of the class is at least that of all. "
        if limits
        else ""
    )
    return (
        f"Gaussian naive Bayes fitted on training and validation ({models}). Logarithms of {logged or 'no input'}. A "
        "missing value drops its factor in fitting and in predicting. The densities of the CNN score were fitted on "
        f"{source}. {floor}{told['var_smoothing']:g} of the largest variance is added to each. Inputs are ranked by mean absolute "
        "Shapley value of the log-odds (exact enumeration, against the fitted patients). "
        f"The fusion was fitted again on {count(told['permutations'], 'permutation')} of the "
        f"labels (seed {told['permutation_seed']})."
    )


def _within(told: dict[str, Any], split: Split) -> str:
    """By when what counts, of the outcomes over time."""
    if split.paper and split.later:
        return f"Metachronous progression counts within {told['horizon_months']:g} months. "
    by = [
        f"{split.outcome.noun(aim)} within {aim.horizon(told['horizon_months']):g} months"
        for aim in split.outcome.aims.values()
        if isinstance(aim, ByHorizon)
    ]
    return f"Over time what is counted is {listed(list(dict.fromkeys(by)))}. " if by else ""


def _statistics(told: dict[str, Any], split: Split) -> str:
    if not told:
        return ""
    return (
        f"AUCs with three {level(told['confidence'])} intervals: DeLong (symmetric, clipped to [0, 1]), DeLong on the logit scale "
        f"(transformed back, so inside [0, 1]), and percentile from {told['bootstrap']} bootstrap resamples within each class (seed "
        f"{told['seed']}). The answer on top and the forest plot quote the one that in simulated cohorts of this size holds the true AUC most nearly as often as "
        "it says. "
        "Three p values against AUC 0.5 are given under their names: DeLong, the normal approximation of the Mann-Whitney test without tie or "
        "continuity correction, and the exact Mann-Whitney test, ties included. The band of a ROC curve is pointwise, from 1000 bootstrap resamples. Scores of the same patients are compared by the paired DeLong test. "
        f"{_within(told, split)}Kaplan-Meier curves by tertile and by median of the multimodal score with log-rank "
        "tests, hazard ratio per standard deviation (Cox), Harrell's C; AUC over time and Uno's C with weights for censoring. Calibration "
        "of unseen patients: logistic intercept and slope, lowess curve, ICI, Brier score, before and after logistic recalibration on "
        "the validation part; decision curves by net benefit. No p value is corrected for the number of tests."
    )
