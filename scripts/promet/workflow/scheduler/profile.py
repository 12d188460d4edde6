"""The profile that Snakemake will use: does it send jobs to SLURM, and what do they ask for?"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promet.core.environment import SOURCE

SOMETIMES = {"organs", "bucket", "attention", "hindsight", "bundle"}  # rules that not every study has
FIRST = re.compile(
    r"min\((?:(\d+) \* )?attempt, (\d+)\)"
)  # how profiles/slurm asks for more with each attempt


@dataclass(frozen=True)
class Asked:
    """What a submission asks for at its first attempt; minutes and megabytes, 0 where it says nothing.

    ``rule`` is '' for rules that have no entry, and of a group the names of its members.
    """

    rule: str
    minutes: int
    megabytes: int
    partition: str
    options: tuple[str, ...]


def goes_to_slurm(options: list[str]) -> bool:
    """Will Snakemake, called with these options, submit to SLURM?"""
    executor = value_of(options, "--executor", "-e")
    if executor:
        return executor == "slurm"
    return any(
        re.search(r"^executor:\s*slurm\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in _files(options)
    )


def asked(options: list[str]) -> list[Asked]:
    """What each rule, or group of rules for one patient or split, asks for; the default comes first.

    Of a profile that cannot be read as a mapping nothing is known: Snakemake has its own words for that.
    """
    import yaml
    import yte

    values: dict[str, Any] = {}
    for path in _files(options):
        try:
            text = path.read_text(encoding="utf-8")
            read = (
                yte.process_yaml(text, require_use_yte=True)
                if "__use_yte__" in text
                else yaml.safe_load(text)
            )
        except Exception:
            continue
        values = {**(read or {}), **values} if isinstance(read, dict) else values
    return list(_asked(values))


def _asked(values: dict[str, Any]) -> Iterator[Asked]:
    default, rules = values.get("default-resources") or {}, values.get("set-resources") or {}
    if not isinstance(default, dict) or not isinstance(rules, dict):
        return
    groups = values.get("groups") or {}
    together: dict[str, list[Asked]] = {}
    for rule, own in {"": {}, **rules}.items():
        if rule in SOMETIMES:
            continue
        here = {**default, **(own if isinstance(own, dict) else {})}
        here = {key: value.strip("'") if isinstance(value, str) else value for key, value in here.items()}
        words = [
            (f"--qos={here['qos']}" if "qos" in here else ""),
            (f"--constraint={here['constraint']}" if "constraint" in here else ""),
            (f"--reservation={values['slurm-reservation']}" if values.get("slurm-reservation") else ""),
            (f"--account={here['slurm_account']}" if here.get("slurm_account", "none") != "none" else ""),
            (f"--gres={here['gres']}" if "gres" in here else "--gpus=1" if rule == "train" else ""),
        ]
        one = Asked(
            rule,
            _first(here.get("runtime")),
            _first(here.get("mem_mb")),
            str(here.get("slurm_partition", "")),
            (*filter(None, words), *shlex.split(str(here.get("slurm_extra", "")))),
        )
        if groups.get(rule) == "seeds":
            one = _of_all_seeds(one, values)
        together.setdefault(f"{groups.get(rule, rule)} {one.partition} {one.options}", []).append(one)
    for members in together.values():
        yield Asked(
            ", ".join(one.rule for one in members),
            sum(one.minutes for one in members),
            max(one.megabytes for one in members),
            members[0].partition,
            members[0].options,
        )


def _of_all_seeds(one: Asked, values: dict[str, Any]) -> Asked:
    """What one submission of several trainings asks for: those at a time beside each other, and one such row after another."""
    seeds = int((values.get("group-components") or {}).get("seeds", 1))
    at_once = int((values.get("resources") or {}).get("seat", 1))
    return replace(one, minutes=one.minutes * -(-seeds // at_once), megabytes=one.megabytes * at_once)


def _first(value: object) -> int:
    """Number of the first attempt."""
    if isinstance(value, int):
        return value
    found = FIRST.fullmatch(str(value))
    return min(int(found[1] or 1), int(found[2])) if found else 0


def _files(options: list[str]) -> list[Path]:
    """Files of the workflow's profile, then of the site's; a key of the first replaces that of the second."""
    name = value_of(options, "--workflow-profile") or "default"
    site = value_of(options, "--profile") or os.environ.get("SNAKEMAKE_PROFILE") or "none"
    folders = [Path(name), Path("profiles", name), SOURCE / "profiles" / name]
    sites = [Path(site), Path(os.path.expanduser("~/.config/snakemake"), site)]
    return [
        path
        for found in (folders, sites)
        for folder in [folder for folder in found if folder.is_dir()][:1]
        for path in sorted(folder.glob("*.y*ml"))
    ]


def value_of(options: list[str], *names: str) -> str:
    """The value of the last option of these names, as ``--name value`` or ``--name=value``."""
    value = ""
    for place, word in enumerate(options):
        name, equals, rest = word.partition("=")
        if name in names:
            value = rest if equals else "".join(options[place + 1 : place + 2])
    return value
