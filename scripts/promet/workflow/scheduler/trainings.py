"""Trainings as one word of a command line, for the one process that does them all (promet/together.py)."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from collections.abc import Sequence

Training = tuple[list[str], str]  # the words after "promet network train", and the log


def members(job) -> list:
    """The jobs of a group, or the one job."""
    return list(job.jobs) if job.is_group() else [job]


def only(jobs: Sequence) -> bool:
    """Are these all trainings?"""
    return all(job.rule.name == "train" for job in jobs)


def told(command: str) -> Training:
    """Of the command of the rule: ``exec promet network train WORDS >> LOG 2>&1``."""
    words = shlex.split(command)
    return words[4:-3], words[-2]


def packed(trainings: Sequence[Training]) -> str:
    """As one word; their settings, the longest part, are mostly the same."""
    return base64.b64encode(zlib.compress(json.dumps(trainings).encode(), 9)).decode()


def unpacked(word: str) -> list[Training]:
    """What ``packed`` was given."""
    return [(words, log) for words, log in json.loads(zlib.decompress(base64.b64decode(word)))]
