"""Options of Snakemake behind promet run: every one is planned with, refused with a sentence, or changes nothing that runs."""

import contextlib
import re

import pytest
from promet_plan_study import ROOT

from promet.core.errors import UsageError
from promet.workflow import choices
from promet.workflow.choices import Choices, read
from promet.workflow.edges import Graph
from promet.workflow.forecast import lines, steps

SNAKEFILE = ROOT / "Snakefile"
# They decide where, how often, how wide and how loud jobs run, or which profile says so, but not which.
PASSED = """
    allow_ambiguity apptainer_args apptainer_prefix benchmark_extended conda_base_path conda_cleanup_pkgs conda_frontend
    conda_not_block_search_path_envvars conda_prefix container_image cores debug debug_dag default_resources envvars executor
    force_use_threads group_components groups ignore_incomplete job_deploy_sources jobname jobs jobscript keep_going
    keep_incomplete latency_wait local_cores logger max_inventory_time max_jobs_per_second max_jobs_per_timespan
    max_status_checks_per_second max_threads no_hooks no_subworkflows nocolor notemp persistence_backend
    persistence_backend_db_url precommand preemptible_retries preemptible_rules printshellcmds profile
    queue_input_wait_time quiet rerun_incomplete rerun_triggers resources retries runtime_profile
    runtime_source_cache_path scheduler scheduler_greediness scheduler_solver_path scheduler_subsample
    seconds_between_status_checks set_resource_scopes set_resources set_scatter set_threads shadow_prefix
    shared_fs_usage show_failed_logs skip_script_cleanup software_deployment_method strict_dag_evaluation
    trust_io_cache use_apptainer use_conda use_envmodules verbose wait_for_files wait_for_files_file workflow_profile
    wrapper_prefix
""".split()  # noqa: SIM905
PLUGINS = ("slurm_", "scheduler_greedy_", "scheduler_ilp_")


def test_every_option_of_snakemake_is_decided():
    from snakemake.cli import get_argument_parser

    known = vars(get_argument_parser().parse_args([]))
    decided = choices.PLANNED | set(choices.REFUSED) | set(PASSED)
    assert {name for name in known if not name.startswith(PLUGINS)} - decided == set()
    assert not set(PASSED) & (choices.PLANNED | set(choices.REFUSED))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--config", "network={seeds: 9}"), "config"),
        (("-C", "study=other"), "config"),
        (("--conf", "study=other"), "config"),  # Snakemake takes abbreviations
        (("--configfiles", "other.yaml"), "configfile"),
        (("--snakefile", "other"), "snakefile"),
        (("-s", "other"), "snakefile"),
        (("--directory", "elsewhere"), "directory"),
        (("report",), "target"),
        (("--cores", "4", "--touch"), "touch"),
        (("-kt",), "touch"),  # and joined letters
        (("--executor", "touch"), "executor touch"),
        (("-e", "dryrun"), "executor dryrun"),
        (("--batch", "gather=1/2"), "batch"),
        (("--allowed-rules", "gather"), "allowed-rules"),
        (("--consider-ancient", "fuse=0"), "consider-ancient"),
        (("--drop-metadata",), "drop-metadata"),
        (("--delete-all-output",), "delete-all-output"),
        (("--target-jobs", "gather:"), "target-jobs"),
        (("--summary",), "summary"),
        (("--no-such-option",), "understand"),
    ],
)
def test_what_would_run_something_else_is_refused(words, named):
    with pytest.raises(UsageError, match=named) as error:
        read(list(words), [], SNAKEFILE)
    assert error.value.code == "E_OPTION" and error.value.remedy


def test_a_profile_cannot_bypass_the_plan_either(tmp_path):
    for text in ("config: [study=other]", "configfile: other.yaml", "batch: gather=1/2"):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(UsageError, match="from a profile"):
            read(["--profile", str(tmp_path)], [], SNAKEFILE)
    (tmp_path / "config.yaml").write_text(
        "rerun-triggers: [mtime]\nforcerun: [fuse]\nrerun-incomplete: true\n"
    )
    assert read(["--profile", str(tmp_path)], [], SNAKEFILE) == Choices(again=frozenset({"fuse"}))


def test_what_is_chosen_is_planned_with():
    words = [
        "-n",
        "--until",
        "gather",
        "fuse",
        "--omit-from",
        "explain",
        "-R",
        "select",
        "--cores",
        "2",
        "-F",
    ]
    chosen = read(words, [], SNAKEFILE)
    assert chosen.dry and chosen.everything and chosen.until == {"gather", "fuse"}
    assert chosen.omit == {"explain"} and chosen.again == {"select"}
    for profile in ("default", "slurm"):
        assert read(["--workflow-profile", profile], [], SNAKEFILE) == Choices()


