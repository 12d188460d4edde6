"""The block ``outcome``: what it says of a patient, what the table must hold, who is assigned by what, and which pins it moves."""

import json
import math

import pytest

from promet.config import load, merge
from promet.config import parse as parse_config
from promet.core.errors import UsageError
from promet.study import assign, ledger, outcome, table
from promet.study.faults import check
from promet.study.outcome import PAPER, Binary, ByHorizon, Outcome, TimeToEvent
from promet.study.parts import cannot_train
from promet.workflow.stages import STAGES
from promet.workflow.uses import columns_used, stage_settings

TIMED = {
    "kind": "time_to_event",
    "event": "progression",
    "time": "months",
    "competing": "died",
    "horizon_months": 48,
    "edges": [12, 24, 36, 48],
}
RANKED = {"network": {"select": {"metric": "concordance"}}}  # which a time to an event asks for
OWN = {"kind": "binary", "column": "psa_persistence"}


def row(event="", time="", died="", **cells):
    return {"patient": "A", "progression": event, "months": time, "died": died, **cells}


def test_status_and_label_at_the_horizon():
    """case = event by then; control = seen at the horizon, or the competing event by then; else unknown."""
    aim = TimeToEvent.model_validate(TIMED)
    for cells, status, label, stratum in (
        (("1", "48", "0"), (48, 1), 1.0, "event"),
        (("1", "48.5", ""), (48.5, 1), 0.0, "event-free"),
        (("0", "48", ""), (48, 0), 0.0, "event-free"),
        (("0", "47", "0"), (47, 0), math.nan, "unknown"),
        (("0", "47", "1"), (47, 2), 0.0, "event-free"),
        (("0", "60", "1"), (60, 2), 0.0, "event-free"),
        (("1", "20", "1"), (20, 1), 1.0, "event"),  # progression counts, the death followed
        (("", "", ""), (math.nan, math.nan), math.nan, "unknown"),
        (("1", "", ""), (math.nan, math.nan), math.nan, "unknown"),
    ):
        given = row(*cells)
        assert outcome.status(given, aim) == pytest.approx(status, nan_ok=True)
        assert outcome.label(given, aim) == pytest.approx(label, nan_ok=True)
        assert outcome.stratum(given, aim) == stratum
        assert outcome.given(given, aim) == bool(cells[0] and cells[1])
    assert math.isnan(outcome.label(row("0", "40"), ByHorizon(), 48))
    assert outcome.label(row("0", "40"), ByHorizon(), 36) == 0
    with pytest.raises(UsageError, match="psa_persistence"):
        outcome.label({"patient": "A", "psa_persistence": "2"}, Binary(column="psa_persistence"))


def test_a_block_laid_over_the_default_keeps_nothing_of_another_kind():
    """Snakemake and promet lay configurations over each other key by key."""
    laid = merge(
        load().model_dump(mode="json"), RANKED | {"outcome": {"learn": TIMED, "evaluate": {"late": TIMED}}}
    )
    found = parse_config(laid).outcome
    assert found.learn == TimeToEvent.model_validate(TIMED) and found.learn.intervals == (12, 24, 36, 48)
    assert set(found.evaluate) == {"synchronous", "metachronous", "late"}
    assert [found.patients_of(name) for name in ("synchronous", "metachronous", "late")] == ["test"] * 3
    assert PAPER.patients_of("metachronous") == "metachronous" and PAPER.learnt == "metastases"
    assert found.learnt == "progression within 48 months"
    assert (
        Outcome(words={"progression": "biochemical recurrence"}).noun(ByHorizon()) == "biochemical recurrence"
    )


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"learn": {"kind": "binary", "column": "psa"}}, "holds something else"),
        ({"learn": {"kind": "binary", "column": "pet"}}, "holds something else"),
        ({"learn": {"kind": "by_horizon"}}, "horizon_months is missing"),
        ({"learn": TIMED | {"edges": [12, 36]}}, "last edge is 36"),
        ({"learn": TIMED | {"edges": [24, 12, 48]}}, "ascend"),
        ({"learn": TIMED | {"competing": "progression"}}, "one column"),
        ({"learn": TIMED | {"time": "died"}}, "both"),
        ({"learn": {"kind": "binary", "column": "a b"}}, "pattern"),
        ({"evaluate": {"x": {"kind": "survival"}}}, "kind"),
    ],
)
def test_what_cannot_be_an_outcome(block, said):
    with pytest.raises(UsageError, match=said):
        parse_config({"outcome": block})


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.outcome])
def test_the_papers_block_enters_no_pin(stage):
    default = load().model_dump(mode="json")
    without = {key: value for key, value in default.items() if key != "outcome"}
    late = {"metachronous": {"horizon_months": default["evaluation"]["horizon_months"]}}
    written = parse_config(merge(default, {"outcome": {"evaluate": late}})).model_dump(mode="json")
    for config in (default, without, written):
        assert "outcome" not in stage_settings(config, stage, "paper")
        assert set(columns_used(config, stage)) == set(STAGES[stage].columns)


