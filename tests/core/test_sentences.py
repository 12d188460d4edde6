"""No room matches promet's own English sentences: what a comma more or less would change is no rule.

Texts of other programs and of file formats have to be matched as they are; each stands below with whose it is.
"""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "scripts/promet"
FOREIGN = {
    "core/volumes.py": "fields of an NRRD header and its types",
    "core/words.py": "commands, as they are typed",
    "study/nnunet.py": "columns of a public table",
    "workflow/progress.py": "lines of Snakemake's log",
    "workflow/scheduler/refusals.py": "answers of SLURM",
    "workflow/scheduler/site.py": "answers of SLURM",
    "workflow/scheduler/submit.py": "errors of Snakemake's executor",
    "model/predict.py": "an error of torch",
    "core/system.py": "errors of the operating system and of numpy",
    "model/wording.py": "what only the house of the training can do: taken out for a hospital, never acted upon",
    "documents.py": "marks of what is generated in a file",
}
METHODS = {
    "startswith", "endswith", "partition", "rpartition", "split", "rsplit", "find", "rfind", "index", "rindex", "count", "removeprefix",
    "removesuffix", "match", "search", "fullmatch", "findall", "finditer", "compile", "replace",
}  # fmt: skip

WORDS = re.compile(r"[A-Za-z][:,]? [A-Za-z]")


def matched(source):
    """(line, sentence) of each constant of two words or more that something is compared with or searched for."""
    for node in ast.walk(ast.parse(source)):
        sides = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
        ):
            sides = (
                node.args[:1] if node.func.attr == "replace" else node.args
            )  # the second is what is put in
        for side in sides:
            for part in ast.walk(side):
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and WORDS.search(part.value)
                ):
                    yield part.lineno, part.value


@pytest.mark.parametrize(
    "source",
    [
        'note.endswith("are left out.")',
        '"are left out" in note',
        'note == "No lesion"',
        're.search("left out", note)',
        'note.split(" Expected: the")',
        'note in {"No lesion", "other"}',
        'match note:\n    case "No lesion":\n        pass',
        'note.replace("a setting", "b")',
    ],
)
def test_a_match_would_be_seen(source):
    assert list(matched(source))


@pytest.mark.parametrize(
    "source", ['note + "are left out"', 'x.replace("a", "two words")', '"ok" in x', 'say("two words")']
)
def test_saying_something_is_no_match(source):
    assert not list(matched(source))


def test_no_room_matches_sentences():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if hits := list(matched(path.read_text(encoding="utf-8"))):
            found[path.relative_to(PACKAGE).as_posix()] = hits
    assert {name: hits for name, hits in found.items() if name not in FOREIGN} == {}
    assert set(FOREIGN) <= set(found), "no longer needed"
