"""What the first screen says: the question, the answer, what speaks against it. Sentences follow from numbers alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promet.report import calibrated, chance
from promet.report.text import NBSP, count, fixed, interval, known, level, listed, p_value, percent

if TYPE_CHECKING:
    from promet.report.read import Split, Study

LEADING = ("multimodal", "cnn_score", "clinical")
# Events and non-events that an external validation is commonly asked to have: Vergouwe et al., J Clin Epidemiol
# 2005;58:475; Collins et al., Stat Med 2016;35:214.
ENOUGH = 100
OUTCOMES = {
    "progression": ("with progression", "without"),
    "synchronous_metastasis": ("with metastases", "without"),
}
INPUTS = {
    "cnn_score": "CNN score",
    "psa": "PSA",
    "grade_group": "grade group",
    "positive_cores_percent": "positive cores",
    "suv_peak": "SUVpeak",
    "primary_score": "PRIMARY score",
    "psma_expression": "PSMA expression score",
}


@dataclass(frozen=True)
class Doubt:
    """One reason to hold back: a few words and a sentence or two."""

    title: str
    sentence: str


def lead_section(metrics: dict[str, Any] | None) -> tuple[str, dict[str, Any]] | None:
    """The section the answer is taken from: metachronous if it has an AUC, else the synchronous test part."""
    sections = (metrics or {}).get("sections", {})
    for key in ("metachronous", "synchronous"):
        part = sections.get(key)
        if part and any(known(record["auc"]) for record in part["scores"].values()):
            return key, part
    return None


def question(horizon: float | None) -> str:
    """What was asked."""
    years = f" within {horizon:g} months" if known(horizon) else ""
    return (
        "Can the primary tumour on PSMA PET, read by a small 3D network and joined with clinical findings, tell which "
        f"men have metastases on the same scan and which men with localised disease progress to metastases{years}?"
    )


def people(study: Study, split: Split) -> str:
    """How many men, and what became of them."""
    status = Counter(study.status(patient) for patient in study.patients)
    parts = Counter(split.part(patient) for patient in study.patients)
    text = f"The table holds {count(len(study.patients), 'man', 'men')}"
    dealt = [f"{parts[name]} {name}" for name in ("training", "validation", "test") if parts[name]]
    where = [
        f"{sum(parts[n] for n in ('training', 'validation', 'test'))} in development ({', '.join(dealt)})"
    ]
    where += [f"{parts[name]} {name}" for name in ("metachronous", "prospective") if parts[name]]
    text += f": {listed(where)}." if dealt else f": {listed(where[1:])}." if where[1:] else "."
    if study.exclusions:
        text += (
            f" {status['quarantined']} excluded because of bad data; {status['no-lesion']} with no lesion in the "
            "prostate, whom the network cannot score."
        )
    elif study.gather is not None:
        text += " Nobody was excluded."
    return text


def verdict(section: dict[str, Any], confidence: float, name: str = "multimodal") -> str:
    """What the AUC of one score in one section says, in one or two sentences."""
    record = section["scores"].get(name)
    if record is None:
        return "The multimodal score is not available in these men."
    if not known(record["auc"]):
        return " ".join(["No AUC can be given.", *record["notes"]])
    low, high = record["delong"]["low"], record["delong"]["high"]
    delong, rank = record["delong"]["p"], record["mann_whitney"]["p"]
    area = record["auc"]
    if not known(low):
        return " ".join([f"The AUC is {fixed(area)}, without an interval.", *record["notes"]])
    if high < 0.5:
        return "The score ranks these men the wrong way round: those with the outcome have the lower scores."
    if low <= 0.5:
        return (
            f"The {level(confidence)} interval reaches down to {fixed(low)} and so includes 0.5: these data do not "
            "show that the score is better than chance."
        )
    alpha = 1 - confidence
    tests = f"DeLong {p_value(delong)}, Mann-Whitney {p_value(rank)}"
    if known(rank) and rank >= alpha:
        return (
            f"The interval excludes 0.5, but the two tests against chance disagree ({tests}): weak evidence."
        )
    return f"In these men the score ranks better than chance ({tests})."


def comparison(section: dict[str, Any], metrics: dict[str, Any], other: str, confidence: float) -> str:
    """Multimodal against another score of the same men; empty when there is nothing to say."""
    pair = section["paired"].get(other)
    if pair is None or not known(pair["difference"]):
        return ""
    title = said(metrics, other)
    if not known(pair["p"]):
        return f"No test against {title} is possible here."
    numbers = f"difference {fixed(pair['difference'])}, {level(confidence)} CI {interval(pair['low'], pair['high'])}, paired DeLong {p_value(pair['p'])}, n{NBSP}={NBSP}{pair['n']}"
    if pair["p"] >= 1 - confidence:
        return f"Not shown to differ from {title} ({numbers})."
    return f"{'Better' if pair['difference'] > 0 else 'Worse'} than {title} in the same men ({numbers})."


def title_of(metrics: dict[str, Any] | None, name: str) -> str:
    """Title of a score."""
    return ((metrics or {}).get("scores", {}).get(name) or {}).get("title") or INPUTS.get(name, name)


def said(metrics: dict[str, Any] | None, name: str) -> str:
    """A score's name inside a sentence."""
    return {"clinical": "the clinical score", "cnn_score": "the network alone"}.get(
        name, title_of(metrics, name)
    )