def test_each_stage_is_told_what_it_uses():
    def told(stage, **block):
        ranked = RANKED if block.get("learn", OWN)["kind"] == "time_to_event" else {}
        config = parse_config(ranked | {"outcome": block}).model_dump(mode="json")
        return stage_settings(config, stage, "paper").get("outcome"), columns_used(config, stage)

    assert told("train", learn=OWN) == (None, ())  # labels are labels
    assert told("train", learn=TIMED)[0] == {
        "learn": {"kind": "time_to_event", "horizon_months": 48, "edges": [12, 24, 36, 48]}
    }
    assert told("train", learn=TIMED | {"competing": ""}) == told(
        "train", learn=TIMED
    )  # in which columns is no matter
    assert told("dataset", learn=OWN) == ({"learn": OWN}, ("psa_persistence",))
    assert set(told("dataset", learn=TIMED)[1]) == {"progression", "months", "died"}
    for words in ({"psa_persistence": "PSA persistence"},):
        assert told("fuse", words=words)[0] is None and told("evaluate", words=words)[0] == {"words": words}
    evaluated = {"x": OWN}
    assert "psa_persistence" in told("evaluate", evaluate=evaluated)[1]
    assert told("fuse", evaluate=evaluated) == (None, STAGES["fuse"].columns)
    text, found = outcome.apart(json.dumps({"bootstrap": 100, "outcome": {"learn": TIMED}}))
    assert json.loads(text) == {"bootstrap": 100} and found.learn == TimeToEvent.model_validate(TIMED)
    assert outcome.apart("{}") == ("{}", PAPER)


def test_the_table_must_hold_what_the_outcome_names(paper):
    def faults(block):
        return {(f.line, f.column, f.severity) for f in check("cohort.tsv", Outcome.model_validate(block))}

    assert faults({"learn": OWN}) == {(1, "psa_persistence", "error")} | {
        (line, "psa_persistence", "warning") for line in range(2, 8)
    }
    for name, cells in paper.rows.items():
        cells["psa_persistence"] = {"D0": "2", "P0": ""}.get(name, "1")
    text = ["\t".join(paper.rows["D0"]), *("\t".join(cells.values()) for cells in paper.rows.values())]
    (paper.folder / "cohort.tsv").write_text("\n".join(text) + "\n")
    assert (1, "psa_persistence", "error") in faults({})  # a column that nothing names
    assert faults({"learn": OWN}) == {(2, "psa_persistence", "error")}


def test_a_table_without_deaths_is_a_table_until_they_are_named(paper):
    for cells in paper.rows.values():
        del cells["died"]
    text = ["\t".join(paper.rows["D0"]), *("\t".join(cells.values()) for cells in paper.rows.values())]
    (paper.folder / "cohort.tsv").write_text("\n".join(text) + "\n")
    assert check("cohort.tsv") == []
    named = check("cohort.tsv", Outcome.model_validate({"learn": TIMED}))
    assert (1, "died", "error") in {(f.line, f.column, f.severity) for f in named}


