"""The sentences that a run's records give for the checklist and the model card; no record, no sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count

if TYPE_CHECKING:
    from promet.evaluation.checklists.facts import Facts


def answers(known: Facts) -> dict[str, tuple[str, str]]:
    """item -> (where, text) as far as the records go; an item without text is left out."""
    given = {
        "4": ("", _aims(known)),
        "6a": ("report: Cohort", _sites(known)),
        "6b": ("report: Cohort", _left_out(known)),
        "7": ("report: Images", _preparation(known)),
        "8a": ("report: Methods", _outcome(known)),
        "9a": ("report: Methods", predictors(known)),
        "9b": ("report: Methods", measured(known)),
        "10": ("report: Cohort", _size(known)),
        "11": ("report: Cohort", missing(known)),
        "12a": ("report: Methods", split(known)),
        "12b": ("naive_bayes.json", _form(known)),
        "12c": ("report: Methods", _building(known)),
        "12d": ("evaluation/characteristics.json", _clusters(known)),
        "12e": ("report: Methods", _measures(known)),
        "12f": ("report: Calibration and benefit", _updating(known)),
        "12g": ("naive_bayes.json", calculation(known)),
        "13": ("report: Methods", _imbalance(known)),
        "15": ("report: Methods", _output(known)),
        "16": ("report: Cohort", _difference(known)),
        "18f": ("report: Provenance", _code(known)),
        "20a": ("report: Cohort", _flow(known)),
        "20b": ("evaluation/characteristics.json", _characteristics(known)),
        "20c": ("evaluation/characteristics.json", _characteristics(known)),
        "21": ("metrics.json", events(known)),
        "22": ("naive_bayes.json, model.safetensors", specification(known)),
        "23a": ("report: Discrimination", performance(known)),
        "23b": ("evaluation/characteristics.json", _clusters(known)),
        "24": ("report: Calibration and benefit", recalibrated(known)),
        "26": ("report: What speaks against believing it", " ".join(limits(known))),
        "27b": ("README", "promet is for research only; it needs someone who can run and read it."),
        "27a": ("naive_bayes.json", _poor_input(known)),
    }
    return {item: pair for item, pair in given.items() if pair[1]}


def limits(known: Facts) -> list[str]:
    """What weakens this very run, most important first."""
    said = []
    test = known.section
    if test.get("n"):
        said.append(
            f"The test part has {count(test['n'], 'patient')}, {test['positives']} with {known.learnt}: every interval is wide."
        )
    if known.splits == 1:
        said.append("There is one split: the figures hold for it, and another one would give others.")
    runs = known.get("select", "values", "candidates") or 0
    if runs > 1:
        said.append(
            f"The network was chosen among {runs} runs by the validation part: its validation AUC is optimistic, its test AUC is not."
        )
    said.append(
        "The PET is scaled to [0, 1] per patient, so that the network cannot see absolute uptake; only SUVpeak, PRIMARY 5 and "
        "the expression score carry it."
    )
    missing = [row["sentence"] for row in known.get("table1", "missing") or [] if row["sentence"]]
    said += missing
    return said


def _aims(known: Facts) -> str:
    return "Development and internal evaluation of a model" + (
        "; the metachronous cohort is a second, later outcome." if _has(known, known.later) else "."
    )


def _sites(known: Facts) -> str:
    sites = known.get("table1", "sites")
    return (
        f"The table names {count(len(sites), 'site')}: {', '.join(s['site'] for s in sites)}."
        if sites
        else ""
    )


def _left_out(known: Facts) -> str:
    gathered = known.get("gather", "values") or {}
    if not gathered:
        return ""
    return (
        f"Of {count(gathered.get('patients', 0), 'patient')} in the table {gathered.get('quarantined', 0)} were quarantined for a fault of "
        f"their files and {gathered.get('no-lesion', 0)} had no lesion in the prostate and got no network score."
    )


def _preparation(known: Facts) -> str:
    crop = known.told("imaging", "crop")
    cuboid = (
        f" A cuboid of {' × '.join(map(str, crop['shape']))} voxels of {' × '.join(f'{x:g}' for x in crop['spacing_mm'])} mm (z, y, x) "
        "around the prostate was cut out."
        if crop
        else ""
    )
    return (
        "PET was converted to SUV by body weight from its DICOM header, and a header that does not allow it quarantines the patient."
        f"{cuboid} {_left_out(known)}"
    ).strip()


def _outcome(known: Facts) -> str:
    horizon = known.get("metrics", "horizon_months")
    if horizon is None:
        return ""
    if not known.paper:
        return _asked(known)
    return (
        "Synchronous metastasis: column synchronous_metastasis, on the same scan. Metachronous progression: column progression "
        f"within {horizon:g} months; event-free patients followed for less are left out of the AUC and kept, as censored, in the "
        "survival analysis."
    )


def _asked(known: Facts) -> str:
    """What is learnt and evaluated, where it is not the paper's."""
    sections, told = known.get("metrics", "sections") or {}, []
    for key in known.unseen:
        if key == "prospective" or key not in sections:
            continue
        one, horizon = sections[key], sections[key]["horizon"]
        within = f" within {horizon:g} months" if horizon else ""
        told.append(f"{one['words']}: column {one['outcome']}{within}")
    over_time = any(sections[key]["horizon"] for key in known.unseen if key in sections)
    left = (
        " Patients who left before count for as long as they were followed: the others are weighted up in their place."
        if over_time
        else ""
    )
    return f"Learnt: {known.within}. Evaluated: {'; '.join(dict.fromkeys(told))}.{left}"


