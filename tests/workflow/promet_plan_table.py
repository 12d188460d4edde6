"""docs/staleness.md: the staleness matrix in words. Write it anew with: python tests/workflow/promet_plan_table.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from promet_plan_changes import AFTER_FUSION, AFTER_SCORE, TRAINED
from promet_plan_edits import EDITS
from promet_plan_study import IMAGES, ROOT

PAGE = ROOT / "docs/staleness.md"
HEAD = """# What an edit runs

Each line is a test (`tests/workflow/`): the edit is made in a finished study, and exactly these jobs must run, with the real
Snakefile, rules and intake. *promet run* stops a change at a product that comes out the same; *snakemake alone* cannot,
and leaves a record that is gone as long as later ones are there. Pins decide in both, whatever Snakemake remembers. "fuse ..." and "score ..." stand for fuse or score and all that read them.
Where another network wins the selection, score and all that read it run too.

| edit | promet run | snakemake alone, where it differs |
|---|---|---|
"""
REST = (
    "gather",
    "dataset",
    "training",
    "training of what is new",
    "select",
    "score ...",
    "fuse ...",
    "evaluate",
    "survive",
    "permute",
    "pool",
)


class Anyone:
    """Stands for a study: patients are named by their part."""

    def part(self, part: str) -> str:
        return f"the {part} patient"

    def ledger(self) -> dict[str, str]:
        return {"D8": "training"}

    def another_network_won(self) -> bool:
        return False


def in_words(jobs: set[str]) -> str:
    """A set of jobs as a person would say it."""
    left = {job.partition(" ")[0] for job in jobs}
    where: dict[str, set[str]] = {}
    for job in jobs:
        stage, _, place = job.partition(" ")
        if stage in IMAGES:
            where.setdefault(place, set()).add(stage)
    said = []
    if where:
        stages = next(iter(where.values()))
        whose = next(iter(where)) if len(where) == 1 else "everyone"
        whose = {
            "D8": "the new patient",
            "P1": "the new patient",
            "M2": "the new patient",
            "M0": "that patient",
        }.get(whose, whose)
        named = "images" if len(stages) == len(IMAGES) else ", ".join(s for s in IMAGES if s in stages)
        said.append(f"{named} of {whose}")
        left -= set(IMAGES)
    if "train" in left:
        left = left - {"train"} | {"training" if jobs >= TRAINED else "training of what is new"}
    for name, whole in (("score ...", AFTER_SCORE), ("fuse ...", AFTER_FUSION)):
        if whole <= left:
            left = left - whole | {name}
    last = ("table1", "tripod", "report", "bundle")
    said += [name for name in (*REST, *last) if name in left]
    assert left <= {*REST, *last}, left
    return ", ".join(said) or "nothing"


def page() -> str:
    """The whole page."""
    lines = []
    for edit in EDITS:
        ours = in_words(edit.jobs(Anyone()))
        alone = in_words(edit.plain(Anyone())) if edit.plain else ours
        lines.append(f"| {edit.name} | {ours} | {'' if alone == ours else alone} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