def test_a_death_that_nothing_counts_is_told(paper):
    paper.put("M0", role="metachronous", progression="0", months="12", died="1")
    (fault,) = check("cohort.tsv")
    assert (fault.column, fault.severity) == ("died", "warning")
    paper.put("M0", months="")
    assert {f.column for f in check("cohort.tsv") if f.severity == "error"} == {"months"}
    named = Outcome.model_validate({"evaluate": {"later": {"kind": "by_horizon", "competing": "died"}}})
    paper.put("M0", months="12")
    assert check("cohort.tsv", named) == []


def followed(paper, n=24):
    """Development patients with time and event instead of a label: a third each with event, event-free and left early."""
    for name in list(paper.rows):
        paper.put(name, synchronous_metastasis="")
    for i in range(n):
        event, months = (("1", "20"), ("0", "50"), ("0", "30"))[i % 3]
        paper.put(f"D{i}", role="development", synchronous_metastasis="", progression=event, months=months)
    paper.config |= {"outcome": {"learn": TIMED}, "network": {"seeds": 2, **RANKED["network"]}}
    paper.save()


def test_assigned_by_event_event_free_and_unknown(paper):
    followed(paper)
    paper.intake()
    entries = ledger.read("registry/s/ledger.tsv")
    assert len(entries) == 24
    for stratum in ("event", "event-free", "unknown"):
        parts = [entry.part for entry in entries if entry.stratum == stratum]
        assert [parts.count(part) for part in ledger.ASSIGNED] in ([4, 2, 2], [4, 1, 3]), stratum
    plan = paper.plan()
    assert len(plan.fit_members("00")) == sum(entry.part in ledger.FIT for entry in entries)
    paper.put("D0", months="")  # no time: no part, until it is there again
    assert (
        "D0" not in paper.plan(lenient=True)._parts["00"]
        or paper.plan(lenient=True).part("00", "D0") == "prospective"
    )


def test_two_events_and_two_event_free_are_needed(paper):
    followed(paper, 12)
    rows = table.read("cohort.tsv")
    learnt = Outcome.model_validate({"learn": TIMED})
    entries = assign.extend(
        [], rows, (0.5, 0.2, 0.3), ["synchronous_metastasis"], 1, "promet", outcome=learnt
    )
    said = cannot_train(entries, rows, outcome=learnt)
    assert "validation" in said and "without progression within 48 months" in said and "metasta" not in said


def test_an_edit_of_a_column_of_ones_own_is_named(paper):
    paper.config["outcome"] = {"learn": OWN}
    for i, cells in enumerate(paper.rows.values()):
        cells["psa_persistence"] = str(i % 2)
    names = list(paper.rows["D0"])

    def save():
        text = ["\t".join(names), *("\t".join(cells.values()) for cells in paper.rows.values())]
        (paper.folder / "cohort.tsv").write_text("\n".join(text) + "\n")
        (paper.folder / "config.yaml").write_text(json.dumps(paper.config))

    paper.save = save
    for i in range(6, 16):
        paper.put(f"D{i}", role="development", psa_persistence=str(i % 2))
        paper.rows[f"D{i}"] = {name: paper.rows[f"D{i}"].get(name, "") for name in names}
    paper.finish()
    member = paper.plan().fit_members("00")[0]
    paper.put(member, psa_persistence="1" if paper.rows[member]["psa_persistence"] == "0" else "0")
    why = paper.why()
    assert why["dataset"] == f"the column psa_persistence changed ({member})"
    assert {"dataset", "fuse", "evaluate", "table1"} <= why.keys() and not [
        s for s in why if s.startswith("train")
    ]
    paper.put(member, synchronous_metastasis="1")
    assert "synchronous_metastasis" not in paper.why()["dataset"]


def test_a_word_reaches_no_network(paper):
    paper.finish()
    paper.config["outcome"] = {"words": {"progression": "recurrence"}}
    paper.save()
    assert set(paper.why()) == {"evaluate", "survive", "table1", "tripod", "report"}
    assert "the setting outcome.words.progression changed" in paper.why()["evaluate"]
