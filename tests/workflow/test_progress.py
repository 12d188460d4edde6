"""What a run shows, fed with Snakemake's events by hand."""

import logging
from dataclasses import dataclass

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.workflow.progress import LogHandler, Started, Tally
from promet.workflow.reasons import duration, last_words


@dataclass
class Output:
    """Snakemake's output settings, as far as they are read."""

    dryrun: bool = False


@pytest.fixture
def events(monkeypatch, capsys):
    monkeypatch.setenv("PROMET_PHASE", "prepare")

    class Events:
        def __init__(self, dryrun=False):
            self.handler = LogHandler(Output(dryrun), None)

        def send(self, event, message="", level=logging.INFO, **what):
            record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
            record.__dict__.update(event=event, **what)
            self.handler.emit(record)

        def start(self, number, stage="crop", patient="D1", output=(), log=()):
            self.send(
                LogEvent.JOB_INFO,
                jobid=number,
                rule_name=stage,
                wildcards={"patient": patient},
                output=list(output),
                log=list(log),
            )

        def done(self, number):
            self.send(LogEvent.JOB_FINISHED, job_id=number)

        def lines(self):
            return capsys.readouterr().out.splitlines()

    return Events


def test_snakemake_finds_it():
    assert LoggerPluginRegistry().get_plugin("promet").log_handler is LogHandler


def test_a_calm_log(events):
    """A line at the start, one per stage of several jobs, one at the end."""
    run = events()
    run.send(LogEvent.RUN_INFO, stats={"prepare": 1, "crop": 3, "gather": 1, "total": 5})
    for i, stage in enumerate(["crop"] * 3 + ["gather"]):
        run.start(i, stage)
        run.done(i)
    run.start(9, "prepare")
    run.done(9)
    run.handler.close()
    run.handler.close()
    first, stage, last = run.lines()
    assert first == "prepare: 4 jobs (crop 3, gather)"
    assert stage.startswith("prepare: crop complete, 3 of 4 jobs done, 0 running")
    assert last.startswith("prepare: 4 of 4 jobs done in ")


def test_a_quarantined_patient_is_told_when_it_happens_and_once(events, tmp_path):
    run = events()
    for number, stage in enumerate(("convert", "segment")):
        path = tmp_path / f"{stage}.json"
        Sidecar(stage, "p", "quarantined", code="E_X", reason="Bad.", origin="convert").write(path)
        run.start(number, stage, "D7", output=[str(path)])
        run.done(number)
    assert run.lines() == ["quarantined: D7 by convert, E_X: Bad."]


def test_a_failed_job_ends_with_its_last_words(events, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("epoch 1\npromet: E_Y: No good. Do this.\n")
    run = events()
    run.send(LogEvent.RUN_INFO, stats={"train": 1})
    run.start(1, "train", log=[str(log)])
    run.send(LogEvent.JOB_ERROR, level=logging.ERROR, jobid=1, rule_name="train", log=[str(log)])
    run.start(1, "train", log=[str(log)])  # a second attempt
    run.send(LogEvent.JOB_ERROR, level=logging.ERROR, jobid=1, rule_name="train", log=[str(log)])
    run.send(LogEvent.ERROR, "RuleException:\nCalledProcessError in file x: Command '...'", logging.ERROR)
    run.send(None, "Exiting because a job execution failed. Look below", logging.ERROR)
    run.send(None, "Complete log(s): /a/b.snakemake.log", logging.INFO)
    run.handler.close()
    said = run.lines()
    assert said[1] == f"failed: train D1: E_Y: No good. Do this. (log: {log})"
    assert said[2].startswith("prepare: 0 of 1 job done, 1 failed in ")
    assert said[3].startswith("Snakemake's own log: ") and said[3].endswith("b.snakemake.log")
    assert len(said) == 4


def test_what_snakemake_must_say_is_said_once_and_chatter_is_not(events):
    run = events()
    run.send(None, "Conda environments: ignored")
    for _ in range(2):
        run.send(LogEvent.ERROR, "MissingInputException: x", logging.ERROR)
    assert run.lines() == ["MissingInputException: x"]


def test_a_dry_run_only_counts(events):
    run = events(dryrun=True)
    for _ in range(2):
        run.send(LogEvent.RUN_INFO, stats={"crop": 2, "total": 2})
    run.start(1)
    run.handler.close()
    assert run.lines() == ["would run at most 2 jobs (crop 2)"]


def test_time_left():
    tally = Tally({"crop": 10, "gather": 1}, begun=0.0)
    assert tally.seconds_left(1.0) is None
    tally.done["crop"], tally.took["crop"] = 4, [2.0] * 4
    # 8 s of work in 4 s: two at once; 7 jobs of 2 s are left (gather, not seen yet, is taken for one of them)
    assert tally.seconds_left(4.0) == pytest.approx(7.0)
    tally.wanted["train"] = 50  # nothing is known of them
    assert tally.seconds_left(4.0) is None
    tally.running[1] = Started("train", "seed 03", [], [], 0.0)
    assert tally.line() == "4 of 61 jobs done, 1 running (train)"


def test_words(tmp_path):
    assert [duration(s) for s in (0.2, 89, 100, 5340, 7800)] == [
        "1 s",
        "89 s",
        "2 min",
        "89 min",
        "2 h 10 min",
    ]
    assert (count(1, "job"), count(0, "job"), count(2, "job")) == ("1 job", "0 jobs", "2 jobs")
    (tmp_path / "log").write_text("promet: E: a\nTraceback\n")
    assert last_words(tmp_path / "log") == last_words(tmp_path / "absent") == ""
