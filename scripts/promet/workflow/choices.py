"""Options of Snakemake behind ``promet run``: what they choose is planned with, passed on because it changes nothing that
runs, or refused with what to do instead. docs/hpc.md shows the table; Snakemake's own parser reads them, so that
abbreviations, joined letters and what a profile sets count too.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError

PLANNED = frozenset({"dryrun", "unlock", "until", "omit_from", "forcerun", "forceall"})
_BY_FILE = "write it into a file and name that with -c, since promet plans with what stands there"
_NO_RUN = "that is no run: call snakemake with it"
_INTERNAL = "only Snakemake itself gives it to its jobs"
_CUT = "a change could no longer stop at a product that comes out the same"
_PLACE = "promet reads and writes its files where they lie"
REFUSED = {
    **dict.fromkeys(("config", "configfile", "replace_workflow_config"), _BY_FILE),
    "snakefile": "promet plans with its own workflow: call snakemake --snakefile with another",
    "directory": "go to that folder and start there",
    "targets": "promet makes the whole study: --until STAGE for a part of it, or call snakemake with a file",
    "touch": "promet run puts file times in order by itself, and the records say what is stale",
    "force": "name what to make again: --forcerun STAGE",
    "consider_ancient": "what changed would no longer be seen",
    "prioritize": "it would begin a phase with what belongs to a later one: --until STAGE",
    "batch": "it leaves the rest undone: --until STAGE, or more buckets",
    "allowed_rules": "it leaves the rest undone: --until STAGE or --omit-from STAGE",
    **dict.fromkeys(("drop_metadata", "max_checksum_file_size"), _CUT),
    "nolock": "two runs in one folder would destroy each other's results",
    "cache": "results would come in that no record of this study explains",
    **dict.fromkeys(("all_temp", "omit_flags"), "results would be deleted that the study needs"),
    **dict.fromkeys(
        ("delete_all_output", "delete_temp_output"), "promet prune deletes what is no longer needed"
    ),
    "immediate_submit": "jobs would start before what they read is there",
    **dict.fromkeys(
        (
            "default_storage_provider",
            "default_storage_prefix",
            "keep_storage_local_copies",
            "not_retrieve_storage",
            "wait_for_free_local_storage",
            "local_storage_prefix",
        ),
        _PLACE,
    ),
    **dict.fromkeys(
        (
            "archive",
            "cleanup_metadata",
            "cleanup_shadow",
            "conda_cleanup_envs",
            "conda_create_envs_only",
            "container_cleanup_images",
            "containerize",
            "d3dag",
            "dag",
            "detailed_summary",
            "draft_notebook",
            "edit_notebook",
            "export_cwl",
            "filegraph",
            "generate_unit_tests",
            "lint",
            "list_changes",
            "list_conda_envs",
            "list_input_changes",
            "list_params_changes",
            "list_rules",
            "list_target_rules",
            "list_untracked",
            "notebook_listen",
            "print_compilation",
            "report",
            "report_after_run",
            "report_html_path",
            "report_html_stylesheet_path",
            "report_metadata",
            "report_stylesheet",
            "reporter",
            "rulegraph",
            "summary",
        ),
        _NO_RUN,
    ),
    **dict.fromkeys(
        (
            "attempt",
            "deploy_sources",
            "local_groupid",
            "mode",
            "remote_job_local_storage_prefix",
            "target_files_omit_workdir_adjustment",
            "target_jobs",
            "unneeded_temp_files",
        ),
        _INTERNAL,
    ),
}
# What is chosen for one run only; as Snakemake's parser takes them, abbreviated or with a letter and its value joined.
ONCE = re.compile(r"(--unt(il?)?|--omit-fr(om?)?|--forcer(un?)?)(=.*)?|--forceal?l?|-[UOR].*|-F", re.DOTALL)
IDLE = ("touch", "dryrun")  # executors under which jobs end at once and nothing is made


@dataclass(frozen=True)
class Choices:
    """What the options choose of the jobs: stages, records or files beside them."""

    dry: bool = False
    unlock: bool = False
    until: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    everything: bool = False


def read(options: list[str], configfiles: list[Path], snakefile: Path) -> Choices:
    """What the options of a run choose, those of a profile included.

    Raises:
        UsageError: ``E_OPTION``, one that Snakemake does not know, or that would run something else than is planned.
    """
    given = ["--snakefile", str(snakefile)]
    given += ["--configfile", *map(str, configfiles)] if configfiles else []
    bare, chosen = _parsed(given, profiles=False), _parsed([*given, *options])
    for name, reason in REFUSED.items():
        if repr(getattr(chosen, name, None)) != repr(getattr(bare, name, None)):
            option = "a target" if name == "targets" else f"--{name.replace('_', '-')}"
            raise UsageError(
                "E_OPTION",
                f"promet run does not take {option}, on the command line or from a profile",
                remedy=reason[0].upper() + reason[1:],
            )
    if chosen.executor in IDLE:
        raise UsageError(
            "E_OPTION",
            f"promet run does not take --executor {chosen.executor}, on the command line or from a profile",
            remedy="It runs nothing: -n says what would run",
        )
    return Choices(
        chosen.dryrun,
        chosen.unlock,
        frozenset(chosen.until),
        frozenset(chosen.omit_from),
        frozenset(chosen.forcerun),
        chosen.forceall,
    )


def lasting(options: list[str]) -> list[str]:
    """The options without those that choose a part of the study or what to make again, for a hint what to type next."""
    kept: list[str] = []
    once = False
    for word in options:
        if word.startswith("-"):
            once = ONCE.fullmatch(word) is not None
        if not once:
            kept.append(word)
    return kept


def _parsed(words: list[str], profiles: bool = True) -> Any:
    from snakemake import cli

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return cli.parse_args(words)[1] if profiles else cli.get_argument_parser().parse_args(words)
    except SystemExit as end:
        if not end.code:
            raise
        fault = said.getvalue().strip().rpartition("\n")[2].rpartition("error: ")[2]
        raise UsageError(
            "E_OPTION",
            f"Snakemake does not understand these options: {fault}",
            "options of promet run or of Snakemake",
            "See promet run --help and snakemake --help",
        ) from end
