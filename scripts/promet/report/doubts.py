"""What speaks against believing the answer: sentences that follow from numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promet.core.words import count
from promet.report import calibrated, chance
from promet.report.text import fixed, interval, known, level, listed, p_value, percent
from promet.report.words import (
    INPUTS,
    lead_section,
    lost,
    primary,
    rank_test,
    said,
    sides,
    unseen,
    verdict,
)

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics, Section

# Events and non-events that an external validation is commonly asked to have: Vergouwe et al., J Clin Epidemiol
# 2005;58:475; Collins et al., Stat Med 2016;35:214.
ENOUGH = 100
WIDE = 0.2  # span of an interval of the AUC from which it says little about the size of the effect


@dataclass(frozen=True)
class Doubt:
    """One reason to hold back: a few words and a sentence or two; ``clause``: the same inside a sentence, when it bears on the verdict."""

    title: str
    sentence: str
    clause: str = ""


def doubts(study: Study, split: Split) -> list[Doubt]:
    """What speaks against believing the answer, the weightiest first; never empty for a real study."""
    metrics = split.metrics
    found: list[Doubt | None] = []
    lead = lead_section(metrics)
    if lead is not None and metrics is not None:
        section, confidence = lead[1], metrics["confidence"]
        found += [_small(section), _interval(section, confidence), _not_better(section, metrics, confidence)]
    found += [
        _flat(split),
        _permuted(split),
        _several_splits(study),
        _best_of_many(split),
        _unskilled(split),
        _fell(split, metrics),
        _ties(split),
    ]
    found += [_one_split(study), _one_site(study), _excluded(study, split), *_no_label(metrics)]
    found += [
        _missing(split, metrics),
        _fusion(split),
        _attention(split),
        _warned(study),
        _calibration(metrics),
    ]
    return [doubt for doubt in found if doubt is not None]


def _small(section: Section) -> Doubt | None:
    positives, negatives = section["positives"], section["negatives"]
    if min(positives, negatives) >= ENOUGH:
        return None
    yes, no = sides(section)
    record = section["scores"].get("multimodal") or {}
    se = (record.get("delong") or {}).get("se")
    extra = f" The standard error of the multimodal AUC is {fixed(se)}." if known(se) else ""
    return Doubt(
        "Few patients",
        f"The answer rests on {count(positives, 'patient')} {yes} and {negatives} {no}; about {ENOUGH} of each are usually asked of "
        f"a validation.{extra}",
    )


def _interval(section: Section, confidence: float) -> Doubt | None:
    record = section["scores"].get("multimodal")
    if record is None or not known(record["auc"]):
        return Doubt("No answer for the multimodal score", verdict(section, confidence))
    low, high = calibrated.quoted(section, "multimodal")
    rank = record["mann_whitney"]["p"]
    if not known(low):
        p = rank_test(record)[1]
        title = "No interval" if known(p) and p < 1 - confidence else "Chance is not excluded"
        return Doubt(title, verdict(section, confidence))
    if low <= 0.5 or (known(rank) and rank >= 1 - confidence):
        return Doubt("Chance is not excluded", verdict(section, confidence))
    if high - low > WIDE:
        return Doubt(
            "Wide interval",
            f"The {level(confidence)} interval of the AUC spans {fixed(high - low)}: from {fixed(low)} to {fixed(high)}.",
        )
    return None


def _not_better(section: Section, metrics: Metrics, confidence: float) -> Doubt | None:
    pairs = {name: section["paired"].get(name) or {} for name in metrics["order"]}
    equal, tested = {}, 0
    for name, pair in pairs.items():
        if known(pair.get("p")):
            tested += 1
            if pair["p"] >= 1 - confidence:
                equal[name] = p_value(pair["p"])
        elif known(pair.get("difference")) and pair["difference"] <= 0:  # both perfect, or ranked alike
            equal[name] = f"AUC {fixed(pair['auc_a'])} against {fixed(pair['auc_b'])}, no test possible"
    if not equal:
        return None
    names = listed([f"{said(metrics, name)} ({why})" for name, why in equal.items()])
    return Doubt(
        "Not better than simpler scores",
        f"In the same patients the multimodal score is not shown to differ from {names}; paired DeLong, "
        f"{count(tested, 'test')} without correction for their number.",
        f"it is not shown to be better than {said(metrics, 'clinical' if 'clinical' in equal else next(iter(equal)))}",
    )


def _best_of_many(split: Split) -> Doubt | None:
    values, found = split.values("select"), chance.of_validation(split)
    runs, best = values.get("candidates", 0), values.get("validation_auc")
    if not runs or not known(best) or found is None:
        return None
    null, patients, positives = found
    expected, likely = chance.best_of(null, runs), chance.reaching(null, best, runs)
    if runs == 1:
        return Doubt(
            "A single run",
            f"One network was trained, so nothing is known about how much the result varies with the seed. Its validation "
            f"{split.word} of {fixed(best)} comes from {patients} patients and chose the epoch.",
        )
    return Doubt(
        f"Best of {runs}",
        f"The network has the highest validation {split.word} of {runs} runs, {fixed(best)} on {patients} patients "
        f"({positives} with {split.learnt}; median of all runs {fixed(values.get('median_validation_auc'))}). {runs} "
        f"independent runs without any skill are expected to reach {fixed(expected)} at best, and reach {fixed(best)} "
        f"with probability {p_value(likely, '')}. The epoch was chosen on the same patients, which adds to this.",
    )


FLAT = 0.05  # span of probabilities below which a network says the same of nearly everyone


def _flat(split: Split) -> Doubt | None:
    """The chosen network hardly tells patients apart, whatever its AUC."""
    table = split.predictions
    if table is None or "cnn_score" not in table:
        return None
    unseen = table[~table["part"].isin(["training", "validation"])]["cnn_score"].dropna()
    if len(unseen) < 5:
        return None
    low, high = (1 / (1 + math.exp(-x)) for x in unseen.quantile([0.05, 0.95]))
    if high - low >= FLAT:
        return None
    return Doubt(
        "The network says nearly the same of everyone",
        f"In {count(len(unseen), 'unseen patient')} nine of ten of its probabilities lie between {fixed(low, 3)} and {fixed(high, 3)}: "
        "its AUC ranks differences that are next to nothing, and a small change of the images may turn the order.",
        "the network says nearly the same of everyone",
    )


def _unskilled(split: Split) -> Doubt | None:
    """Runs that end at or below chance on the patients who chose their epoch."""
    table = split.candidates
    if table is None or len(table) < 2:
        return None
    poor = int((table["validation_auc"] <= 0.5).sum())
    if not poor:
        return None
    return Doubt(
        "Runs that learned nothing",
        f"{poor} of {len(table)} runs have a validation {split.word} of 0.5 or less at their best epoch.",
    )


def _permuted(split: Split) -> Doubt | None:
    """Permuted labels do as well as the true ones."""
    told = split.permutation or {}
    null = ((told.get("models") or {}).get("multimodal") or {}).get("all") or {}
    if not known(null.get("p")) or null["p"] < 0.05:
        return None
    as_high = round(null["p"] * (told["permutations"] + 1)) - 1
    observed = fixed(told["models"]["multimodal"]["observed"])
    return Doubt(
        "Permuted labels do as well",
        f"In the test part {as_high} of {told['permutations']} permutations of the labels give the fused score an AUC at least as high as "
        f"the true labels do ({observed}): {p_value(null['p'])}.",
        "in the test part permuted labels do as well as the true ones",
    )


def _several_splits(study: Study) -> Doubt | None:
    """How much the result depends on the split."""
    told = study.pooled
    if not told or told["splits"] < 2:
        return None
    record = told["sections"][told["section_order"][0]]["scores"].get("multimodal") or {}
    if not known(record.get("sd")):
        return None
    return Doubt(
        "Depends on the split",
        f"Over {told['splits']} random splits the multimodal AUC of the test part has mean {fixed(record['mean'])} "
        f"({level(told['confidence'])} CI {interval(record['low'], record['high'])}) and runs from {fixed(record['smallest'])} to {fixed(record['largest'])}; "
        "the answer above is that of the first split.",
        "over all splits the interval includes 0.5" if known(record["low"]) and record["low"] <= 0.5 else "",
    )


def _attention(split: Split) -> Doubt | None:
    """The maps lie in the lesions no more than chance would put them there."""
    values = split.values("attention")
    if not values.get("patients"):
        return None
    even, mine = values["median_voxels_lesion"], values["median_grad_cam_lesion"]
    if mine > even:
        return None
    return Doubt(
        "The network looks elsewhere",
        f"Its Grad-CAM maps put {percent(mine, 1)} into the lesions, no more than the {percent(even, 1)} of an even spread.",
    )


def _fell(split: Split, metrics: Metrics | None) -> Doubt | None:
    best = split.values("select").get("validation_auc")
    section = (metrics or {}).get("sections", {}).get(primary(metrics)) or {}
    record = section.get("scores", {}).get("cnn_score") or {}
    area = record.get("auc")
    if split.word != "AUC" or not (known(best) and known(area)) or best - area < 0.1:
        return None
    return Doubt(
        "Lower on unseen patients",
        f"The network's AUC falls from {fixed(best)} in the validation part, where it was chosen, to {fixed(area)} in "
        f"the test part (n = {record['n']}).",
    )


def _ties(split: Split) -> Doubt | None:
    tied = split.values("select").get("tied", 1)
    if tied < 2:
        return None
    return Doubt(
        "A tie decided",
        f"{tied} runs share the highest validation AUC; the lower validation loss chose between them.",
    )


def _one_split(study: Study) -> Doubt | None:
    if len(study.splits) > 1:
        return None
    return Doubt(
        "One random split",
        "Another division into training, validation and test would give another network and other numbers; the "
        "intervals do not include this.",
    )


def _one_site(study: Study) -> Doubt | None:
    sites = {row.get("site", "") for row in study.rows} - {""}
    if len(sites) > 1:
        return None
    what = "All patients come from one site" if sites else "The table names no site"
    return Doubt(
        "No second centre",
        f"{what}: whether the score holds elsewhere is not known.",
        "no second centre has tested it",
    )


def _excluded(study: Study, split: Split) -> Doubt | None:
    status = Counter(study.status(patient) for patient in study.patients)
    bad, bare = status["quarantined"], status["no-lesion"]
    if not bad + bare:
        return None
    by_label = ""
    if split.predictions is not None:
        table = split.predictions[split.predictions["patient"].map(study.status) == "no-lesion"]
        counts = table["label"].value_counts()
        if len(table):
            when = "synchronous " if split.paper else ""
            by_label = (
                f" Of those without a lesion {count(int(counts.get(1.0, 0)), 'patient has', 'patients have')} {when}{split.learnt}, "
                f"{int(counts.get(0.0, 0))} none."
            )
    share = f"{percent(bad + bare, len(study.patients))} of {len(study.patients)}"
    return Doubt(
        "Exclusions" if bad else "Patients without a network score",
        f"{lost(study)} That is {share}.{by_label}",
        f"{percent(bad, len(study.patients))} of the patients are excluded"
        if 5 * bad > len(study.patients)
        else "",
    )


def _no_label(metrics: Metrics | None) -> list[Doubt | None]:
    sections = (metrics or {}).get("sections", {})
    lost = []
    for key in reversed(unseen(metrics)):
        section = sections.get(key)
        if section and section["excluded"]:
            lost.append(f"{section['title']}: {' '.join(section['excluded'])}")
    return [Doubt("Outcome not known", " ".join(lost)) if lost else None]


def missing_shares(split: Split) -> list[tuple[str, int, int, int, int]]:
    """(input, missing with, all with, missing without, all without the outcome) in training and validation."""
    if split.predictions is None:
        return []
    fitted = split.predictions[split.predictions["part"].isin(["training", "validation"])]
    models = (split.bayes or {}).get("models", {})
    used = {name for model in models.values() for name in model["features"]} or set(INPUTS)
    rows = []
    for name in INPUTS:
        if name == "cnn_score" or name not in fitted or name not in used:
            continue
        cells = []
        for label in (1.0, 0.0):
            group = fitted[fitted["label"] == label][name]
            cells += [int(group.isna().sum()), len(group)]
        rows.append((name, *cells))
    return rows


def _missing(split: Split, metrics: Metrics | None) -> Doubt | None:
    uneven = [
        f"{INPUTS[name]} ({percent(a, n)} with, {percent(b, m)} without)"
        for name, a, n, b, m in missing_shares(split)
        if n and m and abs(a / n - b / m) >= 0.1
    ]
    if uneven:
        return Doubt(
            "Values are missing unevenly",
            f"Whether a value is missing differs between the fitted patients with and without {split.learnt}: {listed(uneven)} "
            "are missing. The fused score leaves a missing value out and never uses that it is missing; the patients in whom "
            "it is known are still a selected group.",
        )
    gone = [
        f"{INPUTS[name]} ({a + b} of {n + m})"
        for name, a, n, b, m in missing_shares(split)
        if 5 * (a + b) > n + m
    ]
    return Doubt("Missing values", f"Often missing in the fitted patients: {listed(gone)}.") if gone else None


def _fusion(split: Split) -> Doubt | None:
    values = split.values("fuse")
    said, clause = [], ""
    if values.get("cnn_score_fitted_on") == "in_sample":
        said.append(
            "The network's scores of its own training patients are among those the fused score was fitted on: its weight is exaggerated."
        )
        clause = "the weight of the network in it is exaggerated"
    sources = values.get("suv_peak_source") or {}
    if sources.get("reader") and sources.get("measured"):
        said.append(
            f"SUVpeak comes from a reader in {count(sources['reader'], 'patient')} and is measured in {sources['measured']}: two sources of one input."
        )
    dropped = (values.get("dropped") or {}).get("multimodal") or []
    if dropped:
        said.append(
            f"Left out of the multimodal score, since it could not be fitted: {listed([INPUTS.get(n, n) for n in dropped])}."
        )
    model = ((split.bayes or {}).get("models") or {}).get("multimodal") or {}
    if floored := [n for n, entry in model.get("features", {}).items() if any(entry.get("floored", []))]:
        said.append(
            f"Too few or too similar values with or without {split.learnt} to know how much they vary: {listed([INPUTS.get(n, n) for n in floored])}. "
            "There the spread of all fitted patients stands in."
        )
    return Doubt("The fused score", " ".join(said), clause) if said else None


def _warned(study: Study) -> Doubt | None:
    patients = {patient for patient, record in study.records if patient and record.warnings}
    others = sum(len(record.warnings) for patient, record in study.records if not patient)
    if not patients and not others:
        return None
    what = [f"{count(len(patients), 'patient')} with a warning of an imaging stage"] if patients else []
    what += [f"{count(others, 'warning')} of later stages"] if others else []
    return Doubt("Warnings", f"{listed(what)}; see the last section.")


def _calibration(metrics: Metrics | None) -> Doubt | None:
    if metrics is None:
        return None
    lead = lead_section(metrics)
    return Doubt(*calibrated.doubt(lead[1] if lead else None, metrics["confidence"]))