def doubts(study: Study, split: Split) -> list[Doubt]:
    """What speaks against believing the answer, the weightiest first; never empty for a real study."""
    metrics = split.metrics
    found: list[Doubt | None] = []
    lead = lead_section(metrics)
    if lead is not None and metrics is not None:
        section, confidence = lead[1], metrics["confidence"]
        found += [_small(section), _interval(section, confidence), _not_better(section, metrics, confidence)]
    found += [_best_of_many(split), _fell(split, metrics), _ties(split)]
    found += [_one_split(study), _one_site(study), _excluded(study, split), *_no_label(metrics)]
    found += [_missing(split, metrics), _fusion(split), _warned(study), _calibration(metrics)]
    return [doubt for doubt in found if doubt is not None]


def _small(section: dict[str, Any]) -> Doubt | None:
    positives, negatives = section["positives"], section["negatives"]
    if min(positives, negatives) >= ENOUGH:
        return None
    yes, no = OUTCOMES[section["outcome"]]
    record = section["scores"].get("multimodal") or {}
    se = (record.get("delong") or {}).get("se")
    extra = f" The standard error of the multimodal AUC is {fixed(se)}." if known(se) else ""
    return Doubt(
        "Few men",
        f"The answer rests on {positives} men {yes} and {negatives} {no}; about {ENOUGH} of each are usually asked of "
        f"a validation.{extra}",
    )


def _interval(section: dict[str, Any], confidence: float) -> Doubt | None:
    record = section["scores"].get("multimodal")
    if record is None or not known(record["auc"]):
        return Doubt("No answer for the multimodal score", verdict(section, confidence))
    low, high = record["delong"]["low"], record["delong"]["high"]
    rank = record["mann_whitney"]["p"]
    if not known(low):
        return Doubt("No interval", verdict(section, confidence))
    if low <= 0.5 or (known(rank) and rank >= 1 - confidence):
        return Doubt("Chance is not excluded", verdict(section, confidence))
    if high - low > 0.2:
        return Doubt(
            "Wide interval",
            f"The {level(confidence)} interval of the AUC spans {fixed(high - low)}: from {fixed(low)} to {fixed(high)}.",
        )
    return None


def _not_better(section: dict[str, Any], metrics: dict[str, Any], confidence: float) -> Doubt | None:
    tested = [name for name in metrics["order"] if known((section["paired"].get(name) or {}).get("p"))]
    equal = [n for n in tested if section["paired"][n]["p"] >= 1 - confidence]
    if not equal:
        return None
    names = listed([f"{said(metrics, n)} ({p_value(section['paired'][n]['p'])})" for n in equal])
    return Doubt(
        "Not better than simpler scores",
        f"In the same men the multimodal score is not shown to differ from {names}; paired DeLong, "
        f"{count(len(tested), 'test')} without correction for their number.",
    )


def _best_of_many(split: Split) -> Doubt | None:
    values, size = split.values("select"), split.values("dataset")
    runs, best = values.get("candidates", 0), values.get("validation_auc")
    positives = size.get("validation_positive", 0)
    negatives = size.get("validation", 0) - positives
    if not runs or not known(best) or min(positives, negatives) < 1:
        return None
    expected = chance.expected_best(positives, negatives, runs)
    likely = chance.share_reaching(best, positives, negatives, runs)
    if runs == 1:
        return Doubt(
            "A single run",
            f"One network was trained, so nothing is known about how much the result varies with the seed. Its validation "
            f"AUC of {fixed(best)} comes from {positives + negatives} men and chose the epoch.",
        )
    return Doubt(
        f"Best of {runs}",
        f"The network has the highest validation AUC of {runs} runs, {fixed(best)} on {positives + negatives} men "
        f"({positives} with metastases; median of all runs {fixed(values.get('median_validation_auc'))}). {runs} "
        f"independent runs without any skill are expected to reach {fixed(expected)} at best, and reach {fixed(best)} "
        f"with probability {p_value(likely, '')}. The epoch was chosen on the same men, which adds to this.",
    )