def predictors(known: Facts) -> str:
    order = known.get("bayes", "models", "multimodal", "order")
    return f"Inputs were set beforehand, none was selected by the data: {', '.join(order)}." if order else ""


def measured(known: Facts) -> str:
    source = known.get("fuse", "values", "suv_peak_source")
    if not source:
        return ""
    return (
        f"SUVpeak was the reader's in {source['reader']} patients and measured in {source['measured']}; PRIMARY and expression are "
        "the readers' columns; the rest is the cohort table and the network."
    )


def _size(known: Facts) -> str:
    test = known.section.get("n")
    advice = (known.section.get("interval_advice") or {}).get("sentence")
    return (
        f"All patients of the table were used; the test part has {test}. {advice or ''}".strip()
        if test
        else ""
    )


def missing(known: Facts) -> str:
    gaps = known.get("fuse", "values", "missing")
    if gaps is None:
        return ""
    told = ", ".join(f"{name} {n}" for name, n in gaps.items() if n) or "none"
    return (
        f"Missing values (patients): {told}. Nothing is imputed: naive Bayes leaves a missing input's factor out, in fitting and in "
        "predicting, so that being missing tells nothing."
    )


def split(known: Facts) -> str:
    parts = known.get("fuse", "values", "parts")
    if not parts:
        return ""
    told = ", ".join(f"{name} {parts[name]}" for name in sorted(parts, key=_part_order))
    ratios = known.told("split", "ratios")
    how = (
        f" Development patients were assigned {' / '.join(f'{r:g}' for r in ratios)} at random, once, in a ledger."
        if ratios
        else ""
    )
    first = "the one split" if known.splits == 1 else f"the first of {known.splits} splits"
    return f"Patients per part of {first}: {told}.{how} No test patient is in any fit or selection."


def _form(known: Facts) -> str:
    log = known.get("bayes", "log")
    if log is None:
        return ""
    return (
        f"Every input enters as a number with one normal density per class; as logarithm: {', '.join(log) or 'none'}; the network's "
        "score as logit. Nothing is cut into categories."
    )


def _building(known: Facts) -> str:
    chosen = known.get("select", "values")
    if not chosen:
        return ""
    return (
        f"{chosen['candidates']} networks were trained on the training part; {taken(chosen)} by {chosen['metric']} on the validation part. "
        f"Naive Bayes was fitted on training and validation, the network's two densities on: "
        f"{known.get('fuse', 'values', 'cnn_score_fitted_on') or 'validation'}. Judged on the test part, whose scores are made only after that choice."
    )


def taken(chosen: dict[str, Any]) -> str:
    """Which of the trained networks the score comes from."""
    if chosen.get("members", 1) > 1:
        return f"the score is the mean logit of the {chosen['members']} best"
    return f"the best one was taken ({chosen['variant']}, seed {chosen['seed']})"


def _clusters(known: Facts) -> str:
    sites = known.get("table1", "sites")
    if not sites:
        return ""
    odd = [s["site"] for s in sites if s["flags"]]
    flagged = f"measures differ at: {', '.join(odd)}" if odd else "no site's measures stand out"
    return f"Sites were described, not modelled; {flagged}. Performance by site is not computed."


def _measures(known: Facts) -> str:
    level = known.get("metrics", "confidence")
    if level is None:
        return ""
    return (
        f"AUC with DeLong, logit and bootstrap intervals ({100 * level:g} %), Mann-Whitney and DeLong p, paired DeLong tests, "
        "calibration intercept, slope, E/O, Brier score and curve, decision curve; Kaplan-Meier, log-rank, Cox, C-index, AUC over time."
    )


def _updating(known: Facts) -> str:
    found = known.get("metrics", "recalibration", "multimodal")
    if not found:
        return ""
    if not found["usable"]:
        return f"Logistic recalibration on the validation part was not usable: {found['reason']}"
    return (
        f"Logistic recalibration fitted on the {found['n']} patients of the validation part: intercept {found['intercept']:.2f}, slope "
        f"{found['slope']:.2f}. AUCs and survival use the score before it."
    )


def calculation(known: Facts) -> str:
    return (
        "log-odds = log of the prior odds + the sum, over the known inputs, of the log ratio of the two normal densities; all numbers are in naive_bayes.json."
        if known.get("bayes", "models")
        else ""
    )


def _imbalance(known: Facts) -> str:
    values = known.get("dataset", "values")
    if not values:
        return ""
    return (
        f"{values['training_positive']} of {values['training']} patients the network was trained on had the outcome; its loss weighs them "
        "by negatives / positives. Naive Bayes keeps the observed prior. Nobody was resampled."
    )


