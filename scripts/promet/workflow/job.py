"""A job of a plan, and the state in which its record is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Job:
    """One job and its state; ``status`` is the record's own word, ``pin`` the plan's and ``made_with`` the record's pin.

    fresh, stale, missing (never made), or lost: a patient's record that is gone while later ones are there, which
    Snakemake does not make again by itself.
    """

    stage: str
    at: dict[str, str]
    path: str
    state: str
    why: str = ""
    status: str = ""
    code: str = ""
    reason: str = ""
    origin: str = ""
    pin: str = ""
    made_with: str = ""

    @property
    def name(self) -> str:
        """Where in the study: a patient, or e.g. "split 00, seed 07"; '' for a job of the whole study."""
        at = [value if key == "patient" else f"{key} {value}" for key, value in self.at.items()]
        return ", ".join(at)
