"""What the first screen says: the question, the patients, the answer. Sentences follow from numbers alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.calibrated import quoted
from promet.report.settings import Report
from promet.report.text import NBSP, fixed, interval, known, level, listed, p_value

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics, Section

PAPERS = "in the metachronous cohort or in the synchronous test part"
LEADING = ("multimodal", "cnn_score", "clinical")
INPUTS = {
    "cnn_score": "CNN score",
    "psa": "PSA",
    "grade_group": "grade group",
    "positive_cores_percent": "positive cores",
    "suv_peak": "SUVpeak",
    "primary_score": "PRIMARY score",
    "psma_expression": "PSMA expression score",
}


def primary(metrics: Metrics | None) -> str:
    """Key of the section of what is learnt, in the test part."""
    return (metrics or {}).get("primary", "synchronous")


def unseen(metrics: Metrics | None) -> list[str]:
    """Sections of patients that nothing was fitted or selected on, in their order; not of those who came later."""
    first, found = primary(metrics), (metrics or {}).get("sections", {})
    order = (metrics or {}).get("section_order", found)
    return [key for key in order if key not in (f"{first}_training", f"{first}_validation", "prospective")]


def sides(section: Section) -> tuple[str, str]:
    """What the patients with and without the outcome of a section are called."""
    return f"with {section['words']}", "without"


def nowhere(metrics: Metrics | None) -> str:
    """Where no AUC is, as the answer says it."""
    if primary(metrics) == "synchronous" and (metrics or {}).get("later", "metachronous") == "metachronous":
        return PAPERS
    return (
        "in the metachronous cohort or in the test part"
        if metrics and metrics["later"]
        else "in the test part"
    )


def lead_section(metrics: Metrics | None) -> tuple[str, dict[str, Any]] | None:
    """The section the answer is taken from: that of the metachronous patients if it has an AUC, else the test part."""
    sections = (metrics or {}).get("sections", {})
    for key in ((metrics or {}).get("later", "metachronous"), primary(metrics)):
        part = sections.get(key)
        if part and any(known(record["auc"]) for record in part["scores"].values()):
            return key, part
    return None


def headline(title: str, split: Split) -> str:
    """The report's title; the default one names the paper's outcome and is said of what is learnt where that is another."""
    if split.paper or title != Report.model_fields["title"].default:
        return title
    return f"Prediction of {split.outcome.learnt} from PSMA PET of the primary tumour"


def question(split: Split) -> str:
    """What was asked."""
    horizon = (split.metrics or {}).get("horizon_months")
    years = f" within {horizon:g} months" if known(horizon) else ""
    if not (split.paper and split.later):
        return (
            "Can the primary tumour on PSMA PET, read by a small 3D network and joined with clinical findings, tell which "
            f"patients have {split.outcome.learnt}?"
        )
    return (
        "Can the primary tumour on PSMA PET, read by a small 3D network and joined with clinical findings, tell which "
        f"patients have metastases on the same scan and which patients with localised disease progress to metastases{years}?"
    )


def rule(chosen: dict[str, Any]) -> str:
    """How the network was chosen."""
    ranked = "highest validation AUC, ties by the lower validation loss"
    members = chosen.get("members", 1)
    if chosen.get("rule") == "ensemble_mean":
        return f"the mean logit of all runs ({members}); the best by {ranked} is named below"
    if chosen.get("rule") == "ensemble_top_k" and members > 1:
        return f"the mean logit of the {members} runs with the {ranked}"
    return f"the run with the {ranked}"


def state(study: Study) -> str:
    """Whether the study is closed, and since when."""
    if not study.freeze:
        return "The study is open: labelled patients who are added join its parts and the networks are trained again."
    told = f"The study is frozen as {study.freeze.get('name', '')}"
    if date := day(str(study.freeze.get("date", ""))):
        told += f" since {date}"
    return told + ": patients added since then are scored, never trained on."


def day(iso: str) -> str:
    """``2026-05-02`` as ``2 May 2026``; empty when it is no date."""
    import datetime

    try:
        found = datetime.date.fromisoformat(iso)
    except ValueError:
        return ""
    return f"{found.day} {found:%B %Y}"


def people(study: Study, split: Split) -> str:
    """How many patients, and what became of them."""
    parts = Counter(split.part(patient) for patient in study.patients)
    text = f"The table holds {count(len(study.patients), 'patient')}"
    assigned = [f"{parts[name]} {name}" for name in ("training", "validation", "test") if parts[name]]
    where = [
        f"{sum(parts[n] for n in ('training', 'validation', 'test'))} in development ({', '.join(assigned)})"
    ]
    where += [f"{parts[name]} {name}" for name in ("metachronous", "prospective") if parts[name]]
    text += f": {listed(where)}." if assigned else f": {listed(where[1:])}." if where[1:] else "."
    return f"{text} {lost(study)}"


def lost(study: Study) -> str:
    """Who is excluded because of bad data, and who has no lesion: the one place that says so."""
    if study.gather is None:
        return "The images have not been gathered yet, so exclusions are not known."
    status = Counter(study.status(patient) for patient in study.patients)
    bad, bare = status["quarantined"], status["no-lesion"]
    text = f"{count(bad, 'patient is', 'patients are') if bad else 'Nobody is'} excluded because of bad data."
    if bare:
        text += f" {count(bare, 'patient has', 'patients have')} no lesion in the prostate and so no network score."
    return text


def latecomers(study: Study, split: Split) -> str:
    """A sentence on patients whose role is development or metachronous although they are in no part; empty without any."""
    roles = Counter(
        row["role"]
        for row in study.rows
        if row.get("role") in ("development", "metachronous") and split.part(row["patient"]) == "prospective"
    )
    if not roles:
        return ""
    number = sum(roles.values())
    told = (
        listed([f"{roles[role]} {role}" for role in sorted(roles)]) if len(roles) > 1 else next(iter(roles))
    )
    has = "has" if number == 1 else "have"
    why = (
        "came or became usable after the study was frozen"
        if study.freeze
        else f"{has} not been assigned to a part"
    )
    return (
        f"{count(number, 'prospective patient')} {has} the role {told} in the table but {why}: scored, never "
        "trained on."
    )


def verdict(section: Section, confidence: float, name: str = "multimodal") -> str:
    """What the AUC of one score in one section says, in one or two sentences."""
    record = section["scores"].get(name)
    if record is None:
        return "The multimodal score is not available here."
    if not known(record["auc"]):
        return " ".join(["No AUC can be given.", *record["notes"]])
    low, high = quoted(section, name)
    delong, rank = record["delong"]["p"], record["mann_whitney"]["p"]
    area = record["auc"]
    if not known(low):
        name, p = rank_test(record)
        chance = "excludes" if known(p) and p < 1 - confidence else "does not exclude"
        test = [f"The rank test {chance} chance ({name} {p_value(p)})."] if known(p) else []
        return " ".join([f"The AUC is {fixed(area)}, without an interval.", *test, *record["notes"]])
    if high < 0.5:
        return "The score ranks these patients the wrong way round: those with the outcome have the lower scores."
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
    return f"In these patients the score ranks better than chance ({tests})."


def rank_test(record: dict[str, Any]) -> tuple[str, float | None]:
    """Name and p of the sharpest Mann-Whitney test there is: exact, else normal with tie correction."""
    tests = record["mann_whitney"]
    for key_, name in (("p_exact", "exact Mann-Whitney"), ("p_ties", "Mann-Whitney"), ("p", "Mann-Whitney")):
        if known(tests.get(key_)):
            return name, tests[key_]
    return "Mann-Whitney", None


def key(split: Split) -> str:
    """What the numbers and names of the answer mean, for who reads nothing else."""
    models = (split.bayes or {}).get("models") or {}
    joined = {
        name: listed([INPUTS.get(i, i) for i in models[name]["order"]])
        for name in models
        if models[name].get("order")
    }
    told = [
        "AUC: how often a patient with the outcome has a higher score than one without (0.5 = chance, 1 = always)."
    ]
    if "multimodal" in joined:
        told.append(f"Multimodal: naive Bayes of {joined['multimodal']}.")
    told.append("CNN: the network's score alone.")
    if "clinical" in joined:
        told.append(f"Clinical only: naive Bayes of {joined['clinical']}.")
    return " ".join(told)


def comparison(section: Section, metrics: Metrics, other: str, confidence: float) -> str:
    """Multimodal against another score of the same patients; empty when there is nothing to say."""
    pair = section["paired"].get(other)
    if pair is None or not known(pair["difference"]):
        return ""
    title = said(metrics, other)
    if not known(pair["p"]):
        return f"No test against {title} is possible here."
    numbers = f"difference {fixed(pair['difference'])}, {level(confidence)} CI {interval(pair['low'], pair['high'])}, paired DeLong {p_value(pair['p'])}, n{NBSP}={NBSP}{pair['n']}"
    if pair["p"] >= 1 - confidence:
        return f"Not shown to differ from {title} ({numbers})."
    return f"{'Better' if pair['difference'] > 0 else 'Worse'} than {title} in the same patients ({numbers})."


def heading(name: str) -> str:
    """An input's name at the start of a line."""
    text = INPUTS.get(name, name)
    return text[0].upper() + text[1:]