def _output(known: Facts) -> str:
    return (
        f"A log-odds and a probability of {known.within}; no threshold is part of the model, and Youden's in the results "
        "is chosen on the same patients."
        if known.get("bayes", "models")
        else ""
    )


def _difference(known: Facts) -> str:
    if not known.get("metrics", "sections"):
        return ""
    text = "Test, training and validation were drawn from one cohort at random: this is internal validation."
    if _has(known, known.later):
        text += " The metachronous patients were localised at the scan and have another outcome, so that calibration is not expected there."
    return text


def _code(known: Facts) -> str:
    if not known.versions:
        return ""
    told = ", ".join(f"{name} {version}" for name, version in sorted(known.versions.items()))
    return f"promet is open source (Apache-2.0); every job's record names its libraries: {told}."


def _flow(known: Facts) -> str:
    sections = known.get("metrics", "sections") or {}
    order = known.get("metrics", "section_order") or []
    told = [
        f"{s['title']}: {s['n']} of {s['patients']} with label, {s['positives']} with and {s['negatives']} without the outcome"
        for s in map(sections.get, order)
        if s and s["patients"]
    ]
    return " ".join([_left_out(known), *(f"{line}." for line in told)]).strip() if told else ""


def _characteristics(known: Facts) -> str:
    groups = known.get("table1", "groups")
    if not groups:
        return ""
    told = ", ".join(f"{group['name']} {group['n']}" for group in groups)
    return f"Table 1 by cohort and label: {told}."


def events(known: Facts) -> str:
    counts, sections = known.get("fuse", "values", "fitted_on"), known.get("metrics", "sections")
    if not counts or not sections:
        return ""
    cases = {part: sections[f"{known.primary}_{part}"]["positives"] for part in counts}
    return (
        "Naive Bayes was fitted on "
        + ", ".join(
            f"{part} {count(counts[part], 'patient')} ({cases[part]} with {known.learnt})"
            for part in sorted(counts, key=_part_order)
        )
        + "."
    )


def specification(known: Facts) -> str:
    if not known.get("bayes", "models"):
        return ""
    digest = known.get("model", "digest")
    weights = f"; the network's weights have SHA-256 {digest[:16]}…" if digest else ""
    return f"Priors, means, variances and transforms of every model are in naive_bayes.json{weights}."


def performance(known: Facts) -> str:
    said = []
    for key in known.unseen:
        part = known.get("metrics", "sections", key) or {}
        for name in ("multimodal", "cnn_score", "clinical"):
            record = (part.get("scores") or {}).get(name) or {}
            if record.get("auc") is None:
                continue
            prefer = (part.get("interval_advice") or {}).get("prefer") or "delong"
            low, high = record[prefer]["low"], record[prefer]["high"]
            limits = ["unknown" if limit is None else f"{limit:.2f}" for limit in (low, high)]
            interval = " (no interval)" if low is high is None else f" ({' to '.join(limits)}, {prefer})"
            said.append(f"{part['title']}, {name}: AUC {record['auc']:.2f}{interval}, n = {record['n']}.")
    together = known.get("pooled", "sections", known.primary, "scores") or {}
    for name, record in together.items():
        if known.splits > 1 and record["low"] is not None:
            said.append(
                f"Test parts of {record['n']} splits together, {name}: mean AUC {record['mean']:.2f} ({record['low']:.2f} to "
                f"{record['high']:.2f}, corrected for the patients they share)."
            )
    return " ".join(said)


def recalibrated(known: Facts) -> str:
    both = (known.section.get("calibration") or {}).get("multimodal")
    if not both:
        return ""
    said = []
    for when in ("before", "after"):
        record = both.get(when)
        if record is None:
            said.append(f"none {when} recalibration, which was not usable")
            continue
        slope, brier = record["slope"]["value"], record["brier"]
        told = "no slope" if slope is None else f"slope {slope:.2f}"
        said.append(f"{when} recalibration {told}, Brier score {brier:.3f}" if brier is not None else "")
    told = "; ".join(x for x in said if x)
    return f"Test part, multimodal: {told}." if told else ""


def chance(known: Facts) -> str:
    found = known.get("permutation", "models", "multimodal")
    if not found or found["all"]["p"] is None:
        return ""
    p = found["all"]["p"]
    return (
        f"With permuted labels the fused AUC of the test part is {found['all']['low']:.2f} to {found['all']['high']:.2f} in 95 % of "
        f"{len(found['all']['auc'])} permutations (observed {found['observed']:.2f}, p {'< 0.001' if p < 0.001 else f'{p:.3f}'})."
    )


def _poor_input(known: Facts) -> str:
    if not known.get("bayes", "models"):
        return ""
    return (
        "A file that cannot be trusted quarantines the patient with a reason and gives no score. A missing clinical value is left out; "
        "with nothing known the prior is given. A scan without a lesion is scored from the other inputs."
    )


def _part_order(name: str) -> int:
    order = ("training", "validation", "test", "metachronous", "prospective")
    return order.index(name) if name in order else len(order)


def _has(known: Facts, key: str) -> bool:
    section: Any = known.get("metrics", "sections", key) or {}
    return bool(section.get("n"))
