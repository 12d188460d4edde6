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
    "network/device.py": "an error of torch",
    "core/system.py": "errors of the operating system and of numpy",
    "imaging/dicom/files.py": "names of DICOM elements, which get their numbers",
    "imaging/dicom/maps.py": "units, as DICOM writes them",
    "documents.py": "marks of what is generated in a file",
}
METHODS = {
    "startswith", "endswith", "partition", "rpartition", "split", "rsplit", "find", "rfind", "index", "rindex", "count", "removeprefix",
    "removesuffix", "match", "search", "fullmatch", "findall", "finditer", "compile", "replace",
}  # fmt: skip

WORDS = re.compile(r"[A-Za-z][:,]? [A-Za-z]")
# What holds a sentence of promet's: whoever looks for anything in one, be it a word or a pattern of another line, acts upon it.
HOLDERS = {"sentence", "reason", "remedy", "expected", "warning", "warnings", "note", "notes"}


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


def held(node):
    """Whether a name, an attribute or a key in ``node`` is one that holds a sentence."""
    return any(
        (isinstance(part, ast.Name) and part.id in HOLDERS)
        or (isinstance(part, ast.Attribute) and part.attr in HOLDERS)
        or (isinstance(part, ast.Subscript) and getattr(part.slice, "value", "") in HOLDERS)
        for part in ast.walk(node)
    )


def looked_into(source):
    """(line, code) where a sentence is taken apart or searched: any pattern in it, or a word that it is compared with."""
    for node in ast.walk(ast.parse(source)):
        sides = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in METHODS - {"count", "compile"} and (node.args or node.func.attr != "split"):
                sides = [node.func.value, *node.args]
            elif node.func.attr == "sub":  # what is put in may hold one
                sides = node.args[2:]
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            words = [p.value for side in sides for p in ast.walk(side) if isinstance(p, ast.Constant)]
            sides = sides if any(isinstance(word, str) and word for word in words) else []
        if any(held(side) for side in sides):
            yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        'found, _, rest = sentence.partition(" Expected: ")',
        "ELSEWHERE.search(remedy)",
        "PATTERN.search(record.reason)",
        '"column" in told["warnings"][0]',
        'note == "absent"',
        're.sub("a", "b", error.sentence())',
    ],
)
def test_a_look_into_a_sentence_would_be_seen(source):
    assert list(looked_into(source))


@pytest.mark.parametrize(
    "source",
    [
        "' '.join(reason.split())",
        "column == 'notes'",
        "if reason != '': pass",
        "notes.count(note)",
        "one.reason == two.reason",
    ],
)
def test_passing_a_sentence_on_is_no_look_into_it(source):
    assert not list(looked_into(source))


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
        source = path.read_text(encoding="utf-8")
        if hits := [*matched(source), *looked_into(source)]:
            found[path.relative_to(PACKAGE).as_posix()] = hits
    assert {name: hits for name, hits in found.items() if name not in FOREIGN} == {}
    assert set(FOREIGN) <= set(found), "no longer needed"
