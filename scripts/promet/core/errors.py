"""Errors a person can act on: a code, what was found, what was expected, what to do."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1  # a job of a run failed; Snakemake's own code
EXIT_REFUSED = 2  # bad input, refused with a sentence
EXIT_BUG = 70  # an error promet did not foresee (EX_SOFTWARE)
EXIT_RESUMABLE = 75  # interrupted, state is saved, start the same command again (EX_TEMPFAIL)
EXIT_PIPE = 141  # whoever read the output went away, as shells count it


class PrometError(Exception):
    """A refusal with a code.

    The text must never carry a patient's name, a DICOM identifier, a date or a path that may hold
    one: say which source it is ("pet", "lesions"), which slice of how many, which tag by keyword.

    Args:
        code: stable upper-case code, e.g. ``E_PET_UNITS``.
        found: one sentence, what is wrong.
        expected: what would have been right.
        remedy: what the person can do.
    """

    def __init__(self, code: str, found: str, expected: str = "", remedy: str = "") -> None:
        self.code, self.found, self.expected, self.remedy = code, found, expected, remedy
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The whole message on one line."""
        text = self.found.rstrip(".") + "."
        if self.expected:
            text += f" Expected: {self.expected.rstrip('.')}."
        if self.remedy:
            text += f" {self.remedy.rstrip('.')}."
        return text


class DataError(PrometError):
    """A patient's data are bad: the patient is quarantined, the cohort goes on."""


class UsageError(PrometError):
    """The table, the configuration or the call is wrong: the command stops."""


class IntegrityError(PrometError):
    """A product does not match its record: the job fails, nothing is guessed."""


class Interrupted(PrometError):
    """A signal ended a resumable job after its state was saved."""
