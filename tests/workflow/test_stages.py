"""No stage's code changes without somebody saying whether its results do."""

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from promet.study.table import COLUMNS, SOURCES
from promet.workflow.declaration import PHASES, WILDCARDS
from promet.workflow.stages import STAGES

_spec = importlib.util.spec_from_file_location("stage_lock", Path(__file__).with_name("stage_lock.py"))
stage_lock = importlib.util.module_from_spec(_spec)
sys.modules["stage_lock"] = stage_lock
_spec.loader.exec_module(stage_lock)


@pytest.mark.parametrize("stage", STAGES)
def test_code_is_acknowledged(stage):
    locked, now = json.loads(stage_lock.LOCK.read_text())[stage], stage_lock.current()[stage]
    assert now == locked, (
        f"the code of {stage} changed: raise its version in scripts/promet/workflow/stages.py if its results do, "
        "then run python tests/workflow/stage_lock.py"
    )


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_declaration_names_what_there_is(stage):
    declared = list(STAGES)
    earlier = {*declared[: declared.index(stage.name)], "bundle"}  # the report shows the bundle
    assert set(stage.before) <= earlier and stage.phase in PHASES and stage.bucket in ("", "tensor", "view")
    assert set(stage.columns) <= set(COLUMNS) and set(stage.sources) <= set(SOURCES)
    assert stage.record.format(number=2, **dict.fromkeys(WILDCARDS[stage.per], "x")).endswith(
        f"/{stage.name}.json"
    )
    assert stage_lock.path_of(stage.entry)
    assert stage.mem_mb[0] < stage.mem_mb[1] and stage.minutes[0] <= stage.minutes[1]


def test_comments_do_not_count_and_code_does():
    source = 'a = "#1"  # one\n\n\nb = 2\n'
    assert stage_lock.bare(source) == stage_lock.bare('# more\na = "#1"\nb = 2  # two\n') == 'a = "#1"\nb = 2'
    assert stage_lock.bare(source) != stage_lock.bare(source.replace("#1", "#2"))


def test_the_closure_follows_imports_within_functions():
    reached = stage_lock.closure("promet.network.train")
    assert {
        "promet.network.augment.by_monai",
        "promet.network.squeezenet",
        "promet.core.files",
    } <= reached
    assert not any(name.startswith("promet.imaging") for name in reached)


ENTRIES = {name: stage.entry for name, stage in STAGES.items()} | {"predict": "promet.model.predict"}


@pytest.mark.parametrize("stage", ENTRIES)
def test_every_stage_is_run_alike(stage):
    """run(inputs, settings, out, pin), which the command line and every other caller call."""
    tree = ast.parse(stage_lock.path_of(ENTRIES[stage]).read_text(encoding="utf-8"))
    (run,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
    words = run.args
    assert [word.arg for word in words.args] == ["inputs", "settings", "out", "pin"]
    assert not (words.defaults or words.kwonlyargs or words.vararg or words.kwarg)
    assert ast.unparse(run.returns) == "Sidecar"
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    told = ast.unparse(words.args[0].annotation)
    assert told in ("Path", "Sequence[Path]") or told == "Inputs" in classes
    calls = [
        node.func.id
        for node in ast.walk(run)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "run_stage" in calls