def one(name: str) -> frozenset[str]:
    return frozenset({name})


@pytest.mark.parametrize(
    ("chosen", "surely", "perhaps"),
    [
        (Choices(), "", ""),
        (Choices(again=one("report")), "report", ""),
        (Choices(again=one("results/tiny/fusion/split-00/naive_bayes.json")), "AFTER_FUSION", ""),
        (
            Choices(again=one("select")),
            "select tripod report",
            "score fuse explain permute evaluate survive pool",
        ),
        (Choices(again=one("select"), omit=one("score")), "select", ""),
        (Choices(again=one("fuse"), until=one("evaluate")), "fuse evaluate", ""),
        (Choices(again=one("fuse"), until=one("gather")), "", ""),
    ],
)
def test_the_forecast_follows_the_choice(finished, chosen, surely, perhaps):
    from promet_plan_changes import AFTER_FUSION
    from promet_plan_study import Study

    told = Study(finished).forecast(chosen)
    assert told == (AFTER_FUSION if surely == "AFTER_FUSION" else set(surely.split()), set(perhaps.split()))


def test_a_forced_job_runs_once_in_its_phase_beside_what_is_stale(copy):
    """--forcerun was dropped when something else was stale, and --forceall would have run in each phase."""
    study = copy("study")
    study.set_cell("D0", site="c")
    chosen = Choices(again=one("permute"))
    sure, perhaps = study.forecast(chosen)
    with contextlib.chdir(study.folder):
        assert [step.again for step in steps(Graph(study.plan()), chosen)] == [
            [],
            [],
            ["results/tiny/fusion/split-00/permute.json"],
        ]
        everything = steps(Graph(study.plan()), Choices(everything=True))
    records = [record for step in everything for record in step.again]
    assert len(records) == len(set(records)) == 11 * 6 + 2 + 2 + 11
    done = study.promet("run", "--forcerun", "permute", "--cores", "4")
    assert done.returncode == 0, done.stderr
    assert study.ran() == sure == {"permute", "table1", "tripod", "report"} and not perhaps


def test_a_name_of_no_job_is_refused(finished):
    from promet_plan_study import Study

    for chosen in (Choices(until=one("nothing")), Choices(again=one("fusion")), Choices(omit=one("x.json"))):
        with pytest.raises(UsageError, match="names no job of this study"):
            Study(finished).forecast(chosen)


def test_the_words_of_a_dry_run(copy, capsys):
    from promet.commands.run import run

    study = copy("study")
    study.set_cell("D0", psa="44")
    with contextlib.chdir(study.folder):
        assert run([study.configfile], ["-n"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == (
        "would run: 9 jobs (fuse, explain, permute, evaluate, survive, pool, table1, tripod, report)"
    )
    assert list(lines([], [])) == ["would run: nothing"]
    assert not (study.folder / "runs.log").exists()


def test_the_graph_is_that_of_the_rules(finished):
    """Every edge between two jobs, as Snakemake draws it from the rules."""
    from promet_plan_study import Study

    study = Study(finished)
    done = study.snakemake("all", "--forceall", "--dag")
    assert done.returncode == 0, done.stderr
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)', done.stdout))
    drawn = {(rules[a], rules[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)}
    with contextlib.chdir(finished):
        graph = Graph(study.plan())
        edges = {(other[0], key[0]) for key in graph.jobs for other, _ in graph.reads(key)}
    assert edges == {(a, b) for a, b in drawn if b != "all"}


@pytest.mark.parametrize(
    "once",
    [
        *(
            ["--until", "gather"],
            ["--unti=gather"],
            ["-U", "gather", "fuse"],
            ["-Ugather"],
            ["--omit-from", "report"],
        ),
        *(
            ["--omit-fr=report"],
            ["-O", "report"],
            ["--forcerun", "fuse"],
            ["-Rfuse"],
            ["-R", "fuse", "gather"],
        ),
        *(["--forceall"], ["-F"], ["--forcer=fuse", "--until", "gather"]),
    ],
    ids=" ".join,
)
def test_the_next_command_is_not_told_what_was_chosen_once(once):
    lasting = ["--cores", "2", "--resources", "gpu=1", "mem_mb=4", "--workflow-profile", "slurm", "-p"]
    for options in ([*lasting, *once], [*once, *lasting]):
        assert choices.lasting(options) == lasting
        read(options, [], SNAKEFILE)  # Snakemake understands each
        left = read(choices.lasting(options), [], SNAKEFILE)
        assert left == Choices()
