"""What a stage declares. Imports nothing of promet, so that every room may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The wildcards of a job, by what there is one for.
WILDCARDS = {
    "patient": ("patient",),
    "bucket": ("bucket",),
    "seed": ("variant", "split", "seed"),
    "split": ("split",),
    "study": (),
}
PHASES = ("prepare", "lock", "all")  # of a run, and the targets they ask Snakemake for


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: of the rule, the command and the record.
        room: whose folder, environment and logs.
        version: raised by hand when its results change; tests/workflow/stage_lock.py compares the code.
        per: patient, bucket, seed, split or study: what there is one job for.
        folder: of the record, below the results folder for a patient's, else below the study's; wildcards in braces.
        after: the stages whose records it reads, of its own patient or split where they have one, else of all. Behind a
            stroke a small file of nothing but a digest: it is equal in bytes when what it stands for is equal, so that a
            change can end there. Of a patient's stage the first one must have left its record.
        settings: the part of the configuration that it uses: one section, or key it is given -> key of the
            configuration, both with dots.
        but: keys of that section that begin so are not used.
        also: further sections it uses, those of other stages.
        sources: columns of the table with the images that it reads.
        columns: of the table.
        outcome: parts of the block ``outcome`` that it uses (study.outcome.used): learn, task, evaluate, words. They come as
            key ``outcome`` of its settings, and its columns of ``stages.OUTCOME`` are then those that they name; of the
            paper's block nothing comes and nothing enters the pin.
        rows: whose, "all" or "fit" (training and validation).
        uses: what else its pin holds, by the names of ``Plan.listed``.
        split: the split whose parts it uses, for a stage of the whole study.
        phase: in which it runs first.
        bucket: the buckets that make it in a large cohort, "tensor" or "view"; '' for what not every patient has.
        group: of profiles/slurm; '' goes alone.
        mem_mb, minutes: of the first attempt and at most; no minutes: the rule says.
    """

    name: str
    room: str
    version: int
    per: str
    folder: str = "patients/{patient}"
    after: tuple[str, ...] = ()
    settings: str | Mapping[str, str] = field(default_factory=dict)
    but: str = ""
    also: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    rows: str = "all"
    uses: tuple[str, ...] = ()
    split: str = ""
    phase: str = "all"
    bucket: str = ""
    group: str = ""
    mem_mb: tuple[int, int] = (2000, 8000)
    minutes: tuple[int, int] = (10, 60)

    @property
    def record(self) -> str:
        """Where its record lies, as ``folder``."""
        return f"{self.folder}/{self.name}.json"

    @property
    def entry(self) -> str:
        """The module that makes it."""
        return f"promet.{self.room}.{self.name}"

    @property
    def before(self) -> tuple[str, ...]:
        """The stages of ``after``."""
        return tuple(word.partition("/")[0] for word in self.after)