def title_of(metrics: Metrics | None, name: str) -> str:
    """Title of a score."""
    return ((metrics or {}).get("scores", {}).get(name) or {}).get("title") or INPUTS.get(name, name)


def said(metrics: Metrics | None, name: str) -> str:
    """A score's name inside a sentence."""
    return {"clinical": "the clinical score", "cnn_score": "the network alone"}.get(
        name, title_of(metrics, name)
    )


def analysed(metrics: Metrics | None, *, seen: bool) -> list[str]:
    """Keys of the sections with results, in their order; ``seen``: those of patients the models were fitted or selected on."""
    sections = (metrics or {}).get("sections", {})
    return [
        key
        for key in (metrics or {}).get("section_order", [])
        if sections[key]["status"] == "ok" and bool(sections[key]["seen"]) == seen
    ]


def notes(record: dict[str, Any]) -> list[str]:
    """Notes of an AUC, of a paired test or of a calibration that its table does not say itself.

    Where patients have no score, the first note counts them; so does the table.
    """
    return record["notes"][bool(record["missing"]) :]


def notes_of(section: Section) -> tuple[list[str], list[str]]:
    """Notes of a section: those on its AUCs and those on its calibration. The last is on CAPRA, where that scores metastatic disease."""
    told = section["notes"]
    own = int(section["outcome"] == "synchronous_metastasis" and "capra" in section["scores"])
    return told[len(told) - own :], told[: len(told) - own]