def _fell(split: Split, metrics: dict[str, Any] | None) -> Doubt | None:
    best = split.values("select").get("validation_auc")
    section = (metrics or {}).get("sections", {}).get("synchronous") or {}
    record = section.get("scores", {}).get("cnn_score") or {}
    area = record.get("auc")
    if not (known(best) and known(area)) or best - area < 0.1:
        return None
    return Doubt(
        "Lower on unseen men",
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
    what = "All men come from one site" if sites else "The table names no site"
    return Doubt("No second centre", f"{what}: whether the score holds elsewhere is not known.")


def _excluded(study: Study, split: Split) -> Doubt | None:
    status = Counter(study.status(patient) for patient in study.patients)
    lost = status["quarantined"] + status["no-lesion"]
    if not lost:
        return None
    by_label = ""
    if split.predictions is not None:
        table = split.predictions[split.predictions["patient"].map(study.status) == "no-lesion"]
        counts = table["label"].value_counts()
        if len(table):
            by_label = (
                f" Of those without a lesion {int(counts.get(1.0, 0))} have synchronous metastases and "
                f"{int(counts.get(0.0, 0))} have none."
            )
    return Doubt(
        "Exclusions",
        f"{count(status['quarantined'], 'man', 'men')} of {len(study.patients)} excluded because of bad data and "
        f"{status['no-lesion']} without a lesion and so without a network score "
        f"({percent(lost, len(study.patients))} together).{by_label}",
    )


def _no_label(metrics: dict[str, Any] | None) -> list[Doubt | None]:
    sections = (metrics or {}).get("sections", {})
    lost = []
    for key in ("metachronous", "synchronous"):
        section = sections.get(key)
        if section and section["excluded"]:
            lost.append(f"{section['title']}: {' '.join(section['excluded'])}")
    return [Doubt("Outcome not known", " ".join(lost)) if lost else None]


def missing_shares(split: Split) -> list[tuple[str, int, int, int, int]]:
    """(input, missing with, all with, missing without, all without metastases) in training and validation."""
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


def _missing(split: Split, metrics: dict[str, Any] | None) -> Doubt | None:
    uneven = [
        f"{INPUTS[name]} ({percent(a, n)} against {percent(b, m)})"
        for name, a, n, b, m in missing_shares(split)
        if n and m and abs(a / n - b / m) >= 0.1
    ]
    if uneven:
        return Doubt(
            "Missing values know the outcome",
            f"Missing more often in one group of the fitted men (with against without metastases): {listed(uneven)}. "
            "The fused score drops a missing value and never uses that it is missing; what is known still comes from "
            "a selected group.",
        )
    gone = [
        f"{INPUTS[name]} ({a + b} of {n + m})"
        for name, a, n, b, m in missing_shares(split)
        if 5 * (a + b) > n + m
    ]
    return Doubt("Missing values", f"Often missing in the fitted men: {listed(gone)}.") if gone else None


def _fusion(split: Split) -> Doubt | None:
    values = split.values("fuse")
    said = []
    if values.get("cnn_score_fitted_on") == "in_sample":
        said.append(
            "The network's scores of its own training men are among those the fused score was fitted on: its weight is exaggerated."
        )
    sources = values.get("suv_peak_source") or {}
    if sources.get("reader") and sources.get("measured"):
        said.append(
            f"SUVpeak comes from a reader in {sources['reader']} men and is measured in {sources['measured']}: two sources of one input."
        )
    dropped = (values.get("dropped") or {}).get("multimodal") or []
    if dropped:
        said.append(
            f"Left out of the multimodal score, since it could not be fitted: {listed([INPUTS.get(n, n) for n in dropped])}."
        )
    return Doubt("The fused score", " ".join(said)) if said else None


def _warned(study: Study) -> Doubt | None:
    patients = {patient for patient, record in study.records if patient and record.warnings}
    others = sum(len(record.warnings) for patient, record in study.records if not patient)
    if not patients and not others:
        return None
    what = [f"{count(len(patients), 'man', 'men')} with a warning of an imaging stage"] if patients else []
    what += [f"{count(others, 'warning')} of later stages"] if others else []
    return Doubt("Warnings", f"{listed(what)}; see the last section.")


def _calibration(metrics: dict[str, Any] | None) -> Doubt | None:
    if metrics is None:
        return None
    lead = lead_section(metrics)
    return Doubt(*calibrated.doubt(lead[1] if lead else None, metrics["confidence"]))
